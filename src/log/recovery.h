/* log/recovery.h - inside of an opening: its state, for recover.c, recover_walk.c and recover_end.c. */
#pragma once
#include "log/listing.h"
#include "log/recover.h"

struct recovery {
    const struct recover_input *in;
    struct io_files files;
    struct listing listing;
    struct log_body *body;
    struct log_report *report;
    bool names_changed;           /* the folder is to be synced       */
    log_offset next;              /* behind what was walked over so far */
    log_offset replayed;          /* the producers' state is as of here */
};

void recovery_path(const struct recovery *r, char out[PATH_MAX_BYTES], log_offset base, const char *ending);
uint32_t recovery_segment_index(const struct log_body *body, log_offset offset);
must_use enum err recovery_open_file(struct recovery *r, struct segment *segment);
/* A new, empty one behind the others. */
must_use enum err recovery_make_segment(struct recovery *r, log_offset base);
/* The newest producer snapshot at or below `limit` that is whole. -1: none. */
must_use enum err recovery_load_producers(struct recovery *r, log_offset limit, log_offset *at);

/* ---- recover_walk.c */
/* Everything from `point` on is verified and made durable. Below `flushed` nothing may be wrong: there it is rot. */
must_use enum err recovery_verify(struct recovery *r, log_offset point, log_offset flushed);
/* After a clean stop: ERR_CORRUPT when it was not that clean. */
must_use enum err recovery_trust(struct recovery *r);
/* Brings the producers from their snapshot up to `until`, by the headers alone. */
must_use enum err recovery_replay_until(struct recovery *r, log_offset until);
void recovery_forget_indexes(struct recovery *r, struct segment *segment);

/* ---- recover_end.c */
/* The log ends at `good` in the segment at `index`: what follows is kept aside once and goes. */
must_use enum err recovery_cut(struct recovery *r, uint32_t index, uint64_t good);
must_use enum err recovery_drop_segments(struct recovery *r, uint32_t first);
must_use enum err recovery_drop_room(struct recovery *r, struct segment *segment, uint64_t from, bool *dropped);
must_use enum err recovery_remove_old_cuts(struct recovery *r);
must_use enum err recovery_write_again(struct recovery *r, struct segment *segment, uint64_t from, uint64_t to);
must_use enum err recovery_end_again(struct recovery *r, struct segment *segment);
