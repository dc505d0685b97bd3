#include "controller/format.h"
#include "base/random.h"
#include "wire/record_frame.h"
#include "wire/records.h"
#include <errno.h>
#include <string.h>

/* ---- the records */

static int16_t level_of(const struct format_plan *plan, const struct feature *feature, int16_t mv) {
    for (uint32_t i = 0; i < plan->feature_count; i++)
        if (span_equal(plan->features[i].name, span_text(feature->name))) return plan->features[i].level;
    return feature_default(feature, mv);
}

static enum err check_features(const struct format_plan *plan, int16_t mv, struct text *why) {
    const struct metadata_level *level = metadata_level(mv);
    if (!level || mv > MV_LATEST) {
        text_add(why, "metadata.version %d is not one that can be chosen: %d (3.3-IV3) to %d (%s) are", mv, MV_MIN, MV_LATEST, metadata_level(MV_LATEST)->name);
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        const struct format_feature *chosen = &plan->features[i];
        const struct feature *feature = feature_find(chosen->name);
        if (!feature) {
            text_add(why, "there is no feature %.*s", (int)chosen->name.size, (const char *)chosen->name.data);
            return ERR_INVALID;
        }
        if (chosen->level < feature->min || chosen->level > feature->max) {
            text_add(why, "%s has levels %d to %d, not %d", feature->name, feature->min, feature->max, chosen->level);
            return ERR_INVALID;
        }
        int16_t needs = feature_needs_metadata_version(feature, chosen->level);
        if (needs > mv) {
            text_add(why, "level %d of %s needs metadata.version %s at least", chosen->level, feature->name, metadata_level(needs)->name);
            return ERR_INVALID;
        }
        if (span_equal(chosen->name, SPAN_LITERAL(FEATURE_KRAFT)) && (chosen->level == 1) != plan->dynamic) {
            text_add(why, "kraft.version is 1 with a dynamic quorum, and 0 with static voters");
            return ERR_INVALID;
        }
    }
    if (plan->scram_count && !mv_has_scram(mv)) {
        text_add(why, "SCRAM credentials need metadata.version 3.5-IV2 at least");
        return ERR_INVALID;
    }
    return ERR_NONE;
}

/* metadata.version first, the others that are above 0 by name; kraft.version is no record of this kind. */
enum err format_records(const struct format_plan *plan, struct arena *arena, struct span **values, uint32_t *count, struct text *why) {
    int16_t mv = plan->metadata_version ? plan->metadata_version : MV_LATEST;
    enum err err = check_features(plan, mv, why);
    if (err) return err;
    *count = 0;
    *values = ARENA_ARRAY(arena, FEATURES_COUNT + plan->scram_count, struct span);
    if (!*values) return ERR_NO_MEMORY;
    struct feature_level_record level = {.name = SPAN_LITERAL(FEATURE_METADATA), .feature_level = mv};
    (*values)[(*count)++] = wire_metadata_frame(&feature_level_record_message, 0, &level, arena);
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        level = (struct feature_level_record){.name = span_text(features[i].name), .feature_level = level_of(plan, &features[i], mv)};
        if (level.feature_level == 0 || span_equal(level.name, SPAN_LITERAL(FEATURE_METADATA)) || span_equal(level.name, SPAN_LITERAL(FEATURE_KRAFT))) continue;
        (*values)[(*count)++] = wire_metadata_frame(&feature_level_record_message, 0, &level, arena);
    }
    for (uint32_t i = 0; i < plan->scram_count; i++) {
        const struct format_scram *scram = &plan->scrams[i];
        struct user_scram_credential_record record = {.name = scram->user, .mechanism = scram->mechanism, .salt = scram->salt, .stored_key = scram->stored_key,
                                                      .server_key = scram->server_key, .iterations = scram->iterations};
        (*values)[(*count)++] = wire_metadata_frame(&user_scram_credential_record_message, 0, &record, arena);
    }
    for (uint32_t i = 0; i < *count; i++)
        if (!(*values)[i].data) return ERR_NO_MEMORY;
    return ERR_NONE;
}

/* ---- the files */

enum err format_read(struct io_files files, const char *metadata_dir, struct log_dir_meta *out) {
    return log_dir_meta_read(files, metadata_dir, out);
}

/* A directory that is formatted already may be part of this very format, cut short before. */
static enum err check_dir(const struct format_plan *plan, struct io_files files, uint32_t i, bool *formatted, struct text *why) {
    struct log_dir_meta meta;
    enum err err = log_dir_meta_read(files, plan->dirs[i], &meta);
    *formatted = err == ERR_NONE;
    if (err == ERR_NOT_FOUND) return ERR_NONE;
    if (err) {
        text_add(why, "%s: its meta.properties cannot be read", plan->dirs[i]);
        return err;
    }
    struct span cluster = span_text(meta.cluster_id);
    if ((meta.node >= 0 && meta.node != plan->node) || (cluster.size && !span_equal(cluster, plan->cluster_id))) {
        text_add(why, "%s belongs to node %d of cluster %s", plan->dirs[i], meta.node, meta.cluster_id);
        return ERR_INVALID;
    }
    if (plan->ignore_formatted) return ERR_NONE;
    if (i != plan->metadata_dir) {
        bool metadata_formatted = format_read(files, plan->dirs[plan->metadata_dir], &meta) == ERR_NONE;
        if (!metadata_formatted) return ERR_NONE; /* cut short: it goes on */
    }
    text_add(why, "%s is formatted already", plan->dirs[i]);
    return ERR_EXISTS;
}

/* The directories above this one, where they are missing. What cannot be made shows when this one is. */
static void make_parents(struct io_files files, const char *path) {
    char above[LOG_PATH_MAX];
    size_t size = strlen(path);
    if (size >= sizeof above) return;
    memcpy(above, path, size + 1);
    for (size_t i = 1; i < size; i++) {
        if (above[i] != '/') continue;
        above[i] = 0;
        (void)files.vtable->make_directory(files.self, above);
        above[i] = '/';
    }
}

static enum err format_one(const struct format_plan *plan, struct io_files files, uint32_t i, struct text *why) {
    char cluster[CLUSTER_ID_MAX + 1];
    memcpy(cluster, plan->cluster_id.data, plan->cluster_id.size);
    cluster[plan->cluster_id.size] = 0;
    make_parents(files, plan->dirs[i]);
    enum err err = log_dir_format(files, plan->dirs[i], cluster, plan->node, plan->directory_ids[i], plan->now);
    if (err) text_add(why, "%s cannot be formatted: %s", plan->dirs[i], err_text(err));
    return err;
}

static enum err format_metadata(const struct format_plan *plan, struct io_files files, struct pool *pool, const struct span *values, uint32_t count, struct text *why) {
    const char *dir = plan->dirs[plan->metadata_dir];
    make_parents(files, dir);
    int result = files.vtable->make_directory(files.self, dir);
    enum err err = result < 0 && result != -EEXIST ? err_from_errno(result) : ERR_NONE;
    if (!err) err = quorum_format(files, pool, dir, plan->dynamic ? 1 : 0, plan->dynamic ? plan->voters : NULL, values, count, plan->now);
    if (err) text_add(why, "the metadata log's directory in %s cannot be made: %s", dir, err_text(err));
    return err;
}

enum err format_run(const struct format_plan *plan, struct io_files files, struct pool *pool, struct text *why) {
    struct arena arena;
    struct span *values;
    uint32_t count;
    bool formatted[FORMAT_DIRS_MAX];
    enum err err;
    if (plan->dir_count == 0 || plan->dir_count > FORMAT_DIRS_MAX || plan->metadata_dir >= plan->dir_count) {
        text_add(why, "1 to %d log directories are wanted", FORMAT_DIRS_MAX);
        return ERR_INVALID;
    }
    if (plan->cluster_id.size == 0 || plan->cluster_id.size > CLUSTER_ID_MAX) {
        text_add(why, "a cluster's id has 1 to %d characters", CLUSTER_ID_MAX);
        return ERR_INVALID;
    }
    arena_init(&arena, pool, 0);
    err = format_records(plan, &arena, &values, &count, why);
    for (uint32_t i = 0; i < plan->dir_count && !err; i++) err = check_dir(plan, files, i, &formatted[i], why);
    for (uint32_t i = 0; i < plan->dir_count && !err; i++)
        if (i != plan->metadata_dir && !formatted[i]) err = format_one(plan, files, i, why);
    if (!err && !formatted[plan->metadata_dir]) {
        if (plan->is_controller) err = format_metadata(plan, files, pool, values, count, why);
        if (!err) err = format_one(plan, files, plan->metadata_dir, why);
    }
    arena_destroy(&arena);
    return err;
}
