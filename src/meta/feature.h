/* meta/feature.h - metadata.version and its friends: the levels that Kafka 4.4 has, and what each allows.
 *
 * A level is finalized by a FeatureLevelRecord (kraft.version by a control record instead). What a node supports is the
 * range below; it is sent at registration and in ApiVersions.
 */
#pragma once
#include "base/buf.h"

enum metadata_version {
    MV_3_3_IV3 = 7, MV_3_4_IV0, MV_3_5_IV0, MV_3_5_IV1, MV_3_5_IV2, MV_3_6_IV0, MV_3_6_IV1, MV_3_6_IV2,
    MV_3_7_IV0, MV_3_7_IV1, MV_3_7_IV2, MV_3_7_IV3, MV_3_7_IV4, MV_3_8_IV0, MV_3_9_IV0,
    MV_4_0_IV0, MV_4_0_IV1, MV_4_0_IV2, MV_4_0_IV3, MV_4_1_IV0, MV_4_1_IV1, MV_4_2_IV0, MV_4_2_IV1,
    MV_4_3_IV0, MV_4_4_IV0, MV_4_4_IV1, MV_4_4_IV2, MV_4_5_IV0,
    MV_MIN = MV_3_3_IV3,
    MV_LATEST = MV_4_4_IV2,          /* what a new cluster starts with     */
    MV_TESTING = MV_4_5_IV0,         /* known, but not stable: refused     */
};
#define FEATURE_METADATA "metadata.version"
#define FEATURE_KRAFT "kraft.version"
#define FEATURE_TRANSACTION "transaction.version"
#define FEATURE_GROUP "group.version"
#define FEATURE_ELR "eligible.leader.replicas.version"
#define FEATURE_SHARE "share.version"
#define FEATURE_STREAMS "streams.version"

struct metadata_level {
    int16_t level;
    const char *name;                /* "4.4-IV2" */
    bool changed_metadata;           /* going back across it loses something: refused */
    int16_t fetch_version, list_offsets_version;
    int8_t register_broker, partition; /* versions of the records that are written (PartitionChange as Partition) */
    int8_t kraft, transaction, group, elr, share, streams; /* what format chooses at this level */
};
const struct metadata_level *metadata_level(int16_t level);          /* NULL: not known */
const struct metadata_level *metadata_level_named(struct span name); /* "4.4-IV2", also "4.4": its last stable one */

/* What a metadata.version allows. */
static inline bool mv_has_transactions(int16_t mv) { return mv >= MV_3_6_IV1; }
static inline bool mv_has_scram(int16_t mv) { return mv >= MV_3_5_IV2; }
static inline bool mv_has_tokens(int16_t mv) { return mv >= MV_3_6_IV2; }
static inline bool mv_has_controller_registration(int16_t mv) { return mv >= MV_3_7_IV0; }
static inline bool mv_has_directories(int16_t mv) { return mv >= MV_3_7_IV2; }
static inline bool mv_has_elr(int16_t mv) { return mv >= MV_4_0_IV1; }
static inline bool mv_has_cordoned(int16_t mv) { return mv >= MV_4_3_IV0; }
static inline bool mv_has_cidr_acls(int16_t mv) { return mv >= MV_4_4_IV1; }
static inline bool mv_has_controller_unregistration(int16_t mv) { return mv >= MV_4_4_IV2; }
static inline bool mv_bumps_epoch_on_isr_shrink(int16_t mv) { return mv < MV_3_6_IV0; }

/* A feature that this program knows: sorted by name. */
struct feature {
    const char *name;
    int16_t min, max;
};
enum { FEATURES_COUNT = 7 };
extern const struct feature features[FEATURES_COUNT];
const struct feature *feature_find(struct span name);                     /* NULL: not known */
/* What a cluster of that metadata.version starts with; 0 for metadata.version's own unknown levels. */
int16_t feature_default(const struct feature *feature, int16_t metadata_version);
/* Which metadata.version this level asks for at least; 0: none. */
int16_t feature_needs_metadata_version(const struct feature *feature, int16_t level);
