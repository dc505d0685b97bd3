/* log/log_test.h - what log's tests share: a node's log directory with a store on it, on the simulator's disk or on a real
 * one; stopping it, killing it, cutting its power; batches whose content can be told from their offsets.
 */
#pragma once
#include "log/log.h"

struct bench;
enum bench_where { BENCH_SIM, BENCH_REAL };
enum bench_crash { BENCH_RANDOM, BENCH_LOSE_ALL, BENCH_KEEP_ALL, BENCH_NEWEST };

struct bench *bench_new(enum bench_where where, uint64_t seed);
void bench_free(struct bench *bench);
/* Before bench_start, for the next start. */
struct log_store_options *bench_options(struct bench *bench);
struct log_config *bench_config(struct bench *bench);
struct io_files bench_files(struct bench *bench);  /* for looking */
const char *bench_dir(const struct bench *bench);
struct sim_disk *bench_disk(struct bench *bench);
struct pool *bench_pool(struct bench *bench);
struct log_store *bench_store(struct bench *bench);
struct log_dirs *bench_dirs(struct bench *bench);
struct shard *bench_shard(struct bench *bench);

void bench_second_dir(struct bench *bench);       /* "/data2" beside the first, from the next start on (simulator) */
void bench_reserve(struct bench *bench, uint64_t bytes); /* moldau.disk.reserve, for the next start */
void bench_shards(struct bench *bench, uint32_t count);   /* for the next start; 1 at first */
void bench_on_shard(struct bench *bench, uint32_t shard); /* whose store the rest is about */
uint64_t bench_faults(struct bench *bench);        /* of the simulator's disk, so far */
enum err bench_start(struct bench *bench);         /* dirs and store */
void bench_stop(struct bench *bench);              /* in order, with the mark */
void bench_kill(struct bench *bench);              /* kill -9 (simulator) */
void bench_power_cut(struct bench *bench, enum bench_crash crash);
bool bench_is_stuck(struct bench *bench);          /* its disk was cut */

/* Turns until *what. False: the disk was cut meanwhile (simulator), or 60 seconds (virtual, or 10 real ones) went by. */
bool bench_until(struct bench *bench, const bool *what);
void bench_turns(struct bench *bench, uint32_t turns);
void bench_completions(struct bench *bench); /* the first part of a turn, and no more: what came back from the io */
bool bench_pass(struct bench *bench, time_ms time); /* virtual time, or real: use little */

/* A log with an owner that notes what it is told. */
struct bench_log {
    struct log_owner owner;
    struct log *log;
    log_offset durable_told, written_told;
    uint32_t failed_told, start_told;
    enum err failed_with;
};
/* New and open, or the error of the opening. */
enum err bench_open(struct bench *bench, struct bench_log *log, const char *topic, partition_index partition);
struct waiting { struct log_wait wait; bool done; enum err err; };
void waiting_init(struct waiting *waiting);
/* Answers the error, waiting for it if it was ERR_AGAIN. ERR_TIMEOUT: the disk was cut. */
enum err bench_wait(struct bench *bench, struct waiting *waiting, enum err err);

/* Appends one batch of `count` records with `bytes` of value each, as a leader of `epoch`; timestamps are 1000 + offset. */
enum err bench_append(struct bench *bench, struct log *log, leader_epoch epoch, uint32_t count, uint32_t bytes, struct log_appended *out);
/* Appends, and waits until it is durable. */
enum err bench_append_durably(struct bench *bench, struct bench_log *log, leader_epoch epoch, uint32_t count, uint32_t bytes);
bool bench_until_durable(struct bench *bench, struct bench_log *log, log_offset end);
/* A batch of bench_append's content with given offsets, in a slab. */
struct slab *bench_batch(struct bench *bench, log_offset base, leader_epoch epoch, uint32_t count, uint32_t bytes);

/* Reads everything in [from, upto], checks CRCs, order and content (that of bench_append, if asked), and answers the offset
 * behind the last record. Fails the test where something is wrong. */
struct bench_seen { log_offset next; uint32_t batches, records; uint64_t bytes, hash; uint32_t reads, reads_memory; };
struct bench_seen bench_read_all(struct bench *bench, struct log *log, log_offset from, enum log_upto upto, uint32_t bytes_max, bool content);
/* One read, waited for. */
enum err bench_read(struct bench *bench, struct log_read *read);
enum err bench_lookup(struct bench *bench, struct log_lookup *lookup);
/* All the bytes of a chain, file slices too. */
size_t bench_copy(struct bench *bench, const struct chain *chain, uint8_t *target, size_t size);
/* Files */
int64_t bench_file_size(struct bench *bench, const char *name);    /* under the log directory; negative: an errno value */
size_t bench_file_read(struct bench *bench, const char *name, void *target, size_t size);
void bench_file_write(struct bench *bench, const char *name, const void *bytes, size_t size);
void bench_file_remove(struct bench *bench, const char *name);
uint32_t bench_count_files(struct bench *bench, const char *folder, const char *ending); /* in that folder under the log directory; "": in it itself */
/* Copies a real folder (of the golden vectors) into the log directory's. */
void bench_copy_in(struct bench *bench, const char *source);

/* ---- what most tests begin and end with */
struct bench *bench_small(void);                                       /* small segments; nothing is too old */
struct bench *bench_started(struct bench *bench, struct bench_log *log); /* bench_start, and partition 0 of "orders" is open */
void bench_end(struct bench *bench);                                   /* checked, stopped and freed */
void bench_fill(struct bench *bench, struct bench_log *log, uint32_t batches, leader_epoch epoch); /* durably, 2 records each */
uint64_t bench_batch_at(struct bench *bench, uint32_t n);              /* where the n-th batch of its first segment begins */
