/* server/effects_rig.h - a node on which settings are made, changed and taken back, for tests of what each of them does.
 *
 * A probe brings about what a setting is about, and answers whether the node does as the `acting` value says. A ladder sets a key
 * at each level that its mode allows, acting and idle in turn, so that whoever ignores any level, or has them in a wrong order, or
 * waits for a restart, makes one step answer wrongly.
 */
#pragma once
#include "server/node_rig.h"

struct effects {
    struct node_rig rig;
    struct rig_client client;
    struct uuid topic;            /* "t", one partition */
    const char *name;             /* of the topic that LEVEL_TOPIC means */
    time_ms wall_ms;              /* from the client's monotonic clock to the node's wall clock */
    uint32_t turns;               /* probes so far: for names and keys that no probe had before */
};
/* A node with these lines, of so many shards, and its topic "t", which does not live on the first shard if there are others. */
void effects_open(struct effects *e, uint32_t shards, const char *settings);
void effects_close(struct effects *e); /* a clean stop: all memory came back */

/* Where a value is set while the node runs. */
enum effects_level { LEVEL_ALL = 1, LEVEL_ONE = 2, LEVEL_TOPIC = 4 };
int16_t effects_try(struct effects *e, enum effects_level level, const char *key, const char *value); /* value NULL: taken back */
void effects_set(struct effects *e, enum effects_level level, const char *key, const char *value);   /* asserts that it may */

struct effects_ladder {
    const char *topic_key;        /* NULL: a broker's key only */
    const char *key;              /* the broker's; NULL: a topic's key only */
    const char *acting, *idle;    /* idle: the default does the same, or `settings` says so */
    const char *settings;         /* besides, from the file */
    bool (*probe)(struct effects *e);
    bool one_broker_only;         /* no value for all brokers */
    uint32_t shards;              /* 0: 3 */
};
void effects_climb(const struct effects_ladder *ladder);
/* A key of the file alone: the probe's answer with this value; the node is gone afterwards. */
bool effects_with(const char *key, const char *value, const char *settings, bool (*probe)(struct effects *e));
/* It acts with the one value and not with the other. */
void effects_of_file(const char *key, const char *acting, const char *idle, const char *settings, bool (*probe)(struct effects *e));

/* ---- What probes do. Times are the node's wall clock. */
struct effects_record {
    const char *topic;            /* NULL: "t" */
    const char *key;              /* NULL: none */
    struct span value;            /* data NULL: a tombstone */
    time_ms at_ms;                /* 0: now */
    enum compression codec;
    uint32_t count;               /* 0: 3 */
    producer_id producer;         /* 0: none */
    int32_t sequence;
    int16_t acks;                 /* 0: -1 */
};
struct effects_answer { int16_t error; log_offset base; time_ms append_ms; };
struct effects_answer effects_produce(struct effects *e, const struct effects_record *record);
/* A batch without compression whose one record has that many bytes, not all alike; its offset. */
log_offset effects_fill(struct effects *e, const char *key, uint32_t bytes);
time_ms effects_now(const struct effects *e);
void effects_pass(struct effects *e, time_ms span);
log_offset effects_start(struct effects *e, const char *topic);
log_offset effects_end(struct effects *e, const char *topic);
/* All that can be fetched of "t" from there on, batches one behind the other. */
struct span effects_fetch(struct effects *e, const char *topic, log_offset from);
uint32_t effects_count(struct effects *e, const char *topic, const char *key); /* records that have this key, tombstones too */
/* A file of the node's as programs see it: under /data; -ENOENT. */
int64_t effects_file(struct effects *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint32_t effects_files(struct effects *e, const char *folder, const char *ending); /* files that end so, in a folder under /data */
bool effects_checkpoint(struct effects *e, const char *name, const char *line); /* a file of /data has this line */
bool effects_segment(struct effects *e, const char *topic, log_offset base); /* a segment begins there */
