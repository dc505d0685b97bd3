/* controller/sessions.h - what the active controller knows of brokers that the log does not say: when each was last heard
 * of, how far its metadata is, and how many partitions it leads. Begun anew by each new active controller.
 */
#pragma once
#include "base/containers.h"
#include "meta/meta.h"

struct session {
    struct map_node node;
    broker_id id;
    bool live;                  /* heard of within the time-out, as of the last look */
    time_ms contact_ms;         /* monotonic */
    log_offset metadata_offset; /* what it says it has; -1: said nothing yet */
    log_offset shutdown_offset; /* the metadata end when its controlled shutdown began; -1: it did not */
    log_offset registered_at;   /* the offset of its last registration record */
    uint32_t leads, in_isr, in_elr; /* partitions, in the applied version */
};
struct sessions {
    struct pool *pool;          /* borrows */
    struct map map;             /* struct session by broker */
    time_ms timeout_ms;
    uint32_t leaderless;        /* partitions without a leader */
    uint32_t unbalanced;        /* partitions that their preferred replica does not lead */
    uint32_t reassigning;
};
void sessions_init(struct sessions *sessions, struct pool *pool, time_ms timeout_ms);
void sessions_clear(struct sessions *sessions);
struct session *sessions_find(const struct sessions *sessions, broker_id id);              /* NULL: not known */
must_use struct session *sessions_get(struct sessions *sessions, broker_id id);            /* made if it is not there; NULL: over budget */
void sessions_forget(struct sessions *sessions, broker_id id);                             /* the session; its counts stay */
void sessions_touch(struct session *session, time_ms now_ms, log_offset metadata_offset);  /* -1: as it was */
bool sessions_is_valid(const struct sessions *sessions, broker_id id, time_ms now_ms);
/* The unfenced broker that was not heard of for longest, if its session is over; -1: none. `next_ms`: when to look again. */
broker_id sessions_expired(const struct sessions *sessions, const struct image *image, time_ms now_ms, time_ms *next_ms);
/* The least metadata offset of brokers that are active; INT64_MAX: there are none. */
log_offset sessions_lowest_active(const struct sessions *sessions, const struct image *image);
/* The applied version changed: brings the counts along. before NULL: counts anew. False: over budget. */
must_use bool sessions_count(struct sessions *sessions, const struct image *before, const struct image *after);
