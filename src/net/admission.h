/* net/admission.h - what listeners under one admission share: counts, and whose turn it is. Private to net/. */
#pragma once
#include "net/conn.h"

struct address_count;

/* So many a second, a second's worth at once at most. */
struct pace {
    uint32_t rate_max; /* UINT32_MAX: no limit; 0: none at all */
    time_ns next_at;   /* when the next is due, were they evenly spread */
};
time_ns pace_again(const struct pace *pace, time_ns now); /* 0: one may come now; else when to ask again */
void pace_take(struct pace *pace, time_ns now);

/* May this listener take one more now? False: not yet; it is told (listener_wakes) when that may have changed, and if
 * `again` is not 0, it shall ask again then. */
bool admission_has_room(struct admission *admission, bool is_protected, time_ns *again);
/* A connection from this address is there. NULL: over the address's limit, or over budget. */
struct address_count *admission_take(struct admission *admission, const uint8_t ip[16]);
void admission_give_back(struct admission *admission, struct address_count *count);
/* The idlest goes, if there is one that may. */
void admission_make_room(struct admission *admission);
void admission_join(struct admission *admission, struct list *node);
void listener_wakes(struct list *node);

/* On its shard: closes the connection that is idle for longest and not protected, those first that never sent a frame. */
bool net_close_idlest(struct net *net);
