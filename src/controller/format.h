/* controller/format.h - what `format` leaves: meta.properties in every log directory, and in the metadata directory of a
 * controller the bootstrap snapshot, with the feature levels (metadata.version first) and SCRAM credentials that a new
 * cluster starts with.
 *
 *   meta.properties (by log_dir_format)    lines "#", "#<date>", node.id=, directory.id=, version=1, cluster.id=
 *   __cluster_metadata-0/00000000000000000000-0000000000.checkpoint   by quorum_format
 */
#pragma once
#include "base/text.h"
#include "log/log.h"
#include "meta/meta.h"
#include "quorum/quorum.h"

enum { FORMAT_FEATURES_MAX = 16, FORMAT_DIRS_MAX = 64, CLUSTER_ID_MAX = 63 };

struct format_feature { struct span name; int16_t level; };
struct format_scram { struct span user; int8_t mechanism; struct span salt, stored_key, server_key; int32_t iterations; };
struct format_plan {
    broker_id node;
    struct span cluster_id;
    const char *const *dirs;                    /* log directories: made if they are missing                       */
    const struct uuid *directory_ids;           /* one for each                                                    */
    uint32_t dir_count;
    uint32_t metadata_dir;                      /* which of them holds the metadata log                            */
    bool is_controller;                         /* process.roles has controller                                    */
    int16_t metadata_version;                   /* 0: MV_LATEST                                                    */
    struct format_feature features[FORMAT_FEATURES_MAX]; /* levels that differ from the default at that version    */
    uint32_t feature_count;
    const struct format_scram *scrams;
    uint32_t scram_count;
    bool dynamic;                               /* voters are in the log: kraft.version 1                          */
    const struct raft_voters *voters;           /* initial controllers; NULL: none                                 */
    bool ignore_formatted;                      /* directories that are formatted already are left as they are     */
    time_ms now;                                /* wall time */
};

/* The framed records of a new cluster, in `arena`. `why` gets a sentence with an error. */
must_use enum err format_records(const struct format_plan *plan, struct arena *arena, struct span **values, uint32_t *count, struct text *why);
/* Writes it all, durable when it returns. The metadata directory comes last and its meta.properties after everything else:
 * as long as that is missing, nothing was formatted, and formatting again goes on where it stopped. Blocking.
 * ERR_EXISTS: formatted already; ERR_INVALID: levels that do not fit, or a directory of another node or cluster. */
must_use enum err format_run(const struct format_plan *plan, struct io_files files, struct pool *pool, struct text *why);
/* What says that a node was formatted there; ERR_NOT_FOUND: it was not. */
must_use enum err format_read(struct io_files files, const char *metadata_dir, struct log_dir_meta *out);
