#include "sim/sim_io.h"
#include "base/hash.h"
#include <errno.h>
#include <string.h>

struct clock { time_ns true_base, local_base; int64_t wall_base_ns; int32_t rate_ppm; };

struct sim_host {
    struct sim *sim;
    struct sim_net *net;
    uint32_t number;
    struct sim_disk *disk;
    struct sim_disk_user *outside;
    struct clock clock;
    struct sim_timing timing;
    struct random random;
    struct sim_process *process;
    bool power;
};

struct sim_io;
struct pending { /* an operation that takes its time */
    struct sim_event event;
    struct list others;
    struct sim_io *io;
    struct io_op *op;
    uint64_t mark;      /* what a sync covers */
};

struct sim_io {
    struct io io; /* first */
    struct sim_net_end end;
    struct sim_process *process;
    uint32_t index;
    struct random random;
    struct list pending;
    struct io_op *done_first, **done_last; /* to be told in the next turn */
    struct sim_event turn;
    void (*take_turn)(void *context);
    time_ns (*next_deadline)(void *context);
    void *context;
    time_ns now;
    time_ms wall;
    bool woken, closed;
};

struct sim_process {
    struct sim_host *host;
    struct sim_disk_user *disk_user;
    struct sim_net_user *net_user;
    uint32_t shards;
    struct sim_io ios[SIM_SHARDS_MAX];
    struct pool pools[SIM_SHARDS_MAX];
    time_ns paused_until;
};

struct sim_timing sim_timing_default(void) {
    return (struct sim_timing){.turn_max = 20000, .disk_min = 5000, .disk_max = 500000, .sync_max = 5 * NS_PER_MS,
                               .job_max = 3 * NS_PER_MS, .stall_one_in = 2000, .stall_max = 3 * NS_PER_S};
}

/* ---- Clocks. Local time runs (1 + rate) times as fast as true time since the base. */
static time_ns local_now(const struct sim_host *host) {
    __int128 passed = sim_now(host->sim) - host->clock.true_base;
    return host->clock.local_base + (time_ns)(passed + passed * host->clock.rate_ppm / 1000000);
}

static int64_t wall_now_ns(void *context) {
    const struct sim_host *host = context;
    return host->clock.wall_base_ns + (local_now(host) - host->clock.local_base);
}

/* The first true time at which the local clock is at or past `local`. */
static time_ns true_time_of(const struct sim_host *host, time_ns local) {
    if (local <= local_now(host)) return sim_now(host->sim);
    if (local == INT64_MAX) return INT64_MAX;
    __int128 passed = (__int128)(local - host->clock.local_base) * 1000000 / (1000000 + host->clock.rate_ppm) + 1;
    __int128 at = host->clock.true_base + passed;
    return at > INT64_MAX ? INT64_MAX : (time_ns)at;
}

static void clock_rebase(struct sim_host *host) {
    struct clock now = {.true_base = sim_now(host->sim), .local_base = local_now(host), .wall_base_ns = wall_now_ns(host),
                        .rate_ppm = host->clock.rate_ppm};
    host->clock = now;
}

void sim_host_clock_step(struct sim_host *host, time_ms step_ms) {
    clock_rebase(host);
    host->clock.wall_base_ns += step_ms * NS_PER_MS;
    sim_note(host->sim, "clock step", host->number, (uint64_t)step_ms, 0);
}

void sim_host_clock_rate(struct sim_host *host, int32_t rate_ppm) {
    assert(rate_ppm > -900000 && rate_ppm < 9000000);
    clock_rebase(host);
    host->clock.rate_ppm = rate_ppm;
    sim_note(host->sim, "clock rate", host->number, (uint64_t)(int64_t)rate_ppm, 0);
}

/* ---- Turns */
static bool io_is_alive(const struct sim_io *io) {
    return !io->closed && io->process->host->process == io->process && !sim_disk_is_cut(io->process->host->disk);
}

static void turn_run(struct sim *sim, struct sim_event *event);

static void turn_at(struct sim_io *io, time_ns at) {
    struct sim *sim = io->process->host->sim;
    if (!io->take_turn || io->closed) return;
    if (at < io->process->paused_until) at = io->process->paused_until;
    if (sim_is_scheduled(&io->turn)) {
        if (io->turn.at <= at) return;
        sim_cancel(sim, &io->turn);
    }
    sim_at(sim, &io->turn, at, turn_run);
}

static void turn_soon(struct sim_io *io) {
    struct sim_host *host = io->process->host;
    turn_at(io, sim_now(host->sim) + 1 + (time_ns)random_below(&host->random, (uint64_t)host->timing.turn_max + 1));
}

static void turn_run(struct sim *sim, struct sim_event *event) {
    struct sim_io *io = container_of(event, struct sim_io, turn);
    if (!io_is_alive(io)) return;
    if (sim_now(sim) < io->process->paused_until) {
        turn_at(io, io->process->paused_until);
        return;
    }
    sim_note(sim, "turn", io->process->host->number, io->index, 0);
    io->take_turn(io->context);
    if (!io_is_alive(io)) return;
    if (io->done_first) turn_soon(io);
    time_ns deadline = io->next_deadline ? io->next_deadline(io->context) : INT64_MAX;
    if (deadline <= local_now(io->process->host)) turn_soon(io);
    else if (deadline != INT64_MAX) turn_at(io, true_time_of(io->process->host, deadline));
}

static void read_clocks(struct sim_io *io) {
    io->now = local_now(io->process->host);
    io->wall = wall_now_ns(io->process->host) / NS_PER_MS;
}

/* ---- Operations */
static void tell(struct sim_io *io, struct io_op *op, int64_t result) {
    op->result = result;
    op->next = NULL;
    *io->done_last = op;
    io->done_last = &op->next;
    turn_soon(io);
}

static time_ns time_of(struct sim_host *host, time_ns min, time_ns max) {
    if (host->timing.stall_one_in && random_chance(&host->random, 1, host->timing.stall_one_in)) max = host->timing.stall_max;
    return sim_now(host->sim) + min + (max > min ? (time_ns)random_below(&host->random, (uint64_t)(max - min)) : 0);
}

static void pending_free(struct pending *pending) {
    struct sim *sim = pending->io->process->host->sim;
    sim_cancel(sim, &pending->event);
    list_remove(&pending->others);
    pool_free(sim_pool(sim), pending, sizeof *pending);
}

static int64_t carry_out(struct pending *pending) {
    struct io_op *op = pending->op;
    struct sim_io *io = pending->io;
    switch (op->kind) {
    case IO_OP_WRITE: return sim_file_write_chain(op->disk.file, op->disk.chain, op->disk.offset);
    case IO_OP_READ: return sim_file_read(op->disk.file, op->disk.data, op->disk.size, op->disk.offset, op->hot);
    case IO_OP_SYNC: return sim_file_sync(op->disk.file, pending->mark);
    case IO_OP_SYNC_FS: return sim_file_sync_device(op->disk.file, pending->mark);
    case IO_OP_JOB:
        sim_note(io->process->host->sim, "job", io->process->host->number, io->index, 0);
        return op->job.run(op, sim_disk_files(io->process->disk_user));
    case IO_OP_RESOLVE: sim_net_submit(&io->end, op); return 0;
    default: never("sockets are the network's");
    }
}

static void pending_run(struct sim *sim, struct sim_event *event) {
    struct pending *pending = container_of(event, struct pending, event);
    struct sim_io *io = pending->io;
    struct io_op *op = pending->op;
    if (!io_is_alive(io)) return;
    /* A stopped process' own threads do not run; what the kernel does for it does. */
    if (op->kind == IO_OP_JOB && sim_now(sim) < io->process->paused_until) {
        sim_at(sim, event, io->process->paused_until, pending_run);
        return;
    }
    enum io_kind kind = op->kind;
    struct io_file *file = kind <= IO_OP_SYNC_FS ? op->disk.file : NULL;
    int64_t result = carry_out(pending);
    if (file) {
        /* A real io would have used a closed descriptor, or another file's. */
        if (atomic_load(&io_file_ref(file)->refs) == 1) never("a file was let go of under an operation");
        io_file_drop(file);
    }
    pending_free(pending);
    if (kind != IO_OP_RESOLVE) tell(io, op, result);
}

static void io_submit_(struct io *self, struct io_op *op) {
    struct sim_io *io = container_of(self, struct sim_io, io);
    struct sim_host *host = io->process->host;
    assert(!op->pending && !io->closed);
    op->pending = true;
    if (!io_is_alive(io)) return; /* the disk was cut in the middle of this turn: nothing leaves any more */
    switch (op->kind) {
    case IO_OP_ACCEPT: case IO_OP_CONNECT: case IO_OP_READABLE: case IO_OP_RECV: case IO_OP_SEND:
        sim_net_submit(&io->end, op);
        return;
    default:
        break;
    }
    struct pending *pending = POOL_NEW(sim_pool(host->sim), struct pending);
    assert(pending);
    pending->io = io;
    pending->op = op;
    list_push(&io->pending, &pending->others);
    if (op->kind == IO_OP_SYNC || op->kind == IO_OP_SYNC_FS) pending->mark = sim_file_mark(op->disk.file);
    if (op->kind <= IO_OP_SYNC_FS) {
        assert(sim_file_belongs(op->disk.file, io->process->disk_user));
        io_file_hold(op->disk.file);
    }
    time_ns max = op->kind == IO_OP_JOB || op->kind == IO_OP_RESOLVE ? host->timing.job_max
                : op->kind == IO_OP_SYNC || op->kind == IO_OP_SYNC_FS ? host->timing.sync_max : host->timing.disk_max;
    sim_at(host->sim, &pending->event, time_of(host, host->timing.disk_min, max), pending_run);
}

static uint32_t io_turn_(struct io *self, time_ns deadline) {
    struct sim_io *io = container_of(self, struct sim_io, io);
    struct sim *sim = io->process->host->sim;
    if (!io->take_turn) { /* nobody else runs the world: wait as a real one does */
        time_ns until = true_time_of(io->process->host, deadline);
        while (!io->done_first && !io->woken && sim_next(sim) <= until && sim_next(sim) != INT64_MAX)
            if (!sim_step(sim)) break;
        if (!io->done_first && !io->woken && until != INT64_MAX && until > sim_now(sim)) (void)sim_run_until(sim, until);
    }
    io->woken = false;
    read_clocks(io);
    uint32_t ran = 0;
    struct io_op *op = io->done_first;
    io->done_first = NULL;
    io->done_last = &io->done_first;
    while (op) {
        struct io_op *next = op->next;
        op->next = NULL;
        op->pending = false;
        sim_note(sim, "done", io->process->host->number, (uint64_t)op->kind, (uint64_t)op->result);
        op->done(op);
        op = next;
        ran++;
    }
    return ran;
}

static void io_wake_(struct io *self) {
    struct sim_io *io = container_of(self, struct sim_io, io);
    io->woken = true;
    turn_soon(io);
}

static time_ns io_now_(struct io *self) { return container_of(self, struct sim_io, io)->now; }
static time_ns io_now_precise_(struct io *self) { return local_now(container_of(self, struct sim_io, io)->process->host); }
static time_ms io_wall_(struct io *self) { return container_of(self, struct sim_io, io)->wall; }
static void io_random_(struct io *self, void *target, size_t size) {
    random_bytes(&container_of(self, struct sim_io, io)->random, target, size);
}
static struct io_files io_files_(struct io *self) {
    return sim_disk_files(container_of(self, struct sim_io, io)->process->disk_user);
}
static int io_listen_(struct io *self, struct io_socket **out, const struct io_address *address, int backlog, bool shared_port) {
    return sim_net_listen(&container_of(self, struct sim_io, io)->end, out, address, backlog, shared_port);
}
static int io_socket_new_(struct io *self, struct io_socket **out) {
    return sim_net_socket_new(&container_of(self, struct sim_io, io)->end, out);
}
static int io_socket_address_(struct io *self, struct io_socket *socket, struct io_address *own) {
    return sim_net_socket_address(socket, own);
}
static void io_socket_close_(struct io *self, struct io_socket *socket, bool reset) {
    if (io_is_alive(container_of(self, struct sim_io, io))) sim_net_socket_close(socket, reset);
}
static int io_socket_move_(struct io *self, struct io_socket *socket, struct io *to) {
    return sim_net_socket_move(socket, &container_of(to, struct sim_io, io)->end);
}

static void io_close_(struct io *self) {
    struct sim_io *io = container_of(self, struct sim_io, io);
    assert(list_is_empty(&io->pending) && !io->done_first);
    sim_cancel(io->process->host->sim, &io->turn);
    io->closed = true;
}

static const struct io_vtable vtable = {
    .submit = io_submit_, .turn = io_turn_, .wake = io_wake_, .now = io_now_, .now_precise = io_now_precise_,
    .wall = io_wall_, .random = io_random_, .files = io_files_, .listen = io_listen_, .socket_new = io_socket_new_,
    .socket_address = io_socket_address_, .socket_close = io_socket_close_, .socket_move = io_socket_move_,
    .close = io_close_, .name = "sim",
};

static void net_complete(struct sim_net_end *end, struct io_op *op, int64_t result) {
    tell(container_of(end, struct sim_io, end), op, result);
}

static int64_t net_file_read(struct sim_net_end *end, struct io_file *file, void *target, size_t size, uint64_t offset) {
    return sim_file_read(file, target, size, offset, true);
}

/* ---- Hosts */
struct sim_host *sim_host_new(struct sim *sim, struct sim_net *net, uint32_t number, uint64_t disk_bytes) {
    struct sim_host *host = POOL_NEW(sim_pool(sim), struct sim_host);
    assert(host);
    host->sim = sim;
    host->net = net;
    host->number = number;
    host->power = true;
    host->timing = sim_timing_default();
    random_seed(&host->random, sim_fork_seed(sim));
    host->disk = sim_disk_new(sim, number, disk_bytes);
    host->outside = sim_disk_user_new(host->disk);
    /* Some day in 2026, and an uptime of its own: nobody may take one host's clock for another's. */
    host->clock.true_base = sim_now(sim);
    host->clock.local_base = NS_PER_S + (time_ns)random_below(&host->random, 1000 * (uint64_t)NS_PER_S);
    host->clock.wall_base_ns = INT64_C(1767225600) * NS_PER_S + (int64_t)random_below(&host->random, 5 * 86400 * (uint64_t)NS_PER_S);
    sim_disk_set_wall(host->disk, wall_now_ns, host);
    return host;
}

void sim_host_free(struct sim_host *host) {
    if (!host) return;
    assert(!host->process);
    sim_disk_user_free(host->outside);
    sim_disk_free(host->disk);
    pool_free(sim_pool(host->sim), host, sizeof *host);
}

uint32_t sim_host_number(const struct sim_host *host) { return host->number; }
struct sim_disk *sim_host_disk(struct sim_host *host) { return host->disk; }
struct sim_process *sim_host_process(struct sim_host *host) { return host->process; }
void sim_host_set_timing(struct sim_host *host, const struct sim_timing *timing) { host->timing = *timing; }
struct io_files sim_host_files(struct sim_host *host) { return sim_disk_files(host->outside); }
bool sim_host_has_power(const struct sim_host *host) { return host->power; }

/* ---- Processes */
struct sim_process *sim_process_start(struct sim_host *host, uint32_t shards) {
    assert(host->power && !host->process && shards > 0 && shards <= SIM_SHARDS_MAX);
    struct sim_process *process = POOL_NEW(sim_pool(host->sim), struct sim_process);
    assert(process);
    process->host = host;
    process->shards = shards;
    process->disk_user = sim_disk_user_new(host->disk);
    process->net_user = sim_net_user_new(host->net, host->number);
    for (uint32_t i = 0; i < shards; i++) {
        struct sim_io *io = &process->ios[i];
        pool_init(&process->pools[i], 0, 256);
        pool_track(&process->pools[i]);
        io->io = (struct io){.vtable = &vtable, .pool = &process->pools[i]};
        io->end = (struct sim_net_end){.user = process->net_user, .complete = net_complete, .file_read = net_file_read};
        io->process = process;
        io->index = i;
        random_seed(&io->random, sim_fork_seed(host->sim));
        list_init(&io->pending);
        io->done_last = &io->done_first;
        read_clocks(io);
    }
    host->process = process;
    sim_note(host->sim, "process start", host->number, shards, 0);
    return process;
}

struct io *sim_process_io(struct sim_process *process, uint32_t shard) {
    assert(shard < process->shards);
    return &process->ios[shard].io;
}

struct pool *sim_process_pool(struct sim_process *process, uint32_t shard) {
    assert(shard < process->shards);
    return &process->pools[shard];
}

void sim_io_drive(struct io *self, void (*turn)(void *context), time_ns (*next_deadline)(void *context), void *context) {
    struct sim_io *io = container_of(self, struct sim_io, io);
    io->take_turn = turn;
    io->next_deadline = next_deadline;
    io->context = context;
    turn_soon(io);
}

void sim_io_nudge(struct io *self) { turn_soon(container_of(self, struct sim_io, io)); }

bool sim_process_is_stuck(const struct sim_process *process) { return sim_disk_is_cut(process->host->disk); }

void sim_process_pause(struct sim_process *process, time_ns until) {
    struct sim_host *host = process->host;
    process->paused_until = until;
    sim_note(host->sim, "process pause", host->number, (uint64_t)(until - sim_now(host->sim)), 0);
}

static void process_free(struct sim_process *process) {
    struct sim_host *host = process->host;
    for (uint32_t i = 0; i < process->shards; i++) {
        sim_cancel(host->sim, &process->ios[i].turn);
        pool_abandon(&process->pools[i]);
        pool_destroy(&process->pools[i]);
    }
    sim_net_user_free(process->net_user);
    sim_disk_user_free(process->disk_user);
    host->process = NULL;
    pool_free(sim_pool(host->sim), process, sizeof *process);
}

/* What the kernel had begun for it may have gone part of the way. */
static void operations_forget(struct sim_process *process) {
    for (uint32_t i = 0; i < process->shards; i++)
        LIST_EACH_SAFE(node, &process->ios[i].pending) {
            struct pending *pending = LIST_ITEM(node, struct pending, others);
            if (pending->op->kind == IO_OP_WRITE)
                sim_file_write_interrupted(pending->op->disk.file, pending->op->disk.chain, pending->op->disk.offset);
            pending_free(pending);
        }
}

void sim_process_kill(struct sim_process *process) {
    struct sim_host *host = process->host;
    sim_note(host->sim, "process kill", host->number, 0, 0);
    sim_count(host->sim)->crashes++;
    operations_forget(process);
    sim_net_user_kill(process->net_user);
    process_free(process);
    sim_disk_uncut(host->disk);
}

void sim_process_end(struct sim_process *process) {
    struct sim_host *host = process->host;
    sim_note(host->sim, "process end", host->number, 0, 0);
    for (uint32_t i = 0; i < process->shards; i++) {
        assert(list_is_empty(&process->ios[i].pending) && !process->ios[i].done_first);
        assert(atomic_load(&process->pools[i].used) == 0);
    }
    sim_net_user_kill(process->net_user);
    process_free(process);
}

void sim_host_power_cut(struct sim_host *host, enum sim_crash policy) {
    assert(host->power);
    sim_note(host->sim, "power cut", host->number, (uint64_t)policy, 0);
    host->power = false;
    sim_net_host_down(host->net, host->number);
    if (host->process) {
        operations_forget(host->process);
        process_free(host->process);
    }
    sim_disk_user_free(host->outside);
    sim_disk_crash(host->disk, policy);
    host->outside = sim_disk_user_new(host->disk);
}

void sim_host_power_on(struct sim_host *host) {
    assert(!host->power);
    host->power = true;
    sim_net_host_up(host->net, host->number);
    int64_t wall = wall_now_ns(host);
    host->clock = (struct clock){.true_base = sim_now(host->sim), .wall_base_ns = wall, .rate_ppm = host->clock.rate_ppm,
                                 .local_base = NS_PER_S + (time_ns)random_below(&host->random, 100 * (uint64_t)NS_PER_S)};
    sim_note(host->sim, "power on", host->number, 0, 0);
}
