#include "meta/feature.h"
#include <string.h>

/*   level        name     changed  fetch  list  broker  partition  kraft  txn  group  elr  share  streams */
static const struct metadata_level levels[] = {
    {MV_3_3_IV3, "3.3-IV3", true,   13,    7,    1,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_4_IV0, "3.4-IV0", true,   13,    7,    2,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_5_IV0, "3.5-IV0", false,  14,    8,    2,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_5_IV1, "3.5-IV1", false,  15,    8,    2,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_5_IV2, "3.5-IV2", true,   15,    8,    2,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_6_IV0, "3.6-IV0", false,  15,    8,    2,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_6_IV1, "3.6-IV1", true,   15,    8,    2,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_6_IV2, "3.6-IV2", true,   15,    8,    2,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_7_IV0, "3.7-IV0", true,   15,    8,    2,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_7_IV1, "3.7-IV1", false,  15,    8,    2,      0,         0,     0,   0,     0,   0,     0},
    {MV_3_7_IV2, "3.7-IV2", true,   15,    8,    3,      1,         0,     0,   0,     0,   0,     0},
    {MV_3_7_IV3, "3.7-IV3", false,  15,    8,    3,      1,         0,     0,   0,     0,   0,     0},
    {MV_3_7_IV4, "3.7-IV4", false,  16,    8,    3,      1,         0,     0,   0,     0,   0,     0},
    {MV_3_8_IV0, "3.8-IV0", false,  16,    8,    3,      1,         0,     0,   0,     0,   0,     0},
    {MV_3_9_IV0, "3.9-IV0", false,  17,    9,    3,      1,         1,     0,   0,     0,   0,     0},
    {MV_4_0_IV0, "4.0-IV0", false,  17,    9,    3,      1,         1,     0,   1,     0,   0,     0},
    {MV_4_0_IV1, "4.0-IV1", true,   17,    9,    3,      2,         1,     0,   1,     0,   0,     0},
    {MV_4_0_IV2, "4.0-IV2", false,  17,    9,    3,      2,         1,     2,   1,     0,   0,     0},
    {MV_4_0_IV3, "4.0-IV3", false,  17,    10,   3,      2,         1,     2,   1,     0,   0,     0},
    {MV_4_1_IV0, "4.1-IV0", false,  17,    10,   3,      2,         1,     2,   1,     1,   0,     0},
    {MV_4_1_IV1, "4.1-IV1", false,  18,    10,   3,      2,         1,     2,   1,     1,   0,     0},
    {MV_4_2_IV0, "4.2-IV0", false,  18,    10,   3,      2,         1,     2,   1,     1,   1,     0},
    {MV_4_2_IV1, "4.2-IV1", false,  18,    11,   3,      2,         1,     2,   1,     1,   1,     1},
    {MV_4_3_IV0, "4.3-IV0", true,   18,    11,   4,      2,         1,     2,   1,     1,   1,     1},
    {MV_4_4_IV0, "4.4-IV0", false,  18,    11,   4,      2,         1,     2,   1,     1,   2,     1},
    {MV_4_4_IV1, "4.4-IV1", true,   18,    11,   4,      2,         1,     2,   1,     1,   2,     1},
    {MV_4_4_IV2, "4.4-IV2", true,   18,    11,   4,      2,         1,     2,   1,     1,   2,     1},
    {MV_4_5_IV0, "4.5-IV0", false,  18,    11,   4,      2,         1,     2,   1,     1,   2,     1},
};
static_assert(countof(levels) == MV_TESTING - MV_MIN + 1, "one row for each level");

const struct metadata_level *metadata_level(int16_t level) {
    if (level < MV_MIN || level > MV_TESTING) return NULL;
    const struct metadata_level *row = &levels[level - MV_MIN];
    assert(row->level == level);
    return row;
}

const struct metadata_level *metadata_level_named(struct span name) {
    const struct metadata_level *last = NULL;
    for (size_t i = 0; i < countof(levels); i++) {
        const char *full = levels[i].name;
        size_t size = strlen(full), short_size = (size_t)(strchr(full, '-') - full);
        if (name.size == size && memcmp(name.data, full, size) == 0) return &levels[i];
        if (levels[i].level > MV_LATEST) continue;
        /* "4.4", and with a patch number "4.4.0", mean the last stable level of that release. */
        bool is_release = name.size >= short_size && memcmp(name.data, full, short_size) == 0 &&
                          (name.size == short_size || (name.data[short_size] == '.' && name.size > short_size + 1));
        for (size_t k = short_size + 1; is_release && k < name.size; k++) is_release = name.data[k] >= '0' && name.data[k] <= '9';
        if (is_release) last = &levels[i];
    }
    return last;
}

const struct feature features[FEATURES_COUNT] = {
    {FEATURE_ELR, 0, 1},
    {FEATURE_GROUP, 0, 1},
    {FEATURE_KRAFT, 0, 1},
    {FEATURE_METADATA, MV_MIN, MV_LATEST},
    {FEATURE_SHARE, 0, 2},
    {FEATURE_STREAMS, 0, 1},
    {FEATURE_TRANSACTION, 0, 2},
};

const struct feature *feature_find(struct span name) {
    for (size_t i = 0; i < countof(features); i++)
        if (span_equal(name, span_text(features[i].name))) return &features[i];
    return NULL;
}

static bool is(const struct feature *feature, const char *name) {
    return strcmp(feature->name, name) == 0;
}

int16_t feature_default(const struct feature *feature, int16_t metadata_version) {
    const struct metadata_level *at = metadata_level(metadata_version);
    if (!at) return 0;
    if (is(feature, FEATURE_METADATA)) return metadata_version;
    if (is(feature, FEATURE_KRAFT)) return at->kraft;
    if (is(feature, FEATURE_TRANSACTION)) return at->transaction;
    if (is(feature, FEATURE_GROUP)) return at->group;
    if (is(feature, FEATURE_ELR)) return at->elr;
    if (is(feature, FEATURE_SHARE)) return at->share;
    if (is(feature, FEATURE_STREAMS)) return at->streams;
    never("a feature without a column");
}

int16_t feature_needs_metadata_version(const struct feature *feature, int16_t level) {
    if (is(feature, FEATURE_ELR) && level >= 1) return MV_4_0_IV1;
    if (is(feature, FEATURE_KRAFT) && level >= 1) return MV_3_9_IV0;
    return 0;
}
