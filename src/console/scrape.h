/* console/scrape.h - one round through the shards that gathers what they have counted.
 *
 * A scrape is one message. It visits the shards in turn; whoever has it may write to it, so that nothing is locked, and
 * each shard reads only what is its own. What it does in one turn is bounded: what there may be much of is cut at what
 * the scrape has room for. Its memory is made with it: shards take none for it.
 *
 * Only counts and small copies: nothing is opened or read from the disk for it, but for the age of what groups are to read
 * next (broker/lag.h). That is a second round over the shards, with the committed offsets that the first one found.
 */
#pragma once
#include "console/console.h"
#include "log/log.h"
#include <stdatomic.h>

enum scrape_kind { SCRAPE_PING, SCRAPE_READY, SCRAPE_ALL };

enum { SCRAPE_TOPICS_MAX = 1000, SCRAPE_PARTITIONS_MAX = 2000, SCRAPE_LAGS_MAX = 4000, SCRAPE_GROUPS_MAX = 4000, SCRAPE_GROUPS_SEEN_MAX = 16384,
       SCRAPE_TOPIC_SLOTS = 4096, LAG_SLOTS = 16384, LAG_READS_MAX = 256, LAG_OPENS_MAX = 16, GROUP_NAME_BYTES_MAX = 249, GROUP_STATES_MAX = 32 };

struct topic_sample {
    char name[LOG_TOPIC_BYTES_MAX + 1];
    struct uuid id;
    struct topic_counts counts;
};
struct partition_sample {
    char topic[LOG_TOPIC_BYTES_MAX + 1];
    partition_index index;
    log_offset start, end, high_watermark;
    uint64_t bytes;
    uint32_t segments;
};
struct dir_sample {
    char path[LOG_PATH_MAX];
    bool is_online;
    uint32_t partitions;
    uint64_t available, reserve;
};
struct group_sample {
    char name[GROUP_NAME_BYTES_MAX + 1];
    uint32_t members;
};
struct state_sample { const char *protocol, *state; uint64_t groups; };
struct lag_sample {
    uint32_t group;                    /* in the scrape's groups */
    char topic[LOG_TOPIC_BYTES_MAX + 1];
};
struct shard_sample {
    struct shard_times times;
    size_t memory_used, memory_used_max, memory_limit;
};

struct scrape {
    struct message message;
    struct timer timer;
    const struct console_options *options;  /* borrows */
    enum scrape_kind kind;
    uint32_t shard;                         /* where it is */
    void (*home)(struct scrape *scrape);    /* on the shard that was visited last; then nobody there touches it any more */
    void *user;                             /* of whoever made it */
    struct pool *pool;                      /* borrows */

    /* SCRAPE_READY and SCRAPE_ALL */
    bool serves, is_fenced, is_registered;
    struct control_sample control;
    struct dir_sample dirs[LOG_DIRS_MAX];
    uint32_t dir_count, data_dir_count;

    /* SCRAPE_ALL */
    struct api_counts *apis;                /* owns: by key */
    struct topic_counts topics_total;
    struct shard_sample shards[SHARDS_MAX];
    struct net_counts net;
    struct log_metrics log;
    struct { char name[64]; uint64_t opened; uint32_t open; } listeners[LISTENERS_MAX];
    uint32_t listener_count;
    uint64_t refused, telemetry_pushes, telemetry_bytes, telemetry_metrics, telemetry_points, telemetry_unreadable;
    uint64_t fetch_sessions, fetch_evictions, waiting, partitions_here;
    log_offset broker_applied;
    uint64_t topics_there, partitions_there, brokers_active, brokers_fenced;
    struct topic_sample *topics;            /* owns, as the others: made with the scrape */
    struct partition_sample *partitions;
    uint16_t topic_slots[SCRAPE_TOPIC_SLOTS]; /* a number in `topics` and 1; 0: free */
    uint32_t topic_count, partition_count;
    uint64_t topics_left_out, partitions_left_out, groups_left_out, offsets_left_out;
    struct state_sample states[GROUP_STATES_MAX];
    struct group_sample *groups;            /* owns */
    struct lag_sample *lags;                /* owns: whose an item of the round is */
    uint32_t state_count, group_count, lag_count;
    time_ms wall;                           /* when the lag was looked at */
    struct lag_round round;                 /* its items: owns; of the last scrape until they are forgotten */
    struct lag_item *known;                 /* owns: the items of the scrape before, for what was looked up then */
    uint16_t known_slots[LAG_SLOTS];        /* a number in `known` and 1; 0: free */
    uint32_t turn;                          /* of looking up: not always the same ones are the first */
};

/* NULL: no memory. */
struct scrape *scrape_new(struct pool *pool, const struct console_options *options);
void scrape_free(struct scrape *scrape); /* at home; NULL is fine */
/* From a thread that is no shard (shard_post), with the scrape at home. Forgets what it had brought before of that kind. */
void scrape_send(struct scrape *scrape, enum scrape_kind kind, void (*home)(struct scrape *scrape));
/* Ready to serve? If not, `why` gets a sentence. A node that lost some of its log directories serves the others: it is. */
bool scrape_is_ready(const struct scrape *scrape, struct text *why);
/* A line for each log directory that has failed. */
void scrape_tell_failed(const struct scrape *scrape, struct text *out);
