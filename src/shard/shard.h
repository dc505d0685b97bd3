/* shard/shard.h - a shard: one thread with one event loop that owns its mutable state outright; no locks.
 *
 * Shards talk by messages: a message is a struct inside its owner, sent once, run on the other side, and usually sent
 * back as its own answer. Order between two shards is the order of sending. A message to oneself runs in the same turn,
 * after what is running now.
 *
 * A turn: completions of the io -> mailboxes -> timers -> turn-end hooks (flush logs, send answers) -> submit and wait.
 * Each part is bounded (what a turn may spend), the rest waits for the next turn.
 */
#pragma once
#include "base/containers.h"
#include "base/histogram.h"
#include "io/io.h"

struct shard;
struct shard_group; /* all shards of a process (in the simulator: of a node) */

enum { SHARDS_MAX = 64 };

struct message {
    struct message *next;
    void (*run)(struct shard *shard, struct message *message);
    uint16_t from; /* the shard that sent it, set by shard_send: for the way back */
};

struct timer { /* zeroed before its first use */
    struct heap_node node;
    void (*fire)(struct timer *timer);
};

/* Runs once at the end of the turn in which it was asked for, after all messages to oneself; zeroed before its first use. */
struct turn_hook {
    struct turn_hook *next;
    void (*run)(struct turn_hook *hook);
    bool queued;
};

struct shard {
    struct shard_group *group;
    struct io *io;      /* owns */
    struct pool *pool;  /* of this shard */
    uint32_t index;     /* 0 carries the control role besides */
    void *roles[8];     /* what lives here, by the slot its owner chose (server/ hands them out) */
};

/* Slots of `roles`. */
enum shard_role { ROLE_BROKER, ROLE_CONTROL, ROLE_NET, ROLE_LOG, ROLE_COORD, ROLE_SPARE };

struct shard_options {
    uint32_t count;                  /* 1..SHARDS_MAX */
    struct io **ios;                 /* one for each shard; taken over when the opening succeeds */
    size_t pool_bytes;               /* each shard's budget; 0: no limit */
    uint32_t mailbox_messages;       /* room for each pair of shards, a power of two; 0: a good number */
    struct pool **pools;             /* one for each shard; NULL: made here with pool_bytes */
};
must_use enum err shard_group_open(struct shard_group **out, const struct shard_options *options);
void shard_group_close(struct shard_group *group);
uint32_t shard_count(const struct shard_group *group);
struct shard *shard_at(struct shard_group *group, uint32_t index);

/* Threads for all shards but 0, which runs on the calling thread until shard_stop. */
enum err shard_group_run(struct shard_group *group);
/* One turn of one shard on this thread: what the simulator steps. Waits no longer than until `deadline`. Answers what ran. */
uint32_t shard_turn(struct shard *shard, time_ns deadline);
/* The next time at which a timer wants to run; INT64_MAX: none. 0: there is work now. */
time_ns shard_next_deadline(const struct shard *shard);
/* From a signal's handler: `run` is called on shard 0, between two of its turns. */
void shard_on_interrupt(struct shard_group *group, void (*run)(void *context), void *context);
void shard_interrupt(struct shard_group *group);
void shard_stop(struct shard_group *group); /* from any thread: the loops end after their turn */

/* On the sending shard's thread (before shard_group_run: on the one that opened the group). Others see it, and are woken,
 * at the end of the sender's turn. Never refused: the sender holds the message, so the ring's overflow is a list of the sender's own, bounded by what
 * it has in flight; it drains in order as the other side makes room. */
void shard_send(struct shard *from, uint32_t to, struct message *message);
/* From a thread that is no shard: runs on that shard, soon; its `from` means nothing. Never from a turn of a shard. */
void shard_post(struct shard_group *group, uint32_t to, struct message *message);

/* How the loop does: on its own thread only. A turn's time begins when its wait is over and ends when the next one's begins;
 * it is counted then. */
struct shard_times {
    uint64_t turns, busy_ns;
    struct histogram turn;
};
const struct shard_times *shard_times_of(const struct shard *shard);

static inline time_ns shard_now(const struct shard *shard) { return io_now(shard->io); }
static inline time_ms shard_wall(const struct shard *shard) { return io_wall(shard->io); }
/* Sets (or moves) a timer to `at` on the monotonic clock. False: over budget, which can only happen when it was not set. */
must_use bool timer_set(struct shard *shard, struct timer *timer, time_ns at, void (*fire)(struct timer *));
void timer_cancel(struct shard *shard, struct timer *timer); /* not set: fine */
void turn_end(struct shard *shard, struct turn_hook *hook, void (*run)(struct turn_hook *));
