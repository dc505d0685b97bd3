#include "controller/decide.h"
#include <string.h>

enum { UPGRADE = 1, SAFE_DOWNGRADE = 2, UNSAFE_DOWNGRADE = 3 };

/* ---- UpdateFeatures: data NULL is fine, else why not */

static struct span check_range(struct decide *d, const char *who, int32_t id, const struct image_range *ranges, uint32_t count, struct span feature, int16_t level) {
    int16_t min = 0, max = 0; /* a feature that it does not name */
    for (uint32_t i = 0; i < count; i++)
        if (span_equal(ranges[i].name, feature)) min = ranges[i].min, max = ranges[i].max;
    if (level == 0 && !span_equal(feature, SPAN_LITERAL(FEATURE_METADATA))) return (struct span){0}; /* everybody can do without */
    if (level >= min && level <= max) return (struct span){0};
    return decide_text(d, "%s %d supports levels %d to %d", who, id, min, max);
}

static struct span check_support(struct decide *d, struct span name, int16_t level) {
    const struct feature *feature = feature_find(name);
    if (!feature) return SPAN_LITERAL("this controller does not know the feature");
    if (level < feature->min || level > feature->max)
        return decide_text(d, "controller %d supports levels %d to %d", d->settings->node, feature->min, feature->max);
    for (const struct image_broker *b = NULL; (b = image_broker_next(d->image, b));) {
        struct span why = check_range(d, "broker", b->id, b->features, b->feature_count, name, level);
        if (why.data) return why;
    }
    for (const struct image_controller *c = NULL; (c = image_controller_next(d->image, c));) {
        if (c->id == d->settings->node) continue;
        struct span why = check_range(d, "controller", c->id, c->features, c->feature_count, name, level);
        if (why.data) return why;
    }
    return (struct span){0};
}

/* Voters that are named in the static list must have registered: one that has not may not know the feature. */
static struct span check_voters(struct decide *d) {
    if (!mv_has_controller_registration(decide_mv(d))) return (struct span){0};
    struct config_view view = decide_config(d);
    struct span rest = config_text(&view, KEY_controller_quorum_voters, NULL), voter;
    while (config_list_next(&rest, &voter)) {
        int64_t id;
        const uint8_t *at = memchr(voter.data, '@', voter.size);
        if (!at || !config_parse_integer((struct span){voter.data, (size_t)(at - voter.data)}, &id)) continue;
        if (id != d->settings->node && !image_controller(d->image, (int32_t)id)) return decide_text(d, "controller %lld has not registered", (long long)id);
    }
    return (struct span){0};
}

static struct span check_metadata_version(int16_t from, int16_t to) {
    for (int16_t level = from; level > to; level--) {
        const struct metadata_level *row = metadata_level(level);
        if (row && row->changed_metadata) return SPAN_LITERAL("a downgrade across this level would lose metadata");
    }
    return (struct span){0};
}

static int16_t proposed_level(const struct decide *d, const struct update_features_request *in, struct span name) {
    for (int32_t i = 0; i < in->feature_updates_count; i++)
        if (span_equal(in->feature_updates[i].feature, name)) return in->feature_updates[i].max_version_level;
    return image_feature_level(d->image, name);
}

/* No record of this log's kind: when the rest is decided, the quorum is asked to write it among its own. */
static bool is_kraft(struct span feature) {
    return span_equal(feature, SPAN_LITERAL(FEATURE_KRAFT));
}

static struct span check_update(struct decide *d, int16_t version, const struct update_features_request *in,
                                const struct update_features_request_feature_update_key *update) {
    int16_t level = update->max_version_level, now = image_feature_level(d->image, update->feature);
    int8_t type = version == 0 ? UPGRADE : update->upgrade_type; /* AllowDowngrade of version 0 is not heeded by Kafka 4.4 */
    bool is_metadata = span_equal(update->feature, SPAN_LITERAL(FEATURE_METADATA));
    if (is_metadata && now == 0) now = MV_MIN;
    if (is_kraft(update->feature)) now = d->settings->kraft_version;
    if (type < UPGRADE || type > UNSAFE_DOWNGRADE) return SPAN_LITERAL("there is no such type of upgrade");
    if (level < 0) return SPAN_LITERAL("a level is not below 0");
    struct span why = check_support(d, update->feature, level);
    if (!why.data) why = check_voters(d);
    if (why.data) return why;
    if (level < now && type == UPGRADE) return SPAN_LITERAL("the level would fall, and a downgrade was not asked for");
    if (level > now && type != UPGRADE) return SPAN_LITERAL("the level would rise, and a downgrade was asked for");
    if (is_metadata) return check_metadata_version(now, level);
    int16_t needs = feature_needs_metadata_version(feature_find(update->feature), level);
    if (needs > proposed_level(d, in, SPAN_LITERAL(FEATURE_METADATA)))
        return decide_text(d, "level %d needs metadata.version %s at least", level, metadata_level(needs)->name);
    return (struct span){0};
}

/* With ELR the minimum of in-sync replicas must be one for the whole cluster: it is written down where it was only in the
 * files, and single brokers lose theirs. */
static void settle_min_isr(struct decide *d) {
    struct config_record r = {.resource_type = CONFIG_BROKER, .resource_name = SPAN_LITERAL(""), .name = SPAN_LITERAL("min.insync.replicas")};
    if (!image_config(d->image, CONFIG_BROKER, r.resource_name, r.name)) {
        struct config_view view = {.values = d->settings->values, .broker = -1};
        r.value = config_text(&view, KEY_min_insync_replicas, NULL);
        decide_record(d, &config_record_message, 0, &r);
    }
    for (const struct image_config *c = NULL; (c = image_config_next(d->image, c));) {
        if (c->type != CONFIG_BROKER || c->resource.size == 0 || !span_equal(c->key, r.name)) continue;
        struct config_record gone = {.resource_type = CONFIG_BROKER, .resource_name = c->resource, .name = c->key};
        decide_record(d, &config_record_message, 0, &gone);
    }
}

void decide_update_features(struct decide *d, int16_t version, const struct update_features_request *in, struct update_features_response *out) {
    out->results = decide_answer_alloc(d, (size_t)in->feature_updates_count, sizeof *out->results);
    if (!out->results) return;
    out->error_message = (struct span){0};
    struct span why = {0}, culprit = {0};
    int16_t culprit_level = 0;
    for (int32_t i = 0; i < in->feature_updates_count && !why.data && !d->failed; i++) {
        const struct update_features_request_feature_update_key *update = &in->feature_updates[i];
        why = check_update(d, version, in, update);
        for (int32_t k = 0; k < i && !why.data; k++)
            if (span_equal(in->feature_updates[k].feature, update->feature)) why = SPAN_LITERAL("the request names this feature more than once");
        culprit = update->feature;
        culprit_level = update->max_version_level;
        struct feature_level_record r = {.name = update->feature, .feature_level = update->max_version_level};
        bool rises = update->max_version_level > image_feature_level(d->image, update->feature);
        if (why.data) break;
        if (is_kraft(update->feature)) continue;
        decide_record(d, &feature_level_record_message, 0, &r);
        if (rises && span_equal(update->feature, SPAN_LITERAL(FEATURE_ELR))) settle_min_isr(d);
    }
    if (why.data) {
        decide_undo(d, 0);
        out->error_code = KAFKA_INVALID_UPDATE_VERSION;
        out->error_message = decide_text(d, "level %d of %.*s: %.*s", culprit_level, SPAN_ARGS(culprit), SPAN_ARGS(why));
        return;
    }
    if (version < 2) {
        out->results_count = in->feature_updates_count;
        for (int32_t i = 0; i < in->feature_updates_count; i++) {
            out->results[i].feature = in->feature_updates[i].feature;
            out->results[i].error_code = KAFKA_NONE;
            out->results[i].error_message = SPAN_LITERAL("NONE"); /* as Kafka says it in these versions */
        }
    }
    if (in->validate_only) decide_undo(d, 0);
}

/* ---- what a new active controller does first */

void decide_activate(struct decide *d, bool in_transaction, const struct span *bootstrap, uint32_t bootstrap_count) {
    bool is_empty = image_metadata_version(d->image) == 0;
    if (in_transaction) {
        struct abort_transaction_record r = {.reason = SPAN_LITERAL("Controller failover")};
        decide_record(d, &abort_transaction_record_message, 0, &r);
    }
    if (!is_empty) return;
    /* What the new cluster's metadata.version is, is said by the first of its records. */
    struct feature_level_record latest = {.name = SPAN_LITERAL(FEATURE_METADATA), .feature_level = MV_LATEST};
    int16_t mv = MV_LATEST;
    bool elr = false;
    for (uint32_t i = 0; i < bootstrap_count; i++) {
        struct feature_level_record level;
        /* 1, type 12, version 0, then the message */
        if (bootstrap[i].size < 3 || bootstrap[i].data[1] != 12) continue;
        if (feature_level_record_decode(&level, 0, (struct span){bootstrap[i].data + 3, bootstrap[i].size - 3}, d->arena, NULL)) continue;
        if (span_equal(level.name, SPAN_LITERAL(FEATURE_METADATA))) mv = level.feature_level;
        if (span_equal(level.name, SPAN_LITERAL(FEATURE_ELR))) elr = level.feature_level > 0;
    }
    bool wrapped = mv_has_transactions(mv);
    if (wrapped) {
        struct begin_transaction_record begin = {.name = SPAN_LITERAL("Bootstrap records")};
        decide_record(d, &begin_transaction_record_message, 0, &begin);
    }
    for (uint32_t i = 0; i < bootstrap_count; i++) decide_framed(d, bootstrap[i]);
    if (bootstrap_count == 0) decide_record(d, &feature_level_record_message, 0, &latest);
    if (elr) settle_min_isr(d);
    if (wrapped) {
        struct end_transaction_record end = {0};
        decide_record(d, &end_transaction_record_message, 0, &end);
    }
}

void decide_no_op(struct decide *d) {
    struct no_op_record r = {0};
    decide_record(d, &no_op_record_message, 0, &r);
}
