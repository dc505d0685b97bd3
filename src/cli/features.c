/* cli/features.c - kafka-features.sh. */
#include "cli/admin.h"
#include "cli/columns.h"
#include "cli/storage.h"
#include "cli/tools.h"
#include <stdlib.h>
#include <string.h>

enum { UPDATES_MAX = 64, UPGRADE = 1, SAFE_DOWNGRADE = 2, UNSAFE_DOWNGRADE = 3, UPDATE_TIMEOUT_MS = 60000 };
struct updates {
    struct { struct span name; int16_t level; } list[UPDATES_MAX];
    uint32_t count;
};

static bool has_servers(const struct args *args) {
    if (args_has(args, "bootstrap-server") + args_has(args, "bootstrap-controller") == 1) return true;
    fprintf(stderr, "Command line error: %s. Type --help for help.\n",
            args_has(args, "bootstrap-server") ? "argument --bootstrap-controller: not allowed with argument --bootstrap-server" : "You must specify either --bootstrap-controller or --bootstrap-server.");
    return false;
}

/* ---- describe -------------------------------------------------------------------------------------------------------------- */

static const char *level_text(struct admin *admin, struct span feature, int16_t level) {
    if (!span_equal(feature, SPAN_LITERAL(FEATURE_METADATA))) return cell_text(admin_memory(admin), "%d", level);
    const struct metadata_level *known = metadata_level(level);
    return known ? known->name : cell_text(admin_memory(admin), level ? "UNKNOWN %d" : "%d", level);
}

static int by_name(const void *a, const void *b) {
    return span_compare(((const struct api_versions_response_supported_feature_key *)a)->name, ((const struct api_versions_response_supported_feature_key *)b)->name);
}

static bool describe(struct admin *admin) {
    struct api_versions_request request;
    struct api_versions_response response;
    int32_t node = CLIENT_ANY;
    struct span nothing = {0};
    api_versions_request_init(&request);
    request.client_software_name = SPAN_LITERAL("moldau");
    request.client_software_version = SPAN_LITERAL("0.1.0");
    if (args_has(admin->args, "node-id")) {
        node = (int32_t)args_number(admin->args, "node-id");
        if (!admin_topics(admin, &nothing, 0)) return false;
        if (!admin_broker(admin, node)) return admin_fail(admin, "TimeoutException", "Timed out waiting for a node assignment. Call: describeFeatures");
    }
    if (!admin_call(admin, node, API_API_VERSIONS, 0, "describeFeatures", &request, &response) || !admin_check(admin, response.error_code, (struct span){0})) return false;
    if (response.supported_features_count) qsort(response.supported_features, (size_t)response.supported_features_count, sizeof *response.supported_features, by_name);
    for (int32_t i = 0; i < response.supported_features_count; i++) {
        const struct api_versions_response_supported_feature_key *feature = &response.supported_features[i];
        int16_t level = 0;
        for (int32_t k = 0; k < response.finalized_features_count; k++)
            if (span_equal(response.finalized_features[k].name, feature->name)) level = response.finalized_features[k].max_version_level;
        printf("Feature: %-40s  SupportedMinVersion: %-15s  SupportedMaxVersion: %-15s  FinalizedVersionLevel: %-15s  Epoch: ", cell_span(admin_memory(admin), feature->name),
               level_text(admin, feature->name, feature->min_version), level_text(admin, feature->name, feature->max_version), level_text(admin, feature->name, level));
        if (response.finalized_features_epoch >= 0) printf("%lld\n", (long long)response.finalized_features_epoch);
        else puts("-");
    }
    return true;
}

int features_describe_run(struct args *args) {
    static struct admin admin;
    if (!has_servers(args)) return 1;
    return admin_end(&admin, admin_open(&admin, args) && describe(&admin));
}

/* ---- upgrade, downgrade, disable ------------------------------------------------------------------------------------------------ */

static bool add(struct admin *admin, struct updates *updates, struct span name, int16_t level, bool once) {
    uint32_t i = 0;
    while (i < updates->count && !span_equal(updates->list[i].name, name)) i++;
    if (i < updates->count && once) return admin_fail(admin, NULL, "Feature %.*s was specified more than once.", (int)name.size, (const char *)name.data);
    if (i == UPDATES_MAX) return admin_fail(admin, NULL, "too many features");
    updates->list[i].name = name;
    updates->list[i].level = level;
    if (i == updates->count) updates->count++;
    return true;
}

static const struct metadata_level *release(struct admin *admin, const char *name) {
    const struct metadata_level *level = metadata_level_named(span_text(name));
    if (level && level->level <= MV_LATEST) return level;
    text_add(&admin->why, "Unknown metadata.version '%s'. Supported metadata.version are: ", name);
    for (int16_t i = MV_MIN; i <= MV_LATEST; i++) text_add(&admin->why, i == MV_MIN ? "%s" : ", %s", metadata_level(i)->name);
    return NULL;
}

/* Every feature to what belongs to the release; an upgrade never asks for level 0. */
static bool add_release(struct admin *admin, struct updates *updates, const char *name, bool upgrade) {
    const struct metadata_level *level = release(admin, name);
    if (!level || !add(admin, updates, SPAN_LITERAL(FEATURE_METADATA), level->level, false)) return false;
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        if (strcmp(features[i].name, FEATURE_METADATA) == 0) continue;
        int16_t wanted = feature_default(&features[i], level->level);
        if ((wanted > 0 || !upgrade) && !add(admin, updates, span_text(features[i].name), wanted, false)) return false;
    }
    return true;
}

static bool read_updates(struct admin *admin, struct updates *updates, const char *verb) {
    const struct args *args = admin->args;
    const char *metadata = args_text(args, "metadata"), *version = args_text(args, "release-version");
    bool disable = strcmp(verb, "disable") == 0;
    uint32_t at = 0;
    if (version && (metadata || args_has(args, "feature"))) return admin_fail(admin, NULL, "Can not specify `release-version` with other feature flags.");
    if (version) return add_release(admin, updates, version, strcmp(verb, "upgrade") == 0);
    if (metadata) {
        puts(" `metadata` flag is deprecated and may be removed in a future release.");
        const struct metadata_level *level = release(admin, metadata);
        if (!level || !add(admin, updates, SPAN_LITERAL(FEATURE_METADATA), level->level, true)) return false;
    }
    for (const char *text; (text = args_each(args, "feature", &at));) {
        const char *equals = disable ? NULL : strchr(text, '=');
        char *end = NULL;
        long level = equals ? strtol(equals + 1, &end, 10) : 0;
        if (!disable && !equals) return admin_fail(admin, NULL, "Can't parse feature=level string %s: equals sign not found.", text);
        if (equals && (end == equals + 1 || *end || level > INT16_MAX || level < INT16_MIN))
            return admin_fail(admin, NULL, "Can't parse feature=level string %s: unable to parse %s as a short.", text, equals + 1);
        if (!add(admin, updates, equals ? span_of(text, (size_t)(equals - text)) : span_text(text), (int16_t)level, true)) return false;
    }
    return updates->count > 0 || admin_fail(admin, NULL, "You must specify at least one feature to %s", verb);
}

static int by_update(const void *a, const void *b) { return span_compare(*(const struct span *)a, *(const struct span *)b); }

static bool update(struct admin *admin, struct updates *updates, const char *verb, int8_t type) {
    struct update_features_request request;
    struct update_features_response response = {0};
    bool dry = args_has(admin->args, "dry-run"), disable = strcmp(verb, "disable") == 0, sent;
    int tries = 0;
    uint32_t failed = 0;
    qsort(updates->list, updates->count, sizeof *updates->list, by_update);
    update_features_request_init(&request);
    request.timeout_ms = UPDATE_TIMEOUT_MS;
    request.validate_only = dry;
    request.feature_updates = update_features_request_feature_update_key_array(admin_memory(admin), (int32_t)updates->count);
    if (!request.feature_updates) return admin_fail_memory(admin);
    request.feature_updates_count = (int32_t)updates->count;
    for (uint32_t i = 0; i < updates->count; i++) {
        request.feature_updates[i].feature = updates->list[i].name;
        request.feature_updates[i].max_version_level = updates->list[i].level;
        request.feature_updates[i].upgrade_type = type;
    }
    do sent = admin_call(admin, CLIENT_ANY, API_UPDATE_FEATURES, 0, "updateFeatures", &request, &response) && admin_check(admin, response.error_code, response.error_message);
    while (!sent && admin_again(admin, response.error_code, &tries) && (admin_forgive(admin), true));
    const char *all = sent ? NULL : cell_text(admin_memory(admin), "%s", admin->why.bytes);
    for (uint32_t i = 0; i < updates->count; i++) {
        const char *name = cell_span(admin_memory(admin), updates->list[i].name), *why = all;
        admin_forgive(admin);
        for (int32_t k = 0; !why && k < response.results_count; k++)
            if (span_equal(response.results[k].feature, updates->list[i].name) && !admin_check(admin, response.results[k].error_code, response.results[k].error_message)) why = admin->why.bytes;
        failed += why != NULL;
        if (why && disable) printf("%s disable %s. %s\n", dry ? "Can not" : "Could not", name, why);
        else if (why) printf("%s %s %s to %d. %s\n", dry ? "Can not" : "Could not", verb, name, updates->list[i].level, why);
        else if (disable) printf("%s %s disabled.\n", name, dry ? "can be" : "was");
        else printf("%s %s %sd to %d.\n", name, dry ? "can be" : "was", verb, updates->list[i].level);
    }
    admin_forgive(admin);
    return failed == 0 || admin_fail(admin, NULL, "%u out of %u operation(s) failed.", failed, updates->count);
}

static int change(struct args *args, const char *verb, int8_t type) {
    static struct admin admin;
    static struct updates updates;
    if (!has_servers(args)) return 1;
    return admin_end(&admin, admin_open(&admin, args) && read_updates(&admin, &updates, verb) && update(&admin, &updates, verb, type));
}

int features_upgrade_run(struct args *args) { return change(args, "upgrade", UPGRADE); }
int features_downgrade_run(struct args *args) { return change(args, "downgrade", args_has(args, "unsafe") ? UNSAFE_DOWNGRADE : SAFE_DOWNGRADE); }
int features_disable_run(struct args *args) { return change(args, "disable", args_has(args, "unsafe") ? UNSAFE_DOWNGRADE : SAFE_DOWNGRADE); }

int features_version_mapping_run(struct args *args) {
    const char *name = args_text(args, "release-version");
    const struct metadata_level *level = name ? metadata_level_named(span_text(name)) : NULL;
    if (!name || (level && level->level <= MV_LATEST)) return storage_version_mapping_run(args);
    fprintf(stderr, "Unknown metadata.version '%s'. Supported metadata.version are: ", name);
    for (int16_t i = MV_MIN; i <= MV_LATEST; i++) fprintf(stderr, i == MV_MIN ? "%s" : ", %s", metadata_level(i)->name);
    fputc('\n', stderr);
    return 1;
}
