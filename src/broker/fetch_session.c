#include "broker/fetch_session.h"
#include "base/hash.h"
#include "broker/named.h"
#include <string.h>

enum { EVICT_AFTER_MS = 120000, INITIAL_EPOCH = 0, FINAL_EPOCH = -1 };

struct partition_name {
    struct uuid topic_id;
    struct span name;
    partition_index index;
};

static uint64_t name_hash(const struct partition_name *key) {
    uint64_t h = key->name.size ? hash_bytes(key->name.data, key->name.size) : uuid_hash(key->topic_id);
    return hash_u64(h + (uint32_t)key->index);
}

static bool is_partition(const struct map_node *node, const void *key) {
    const struct session_partition *partition = MAP_ITEM(node, struct session_partition, node);
    const struct partition_name *wanted = key;
    return partition->index == wanted->index && uuid_equal(partition->topic_id, wanted->topic_id) && span_equal(partition->name, wanted->name);
}

static bool is_session(const struct map_node *node, const void *key) {
    return MAP_ITEM(node, struct fetch_session, node)->id == *(const int32_t *)key;
}

void fetch_sessions_init(struct fetch_sessions *sessions, struct pool *pool, struct random *random, uint32_t count_max, uint32_t shard, uint32_t shards) {
    *sessions = (struct fetch_sessions){.pool = pool, .random = random, .count_max = count_max, .shard = shard, .shards = shards};
    map_init(&sessions->sessions, pool, count_max, is_session);
    list_init(&sessions->used);
}

static void drop_partition(struct fetch_sessions *sessions, struct fetch_session *session, struct session_partition *partition) {
    map_remove(&session->partitions, &partition->node);
    list_remove(&partition->order);
    pool_free(sessions->pool, (void *)(uintptr_t)partition->known_as.data, partition->known_as.size);
    pool_free(sessions->pool, partition, partition->bytes);
}

static void close_session(struct fetch_sessions *sessions, struct fetch_session *session) {
    LIST_EACH_SAFE(node, &session->order) drop_partition(sessions, session, LIST_ITEM(node, struct session_partition, order));
    map_destroy(&session->partitions);
    map_remove(&sessions->sessions, &session->node);
    list_remove(&session->used);
    pool_free(sessions->pool, session, sizeof *session);
}

void fetch_sessions_destroy(struct fetch_sessions *sessions) {
    LIST_EACH_SAFE(node, &sessions->used) close_session(sessions, LIST_ITEM(node, struct fetch_session, used));
    map_destroy(&sessions->sessions);
}

static struct fetch_session *find(const struct fetch_sessions *sessions, int32_t id) {
    struct map_node *node = map_find(&sessions->sessions, hash_u64((uint32_t)id), &id);
    return node ? MAP_ITEM(node, struct fetch_session, node) : NULL;
}

/* Less worth keeping than another: first of all consumers', then those of fewer partitions, then of a lower id. */
static bool is_worth_less(const struct fetch_session *a, const struct fetch_session *b) {
    if (a->privileged != b->privileged) return b->privileged;
    if (a->partitions.count != b->partitions.count) return a->partitions.count < b->partitions.count;
    return a->id < b->id;
}

/* Whose place a new session of `count` partitions may take, when all are taken; NULL: nobody's. */
static struct fetch_session *to_evict(struct fetch_sessions *sessions, bool is_follower, uint32_t count, time_ms now_ms) {
    struct fetch_session *least = NULL;
    LIST_EACH(node, &sessions->used) {
        struct fetch_session *session = LIST_ITEM(node, struct fetch_session, used);
        if (session->busy) continue;
        if (now_ms - session->used_ms > EVICT_AFTER_MS) return session;
        bool is_settled = now_ms - session->made_ms > EVICT_AFTER_MS;
        if (!is_settled && !(is_follower && !session->privileged)) continue;
        if (!least || is_worth_less(session, least)) least = session;
    }
    if (!least || (least->privileged && !is_follower)) return NULL;
    return least->privileged == is_follower && count <= least->partitions.count ? NULL : least;
}

static bool make_room(struct fetch_sessions *sessions, bool is_follower, uint32_t count, time_ms now_ms) {
    if (sessions->sessions.count < sessions->count_max) return true;
    struct fetch_session *session = to_evict(sessions, is_follower, count, now_ms);
    if (!session) return false;
    close_session(sessions, session);
    sessions->evicted++;
    return true;
}

/* Never 0, which means none; the remainder by the number of shards is the shard. */
static int32_t random_id(struct fetch_sessions *sessions) {
    uint32_t most = (uint32_t)INT32_MAX / sessions->shards;
    return (int32_t)((1 + (uint32_t)random_below(sessions->random, most - 1)) * sessions->shards + sessions->shard);
}

static struct fetch_session *open_session(struct fetch_sessions *sessions, bool is_follower, bool by_id, uint32_t count, time_ms now_ms) {
    if (!make_room(sessions, is_follower, count, now_ms)) return NULL;
    struct fetch_session *session = POOL_NEW(sessions->pool, struct fetch_session);
    if (!session) return NULL;
    do session->id = random_id(sessions);
    while (find(sessions, session->id));
    session->made_ms = now_ms;
    session->epoch = INITIAL_EPOCH + 1;
    session->by_id = by_id;
    session->privileged = is_follower;
    map_init(&session->partitions, sessions->pool, 0, is_partition);
    list_init(&session->order);
    if (!map_insert(&sessions->sessions, &session->node, hash_u64((uint32_t)session->id))) {
        map_destroy(&session->partitions);
        pool_free(sessions->pool, session, sizeof *session);
        return NULL;
    }
    list_push(&sessions->used, &session->used);
    return session;
}

static void set(struct session_partition *partition, const struct fetch_request_fetch_partition *in) {
    partition->from = in->fetch_offset;
    partition->log_start = in->log_start_offset;
    partition->current_epoch = in->current_leader_epoch;
    partition->last_fetched_epoch = in->last_fetched_epoch;
    partition->bytes_max = (uint32_t)in->partition_max_bytes; /* below 0: more than any can be, and refused when it is read */
}

static struct session_partition *make(const struct partition_name *key, struct session_partition *partition) {
    partition->topic_id = key->topic_id;
    partition->index = key->index;
    if (key->name.size) memcpy(partition + 1, key->name.data, key->name.size);
    partition->name = span_of(partition + 1, key->name.size);
    partition->high_watermark = partition->answered_log_start = -1;
    return partition;
}

static uint32_t partitions_named(const struct fetch_request *request) {
    uint32_t count = 0;
    for (int32_t t = 0; t < request->topics_count; t++) count += (uint32_t)request->topics[t].partitions_count;
    return count;
}

/* What the request names, in its order. */
static bool take_names(struct named *named, struct arena *arena, const struct fetch_request *request, int16_t version) {
    if (!named_init(named, arena, partitions_named(request))) return false;
    for (int32_t t = 0; t < request->topics_count; t++) {
        const struct fetch_request_fetch_topic *topic = &request->topics[t];
        struct span name = version >= 13 ? span_of(topic->topic_id.bytes, sizeof topic->topic_id.bytes) : topic->topic;
        for (int32_t p = 0; p < topic->partitions_count; p++) named_add(named, name, topic->partitions[p].partition);
    }
    named_settle(named);
    return true;
}

static bool take_over(struct fetch_sessions *sessions, struct fetch_plan *plan, const struct fetch_request *request, int16_t version) {
    struct fetch_session *session = plan->session;
    struct named named;
    struct session_partition **made = NULL; /* by place: what a later naming of the same one changes */
    if (!session) {
        if (!take_names(&named, plan->arena, request, version)) return false;
        if (!(made = ARENA_ARRAY(plan->arena, named.count, struct session_partition *))) return false;
    }
    uint32_t at = 0;
    for (int32_t t = 0; t < request->topics_count; t++) {
        const struct fetch_request_fetch_topic *topic = &request->topics[t];
        for (int32_t p = 0; p < topic->partitions_count; p++, at++) {
            const struct fetch_request_fetch_partition *in = &topic->partitions[p];
            struct partition_name key = {.index = in->partition};
            if (version >= 13) key.topic_id = topic->topic_id;
            else key.name = topic->topic;
            size_t bytes = sizeof(struct session_partition) + key.name.size;
            if (!session) { /* read where it is named first, as it is named last */
                struct session_partition **own = &made[named.places[at].first];
                if (!*own) {
                    if (!(*own = arena_alloc(plan->arena, bytes))) return false;
                    list_push(&plan->order, &make(&key, *own)->order);
                }
                set(*own, in);
                continue;
            }
            struct map_node *found = map_find(&session->partitions, name_hash(&key), &key);
            struct session_partition *partition = found ? MAP_ITEM(found, struct session_partition, node) : NULL;
            if (!partition) {
                partition = pool_zero_alloc(sessions->pool, bytes);
                if (!partition) return false;
                partition->bytes = bytes;
                make(&key, partition);
                if (!map_insert(&session->partitions, &partition->node, name_hash(&key))) {
                    pool_free(sessions->pool, partition, bytes);
                    return false;
                }
                list_push(&session->order, &partition->order);
            }
            set(partition, in);
        }
    }
    if (!session) return true;
    for (int32_t t = 0; t < request->forgotten_topics_data_count; t++) {
        const struct fetch_request_forgotten_topic *topic = &request->forgotten_topics_data[t];
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            struct partition_name key = {.index = topic->partitions[p]};
            if (version >= 13) key.topic_id = topic->topic_id;
            else key.name = topic->topic;
            struct map_node *found = map_find(&session->partitions, name_hash(&key), &key);
            if (found) drop_partition(sessions, session, MAP_ITEM(found, struct session_partition, node));
        }
    }
    return true;
}

enum kafka_error fetch_session_plan(struct fetch_sessions *sessions, const struct fetch_request *request, int16_t version,
                                    bool is_follower, time_ms now_ms, struct fetch_plan *plan) {
    list_init(&plan->order);
    plan->session = NULL;
    plan->is_incremental = false;
    int32_t id = version >= 7 ? request->session_id : 0, epoch = version >= 7 ? request->session_epoch : FINAL_EPOCH;
    struct fetch_session *session = id ? find(sessions, id) : NULL;
    if (epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH) { /* a full fetch, which ends the session that it names */
        if (session && !session->busy) close_session(sessions, session);
        if (epoch == INITIAL_EPOCH) plan->session = open_session(sessions, is_follower, version >= 13, partitions_named(request), now_ms);
    } else {
        if (!session) return KAFKA_FETCH_SESSION_ID_NOT_FOUND;
        if (session->epoch != epoch || session->busy) return KAFKA_INVALID_FETCH_SESSION_EPOCH;
        if (session->by_id != (version >= 13)) return KAFKA_FETCH_SESSION_TOPIC_ID_ERROR;
        session->epoch = epoch == INT32_MAX ? 1 : epoch + 1;
        plan->session = session;
        plan->is_incremental = true;
    }
    if (!take_over(sessions, plan, request, version)) {
        if (plan->session) close_session(sessions, plan->session);
        plan->session = NULL;
        return KAFKA_UNKNOWN_SERVER_ERROR;
    }
    if (plan->is_incremental && plan->session->partitions.count == 0) {
        close_session(sessions, plan->session);
        plan->session = NULL;
        plan->is_incremental = false;
    }
    if (plan->session) {
        plan->session->used_ms = now_ms;
        plan->session->busy = true;
        list_remove(&plan->session->used);
        list_push(&sessions->used, &plan->session->used);
    }
    return KAFKA_NONE;
}

void fetch_session_knows(struct fetch_sessions *sessions, const struct fetch_plan *plan, struct session_partition *partition, struct span name) {
    if (!plan->session || partition->known_as.data) return;
    void *copy = pool_alloc(sessions->pool, name.size);
    if (!copy) return; /* over budget: as if it had never been there */
    memcpy(copy, name.data, name.size);
    partition->known_as = span_of(copy, name.size);
}

bool fetch_session_tells(struct fetch_plan *plan, struct session_partition *partition, const struct fetch_response_partition_data *data) {
    if (!plan->session) return true;
    bool has_records = data->records.chain && data->records.chain->bytes > 0;
    bool tells = has_records || data->error_code != KAFKA_NONE || data->high_watermark != partition->high_watermark ||
                 data->log_start_offset != partition->answered_log_start || data->preferred_read_replica != -1 ||
                 data->diverging_epoch.epoch != -1;
    /* After an error the next good answer must be told whatever it says. */
    partition->high_watermark = data->error_code == KAFKA_NONE ? data->high_watermark : -1;
    partition->answered_log_start = data->log_start_offset;
    /* Who was given something comes last the next time; the order of the Fetch that makes the session stays, as in Apache Kafka. */
    if (has_records && plan->is_incremental) {
        list_remove(&partition->order);
        list_push(&plan->session->order, &partition->order);
    }
    return tells || !plan->is_incremental;
}

void fetch_session_answered(struct fetch_sessions *sessions, struct fetch_plan *plan) {
    if (!plan->session) return;
    plan->session->busy = false;
}
