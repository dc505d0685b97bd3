#include "coord/coord.h"
#include "group/state.h"
#include "test.h"
#include "wire/batch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- A partition of `__consumer_offsets` in memory: record batches as bytes, as a log has them. */
struct host {
    struct pool pool, heap;           /* the machine's; the test's own, which never fails */
    struct group_machine *machine;
    struct coord *coord;
    struct random random;
    struct coord_now now;
    uint8_t *bytes;
    size_t size;
    size_t starts[512];               /* of the batches */
    log_offset bases[512];
    uint32_t batches;
    log_offset end, committed;
    bool commits_at_once;
    enum kafka_error append_error;
};
struct ask { struct coord_group_request request; struct arena arena; int replies; };

static enum kafka_error log_append(void *self, const struct coord_batch *batch, log_offset *end) {
    struct host *host = self;
    struct slab *slab;
    if (host->append_error) return host->append_error;
    if (batch->marker) {
        assert_int_equal(batch_build_marker(&host->heap, batch->marker == COORD_MARKER_COMMIT ? CONTROL_COMMIT : CONTROL_ABORT, batch->producer_id,
                                            batch->producer_epoch, batch->coordinator_epoch, batch->timestamp_ms, &slab), ERR_NONE);
        batch_stamp(slab->bytes, host->end, 0);
    } else {
        struct batch_options options;
        struct batch_builder builder;
        batch_options_init(&options);
        options.base_offset = host->end;
        options.producer_id = batch->producer_id;
        options.producer_epoch = batch->producer_epoch;
        options.transactional = batch->producer_id >= 0;
        batch_builder_init(&builder, &host->heap, 1 << 20, &options);
        for (uint32_t i = 0; i < batch->count; i++)
            assert_int_equal(batch_builder_add(&builder, batch->timestamp_ms, batch->records[i].key, batch->records[i].value, NULL, 0), ERR_NONE);
        assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
        batch_builder_destroy(&builder);
    }
    host->bytes = realloc(host->bytes, host->size + slab->used);
    host->starts[host->batches] = host->size;
    host->bases[host->batches++] = host->end;
    memcpy(host->bytes + host->size, slab->bytes, slab->used);
    host->size += slab->used;
    slab_drop(slab);
    host->end += batch->marker ? 1 : batch->count;
    if (host->commits_at_once) host->committed = host->end;
    *end = host->end;
    return KAFKA_NONE;
}

/* Two batches at a time. */
static void log_read(void *self, log_offset from, uint32_t bytes_max, uint64_t load) {
    struct host *host = self;
    uint32_t first = 0;
    while (first < host->batches && host->bases[first] < from) first++;
    size_t start = first < host->batches ? host->starts[first] : host->size, end = first + 2 < host->batches ? host->starts[first + 2] : host->size;
    coord_read_done_bytes(host->coord, &host->now, load, ERR_NONE, span_of(host->bytes + start, end - start));
}
static log_offset log_end(void *self) { return ((struct host *)self)->end; }
static log_offset log_committed(void *self) { return ((struct host *)self)->committed; }

static void host_open(struct host *host) {
    memset(host, 0, sizeof *host);
    pool_init(&host->pool, 0, 0);
    pool_init(&host->heap, 0, 0);
    random_seed(&host->random, 3);
    host->now = (struct coord_now){.now_ms = 1000, .wall_ms = 1795219100000, .random = &host->random};
    host->commits_at_once = true;
    struct group_settings settings = group_settings_default();
    settings.initial_rebalance_delay_ms = 0;
    host->machine = group_machine_new(&host->pool, &settings);
    struct coord_options options = {.pool = &host->pool, .requests_max = 100, .log = {host, log_append, log_read, log_end, log_committed}, .machine = coord_group_machine(host->machine)};
    assert_int_equal(coord_open(&host->coord, &options), ERR_NONE);
}

static void host_close(struct host *host) {
    coord_close(host->coord);
    group_machine_free(host->machine);
    free(host->bytes);
    pool_destroy(&host->pool);
    pool_destroy(&host->heap);
}

static void load(struct host *host) {
    coord_won(host->coord, &host->now, 0);
    while (coord_state(host->coord) == COORD_LOADING) {
        time_ms due = coord_next_deadline(host->coord);
        assert_true(due < INT64_MAX);
        if (due > host->now.now_ms) host->now.now_ms = due;
        coord_tick(host->coord, &host->now);
    }
}

static void read_segment(struct host *host, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/disk/files/%s/00000000000000000000.log", test_vectors_folder(), name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    host->bytes = malloc(1 << 20);
    host->size = fread(host->bytes, 1, 1 << 20, file);
    fclose(file);
    struct span rest = span_of(host->bytes, host->size);
    struct batch batch;
    while (!batch_next(&rest, &batch)) {
        host->starts[host->batches] = (size_t)(batch.bytes - host->bytes);
        host->bases[host->batches++] = batch.base_offset;
        host->end = batch_next_offset(&batch);
    }
    host->committed = host->end;
}

/* ---- Requests */

static void replied(struct coord_request *host) {
    struct ask *ask = container_of(host, struct ask, request.host);
    ask->replies++;
    /* As a broker does: what the host says in the machine's place becomes an answer of the request's kind. */
    if (host->error && !group_error_answer(&ask->request.group, host->error)) ask->request.group.answer.any = NULL;
}

static struct ask *new_ask(struct host *host, enum group_request_type type, int version) {
    struct ask *ask = calloc(1, sizeof *ask);
    arena_init(&ask->arena, &host->heap, 0);
    ask->request.host.reply = replied;
    ask->request.group = (struct group_request){.type = type, .version = (int16_t)version, .arena = &ask->arena, .client_id = SPAN_LITERAL("c"), .client_host = SPAN_LITERAL("/h")};
    return ask;
}
static void end_ask(struct ask *ask) {
    arena_destroy(&ask->arena);
    free(ask);
}

static struct ask *ask_join(struct host *host, const char *group, const char *member) {
    struct ask *ask = new_ask(host, GROUP_JOIN, 4);
    struct join_group_request *join = ARENA_NEW(&ask->arena, struct join_group_request);
    static struct join_group_request_join_group_request_protocol protocol;
    protocol = (struct join_group_request_join_group_request_protocol){SPAN_LITERAL("range"), SPAN_LITERAL("x")};
    join_group_request_init(join);
    join->group_id = span_text(group);
    join->session_timeout_ms = 10000;
    join->rebalance_timeout_ms = 10000;
    join->member_id = span_text(member);
    join->protocol_type = SPAN_LITERAL("consumer");
    join->protocols = &protocol;
    join->protocols_count = 1;
    ask->request.group.join = join;
    coord_request(host->coord, &ask->request.host, &host->now);
    return ask;
}

static struct ask *ask_sync(struct host *host, const char *group, const char *member, int32_t generation) {
    struct ask *ask = new_ask(host, GROUP_SYNC, 4);
    struct sync_group_request *sync = ARENA_NEW(&ask->arena, struct sync_group_request);
    struct sync_group_request_sync_group_request_assignment *assignment = ARENA_NEW(&ask->arena, struct sync_group_request_sync_group_request_assignment);
    sync_group_request_init(sync);
    sync->group_id = span_text(group);
    sync->generation_id = generation;
    sync->member_id = span_text(member);
    *assignment = (struct sync_group_request_sync_group_request_assignment){span_text(member), SPAN_LITERAL("all")};
    sync->assignments = assignment;
    sync->assignments_count = 1;
    ask->request.group.sync = sync;
    coord_request(host->coord, &ask->request.host, &host->now);
    return ask;
}

static struct ask *ask_commit(struct host *host, const char *group, const char *member, int32_t generation, log_offset offset) {
    struct ask *ask = new_ask(host, GROUP_OFFSET_COMMIT, 8);
    struct offset_commit_request *body = ARENA_NEW(&ask->arena, struct offset_commit_request);
    offset_commit_request_init(body);
    body->group_id = span_text(group);
    body->member_id = span_text(member);
    body->generation_id_or_member_epoch = generation;
    body->topics = offset_commit_request_offset_commit_request_topic_array(&ask->arena, 1);
    body->topics_count = 1;
    body->topics[0].name = SPAN_LITERAL("plain");
    body->topics[0].partitions = offset_commit_request_offset_commit_request_partition_array(&ask->arena, 1);
    body->topics[0].partitions_count = 1;
    body->topics[0].partitions[0].committed_offset = offset;
    ask->request.group.offset_commit = body;
    coord_request(host->coord, &ask->request.host, &host->now);
    return ask;
}
static int commit_error(const struct ask *ask) { return ask->request.group.answer.offset_commit ? ask->request.group.answer.offset_commit->topics[0].partitions[0].error_code : -99; }

static struct ask *ask_by_name(struct host *host, enum group_request_type type, const char *group) {
    struct ask *ask = new_ask(host, type, 6);
    ask->request.group.group_id = span_text(group);
    coord_request(host->coord, &ask->request.host, &host->now);
    return ask;
}

static void assert_offset(struct host *host, const char *group, const char *topic, int32_t partition, log_offset expected) {
    struct ask *ask = new_ask(host, GROUP_OFFSET_FETCH, 8);
    struct offset_fetch_request_offset_fetch_request_group body;
    struct offset_fetch_request_offset_fetch_request_topics asked = {.name = span_text(topic), .partition_indexes = &partition, .partition_indexes_count = 1};
    offset_fetch_request_offset_fetch_request_group_init(&body);
    body.group_id = span_text(group);
    body.topics = &asked;
    body.topics_count = 1;
    ask->request.group.offset_fetch.group = &body;
    ask->request.group.offset_fetch.require_stable = true;
    coord_request(host->coord, &ask->request.host, &host->now);
    assert_int_equal(ask->replies, 1);
    assert_int_equal(ask->request.group.answer.offset_fetch->topics[0].partitions[0].error_code, KAFKA_NONE);
    assert_int_equal(ask->request.group.answer.offset_fetch->topics[0].partitions[0].committed_offset, expected);
    end_ask(ask);
}

/* ---- Tests */

/* What Apache Kafka left on disk is taken up: offsets (a transaction's too, by its marker), the last state of a classic
 * group, and groups of kinds that are not served, which are known to be there. */
TEST(coord_group_loads_what_apache_wrote) {
    struct host host;
    host_open(&host);
    read_segment(&host, "__consumer_offsets-0");
    load(&host);
    assert_int_equal(coord_applied(host.coord), 31);
    assert_int_equal(group_unreadable_records(host.machine), 0);
    char bytes[4096];
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    group_text_persistent(host.machine, &text);
    assert_string_equal(bytes,
        "tx-group Empty 0 - - - -1\n"
        "  offset plain-0 7 epoch -1 at 1795219048246 expires -1 \"meta\" guigBCrjR5OJjliOMLVYNQ\n"
        "g-classic Empty 2 consumer - - 1795219060072\n"
        "  offset plain-2 0 epoch -1 at 1795219059808 expires -1 \"\" guigBCrjR5OJjliOMLVYNQ\n"
        "  offset plain-1 60 epoch 0 at 1795219059808 expires -1 \"\" guigBCrjR5OJjliOMLVYNQ\n"
        "  offset plain-0 60 epoch 0 at 1795219059808 expires -1 \"\" guigBCrjR5OJjliOMLVYNQ\n"
        "  offset txn-0 7 epoch 0 at 1795219059808 expires -1 \"\" sU5_DrdpRDKsRvQu4daHbw\n"
        "g-consumer of another kind 1 members 0\n"
        "  offset plain-2 0 epoch -1 at 1795219066089 expires -1 \"\" guigBCrjR5OJjliOMLVYNQ\n"
        "  offset plain-1 0 epoch -1 at 1795219066089 expires -1 \"\" guigBCrjR5OJjliOMLVYNQ\n"
        "  offset plain-0 60 epoch 0 at 1795219066089 expires -1 \"\" guigBCrjR5OJjliOMLVYNQ\n"
        "  offset txn-0 0 epoch -1 at 1795219066089 expires -1 \"\" sU5_DrdpRDKsRvQu4daHbw\n");
    assert_offset(&host, "tx-group", "plain", 0, 7);
    assert_offset(&host, "g-classic", "txn", 0, 7);
    struct ask *list = new_ask(&host, GROUP_LIST, 5);
    struct list_groups_request everything = {0};
    list->request.group.list = &everything;
    coord_request(host.coord, &list->request.host, &host.now);
    assert_int_equal(list->request.group.answer.list->groups_count, 3);
    end_ask(list);
    host_close(&host);

    host_open(&host);
    read_segment(&host, "__consumer_offsets-1");
    load(&host);
    text_init(&text, bytes, sizeof bytes);
    group_text_persistent(host.machine, &text);
    assert_string_equal(bytes, "g-share of another kind 2 members 0\n");
    struct ask *join = ask_join(&host, "g-share", "");
    assert_int_equal(join->request.group.answer.join->error_code, KAFKA_INCONSISTENT_GROUP_PROTOCOL);
    end_ask(join);
    host_close(&host);
}

/* Our records of what Apache Kafka wrote are the same bytes: each group and offset of its log, read, applied and written. */
TEST(coord_group_writes_what_apache_writes) {
    struct host host;
    int groups = 0, offsets = 0;
    host_open(&host);
    read_segment(&host, "__consumer_offsets-0");
    struct span rest = span_of(host.bytes, host.size);
    struct batch batch;
    while (!batch_next(&rest, &batch)) {
        struct batch_records opened;
        struct record_cursor cursor;
        struct record record;
        if (batch_is_control(&batch)) continue;
        assert_int_equal(batch_records_open(&batch, NULL, &UNPACK_LIMITS_DEFAULT, &opened), ERR_NONE);
        record_cursor_init(&cursor, &batch, opened.bytes);
        while (!record_next(&cursor, &record)) {
            struct arena arena;
            struct group_effects effects;
            struct wire_framed key, value;
            arena_init(&arena, &host.heap, 0);
            group_effects_init(&effects, &arena);
            assert_int_equal(wire_coordinator_key_open(WIRE_LOG_GROUP, record.key, &key), ERR_NONE);
            if (key.message->key == 2 && record.value.data) {
                struct group_metadata_value decoded;
                struct group_record one = {record.key, record.value};
                struct group_batch as_batch = {.records = &one, .count = 1, .producer_id = -1};
                assert_true(group_apply(host.machine, &as_batch, record.offset, false));
                assert_int_equal(wire_coordinator_value_open(WIRE_LOG_GROUP, 2, record.value, &value), ERR_NONE);
                assert_int_equal(wire_framed_decode(&value, &decoded, &arena), ERR_NONE);
                struct group *group = group_find(host.machine, SPAN_LITERAL("g-classic"));
                assert_non_null(group);
                record_group(&effects, group->id, group_value(group, group->generation, group->state_ms, NULL, &arena));
                groups++;
            } else if (key.message->key == 1) {
                struct offset_commit_key at;
                struct offset_commit_value decoded;
                assert_int_equal(wire_framed_decode(&key, &at, &arena), ERR_NONE);
                assert_int_equal(wire_coordinator_value_open(WIRE_LOG_GROUP, 1, record.value, &value), ERR_NONE);
                assert_int_equal(wire_framed_decode(&value, &decoded, &arena), ERR_NONE);
                record_offset(&effects, at.group, at.topic, at.partition, &decoded);
                offsets++;
            }
            if (effects.count) {
                assert_int_equal(effects.count, 1);
                assert_true(span_equal(effects.records[0].key, record.key));
                assert_true(span_equal(effects.records[0].value, record.value));
            }
            arena_destroy(&arena);
        }
        batch_records_close(&opened);
    }
    assert_int_equal(groups, 3);
    assert_int_equal(offsets, 17);
    host_close(&host);
}

/* An empty group of the newer protocol gives way to classic members: its records get tombstones in the same batch. */
TEST(coord_group_takes_over_an_empty_consumer_group) {
    struct host host;
    host_open(&host);
    read_segment(&host, "__consumer_offsets-0");
    load(&host);
    struct ask *join = ask_join(&host, "g-consumer", "");
    assert_int_equal(join->request.group.answer.join->error_code, KAFKA_MEMBER_ID_REQUIRED);
    assert_int_equal(host.end, 34); /* two tombstones and the group */
    assert_offset(&host, "g-consumer", "plain", 0, 60);
    coord_lost(host.coord);
    load(&host);
    char bytes[4096];
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    group_text_persistent(host.machine, &text);
    assert_non_null(strstr(bytes, "g-consumer Empty 0 - - -"));
    end_ask(join);
    host_close(&host);
}

/* Joined, assigned and committed only when the log says so: each answer of a group's life waits for its record. */
TEST(coord_group_holds_every_answer) {
    struct host host;
    host_open(&host);
    host.commits_at_once = false;
    load(&host);
    struct ask *first = ask_join(&host, "g", "");
    assert_int_equal(first->replies, 0);
    host.committed = host.end;
    coord_committed(host.coord, host.committed);
    assert_int_equal(first->replies, 1);
    char member[96] = "";
    memcpy(member, first->request.group.answer.join->member_id.data, first->request.group.answer.join->member_id.size);
    struct ask *join = ask_join(&host, "g", member);
    coord_tick(host.coord, &host.now);
    assert_int_equal(join->replies, 1); /* nothing is written for a generation before its assignment */
    assert_int_equal(join->request.group.answer.join->generation_id, 1);
    struct ask *sync = ask_sync(&host, "g", member, 1), *commit = ask_commit(&host, "g", member, 1, 42);
    assert_int_equal(sync->replies + commit->replies, 0);
    coord_committed(host.coord, host.committed = host.end - 1);
    assert_int_equal(sync->replies, 1);
    assert_int_equal(commit->replies, 0);
    coord_committed(host.coord, host.committed = host.end);
    assert_int_equal(commit->replies, 1);
    assert_int_equal(commit_error(commit), KAFKA_NONE);
    coord_lost(host.coord);
    struct ask *heartbeat = new_ask(&host, GROUP_HEARTBEAT, 4);
    struct heartbeat_request body = {.group_id = SPAN_LITERAL("g"), .generation_id = 1, .member_id = span_text(member)};
    heartbeat->request.group.heartbeat = &body;
    coord_request(host.coord, &heartbeat->request.host, &host.now);
    assert_int_equal(heartbeat->request.group.answer.heartbeat->error_code, KAFKA_NOT_COORDINATOR);
    load(&host);
    assert_offset(&host, "g", "plain", 0, 42);
    coord_request(host.coord, &heartbeat->request.host, &host.now);
    assert_int_equal(heartbeat->request.group.answer.heartbeat->error_code, KAFKA_NONE);
    end_ask(first); end_ask(join); end_ask(sync); end_ask(commit); end_ask(heartbeat);
    host_close(&host);
}

/* A commit that is too large for the log is an error that no client can mend; others are a coordinator's. */
TEST(coord_group_tells_why_a_commit_failed) {
    struct host host;
    host_open(&host);
    load(&host);
    static const struct { enum kafka_error of, told; } cases[] = {
        {KAFKA_MESSAGE_TOO_LARGE, KAFKA_UNKNOWN_SERVER_ERROR}, {KAFKA_RECORD_LIST_TOO_LARGE, KAFKA_UNKNOWN_SERVER_ERROR},
        {KAFKA_NOT_ENOUGH_REPLICAS, KAFKA_COORDINATOR_NOT_AVAILABLE}, {KAFKA_NOT_LEADER_OR_FOLLOWER, KAFKA_NOT_COORDINATOR},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        host.append_error = cases[i].of;
        struct ask *commit = ask_commit(&host, "g", "", -1, 1);
        assert_int_equal(commit_error(commit), cases[i].told);
        end_ask(commit);
    }
    host.append_error = KAFKA_NONE;
    assert_offset(&host, "g", "plain", 0, -1);
    host_close(&host);
}

/* Transactional offsets through real batches: pending until the marker, also when the coordinator changes in between. */
TEST(coord_group_keeps_transactions_over_a_reload) {
    struct host host;
    host_open(&host);
    load(&host);
    struct ask *commit = new_ask(&host, GROUP_TXN_OFFSET_COMMIT, 5);
    struct txn_offset_commit_request body;
    txn_offset_commit_request_init(&body);
    body.group_id = SPAN_LITERAL("g");
    body.producer_id = 9;
    body.generation_id_or_member_epoch = -1;
    body.topics = txn_offset_commit_request_txn_offset_commit_request_topic_array(&commit->arena, 1);
    body.topics_count = 1;
    body.topics[0].name = SPAN_LITERAL("plain");
    body.topics[0].partitions = txn_offset_commit_request_txn_offset_commit_request_partition_array(&commit->arena, 1);
    body.topics[0].partitions_count = 1;
    body.topics[0].partitions[0].committed_offset = 77;
    commit->request.group.txn_offset_commit = &body;
    coord_request(host.coord, &commit->request.host, &host.now);
    assert_int_equal(commit->replies, 1);
    coord_lost(host.coord);
    load(&host);
    assert_int_equal(host.machine->producers.count, 1);
    struct ask *end = new_ask(&host, GROUP_END_TXN, 0);
    end->request.group.end_txn.producer = 9;
    end->request.group.end_txn.epoch = 1;
    end->request.group.end_txn.commit = true;
    coord_request(host.coord, &end->request.host, &host.now);
    assert_int_equal(end->replies, 1);
    assert_offset(&host, "g", "plain", 0, 77);
    coord_lost(host.coord);
    load(&host);
    assert_offset(&host, "g", "plain", 0, 77);
    assert_int_equal(host.machine->producers.count, 0);
    end_ask(commit); end_ask(end);
    host_close(&host);
}

/* Damage in the log: it is not served from, and nothing is skipped, until it is mended. */
TEST(coord_group_does_not_serve_from_a_damaged_log) {
    struct host host;
    host_open(&host);
    read_segment(&host, "__consumer_offsets-0");
    uint8_t *magic = host.bytes + host.starts[3] + BATCH_AT_MAGIC, good = *magic;
    *magic = 9;
    coord_won(host.coord, &host.now, 0);
    for (int i = 0; i < 20; i++) {
        host.now.now_ms += 1000;
        coord_tick(host.coord, &host.now);
        assert_int_equal(coord_state(host.coord), COORD_LOADING);
    }
    *magic = good;
    host.now.now_ms += 60000;
    for (int i = 0; i < 20; i++) coord_tick(host.coord, &host.now);
    assert_int_equal(coord_state(host.coord), COORD_SERVING);
    assert_int_equal(coord_applied(host.coord), 31);
    host_close(&host);
}

/* A record whose kind is known and which cannot be read (a value that is cut short, a version that there is not) ends the
 * load: where it lies is told, nothing of it is served, and it is tried again ever more seldom, half a minute apart in the
 * end. Mended, it is loaded. A record of an unknown kind is passed over. */
TEST(coord_group_tells_where_a_record_cannot_be_read) {
    static const uint8_t key[] = {0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 0}, unknown_key[] = {0, 99, 1, 2, 3};
    static const uint8_t values[][4] = {{0, 3, 0, 0}, {0xff, 0xff, 0, 0}};
    for (size_t i = 0; i < countof(values); i++) {
        struct host host;
        struct coord_record record = {SPAN_LITERAL(""), SPAN_LITERAL("x")};
        struct coord_batch batch = {.records = &record, .count = 1, .timestamp_ms = 1, .producer_id = -1, .producer_epoch = -1};
        log_offset end, at;
        host_open(&host);
        record.key = span_of(unknown_key, sizeof unknown_key);
        assert_int_equal(log_append(&host, &batch, &end), KAFKA_NONE);
        load(&host);
        assert_int_equal(coord_load_failure(host.coord, &at), ERR_NONE);
        coord_lost(host.coord);
        record = (struct coord_record){span_of(key, sizeof key), span_of(values[i], sizeof values[i])};
        assert_int_equal(log_append(&host, &batch, &end), KAFKA_NONE);
        size_t good = host.starts[1];
        coord_won(host.coord, &host.now, 0);
        uint32_t tries = 0;
        for (time_ms until = host.now.now_ms + 600000; host.now.now_ms < until; tries++) {
            assert_int_equal(coord_state(host.coord), COORD_LOADING);
            if (tries > 0) assert_int_equal(coord_load_failure(host.coord, &at), ERR_CORRUPT);
            if (tries > 0) assert_int_equal(at, 1);
            host.now.now_ms = coord_next_deadline(host.coord);
            coord_tick(host.coord, &host.now);
        }
        assert_true(tries > 10 && tries < 50);
        assert_int_equal(group_count(host.machine), 0);
        host.size = good; /* as if its partition had been mended */
        host.batches = 1;
        host.end = host.committed = 1;
        load(&host);
        assert_int_equal(coord_load_failure(host.coord, &at), ERR_NONE);
        host_close(&host);
    }
}

/* The n-th allocation fails, for every n until none is reached: every request is still answered once, nothing leaks, the
 * invariants hold, and what was acknowledged is there after a reload. */
TEST(coord_group_survives_each_failing_allocation) {
    uint64_t n = 1;
    for (bool reached = true; reached; n++) {
        struct host host;
        host_open(&host);
        load(&host);
        host.pool.fail_at = n;
        struct ask *asks[12];
        int count = 0;
        log_offset acknowledged = -1;
        char member[96] = "";
        asks[count++] = ask_join(&host, "g", "");
        const struct join_group_response *answer = asks[0]->request.group.answer.join;
        if (answer && answer->member_id.size) memcpy(member, answer->member_id.data, answer->member_id.size);
        asks[count++] = ask_join(&host, "g", member);
        for (int i = 0; i < 4; i++) { coord_tick(host.coord, &host.now); host.now.now_ms += 200; }
        asks[count++] = ask_sync(&host, "g", member, 1);
        asks[count++] = ask_commit(&host, "g", member, 1, 42);
        if (commit_error(asks[count - 1]) == KAFKA_NONE) acknowledged = 42;
        asks[count++] = ask_commit(&host, "h", "", -1, 5);
        bool other = commit_error(asks[count - 1]) == KAFKA_NONE;
        asks[count++] = ask_by_name(&host, GROUP_DESCRIBE, "g");
        asks[count++] = ask_join(&host, "g", "");
        reached = host.pool.fail_at == 0;
        host.pool.fail_at = 0;
        group_check(host.machine);
        coord_check(host.coord);
        if (!reached) { /* without a failure all of it went well */
            assert_int_equal(acknowledged, 42);
            assert_true(other);
        }
        coord_lost(host.coord);
        for (int i = 0; i < count; i++) {
            assert_int_equal(asks[i]->replies, 1);
            end_ask(asks[i]);
        }
        load(&host);
        if (acknowledged >= 0) assert_offset(&host, "g", "plain", 0, acknowledged);
        if (other) assert_offset(&host, "h", "plain", 0, 5);
        group_check(host.machine);
        host_close(&host);
    }
    assert_true(n > 20);
}
