#include "broker/meta_follow.h"

/* One image on its way to one shard. The next goes when this one is back: what came between is skipped. */
struct publication {
    struct message message;
    struct meta_follow *follow;
    struct image *image;   /* on its way: the shard's when it arrives */
    uint32_t shard;
    bool is_away, is_stale;
};

enum { RETRY_MS = 20 };

struct meta_follow {
    struct quorum_listener listener;
    struct meta_follow_options options;
    struct shard *shard;
    struct delta *delta;   /* NULL: the controller's versions are taken */
    struct arena scratch;
    struct image *image;   /* as last published */
    struct turn_hook hook;
    struct timer retry;    /* always set, so that it can be moved without memory; INT64_MAX: nothing is to be tried again */
    struct publication publications[SHARDS_MAX];
    struct raft_snapshot_id snapshot; /* that is being read */
    struct image_position position;
    log_offset records_end;           /* of the last batch that had records */
    bool in_bootstrap, has_failed, has_stopped, changed;
};

static struct meta_follow *of(struct quorum_listener *listener) {
    return container_of(listener, struct meta_follow, listener);
}

static void fail(struct meta_follow *follow, const char *why) {
    if (follow->has_failed) return;
    follow->has_failed = true;
    if (follow->options.on_failed) follow->options.on_failed(follow->options.context, why);
}

/* ---- publishing --------------------------------------------------------------------------------------------------- */

static void publish_to(struct publication *publication);

static void is_back(struct shard *shard, struct message *message) {
    struct publication *publication = container_of(message, struct publication, message);
    publication->is_away = false;
    if (publication->is_stale && !publication->follow->has_stopped) publish_to(publication);
}

static void arrives(struct shard *shard, struct message *message) {
    struct publication *publication = container_of(message, struct publication, message);
    struct broker *broker = shard->roles[ROLE_BROKER];
    struct image *image = publication->image;
    publication->image = NULL;
    if (broker && !broker->stopping) broker_image(broker, image);
    else image_drop(image);
    message->run = is_back;
    shard_send(shard, publication->follow->shard->index, message);
}

static void publish_to(struct publication *publication) {
    struct meta_follow *follow = publication->follow;
    if (publication->is_away) {
        publication->is_stale = true;
        return;
    }
    publication->is_stale = false;
    publication->is_away = true;
    publication->image = image_hold(follow->image);
    publication->message.run = arrives;
    shard_send(follow->shard, publication->shard, &publication->message);
}

static struct image *next_image(struct meta_follow *follow) {
    if (follow->delta) {
        delta_set_position(follow->delta, follow->position);
        return delta_visible(follow->delta);
    }
    const struct image *committed = follow->options.committed(follow->options.context);
    /* The controller's version ends with its last record; what is committed behind it may be the quorum's own. A version
     * that ends before that (in the middle of what was decided at once, or of a transaction) says so itself. */
    struct image_position ends = image_position(committed), told = image_position(follow->image);
    if (ends.offset == follow->records_end) ends = follow->position;
    return image_at(committed, ends.offset > told.offset ? ends : told); /* what was told behind it had no records */
}

static void retry_fired(struct timer *timer);

static void set_retry(struct meta_follow *follow, time_ns at) {
    if (!timer_set(follow->shard, &follow->retry, at, retry_fired)) never("a timer fits where it was");
}

static void turn_ends(struct turn_hook *hook) {
    struct meta_follow *follow = container_of(hook, struct meta_follow, hook);
    if (!follow->changed || follow->has_stopped || follow->has_failed) return;
    struct image *image = next_image(follow);
    if (!image) { /* what it is made from is kept, so it only comes later */
        set_retry(follow, shard_now(follow->shard) + RETRY_MS * NS_PER_MS);
        return;
    }
    follow->changed = false;
    image_drop(follow->image);
    follow->image = image;
    for (uint32_t i = 0; i < shard_count(follow->shard->group); i++) publish_to(&follow->publications[i]);
    if (follow->options.on_image) follow->options.on_image(follow->options.context, image);
}

static void retry_fired(struct timer *timer) {
    struct meta_follow *follow = container_of(timer, struct meta_follow, retry);
    set_retry(follow, INT64_MAX);
    turn_ends(&follow->hook);
}

/* ---- what the quorum hands up --------------------------------------------------------------------------------------- */

static void take(struct meta_follow *follow, const struct quorum_batch *batch) {
    if (follow->in_bootstrap || follow->has_failed) return; /* the controller writes what format left into the log */
    for (uint32_t i = 0; follow->delta && i < batch->count; i++) {
        enum err err = delta_apply(follow->delta, batch->values[i], &follow->scratch);
        arena_reset(&follow->scratch);
        if (err) {
            fail(follow, delta_error(follow->delta));
            return;
        }
    }
    follow->position = (struct image_position){.offset = batch->last + 1, .epoch = batch->epoch, .timestamp_ms = batch->timestamp};
    if (batch->count) follow->records_end = batch->last + 1;
}

static void on_snapshot_begin(struct quorum_listener *listener, struct raft_snapshot_id id, bool bootstrap) {
    struct meta_follow *follow = of(listener);
    follow->in_bootstrap = bootstrap;
    follow->snapshot = id;
    if (!bootstrap && follow->delta && delta_clear(follow->delta)) fail(follow, "there is no memory for the metadata");
}

static void on_snapshot_records(struct quorum_listener *listener, const struct quorum_batch *batch) {
    take(of(listener), batch);
}

static void on_snapshot_end(struct quorum_listener *listener, bool ok) {
    struct meta_follow *follow = of(listener);
    bool counts = ok && !follow->in_bootstrap;
    follow->in_bootstrap = false;
    if (!counts) return;
    follow->position.offset = follow->records_end = follow->snapshot.offset;
    follow->position.epoch = follow->snapshot.epoch;
    follow->changed = true;
    turn_end(follow->shard, &follow->hook, turn_ends);
}

static void on_commit(struct quorum_listener *listener, const struct quorum_batch *batch) {
    struct meta_follow *follow = of(listener);
    take(follow, batch);
    follow->changed = true;
    turn_end(follow->shard, &follow->hook, turn_ends);
}

static void on_failed(struct quorum_listener *listener, const char *why) {
    fail(of(listener), why);
}

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

enum err meta_follow_open(struct meta_follow **out, const struct meta_follow_options *options) {
    struct shard *shard = options->shard;
    struct meta_follow *follow = POOL_NEW(shard->pool, struct meta_follow);
    if (!follow) return ERR_NO_MEMORY;
    follow->options = *options;
    follow->shard = shard;
    follow->listener = (struct quorum_listener){.on_snapshot_begin = on_snapshot_begin, .on_snapshot_records = on_snapshot_records,
        .on_snapshot_end = on_snapshot_end, .on_commit = on_commit, .on_failed = on_failed};
    arena_init(&follow->scratch, shard->pool, 0);
    for (uint32_t i = 0; i < SHARDS_MAX; i++) {
        follow->publications[i].follow = follow;
        follow->publications[i].shard = i;
    }
    follow->image = image_new(shard->pool);
    if (follow->image && !options->committed) follow->delta = delta_new(shard->pool, follow->image);
    if (!follow->image || (!follow->delta && !options->committed) || !timer_set(shard, &follow->retry, INT64_MAX, retry_fired)) {
        meta_follow_free(follow);
        return ERR_NO_MEMORY;
    }
    *out = follow;
    return ERR_NONE;
}

struct quorum_listener *meta_follow_listener(struct meta_follow *follow) {
    return &follow->listener;
}

const struct image *meta_follow_image(const struct meta_follow *follow) {
    return follow->image;
}

void meta_follow_stop(struct meta_follow *follow) {
    follow->has_stopped = true;
}

void meta_follow_free(struct meta_follow *follow) {
    if (!follow) return;
    struct pool *pool = follow->shard->pool;
    timer_cancel(follow->shard, &follow->retry);
    delta_free(follow->delta);
    image_drop(follow->image);
    arena_destroy(&follow->scratch);
    pool_free(pool, follow, sizeof *follow);
}
