#include "controller/sessions.h"
#include "base/hash.h"

static bool is_session(const struct map_node *node, const void *key) {
    return MAP_ITEM(node, struct session, node)->id == *(const broker_id *)key;
}

void sessions_init(struct sessions *sessions, struct pool *pool, time_ms timeout_ms) {
    *sessions = (struct sessions){.pool = pool, .timeout_ms = timeout_ms};
    map_init(&sessions->map, pool, 0, is_session);
}

void sessions_clear(struct sessions *sessions) {
    MAP_EACH_SAFE(node, &sessions->map) {
        struct session *session = MAP_EACH_ITEM(node, struct session, node);
        map_remove(&sessions->map, &session->node);
        pool_free(sessions->pool, session, sizeof *session);
    }
    map_destroy(&sessions->map);
    sessions_init(sessions, sessions->pool, sessions->timeout_ms);
}

struct session *sessions_find(const struct sessions *sessions, broker_id id) {
    struct map_node *node = map_find(&sessions->map, hash_u64((uint32_t)id), &id);
    return node ? MAP_ITEM(node, struct session, node) : NULL;
}

struct session *sessions_get(struct sessions *sessions, broker_id id) {
    struct session *session = sessions_find(sessions, id);
    if (session) return session;
    session = POOL_NEW(sessions->pool, struct session);
    if (!session) return NULL;
    session->id = id;
    session->metadata_offset = session->shutdown_offset = session->registered_at = -1;
    if (map_insert(&sessions->map, &session->node, hash_u64((uint32_t)id))) return session;
    pool_free(sessions->pool, session, sizeof *session);
    return NULL;
}

void sessions_forget(struct sessions *sessions, broker_id id) {
    struct session *session = sessions_find(sessions, id);
    if (!session) return;
    session->live = false;
    session->metadata_offset = session->shutdown_offset = -1;
}

void sessions_touch(struct session *session, time_ms now_ms, log_offset metadata_offset) {
    session->live = true;
    session->contact_ms = now_ms;
    if (metadata_offset >= 0) session->metadata_offset = metadata_offset;
}

bool sessions_is_valid(const struct sessions *sessions, broker_id id, time_ms now_ms) {
    const struct session *session = sessions_find(sessions, id);
    return session && session->live && now_ms - session->contact_ms <= sessions->timeout_ms;
}

broker_id sessions_expired(const struct sessions *sessions, const struct image *image, time_ms now_ms, time_ms *next_ms) {
    broker_id expired = -1;
    time_ms oldest = INT64_MAX;
    for (const struct image_broker *broker = NULL; (broker = image_broker_next(image, broker));) {
        if (broker->fenced) continue;
        const struct session *session = sessions_find(sessions, broker->id);
        time_ms contact = session && session->live ? session->contact_ms : 0;
        if (contact >= oldest) continue;
        oldest = contact;
        expired = broker->id;
    }
    *next_ms = oldest == INT64_MAX ? INT64_MAX : oldest + sessions->timeout_ms + 1;
    return expired >= 0 && now_ms >= *next_ms ? expired : -1;
}

log_offset sessions_lowest_active(const struct sessions *sessions, const struct image *image) {
    log_offset lowest = INT64_MAX;
    for (const struct image_broker *broker = NULL; (broker = image_broker_next(image, broker));) {
        if (broker->fenced || broker->in_controlled_shutdown) continue;
        const struct session *session = sessions_find(sessions, broker->id);
        log_offset has = session ? session->metadata_offset : -1;
        if (has < lowest) lowest = has;
    }
    return lowest;
}

/* ---- counts: what a partition adds to them is taken away before it changes and added again after */

struct counting { struct sessions *sessions; bool failed; };

static void count_broker(struct counting *counting, broker_id id, uint32_t step, size_t counter) {
    if (id < 0) return;
    struct session *session = sessions_get(counting->sessions, id);
    if (!session) counting->failed = true;
    else *(uint32_t *)(void *)((char *)session + counter) += step;
}

static void count_partition(struct counting *counting, const struct image_partition *p, uint32_t step) {
    if (!p) return;
    struct image_ids isr = image_isr(p), elr = image_elr(p);
    count_broker(counting, p->leader, step, offsetof(struct session, leads));
    for (uint32_t i = 0; i < isr.count; i++) count_broker(counting, isr.ids[i], step, offsetof(struct session, in_isr));
    for (uint32_t i = 0; i < elr.count; i++) count_broker(counting, elr.ids[i], step, offsetof(struct session, in_elr));
    if (p->leader < 0) counting->sessions->leaderless += step;
    if (p->replicas && p->leader != image_replicas(p).ids[0]) counting->sessions->unbalanced += step;
    if (image_is_reassigning(p)) counting->sessions->reassigning += step;
}

static void count_change(void *context, const struct image_topic *topic, const struct image_partition *before, const struct image_partition *after) {
    (void)topic;
    count_partition(context, before, (uint32_t)-1);
    count_partition(context, after, 1);
}

bool sessions_count(struct sessions *sessions, const struct image *before, const struct image *after) {
    struct counting counting = {.sessions = sessions};
    struct image_visitor visitor = {.context = &counting, .partition = count_change};
    if (!before) {
        MAP_EACH(node, &sessions->map) {
            struct session *session = MAP_EACH_ITEM(node, struct session, node);
            session->leads = session->in_isr = session->in_elr = 0;
        }
        sessions->leaderless = sessions->unbalanced = sessions->reassigning = 0;
    }
    image_diff(before, after, &visitor);
    return !counting.failed;
}
