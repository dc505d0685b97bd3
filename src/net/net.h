/* net/net.h - connections: whole frames in, answers out in the order of the requests; and outgoing ones to other nodes.
 *
 * Knows of Kafka's protocol only the size before each frame and, for outgoing connections, where the correlation id is.
 *
 * `net` is all accepted connections of one shard; an `admission` counts those of several listeners. A `listener` lives on one shard and hands what it accepts to the nets
 * of all shards in turn. A `conn` gives its owner frames, each with a slot; the owner answers the slots in any order, and
 * they are sent in the order of their frames, at the end of the turn, as one vectored send. An idle conn holds no buffer.
 * A `peer` is one connection to another node, made anew with backoff whenever there is something to send.
 *
 * Everything here belongs to its shard's thread. No callback runs from within a call to this header's functions, unless
 * it is said there; all run from the shard's turn.
 */
#pragma once
#include "shard/shard.h"

struct net;
struct conn;
struct listener;
struct peer;

/* ---- Accepted connections */
struct net_limits { /* zero in a field: its default */
    uint32_t frame_bytes_max;           /* socket.request.max.bytes: 100 MiB                                              */
    uint32_t frame_bytes_max_untrusted; /* until conn_trust, on listeners that ask for it: 64 KiB                         */
    uint32_t requests_max;              /* taken and not answered, a connection: 100; then its reading stops              */
    size_t unread_bytes_max;            /* answered and not sent, a connection: 8 MiB; then its reading stops             */
    size_t incomplete_bytes_max;        /* buffers of frames that are not whole yet, all connections of the shard: 32 MiB;
                                         * then those that want more stop being read, but for one at a time               */
    time_ms idle_ms;                    /* connections.max.idle.ms: 10 minutes; -1: never                                 */
    time_ms first_frame_ms;             /* from the opening to the first whole frame: 10 s                                */
    time_ms frame_ms;                   /* in each such time at least 1 KiB/s of an unfinished frame: 60 s                */
};

enum conn_end {
    CONN_END_PEER,       /* the other side closed it                         */
    CONN_END_ERROR,      /* the network's, or a file's that was being sent   */
    CONN_END_FRAME_SIZE, /* a frame's size is negative or over the limit     */
    CONN_END_SLOW,       /* the first frame, or the rest of one, took too long */
    CONN_END_IDLE,
    CONN_END_MEMORY,     /* not even a small buffer could be had for it      */
    CONN_END_OWNER,      /* conn_close, or FRAME_REFUSED                     */
    CONN_END_CROWDED,    /* idle, and the room was needed                    */
    CONN_END_STOP,       /* net_stop                                         */
};

/* A request's place in the order of answers. The conn's, from on_frame until `gone`. */
struct conn_slot;

enum frame_verdict {
    FRAME_TAKEN,   /* conn_answer will come for the slot, also after the connection has ended                            */
    FRAME_LATER,   /* not while earlier ones are unanswered: it is given again when they all are, and nothing is read until then */
    FRAME_REFUSED, /* the connection is closed: the frame cannot be understood                                           */
};

struct conn_owner {
    /* A connection is there (or NULL: not interested). Its user pointer may be set. */
    void (*on_open)(struct conn *conn);
    /* A whole frame without its size. `frame` lies in `slab`: to keep it beyond the call, slab_hold; and slab_drop, from
     * any thread. Nothing else ever writes to those bytes, so a batch may be stamped in place. */
    enum frame_verdict (*on_frame)(struct conn *conn, struct conn_slot *slot, struct span frame, struct slab *slab);
    /* The connection has ended: no more frames. Slots that were taken are still to be answered; the conn is there until
     * the last of them is, and its user pointer until this returns and they all are. */
    void (*on_closed)(struct conn *conn, enum conn_end why);
    /* The last that is heard of it (or NULL): every slot is gone, and so is the conn when this returns. */
    void (*on_freed)(struct conn *conn);
    /* On an offload thread: reads in a piece of a file that an answer holds and that is not in memory, so that it can be
     * sent; may look at the bytes. `begin`: where the answer's range began, of which all before `offset` is sent.
     * Negative: the connection is closed, and nothing of the piece is sent. NULL: only reads. */
    int64_t (*warm)(struct io_files files, struct pool *pool, struct file_ref *file, uint64_t begin, uint64_t offset, size_t size);
};

struct net_counts { uint64_t opened, closed[CONN_END_STOP + 1], frames, bytes_in, bytes_out, cold_sends; uint32_t connections; };

/* Takes the shard's ROLE_NET. */
must_use enum err net_open(struct net **out, struct shard *shard, const struct net_limits *limits);
/* Closes every connection: at once when `grace` is 0, else when its taken requests are answered and sent or the time is
 * over. `stopped` runs when the last is gone. New ones from listeners are closed as they come. */
void net_stop(struct net *net, time_ns grace, void (*stopped)(void *context), void *context);
void net_close(struct net *net); /* stopped before, or never had a connection; NULL is fine */
const struct net_counts *net_counts_of(const struct net *net);

uint64_t conn_id(const struct conn *conn);            /* never the same twice in a process */
struct shard *conn_shard(const struct conn *conn);
const struct io_address *conn_peer_address(const struct conn *conn);
const struct io_address *conn_own_address(const struct conn *conn);
void *conn_listener_context(const struct conn *conn); /* as given to listener_open */
void *conn_user(const struct conn *conn);
void conn_set_user(struct conn *conn, void *user);
uint32_t conn_unanswered(const struct conn *conn);    /* slots taken and not answered: in on_frame, earlier ones */
void conn_trust(struct conn *conn);                   /* authenticated: the full frame size is allowed from the next frame on */
/* Takes no frame before then (a quota's throttle time); what was taken goes on. Earlier than a pause under way: ignored. */
void conn_pause(struct conn *conn, time_ns until);
void conn_close(struct conn *conn);                   /* drops what is not sent; on_closed comes in a later step of the turn */
void conn_close_when_answered(struct conn *conn);     /* reads no more; closes when what was taken is answered and sent */

struct conn *slot_conn(const struct conn_slot *slot);
void *slot_user(const struct conn_slot *slot);
void slot_set_user(struct conn_slot *slot, void *user);
/* Takes all of the chain (the size before it is added here), or NULL: nothing is sent for it, as for acks=0. The chain's
 * nodes stay in the owner's arena until `gone` (or NULL), which runs once, when the bytes are sent or will never be: not
 * from within this call. */
void conn_answer(struct conn_slot *slot, struct chain *chain, void (*gone)(struct conn_slot *slot));

/* ---- Who may connect: limits over several listeners together, which live on one shard with it. */
enum { ADMISSION_KEPT = 32 };
struct admission;
struct admission_override { uint8_t ip[16]; uint32_t connections_max; };
struct admission_limits { /* UINT32_MAX: none */
    uint32_t connections_max;           /* max.connections: at it, new ones wait in the kernel's queue, but on a protected
                                         * listener: there they come in, and the idlest of the others goes             */
    uint32_t per_address_max;           /* max.connections.per.ip: beyond it, new ones are closed                      */
    const struct admission_override *overrides; /* borrows: an address's own                                           */
    uint32_t override_count;
    uint32_t rate_max;                  /* max.connection.creation.rate: a second; the others wait in the kernel's queue */
    uint32_t sockets_max;               /* descriptors that there are for connections: the last ADMISSION_KEPT of them
                                         * only for protected listeners; without one, the idlest goes for who comes    */
};
struct admission_counts { uint64_t refused_by_address, closed_for_others; uint32_t connections; };
must_use enum err admission_open(struct admission **out, struct shard *shard, const struct admission_limits *limits);
void admission_set_limits(struct admission *admission, const struct admission_limits *limits);
const struct admission_counts *admission_counts_of(const struct admission *admission);
void admission_close(struct admission *admission); /* after its listeners and their connections; NULL is fine */

/* ---- Listeners */
struct listener_options {
    struct io_address address;          /* port 0: any free one                                                     */
    int backlog;                        /* 0: 50, as Kafka's socket.listen.backlog.size                             */
    struct admission *admission;        /* borrows; NULL: without these limits                                      */
    bool is_protected;                  /* its connections are not closed for others                                */
    uint32_t connections_max;           /* of this listener, 0: no limit; at it, new ones wait in the kernel's queue */
    bool untrusted;                     /* conns begin with frame_bytes_max_untrusted                               */
    const struct conn_owner *owner;     /* borrows: for every conn that it makes, on every shard                    */
    void *context;                      /* for conn_listener_context                                                */
};
struct listener_counts { uint64_t accepted, refused, without_descriptors; uint32_t connections; };
/* 0, or what the kernel says: -EADDRINUSE, -EACCES, ... Every shard of the group has its net by now. */
must_use int listener_open(struct listener **out, struct shard *shard, const struct listener_options *options);
const struct io_address *listener_address(const struct listener *listener); /* with the true port */
const struct listener_counts *listener_counts_of(const struct listener *listener);
/* Of this listener, whatever holds for all; UINT32_MAX: no limit. At them new connections wait in the kernel's queue. */
void listener_set_limits(struct listener *listener, uint32_t connections_max, uint32_t connections_a_second);
/* No new connections from now on; those that are there stay. The listener goes when they all have (they count there). */
void listener_close(struct listener *listener, void (*closed)(void *context), void *context);

/* ---- Outgoing connections */
enum peer_state { PEER_IDLE, PEER_CONNECTING, PEER_GREETING, PEER_READY, PEER_BACKING_OFF };

/* A request under way: inside its owner, the peer's from peer_send until `done`. */
struct peer_request {
    struct list node;
    /* The answer behind its correlation id (with the rest of the response header), in `slab` as a frame is; or an error
     * and nothing: ERR_TIMEOUT (not answered in time: the connection is closed with it), ERR_CLOSED (sent, and the
     * connection ended: it may have been carried out), ERR_AGAIN (never sent). May send again, or close the peer. */
    void (*done)(struct peer_request *request, enum err err, struct span answer, struct slab *slab);
    /* A whole request without its size, the header's correlation id being anything. Borrows until done; its slices are
     * dropped as they are sent, so that trying the request again takes a new chain, unless the error is ERR_AGAIN. */
    struct chain *chain;
    time_ns deadline;     /* on the monotonic clock */
    bool greeting;        /* goes out before peer_ready */
    /* The peer's: */
    int32_t correlation;
    enum err err;
    uint8_t head[12];
    struct slice head_slice;
    uint64_t sent_end;
};

struct peer_options {
    const char *host;              /* copied; a name or a literal */
    uint16_t port;
    uint32_t requests_max;         /* held here, sent or not; 0: 100                        */
    uint32_t in_flight_max;        /* sent and not answered; 0: 5                           */
    uint32_t frame_bytes_max;      /* of an answer; 0: 100 MiB                              */
    time_ms connect_ms;            /* for resolving and connecting; 0: 10 s                 */
    time_ms backoff_min_ms, backoff_max_ms; /* between attempts; 0: 50, 1000                */
    time_ms idle_ms;               /* closed when nothing was sent for so long; 0: 9 minutes, -1: never */
    /* Connected: to be greeted with requests that are marked `greeting`, then peer_ready. NULL: ready at once. */
    void (*on_connected)(struct peer *peer);
    /* The connection is gone, or could not be made: a negative errno value (-ECONNREFUSED, -ECONNRESET, 0 for a clean end).
     * Before the requests' `done`. NULL: not interested. */
    void (*on_disconnected)(struct peer *peer, int error);
    void *user;
};
must_use enum err peer_open(struct peer **out, struct shard *shard, const struct peer_options *options);
/* ERR_BUSY: requests_max are here. Else taken: `done` comes, never from within this call. */
must_use enum err peer_send(struct peer *peer, struct peer_request *request);
void peer_connect(struct peer *peer);     /* without a request yet; no effect unless idle or backing off (then: at once) */
void peer_ready(struct peer *peer);       /* the greeting went well */
void peer_disconnect(struct peer *peer);  /* what was sent ends with ERR_CLOSED; what was not goes on with a new connection */
enum peer_state peer_state_of(const struct peer *peer);
void *peer_user(const struct peer *peer);
const struct io_address *peer_address(const struct peer *peer); /* of the last attempt; port 0: none yet */
/* No more requests: all end with ERR_CLOSED or ERR_AGAIN in a later step of the turn, then `closed` (or NULL) runs. */
void peer_close(struct peer *peer, void (*closed)(void *context), void *context);
