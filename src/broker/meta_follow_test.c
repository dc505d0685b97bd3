#include "broker/meta_follow.h"
#include "broker/broker_rig.h"
#include "test.h"
#include "wire/record_frame.h"
#include <stdio.h>
#include <string.h>

/* What the quorum hands up becomes versions that every shard gets, in order. */

struct following {
    struct broker_rig rig;
    struct meta_follow *follow;
    struct quorum_listener *listener;
    const struct image *committed; /* the controller's */
    uint32_t images, failed;
    log_offset last;               /* of the version that went out last */
    char why[128];
};

static void on_image(void *context, const struct image *image) {
    struct following *f = context;
    assert_true(image_position(image).offset >= f->last);
    f->last = image_position(image).offset;
    f->images++;
}
static void on_failed(void *context, const char *why) {
    struct following *f = context;
    f->failed++;
    snprintf(f->why, sizeof f->why, "%s", why);
}
static const struct image *committed(void *context) { return ((struct following *)context)->committed; }

static void follow_open(struct following *f, uint32_t shards, bool with_controller) {
    memset(f, 0, sizeof *f);
    broker_rig_open(&f->rig, shards, 1, NULL);
    struct meta_follow_options options = {.shard = f->rig.brokers[0]->shard, .node = &f->rig.node, .on_image = on_image, .on_failed = on_failed,
                                          .committed = with_controller ? committed : NULL, .context = f};
    assert_int_equal(meta_follow_open(&f->follow, &options), ERR_NONE);
    f->listener = meta_follow_listener(f->follow);
}
static void follow_close(struct following *f) {
    meta_follow_stop(f->follow);
    broker_rig_turns(&f->rig, 3);
    meta_follow_free(f->follow);
    broker_rig_close(&f->rig);
}

/* A batch of records that make topics of these names, "" being a record that contradicts all; NULL: a control batch. It ends
 * before `end`. */
static void hand_up(struct following *f, log_offset end, const char *name, void (*to)(struct quorum_listener *, const struct quorum_batch *)) {
    struct quorum_batch batch = {.base = end - 1, .last = end - 1, .epoch = 4, .timestamp = 1000 + end};
    struct topic_record topic = {.name = span_text(name ? name : ""), .topic_id = {{0x21}}};
    struct remove_topic_record none = {.topic_id = {{0x99}}};
    struct span value = {0};
    if (name) {
        memcpy(topic.topic_id.bytes + 1, name, strlen(name));
        value = *name ? wire_metadata_frame(&topic_record_message, 0, &topic, &f->rig.arena) : wire_metadata_frame(&remove_topic_record_message, 0, &none, &f->rig.arena);
        batch.values = &value;
        batch.count = 1;
    }
    to(f->listener, &batch);
}
static void commit(struct following *f, log_offset end, const char *name) { hand_up(f, end, name, f->listener->on_commit); }

static log_offset seen_by(const struct following *f, uint32_t shard) { return image_position(f->rig.brokers[shard]->image).offset; }
static bool knows(const struct following *f, uint32_t shard, const char *name) {
    return image_topic(f->rig.brokers[shard]->image, span_text(name)) != NULL;
}

/* What is committed in one turn is one version; it goes to every shard, and says how far it goes: also behind batches
 * without records. */
TEST(follow_publishes_what_is_committed) {
    struct following f;
    follow_open(&f, 3, false);
    commit(&f, 1, "a");
    commit(&f, 2, "b");
    assert_int_equal(f.images, 0);
    broker_rig_turns(&f.rig, 3);
    assert_int_equal(f.images, 1);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(knows(&f, i, "a") && knows(&f, i, "b"));
        assert_int_equal(seen_by(&f, i), 2);
        assert_int_equal(image_position(f.rig.brokers[i]->image).epoch, 4);
        assert_int_equal(image_position(f.rig.brokers[i]->image).timestamp_ms, 1002);
    }
    commit(&f, 3, NULL);
    broker_rig_turns(&f.rig, 3);
    assert_int_equal(f.images, 2);
    assert_int_equal(seen_by(&f, 2), 3);
    assert_ptr_equal(meta_follow_image(f.follow), f.rig.brokers[0]->image);
    follow_close(&f);
}

/* What format left is written into the log by the controller and comes again from there: the bootstrap itself means nothing.
 * Any other snapshot takes the place of all that was known. */
TEST(follow_takes_snapshots_for_all_there_is) {
    struct following f;
    follow_open(&f, 1, false);
    f.listener->on_snapshot_begin(f.listener, (struct raft_snapshot_id){0, 0}, true);
    hand_up(&f, 1, "a", f.listener->on_snapshot_records);
    f.listener->on_snapshot_end(f.listener, true);
    broker_rig_turns(&f.rig, 3);
    assert_int_equal(f.images, 0);
    commit(&f, 1, "b");
    broker_rig_turns(&f.rig, 3);
    assert_true(knows(&f, 0, "b") && !knows(&f, 0, "a"));
    f.listener->on_snapshot_begin(f.listener, (struct raft_snapshot_id){50, 6}, false);
    hand_up(&f, 50, "c", f.listener->on_snapshot_records);
    broker_rig_turns(&f.rig, 3);
    assert_true(knows(&f, 0, "b")); /* not before it is whole */
    f.listener->on_snapshot_end(f.listener, true);
    broker_rig_turns(&f.rig, 3);
    assert_true(knows(&f, 0, "c") && !knows(&f, 0, "b"));
    assert_int_equal(seen_by(&f, 0), 50);
    assert_int_equal(image_position(f.rig.brokers[0]->image).epoch, 6);
    follow_close(&f);
}

/* One version at a time is on its way to a shard: a slow one skips what came between, ends with the newest, and never sees
 * an older one after a newer one; the others do not wait for it. */
TEST(follow_does_not_wait_for_slow_shards) {
    struct following f;
    follow_open(&f, 2, false);
    struct shard *first = f.rig.brokers[0]->shard, *slow = f.rig.brokers[1]->shard;
    for (log_offset end = 1; end <= 5; end++) {
        char name[2] = {(char)('a' + end), 0};
        commit(&f, end, name);
        shard_turn(first, io_now(first->io) + 100000);
        shard_turn(first, io_now(first->io) + 100000);
        assert_int_equal(seen_by(&f, 0), end);
    }
    assert_int_equal(f.images, 5);
    uint32_t versions = 0;
    for (log_offset before = 0; before < 5; versions++) {
        for (int i = 0; i < 10 && seen_by(&f, 1) == before; i++) {
            shard_turn(slow, io_now(slow->io) + 100000);
            if (seen_by(&f, 1) == before) shard_turn(first, io_now(first->io) + 100000);
        }
        assert_true(seen_by(&f, 1) > before);
        before = seen_by(&f, 1);
    }
    assert_int_equal(versions, 2); /* the first, which was on its way, and the last */
    follow_close(&f);
}

/* A record that contradicts what is known: it is told once, and nothing is published from then on, since what came would
 * build on something else than the log says. */
TEST(follow_ends_where_a_record_does_not_fit) {
    struct following f;
    follow_open(&f, 1, false);
    commit(&f, 1, "a");
    broker_rig_turns(&f.rig, 3);
    commit(&f, 2, "");
    commit(&f, 3, "b");
    commit(&f, 4, "");
    broker_rig_turns(&f.rig, 3);
    assert_int_equal(f.failed, 1);
    assert_true(f.why[0] != 0);
    assert_int_equal(f.images, 1);
    assert_int_equal(seen_by(&f, 0), 1);
    f.listener->on_failed(f.listener, "the quorum, too");
    assert_int_equal(f.failed, 1);
    follow_close(&f);
}

/* After the stop what is committed stays here; what was on its way is brought to its end. */
TEST(follow_publishes_nothing_after_its_stop) {
    struct following f;
    follow_open(&f, 2, false);
    struct shard *first = f.rig.brokers[0]->shard;
    for (log_offset end = 1; end <= 2; end++) { /* the second waits until the first is back from the other shard */
        commit(&f, end, end == 1 ? "a" : "b");
        shard_turn(first, io_now(first->io) + 100000);
    }
    assert_int_equal(f.images, 2);
    commit(&f, 3, "c");
    meta_follow_stop(f.follow);
    broker_rig_turns(&f.rig, 5);
    assert_int_equal(f.images, 2);
    assert_int_equal(seen_by(&f, 1), 1);
    follow_close(&f);
}

/* Beside a controller its committed version is what goes out. Behind it there may be batches of the quorum's own, which
 * belong to it; a version that ends earlier than the records that were handed up (the controller keeps the rest of what it
 * decided at once) goes no further than it ends, and not back behind what was said before. */
TEST(follow_takes_the_controllers_versions) {
    struct following f;
    follow_open(&f, 1, true);
    struct delta *delta = f.rig.delta;
    broker_rig_topic(&f.rig, "a");
    delta_set_position(delta, (struct image_position){.offset = 2, .epoch = 4, .timestamp_ms = 7});
    struct image *version = delta_visible(delta);
    f.committed = version;
    commit(&f, 2, "a");
    commit(&f, 3, NULL);
    broker_rig_turns(&f.rig, 3);
    assert_true(knows(&f, 0, "a"));
    assert_int_equal(seen_by(&f, 0), 3);
    commit(&f, 4, "b"); /* which the controller's version has not yet */
    broker_rig_turns(&f.rig, 3);
    assert_int_equal(f.images, 2);
    assert_false(knows(&f, 0, "b"));
    assert_int_equal(seen_by(&f, 0), 3);
    image_drop(version);
    broker_rig_topic(&f.rig, "b");
    delta_set_position(delta, (struct image_position){.offset = 4, .epoch = 4, .timestamp_ms = 7});
    f.committed = version = delta_visible(delta);
    commit(&f, 6, "c");
    broker_rig_turns(&f.rig, 3);
    assert_true(knows(&f, 0, "b"));
    assert_int_equal(seen_by(&f, 0), 4);
    assert_int_equal(image_position(f.rig.brokers[0]->image).timestamp_ms, 7);
    image_drop(version);
    follow_close(&f);
}
