#include "controller/machine_rig.h"
#include "test.h"
#include "wire/record_frame.h"
#include <string.h>

static struct coord_now now_of(struct rig *rig) {
    return (struct coord_now){.now_ms = rig->now_ms, .wall_ms = 1700000000000 + rig->now_ms, .random = &rig->random};
}

/* ---- the log in memory */

static void keep(struct rig *rig, const struct span *values, uint32_t count) {
    if (rig->batch_count == rig->batch_capacity) {
        uint32_t capacity = rig->batch_capacity ? rig->batch_capacity * 2 : 64;
        struct rig_batch *batches = ARENA_ARRAY(&rig->memory, capacity, struct rig_batch);
        if (rig->batch_count) memcpy(batches, rig->batches, rig->batch_count * sizeof *batches);
        rig->batches = batches;
        rig->batch_capacity = capacity;
    }
    struct rig_batch *batch = &rig->batches[rig->batch_count++];
    *batch = (struct rig_batch){ARENA_ARRAY(&rig->memory, count, struct span), count, rig->end};
    for (uint32_t i = 0; i < count; i++) {
        assert_non_null(values[i].data);
        batch->values[i] = (struct span){arena_copy(&rig->memory, values[i].data, values[i].size), values[i].size};
    }
    rig->end += count;
}

static enum kafka_error log_append_in_memory(void *self, const struct coord_batch *batch, log_offset *end) {
    struct rig *rig = self;
    if (rig->refuse) return rig->refuse;
    struct arena arena;
    arena_init(&arena, &rig->pool, 0);
    struct span *values = ARENA_ARRAY(&arena, batch->count, struct span);
    for (uint32_t i = 0; i < batch->count; i++) {
        assert_null(batch->records[i].key.data); /* metadata records have none */
        values[i] = batch->records[i].value;
    }
    keep(rig, values, batch->count);
    arena_destroy(&arena);
    *end = rig->end;
    return KAFKA_NONE;
}

static void log_read_in_memory(void *self, log_offset from, uint32_t bytes_max, uint64_t load) {
    struct rig *rig = self;
    struct coord_now now = now_of(rig);
    (void)bytes_max;
    for (uint32_t i = 0; i < rig->batch_count; i++) {
        if (rig->batches[i].base < from) continue;
        struct coord_record *records = ARENA_ARRAY(&rig->memory, rig->batches[i].count, struct coord_record);
        for (uint32_t k = 0; k < rig->batches[i].count; k++) records[k].value = rig->batches[i].values[k];
        struct coord_batch batch = {.records = records, .count = rig->batches[i].count, .producer_id = -1, .producer_epoch = -1};
        coord_read_done(rig->coord, &now, load, ERR_NONE, &batch, &rig->batches[i].base, 1, rig->batches[i].base + batch.count);
        return;
    }
    coord_read_done(rig->coord, &now, load, ERR_NONE, NULL, NULL, 0, rig->end);
}

static log_offset log_end_in_memory(void *self) {
    return ((struct rig *)self)->end;
}
static log_offset log_delivered(void *self) {
    return ((struct rig *)self)->delivered;
}

void rig_write_framed(struct rig *rig, struct span value) {
    keep(rig, &value, 1);
}
void rig_write(struct rig *rig, const struct wire_message *message, int16_t version, const void *record) {
    rig_write_framed(rig, wire_metadata_frame(message, version, record, &rig->memory));
}

/* ---- life */

void rig_open(struct rig *rig, const char *config, uint64_t seed) {
    *rig = (struct rig){.now_ms = 1000};
    pool_init(&rig->pool, 0, 64);
    arena_init(&rig->memory, &rig->pool, 0);
    config_values_init(&rig->config, &rig->memory);
    char words[256];
    struct text why;
    text_init(&why, words, sizeof words);
    assert_int_equal(config_values_read(&rig->config, span_text(config), &why), ERR_NONE);
    random_seed(&rig->random, seed);
    struct decide_settings settings = {.node = 100, .cluster_id = SPAN_LITERAL("the-cluster"), .values = &rig->config};
    assert_int_equal(machine_init(&rig->machine, &rig->pool, &settings), ERR_NONE);
    rig->machine.log = rig;
    rig->machine.log_end = log_end_in_memory;
    struct coord_options options = {
        .pool = &rig->pool, .log = {rig, log_append_in_memory, log_read_in_memory, log_end_in_memory, log_delivered},
        .machine = machine_for_coord(&rig->machine), .requests_max = 64, .error_loading = KAFKA_NOT_CONTROLLER,
        .error_lost = KAFKA_NOT_CONTROLLER, .error_busy = KAFKA_NOT_CONTROLLER,
    };
    assert_int_equal(coord_open(&rig->coord, &options), ERR_NONE);
    for (size_t i = 0; i < countof(rig->directories); i++) rig->directories[i] = uuid_random(&rig->random);
}

void rig_close(struct rig *rig) {
    coord_close(rig->coord);
    machine_destroy(&rig->machine);
    arena_destroy(&rig->memory);
    assert_int_equal(rig->pool.used, 0); /* nothing leaked */
    pool_destroy(&rig->pool);
}

static void pump(struct rig *rig) {
    for (int i = 0; i < 1000 && coord_next_deadline(rig->coord) <= rig->now_ms; i++) {
        struct coord_now now = now_of(rig);
        coord_tick(rig->coord, &now);
        if (!rig->hold) rig_commit(rig);
    }
    if (rig->machine.broken) fail_msg("%s", rig->machine.why);
}

void rig_commit(struct rig *rig) {
    rig->delivered = rig->end;
    machine_commit(&rig->machine, rig->delivered);
    coord_committed(rig->coord, rig->delivered);
}

void rig_lead(struct rig *rig) {
    struct coord_now now = now_of(rig);
    coord_won(rig->coord, &now, machine_committed(&rig->machine)->end);
    pump(rig);
    assert_int_equal(coord_state(rig->coord), COORD_SERVING);
    if (!rig->hold) rig_commit(rig);
    pump(rig);
}

void rig_lose(struct rig *rig) {
    coord_lost(rig->coord);
}

void rig_tick(struct rig *rig, time_ms ms) {
    rig->now_ms += ms;
    pump(rig);
    if (!rig->hold) rig_commit(rig);
}

struct rig_request { struct controller_request request; struct rig *rig; bool done; };
static void rig_reply(struct coord_request *coord) {
    struct rig_request *request = container_of(container_of(coord, struct controller_request, coord), struct rig_request, request);
    request->done = true;
}

enum kafka_error rig_call(struct rig *rig, int16_t api, int16_t version, const void *request, void *response) {
    struct rig_request *r = ARENA_NEW(&rig->memory, struct rig_request);
    r->rig = rig;
    r->request = (struct controller_request){.coord = {.reply = rig_reply}, .api_key = api, .version = version, .request = request,
                                             .response = response, .arena = &rig->memory, .former_is_gone = rig->former_is_gone};
    struct coord_now now = now_of(rig);
    coord_request(rig->coord, &r->request.coord, &now);
    if (!rig->hold) rig_commit(rig);
    pump(rig);
    assert_true(rig->hold || r->done);
    return r->request.coord.error;
}

const struct image *rig_image(const struct rig *rig) {
    return machine_applied(&rig->machine)->current;
}

/* ---- what tests do all the time */

struct broker_registration_request rig_registration(struct rig *rig, broker_id id) {
    struct broker_registration_request in;
    broker_registration_request_init(&in);
    in.broker_id = id;
    in.cluster_id = SPAN_LITERAL("the-cluster");
    in.incarnation_id = uuid_random(&rig->random);
    in.log_dirs = &rig->directories[id];
    in.log_dirs_count = 1;
    in.features = broker_registration_request_feature_array(&rig->memory, FEATURES_COUNT);
    in.features_count = FEATURES_COUNT;
    for (int i = 0; i < FEATURES_COUNT; i++)
        in.features[i] = (struct broker_registration_request_feature){span_text(features[i].name), features[i].min, features[i].max};
    return in;
}

broker_epoch rig_register(struct rig *rig, broker_id id, const char *rack) {
    struct broker_registration_request in = rig_registration(rig, id);
    struct broker_registration_response out;
    broker_registration_response_init(&out);
    in.rack = rack ? span_text(rack) : (struct span){0};
    const struct image_broker *before = image_broker(rig_image(rig), id);
    if (before) in.previous_broker_epoch = before->epoch;
    rig->former_is_gone = true;
    assert_int_equal(rig_call(rig, 62, 4, &in, &out), KAFKA_NONE);
    rig->former_is_gone = false;
    assert_int_equal(out.error_code, KAFKA_NONE);
    return out.broker_epoch;
}

void rig_unfence(struct rig *rig, broker_id id) {
    struct broker_heartbeat_request in;
    struct broker_heartbeat_response out;
    broker_heartbeat_request_init(&in);
    broker_heartbeat_response_init(&out);
    in.broker_id = id;
    in.broker_epoch = image_broker(rig_image(rig), id)->epoch;
    in.current_metadata_offset = rig->end;
    assert_int_equal(rig_call(rig, 63, 1, &in, &out), KAFKA_NONE);
    assert_int_equal(out.error_code, KAFKA_NONE);
}

enum kafka_error rig_create(struct rig *rig, const char *name, int32_t partitions, int16_t factor) {
    struct create_topics_request in;
    struct create_topics_response out;
    create_topics_request_init(&in);
    create_topics_response_init(&out);
    in.topics = create_topics_request_creatable_topic_array(&rig->memory, 1);
    in.topics_count = 1;
    in.topics[0].name = span_text(name);
    in.topics[0].num_partitions = partitions;
    in.topics[0].replication_factor = factor;
    assert_int_equal(rig_call(rig, 19, 7, &in, &out), KAFKA_NONE);
    assert_int_equal(out.topics_count, 1);
    return (enum kafka_error)out.topics[0].error_code;
}

const struct image_partition *rig_partition(const struct rig *rig, const char *topic, int32_t index) {
    const struct image_topic *t = image_topic(rig_image(rig), span_text(topic));
    return t ? image_partition(t, index) : NULL;
}

/* ---- what always holds */

static void check_partition(void *context, const struct image_topic *topic, const struct image_partition *before, const struct image_partition *p) {
    struct rig *rig = context;
    const struct image *image = rig_image(rig);
    if (!p) return;
    struct image_ids isr = image_isr(p), elr = image_elr(p), replicas = image_replicas(p);
    bool elr_on = image_feature_level(image, SPAN_LITERAL(FEATURE_ELR)) > 0;
    for (uint32_t i = 0; i < isr.count; i++) {
        assert_false(image_ids_contain(elr, isr.ids[i]));                            /* R1 */
        assert_true(image_ids_contain(replicas, isr.ids[i]));
        const struct image_broker *broker = image_broker(image, isr.ids[i]);
        /* R1: a fenced one is in no ISR, but as the last one where there is no ELR to remember it by. */
        if (!broker || broker->fenced) assert_true(!elr_on && isr.count == 1 && p->leader == -1);
    }
    if (p->leader >= 0) {
        assert_true(image_ids_contain(isr, p->leader));
        assert_true(image_broker_is_active(image, p->leader));
    }
    if (elr_on) {
        struct decide d = {.image = image, .settings = &rig->machine.settings};
        struct config_view view = decide_config(&d);
        struct topic_config config;
        topic_config_load(&config, &view, topic->name);
        int64_t minimum = config.min_insync_replicas < p->replicas ? config.min_insync_replicas : p->replicas;
        if (isr.count >= minimum) assert_int_equal(elr.count, 0);                    /* R1 */
    }
    if (before) {
        assert_true(p->partition_epoch > before->partition_epoch);                   /* R6 */
        assert_true(p->leader_epoch >= before->leader_epoch);
        if (p->leader != before->leader) assert_true(p->leader_epoch > before->leader_epoch);
    }
    assert_true(p->leader_epoch <= p->partition_epoch);
}

void rig_check(struct rig *rig, const struct image *before) {
    machine_check(&rig->machine);
    coord_check(rig->coord);
    struct image_visitor visitor = {.context = rig, .partition = check_partition};
    image_diff(before, rig_image(rig), &visitor);
    /* Fencing changes what holds of partitions that did not change. */
    struct image_visitor all = {.context = rig, .partition = check_partition};
    image_diff(NULL, rig_image(rig), &all);
}

void rig_open_cluster(struct rig *rig, const char *config, int16_t metadata_version, bool elr) {
    rig_open(rig, config, 7);
    struct feature_level_record levels[2] = {{SPAN_LITERAL(FEATURE_METADATA), metadata_version}, {SPAN_LITERAL(FEATURE_ELR), 1}};
    struct span *values = ARENA_ARRAY(&rig->memory, 2, struct span);
    for (int i = 0; i < 2; i++) values[i] = wire_metadata_frame(&feature_level_record_message, 0, &levels[i], &rig->memory);
    rig->machine.bootstrap = values;
    rig->machine.bootstrap_count = elr ? 2 : 1;
    rig_lead(rig);
    for (broker_id id = 0; id < 4; id++) {
        rig_register(rig, id, NULL);
        if (id < 3) rig_unfence(rig, id);
    }
    assert_int_equal(rig_create(rig, "t", 3, 3), KAFKA_NONE);
    assert_int_equal(rig_create(rig, "dotted.name", 1, 1), KAFKA_NONE);
}
