/* sim/history.h - what clients did and saw, and whether one cluster can have answered so. Knows the protocol's promises
 * only, nothing of how they are kept. It outlives every process.
 *
 * Each producer writes numbers 0, 1, 2, ... to each of its partitions, so that a record says who wrote it and when. Of
 * each offset it is remembered what was acknowledged or seen there; each number may be at one offset only.
 *     lost          acknowledged or seen, and not there at the end          [L5, L7, R5]
 *     changed       an offset shows something else than before              [L5]
 *     duplicate     a number at two offsets; reordered: a smaller number later [T7]
 *     committed     an offset commit acknowledged and then forgotten        [G1], taken from an old generation [G2]
 *     two owners    a partition given to two members of one generation      [G3]
 *     back again    records whose deletion was acknowledged           [L4]
 *     forgotten     a topic whose creation was acknowledged                 [M4]
 */
#pragma once
#include "sim/sim.h"

struct history;
enum { HISTORY_PARTITIONS_MAX = 16, HISTORY_PRODUCERS_MAX = 8, HISTORY_TOPICS_MAX = 256 };

struct history_record { uint32_t producer, partition; uint64_t number; };
enum { HISTORY_VALUE_BYTES = 24 };
void history_value(const struct history_record *record, uint8_t out[HISTORY_VALUE_BYTES]);
bool history_value_parse(const void *bytes, size_t size, struct history_record *out);

/* `durable` false: a power cut may lose what was acknowledged (page cache); what is shown must still be consistent. */
must_use struct history *history_new(struct sim *sim, uint32_t partitions, bool durable);
void history_free(struct history *history);

/* The next number of a producer for a partition, `count` of them taken. */
uint64_t history_take(struct history *history, uint32_t producer, uint32_t partition, uint32_t count);
void history_acknowledged(struct history *history, uint32_t partition, int64_t base_offset, uint32_t producer, uint64_t first, uint32_t count);
void history_seen(struct history *history, uint32_t partition, int64_t offset, const struct history_record *record);
/* A read of everything is over: `end` is where the partition ends. */
void history_read_to_end(struct history *history, uint32_t partition, int64_t start, int64_t end);
/* The highest offset that was acknowledged or seen, + 1. */
int64_t history_end(const struct history *history, uint32_t partition);
uint64_t history_count(const struct history *history); /* records acknowledged */
/* Un-durable: what was there may be gone after a power cut. */
void history_power_cut(struct history *history);
uint32_t history_lives(const struct history *history); /* how often that was: answers from before it say nothing any more */

/* DeleteRecords: up to where it may go without taking from a producer the last that it has written, by which the log knows it;
 * `attempt` before it is sent, `deleted` when it is acknowledged. */
int64_t history_deletable(const struct history *history, uint32_t partition);
void history_delete_attempt(struct history *history, uint32_t partition, int64_t offset);
void history_deleted(struct history *history, uint32_t partition, int64_t low_watermark);
int64_t history_start_most(const struct history *history, uint32_t partition);  /* the partition starts there at most */
int64_t history_start_least(const struct history *history, uint32_t partition); /* what is asked from now on tells at least this start */
void history_start_told(struct history *history, uint32_t partition, int64_t start, int64_t least);

/* Commits of one group. `attempt` before it is sent, `committed` when it is acknowledged. */
void history_commit_attempt(struct history *history, uint32_t partition, int64_t offset);
void history_committed(struct history *history, uint32_t partition, int64_t offset, int32_t generation, int32_t highest_when_sent);
int32_t history_generation(const struct history *history); /* the highest that committed something */
int64_t history_commit_floor(const struct history *history, uint32_t partition); /* what a fetch that is sent now must tell at least */
/* Nobody answered: it may take effect at any time, over a later one that was acknowledged, until the group's generation is a
 * higher one, whose members would be the only ones heard. */
void history_commit_unanswered(struct history *history, uint32_t partition, int64_t offset, int32_t generation);
/* What a member of `generation` is told. */
void history_commit_fetched(struct history *history, uint32_t partition, int64_t offset, int64_t floor, int32_t generation);
/* A member of a generation owns these partitions (bits). */
void history_owns(struct history *history, int32_t generation, uint32_t member, uint64_t partitions);

/* Topics created besides. */
uint32_t history_topic_new(struct history *history);           /* its number: names are made of it; UINT32_MAX: enough */
void history_topic_created(struct history *history, uint32_t topic);
bool history_topic_must_exist(const struct history *history, uint32_t topic);
uint32_t history_topics(const struct history *history);
