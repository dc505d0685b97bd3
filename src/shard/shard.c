/* shard/shard.c - the turn, and what one shard does to another: leave a message, set a bit, and wake it if it sleeps. */
#include "shard/mailbox.h"
#include <pthread.h>
#include <stdio.h>

/* What a turn may spend on each of its parts; the rest waits for the next. */
enum { TURN_MESSAGES_MAX = 4096, TURN_TIMERS_MAX = 4096, TURN_ROUNDS_MAX = 64, MAILBOX_MESSAGES_DEFAULT = 256 };
static_assert(SHARDS_MAX <= 64, "a set of shards is one word");

struct core {
    struct shard shard;
    struct heap timers;
    struct message *own, *own_last;       /* to itself                                                    */
    struct turn_hook *hooks, *hooks_last;
    uint64_t touched;                     /* shards that were sent to and not yet told; the sender's      */
    struct mailbox *to;                   /* owns: one for each shard, by index                           */
    struct shard_times times;
    time_ns turn_began, waited;           /* of the turn that is under way; what the io had waited by then */
    uint32_t turn_ran;
    struct pool made_pool;                /* used when the caller brought none                            */
    bool makes_pool;
    char apart[64];
    _Atomic uint64_t mail;                /* shards whose mailbox to this one has something               */
    _Atomic bool asleep;                  /* in, or about to be in, a wait of its io                      */
    _Atomic(struct message *) posted;     /* by threads that are no shards: the newest first              */
};

struct shard_group {
    struct pool *pool;                    /* borrows: the first io's */
    uint32_t count;
    _Atomic bool stopping, interrupted;
    void (*on_interrupt)(void *context);
    void *interrupt_context;
    struct core *cores[SHARDS_MAX];       /* owns */
};

static struct core *core_of(struct shard *shard) { return container_of(shard, struct core, shard); }

/* ---- Group */
static void core_close(struct core *core) {
    struct shard_group *group = core->shard.group;
    for (uint32_t to = 0; core->to && to < group->count; to++) mailbox_destroy(&core->to[to]);
    pool_free(core->shard.pool, core->to, group->count * sizeof *core->to);
    heap_destroy(&core->timers);
    io_close(core->shard.io);
    if (core->makes_pool) pool_destroy(&core->made_pool);
    pool_free(group->pool, core, sizeof *core);
}

static struct core *core_open(struct shard_group *group, uint32_t index, const struct shard_options *options) {
    struct core *core = POOL_NEW(group->pool, struct core);
    if (!core) return NULL;
    core->shard = (struct shard){.group = group, .index = index, .pool = &core->made_pool};
    core->makes_pool = !options->pools;
    if (options->pools) core->shard.pool = options->pools[index];
    else pool_init(&core->made_pool, options->pool_bytes, 64);
    heap_init(&core->timers, core->shard.pool);
    core->to = pool_zero_alloc(core->shard.pool, group->count * sizeof *core->to);
    bool whole = core->to;
    uint32_t messages = options->mailbox_messages ? options->mailbox_messages : MAILBOX_MESSAGES_DEFAULT;
    for (uint32_t to = 0; whole && to < group->count; to++)
        whole = to == index || mailbox_init(&core->to[to], core->shard.pool, messages);
    if (whole) return core;
    core_close(core);
    return NULL;
}

enum err shard_group_open(struct shard_group **out, const struct shard_options *options) {
    assert(options->count >= 1 && options->count <= SHARDS_MAX);
    struct pool *pool = options->ios[0]->pool;
    struct shard_group *group = POOL_NEW(pool, struct shard_group);
    if (!group) return ERR_NO_MEMORY;
    group->pool = pool;
    group->count = options->count;
    for (uint32_t i = 0; i < group->count; i++)
        if (!(group->cores[i] = core_open(group, i, options))) goto fail;
    for (uint32_t i = 0; i < group->count; i++) group->cores[i]->shard.io = options->ios[i]; /* ours from here on */
    *out = group;
    return ERR_NONE;
fail:
    shard_group_close(group);
    return ERR_NO_MEMORY;
}

void shard_group_close(struct shard_group *group) {
    if (!group) return;
    for (uint32_t i = 0; i < group->count; i++)
        if (group->cores[i]) core_close(group->cores[i]);
    pool_free(group->pool, group, sizeof *group);
}

uint32_t shard_count(const struct shard_group *group) { return group->count; }

struct shard *shard_at(struct shard_group *group, uint32_t index) {
    assert(index < group->count);
    return &group->cores[index]->shard;
}

/* ---- Messages */
void shard_send(struct shard *from, uint32_t to, struct message *message) {
    struct core *core = core_of(from);
    assert(to < from->group->count);
    message->from = (uint16_t)from->index;
    if (to != from->index) {
        mailbox_push(&core->to[to], message);
        core->touched |= UINT64_C(1) << to;
        return;
    }
    message->next = NULL;
    if (core->own) core->own_last->next = message;
    else core->own = message;
    core->own_last = message;
}

/* Tells those who were sent to, and wakes those who may sleep: once a turn, however many messages it were. The bit is
 * set before `asleep` is read, and the other side sets `asleep` before it reads the bits, so one of the two sees it.
 * A shard with something waiting for room stays in `touched`. */
static void tell_others(struct core *core) {
    uint64_t still = 0;
    for (uint64_t left = core->touched; left; left &= left - 1) {
        uint32_t to = (uint32_t)__builtin_ctzll(left);
        struct core *target = core->shard.group->cores[to];
        if (!mailbox_flush(&core->to[to])) still |= UINT64_C(1) << to;
        atomic_fetch_or(&target->mail, UINT64_C(1) << core->shard.index);
        if (atomic_load(&target->asleep)) io_wake(target->shard.io);
    }
    core->touched = still;
}

void shard_post(struct shard_group *group, uint32_t to, struct message *message) {
    assert(to < group->count);
    struct core *target = group->cores[to];
    message->from = 0;
    message->next = atomic_load(&target->posted);
    while (!atomic_compare_exchange_weak(&target->posted, &message->next, message)) {}
    io_wake(target->shard.io);
}

static uint32_t run_posted(struct core *core) {
    uint32_t ran = 0;
    if (!atomic_load_explicit(&core->posted, memory_order_acquire)) return 0;
    struct message *message = atomic_exchange(&core->posted, NULL), *oldest = NULL;
    for (struct message *next; message; message = next) {
        next = message->next;
        message->next = oldest;
        oldest = message;
    }
    for (struct message *next; oldest; oldest = next, ran++) {
        next = oldest->next;
        oldest->run(&core->shard, oldest);
    }
    return ran;
}

static uint32_t run_mail(struct core *core) {
    struct shard_group *group = core->shard.group;
    uint32_t ran = 0;
    if (!atomic_load_explicit(&core->mail, memory_order_relaxed)) return 0;
    for (uint64_t left = atomic_exchange(&core->mail, 0); left; left &= left - 1) {
        uint32_t from = (uint32_t)__builtin_ctzll(left), budget = TURN_MESSAGES_MAX;
        struct mailbox *box = &group->cores[from]->to[core->shard.index];
        for (struct message *message; budget && (message = mailbox_pop(box)); budget--, ran++)
            message->run(&core->shard, message);
        if (!budget) atomic_fetch_or(&core->mail, UINT64_C(1) << from); /* the rest in the next turn */
        if (mailbox_owes_wake(box)) io_wake(group->cores[from]->shard.io);
    }
    return ran;
}

/* Those that were there at the start: what they send to themselves again waits for the next round. */
static uint32_t run_own(struct core *core) {
    struct message *message = core->own;
    uint32_t ran = 0;
    core->own = NULL;
    for (struct message *next; message; message = next, ran++) {
        next = message->next;
        message->run(&core->shard, message);
    }
    return ran;
}

/* ---- Timers */
bool timer_set(struct shard *shard, struct timer *timer, time_ns at, void (*fire)(struct timer *)) {
    struct core *core = core_of(shard);
    heap_remove(&core->timers, &timer->node);
    timer->fire = fire;
    return heap_insert(&core->timers, &timer->node, at);
}

void timer_cancel(struct shard *shard, struct timer *timer) {
    heap_remove(&core_of(shard)->timers, &timer->node);
}

/* Each at most as often as there are timers now: one that is set anew for a time that has passed comes in the next turn. */
static uint32_t run_timers(struct core *core) {
    time_ns now = shard_now(&core->shard);
    uint32_t budget = core->timers.count < TURN_TIMERS_MAX ? core->timers.count : TURN_TIMERS_MAX, ran = 0;
    for (struct heap_node *first; ran < budget && (first = heap_first(&core->timers)) && first->key <= now; ran++) {
        struct timer *timer = container_of(first, struct timer, node);
        heap_remove(&core->timers, first);
        timer->fire(timer);
    }
    return ran;
}

/* ---- The end of a turn */
void turn_end(struct shard *shard, struct turn_hook *hook, void (*run)(struct turn_hook *)) {
    struct core *core = core_of(shard);
    hook->run = run;
    if (hook->queued) return;
    hook->queued = true;
    hook->next = NULL;
    if (core->hooks) core->hooks_last->next = hook;
    else core->hooks = hook;
    core->hooks_last = hook;
}

static uint32_t run_hooks(struct core *core) {
    struct turn_hook *hook = core->hooks;
    uint32_t ran = 0;
    core->hooks = NULL;
    for (struct turn_hook *next; hook; hook = next, ran++) {
        next = hook->next;
        hook->queued = false;
        hook->run(hook);
    }
    return ran;
}

/* Own messages and hooks may cause one another. All own messages run before any hook, so that a hook sees the whole turn. */
static uint32_t run_rest(struct core *core) {
    uint32_t ran = 0;
    for (uint32_t round = 0; round < TURN_ROUNDS_MAX && (core->own || core->hooks); round++)
        ran += core->own ? run_own(core) : run_hooks(core);
    return ran;
}

/* ---- The turn */
static bool has_work(const struct core *core) {
    return core->own || core->hooks || atomic_load(&core->mail) || atomic_load(&core->posted);
}

time_ns shard_next_deadline(const struct shard *shard) {
    const struct core *core = container_of(shard, const struct core, shard);
    const struct heap_node *first = heap_first(&core->timers);
    return has_work(core) ? 0 : first ? first->key : INT64_MAX;
}

/* The turn before this one, whose end is known only now, without another look at the clock: where this one began to wait.
 * Turns in which nothing ran are wake-ups, and no turns. */
static void count_turn(struct core *core) {
    time_ns now = shard_now(&core->shard), waited = core->shard.io->waited;
    time_ns took = now - (waited - core->waited) - core->turn_began;
    if (core->turn_ran > 0) {
        core->times.turns++;
        core->times.busy_ns += took > 0 ? (uint64_t)took : 0;
        histogram_add(&core->times.turn, took);
    }
    core->turn_began = now;
    core->waited = waited;
}

uint32_t shard_turn(struct shard *shard, time_ns deadline) {
    struct core *core = core_of(shard);
    if (core->touched) tell_others(core);
    atomic_store(&core->asleep, true);
    time_ns wanted = shard_next_deadline(shard); /* after `asleep`: mail that comes later than this look wakes the io */
    uint32_t ran = io_turn(shard->io, wanted < deadline ? wanted : deadline);
    atomic_store(&core->asleep, false);
    count_turn(core);
    ran += run_mail(core);
    ran += run_posted(core);
    ran += run_timers(core);
    ran += run_rest(core);
    if (core->touched) tell_others(core);
    core->turn_ran = ran;
    return ran;
}

const struct shard_times *shard_times_of(const struct shard *shard) { return &container_of(shard, const struct core, shard)->times; }

static void loop(struct shard *shard) {
    struct shard_group *group = shard->group;
    while (!atomic_load_explicit(&group->stopping, memory_order_acquire)) {
        shard_turn(shard, INT64_MAX);
        if (shard->index == 0 && atomic_exchange_explicit(&group->interrupted, false, memory_order_acq_rel) && group->on_interrupt)
            group->on_interrupt(group->interrupt_context);
    }
}

static void *thread_main(void *context) {
    loop(context);
    return NULL;
}

void shard_on_interrupt(struct shard_group *group, void (*run)(void *context), void *context) {
    group->on_interrupt = run;
    group->interrupt_context = context;
}

void shard_interrupt(struct shard_group *group) {
    atomic_store(&group->interrupted, true);
    io_wake(group->cores[0]->shard.io);
}

void shard_stop(struct shard_group *group) {
    atomic_store(&group->stopping, true);
    for (uint32_t i = 0; i < group->count; i++) io_wake(group->cores[i]->shard.io);
}

enum err shard_group_run(struct shard_group *group) {
    pthread_t threads[SHARDS_MAX];
    enum err err = ERR_NONE;
    uint32_t started = 1;
    for (; started < group->count; started++) {
        char name[sizeof "shard-4294967295"];
        if (pthread_create(&threads[started], NULL, thread_main, &group->cores[started]->shard)) {
            err = ERR_BUSY;
            shard_stop(group);
            break;
        }
        snprintf(name, sizeof name, "shard-%u", started);
        pthread_setname_np(threads[started], name);
    }
    if (!err) loop(&group->cores[0]->shard);
    for (uint32_t i = 1; i < started; i++) pthread_join(threads[i], NULL);
    return err;
}
