#include "sim/history.h"
#include "base/bytes.h"
#include "base/hash.h"
#include <string.h>

enum slot_flag { SLOT_KNOWN = 1, SLOT_ACKNOWLEDGED = 2, SLOT_READ = 4 };
struct slot { uint32_t producer, flags; uint64_t number; };

struct unanswered { int64_t offset; int32_t generation; };
enum { UNANSWERED_KEPT = 32 };
struct partition {
    struct slot *slots; /* by offset */
    uint32_t slots_count;
    int64_t *offsets[HISTORY_PRODUCERS_MAX]; /* by number; -1: not seen */
    uint32_t offsets_count[HISTORY_PRODUCERS_MAX];
    uint64_t next[HISTORY_PRODUCERS_MAX];
    int64_t end;
    int64_t start_least, start_most; /* where it starts: acknowledged, and asked for */
    int64_t committed, attempted; /* of the group; -1: nothing */
    struct unanswered unanswered[UNANSWERED_KEPT]; /* commits of which nobody knows */
    uint32_t unanswered_count;
};

struct owner { int32_t generation; uint32_t member; uint64_t partitions; };
enum { OWNERS_KEPT = 64 };

struct history {
    struct sim *sim;
    struct pool *pool;
    uint32_t partitions_count;
    bool durable;
    uint32_t lives;
    struct partition partitions[HISTORY_PARTITIONS_MAX];
    uint64_t acknowledged;
    int32_t generation;
    struct owner owners[OWNERS_KEPT];
    uint32_t owners_count;
    uint32_t topics;
    bool topic_exists[HISTORY_TOPICS_MAX];
};

void history_value(const struct history_record *record, uint8_t out[HISTORY_VALUE_BYTES]) {
    store_be32(out, record->producer);
    store_be32(out + 4, record->partition);
    store_be64(out + 8, record->number);
    store_be64(out + 16, hash_bytes(out, 16));
}

bool history_value_parse(const void *bytes, size_t size, struct history_record *out) {
    const uint8_t *at = bytes;
    if (size != HISTORY_VALUE_BYTES || load_be64(at + 16) != hash_bytes(at, 16)) return false;
    *out = (struct history_record){load_be32(at), load_be32(at + 4), load_be64(at + 8)};
    return true;
}

struct history *history_new(struct sim *sim, uint32_t partitions, bool durable) {
    struct history *history = POOL_NEW(sim_pool(sim), struct history);
    assert(history && partitions <= HISTORY_PARTITIONS_MAX);
    history->sim = sim;
    history->pool = sim_pool(sim);
    history->partitions_count = partitions;
    history->durable = durable;
    history->generation = -1;
    for (uint32_t p = 0; p < partitions; p++) history->partitions[p].committed = history->partitions[p].attempted = -1;
    return history;
}

void history_free(struct history *history) {
    if (!history) return;
    for (uint32_t p = 0; p < history->partitions_count; p++) {
        struct partition *at = &history->partitions[p];
        pool_free(history->pool, at->slots, at->slots_count * sizeof *at->slots);
        for (uint32_t n = 0; n < HISTORY_PRODUCERS_MAX; n++) pool_free(history->pool, at->offsets[n], at->offsets_count[n] * sizeof(int64_t));
    }
    pool_free(history->pool, history, sizeof *history);
}

static struct slot *slot_at(struct history *history, struct partition *at, int64_t offset) {
    if (offset >= at->slots_count) {
        uint32_t count = at->slots_count ? at->slots_count : 256;
        while (count <= offset) count *= 2;
        at->slots = pool_realloc(history->pool, at->slots, at->slots_count * sizeof *at->slots, count * sizeof *at->slots);
        assert(at->slots);
        memset(at->slots + at->slots_count, 0, (count - at->slots_count) * sizeof *at->slots);
        at->slots_count = count;
    }
    return &at->slots[offset];
}

static int64_t *offset_of(struct history *history, struct partition *at, uint32_t producer, uint64_t number) {
    if (number >= at->offsets_count[producer]) {
        uint32_t before = at->offsets_count[producer], count = before ? before : 256;
        while (count <= number) count *= 2;
        at->offsets[producer] = pool_realloc(history->pool, at->offsets[producer], before * sizeof(int64_t), count * sizeof(int64_t));
        assert(at->offsets[producer]);
        for (uint32_t i = before; i < count; i++) at->offsets[producer][i] = -1;
        at->offsets_count[producer] = count;
    }
    return &at->offsets[producer][number];
}

uint64_t history_take(struct history *history, uint32_t producer, uint32_t partition, uint32_t count) {
    uint64_t first = history->partitions[partition].next[producer];
    history->partitions[partition].next[producer] += count;
    return first;
}

/* One record at one offset, however it became known. */
static void known(struct history *history, uint32_t partition, int64_t offset, uint32_t producer, uint64_t number, uint32_t flags) {
    struct partition *at = &history->partitions[partition];
    struct sim *sim = history->sim;
    SIM_CHECK(sim, offset >= 0 && offset < INT32_MAX, "R5", "partition %u: offset %lld", partition, (long long)offset);
    SIM_CHECK(sim, producer < HISTORY_PRODUCERS_MAX && number < at->next[producer < HISTORY_PRODUCERS_MAX ? producer : 0], "L5",
              "partition %u offset %lld: record %llu of producer %u was never sent", partition, (long long)offset, (unsigned long long)number, producer);
    if (sim_has_failed(sim)) return;
    struct slot *slot = slot_at(history, at, offset);
    SIM_CHECK(sim, !(slot->flags & SLOT_KNOWN) || (slot->producer == producer && slot->number == number), "L5",
              "partition %u offset %lld: was %u/%llu, is %u/%llu", partition, (long long)offset, slot->producer, (unsigned long long)slot->number,
              producer, (unsigned long long)number);
    int64_t *where = offset_of(history, at, producer, number);
    SIM_CHECK(sim, *where < 0 || *where == offset, "T7", "partition %u: %u/%llu is at %lld and at %lld", partition, producer,
              (unsigned long long)number, (long long)*where, (long long)offset);
    if (number > 0) {
        int64_t before = *offset_of(history, at, producer, number - 1);
        SIM_CHECK(sim, before < offset, "T7", "partition %u: %u/%llu is at %lld, the one before at %lld", partition, producer,
                  (unsigned long long)number, (long long)offset, (long long)before);
    }
    where = offset_of(history, at, producer, number);
    *where = offset;
    *slot = (struct slot){producer, slot->flags | SLOT_KNOWN | flags, number};
    if (offset >= at->end) at->end = offset + 1;
}

void history_acknowledged(struct history *history, uint32_t partition, int64_t base_offset, uint32_t producer, uint64_t first, uint32_t count) {
    for (uint32_t i = 0; i < count && !sim_has_failed(history->sim); i++)
        known(history, partition, base_offset + i, producer, first + i, SLOT_ACKNOWLEDGED);
    history->acknowledged += count;
}

void history_seen(struct history *history, uint32_t partition, int64_t offset, const struct history_record *record) {
    SIM_CHECK(history->sim, record->partition == partition, "L5", "partition %u shows at %lld a record of partition %u", partition, (long long)offset, record->partition);
    if (!sim_has_failed(history->sim)) known(history, partition, offset, record->producer, record->number, SLOT_READ);
}

void history_read_to_end(struct history *history, uint32_t partition, int64_t start, int64_t end) {
    const struct partition *at = &history->partitions[partition];
    for (int64_t offset = start; offset < at->end && !sim_has_failed(history->sim); offset++) {
        const struct slot *slot = &at->slots[offset];
        if (!(slot->flags & SLOT_KNOWN)) continue;
        SIM_CHECK(history->sim, offset < end, slot->flags & SLOT_ACKNOWLEDGED ? "L7" : "L5", "partition %u ends at %lld; %s at %lld is lost: %u/%llu",
                  partition, (long long)end, slot->flags & SLOT_ACKNOWLEDGED ? "what was acknowledged" : "what was seen", (long long)offset,
                  slot->producer, (unsigned long long)slot->number);
    }
}

/* ---- Deleted records */
int64_t history_deletable(const struct history *history, uint32_t partition) {
    const struct partition *at = &history->partitions[partition];
    int64_t least = at->end;
    for (uint32_t n = 0; n < HISTORY_PRODUCERS_MAX; n++) {
        int64_t last = -1;
        for (uint64_t number = at->next[n]; number-- > 0 && last < 0;) last = number < at->offsets_count[n] ? at->offsets[n][number] : -1;
        if (at->next[n] > 0 && last < least) least = last < 0 ? 0 : last;
    }
    return least;
}

void history_delete_attempt(struct history *history, uint32_t partition, int64_t offset) {
    if (offset > history->partitions[partition].start_most) history->partitions[partition].start_most = offset;
}

void history_deleted(struct history *history, uint32_t partition, int64_t low_watermark) {
    struct partition *at = &history->partitions[partition];
    SIM_CHECK(history->sim, low_watermark <= at->start_most, "L4", "partition %u: starts at %lld, nobody deleted beyond %lld", partition,
              (long long)low_watermark, (long long)at->start_most);
    if (low_watermark > at->start_least) at->start_least = low_watermark;
}

int64_t history_start_most(const struct history *history, uint32_t partition) { return history->partitions[partition].start_most; }
int64_t history_start_least(const struct history *history, uint32_t partition) { return history->partitions[partition].start_least; }

void history_start_told(struct history *history, uint32_t partition, int64_t start, int64_t least) {
    const struct partition *at = &history->partitions[partition];
    SIM_CHECK(history->sim, start >= least, "L4", "partition %u starts at %lld; that it starts at %lld was acknowledged", partition, (long long)start, (long long)least);
    SIM_CHECK(history->sim, start <= at->start_most, "L4", "partition %u starts at %lld, nobody deleted beyond %lld", partition, (long long)start, (long long)at->start_most);
}

int64_t history_end(const struct history *history, uint32_t partition) { return history->partitions[partition].end; }
uint64_t history_count(const struct history *history) { return history->acknowledged; }

void history_power_cut(struct history *history) {
    if (history->durable) return;
    history->lives++;
    /* Nothing is promised any more about what was there: what is written from now on begins a new history. */
    for (uint32_t p = 0; p < history->partitions_count; p++) {
        struct partition *at = &history->partitions[p];
        if (at->slots) memset(at->slots, 0, at->slots_count * sizeof *at->slots);
        for (uint32_t n = 0; n < HISTORY_PRODUCERS_MAX; n++)
            for (uint32_t i = 0; i < at->offsets_count[n]; i++) at->offsets[n][i] = -1;
        at->end = 0;
        at->committed = -1;
        at->unanswered_count = 0;
    }
    history->generation = -1;
    history->owners_count = 0;
}

uint32_t history_lives(const struct history *history) { return history->lives; }

/* ---- Groups */
void history_commit_attempt(struct history *history, uint32_t partition, int64_t offset) {
    struct partition *at = &history->partitions[partition];
    if (offset > at->attempted) at->attempted = offset;
}

void history_committed(struct history *history, uint32_t partition, int64_t offset, int32_t generation, int32_t highest_when_sent) {
    struct partition *at = &history->partitions[partition];
    SIM_CHECK(history->sim, generation >= highest_when_sent, "G2", "partition %u: a commit of generation %d is taken after one of %d was",
              partition, generation, highest_when_sent);
    if (offset > at->committed) at->committed = offset;
    if (generation > history->generation) history->generation = generation;
}

int32_t history_generation(const struct history *history) { return history->generation; }

int64_t history_commit_floor(const struct history *history, uint32_t partition) { return history->partitions[partition].committed; }

void history_commit_unanswered(struct history *history, uint32_t partition, int64_t offset, int32_t generation) {
    struct partition *at = &history->partitions[partition];
    if (at->unanswered_count == UNANSWERED_KEPT) {
        memmove(at->unanswered, at->unanswered + 1, (UNANSWERED_KEPT - 1) * sizeof *at->unanswered);
        at->unanswered_count--;
    }
    at->unanswered[at->unanswered_count++] = (struct unanswered){offset, generation};
}

/* Takes out those of older generations (but for the last two: other members' answers may still be on their way); answers
 * whether one of them explains the offset. */
static bool settle_unanswered(struct partition *at, int64_t offset, int32_t generation) {
    uint32_t kept = 0;
    bool explained = false;
    for (uint32_t i = 0; i < at->unanswered_count; i++) {
        explained |= at->unanswered[i].offset == offset;
        if (at->unanswered[i].generation >= generation - 2) at->unanswered[kept++] = at->unanswered[i];
    }
    at->unanswered_count = kept;
    return explained;
}

void history_commit_fetched(struct history *history, uint32_t partition, int64_t offset, int64_t floor, int32_t generation) {
    struct partition *at = &history->partitions[partition];
    bool explained = settle_unanswered(at, offset, generation);
    if (offset < floor && explained) at->committed = offset; /* an older commit came late */
    SIM_CHECK(history->sim, offset >= floor || explained, "G1", "partition %u: the commit of %lld is forgotten, %lld is told", partition,
              (long long)floor, (long long)offset);
    SIM_CHECK(history->sim, offset <= at->attempted, "G1", "partition %u: %lld is told, nobody committed more than %lld", partition,
              (long long)offset, (long long)at->attempted);
}

void history_owns(struct history *history, int32_t generation, uint32_t member, uint64_t partitions) {
    for (uint32_t i = 0; i < history->owners_count; i++) {
        const struct owner *owner = &history->owners[i];
        if (owner->generation != generation || owner->member == member) continue;
        SIM_CHECK(history->sim, (owner->partitions & partitions) == 0, "G3", "generation %d: members %u and %u both own %llx", generation,
                  owner->member, member, (unsigned long long)(owner->partitions & partitions));
    }
    if (history->owners_count == OWNERS_KEPT) {
        memmove(history->owners, history->owners + 1, (OWNERS_KEPT - 1) * sizeof *history->owners);
        history->owners_count--;
    }
    history->owners[history->owners_count++] = (struct owner){generation, member, partitions};
}

/* ---- Topics */
uint32_t history_topic_new(struct history *history) { return history->topics < HISTORY_TOPICS_MAX ? history->topics++ : UINT32_MAX; }
void history_topic_created(struct history *history, uint32_t topic) { history->topic_exists[topic] = true; }
bool history_topic_must_exist(const struct history *history, uint32_t topic) { return history->topic_exists[topic] && history->durable; }
uint32_t history_topics(const struct history *history) { return history->topics; }
