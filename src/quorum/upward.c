/* quorum/upward.c - ranges of the log are read and decoded; what is committed is handed to the listeners, in order, and
 * they are told who leads.
 */
#include "quorum/host.h"
#include <string.h>

/* ---- Reading ranges of the log */

static void read_finish(struct quorum_read *read, enum err err) {
    struct quorum_batch *batches = NULL;
    uint32_t count = 0;
    log_offset next = read->from;
    chain_clear(&read->chain);
    if (!err) err = quorum_batches_decode(span_of(read->bytes, read->filled), read->from, &read->arena, &batches, &count);
    if (!err && count) next = batches[count - 1].last + 1;
    struct arena arena = read->arena; /* `done` may read again with the same struct */
    read->done(read, err, batches, err ? 0 : count, next);
    arena_destroy(&arena);
}

static void read_pieces(struct quorum_read *read);

static void read_piece_done(struct io_op *op) {
    struct quorum_read *read = container_of(op, struct quorum_read, op);
    if (op->result < 0 || (size_t)op->result != op->disk.size) {
        read_finish(read, op->result < 0 ? err_from_errno((long)op->result) : ERR_CORRUPT);
        return;
    }
    read->filled += (uint32_t)op->result;
    chain_consume(&read->chain, op->disk.size);
    read_pieces(read);
}

/* Memory is copied, ranges of files are read: what is handed up does not depend on either any more. */
static void read_pieces(struct quorum_read *read) {
    while (read->chain.bytes) {
        const struct slice *slice = read->chain.first;
        if (slice->kind == SLICE_FILE) {
            read->op = (struct io_op){.kind = IO_OP_READ, .done = read_piece_done,
                                      .disk = {.file = (struct io_file *)(void *)slice->file.file, .offset = slice->file.offset,
                                               .data = read->bytes + read->filled, .size = slice->size}};
            io_submit(read->quorum->io, &read->op);
            return;
        }
        memcpy(read->bytes + read->filled, slice->memory.data, slice->size);
        read->filled += (uint32_t)slice->size;
        chain_consume(&read->chain, slice->size);
    }
    read_finish(read, ERR_NONE);
}

static void read_located(struct log_read *log_read_, enum err err) {
    struct quorum_read *read = container_of(log_read_, struct quorum_read, log_read);
    if (!err && read->chain.bytes) {
        read->bytes = read->chain.bytes <= UINT32_MAX ? arena_alloc(&read->arena, read->chain.bytes) : NULL;
        if (!read->bytes) err = ERR_NO_MEMORY;
    }
    if (err) read_finish(read, err);
    else read_pieces(read);
}

void quorum_read(struct quorum *quorum, struct quorum_read *read) {
    read->quorum = quorum;
    read->bytes = NULL;
    read->filled = 0;
    arena_init(&read->arena, quorum->pool, 0);
    chain_init(&read->chain, &read->arena);
    read->log_read = (struct log_read){.log = quorum->log, .from = read->from, .bytes_max = read->bytes_max, .min_one = true,
                                       .upto = LOG_UPTO_END, .out = &read->chain, .done = read_located};
    enum err err = quorum->state == QUORUM_FAILED || quorum->state == QUORUM_STOPPED ? ERR_CLOSED : log_read(&read->log_read);
    if (err != ERR_AGAIN) read_located(&read->log_read, err);
}

/* ---- Upward */

void upward_tell_leader(struct quorum *quorum) {
    broker_id leader = quorum->state == QUORUM_FAILED ? -1 : quorum->leader_id;
    bool is_self = leader >= 0 && leader == quorum->options.node;
    /* Its own leadership is told when all that came before it has been: decisions are made on the latest state. */
    if (is_self && quorum->next <= quorum->leader_start) {
        if (!quorum->told || quorum->told_leader != quorum->options.node || quorum->told_epoch == quorum->leader_epoch_) return;
        leader = -1; /* the old epoch is over at once */
    }
    if (quorum->told && quorum->told_epoch == quorum->leader_epoch_ && quorum->told_leader == leader) return;
    quorum->told = true;
    quorum->told_epoch = quorum->leader_epoch_;
    quorum->told_leader = leader;
    for (uint32_t i = 0; i < quorum->listeners_count; i++)
        if (quorum->listener[i]->on_leader) quorum->listener[i]->on_leader(quorum->listener[i], quorum->told_epoch, leader);
}

static void deliver_done(struct quorum_read *read, enum err err, const struct quorum_batch *batches, uint32_t count, log_offset next) {
    struct quorum *quorum = read->quorum;
    (void)next;
    quorum->delivering = false;
    if (quorum->state == QUORUM_FAILED) return;
    if (err && err_class_of(err) != ERR_CLASS_RETRY) {
        quorum_fail(quorum, "the metadata log cannot be read at offset %lld: %s", (long long)read->from, err_text(err));
        return;
    }
    for (uint32_t i = 0; i < count && batches[i].last < quorum->high_watermark; i++) {
        if (batches[i].base != quorum->next) {
            quorum_fail(quorum, "the metadata log has a gap: offset %lld is missing", (long long)quorum->next);
            return;
        }
        quorum->next = batches[i].last + 1;
        quorum->bytes_since_snapshot += batches[i].bytes;
        quorum->last_timestamp = batches[i].timestamp;
        for (uint32_t j = 0; j < quorum->listeners_count; j++)
            if (quorum->listener[j]->on_commit) quorum->listener[j]->on_commit(quorum->listener[j], &batches[i]);
    }
    quorum_wake(quorum);
}

void upward_deliver(struct quorum *quorum) {
    if (quorum->delivering || quorum->next >= quorum->high_watermark || quorum->next >= log_end(quorum->log)) return;
    if (!snapshots_idle(quorum)) return; /* the log has jumped: the snapshot comes first */
    quorum->delivering = true;
    quorum->deliver_read.from = quorum->next;
    quorum->deliver_read.bytes_max = quorum->options.read_bytes;
    quorum->deliver_read.done = deliver_done;
    quorum_read(quorum, &quorum->deliver_read);
}
