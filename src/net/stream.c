#include "net/stream.h"
#include "base/bytes.h"
#include <errno.h>

enum {
    SIZE_BYTES = 4,
    SLAB_SMALL = POOL_CHUNK_BYTES - sizeof(struct slab), /* with its header exactly a pool chunk */
    SLAB_FIRST_MAX = 64 << 10,    /* of a frame larger than any before it */
    TYPICAL_MAX = 1 << 20,
    WARM_BYTES = 1 << 20,         /* read in at once; a send takes no more of a file either */
    SCRATCH_BYTES = 64 << 10,
};

static void step(struct turn_hook *hook);

void stream_init(struct stream *stream, struct shard *shard, struct io_socket *socket, const struct stream_owner *owner, uint32_t frame_bytes_max) {
    *stream = (struct stream){.shard = shard, .socket = socket, .owner = owner, .frame_bytes_max = frame_bytes_max, .held = true};
    chain_init(&stream->sending, NULL); /* nodes are only moved here, never made */
    chain_init(&stream->waiting, NULL);
}

static void broken(struct stream *stream, enum conn_end why, int64_t error) {
    stream->held = true;
    stream->owner->on_broken(stream, why, (int)error);
}

/* ---- Receiving */
static void release_slab(struct stream *stream) {
    if (!stream->slab) return;
    size_t bytes = stream->slab->capacity;
    slab_drop(stream->slab);
    stream->slab = NULL;
    stream->at = 0;
    if (stream->owner->on_buffer_released) stream->owner->on_buffer_released(stream, bytes);
}

static uint32_t bytes_here(const struct stream *stream) {
    return stream->slab ? stream->slab->used - stream->at : 0;
}

bool stream_is_partial(const struct stream *stream) { return !stream->held && bytes_here(stream) > 0; }

/* The size of the frame that has begun, with its prefix; 0: not known yet. */
static size_t frame_bytes(const struct stream *stream) {
    return bytes_here(stream) < SIZE_BYTES ? 0 : SIZE_BYTES + (size_t)load_be32(stream->slab->bytes + stream->at);
}

static size_t slab_capacity(const struct stream *stream) {
    size_t here = bytes_here(stream), frame = frame_bytes(stream);
    size_t want = stream->typical <= SLAB_FIRST_MAX ? stream->typical * 2 : stream->typical;
    if (stream->typical <= SLAB_SMALL) want = SLAB_SMALL;
    if (frame > want) {
        size_t bound = here * 4 > SLAB_FIRST_MAX ? here * 4 : SLAB_FIRST_MAX;
        if (bound < want) bound = want;
        want = frame < bound ? frame : bound;
    }
    return want < SLAB_SMALL ? SLAB_SMALL : want;
}

/* Sees to room behind what is there: in the slab when the frame that has begun can end in it, else in a new one, which
 * takes over what is there. False: not now. */
static bool make_room(struct stream *stream) {
    size_t here = bytes_here(stream), frame = frame_bytes(stream);
    if (stream->slab) {
        size_t likely = stream->typical < SLAB_SMALL ? stream->typical : SLAB_SMALL;
        size_t end = stream->at + (frame ? frame : likely > SIZE_BYTES ? likely : SIZE_BYTES);
        if (end <= stream->slab->capacity || (stream->at == 0 && stream->slab->used < stream->slab->capacity)) return true;
    }
    size_t capacity = slab_capacity(stream), old = stream->slab ? stream->slab->capacity : 0;
    if (stream->owner->may_buffer && !stream->owner->may_buffer(stream, capacity, old)) {
        if (here || capacity == SLAB_SMALL) return false;
        capacity = SLAB_SMALL; /* nothing is there yet that needs more */
        if (!stream->owner->may_buffer(stream, capacity, old)) return false;
    }
    struct slab *slab = slab_new(stream->shard->pool, (uint32_t)capacity);
    if (!slab) {
        if (stream->owner->on_buffer_released) stream->owner->on_buffer_released(stream, capacity);
        return false;
    }
    if (here) memcpy(slab->bytes, stream->slab->bytes + stream->at, here);
    slab->used = (uint32_t)here;
    release_slab(stream);
    stream->slab = slab;
    return true;
}

/* Gives out what is whole. False: held, or broken. */
static bool give_frames(struct stream *stream) {
    for (size_t size; (size = frame_bytes(stream)); ) {
        if (size - SIZE_BYTES > stream->frame_bytes_max) { /* a negative size is a very large one */
            broken(stream, CONN_END_FRAME_SIZE, 0);
            return false;
        }
        if (size > bytes_here(stream)) break;
        struct span frame = span_of(stream->slab->bytes + stream->at + SIZE_BYTES, size - SIZE_BYTES);
        enum stream_verdict verdict = stream->owner->on_frame(stream, frame, stream->slab);
        if (verdict != STREAM_NEXT) {
            stream->held = true;
            return false;
        }
        uint32_t less = stream->typical - stream->typical / 8;
        stream->typical = size > TYPICAL_MAX ? TYPICAL_MAX : size > less ? (uint32_t)size : less;
        stream->frames++;
        stream->at += (uint32_t)size;
    }
    if (bytes_here(stream) == 0) release_slab(stream);
    return true;
}

static void in_done(struct io_op *op);

static void wait_readable(struct stream *stream) {
    stream->in = (struct io_op){.kind = IO_OP_READABLE, .done = in_done, .net = {.socket = stream->socket}};
    io_submit(stream->shard->io, &stream->in);
}

static void receive(struct stream *stream) {
    if (!make_room(stream)) {
        stream->held = stream->starved = true;
        stream->owner->on_received(stream);
        return;
    }
    struct slab *slab = stream->slab;
    stream->in = (struct io_op){.kind = IO_OP_RECV, .hot = true, .done = in_done,
        .net = {.socket = stream->socket, .data = slab->bytes + slab->used, .size = slab->capacity - slab->used}};
    io_submit(stream->shard->io, &stream->in);
}

static void received(struct stream *stream, size_t bytes, bool filled) {
    stream->slab->used += (uint32_t)bytes;
    stream->bytes_in += bytes;
    bool goes_on = give_frames(stream);
    if (stream->closed) return;
    stream->owner->on_received(stream);
    if (stream->closed || !goes_on) return;
    if (filled) receive(stream);
    else wait_readable(stream);
}

static void in_done(struct io_op *op) {
    struct stream *stream = container_of(op, struct stream, in);
    if (stream->closed) turn_end(stream->shard, &stream->hook, step);
    else if (op->kind == IO_OP_READABLE) {
        if (op->result < 0) broken(stream, CONN_END_ERROR, op->result);
        else receive(stream);
    } else if (op->result > 0) received(stream, (size_t)op->result, (size_t)op->result == op->net.size);
    else if (op->result == -EAGAIN) { /* a false alarm */
        if (bytes_here(stream) == 0) release_slab(stream);
        wait_readable(stream);
    } else broken(stream, op->result == 0 || op->result == -ECONNRESET ? CONN_END_PEER : CONN_END_ERROR, op->result);
}

void stream_resume(struct stream *stream) {
    if (stream->closed || !stream->held) return;
    assert(!stream->in.pending);
    stream->held = stream->starved = false;
    bool goes_on = give_frames(stream);
    if (stream->closed) return;
    stream->owner->on_received(stream);
    if (!stream->closed && goes_on && !stream->held) wait_readable(stream);
}

/* ---- Sending */
static void out_done(struct io_op *op);

void stream_send(struct stream *stream, struct chain *chain) {
    stream->queued_total += chain->bytes;
    chain_append(&stream->waiting, chain);
    turn_end(stream->shard, &stream->hook, step);
}

static void send_more(struct stream *stream) {
    if (stream->out.pending || stream->warming.pending) return;
    chain_append(&stream->sending, &stream->waiting);
    if (!stream->sending.bytes) return;
    stream->out = (struct io_op){.kind = IO_OP_SEND, .done = out_done, .net = {.socket = stream->socket, .chain = &stream->sending}};
    io_submit(stream->shard->io, &stream->out);
}

int64_t stream_warm(struct stream *stream, struct io_files files, const struct slice *slice, size_t size) {
    for (size_t done = 0; done < size;) {
        size_t piece = size - done < stream->scratch_bytes ? size - done : stream->scratch_bytes;
        int64_t got = files.vtable->read(files.self, (struct io_file *)(void *)slice->file.file, stream->scratch, piece, slice->file.offset + done);
        if (got <= 0) return got < 0 ? got : -EIO; /* the file ends before its slice */
        done += (size_t)got;
    }
    return 0;
}

/* On an offload thread: only what the stream leaves alone while `warming` is pending. */
static int64_t warm_run(struct io_op *op, struct io_files files) {
    struct stream *stream = container_of(op, struct stream, warming);
    struct slice *slice = stream->sending.first;
    size_t size = slice->size < WARM_BYTES ? slice->size : WARM_BYTES;
    return (stream->owner->warm ? stream->owner->warm : stream_warm)(stream, files, slice, size);
}

static void free_scratch(struct stream *stream) {
    pool_free(stream->shard->pool, stream->scratch, stream->scratch_bytes);
    stream->scratch = NULL;
}

static void warm_done(struct io_op *op) {
    struct stream *stream = container_of(op, struct stream, warming);
    free_scratch(stream);
    if (stream->closed) turn_end(stream->shard, &stream->hook, step);
    else if (op->result < 0) broken(stream, CONN_END_ERROR, op->result);
    else send_more(stream);
}

static void warm(struct stream *stream) {
    assert(stream->sending.first->kind == SLICE_FILE);
    stream->cold_sends++;
    stream->scratch_bytes = SCRATCH_BYTES;
    stream->scratch = pool_alloc(stream->shard->pool, stream->scratch_bytes);
    if (!stream->scratch) { /* slower, but it goes on */
        stream->scratch_bytes = POOL_CHUNK_BYTES;
        stream->scratch = pool_alloc(stream->shard->pool, stream->scratch_bytes);
    }
    if (!stream->scratch) {
        broken(stream, CONN_END_MEMORY, -ENOMEM);
        return;
    }
    stream->warming = (struct io_op){.kind = IO_OP_JOB, .done = warm_done, .job = {.run = warm_run}};
    io_submit(stream->shard->io, &stream->warming);
}

static void out_done(struct io_op *op) {
    struct stream *stream = container_of(op, struct stream, out);
    if (stream->closed) turn_end(stream->shard, &stream->hook, step);
    else if (op->result == -EAGAIN) warm(stream);
    else if (op->result < 0) broken(stream, op->result == -EPIPE || op->result == -ECONNRESET ? CONN_END_PEER : CONN_END_ERROR, op->result);
    else {
        chain_consume(&stream->sending, (size_t)op->result);
        stream->sent_total += (uint64_t)op->result;
        stream->owner->on_sent(stream);
        if (!stream->closed) send_more(stream);
    }
}

/* ---- The end of a turn, and the end */
static void step(struct turn_hook *hook) {
    struct stream *stream = container_of(hook, struct stream, hook);
    if (!stream->closed) {
        send_more(stream);
        return;
    }
    if (stream->dead || stream->in.pending || stream->out.pending || stream->warming.pending) return;
    stream->dead = true;
    chain_clear(&stream->sending);
    chain_clear(&stream->waiting);
    release_slab(stream);
    stream->owner->on_dead(stream);
}

void stream_close(struct stream *stream, bool reset) {
    if (stream->closed) return;
    stream->closed = stream->held = true;
    io_socket_close(stream->shard->io, stream->socket, reset);
    stream->socket = NULL;
    turn_end(stream->shard, &stream->hook, step);
}
