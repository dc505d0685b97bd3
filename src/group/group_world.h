/* group/group_world.h - for tests: a machine of groups with a log of its own, driven by lines of text.
 *
 * A script is one text: lines that begin with "> " are events, the others are what comes of them. Running it writes the
 * same text anew; the two must be equal. After every event the invariants are checked, and a second machine that is given
 * the log alone must have the same persistent state. Member ids end in random bytes: the first that begins with "a-" is
 * written a#1, the next a#2.
 *
 *   > join WHO [v=9] [group=g] [member=ID] [instance=I] [session=10000] [rebalance=60000] [type=consumer] [protocols=range:x,rr:x]
 *   > sync WHO member=ID gen=N [assign=ID:part,ID:part] [v=5] [name=range] [type=consumer] [instance=I]
 *   > heartbeat WHO member=ID gen=N [instance=I]
 *   > leave WHO [member=ID,ID] [instance=I,I] [v=5]          > commit WHO [member=ID] gen=N offsets=t-0:5,t-1:7 [metadata=text] [retention=ms] [v=9]
 *   > txn-commit WHO producer=5 offsets=t-0:5 [member= gen=] > end-txn producer=5 commit|abort
 *   > fetch WHO [offsets=t-0,t-1] [stable]                   > delete-offsets WHO offsets=t-0
 *   > describe | list [states=a,b] [types=..] | delete [group=g] > topic-deleted name=t
 *   > time +MS    > refuse ERROR    > accept    > restart    > state    > records    > full N    > metadata-max N
 */
#pragma once
#include "group/group.h"
#include "group/state.h"

enum { WORLD_REQUESTS = 512, WORLD_BATCHES = 4096, WORLD_IDS = 2048 };

struct world_batch { struct group_batch batch; struct arena arena; log_offset base; };
struct world_request {
    struct group_request group;
    struct arena arena;
    char who[32];
    bool used;
};
struct world {
    struct pool pool;
    struct group_machine *machine;
    struct group_settings settings;
    struct random random;
    struct group_now now;
    struct world_batch *batches;
    uint32_t batch_count;
    log_offset end;
    enum kafka_error refuse;
    struct world_request *requests;
    struct text out;
    char (*ids)[96];
    uint32_t id_count;
    /* Called for each completed request, before it is forgotten; NULL: written to `out`. */
    void (*answered)(struct world *world, struct world_request *request);
    void *context;
};

struct world *world_new(void);
void world_free(struct world *world);
struct world_request *world_request(struct world *world, enum group_request_type type, int version, const char *who);
void world_ask(struct world *world, struct world_request *request); /* decide, append, apply, answer */
void world_advance(struct world *world, time_ms ms);                /* ticks included */
void world_restart(struct world *world);
void world_check(struct world *world);
void world_run(const char *script);                                 /* fails the test where the text differs */
struct span world_span(struct world_request *request, const char *text); /* in its arena; NULL stays null */
