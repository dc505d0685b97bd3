/* broker/fetch_session.h - incremental fetch (KIP-227): what a client fetches, remembered between its requests, so that a
 * request names only what changed and an answer only what moved.
 *
 * A session belongs to the shard of the connection that opened it, and its id carries that shard; a client that comes
 * back over a connection of another shard is told FETCH_SESSION_ID_NOT_FOUND and opens a new one at the price of one full
 * fetch, as after a restart. For the sake of those who come back after a restart ids are random: nobody's old session may
 * be taken for somebody else's new one.
 *
 * Sessions are bounded (max.incremental.fetch.session.cache.slots over all shards). When all places are taken, a new one
 * gets that of the longest unused, if that is unused for two minutes; else that of the smallest (by partitions) that is
 * there for two minutes and smaller than the new one; a follower's gets any consumer's. Else there is none, and the
 * client goes on with full fetches.
 */
#pragma once
#include "base/containers.h"
#include "base/random.h"
#include "wire/api.h"
#include "wire/errors.h"

struct broker;

/* One partition of a session (or of a full fetch, where it lives for the request alone). */
struct session_partition {
    struct span known_as;         /* owned by the session: the topic's name, once it was there under its id */
    struct map_node node;         /* by topic and index */
    struct list order;            /* of answering: what had data goes to the back */
    struct uuid topic_id;         /* zero: only the name is known (before version 13) */
    struct span name;             /* owned by the session; empty with a topic id */
    partition_index index;
    log_offset from, log_start;
    leader_epoch current_epoch, last_fetched_epoch;
    uint32_t bytes_max;
    /* as last answered */
    log_offset high_watermark, answered_log_start;
    size_t bytes;                 /* of this struct and the name behind it */
};

struct fetch_session {
    struct map_node node;         /* by id */
    struct list used;             /* longest unused first */
    int32_t id, epoch;            /* epoch: expected of the next request */
    bool by_id;                   /* version 13 and later: topics by id */
    bool privileged;              /* a follower's: worth more than any consumer's */
    bool busy;                    /* a request of it is being answered */
    time_ms used_ms, made_ms;
    struct map partitions;
    struct list order;
};

struct fetch_sessions {
    struct pool *pool;
    struct map sessions;
    struct list used;
    struct random *random;        /* borrows */
    uint32_t count_max, shard, shards;
    uint64_t evicted;
};

void fetch_sessions_init(struct fetch_sessions *sessions, struct pool *pool, struct random *random, uint32_t count_max, uint32_t shard, uint32_t shards);
void fetch_sessions_destroy(struct fetch_sessions *sessions);

/* What a request means: `session` NULL with NONE is a full fetch without a session, from `order` (which then holds
 * partitions that live in the arena). With a session the partitions to read are the session's. A session in which the
 * request leaves no partition ends with it. */
struct fetch_plan {
    struct fetch_session *session;
    bool is_incremental;          /* answer only what moved */
    struct list order;            /* session_partition.order, when there is no session */
    struct arena *arena;
};
enum kafka_error fetch_session_plan(struct fetch_sessions *sessions, const struct fetch_request *request, int16_t version,
                                    bool is_follower, time_ms now_ms, struct fetch_plan *plan);
/* The partition's topic is there, under this name. */
void fetch_session_knows(struct fetch_sessions *sessions, const struct fetch_plan *plan, struct session_partition *partition, struct span name);
/* The answer has been made: true when it must name this partition. Notes what is told. */
bool fetch_session_tells(struct fetch_plan *plan, struct session_partition *partition, const struct fetch_response_partition_data *data);
void fetch_session_answered(struct fetch_sessions *sessions, struct fetch_plan *plan);
