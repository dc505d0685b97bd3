/* meta/config_change.h - changes at run time: what a list becomes, and which changes of a broker's settings a running broker
 * can take.
 *
 * A broker judges changes of its own settings (and of those for all brokers) before the controller writes them down: only
 * it knows what is in its file, which directories it has, and what it cannot change without a new start.
 */
#pragma once
#include "meta/config.h"

enum config_op { CONFIG_SET = 0, CONFIG_DELETE = 1, CONFIG_APPEND = 2, CONFIG_SUBTRACT = 3 }; /* as requests number them */
struct config_edit {
    struct span name, value;      /* of CONFIG_DELETE the value does not count */
    enum config_op op;
};

/* The list with items added (those it has are left out) or taken away; data NULL: out of memory. What is empty in `list` goes;
 * an empty item is added as Kafka adds it, for the key's check to refuse. */
struct span config_list_edit(struct arena *arena, struct span list, struct span items, bool adds);

/* `listener.name.NAME.KEY` speaks of KEY on one listener only: this KEY; any other name as it is. */
struct span config_base_name(struct span name);

/* May a key of moldau.trace. have this value? Of other keys: yes. False: `why` gets a sentence. */
enum { TRACE_LIST_BYTES_MAX = 1000 };
must_use bool config_check_trace(const struct config_key *key, struct span value, struct text *why);

/* May the value of a setting of that name be shown, whatever it belongs to? Of names that are not known: no. */
bool config_is_open(struct span name);

/* May only be set for one broker, not for all of them. */
bool config_is_for_one_broker(const struct config_key *key);

enum config_verdict {
    CONFIG_FINE,
    CONFIG_REFUSED,               /* INVALID_REQUEST: not at run time, not for all brokers, not this value */
    CONFIG_INVALID,               /* INVALID_CONFIG: the operation means nothing for the key               */
    CONFIG_NO_MEMORY,
};
/* May this broker (for_one), or all of them, have these edits? If not, `why` gets a sentence. */
enum config_verdict config_check_broker(const struct config_view *view, bool for_one, const struct config_edit *edits, uint32_t count,
                                        struct arena *arena, struct text *why);
/* Do the values that a group, or a subscription of client metrics, would have fit what the brokers allow? Each value fits its
 * key already (config_validate). False: `why` gets a sentence. */
must_use bool config_check_group(const struct config_view *view, const struct config_values *values, struct text *why);
/* CONFIG_REFUSED for an interval out of bounds, CONFIG_INVALID for a pattern that is none. */
enum config_verdict config_check_client_metrics(const struct config_values *values, struct text *why);
