/* sim/sim_log.h - the world "log": what its files share. A store with a few logs in one to three directories on one host, and
 * somebody outside who remembers every batch that was ever appended, and what was said to be written and flushed.
 *
 *     sim_log.c        the program, its lives, the run
 *     sim_log_do.c     what the program does: appends, truncations, moves, ...
 *     sim_log_check.c  what must be so: of what is read, of what an opening finds, after each event, of the folders
 */
#pragma once
#include "log/log.h"
#include "sim/cluster.h"
#include <stdio.h>
#include <string.h>

enum { LOGS_MAX = 3, PRODUCERS = 3, SIM_LOG_DIRS_MAX = 3, READ_BYTES_MAX = 1 << 18, VALUE_BYTES_MAX = 6000, DUPLICATES = 5 };

struct model_batch {
    log_offset base, last;
    leader_epoch epoch;
    uint32_t crc, size;
    time_ms timestamp;
    producer_id producer;
    int16_t producer_epoch;
    int32_t sequence, count;
};

/* What is known of a log from outside: outlives every process. */
struct model {
    uint32_t number;
    struct model_batch *batches;
    uint32_t count, capacity;
    log_offset start, end;        /* as last seen; as appended */
    log_offset start_filed;       /* in a checkpoint that was written    */
    log_offset start_asked;       /* when the checkpoint under way began */
    log_offset written, flushed, high_watermark;
    log_offset truncating_to;     /* a truncation is under way, or was when the process died; -1: none */
    leader_epoch epoch;
    int16_t producer_epochs[PRODUCERS];
    bool power_was_cut;           /* since the last opening, or a sync failed */
    bool known_after_life;        /* compared with what this life's opening gave */
    uint64_t acknowledged;
    uint32_t dir;                 /* where the log was last seen */
};

struct world {
    struct run *run;
    struct sim *sim;
    struct cluster cluster;
    struct random random;
    uint32_t logs;
    struct model models[LOGS_MAX];
    int64_t segment_bytes, index_interval, retention_bytes, batch_records, value_bytes;
    bool page_cache, crowded, compresses;
    uint32_t dirs;
    const char *paths[SIM_LOG_DIRS_MAX];
    uint32_t failing;             /* of them, for ever: a bit each          */
    uint64_t dir_faults[SIM_LOG_DIRS_MAX]; /* of each, in this life         */
    uint64_t move_rate;
    uint64_t faults_at_start;     /* of disks, when this life began */
    uint64_t lost_at_start;       /* of them, syncs that failed     */
    struct sim_event end_process, heal_dir;
    bool checking;                /* phase 3: nothing is appended any more */
    bool failed_to_start;
};

struct program;
struct program_log {
    struct program *program;
    struct model *model;
    struct log *log;
    struct log_owner owner;
    struct log_wait open_wait, wait, start_wait;
    bool opening, waiting, starting, reading, looking, assigned, failed;
    uint32_t dirs_used;           /* in this life it was in them, or on its way: a bit each */
    struct log_read read;
    struct arena read_arena;
    struct chain read_chain;
    log_offset read_to;           /* of a walk through everything */
    struct log_lookup lookup;
    log_offset lookup_written, lookup_end; /* when it began */
    log_offset truncate_to;
    bool checked;                 /* read back from start to end in phase 3 */
};

struct program { /* inside of the process */
    struct world *world;
    struct cluster_node *node;
    struct shard_group *group;
    struct shard *shard;
    struct log_dirs *dirs;
    struct log_store *store;
    struct timer tick;
    struct program_log logs[LOGS_MAX];
    struct log_wait checkpoint_wait, stop_wait;
    struct random random;
    bool checkpointing, stopping, stopped, failed;
};

/* --verbose: what is done and found, a line each. */
#define SAY(world_, format, ...) \
    ((world_)->run->options->verbose ? (void)printf("%12.6f " format "\n", (double)sim_now((world_)->sim) / 1e9, __VA_ARGS__) : (void)0)

/* ---- sim_log_check.c: the model */
struct model_batch *model_find(struct model *model, log_offset offset);
log_offset model_end(const struct model *model);
void model_add(struct world *world, struct model *model, const struct model_batch *batch);
void model_cut(struct model *model, log_offset end);

/* Since this life began: any operation on the disk; one in a directory that the log has used. */
bool disk_was_at_fault(const struct world *world);
bool log_was_at_fault(const struct program_log *at);
uint32_t dir_index(const struct world *world, const struct log_dir *dir);
bool dirs_are_online(const struct program *program);

/* Reads and compares what is read; up to `to`, over and over; -1: once. */
void read_begin(struct program_log *at, log_offset from, uint32_t bytes_max, enum log_upto upto, log_offset to);
void lookup_done(struct log_lookup *lookup, enum err err);
void lookup_ended(struct program_log *at, enum err err);
void opened(struct program_log *at);       /* L7, L8 and what came back: once in each life */
void look(struct cluster *cluster);        /* after each event: what the program says of itself, remembered and compared */
void check_folder(struct program_log *at); /* of an open log, all directories being online: it has one, where it says */
void check_folders(struct world *world);   /* at the end: nothing else lies about */

/* ---- sim_log_do.c */
void do_something(struct program_log *at);
void op_ended(struct log_wait *wait, enum err err); /* of a truncation, a flush, a retention */

/* ---- sim_log.c */
void end_soon(struct world *world); /* the program cannot go on as it should */
