#include "controller/machine_rig.h"
#include "meta/meta_test.h"
#include "test.h"
#include "wire/record_frame.h"
#include <stdio.h>
#include <string.h>

/* ---- beside Apache: its log is cut where it decided something, the same is asked of this machine, and the records that
 * it writes must be those of Apache, byte for byte (sorted where Apache's order is that of a hash map). */

enum { APACHE_MAX = 128 };
struct apache { struct rig *rig; struct span records[APACHE_MAX]; log_offset offsets[APACHE_MAX]; uint32_t count; log_offset next; };

static void collect(void *context, struct span value, const struct batch *batch, bool last) {
    struct apache *apache = context;
    if (apache->next < batch->base_offset) apache->next = batch->base_offset;
    assert_true(apache->count < APACHE_MAX);
    apache->records[apache->count] = (struct span){arena_copy(&apache->rig->memory, value.data, value.size), value.size};
    apache->offsets[apache->count++] = apache->next++;
    (void)last;
}

static void load_apache(struct apache *apache, struct rig *rig, const char *path) {
    *apache = (struct apache){.rig = rig};
    walk_vector_log(path, &(struct log_walk){apache, collect});
}
#define APACHE_LOG "files/__cluster_metadata-0/00000000000000000000.log"

/* The log of Apache up to `until`, with its offsets; what is no data is filled up with no-op records. */
static void follow_apache(struct rig *rig, const struct apache *apache, log_offset until) {
    for (uint32_t i = 0; i < apache->count && apache->offsets[i] < until; i++) {
        struct no_op_record nothing = {0};
        while (rig->end < apache->offsets[i]) rig_write(rig, &no_op_record_message, 0, &nothing);
        rig_write_framed(rig, apache->records[i]);
    }
}

/* Leads, with Apache's log up to there behind it. */
static void lead_behind_apache(struct rig *rig, struct apache *apache, log_offset upto) {
    rig_open(rig, "", 1);
    load_apache(apache, rig, APACHE_LOG);
    follow_apache(rig, apache, upto);
    rig_lead(rig);
}

static int compare_spans(const struct span *a, const struct span *b) {
    return span_compare(*a, *b);
}
static void sort_spans(struct span *spans, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = i + 1; k < count; k++)
            if (compare_spans(&spans[k], &spans[i]) < 0) {
                struct span moved = spans[i];
                spans[i] = spans[k];
                spans[k] = moved;
            }
}

/* The batch that was written last is that of Apache from offset `first` on. */
static void expect_as_apache(struct rig *rig, const struct apache *apache, log_offset first, uint32_t count, bool any_order) {
    struct rig_batch *batch = &rig->batches[rig->batch_count - 1];
    assert_int_equal(batch->count, count);
    uint32_t at = 0;
    while (apache->offsets[at] != first) at++;
    struct span *expected = ARENA_ARRAY(&rig->memory, count, struct span);
    for (uint32_t i = 0; i < count; i++) expected[i] = apache->records[at + i];
    if (any_order) {
        sort_spans(expected, count);
        sort_spans(batch->values, count);
    }
    for (uint32_t i = 0; i < count; i++)
        if (!span_equal(batch->values[i], expected[i])) fail_msg("record %u of %u differs (type %d, Apache's %d)", i, count, batch->values[i].data[1], expected[i].data[1]);
}

/* On an empty log the bootstrap records are written as Apache writes them. */
TEST(machine_activates_as_apache_does) {
    struct rig rig;
    struct apache bootstrap, apache;
    rig_open(&rig, "", 1);
    load_apache(&bootstrap, &rig, "files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint");
    load_apache(&apache, &rig, APACHE_LOG);
    rig.machine.bootstrap = bootstrap.records;
    rig.machine.bootstrap_count = bootstrap.count;
    rig_lead(&rig);
    assert_int_equal(rig.batch_count, 1);
    expect_as_apache(&rig, &apache, 3, 10, false);
    assert_int_equal(image_metadata_version(rig_image(&rig)), MV_LATEST);
    rig_close(&rig);
}

/* A broker registers, and Apache's registration record and epoch come out; so does its unfencing, the cordoned
 * directories before it, and the block of producer ids. */
TEST(machine_registers_a_broker_as_apache_does) {
    struct rig rig;
    struct apache apache;
    lead_behind_apache(&rig, &apache, 14);
    struct register_broker_record record;
    assert_int_equal(register_broker_record_decode(&record, 4, (struct span){apache.records[11].data + 3, apache.records[11].size - 3}, &rig.memory, NULL), ERR_NONE);
    struct broker_registration_request in;
    struct broker_registration_response out;
    broker_registration_request_init(&in);
    broker_registration_response_init(&out);
    in.broker_id = record.broker_id;
    in.cluster_id = SPAN_LITERAL("the-cluster");
    in.incarnation_id = record.incarnation_id;
    in.rack = record.rack;
    in.listeners = broker_registration_request_listener_array(&rig.memory, record.end_points_count);
    in.listeners_count = record.end_points_count;
    for (int32_t i = 0; i < record.end_points_count; i++)
        in.listeners[i] = (struct broker_registration_request_listener){record.end_points[i].name, record.end_points[i].host,
                                                                        record.end_points[i].port, record.end_points[i].security_protocol};
    in.features = broker_registration_request_feature_array(&rig.memory, record.features_count);
    in.features_count = record.features_count;
    for (int32_t i = 0; i < record.features_count; i++)
        in.features[i] = (struct broker_registration_request_feature){record.features[i].name, record.features[i].min_supported_version,
                                                                      record.features[i].max_supported_version};
    in.log_dirs = record.log_dirs;
    in.log_dirs_count = record.log_dirs_count;
    assert_int_equal(rig_call(&rig, 62, 4, &in, &out), KAFKA_NONE);
    assert_int_equal(out.error_code, KAFKA_NONE);
    assert_int_equal(out.broker_epoch, 14);
    expect_as_apache(&rig, &apache, 14, 1, false);

    struct broker_heartbeat_request beat;
    struct broker_heartbeat_response answer;
    struct uuid none;
    broker_heartbeat_request_init(&beat);
    beat.broker_id = 1;
    beat.broker_epoch = 14;
    beat.want_fence = true;
    beat.cordoned_log_dirs = &none;
    beat.cordoned_log_dirs_count = 0;
    beat.current_metadata_offset = 13;
    assert_int_equal(rig_call(&rig, 63, 2, &beat, &answer), KAFKA_NONE);
    assert_int_equal(answer.error_code, KAFKA_NONE);
    assert_true(answer.is_fenced);
    assert_false(answer.is_caught_up);
    expect_as_apache(&rig, &apache, 15, 1, false);
    beat.want_fence = false;
    beat.current_metadata_offset = 14;
    assert_int_equal(rig_call(&rig, 63, 2, &beat, &answer), KAFKA_NONE);
    assert_false(answer.is_fenced);
    assert_true(answer.is_caught_up);
    expect_as_apache(&rig, &apache, 16, 1, false);

    rig_lose(&rig);
    follow_apache(&rig, &apache, 40);
    rig_lead(&rig);
    struct allocate_producer_ids_request ask = {.broker_id = 1, .broker_epoch = 14};
    struct allocate_producer_ids_response ids;
    assert_int_equal(rig_call(&rig, 67, 0, &ask, &ids), KAFKA_NONE);
    assert_int_equal(ids.error_code, KAFKA_NONE);
    assert_int_equal(ids.producer_id_start, 0);
    assert_int_equal(ids.producer_id_len, 1000);
    expect_as_apache(&rig, &apache, 40, 1, false);
    rig_close(&rig);
}

/* A topic with settings is made by the records that Apache made it by, the random id aside. */
TEST(machine_creates_a_topic_as_apache_does) {
    struct rig rig;
    struct apache apache;
    lead_behind_apache(&rig, &apache, 42);
    static const char *const configs[][2] = {{"compression.type", "uncompressed"}, {"cleanup.policy", "compact"}, {"min.insync.replicas", "1"},
                                             {"segment.bytes", "104857600"}, {"unclean.leader.election.enable", "false"}};
    struct create_topics_request in;
    struct create_topics_response out;
    create_topics_request_init(&in);
    create_topics_response_init(&out);
    in.topics = create_topics_request_creatable_topic_array(&rig.memory, 1);
    in.topics_count = 1;
    in.topics[0].name = SPAN_LITERAL("__transaction_state");
    in.topics[0].num_partitions = 2;
    in.topics[0].replication_factor = 1;
    in.topics[0].configs = create_topics_request_creatable_topic_config_array(&rig.memory, countof(configs));
    in.topics[0].configs_count = countof(configs);
    for (size_t i = 0; i < countof(configs); i++)
        in.topics[0].configs[i] = (struct create_topics_request_creatable_topic_config){span_text(configs[i][0]), span_text(configs[i][1])};
    assert_int_equal(rig_call(&rig, 19, 7, &in, &out), KAFKA_NONE);
    assert_int_equal(out.topics[0].error_code, KAFKA_NONE);
    assert_int_equal(out.topics[0].num_partitions, 2);
    assert_int_equal(out.topics[0].replication_factor, 1);
    /* Apache's id in place of ours. */
    uint32_t at = 0;
    while (apache.offsets[at] != 42) at++;
    struct topic_record topic;
    assert_int_equal(topic_record_decode(&topic, 0, (struct span){apache.records[at].data + 3, apache.records[at].size - 3}, &rig.memory, NULL), ERR_NONE);
    struct rig_batch *batch = &rig.batches[rig.batch_count - 1];
    for (uint32_t i = 0; i < batch->count; i++)
        for (size_t k = 0; k + 16 <= batch->values[i].size; k++)
            if (memcmp(batch->values[i].data + k, out.topics[0].topic_id.bytes, 16) == 0)
                memcpy((uint8_t *)(uintptr_t)batch->values[i].data + k, topic.topic_id.bytes, 16);
    expect_as_apache(&rig, &apache, 42, 9, true);
    rig_close(&rig);
}

/* The broker leaves: with two heartbeats it is moved out of every ISR, to be eligible still, and fenced, as in Apache's log. */
TEST(machine_lets_a_broker_go_as_apache_does) {
    struct rig rig;
    struct apache apache;
    lead_behind_apache(&rig, &apache, 70);
    struct broker_heartbeat_request beat;
    struct broker_heartbeat_response answer;
    broker_heartbeat_request_init(&beat);
    beat.broker_id = 1;
    beat.broker_epoch = 14;
    beat.want_shut_down = true;
    beat.current_metadata_offset = 69;
    assert_int_equal(rig_call(&rig, 63, 1, &beat, &answer), KAFKA_NONE);
    assert_int_equal(answer.error_code, KAFKA_NONE);
    assert_false(answer.should_shut_down);
    expect_as_apache(&rig, &apache, 70, 13, true);
    beat.current_metadata_offset = 82;
    assert_int_equal(rig_call(&rig, 63, 1, &beat, &answer), KAFKA_NONE);
    assert_true(answer.should_shut_down);
    expect_as_apache(&rig, &apache, 83, 1, false);
    /* And it comes back: the only replica of each partition leads again. */
    memcpy(&rig.directories[1], &image_broker(rig_image(&rig), 1)->directories[0], sizeof(struct uuid));
    broker_epoch epoch = rig_register(&rig, 1, NULL);
    assert_int_equal(epoch, 84);
    assert_true(image_broker(rig_image(&rig), 1)->fenced);
    rig_unfence(&rig, 1);
    const struct image_partition *p = rig_partition(&rig, "plain", 0);
    assert_int_equal(p->leader, 1);
    assert_int_equal(image_isr(p).count, 1);
    assert_int_equal(image_elr(p).count, 0);
    assert_int_equal(image_last_known_elr(p).count, 0);
    assert_int_equal(p->recovery, LEADER_RECOVERED);
    assert_int_equal(p->leader_epoch, 2);
    rig_check(&rig, NULL);
    rig_close(&rig);
}

/* ---- the machine's own life */

/* Three brokers with racks; leadership in order of registration. */
static void open_three(struct rig *rig, const char *config) {
    rig_open(rig, config, 3);
    rig->machine.bootstrap = ARENA_ARRAY(&rig->memory, 2, struct span);
    struct feature_level_record levels[2] = {{SPAN_LITERAL("metadata.version"), MV_LATEST}, {SPAN_LITERAL(FEATURE_ELR), 1}};
    struct span *values = ARENA_ARRAY(&rig->memory, 2, struct span);
    for (int i = 0; i < 2; i++) values[i] = wire_metadata_frame(&feature_level_record_message, 0, &levels[i], &rig->memory);
    rig->machine.bootstrap = values;
    rig->machine.bootstrap_count = 2;
    rig_lead(rig);
    for (broker_id id = 0; id < 3; id++) {
        char rack[2] = {(char)('a' + id), 0};
        rig_register(rig, id, rack);
        rig_unfence(rig, id);
    }
}

static void beat_all(struct rig *rig, uint32_t but) {
    for (const struct image_broker *b = NULL; (b = image_broker_next(rig_image(rig), b));) {
        if ((uint32_t)b->id == but) continue;
        struct image_broker key = {.id = b->id};
        rig_unfence(rig, b->id);
        b = image_broker(rig_image(rig), key.id);
    }
}

/* A broker that is silent for longer than its session is fenced, its partitions get new leaders; one that keeps talking
 * is not. */
TEST(machine_fences_who_is_silent) {
    struct rig rig;
    open_three(&rig, "broker.session.timeout.ms=8000\nmetadata.max.idle.interval.ms=0\n");
    assert_int_equal(rig_create(&rig, "t", 6, 3), KAFKA_NONE);
    for (int i = 0; i < 8; i++) {
        rig_tick(&rig, 1000);
        beat_all(&rig, 1);
    }
    assert_false(image_broker(rig_image(&rig), 1)->fenced);
    rig_tick(&rig, 1);
    assert_true(image_broker(rig_image(&rig), 1)->fenced);
    assert_false(image_broker(rig_image(&rig), 0)->fenced);
    for (int i = 0; i < 6; i++) {
        const struct image_partition *p = rig_partition(&rig, "t", i);
        assert_true(p->leader == 0 || p->leader == 2);
        assert_int_equal(image_isr(p).count, 2);
    }
    rig_check(&rig, NULL);
    rig_unfence(&rig, 1);
    assert_false(image_broker(rig_image(&rig), 1)->fenced);
    rig_check(&rig, NULL);
    rig_close(&rig);
}

/* Nothing is answered before it is committed; when leadership is lost first, the answer is NOT_CONTROLLER and the image is
 * again what was committed. */
TEST(machine_answers_what_is_committed) {
    struct rig rig;
    open_three(&rig, "metadata.max.idle.interval.ms=0\n");
    uint64_t before = image_hash(rig_image(&rig));
    rig.hold = true;
    struct create_topics_request in;
    struct create_topics_response out;
    create_topics_request_init(&in);
    create_topics_response_init(&out);
    in.topics = create_topics_request_creatable_topic_array(&rig.memory, 1);
    in.topics_count = 1;
    in.topics[0].name = SPAN_LITERAL("t");
    in.topics[0].num_partitions = in.topics[0].replication_factor = 1;
    struct controller_request *request = ARENA_NEW(&rig.memory, struct controller_request);
    (void)request;
    assert_int_equal(rig_call(&rig, 19, 7, &in, &out), KAFKA_NONE);
    assert_int_equal(coord_waiting(rig.coord), 1);
    assert_non_null(image_topic(rig_image(&rig), SPAN_LITERAL("t")));                                     /* applied */
    assert_null(image_topic(machine_committed(&rig.machine)->visible, SPAN_LITERAL("t")));                /* not committed */
    rig_lose(&rig);
    assert_int_equal(coord_waiting(rig.coord), 0);
    assert_int_equal(image_hash(rig_image(&rig)), before);
    assert_null(image_topic(rig_image(&rig), SPAN_LITERAL("t")));
    /* The record is still in the log; this node leads again, and it was not cut off: it counts. */
    rig.hold = false;
    rig_lead(&rig);
    assert_non_null(image_topic(rig_image(&rig), SPAN_LITERAL("t")));
    rig_check(&rig, NULL);
    rig_close(&rig);
}

/* A transaction that a former leader left open is aborted, and its records count for nothing. */
TEST(machine_aborts_what_was_left_open) {
    struct rig rig;
    rig_open(&rig, "", 1);
    struct feature_level_record mv = {SPAN_LITERAL("metadata.version"), MV_LATEST};
    struct begin_transaction_record begin = {.name = {0}};
    struct topic_record topic = {.name = SPAN_LITERAL("half"), .topic_id = {{1}}};
    rig_write(&rig, &feature_level_record_message, 0, &mv);
    rig_write(&rig, &begin_transaction_record_message, 0, &begin);
    rig_write(&rig, &topic_record_message, 0, &topic);
    rig_lead(&rig);
    assert_int_equal(rig.batches[rig.batch_count - 1].values[0].data[1], 25);
    assert_null(image_topic(rig_image(&rig), SPAN_LITERAL("half")));
    rig_close(&rig);
}

/* Idle for its interval, the controller writes a no-op record; busy, it does not. */
TEST(machine_writes_a_no_op_when_idle) {
    struct rig rig;
    rig_open(&rig, "metadata.max.idle.interval.ms=500\n", 1);
    rig_lead(&rig);
    log_offset end = rig.end;
    rig_tick(&rig, 499);
    assert_int_equal(rig.end, end);
    rig_tick(&rig, 1);
    assert_int_equal(rig.end, end + 1);
    assert_int_equal(rig.batches[rig.batch_count - 1].values[0].data[1], 20);
    rig_close(&rig);
}

/* Is a preferred leader that came back leading again after that time? */
static bool leads_again_within(const char *config, time_ms span) {
    struct rig rig;
    open_three(&rig, config);
    assert_int_equal(rig_create(&rig, "t", 3, 3), KAFKA_NONE);
    struct alter_partition_request in;
    broker_id first = image_replicas(rig_partition(&rig, "t", 0)).ids[0];
    rig_register(&rig, first, "a"); /* a new process of it: fenced, leads nothing */
    rig_unfence(&rig, first);
    const struct image_partition *p = rig_partition(&rig, "t", 0);
    assert_true(p->leader != first);
    /* It has caught up: the leader takes it into the ISR. */
    struct alter_partition_response out;
    alter_partition_request_init(&in);
    alter_partition_response_init(&out);
    in.broker_id = p->leader;
    in.broker_epoch = image_broker(rig_image(&rig), p->leader)->epoch;
    in.topics = alter_partition_request_topic_data_array(&rig.memory, 1);
    in.topics_count = 1;
    in.topics[0].topic_id = image_topic(rig_image(&rig), SPAN_LITERAL("t"))->id;
    in.topics[0].partitions = alter_partition_request_partition_data_array(&rig.memory, 1);
    in.topics[0].partitions_count = 1;
    struct alter_partition_request_partition_data *data = &in.topics[0].partitions[0];
    data->partition_index = 0;
    data->leader_epoch = p->leader_epoch;
    data->partition_epoch = p->partition_epoch;
    data->new_isr_with_epochs = alter_partition_request_broker_state_array(&rig.memory, 3);
    data->new_isr_with_epochs_count = 3;
    for (int i = 0; i < 3; i++) data->new_isr_with_epochs[i] = (struct alter_partition_request_broker_state){i, image_broker(rig_image(&rig), i)->epoch};
    assert_int_equal(rig_call(&rig, 56, 3, &in, &out), KAFKA_NONE);
    assert_int_equal(out.error_code, KAFKA_NONE);
    assert_int_equal(out.topics[0].partitions[0].error_code, KAFKA_NONE);
    assert_int_equal(out.topics[0].partitions[0].isr_count, 3);
    assert_int_equal(out.topics[0].partitions[0].partition_epoch, rig_partition(&rig, "t", 0)->partition_epoch);
    rig_tick(&rig, span);
    bool leads = rig_partition(&rig, "t", 0)->leader == first;
    rig_check(&rig, NULL);
    rig_close(&rig);
    return leads;
}

/* After a leader came back, its partitions return to it when the balancer runs, not before. */
TEST(machine_balances_leaders) {
    static const char config[] = "leader.imbalance.check.interval.seconds=200\nmetadata.max.idle.interval.ms=0\nbroker.session.timeout.ms=900000\n";
    static const char never_said[] = "auto.leader.rebalance.enable=false\nleader.imbalance.check.interval.seconds=200\nmetadata.max.idle.interval.ms=0\nbroker.session.timeout.ms=900000\n";
    assert_false(leads_again_within(config, 199000));
    assert_true(leads_again_within(config, 201000));
    assert_false(leads_again_within(never_said, 700000));
}

/* A partition whose only replica in sync is gone, and whose topic is given leave to lose records meanwhile, is led by another replica
 * at the next look for such, unclean.leader.election.interval.ms after the last one. */
TEST(machine_elects_uncleanly_from_time_to_time) {
    struct rig rig;
    rig_open_cluster(&rig, "unclean.leader.election.interval.ms=50000\nmetadata.max.idle.interval.ms=0\nbroker.session.timeout.ms=900000\nauto.leader.rebalance.enable=false\n", MV_LATEST, false);
    assert_int_equal(rig_create(&rig, "mine", 1, 2), KAFKA_NONE);
    const struct image_partition *p = rig_partition(&rig, "mine", 0);
    broker_id kept = p->leader, other = image_replicas(p).ids[image_replicas(p).ids[0] == kept];
    rig_register(&rig, other, NULL); /* a new process of it: out of the ISR */
    rig_unfence(&rig, other);
    rig_register(&rig, kept, NULL);
    assert_int_equal(rig_partition(&rig, "mine", 0)->leader, -1);
    struct incremental_alter_configs_request in;
    struct incremental_alter_configs_response out;
    struct incremental_alter_configs_request_alter_configs_resource resource;
    struct incremental_alter_configs_request_alterable_config config;
    incremental_alter_configs_request_init(&in);
    incremental_alter_configs_response_init(&out);
    incremental_alter_configs_request_alter_configs_resource_init(&resource);
    incremental_alter_configs_request_alterable_config_init(&config);
    in.resources = &resource, in.resources_count = 1;
    resource.resource_type = 2, resource.resource_name = SPAN_LITERAL("mine");
    resource.configs = &config, resource.configs_count = 1;
    config.name = SPAN_LITERAL("unclean.leader.election.enable"), config.value = SPAN_LITERAL("true");
    assert_int_equal(rig_call(&rig, 44, 1, &in, &out), KAFKA_NONE);
    assert_int_equal(out.responses[0].error_code, KAFKA_NONE);
    rig_tick(&rig, 45000);
    assert_int_equal(rig_partition(&rig, "mine", 0)->leader, -1);
    rig_tick(&rig, 10000);
    assert_int_equal(rig_partition(&rig, "mine", 0)->leader, other);
    rig_check(&rig, NULL);
    rig_close(&rig);
}

/* A broker in more ISRs than one step changes is fenced in several, and never fenced while it is in one of them. */
TEST(machine_fences_in_steps) {
    struct rig rig;
    open_three(&rig, "broker.session.timeout.ms=8000\nmetadata.max.idle.interval.ms=0\nauto.leader.rebalance.enable=false\n");
    for (int t = 0; t < 3; t++) {
        char name[8];
        snprintf(name, sizeof name, "t%d", t);
        assert_int_equal(rig_create(&rig, name, 9000, 3), KAFKA_NONE);
    }
    uint32_t batches = rig.batch_count;
    for (int i = 0; i < 8; i++) {
        rig_tick(&rig, 1000);
        beat_all(&rig, 1);
    }
    rig_tick(&rig, 1);
    assert_true(image_broker(rig_image(&rig), 1)->fenced);
    assert_int_equal(rig.batch_count - batches, 3); /* 27,000 partitions: 10,000, 10,000 and the rest with the fencing */
    for (uint32_t i = batches; i < rig.batch_count; i++) assert_true(rig.batches[i].count <= DECIDE_SWEEP_MAX + 1);
    rig_check(&rig, NULL);
    rig_close(&rig);
}

/* A broker's process dies and comes back at once. With its old session running it is refused, unless it is known that the
 * former is gone and the directories are the same. */
TEST(machine_lets_a_restarted_broker_take_over) {
    struct rig rig;
    open_three(&rig, "metadata.max.idle.interval.ms=0\n");
    assert_int_equal(rig_create(&rig, "t", 1, 3), KAFKA_NONE);
    struct broker_registration_request in = rig_registration(&rig, 1);
    struct broker_registration_response out;
    broker_registration_response_init(&out);
    assert_int_equal(rig_call(&rig, 62, 4, &in, &out), KAFKA_NONE);
    assert_int_equal(out.error_code, KAFKA_DUPLICATE_BROKER_REGISTRATION);
    struct decide d = {.image = rig_image(&rig), .settings = &rig.machine.settings, .sessions = &rig.machine.sessions, .now_ms = rig.now_ms,
                       .random = &rig.random, .next_offset = rig.end, .arena = &rig.memory, .answer = &rig.memory};
    in.log_dirs = &rig.directories[5];
    assert_int_equal(decide_register_broker(&d, &in, &out, true), KAFKA_DUPLICATE_BROKER_REGISTRATION); /* other directories */
    in.log_dirs = &rig.directories[1];
    assert_int_equal(decide_register_broker(&d, &in, &out, true), KAFKA_NONE);
    assert_int_equal(out.broker_epoch, rig.end);
    assert_true(d.count >= 2); /* it left the ISR first: nobody knows what it had flushed */
    rig_close(&rig);
}

/* ---- random days of a cluster */

static void random_request(struct rig *rig, uint32_t *asked) {
    struct random *random = &rig->random;
    const struct image *image = rig_image(rig);
    broker_id id = (broker_id)random_below(random, 5);
    const struct image_broker *broker = image_broker(image, id);
    char name[16];
    snprintf(name, sizeof name, "t%u", (unsigned)random_below(random, 6));
    const struct image_topic *topic = image_topic(image, span_text(name));
    ++*asked;
    switch (random_below(random, 14)) {
    case 0: (void)rig_create(rig, arena_copy(&rig->memory, name, sizeof name), (int32_t)random_below(random, 6), (int16_t)random_below(random, 5)); break;
    case 1: {
        struct delete_topics_request in;
        struct delete_topics_response out;
        delete_topics_request_init(&in);
        delete_topics_response_init(&out);
        if (random_below(random, 4)) break;
        struct delete_topics_request_delete_topic_state *state = delete_topics_request_delete_topic_state_array(&rig->memory, 1);
        state->name = span_text(arena_copy(&rig->memory, name, sizeof name));
        in.topics = state;
        in.topics_count = 1;
        (void)rig_call(rig, 20, 6, &in, &out);
        break;
    }
    case 2: case 3: case 4: { /* a new process of a broker, or an old one's heartbeat */
        if (broker && sessions_is_valid(&rig->machine.sessions, id, rig->now_ms)) break;
        if (rig->hold) break;
        rig_register(rig, id, random_below(random, 2) ? "a" : "b");
        break;
    }
    case 5: case 6: case 7: case 8: {
        if (!broker) break;
        struct broker_heartbeat_request in;
        struct broker_heartbeat_response out;
        broker_heartbeat_request_init(&in);
        broker_heartbeat_response_init(&out);
        in.broker_id = id;
        in.broker_epoch = broker->epoch - (random_below(random, 20) == 0);
        in.current_metadata_offset = rig->end - (int64_t)random_below(random, 3);
        in.want_fence = random_below(random, 10) == 0;
        in.want_shut_down = random_below(random, 10) == 0;
        if (random_below(random, 15) == 0) in.offline_log_dirs = &rig->directories[id], in.offline_log_dirs_count = 0;
        (void)rig_call(rig, 63, 1, &in, &out);
        break;
    }
    case 9: case 10: { /* a leader tells a random ISR */
        if (!topic) break;
        const struct image_partition *p = image_partition(topic, (int32_t)random_below(random, topic->partition_count + 1));
        if (!p || p->leader < 0) break;
        struct alter_partition_request in;
        struct alter_partition_response out;
        alter_partition_request_init(&in);
        alter_partition_response_init(&out);
        in.broker_id = p->leader;
        in.broker_epoch = image_broker(image, p->leader)->epoch;
        in.topics = alter_partition_request_topic_data_array(&rig->memory, 1);
        in.topics_count = 1;
        in.topics[0].topic_id = topic->id;
        in.topics[0].partitions = alter_partition_request_partition_data_array(&rig->memory, 1);
        in.topics[0].partitions_count = 1;
        struct alter_partition_request_partition_data *data = &in.topics[0].partitions[0];
        data->partition_index = p->index;
        data->leader_epoch = p->leader_epoch + (int32_t)random_below(random, 3) / 2;
        data->partition_epoch = p->partition_epoch;
        data->new_isr_with_epochs = alter_partition_request_broker_state_array(&rig->memory, 6);
        for (uint32_t i = 0; i < p->replicas; i++)
            if (image_replicas(p).ids[i] == p->leader || random_below(random, 3))
                data->new_isr_with_epochs[data->new_isr_with_epochs_count++] = (struct alter_partition_request_broker_state){image_replicas(p).ids[i], -1};
        (void)rig_call(rig, 56, 3, &in, &out);
        break;
    }
    case 11: {
        struct elect_leaders_request in;
        struct elect_leaders_response out;
        elect_leaders_request_init(&in);
        elect_leaders_response_init(&out);
        in.election_type = (int8_t)random_below(random, 2);
        in.topic_partitions_count = -1;
        (void)rig_call(rig, 43, 2, &in, &out);
        break;
    }
    case 12: {
        struct incremental_alter_configs_request in;
        struct incremental_alter_configs_response out;
        incremental_alter_configs_request_init(&in);
        incremental_alter_configs_response_init(&out);
        in.resources = incremental_alter_configs_request_alter_configs_resource_array(&rig->memory, 1);
        in.resources_count = 1;
        in.resources[0].resource_type = CONFIG_TOPIC;
        in.resources[0].resource_name = span_text(arena_copy(&rig->memory, name, sizeof name));
        in.resources[0].configs = incremental_alter_configs_request_alterable_config_array(&rig->memory, 1);
        in.resources[0].configs_count = 1;
        in.resources[0].configs[0].name = random_below(random, 2) ? SPAN_LITERAL("min.insync.replicas") : SPAN_LITERAL("unclean.leader.election.enable");
        bool is_min = in.resources[0].configs[0].name.data[0] == 'm';
        in.resources[0].configs[0].value = is_min ? (random_below(random, 2) ? SPAN_LITERAL("2") : SPAN_LITERAL("1")) : random_below(random, 2) ? SPAN_LITERAL("true") : SPAN_LITERAL("false");
        (void)rig_call(rig, 44, 1, &in, &out);
        break;
    }
    case 13: {
        if (random_below(random, 10) || !broker) break;
        struct unregister_broker_request in = {.broker_id = id};
        struct unregister_broker_response out;
        unregister_broker_response_init(&out);
        (void)rig_call(rig, 64, 0, &in, &out);
        break;
    }
    }
}

/* Thousands of random requests of random brokers, sessions that expire, leadership that comes and goes with batches that
 * were not committed being cut off or kept: after each the invariants hold, with ELR and without; in the end the log,
 * replayed from nothing, gives the same image. */
TEST(machine_keeps_its_invariants) {
    uint64_t records = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct rig rig;
        rig_open(&rig, "broker.session.timeout.ms=9000\ndelete.topic.enable=true\n", seed);
        struct feature_level_record levels[2] = {{SPAN_LITERAL("metadata.version"), MV_LATEST}, {SPAN_LITERAL(FEATURE_ELR), 1}};
        struct span values[2];
        for (int i = 0; i < 2; i++) values[i] = wire_metadata_frame(&feature_level_record_message, 0, &levels[i], &rig.memory);
        rig.machine.bootstrap = values;
        rig.machine.bootstrap_count = seed % 3 ? 2 : 1;
        rig_lead(&rig);
        uint32_t asked = 0;
        for (int step = 0; step < 1500; step++) {
            struct image *before = image_hold(rig_image(&rig));
            uint32_t batch = rig.batch_count;
            if (random_below(&rig.random, 5) == 0) rig_tick(&rig, (time_ms)random_below(&rig.random, 3000));
            else random_request(&rig, &asked);
            /* Epochs rise by each batch: only one was written if the versions next to each other are to be compared. */
            rig_check(&rig, rig.batch_count <= batch + 1 ? before : NULL);
            image_drop(before);
            if (random_below(&rig.random, 60) == 0) rig.hold = true;
            if (rig.hold && random_below(&rig.random, 6) == 0) {
                rig.hold = false;
                if (random_below(&rig.random, 2)) { /* another leader: what was not committed is cut off, or not */
                    rig_lose(&rig);
                    assert_int_equal(machine_applied(&rig.machine)->end, machine_committed(&rig.machine)->end);
                    if (random_below(&rig.random, 2))
                        while (rig.batch_count && rig.batches[rig.batch_count - 1].base >= rig.delivered) rig.end = rig.batches[--rig.batch_count].base;
                    rig_lead(&rig);
                } else {
                    rig_commit(&rig);
                }
            }
        }
        rig_commit(&rig);
        struct image *empty = image_new(&rig.pool);
        struct delta *replay = delta_new(&rig.pool, empty);
        image_drop(empty);
        struct arena scratch;
        arena_init(&scratch, &rig.pool, 0);
        for (uint32_t i = 0; i < rig.batch_count; i++)
            for (uint32_t k = 0; k < rig.batches[i].count; k++) {
                assert_int_equal(delta_apply(replay, rig.batches[i].values[k], &scratch), ERR_NONE);
                arena_reset(&scratch);
                records++;
            }
        struct image *replayed = delta_current(replay);
        assert_true(image_equal(replayed, rig_image(&rig)));
        image_drop(replayed);
        delta_free(replay);
        arena_destroy(&scratch);
        rig_close(&rig);
    }
    printf("random days: %llu records\n", (unsigned long long)records);
}
