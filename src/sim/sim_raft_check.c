/* The invariants of reliability: M1 to M8, as somebody sees them who knows all nodes at once. */
#include "base/hash.h"
#include "sim/sim_raft.h"
#include <string.h>

struct raft_check_state {
    struct entries committed;          /* from offset 0 on */
    uint64_t *content;                 /* content[i]: of the first i entries */
    uint32_t content_capacity;
    int32_t leader_of[EPOCHS_MAX];     /* 0: nobody yet; else node number + 1 */
    int32_t leader_life[EPOCHS_MAX];
    int32_t committed_set;             /* the last committed VotersRecord's set; -1: none */
};

log_offset node_end(const struct raft_node *node) { return node->start + node->log.count; }

const struct entry *node_entry(const struct raft_node *node, log_offset offset) {
    if (offset < node->start || offset >= node_end(node)) return NULL;
    return &node->log.items[offset - node->start];
}

leader_epoch node_last_epoch(const struct raft_node *node) {
    if (node->log.count > 0) return node->log.items[node->log.count - 1].epoch;
    return node->snapshots_count ? node->snapshots[node->snapshots_count - 1].id.epoch : 0;
}

static bool same(const struct entry *a, const struct entry *b) {
    return a->epoch == b->epoch && a->kind == b->kind && a->version == b->version && a->set == b->set && a->value == b->value;
}

struct raft_check_state *raft_check_new(struct sim_raft *world) {
    struct raft_check_state *check = POOL_NEW(world->pool, struct raft_check_state);
    assert(check);
    check->committed_set = -1;
    return check;
}

void raft_check_free(struct sim_raft *world) {
    struct raft_check_state *check = world->check;
    pool_free(world->pool, check->committed.items, check->committed.capacity * sizeof(struct entry));
    pool_free(world->pool, check->content, check->content_capacity * sizeof *check->content);
    pool_free(world->pool, check, sizeof *check);
}

/* M1: one leader for each epoch, in all times and lives: who led once does not lead the same epoch in another life. */
void raft_check_became_leader(struct raft_node *node) {
    struct raft_check_state *check = node->world->check;
    leader_epoch epoch = node->raft->epoch;
    SIM_CHECK(node->world->sim, epoch >= 0 && epoch < EPOCHS_MAX, "M1", "epoch %d", epoch);
    if (epoch < 0 || epoch >= EPOCHS_MAX) return;
    int32_t before = check->leader_of[epoch];
    SIM_CHECK(node->world->sim, before == 0 || (before == (int32_t)node->number + 1 && check->leader_life[epoch] == (int32_t)node->life),
              "M1", "epoch %d has two leaders: node %d and node %u (life %u)", epoch, before - 1, node->number, node->life);
    check->leader_of[epoch] = (int32_t)node->number + 1;
    check->leader_life[epoch] = (int32_t)node->life;
}

/* M2: what is said to others is on disk. */
void raft_check_send(struct raft_node *node, const struct raft_request *request) {
    struct sim *sim = node->world->sim;
    if (request->call == RAFT_VOTE && !request->vote.pre_vote)
        SIM_CHECK(sim, node->state.epoch == request->vote.epoch && (node->state.voted.id == node->key.id || node->state.leader_id == node->key.id),
                  "M2", "node %u asks for votes in epoch %d, on disk is epoch %d vote %d", node->number, request->vote.epoch,
                  node->state.epoch, node->state.voted.id);
    if (request->call == RAFT_BEGIN)
        SIM_CHECK(sim, node->state.epoch == request->begin.epoch && node->state.leader_id == node->key.id, "M2",
                  "node %u says that it leads epoch %d, on disk is epoch %d leader %d", node->number, request->begin.epoch,
                  node->state.epoch, node->state.leader_id);
    if (request->call == RAFT_FETCH)
        SIM_CHECK(sim, node->state.epoch >= request->fetch.epoch, "M2", "node %u fetches in epoch %d, on disk is %d", node->number,
                  request->fetch.epoch, node->state.epoch);
    /* The offset that a voter asks from is what the leader counts: it must be flushed. */
    if (request->call == RAFT_FETCH && node->raft->options.can_vote)
        SIM_CHECK(sim, request->fetch.offset <= node->durable, "M3", "node %u fetches from %lld, flushed is %lld", node->number,
                  (long long)request->fetch.offset, (long long)node->durable);
}

void raft_check_granted(struct raft_node *node, const struct raft_request *request) {
    if (request->vote.pre_vote) return;
    SIM_CHECK(node->world->sim, node->state.epoch == request->vote.epoch && node->state.voted.id == request->vote.candidate.id, "M2",
              "node %u grants its vote to %d in epoch %d, on disk is epoch %d vote %d", node->number, request->vote.candidate.id,
              request->vote.epoch, node->state.epoch, node->state.voted.id);
}

/* Nothing of another epoch than the own is served: a lower one is refused, and of a higher one this node knows nothing. */
void raft_check_answered(struct raft_node *node, const struct raft_request *request, const struct raft_answer *answer) {
    if (answer->error || answer->top_error) return;
    leader_epoch own = answer->epoch, asked = own; /* when it was answered: the same step may go on to another epoch */
    if (request->call == RAFT_FETCH) asked = request->fetch.epoch;
    if (request->call == RAFT_FETCH_SNAPSHOT) asked = request->fetch_snapshot.epoch;
    if (request->call == RAFT_VOTE) asked = request->vote.epoch;
    if (request->call == RAFT_BEGIN) asked = request->begin.epoch;
    if (request->call == RAFT_END) asked = request->end.epoch;
    SIM_CHECK(node->world->sim, asked == own || (request->call == RAFT_VOTE && request->vote.pre_vote && asked >= own), "epoch",
              "node %u of epoch %d serves a %s of epoch %d", node->number, own, request->call == RAFT_FETCH ? "fetch" : "request", asked);
}

/* ---- Commits */
static bool voters_differ_by_one(const struct raft_voters *a, const struct raft_voters *b) {
    uint32_t missing = 0, added = 0;
    for (uint32_t i = 0; i < a->count; i++) missing += !raft_voters_has(b, a->voters[i].key);
    for (uint32_t i = 0; i < b->count; i++) added += !raft_voters_has(a, b->voters[i].key);
    return missing + added <= 1;
}

static void commit_entry(struct raft_node *node, const struct entry *entry, log_offset at) {
    struct sim_raft *world = node->world;
    struct raft_check_state *check = world->check;
    struct entries *committed = &check->committed;
    if (committed->count + 1 >= check->content_capacity) {
        uint32_t capacity = check->content_capacity ? check->content_capacity * 2 : 1024;
        committed->items = pool_realloc(world->pool, committed->items, committed->capacity * sizeof(struct entry), capacity * sizeof(struct entry));
        check->content = pool_realloc(world->pool, check->content, check->content_capacity * sizeof *check->content, capacity * sizeof *check->content);
        assert(committed->items && check->content);
        if (!check->content_capacity) check->content[0] = 0;
        check->content_capacity = committed->capacity = capacity;
    }
    assert(at == committed->count);
    committed->items[committed->count++] = *entry;
    check->content[committed->count] = hash_u64(check->content[committed->count - 1] ^ hash_u64(entry->value ^ (uint64_t)entry->epoch << 40));
    if (entry->kind != ENTRY_VOTERS) return;
    if (check->committed_set >= 0)
        SIM_CHECK(world->sim, voters_differ_by_one(&world->sets[check->committed_set], &world->sets[entry->set]), "M7",
                  "the voters committed at %lld differ from those before by more than one", (long long)at);
    check->committed_set = entry->set;
}

/* M3, when somebody says first that an entry is committed: a majority of the current voters has it flushed, and the
 * leader of its epoch says so about an entry of its own. */
static void check_majority(struct raft_node *node, log_offset to) {
    struct sim_raft *world = node->world;
    const struct entry *last = node_entry(node, to - 1);
    if (!last) return;
    const struct raft_voters *voters = raft_voters(node->raft);
    uint32_t have = 0;
    for (uint32_t i = 0; i < voters->count; i++)
        for (uint32_t n = 0; n < world->nodes_count; n++) {
            const struct raft_node *other = &world->nodes[n];
            if (other->key.id != voters->voters[i].key.id) continue;
            const struct entry *theirs = node_entry(other, to - 1);
            have += to <= other->start || (to <= other->durable && theirs && same(theirs, last));
        }
    SIM_CHECK(world->sim, have >= voters->count / 2u + 1, "M3", "node %u commits up to %lld in epoch %d: %u of %u voters have it flushed",
              node->number, (long long)to, node->raft->epoch, have, voters->count);
    SIM_CHECK(world->sim, node->raft->role != RAFT_LEADER || last->epoch == node->raft->epoch, "M3",
              "leader %u of epoch %d commits up to %lld, whose epoch is %d", node->number, node->raft->epoch, (long long)to, last->epoch);
}

void raft_check_commit(struct raft_node *node, log_offset to) {
    struct sim_raft *world = node->world;
    struct raft_check_state *check = world->check;
    SIM_CHECK(world->sim, to > node->high_watermark, "M5", "node %u: the high watermark goes from %lld to %lld", node->number,
              (long long)node->high_watermark, (long long)to);
    SIM_CHECK(world->sim, to <= node_end(node), "M3", "node %u: the high watermark %lld is past the end %lld", node->number,
              (long long)to, (long long)node_end(node));
    log_offset from = node->high_watermark > node->start ? node->high_watermark : node->start;
    if (to > (log_offset)check->committed.count) {
        /* A leader that has removed itself resigns in the step that commits it. */
        SIM_CHECK(world->sim, node->raft->role == RAFT_LEADER || node->raft->role == RAFT_RESIGNED, "M3", "node %u, no leader, is the first to commit up to %lld", node->number, (long long)to);
        check_majority(node, to);
    }
    for (log_offset at = from; at < to && !sim_has_failed(world->sim); at++) {
        const struct entry *entry = node_entry(node, at);
        if (at < (log_offset)check->committed.count)
            SIM_CHECK(world->sim, same(entry, &check->committed.items[at]), "M4", "node %u commits another entry at %lld: epoch %d, not %d",
                      node->number, (long long)at, entry->epoch, check->committed.items[at].epoch);
        else if (at == (log_offset)check->committed.count) commit_entry(node, entry, at);
        else sim_fail(world->sim, "M4", "node %u commits %lld, and nobody has committed %u", node->number, (long long)at, check->committed.count);
    }
}

/* M4: a committed entry is not cut away where it is. */
void raft_check_truncate(struct raft_node *node, log_offset to) {
    struct raft_check_state *check = node->world->check;
    SIM_CHECK(node->world->sim, to >= node->high_watermark, "M4", "node %u cuts at %lld below its high watermark %lld", node->number,
              (long long)to, (long long)node->high_watermark);
    for (log_offset at = to; at < node_end(node) && at < (log_offset)check->committed.count; at++) {
        const struct entry *entry = node_entry(node, at);
        if (entry) SIM_CHECK(node->world->sim, !same(entry, &check->committed.items[at]), "M4", "node %u cuts at %lld and loses the committed entry at %lld",
                             node->number, (long long)to, (long long)at);
    }
}

/* M6, M8: a snapshot is the state at exactly its offset, wherever it was made. */
void raft_check_snapshot(struct raft_node *node, const struct snapshot *snapshot, bool loaded) {
    struct sim_raft *world = node->world;
    struct raft_check_state *check = world->check;
    SIM_CHECK(world->sim, !loaded || node->raft->role != RAFT_LEADER, "M6", "leader %u loads a snapshot", node->number);
    SIM_CHECK(world->sim, snapshot->id.offset <= (log_offset)check->committed.count, "M6", "node %u: a snapshot ends at %lld, committed is %u",
              node->number, (long long)snapshot->id.offset, check->committed.count);
    if (sim_has_failed(world->sim)) return;
    SIM_CHECK(world->sim, snapshot->content == check->content[snapshot->id.offset], "M8", "node %u: the snapshot at %lld has another content",
              node->number, (long long)snapshot->id.offset);
    SIM_CHECK(world->sim, snapshot->id.offset == 0 || check->committed.items[snapshot->id.offset - 1].epoch == snapshot->id.epoch, "M6",
              "node %u: the snapshot at %lld says epoch %d", node->number, (long long)snapshot->id.offset, snapshot->id.epoch);
}

/* M7: a leader appends no VotersRecord while another of this log is not committed. */
void raft_check_append(struct raft_node *node, const struct entry *entry, log_offset at) {
    if (entry->kind != ENTRY_VOTERS || node->raft->role != RAFT_LEADER) return;
    for (log_offset before = node->high_watermark < node->start ? node->start : node->high_watermark; before < at; before++) {
        const struct entry *other = node_entry(node, before);
        if (!other || other->kind != ENTRY_VOTERS || other->epoch != entry->epoch) continue;
        sim_fail(node->world->sim, "M7", "leader %u appends voters at %lld while those at %lld are not committed", node->number,
                 (long long)at, (long long)before);
    }
}

void raft_check_stepped(struct raft_node *node) {
    struct sim *sim = node->world->sim;
    SIM_CHECK(sim, node->raft->epoch >= node->epoch_seen, "M5", "node %u: the epoch goes from %d to %d", node->number, node->epoch_seen, node->raft->epoch);
    node->epoch_seen = node->raft->epoch;
    SIM_CHECK(sim, node->start == 0 || (node->snapshots_count && node->start <= node->snapshots[node->snapshots_count - 1].id.offset), "M6",
              "node %u: the log starts at %lld, past every snapshot", node->number, (long long)node->start);
}

void raft_check_acknowledged(struct sim_raft *world, log_offset offset, uint64_t value) {
    const struct raft_check_state *check = world->check;
    SIM_CHECK(world->sim, offset < (log_offset)check->committed.count && check->committed.items[offset].value == value, "M4",
              "the entry acknowledged at %lld is not there", (long long)offset);
}

log_offset raft_check_committed(const struct sim_raft *world) { return world->check->committed.count; }
uint64_t raft_check_content(const struct sim_raft *world, log_offset end) { return end == 0 ? 0 : world->check->content[end]; }
