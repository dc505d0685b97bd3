/* Decisions about features, as tables: the error cases of each API in the order in which they are looked for. */
#include "controller/machine_rig.h"
#include "test.h"
#include <string.h>

static const struct { const char *what, *feature; int16_t from_mv, level; int8_t type; enum kafka_error error; } updates[] = {
    {"upgrade", "metadata.version", MV_4_3_IV0, MV_LATEST, 1, KAFKA_NONE},
    {"the same", "metadata.version", MV_LATEST, MV_LATEST, 1, KAFKA_NONE},
    {"unknown type", "metadata.version", MV_LATEST, MV_LATEST, 0, KAFKA_INVALID_UPDATE_VERSION},
    {"below 0", "share.version", MV_LATEST, -1, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"unknown feature", "no.such", MV_LATEST, 1, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"not stable", "metadata.version", MV_LATEST, MV_TESTING, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"down without saying so", "metadata.version", MV_4_4_IV0, MV_4_3_IV0, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"down, nothing lost", "metadata.version", MV_4_4_IV0, MV_4_3_IV0, 2, KAFKA_NONE},
    {"down, something lost", "metadata.version", MV_LATEST, MV_4_4_IV0, 2, KAFKA_INVALID_UPDATE_VERSION},
    {"down by force", "metadata.version", MV_LATEST, MV_4_4_IV0, 3, KAFKA_INVALID_UPDATE_VERSION},
    {"up, as a downgrade", "metadata.version", MV_4_3_IV0, MV_LATEST, 2, KAFKA_INVALID_UPDATE_VERSION},
    {"ELR without its base", FEATURE_ELR, MV_3_9_IV0, 1, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"ELR", FEATURE_ELR, MV_4_0_IV1, 1, 1, KAFKA_NONE},
    {"transactions", "transaction.version", MV_LATEST, 2, 1, KAFKA_NONE},
    {"off", "group.version", MV_LATEST, 0, 1, KAFKA_NONE},
    {"the quorum's own", "kraft.version", MV_LATEST, 1, 1, KAFKA_NONE},
    {"the quorum's own, as it is", "kraft.version", MV_LATEST, 0, 1, KAFKA_NONE},
    {"the quorum's own, not known", "kraft.version", MV_LATEST, 2, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"the quorum's own, up as a downgrade", "kraft.version", MV_LATEST, 1, 2, KAFKA_INVALID_UPDATE_VERSION},
};
TEST(decide_update_features_by_table) {
    for (size_t i = 0; i < countof(updates); i++) {
        struct rig rig;
        rig_open_cluster(&rig, RIG_QUIET "min.insync.replicas=2\n", updates[i].from_mv, false);
        log_offset end = rig.end;
        struct update_features_request in;
        struct update_features_response out;
        update_features_request_init(&in);
        update_features_response_init(&out);
        in.feature_updates = update_features_request_feature_update_key_array(&rig.memory, 1);
        in.feature_updates_count = 1;
        in.feature_updates[0].feature = span_text(updates[i].feature);
        in.feature_updates[0].max_version_level = updates[i].level;
        in.feature_updates[0].upgrade_type = updates[i].type;
        assert_int_equal(rig_call(&rig, 57, 2, &in, &out), KAFKA_NONE);
        if (out.error_code != (int16_t)updates[i].error) fail_msg("%s: error %d: %.*s", updates[i].what, out.error_code, SPAN_ARGS(out.error_message));
        bool is_record = strcmp(updates[i].feature, FEATURE_KRAFT) != 0; /* of this log: what is the quorum's, it writes itself */
        assert_int_equal(rig.end > end, is_record && updates[i].error == KAFKA_NONE);
        if (!out.error_code && is_record) assert_int_equal(image_feature_level(rig_image(&rig), span_text(updates[i].feature)), updates[i].level);
        if (!out.error_code && strcmp(updates[i].feature, FEATURE_ELR) == 0) /* the minimum is the cluster's now */
            assert_true(span_equal(image_config(rig_image(&rig), CONFIG_BROKER, SPAN_LITERAL(""), SPAN_LITERAL("min.insync.replicas"))->value, SPAN_LITERAL("2")));
        rig_close(&rig);
    }
}
