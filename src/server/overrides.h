/* server/overrides.h - max.connections.per.ip.overrides: the addresses that have a limit of their own.
 *
 * A host may be a name. It is looked up when the setting is taken, once: at the start, where one that leads nowhere ends the
 * start, and when the setting changes, beside the loop; until all names of a change are known, and if one is not, what was
 * before stays, as in Kafka.
 */
#pragma once
#include "base/text.h"
#include "net/net.h"

enum { ADDRESS_OVERRIDES_MAX = 64, OVERRIDE_HOST_MAX = 256 };

struct address_overrides {
    struct admission_override entries[ADDRESS_OVERRIDES_MAX];
    uint32_t count;
};
/* At the start: names are waited for. False: `why` gets what is wrong. */
must_use bool overrides_read(struct address_overrides *out, struct span text, struct text *why);

struct overrides; /* what is so now; on shard 0 */
struct overrides_options {
    struct shard *shard;
    const struct address_overrides *first; /* as read at the start from `text`; copied, as `text` is */
    struct span text;
    void (*on_change)(void *context);      /* overrides_now is another one */
    void (*on_trouble)(void *context, const char *line);
    void *context;
};
must_use enum err overrides_open(struct overrides **out, const struct overrides_options *options);
const struct address_overrides *overrides_now(const struct overrides *overrides);
/* The setting as it is by now, again and again; what changed is taken, at once if no name has to be looked up. */
void overrides_set(struct overrides *overrides, struct span text);
/* Nothing is looked up any more; false: `stopped` will be called, when the name that is being looked up is known or given up. */
bool overrides_stop(struct overrides *overrides, void (*stopped)(void *context));
void overrides_free(struct overrides *overrides); /* after it has stopped; NULL is fine */
