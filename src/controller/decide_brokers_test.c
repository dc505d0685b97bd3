/* Decisions about brokers, as tables: the error cases of each API in the order in which they are looked for. */
#include "controller/machine_rig.h"
#include "test.h"

enum { OWN_DIR, NO_DIR, RESERVED_DIR, TWO_SAME, OTHERS_DIR };
static const struct { const char *what, *cluster; broker_id id; bool migrating; int dirs; int16_t mv_max; enum kafka_error error; } registrations[] = {
    {"new", "the-cluster", 9, false, OWN_DIR, MV_LATEST, KAFKA_NONE},
    {"other cluster", "another", 1, true, NO_DIR, 7, KAFKA_INCONSISTENT_CLUSTER_ID},
    {"id is taken", "the-cluster", 1, true, NO_DIR, 7, KAFKA_DUPLICATE_BROKER_REGISTRATION},
    {"from ZooKeeper", "the-cluster", 9, true, NO_DIR, 7, KAFKA_BROKER_ID_NOT_REGISTERED},
    {"no directory", "the-cluster", 9, false, NO_DIR, 7, KAFKA_INVALID_REGISTRATION},
    {"reserved directory", "the-cluster", 9, false, RESERVED_DIR, MV_LATEST, KAFKA_INVALID_REGISTRATION},
    {"directory twice", "the-cluster", 9, false, TWO_SAME, MV_LATEST, KAFKA_INVALID_REGISTRATION},
    {"another's directory", "the-cluster", 9, false, OTHERS_DIR, MV_LATEST, KAFKA_INVALID_REGISTRATION},
    {"too old", "the-cluster", 9, false, OWN_DIR, MV_4_3_IV0, KAFKA_UNSUPPORTED_VERSION},
    {"names no metadata.version", "the-cluster", 9, false, OWN_DIR, -1, KAFKA_UNSUPPORTED_VERSION},
    {"fenced one again", "the-cluster", 3, false, OWN_DIR, MV_LATEST, KAFKA_NONE},
};
TEST(decide_register_broker_by_table) {
    for (size_t i = 0; i < countof(registrations); i++) {
        struct rig rig;
        rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
        log_offset end = rig.end;
        struct broker_registration_request in = rig_registration(&rig, registrations[i].id);
        struct broker_registration_response out;
        broker_registration_response_init(&out);
        in.cluster_id = span_text(registrations[i].cluster);
        in.is_migrating_zk_broker = registrations[i].migrating;
        struct uuid dirs[2] = {rig.directories[registrations[i].id], rig.directories[registrations[i].id]};
        if (registrations[i].dirs == RESERVED_DIR) dirs[0] = DIRECTORY_LOST;
        if (registrations[i].dirs == OTHERS_DIR) dirs[0] = rig.directories[2];
        in.log_dirs = dirs;
        in.log_dirs_count = registrations[i].dirs == NO_DIR ? 0 : registrations[i].dirs == TWO_SAME ? 2 : 1;
        struct broker_registration_request_feature supported[2] = {{SPAN_LITERAL(FEATURE_ELR), 0, 1}, {SPAN_LITERAL(FEATURE_METADATA), MV_MIN, registrations[i].mv_max}};
        in.features = supported;
        in.features_count = registrations[i].mv_max < 0 ? 1 : 2;
        assert_int_equal(rig_call(&rig, 62, 4, &in, &out), KAFKA_NONE);
        if (out.error_code != (int16_t)registrations[i].error) fail_msg("%s: error %d", registrations[i].what, out.error_code);
        assert_int_equal(rig.end > end, registrations[i].error == KAFKA_NONE);
        if (!out.error_code) {
            assert_int_equal(out.broker_epoch, end);
            assert_true(image_broker(rig_image(&rig), in.broker_id)->fenced);
            /* The same process again: the epoch stays. */
            assert_int_equal(rig_call(&rig, 62, 4, &in, &out), KAFKA_NONE);
            assert_int_equal(out.error_code, KAFKA_NONE);
            assert_int_equal(out.broker_epoch, end);
        }
        rig_close(&rig);
    }
}

/* A process that ended badly leaves ISR and ELR: what it had flushed nobody knows. One that knows its last epoch ended well,
 * and stays eligible. */
TEST(decide_tells_clean_from_unclean_restarts) {
    for (int clean = 0; clean < 2; clean++) {
        struct rig rig;
        rig_open_cluster(&rig, RIG_QUIET "min.insync.replicas=3\n", MV_LATEST, true);
        broker_id id = image_replicas(rig_partition(&rig, "t", 0)).ids[1];
        struct broker_registration_request in = rig_registration(&rig, id);
        struct broker_registration_response out;
        broker_registration_response_init(&out);
        in.previous_broker_epoch = clean ? image_broker(rig_image(&rig), id)->epoch : -1;
        rig.former_is_gone = true;
        assert_int_equal(rig_call(&rig, 62, 4, &in, &out), KAFKA_NONE);
        assert_int_equal(out.error_code, KAFKA_NONE);
        const struct image_partition *p = rig_partition(&rig, "t", 0);
        assert_false(image_ids_contain(image_isr(p), id));
        assert_int_equal(image_ids_contain(image_elr(p), id), clean);
        rig_check(&rig, NULL);
        rig_close(&rig);
    }
}

/* ---- the heartbeat's table of states */

static const struct { const char *what; bool fenced, leads, want_fence, want_shut_down, behind; bool is_fenced, should_shut_down, shutting_down; } beats[] = {
    {"fenced, wants to go", true, false, false, true, false, true, true, false},
    {"fenced, wants to stay so", true, false, true, false, false, true, false, false},
    {"fenced, not caught up", true, false, false, false, true, true, false, false},
    {"fenced, ready", true, false, false, false, false, false, false, false},
    {"serving", false, true, false, false, false, false, false, false},
    {"serving, behind", false, true, false, false, true, false, false, false},
    {"wants to be fenced", false, true, true, false, false, true, false, false},
    {"wants to be fenced and to go", false, true, true, true, false, true, true, false},
    {"wants to go, and leads", false, true, false, true, false, false, false, true},
    {"wants to go, and leads nothing", false, false, false, true, false, true, true, false},
};
TEST(decide_heartbeat_by_table) {
    for (size_t i = 0; i < countof(beats); i++) {
        struct rig rig;
        rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
        broker_id id = beats[i].fenced ? 3 : rig_partition(&rig, "t", 0)->leader;
        if (!beats[i].fenced && !beats[i].leads) {
            rig_unfence(&rig, 3);
            id = 3;
        }
        struct broker_heartbeat_request in;
        struct broker_heartbeat_response out;
        broker_heartbeat_request_init(&in);
        broker_heartbeat_response_init(&out);
        in.broker_id = id;
        in.broker_epoch = image_broker(rig_image(&rig), id)->epoch;
        in.current_metadata_offset = beats[i].behind ? in.broker_epoch - 1 : rig.end;
        in.want_fence = beats[i].want_fence;
        in.want_shut_down = beats[i].want_shut_down;
        assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
        if (out.error_code || out.is_fenced != beats[i].is_fenced || out.should_shut_down != beats[i].should_shut_down ||
            out.is_caught_up == beats[i].behind || image_broker(rig_image(&rig), id)->in_controlled_shutdown != beats[i].shutting_down)
            fail_msg("%s: error %d, fenced %d, shut down %d, caught up %d", beats[i].what, out.error_code, out.is_fenced, out.should_shut_down, out.is_caught_up);
        rig_check(&rig, NULL);
        in.broker_epoch--;
        assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
        assert_int_equal(out.error_code, KAFKA_STALE_BROKER_EPOCH);
        rig_close(&rig);
    }
}

/* A broker that shuts down is let go only when all others have heard of the new leaders. */
TEST(decide_shutdown_waits_for_the_others) {
    struct rig rig;
    rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
    broker_id id = rig_partition(&rig, "t", 0)->leader;
    struct broker_heartbeat_request in;
    struct broker_heartbeat_response out;
    broker_heartbeat_request_init(&in);
    in.broker_id = id;
    in.broker_epoch = image_broker(rig_image(&rig), id)->epoch;
    in.current_metadata_offset = rig.end;
    in.want_shut_down = true;
    assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
    assert_false(out.should_shut_down);
    assert_true(rig_partition(&rig, "t", 0)->leader != id && rig_partition(&rig, "t", 0)->leader >= 0);
    assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
    assert_false(out.should_shut_down); /* nobody else has said how far it is */
    for (broker_id other = 0; other < 3; other++)
        if (other != id) rig_unfence(&rig, other); /* a heartbeat with the newest offset */
    assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
    assert_true(out.should_shut_down);
    rig_check(&rig, NULL);
    rig_close(&rig);
}

/* ---- the rest */

TEST(decide_unregisters_and_allocates) {
    struct rig rig;
    rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
    struct unregister_broker_request gone = {.broker_id = 8};
    struct unregister_broker_response gone_out;
    unregister_broker_response_init(&gone_out);
    assert_int_equal(rig_call(&rig, 64, 0, &gone, &gone_out), KAFKA_NONE);
    assert_int_equal(gone_out.error_code, KAFKA_BROKER_ID_NOT_REGISTERED);
    gone.broker_id = 0;
    assert_int_equal(rig_call(&rig, 64, 0, &gone, &gone_out), KAFKA_NONE);
    assert_int_equal(gone_out.error_code, KAFKA_NONE);
    assert_null(image_broker(rig_image(&rig), 0));
    for (int i = 0; i < 3; i++) {
        assert_false(image_ids_contain(image_isr(rig_partition(&rig, "t", i)), 0));
        assert_false(image_ids_contain(image_elr(rig_partition(&rig, "t", i)), 0));
    }
    struct allocate_producer_ids_request ids = {.broker_id = 1, .broker_epoch = image_broker(rig_image(&rig), 1)->epoch};
    struct allocate_producer_ids_response ids_out;
    for (int64_t block = 0; block < 3; block++) {
        assert_int_equal(rig_call(&rig, 67, 0, &ids, &ids_out), KAFKA_NONE);
        assert_int_equal(ids_out.error_code, KAFKA_NONE);
        assert_int_equal(ids_out.producer_id_start, block * 1000);
    }
    ids.broker_epoch++;
    assert_int_equal(rig_call(&rig, 67, 0, &ids, &ids_out), KAFKA_NONE);
    assert_int_equal(ids_out.error_code, KAFKA_STALE_BROKER_EPOCH);
    struct unregister_controller_request controller = {.controller_id = 100};
    struct unregister_controller_response controller_out;
    unregister_controller_response_init(&controller_out);
    assert_int_equal(rig_call(&rig, 94, 0, &controller, &controller_out), KAFKA_NONE);
    assert_int_equal(controller_out.error_code, KAFKA_INVALID_REQUEST);
    controller.controller_id = 101;
    assert_int_equal(rig_call(&rig, 94, 0, &controller, &controller_out), KAFKA_NONE);
    assert_int_equal(controller_out.error_code, KAFKA_CONTROLLER_ID_NOT_REGISTERED);
    rig_check(&rig, NULL);
    rig_close(&rig);
}

/* A broker tells where its replicas lie; one in a directory that is not online leaves the ISR; one that fails later, too. */
TEST(decide_follows_directories) {
    struct rig rig;
    rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
    broker_id id = image_replicas(rig_partition(&rig, "t", 0)).ids[1];
    struct assign_replicas_to_dirs_request in;
    struct assign_replicas_to_dirs_response out;
    assign_replicas_to_dirs_request_init(&in);
    assign_replicas_to_dirs_response_init(&out);
    in.broker_id = id;
    in.broker_epoch = image_broker(rig_image(&rig), id)->epoch;
    in.directories = assign_replicas_to_dirs_request_directory_data_array(&rig.memory, 1);
    in.directories_count = 1;
    in.directories[0].id = DIRECTORY_LOST;
    in.directories[0].topics = assign_replicas_to_dirs_request_topic_data_array(&rig.memory, 2);
    in.directories[0].topics_count = 2;
    for (int t = 0; t < 2; t++) {
        in.directories[0].topics[t].topic_id = t ? (struct uuid){{5}} : image_topic(rig_image(&rig), SPAN_LITERAL("t"))->id;
        in.directories[0].topics[t].partitions = assign_replicas_to_dirs_request_partition_data_array(&rig.memory, 2);
        in.directories[0].topics[t].partitions_count = 2;
        in.directories[0].topics[t].partitions[1].partition_index = 7;
    }
    assert_int_equal(rig_call(&rig, 73, 0, &in, &out), KAFKA_NONE);
    assert_int_equal(out.error_code, KAFKA_NONE);
    assert_int_equal(out.directories[0].topics[0].partitions[0].error_code, KAFKA_NONE);
    assert_int_equal(out.directories[0].topics[0].partitions[1].error_code, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(out.directories[0].topics[1].partitions[0].error_code, KAFKA_UNKNOWN_TOPIC_ID);
    const struct image_partition *p = rig_partition(&rig, "t", 0);
    assert_true(uuid_equal(image_directory(p, 1), DIRECTORY_LOST));
    assert_false(image_ids_contain(image_isr(p), id));
    rig_check(&rig, NULL);
    in.broker_epoch++;
    assert_int_equal(rig_call(&rig, 73, 0, &in, &out), KAFKA_NONE);
    assert_int_equal(out.error_code, KAFKA_STALE_BROKER_EPOCH);
    struct broker_heartbeat_request beat;
    struct broker_heartbeat_response answer;
    broker_heartbeat_request_init(&beat);
    broker_heartbeat_response_init(&answer);
    beat.broker_id = id;
    beat.broker_epoch = image_broker(rig_image(&rig), id)->epoch;
    beat.current_metadata_offset = rig.end;
    beat.offline_log_dirs = &rig.directories[id];
    beat.offline_log_dirs_count = 1;
    assert_int_equal(rig_call(&rig, 63, 1, &beat, &answer), KAFKA_NONE);
    assert_int_equal(answer.error_code, KAFKA_NONE);
    for (int i = 0; i < 3; i++) assert_false(image_ids_contain(image_isr(rig_partition(&rig, "t", i)), id));
    rig_close(&rig);
}
