/* net/admission.c - limits over several listeners: how many connections in all, of one address, a second; and who goes
 * when there is no room for who comes.
 *
 * Kafka's rule for max.connections: at the limit new ones wait, but on a protected listener (that of the brokers among
 * themselves, if it is one of its own) they are taken, and another connection goes. The same way the last descriptors are
 * kept for protected ones.
 */
#include "net/admission.h"
#include "base/hash.h"
#include <string.h>

enum { AGAIN_MS = 100 };

struct address_count {
    struct map_node node;
    uint8_t ip[16];
    uint32_t connections;
};

struct admission {
    struct shard *shard;
    struct admission_limits limits;
    struct admission_counts counts;
    struct map addresses;      /* owns its items */
    struct list listeners;
    struct pace pace;
    struct message request;    /* to the shard that shall close its idlest; sent while asking */
    uint32_t asked_shard, tries_left;
    bool asking, closed_one;
};

static bool is_address(const struct map_node *node, const void *key) {
    return !memcmp(MAP_ITEM(node, struct address_count, node)->ip, key, 16);
}

enum err admission_open(struct admission **out, struct shard *shard, const struct admission_limits *limits) {
    struct admission *admission = POOL_NEW(shard->pool, struct admission);
    if (!admission) return ERR_NO_MEMORY;
    admission->shard = shard;
    admission->limits = *limits;
    admission->pace.rate_max = limits->rate_max;
    map_init(&admission->addresses, shard->pool, 0, is_address);
    list_init(&admission->listeners);
    *out = admission;
    return ERR_NONE;
}

void admission_close(struct admission *admission) {
    if (!admission) return;
    MAP_EACH_SAFE(node, &admission->addresses) {
        struct address_count *count = MAP_EACH_ITEM(node, struct address_count, node);
        map_remove(&admission->addresses, &count->node);
        pool_free(admission->shard->pool, count, sizeof *count);
    }
    map_destroy(&admission->addresses);
    pool_free(admission->shard->pool, admission, sizeof *admission);
}

const struct admission_counts *admission_counts_of(const struct admission *admission) { return &admission->counts; }

static void wake_listeners(struct admission *admission) {
    LIST_EACH_SAFE(node, &admission->listeners) listener_wakes(node);
}

void admission_set_limits(struct admission *admission, const struct admission_limits *limits) {
    admission->limits = *limits;
    admission->pace.rate_max = limits->rate_max;
    wake_listeners(admission);
}

void admission_join(struct admission *admission, struct list *node) { list_push(&admission->listeners, node); }

/* ---- The idlest goes: shards are asked in turn, for none knows what the others have */

static void idlest_is_closed(struct shard *shard, struct message *message);

static void close_idlest(struct shard *shard, struct message *message) {
    struct admission *admission = container_of(message, struct admission, request);
    struct net *net = shard->roles[ROLE_NET];
    admission->closed_one = net && net_close_idlest(net);
    message->run = idlest_is_closed;
    shard_send(shard, admission->shard->index, message);
}

static void ask_next(struct admission *admission) {
    uint32_t shards = shard_count(admission->shard->group);
    admission->tries_left--;
    admission->asked_shard = (admission->asked_shard + 1) % shards;
    admission->request.run = close_idlest;
    shard_send(admission->shard, admission->asked_shard, &admission->request);
}

static void idlest_is_closed(struct shard *shard, struct message *message) {
    struct admission *admission = container_of(message, struct admission, request);
    if (admission->closed_one) admission->counts.closed_for_others++;
    if (!admission->closed_one && admission->tries_left > 0) ask_next(admission);
    else admission->asking = false; /* room comes with the ticket of the closed one */
}

void admission_make_room(struct admission *admission) {
    if (admission->asking) return;
    admission->asking = true;
    admission->tries_left = shard_count(admission->shard->group);
    ask_next(admission);
}

/* ---- Room */

time_ns pace_again(const struct pace *pace, time_ns now) {
    time_ns window = NS_PER_S;
    if (pace->rate_max == UINT32_MAX) return 0;
    if (pace->rate_max == 0) return now + window;
    time_ns from = pace->next_at - window + window / pace->rate_max;
    return from > now ? from : 0;
}

void pace_take(struct pace *pace, time_ns now) {
    if (pace->rate_max == UINT32_MAX || pace->rate_max == 0) return;
    pace->next_at = (pace->next_at > now ? pace->next_at : now) + NS_PER_S / pace->rate_max;
}

bool admission_has_room(struct admission *admission, bool is_protected, time_ns *again) {
    const struct admission_limits *limits = &admission->limits;
    uint32_t total = admission->counts.connections;
    *again = 0;
    if (limits->sockets_max != UINT32_MAX) {
        uint32_t most = limits->sockets_max;
        if (!is_protected) most = most > ADMISSION_KEPT ? most - ADMISSION_KEPT : 1;
        if (total >= most) {
            admission_make_room(admission);
            *again = shard_now(admission->shard) + AGAIN_MS * NS_PER_MS; /* now they may all be at work */
            return false;
        }
    }
    if (total >= limits->connections_max) {
        if (!is_protected) return false;
        admission_make_room(admission);
    }
    *again = pace_again(&admission->pace, shard_now(admission->shard));
    return *again == 0;
}

static uint32_t most_of(const struct admission *admission, const uint8_t ip[16]) {
    for (uint32_t i = 0; i < admission->limits.override_count; i++)
        if (!memcmp(admission->limits.overrides[i].ip, ip, 16)) return admission->limits.overrides[i].connections_max;
    return admission->limits.per_address_max;
}

struct address_count *admission_take(struct admission *admission, const uint8_t ip[16]) {
    uint64_t hash = hash_bytes(ip, 16);
    struct map_node *found = map_find(&admission->addresses, hash, ip);
    struct address_count *count = found ? MAP_ITEM(found, struct address_count, node) : NULL;
    pace_take(&admission->pace, shard_now(admission->shard));
    if ((count ? count->connections : 0) >= most_of(admission, ip)) {
        admission->counts.refused_by_address++;
        return NULL;
    }
    if (!count) {
        if (!(count = POOL_NEW(admission->shard->pool, struct address_count))) return NULL;
        memcpy(count->ip, ip, 16);
        if (!map_insert(&admission->addresses, &count->node, hash)) {
            pool_free(admission->shard->pool, count, sizeof *count);
            return NULL;
        }
    }
    count->connections++;
    admission->counts.connections++;
    return count;
}

void admission_give_back(struct admission *admission, struct address_count *count) {
    admission->counts.connections--;
    if (--count->connections == 0) {
        map_remove(&admission->addresses, &count->node);
        pool_free(admission->shard->pool, count, sizeof *count);
    }
    wake_listeners(admission);
}
