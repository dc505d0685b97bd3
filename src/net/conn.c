/* net/conn.c - accepted connections: order of answers, limits, deadlines.
 *
 * An event only notes what happened; conn_step, at the end of the turn, does what follows from it: sends what is
 * answered in order, lets go of what is sent, reads on or not, closes, frees. So no callback of the owner's is ever
 * re-entered, and a turn's answers leave in one send.
 */
#include "net/admission.h"
#include "base/bytes.h"
#include "net/stream.h"
#include <errno.h>

enum { RETRY_MS = 20, UNCOUNTED_BYTES = POOL_CHUNK_BYTES };

struct net {
    struct shard *shard;
    struct net_limits limits;
    struct net_counts counts;
    struct list conns;         /* the longest idle first; who has something under way may stand anywhere */
    uint64_t conns_made;
    size_t incomplete_bytes;   /* in receive buffers larger than a chunk              */
    struct conn *admitted;     /* the one that may go beyond the limit                */
    struct list starved;       /* conns that want a buffer, in the order of asking    */
    struct turn_hook hook;     /* tries the starved again, ends the stopping          */
    struct timer stop_timer;
    bool stopping;
    void (*stopped)(void *context);
    void *stopped_context;
};

struct conn_slot {
    struct list node;
    struct conn *conn;
    void *user;
    void (*gone)(struct conn_slot *slot);
    struct chain chain;
    struct slice size_slice;   /* of size_bytes, before the chain */
    uint8_t size_bytes[4];
    bool taken, answered, silent, queued;
    uint64_t end;              /* the stream's count when all of it is sent */
};

struct conn {
    struct stream stream;
    struct net *net;
    struct list node;          /* in net->conns   */
    struct list starved_node;  /* in net->starved */
    struct list slots;         /* owns: in the order of their frames, until gone */
    struct ticket *ticket;     /* owns */
    const struct conn_owner *owner;
    void *user;
    uint64_t id;
    uint32_t unanswered, slot_count;
    size_t unsent_bytes;       /* of answers, those included that wait for earlier ones */
    bool later;                /* the next frame waits until all is answered */
    bool closing;              /* no more frames; ends when all is sent */
    bool ended, told;
    enum conn_end why, closing_why;
    uint64_t sent_seen, received_seen;
    time_ns first_since;       /* when the wait for the first frame began */
    time_ns active, pause_until;
    uint64_t partial_frame;    /* which frame was incomplete when it was last looked at ... */
    uint64_t partial_bytes;    /* ... and what had come by then */
    time_ns partial_since;     /* 0: none */
    struct timer timer;
    struct turn_hook hook;
};

static void conn_step(struct turn_hook *hook);
static void conn_wake(struct conn *conn) { turn_end(conn->net->shard, &conn->hook, conn_step); }
static struct conn *conn_of(struct stream *stream) { return container_of(stream, struct conn, stream); }

/* ---- The end of a connection, in steps: `ended` is noted and the stream closed; then on_closed; then, when the stream
 * is dead and every slot answered, it is freed. */
static void conn_finish(struct conn *conn, enum conn_end why) {
    if (conn->ended) return;
    conn->ended = true;
    conn->why = why;
    if (conn->net->admitted == conn) conn->net->admitted = NULL;
    list_remove(&conn->starved_node);
    stream_close(&conn->stream, why == CONN_END_ERROR || why == CONN_END_SLOW || why == CONN_END_MEMORY);
    conn_wake(conn);
}

static void net_step(struct turn_hook *hook);

static void conn_free(struct conn *conn) {
    struct net *net = conn->net;
    assert(list_is_empty(&conn->slots) && conn->unanswered == 0);
    if (conn->owner->on_freed) conn->owner->on_freed(conn);
    timer_cancel(net->shard, &conn->timer);
    list_remove(&conn->node);
    net->counts.connections--;
    ticket_return(net->shard, conn->ticket);
    pool_free(net->shard->pool, conn, sizeof *conn);
    turn_end(net->shard, &net->hook, net_step);
}

/* ---- Timers. The timer stands at or before the earliest of these times; moving them only back costs nothing. */
static time_ns ms(time_ms span) { return span < 0 ? INT64_MAX / 4 : span * NS_PER_MS; }

static time_ns conn_deadline(const struct conn *conn) {
    const struct net_limits *limits = &conn->net->limits;
    time_ns first = conn->active + ms(limits->idle_ms), now = shard_now(conn->net->shard);
    if (conn->stream.frames == 0 && conn->first_since + ms(limits->first_frame_ms) < first && !conn->stream.held) first = conn->first_since + ms(limits->first_frame_ms);
    if (conn->partial_since && conn->partial_since + ms(limits->frame_ms) < first) first = conn->partial_since + ms(limits->frame_ms);
    if (conn->pause_until > now && conn->pause_until < first) first = conn->pause_until;
    if (conn->stream.starved && now + RETRY_MS * NS_PER_MS < first) first = now + RETRY_MS * NS_PER_MS;
    return first;
}

static void conn_fire(struct timer *timer);

static void conn_arm(struct conn *conn) {
    time_ns at = conn_deadline(conn);
    if (conn->ended || (conn->timer.node.index && conn->timer.node.key <= at)) return;
    if (!timer_set(conn->net->shard, &conn->timer, at, conn_fire)) conn_finish(conn, CONN_END_MEMORY);
}

/* Frames that do not come on: nothing at all from the new, or of a frame that has begun less than 1 KiB/s. What stands
 * still because we do not read is not the other side's doing. */
static bool conn_is_slow(struct conn *conn, time_ns now) {
    const struct net_limits *limits = &conn->net->limits;
    if (conn->stream.held) return false;
    if (conn->stream.frames == 0 && now >= conn->first_since + ms(limits->first_frame_ms)) return true;
    if (!conn->partial_since || now < conn->partial_since + ms(limits->frame_ms)) return false;
    uint64_t came = conn->stream.bytes_in - conn->partial_bytes;
    conn->partial_since = now;
    conn->partial_bytes = conn->stream.bytes_in;
    return came < (uint64_t)limits->frame_ms * 1024 / 1000;
}

/* Tries a starved one again. Its time begins anew: it was we who did not read. */
static void feed(struct conn *conn) {
    list_remove(&conn->starved_node);
    conn->first_since = shard_now(conn->net->shard);
    conn->partial_since = 0;
    stream_resume(&conn->stream);
}

static void conn_fire(struct timer *timer) {
    struct conn *conn = container_of(timer, struct conn, timer);
    time_ns now = shard_now(conn->net->shard);
    if (conn->ended) return;
    if (conn->stream.starved) feed(conn); /* what the pool has again it tells nobody: so it is tried */
    if (conn_is_slow(conn, now)) conn_finish(conn, CONN_END_SLOW);
    else if (now >= conn->active + ms(conn->net->limits.idle_ms)) {
        if (conn->unanswered > 0) conn->active = now; /* it waits for us */
        else conn_finish(conn, CONN_END_IDLE);
    }
    conn_wake(conn);
    conn_arm(conn);
}

/* ---- Frames */
static bool conn_may_take(const struct conn *conn) {
    const struct net_limits *limits = &conn->net->limits;
    if (conn->ended || conn->closing || shard_now(conn->net->shard) < conn->pause_until) return false;
    if (conn->later && conn->unanswered > 0) return false;
    return conn->slot_count < limits->requests_max && conn->unsent_bytes <= limits->unread_bytes_max;
}

static void slot_free(struct conn_slot *slot) {
    struct conn *conn = slot->conn;
    list_remove(&slot->node);
    conn->slot_count--;
    pool_free(conn->net->shard->pool, slot, sizeof *slot);
}

static enum stream_verdict conn_on_frame(struct stream *stream, struct span frame, struct slab *slab) {
    struct conn *conn = conn_of(stream);
    if (!conn_may_take(conn)) return STREAM_HOLD;
    struct conn_slot *slot = POOL_NEW(conn->net->shard->pool, struct conn_slot);
    if (!slot) {
        stream->starved = true;
        return STREAM_HOLD;
    }
    slot->conn = conn;
    list_push(&conn->slots, &slot->node);
    conn->slot_count++;
    conn->later = false;
    enum frame_verdict verdict = conn->owner->on_frame(conn, slot, frame, slab);
    if (verdict == FRAME_TAKEN) {
        slot->taken = true;
        if (!slot->answered) conn->unanswered++;
        conn->net->counts.frames++;
        return conn->ended ? STREAM_ENDED : STREAM_NEXT;
    }
    assert(!slot->answered);
    slot_free(slot);
    if (verdict == FRAME_REFUSED) conn_finish(conn, CONN_END_OWNER);
    else assert(conn->unanswered > 0); /* else nothing would ever give it again */
    conn->later = verdict == FRAME_LATER;
    return conn->ended ? STREAM_ENDED : STREAM_HOLD;
}

static bool conn_may_buffer(struct stream *stream, size_t bytes, size_t old_bytes) {
    struct conn *conn = conn_of(stream);
    struct net *net = conn->net;
    if (bytes <= UNCOUNTED_BYTES) return true;
    size_t old = old_bytes <= UNCOUNTED_BYTES ? 0 : old_bytes;
    if (net->incomplete_bytes - old + bytes > net->limits.incomplete_bytes_max) {
        if (!stream_is_partial(stream) || (net->admitted && net->admitted != conn)) return false;
        net->admitted = conn;
    }
    net->incomplete_bytes += bytes;
    return true;
}

static void conn_buffer_released(struct stream *stream, size_t bytes) {
    struct conn *conn = conn_of(stream);
    struct net *net = conn->net;
    if (bytes <= UNCOUNTED_BYTES) return;
    net->incomplete_bytes -= bytes;
    if (net->admitted == conn && net->incomplete_bytes <= net->limits.incomplete_bytes_max) net->admitted = NULL;
    if (!list_is_empty(&net->starved)) turn_end(net->shard, &net->hook, net_step);
}

static void conn_is_active(struct conn *conn) {
    conn->active = shard_now(conn->net->shard);
    list_remove(&conn->node);
    list_push(&conn->net->conns, &conn->node);
}

static bool may_go(const struct conn *conn) {
    return !conn->ended && !conn->closing && !conn->ticket->is_protected && list_is_empty(&conn->slots);
}

/* Many that never said anything are the sign of somebody who only takes room: they go before who is at work. */
bool net_close_idlest(struct net *net) {
    struct conn *idlest = NULL;
    LIST_EACH(node, &net->conns) {
        struct conn *conn = LIST_ITEM(node, struct conn, node);
        if (!may_go(conn)) continue;
        if (!idlest) idlest = conn;
        if (conn->stream.frames > 0) continue;
        idlest = conn;
        break;
    }
    if (!idlest) return false;
    conn_finish(idlest, CONN_END_CROWDED);
    return true;
}

static void conn_on_received(struct stream *stream) {
    struct conn *conn = conn_of(stream);
    struct net *net = conn->net;
    time_ns now = shard_now(net->shard);
    conn_is_active(conn);
    net->counts.bytes_in += stream->bytes_in - conn->received_seen;
    conn->received_seen = stream->bytes_in;
    if (net->admitted == conn && stream->frames != conn->partial_frame) { /* its frame is whole: the next one's turn */
        net->admitted = NULL;
        if (!list_is_empty(&net->starved)) turn_end(net->shard, &net->hook, net_step);
    }
    if (!stream_is_partial(stream)) conn->partial_since = 0;
    else if (!conn->partial_since || conn->partial_frame != stream->frames) {
        conn->partial_since = now;
        conn->partial_bytes = stream->bytes_in;
    }
    conn->partial_frame = stream->frames;
    if (stream->starved && list_is_empty(&conn->starved_node)) list_push(&net->starved, &conn->starved_node);
    conn_arm(conn);
}

static void conn_on_sent(struct stream *stream) {
    struct conn *conn = conn_of(stream);
    uint64_t sent = stream->sent_total - conn->sent_seen;
    conn_is_active(conn);
    conn->sent_seen = stream->sent_total;
    conn->unsent_bytes -= sent;
    conn->net->counts.bytes_out += sent;
    conn_wake(conn);
}

/* On an offload thread. */
static int64_t conn_warm(struct stream *stream, struct io_files files, const struct slice *slice, size_t size) {
    const struct conn_owner *owner = conn_of(stream)->owner;
    struct pool pool;
    if (!owner->warm) return stream_warm(stream, files, slice, size);
    pool_init_child(&pool, stream->shard->pool, 0);
    int64_t result = owner->warm(files, &pool, slice->file.file, slice->file.begin, slice->file.offset, size);
    pool_destroy(&pool);
    return result;
}

static void conn_on_broken(struct stream *stream, enum conn_end why, int error) {
    conn_finish(conn_of(stream), why);
}

static void conn_on_dead(struct stream *stream) {
    conn_wake(conn_of(stream));
}

/* ---- Answers */
void conn_answer(struct conn_slot *slot, struct chain *chain, void (*gone)(struct conn_slot *slot)) {
    struct conn *conn = slot->conn;
    assert(!slot->answered);
    slot->answered = true;
    slot->silent = chain == NULL;
    slot->gone = gone;
    if (slot->taken) conn->unanswered--;
    if (chain) {
        assert(chain->bytes <= INT32_MAX);
        slot->chain = *chain;
        chain_init(chain, chain->arena);
        conn->unsent_bytes += slot->chain.bytes;
    }
    conn_wake(conn);
}

static void slot_queue(struct conn_slot *slot) {
    struct stream *stream = &slot->conn->stream;
    slot->queued = true;
    if (!slot->silent) {
        store_be32(slot->size_bytes, (uint32_t)slot->chain.bytes);
        slot->size_slice = (struct slice){.kind = SLICE_MEMORY, .size = 4, .memory.data = slot->size_bytes};
        struct chain size = {.first = &slot->size_slice, .last = &slot->size_slice, .bytes = 4, .count = 1};
        slot->conn->unsent_bytes += 4;
        stream_send(stream, &size);
        if (slot->chain.bytes) stream_send(stream, &slot->chain);
    }
    slot->end = stream->queued_total;
}

/* What is answered from the front on goes out; a silent one only has its turn. */
static void queue_answers(struct conn *conn) {
    LIST_EACH(node, &conn->slots) {
        struct conn_slot *slot = LIST_ITEM(node, struct conn_slot, node);
        if (!slot->answered) return;
        if (!slot->queued) slot_queue(slot);
    }
}

static void slot_let_go(struct conn_slot *slot) {
    chain_clear(&slot->chain);
    if (slot->gone) slot->gone(slot);
    slot_free(slot);
}

/* Sent ones from the front; of a dead connection all that are answered. */
static void release_slots(struct conn *conn) {
    LIST_EACH_SAFE(node, &conn->slots) {
        struct conn_slot *slot = LIST_ITEM(node, struct conn_slot, node);
        bool sent = slot->queued && slot->end <= conn->stream.sent_total;
        if (!sent && !(conn->stream.dead && slot->answered && slot->taken)) {
            if (!conn->stream.dead) return;
            continue;
        }
        slot_let_go(slot);
    }
}

/* ---- The step at the end of a turn */
static void conn_step(struct turn_hook *hook) {
    struct conn *conn = container_of(hook, struct conn, hook);
    if (conn->ended && !conn->told) {
        conn->told = true;
        conn->net->counts.closed[conn->why]++;
        conn->owner->on_closed(conn, conn->why);
    }
    if (!conn->ended) queue_answers(conn);
    release_slots(conn);
    if (conn->closing && list_is_empty(&conn->slots)) conn_finish(conn, conn->closing_why);
    if (conn->stream.held && !conn->stream.starved && conn_may_take(conn)) stream_resume(&conn->stream);
    if (conn->stream.dead && conn->told && list_is_empty(&conn->slots) && !conn->hook.queued) conn_free(conn);
}

/* ---- Opening */
static const struct stream_owner stream_owner = {
    .on_frame = conn_on_frame, .may_buffer = conn_may_buffer, .on_buffer_released = conn_buffer_released,
    .on_received = conn_on_received, .on_sent = conn_on_sent, .on_broken = conn_on_broken, .on_dead = conn_on_dead,
    .warm = conn_warm,
};

void conn_adopt(struct shard *shard, struct ticket *ticket) {
    struct net *net = shard->roles[ROLE_NET];
    struct conn *conn = net && !net->stopping ? POOL_NEW(shard->pool, struct conn) : NULL;
    if (!conn) { /* the memory that the idlest had may be enough for who comes next */
        if (net && !net->stopping) (void)!net_close_idlest(net);
        io_socket_close(shard->io, ticket->socket, true);
        ticket_return(shard, ticket);
        return;
    }
    conn->net = net;
    conn->ticket = ticket;
    conn->owner = ticket->owner;
    conn->id = (uint64_t)shard->index << 48 | ++net->conns_made;
    conn->first_since = conn->active = shard_now(shard);
    list_init(&conn->slots);
    list_init(&conn->starved_node);
    list_push(&net->conns, &conn->node);
    net->counts.opened++;
    net->counts.connections++;
    uint32_t most = ticket->untrusted ? net->limits.frame_bytes_max_untrusted : net->limits.frame_bytes_max;
    stream_init(&conn->stream, shard, ticket->socket, &stream_owner, most);
    if (conn->owner->on_open) conn->owner->on_open(conn);
    conn_arm(conn);
    if (!conn->ended) stream_resume(&conn->stream);
}

/* ---- What the owner asks and says */
uint64_t conn_id(const struct conn *conn) { return conn->id; }
struct shard *conn_shard(const struct conn *conn) { return conn->net->shard; }
const struct io_address *conn_peer_address(const struct conn *conn) { return &conn->ticket->peer; }
const struct io_address *conn_own_address(const struct conn *conn) { return &conn->ticket->own; }
void *conn_listener_context(const struct conn *conn) { return conn->ticket->context; }
void *conn_user(const struct conn *conn) { return conn->user; }
void conn_set_user(struct conn *conn, void *user) { conn->user = user; }
uint32_t conn_unanswered(const struct conn *conn) { return conn->unanswered; }
struct conn *slot_conn(const struct conn_slot *slot) { return slot->conn; }
void *slot_user(const struct conn_slot *slot) { return slot->user; }
void slot_set_user(struct conn_slot *slot, void *user) { slot->user = user; }

void conn_trust(struct conn *conn) { conn->stream.frame_bytes_max = conn->net->limits.frame_bytes_max; }

void conn_pause(struct conn *conn, time_ns until) {
    if (until <= conn->pause_until) return;
    conn->pause_until = until;
    conn_arm(conn);
}

void conn_close(struct conn *conn) { conn_finish(conn, CONN_END_OWNER); }

static void close_when_answered(struct conn *conn, enum conn_end why) {
    if (conn->closing) return;
    conn->closing = true;
    conn->closing_why = why;
    conn_wake(conn);
}

void conn_close_when_answered(struct conn *conn) { close_when_answered(conn, CONN_END_OWNER); }

/* ---- Net */
static uint32_t or_default(uint32_t value, uint32_t otherwise) { return value ? value : otherwise; }

enum err net_open(struct net **out, struct shard *shard, const struct net_limits *limits) {
    struct net *net = POOL_NEW(shard->pool, struct net);
    if (!net) return ERR_NO_MEMORY;
    net->shard = shard;
    net->limits = *limits;
    net->limits.frame_bytes_max = or_default(limits->frame_bytes_max, (uint32_t)MIB(100));
    net->limits.frame_bytes_max_untrusted = or_default(limits->frame_bytes_max_untrusted, (uint32_t)KIB(64));
    net->limits.requests_max = or_default(limits->requests_max, 100);
    if (!limits->unread_bytes_max) net->limits.unread_bytes_max = MIB(8);
    if (!limits->incomplete_bytes_max) net->limits.incomplete_bytes_max = MIB(32);
    if (!limits->idle_ms) net->limits.idle_ms = 600000;
    if (!limits->first_frame_ms) net->limits.first_frame_ms = 10000;
    if (!limits->frame_ms) net->limits.frame_ms = 60000;
    list_init(&net->conns);
    list_init(&net->starved);
    assert(!shard->roles[ROLE_NET]);
    shard->roles[ROLE_NET] = net;
    *out = net;
    return ERR_NONE;
}

/* Buffers were released, or a connection is gone. Those who starve come in their order; who still does asks again. */
static void net_step(struct turn_hook *hook) {
    struct net *net = container_of(hook, struct net, hook);
    struct list asking;
    list_init(&asking);
    for (struct list *node; (node = list_pop(&net->starved));) list_push(&asking, node);
    for (struct list *node; (node = list_pop(&asking));) feed(LIST_ITEM(node, struct conn, starved_node));
    if (!net->stopping || !list_is_empty(&net->conns) || !net->stopped) return;
    void (*stopped)(void *context) = net->stopped;
    net->stopped = NULL;
    timer_cancel(net->shard, &net->stop_timer);
    stopped(net->stopped_context); /* which may close the net */
}

static void net_end_all(struct net *net) {
    LIST_EACH(node, &net->conns) conn_finish(LIST_ITEM(node, struct conn, node), CONN_END_STOP);
}

static void net_stop_fire(struct timer *timer) { net_end_all(container_of(timer, struct net, stop_timer)); }

void net_stop(struct net *net, time_ns grace, void (*stopped)(void *context), void *context) {
    assert(!net->stopping);
    net->stopping = true;
    net->stopped = stopped;
    net->stopped_context = context;
    LIST_EACH(node, &net->conns) close_when_answered(LIST_ITEM(node, struct conn, node), CONN_END_STOP);
    if (!grace || !timer_set(net->shard, &net->stop_timer, shard_now(net->shard) + grace, net_stop_fire)) net_end_all(net);
    turn_end(net->shard, &net->hook, net_step);
}

void net_close(struct net *net) {
    if (!net) return;
    assert(list_is_empty(&net->conns));
    assert(!net->hook.queued);
    timer_cancel(net->shard, &net->stop_timer);
    net->shard->roles[ROLE_NET] = NULL;
    pool_free(net->shard->pool, net, sizeof *net);
}

const struct net_counts *net_counts_of(const struct net *net) { return &net->counts; }
