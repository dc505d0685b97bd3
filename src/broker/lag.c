#include "broker/lag.h"
#include "base/bytes.h"
#include "broker/broker.h"
#include "broker/partition.h"
#include <string.h>

enum { ITEMS_IN_A_TURN = 256 };

static void go_on(struct lag_round *round);

/* ---- one header */

static void probe_over(struct lag_probe *probe) {
    struct lag_round *round = probe->round;
    chain_clear(&probe->chain);
    arena_destroy(&probe->arena);
    probe->item = NULL;
    round->running--;
    go_on(round);
}

static void look_at(struct lag_probe *probe, size_t bytes) {
    if (bytes == BATCH_HEADER_BYTES && probe->header[BATCH_AT_MAGIC] == BATCH_MAGIC_2)
        probe->item->batch_ms = (time_ms)load_be64(probe->header + BATCH_AT_MAX_TIMESTAMP);
    probe_over(probe);
}

static void header_read(struct io_op *op) {
    struct lag_probe *probe = container_of(op, struct lag_probe, op);
    look_at(probe, op->result < 0 ? 0 : (size_t)op->result);
}

static void batch_found(struct lag_probe *probe, enum err err) {
    struct slice *slice = probe->chain.first;
    if (err || probe->chain.bytes < BATCH_HEADER_BYTES) {
        look_at(probe, 0);
        return;
    }
    if (slice->kind == SLICE_MEMORY) {
        look_at(probe, chain_copy_out(&probe->chain, probe->header, BATCH_HEADER_BYTES));
        return;
    }
    probe->op = (struct io_op){.kind = IO_OP_READ, .done = header_read};
    probe->op.disk.file = (struct io_file *)(void *)slice->file.file;
    probe->op.disk.offset = slice->file.offset;
    probe->op.disk.data = probe->header;
    probe->op.disk.size = BATCH_HEADER_BYTES;
    io_submit(probe->round->broker->shard->io, &probe->op);
}

static void read_done(struct log_read *read, enum err err) {
    batch_found(container_of(read, struct lag_probe, read), err);
}

static void log_is_open(struct lag_probe *probe, enum err err) {
    struct log *log = probe->partition->log;
    if (err || probe->round->broker->stopping) {
        look_at(probe, 0);
        return;
    }
    log_offset start = log_start(log);
    probe->read = (struct log_read){.log = log, .from = probe->item->committed < start ? start : probe->item->committed, .bytes_max = 1,
                                    .min_one = true, .upto = LOG_UPTO_HIGH_WATERMARK, .out = &probe->chain, .done = read_done};
    err = log_read(&probe->read);
    if (err != ERR_AGAIN) batch_found(probe, err);
}

static void log_opened(struct log_wait *wait, enum err err) {
    struct lag_probe *probe = container_of(wait, struct lag_probe, opening);
    probe->partition->waiting--;
    log_is_open(probe, err);
}

static void probe_start(struct lag_round *round, struct lag_probe *probe, struct lag_item *item, struct partition *partition) {
    round->running++;
    round->reads++;
    probe->round = round;
    probe->item = item;
    probe->partition = partition;
    arena_init_travelling(&probe->arena, round->pool, 0);
    chain_init(&probe->chain, &probe->arena);
    probe->opening = (struct log_wait){.done = log_opened};
    enum err err = log_open(partition->log, &probe->opening);
    if (err == ERR_AGAIN) partition->waiting++;
    else log_is_open(probe, err);
}

/* ---- the items, one after the other */

static struct lag_probe *free_probe(struct lag_round *round) {
    for (uint32_t i = 0; i < LAG_PROBES; i++)
        if (!round->probes[i].item) return &round->probes[i];
    return NULL;
}

/* False: it has to wait for a probe. */
static bool item_step(struct lag_round *round, struct lag_item *item) {
    struct broker *broker = round->broker;
    if (item->shard != broker->shard->index) return true;
    struct partition *partition = partition_find(broker, item->topic_id, item->partition);
    if (!partition || partition->unusable || partition->is_deleting) return true;
    item->high_watermark = log_high_watermark(partition->log);
    if (item->batch_ms >= 0 || item->committed >= item->high_watermark || broker->stopping) return true;
    bool is_closed = log_state(partition->log) != LOG_OPEN;
    if (round->reads >= round->reads_max || (is_closed && round->opens >= round->opens_max)) return true;
    struct lag_probe *probe = free_probe(round);
    if (!probe) return false;
    round->opens += is_closed;
    probe_start(round, probe, item, partition);
    return true;
}

static void in_another_turn(struct timer *timer) {
    go_on(container_of(timer, struct lag_round, timer));
}

/* A probe that is over within its start comes back in here: then the loop below is the one that goes on. */
static void go_on(struct lag_round *round) {
    if (round->is_over || round->is_stepping) return;
    round->is_stepping = true;
    uint32_t seen = 0;
    bool waits = false;
    for (; round->next < round->count && seen < ITEMS_IN_A_TURN; round->next++, seen++) {
        if (item_step(round, &round->items[(round->first + round->next) % round->count])) continue;
        waits = true;
        break;
    }
    round->is_stepping = false;
    struct shard *shard = round->broker->shard;
    if (round->next < round->count && !waits && timer_set(shard, &round->timer, shard_now(shard), in_another_turn)) return;
    if (round->next < round->count && !waits) round->next = round->count; /* no memory for a timer: the rest is not looked at */
    if (round->next < round->count || round->running > 0) return;
    round->is_over = true;
    timer_cancel(shard, &round->timer);
    round->done(round);
}

void lag_round_start(struct lag_round *round, struct broker *broker) {
    round->broker = broker;
    round->next = round->reads = round->opens = round->running = 0;
    round->is_over = round->is_stepping = false;
    memset(&round->timer, 0, sizeof round->timer);
    for (uint32_t i = 0; i < LAG_PROBES; i++) round->probes[i].item = NULL;
    go_on(round);
}
