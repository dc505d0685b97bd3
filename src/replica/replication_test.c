#include "base/random.h"
#include "replica/replica.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>

/* ---- A model of one partition on several brokers: real leaders and followers over toy logs, a network that delays, loses
 * and reorders whole exchanges, a controller that keeps ISR and ELR by KIP-966, brokers that stop and come back, and, in
 * fsync mode, power that fails and takes what was not flushed. A record is a number that is never used twice.
 *
 * Checked after every event: no record that any leader has acknowledged is missing, or lies elsewhere, in the log of any
 * member of the ISR or the ELR [R3, R5]; |ISR| >= min means an empty ELR [R1]. At the end, when all is quiet: all logs are
 * equal below the high watermark [R7]. */
enum { BROKERS = 4, LOG_MAX = 4096, PACKETS = 64 };

struct entry { leader_epoch epoch; uint32_t record; };
struct node {
    broker_id id;
    bool up;
    broker_epoch epoch;               /* of this life */
    struct entry log[LOG_MAX];
    log_offset end, durable;
    log_offset high_watermark;        /* as checkpointed now and then */
    struct replica_leader leader;
    struct replica_follower follower;
    bool fetching;
    broker_id follows;
    uint32_t isr_asked;               /* the last request for another ISR: answers to others are none */
};
enum packet_kind { PACKET_NONE, PACKET_FETCH, PACKET_ANSWER, PACKET_ISR, PACKET_ISR_ANSWER, PACKET_OFFSETS, PACKET_OFFSETS_ANSWER, PACKET_METADATA };
struct packet {
    enum packet_kind kind;
    broker_id from, to;
    broker_epoch from_epoch, to_epoch; /* lives: a packet to an earlier one is lost */
    struct replica_next_fetch fetch;
    struct replica_follower_event answer;
    struct entry entries[8];
    uint32_t count;
    broker_id isr[BROKERS];
    broker_epoch isr_epochs[BROKERS];
    uint32_t isr_count;
    leader_epoch leader_epoch;
    int32_t partition_epoch;
    enum replica_isr_answer isr_answer;
    uint32_t isr_asked;
};
struct metadata { /* what the controller has committed */
    broker_id leader;                 /* -1: none */
    leader_epoch leader_epoch;
    int32_t partition_epoch;
    bool isr[BROKERS], elr[BROKERS], fenced[BROKERS];
    broker_epoch epochs[BROKERS];
};
struct cluster {
    struct pool pool;
    struct random random;
    struct node nodes[BROKERS];
    struct metadata metadata;
    struct packet packets[PACKETS];
    int32_t min_isr;
    bool fsync, calm;
    time_ms now;
    uint32_t next_record;
    struct entry acked[LOG_MAX];      /* what clients were told, by offset */
    log_offset acked_end;
    int elections, acks, changes, cuts;
};

static struct replica_offset at(log_offset offset) { return (struct replica_offset){.offset = offset, .segment_base = 0, .position = (uint32_t)offset}; }
static leader_epoch last_epoch(const struct node *node) { return node->end ? node->log[node->end - 1].epoch : -1; }

static void send(struct cluster *cluster, const struct packet *packet) {
    for (int i = 0; i < PACKETS; i++)
        if (cluster->packets[i].kind == PACKET_NONE) {
            cluster->packets[i] = *packet;
            return;
        }
    /* The network is full: it is lost, as any may be. */
}

static struct packet packet_to(struct cluster *cluster, enum packet_kind kind, broker_id from, broker_id to) {
    return (struct packet){.kind = kind, .from = from, .to = to, .from_epoch = from >= 0 ? cluster->nodes[from].epoch : 0, .to_epoch = to >= 0 ? cluster->nodes[to].epoch : 0};
}

/* ---- What clients were told */

static void acknowledge(struct cluster *cluster, struct node *node) {
    for (log_offset offset = 0; offset < node->leader.high_watermark.offset; offset++) {
        if (offset < cluster->acked_end) {
            assert_int_equal(cluster->acked[offset].record, node->log[offset].record); /* an offset shown keeps its bytes */
        } else {
            cluster->acked[offset] = node->log[offset];
            cluster->acked_end = offset + 1;
            cluster->acks++;
        }
    }
}

static void check(struct cluster *cluster) {
    const struct metadata *metadata = &cluster->metadata;
    int isr = 0, elr = 0;
    for (int i = 0; i < BROKERS; i++) {
        struct node *node = &cluster->nodes[i];
        isr += metadata->isr[i];
        elr += metadata->elr[i];
        assert_false(metadata->isr[i] && metadata->elr[i]);
        assert_false(metadata->isr[i] && metadata->fenced[i]);
        replica_leader_check(&node->leader);
        replica_follower_check(&node->follower);
        if (!metadata->isr[i] && !metadata->elr[i]) continue;
        assert_true(node->end >= cluster->acked_end);
        if (cluster->fsync) assert_true(node->durable >= cluster->acked_end);
        for (log_offset offset = 0; offset < cluster->acked_end; offset++) assert_int_equal(node->log[offset].record, cluster->acked[offset].record);
    }
    if (isr >= cluster->min_isr) assert_int_equal(elr, 0);
}

/* ---- The controller */

static void publish(struct cluster *cluster) {
    for (int i = 0; i < BROKERS; i++) {
        if (!cluster->nodes[i].up) continue;
        struct packet packet = packet_to(cluster, PACKET_METADATA, -1, i);
        send(cluster, &packet);
    }
}

static int count_of(const bool *flags) {
    int count = 0;
    for (int i = 0; i < BROKERS; i++) count += flags[i];
    return count;
}

/* Who leaves the ISR while it is too small stays eligible; with enough in sync nobody else need be. */
static void set_isr(struct cluster *cluster, const bool *isr) {
    struct metadata *metadata = &cluster->metadata;
    for (int i = 0; i < BROKERS; i++)
        if (metadata->isr[i] && !isr[i]) metadata->elr[i] = true;
    memcpy(metadata->isr, isr, sizeof metadata->isr);
    for (int i = 0; i < BROKERS; i++)
        if (metadata->isr[i] || count_of(isr) >= cluster->min_isr) metadata->elr[i] = false;
    metadata->partition_epoch++;
    cluster->changes++;
}

static void elect(struct cluster *cluster) {
    struct metadata *metadata = &cluster->metadata;
    if (metadata->leader >= 0 && !metadata->fenced[metadata->leader]) return;
    broker_id chosen = -1;
    for (int i = 0; i < BROKERS && chosen < 0; i++) if (metadata->isr[i] && !metadata->fenced[i]) chosen = i;
    for (int i = 0; i < BROKERS && chosen < 0; i++)
        if (metadata->elr[i] && !metadata->fenced[i]) {
            bool isr[BROKERS];
            chosen = i;
            memcpy(isr, metadata->isr, sizeof isr);
            isr[i] = true;
            set_isr(cluster, isr);
        }
    metadata->leader = chosen;
    metadata->leader_epoch++;
    metadata->partition_epoch++;
    cluster->elections++;
}

static void fence(struct cluster *cluster, broker_id broker) {
    struct metadata *metadata = &cluster->metadata;
    if (metadata->fenced[broker]) return;
    metadata->fenced[broker] = true;
    if (metadata->isr[broker]) {
        bool isr[BROKERS];
        memcpy(isr, metadata->isr, sizeof isr);
        isr[broker] = false;
        set_isr(cluster, isr);
    }
    elect(cluster);
    publish(cluster);
}

static void alter_partition(struct cluster *cluster, const struct packet *packet) {
    struct metadata *metadata = &cluster->metadata;
    struct packet answer = packet_to(cluster, PACKET_ISR_ANSWER, -1, packet->from);
    answer.isr_answer = REPLICA_ISR_COMMITTED;
    answer.isr_asked = packet->isr_asked;
    bool isr[BROKERS] = {false}, eligible = true;
    for (uint32_t i = 0; i < packet->isr_count; i++) {
        isr[packet->isr[i]] = true;
        eligible &= !metadata->fenced[packet->isr[i]] && packet->isr_epochs[i] == metadata->epochs[packet->isr[i]];
    }
    if (metadata->leader != packet->from || metadata->leader_epoch != packet->leader_epoch || metadata->partition_epoch != packet->partition_epoch ||
        metadata->epochs[packet->from] != packet->from_epoch) {
        answer.isr_answer = REPLICA_ISR_WAIT;
    } else if (!eligible) {
        answer.isr_answer = REPLICA_ISR_REVERT;
    } else {
        set_isr(cluster, isr);
        publish(cluster);
    }
    answer.leader_epoch = metadata->leader_epoch;
    answer.partition_epoch = metadata->partition_epoch;
    for (int i = 0; i < BROKERS; i++) if (metadata->isr[i]) answer.isr[answer.isr_count++] = i;
    send(cluster, &answer);
}

/* ---- Brokers */

static void lead(struct cluster *cluster, struct node *node, struct replica_event *event) {
    struct replica_effects effects;
    event->now_ms = cluster->now;
    replica_leader_step(&node->leader, event, &effects);
    if (effects.high_watermark_moved) acknowledge(cluster, node);
    if (effects.isr_wanted) {
        struct packet packet = packet_to(cluster, PACKET_ISR, node->id, -1);
        memcpy(packet.isr, effects.isr, effects.isr_count * sizeof *effects.isr);
        memcpy(packet.isr_epochs, effects.isr_epochs, effects.isr_count * sizeof *effects.isr_epochs);
        packet.isr_count = effects.isr_count;
        packet.leader_epoch = effects.leader_epoch;
        packet.partition_epoch = effects.partition_epoch;
        packet.isr_asked = ++node->isr_asked;
        send(cluster, &packet);
    }
}

static void follow(struct cluster *cluster, struct node *node, struct replica_follower_event *event, const struct entry *entries, uint32_t count) {
    struct replica_follower_effects effects;
    event->now_ms = cluster->now;
    replica_follower_step(&node->follower, event, &effects);
    if (effects.append && count) {
        for (uint32_t i = 0; i < count; i++) node->log[node->end++] = entries[i];
        struct replica_follower_event appended = {.type = FOLLOWER_APPENDED, .appended = {.end = node->end, .durable = node->durable, .last_epoch = last_epoch(node)}};
        follow(cluster, node, &appended, NULL, 0);
    }
    if (effects.truncate) {
        assert_false(effects.truncate_unclean); /* there are no unclean elections here */
        assert_true(effects.truncate_to < node->end);
        cluster->cuts++;
        node->end = effects.truncate_to;
        if (node->durable > node->end) node->durable = node->end;
        struct replica_follower_event truncated = {.type = FOLLOWER_TRUNCATED, .appended = {.end = node->end, .durable = node->durable, .last_epoch = last_epoch(node)}};
        follow(cluster, node, &truncated, NULL, 0);
    }
    if (node->follower.high_watermark > node->high_watermark) node->high_watermark = node->follower.high_watermark;
}

static void learn(struct cluster *cluster, struct node *node) {
    const struct metadata *metadata = &cluster->metadata;
    if (metadata->leader == node->id) {
        struct replica_info infos[BROKERS];
        for (int i = 0; i < BROKERS; i++)
            infos[i] = (struct replica_info){.broker = i, .epoch = metadata->epochs[i], .in_isr = metadata->isr[i], .in_elr = metadata->elr[i], .fenced = metadata->fenced[i]};
        struct replica_event event = {.type = REPLICA_BECOME, .become = {.leader_epoch = metadata->leader_epoch, .partition_epoch = metadata->partition_epoch, .self = node->id,
            .replicas = infos, .count = BROKERS, .end = at(node->end), .durable = at(node->durable), .high_watermark = at(node->high_watermark)}};
        struct replica_follower_event stop = {.type = FOLLOWER_STOP};
        if (!node->leader.leading) follow(cluster, node, &stop, NULL, 0);
        lead(cluster, node, &event);
        return;
    }
    if (node->leader.leading) {
        node->high_watermark = node->leader.high_watermark.offset;
        struct replica_event resign = {.type = REPLICA_RESIGN};
        lead(cluster, node, &resign);
    }
    if (metadata->leader < 0 || (node->follower.phase != REPLICA_NOT_FOLLOWING && node->follower.leader_epoch == metadata->leader_epoch)) return;
    node->follows = metadata->leader;
    node->fetching = false;
    struct replica_follower_event become = {.type = FOLLOWER_BECOME, .become = {.leader_epoch = metadata->leader_epoch, .end = node->end, .durable = node->durable,
        .high_watermark = node->high_watermark, .last_epoch = last_epoch(node)}};
    follow(cluster, node, &become, NULL, 0);
}

/* The largest epoch of this log that is not above the one asked for, and where it ends. */
static void epoch_end(const struct node *node, leader_epoch asked, leader_epoch *found, log_offset *end) {
    log_offset offset = node->end;
    while (offset > 0 && node->log[offset - 1].epoch > asked) offset--;
    *found = offset ? node->log[offset - 1].epoch : -1;
    *end = offset;
}

static void serve_fetch(struct cluster *cluster, struct node *node, const struct packet *packet) {
    struct packet answer = packet_to(cluster, PACKET_ANSWER, node->id, packet->from);
    const struct replica_next_fetch *fetch = &packet->fetch;
    if (answer.to_epoch != packet->from_epoch) return;
    answer.answer = (struct replica_follower_event){.type = FOLLOWER_FETCH_ANSWER, .answer = {.outcome = FETCH_OK, .leader_epoch = fetch->leader_epoch, .fetch_offset = fetch->offset, .first_offset = -1}};
    if (!node->leader.leading || fetch->leader_epoch != node->leader.leader_epoch) {
        answer.answer.answer.outcome = FETCH_BACKOFF;
    } else {
        leader_epoch found;
        log_offset end;
        epoch_end(node, fetch->last_fetched_epoch, &found, &end);
        if (fetch->offset > node->end && fetch->last_fetched_epoch < 0) {
            answer.answer.answer.outcome = FETCH_OUT_OF_RANGE;
        } else if (fetch->last_fetched_epoch >= 0 && (found < fetch->last_fetched_epoch || end < fetch->offset)) {
            answer.answer.answer.outcome = FETCH_DIVERGING;
            answer.answer.answer.diverging_epoch = found;
            answer.answer.answer.diverging_end = end;
        } else {
            struct replica_event event = {.type = REPLICA_FETCHED, .fetched = {.broker = packet->from, .epoch = packet->from_epoch, .end = at(fetch->offset)}};
            lead(cluster, node, &event);
            while (answer.count < 8 && fetch->offset + answer.count < node->end) {
                answer.entries[answer.count] = node->log[fetch->offset + answer.count];
                answer.count++;
            }
            if (answer.count) answer.answer.answer.first_offset = fetch->offset;
        }
        answer.answer.answer.leader_high_watermark = node->leader.high_watermark.offset;
    }
    send(cluster, &answer);
}

static void deliver(struct cluster *cluster, struct packet *packet) {
    struct packet copy = *packet;
    packet->kind = PACKET_NONE;
    struct node *node = copy.to >= 0 ? &cluster->nodes[copy.to] : NULL;
    if (node && (!node->up || node->epoch != copy.to_epoch)) return;
    switch (copy.kind) {
    case PACKET_ISR: alter_partition(cluster, &copy); break;
    case PACKET_METADATA: learn(cluster, node); break;
    case PACKET_FETCH: serve_fetch(cluster, node, &copy); break;
    case PACKET_ANSWER:
        node->fetching = false;
        if (copy.answer.answer.outcome == FETCH_DIVERGING) epoch_end(node, copy.answer.answer.diverging_epoch, &copy.answer.answer.own_epoch, &copy.answer.answer.own_end);
        follow(cluster, node, &copy.answer, copy.entries, copy.count);
        break;
    case PACKET_OFFSETS: {
        struct packet answer = packet_to(cluster, PACKET_OFFSETS_ANSWER, copy.to, copy.from);
        bool leads = node->leader.leading && node->leader.leader_epoch == copy.fetch.leader_epoch;
        answer.answer = (struct replica_follower_event){.type = FOLLOWER_OFFSET_ANSWER, .offset = {.leader_epoch = copy.fetch.leader_epoch, .failed = !leads,
            .offset = copy.fetch.what == REPLICA_ASKS_LATEST ? node->end : 0}};
        send(cluster, &answer);
        break;
    }
    case PACKET_OFFSETS_ANSWER:
        node->fetching = false;
        follow(cluster, node, &copy.answer, NULL, 0);
        break;
    case PACKET_ISR_ANSWER: {
        struct replica_event event = {.type = REPLICA_ISR_ANSWER, .isr = {.answer = copy.isr_answer, .leader_epoch = copy.leader_epoch, .partition_epoch = copy.partition_epoch, .isr = copy.isr, .isr_count = copy.isr_count}};
        if (copy.isr_asked == node->isr_asked) lead(cluster, node, &event);
        break;
    }
    case PACKET_NONE: break;
    }
}

static void ask_leader(struct cluster *cluster, struct node *node) {
    struct replica_next_fetch next;
    if (node->fetching || !replica_follower_next(&node->follower, cluster->now, &next)) return;
    struct packet packet = packet_to(cluster, next.what == REPLICA_FETCHING ? PACKET_FETCH : PACKET_OFFSETS, node->id, node->follows);
    packet.fetch = next;
    node->fetching = true;
    send(cluster, &packet);
}

static void flush(struct cluster *cluster, struct node *node) {
    node->durable = node->end;
    struct replica_event event = {.type = REPLICA_DURABLE, .durable = {.end = at(node->end)}};
    if (node->leader.leading) lead(cluster, node, &event);
    struct replica_follower_event durable = {.type = FOLLOWER_DURABLE, .durable = {.end = node->end}};
    if (node->follower.phase != REPLICA_NOT_FOLLOWING) follow(cluster, node, &durable, NULL, 0);
}

static void stop(struct cluster *cluster, struct node *node, bool power) {
    if (!node->up) return;
    node->up = false;
    node->fetching = false;
    if (node->leader.leading && node->leader.high_watermark.offset > node->high_watermark) node->high_watermark = node->leader.high_watermark.offset;
    if (random_chance(&cluster->random, 1, 2)) node->high_watermark = node->high_watermark / 2; /* an old checkpoint */
    struct replica_event resign = {.type = REPLICA_RESIGN};
    struct replica_follower_event end = {.type = FOLLOWER_STOP};
    lead(cluster, node, &resign);
    follow(cluster, node, &end, NULL, 0);
    if (power && cluster->fsync) node->end = node->durable + (log_offset)random_below(&cluster->random, (uint64_t)(node->end - node->durable) + 1);
    if (node->high_watermark > node->end) node->high_watermark = node->end;
    replica_leader_destroy(&node->leader);
}

static void start(struct cluster *cluster, struct node *node) {
    node->up = true;
    node->epoch++;
    node->durable = node->end; /* recovery flushes what it keeps */
    replica_leader_init(&node->leader, &cluster->pool, cluster->fsync, cluster->min_isr, 100);
    assert_true(replica_leader_reserve(&node->leader, BROKERS));
    replica_follower_init(&node->follower, cluster->fsync, 20);
    cluster->metadata.fenced[node->id] = false;
    cluster->metadata.epochs[node->id] = node->epoch;
    elect(cluster);
    publish(cluster);
}

static void produce(struct cluster *cluster, struct node *node) {
    if (!node->leader.leading || node->end >= LOG_MAX - 8 || !replica_leader_may_append(&node->leader)) return;
    for (uint64_t left = 1 + random_below(&cluster->random, 3); left > 0; left--)
        node->log[node->end++] = (struct entry){node->leader.leader_epoch, ++cluster->next_record};
    struct replica_event event = {.type = REPLICA_APPENDED, .appended = {.end = at(node->end)}};
    lead(cluster, node, &event);
}

/* One random event; a calm cluster only delivers, fetches and flushes. */
static void happen(struct cluster *cluster) {
    struct random *random = &cluster->random;
    struct node *node = &cluster->nodes[random_below(random, BROKERS)];
    struct packet *packet = &cluster->packets[random_below(random, PACKETS)];
    uint64_t event = random_below(random, cluster->calm ? 60 : 68);
    cluster->now += (time_ms)random_below(random, 4);
    if (event < 30) {
        if (!cluster->calm && random_chance(random, 1, 12)) packet->kind = PACKET_NONE; /* lost */
        else deliver(cluster, packet);
    } else if (event < 42) {
        if (!node->up) return;
        ask_leader(cluster, node);
        /* A request that is not answered is given up after a while. */
        if (random_chance(random, 1, 20)) node->fetching = false;
    } else if (event < 50) {
        if (node->up) flush(cluster, node);
    } else if (event < 54) {
        struct replica_event time = {.type = REPLICA_TIME};
        if (node->up && replica_leader_deadline(&node->leader) <= cluster->now) lead(cluster, node, &time);
    } else if (event < 58) {
        /* A change of the ISR that was lost on its way is sent again, and metadata come round again. */
        struct replica_event retry = {.type = REPLICA_ISR_ANSWER, .isr = {.answer = REPLICA_ISR_RETRY}};
        if (node->up && node->leader.isr_in_flight && !node->leader.isr_blocked && random_chance(random, 1, 10)) lead(cluster, node, &retry);
        if (node->up && random_chance(random, 1, 10)) learn(cluster, node);
    } else if (event < 60) {
        if (!cluster->calm && node->up) produce(cluster, node);
    } else if (event < 65) {
        if (node->up) produce(cluster, node);
    } else if (event < 66) {
        if (random_chance(random, 1, 4)) stop(cluster, node, random_chance(random, 1, 2));
    } else if (event < 67) {
        if (!node->up && random_chance(random, 1, 2)) fence(cluster, node->id); /* the session ended; or the node comes back before */
        else if (random_chance(random, 1, 12)) fence(cluster, node->id);        /* or it is cut off, and leads on not knowing */
    } else if (!node->up) {
        /* It registers anew: whatever it was before is fenced first. */
        fence(cluster, node->id);
        start(cluster, node);
    } else if (cluster->metadata.fenced[node->id] && random_chance(random, 1, 3)) {
        cluster->metadata.fenced[node->id] = false;
        elect(cluster);
        publish(cluster);
    }
}

static void run(uint64_t seed, int *acks, int *elections, int *changes, int *cuts) {
    struct cluster *cluster = calloc(1, sizeof *cluster);
    pool_init(&cluster->pool, 0, 4);
    random_seed(&cluster->random, seed);
    cluster->fsync = random_chance(&cluster->random, 1, 2);
    cluster->min_isr = 1 + (int32_t)random_below(&cluster->random, 3);
    cluster->metadata.leader = -1;
    for (int i = 0; i < BROKERS; i++) {
        cluster->nodes[i].id = i;
        cluster->metadata.isr[i] = true;
    }
    for (int i = 0; i < BROKERS; i++) start(cluster, &cluster->nodes[i]);
    for (int i = 0; i < 3000; i++) {
        happen(cluster);
        check(cluster);
    }
    cluster->calm = true;
    for (int i = 0; i < BROKERS; i++) {
        if (!cluster->nodes[i].up) start(cluster, &cluster->nodes[i]);
        cluster->metadata.fenced[i] = false;
    }
    elect(cluster);
    publish(cluster);
    for (int i = 0; i < 30000; i++) happen(cluster);
    check(cluster);
    /* All is quiet: everyone is in sync, and has what the leader has. */
    assert_true(cluster->metadata.leader >= 0);
    const struct node *leader = &cluster->nodes[cluster->metadata.leader];
    assert_int_equal(count_of(cluster->metadata.isr), BROKERS);
    assert_int_equal(leader->leader.high_watermark.offset, leader->end);
    for (int i = 0; i < BROKERS; i++) {
        assert_int_equal(cluster->nodes[i].end, leader->end);
        assert_memory_equal(cluster->nodes[i].log, leader->log, (size_t)leader->end * sizeof *leader->log);
    }
    *acks += cluster->acks;
    *elections += cluster->elections;
    *changes += cluster->changes;
    *cuts += cluster->cuts;
    for (int i = 0; i < BROKERS; i++) replica_leader_destroy(&cluster->nodes[i].leader);
    pool_destroy(&cluster->pool);
    free(cluster);
}

/* Nothing that was acknowledged is ever lost or moved, whatever happens, and when nothing more happens all is well again. */
TEST(replication_keeps_what_it_acknowledged) {
    int acks = 0, elections = 0, changes = 0, cuts = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) run(seed, &acks, &elections, &changes, &cuts);
    print_message("%d records acknowledged, %d elections, %d changes of the ISR, %d truncations\n", acks, elections, changes, cuts);
    assert_true(acks > 5000 && elections > 500 && changes > 1500 && cuts > 80);
}
