/* The seam without a kernel: an echo service and its clients on several hosts, under every kind of trouble. */
#include "sim/sim_io.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct sim *sim;
static struct sim_net *net;
static struct sim_host *hosts[3];

static void world_new(uint64_t seed, bool pieces) {
    sim = sim_new(seed);
    struct sim_net_options options = sim_net_options_default();
    options.pieces = pieces;
    net = sim_net_new(sim, &options);
    for (uint32_t i = 0; i < 3; i++) hosts[i] = sim_host_new(sim, net, i, 0);
}

static void world_free(void) {
    for (int i = 0; i < 3; i++) {
        if (sim_host_process(hosts[i])) sim_process_kill(sim_host_process(hosts[i]));
        sim_host_free(hosts[i]);
    }
    sim_net_free(net);
    sim_free(sim);
}

static void noted(struct io_op *op) {}

/* One operation to its end on an io that nobody drives. */
static int64_t run(struct io *io, struct io_op *op) {
    op->done = noted;
    io_submit(io, op);
    while (op->pending) assert_true(io_turn(io, INT64_MAX) > 0 || sim_next(sim) != INT64_MAX);
    return op->result;
}

static int64_t run_disk(struct io *io, enum io_kind kind, struct io_file *file, struct chain *chain, void *data, size_t size, uint64_t offset, bool hot) {
    struct io_op op = {.kind = kind, .hot = hot, .disk = {.file = file, .offset = offset, .chain = chain, .data = data, .size = size}};
    return run(io, &op);
}

/* Operations on files through the seam: written, synced, read back; a cold page is told to hot readers until somebody
 * read it; without a driver an io_turn runs the world like a real one waits. */
TEST(io_runs_file_operations) {
    world_new(1, true);
    struct sim_process *process = sim_process_start(hosts[0], 1);
    struct io *io = sim_process_io(process, 0);
    struct io_files files = io_files(io);
    struct io_file *file;
    struct arena arena;
    struct chain chain;
    char bytes[16] = {0};
    assert_int_equal(files.vtable->open(files.self, &file, "f", IO_READ | IO_WRITE | IO_CREATE), 0);
    arena_init(&arena, sim_process_pool(process, 0), 0);
    chain_init(&chain, &arena);
    assert_true(chain_add_memory(&chain, "hello ", 6, NULL) && chain_add_memory(&chain, "world", 5, NULL));
    assert_int_equal(run_disk(io, IO_OP_WRITE, file, &chain, NULL, 0, 0, false), 11);
    assert_int_equal(sim_disk_peek_durable_size(sim_host_disk(hosts[0]), "f"), -ENOENT);
    assert_int_equal(run_disk(io, IO_OP_SYNC, file, NULL, NULL, 0, 0, false), 0);
    assert_int_equal(run_disk(io, IO_OP_SYNC_FS, file, NULL, NULL, 0, 0, false), 0);
    assert_int_equal(sim_disk_peek_durable_size(sim_host_disk(hosts[0]), "f"), 11);
    assert_int_equal(run_disk(io, IO_OP_READ, file, NULL, bytes, 16, 6, true), 5);
    assert_string_equal(bytes, "world");
    time_ns before = io_now(io);
    assert_int_equal(io_turn(io, before + NS_PER_S), 0);
    assert_true(io_now(io) >= before + NS_PER_S && io_now(io) < before + NS_PER_S + 1000);
    chain_clear(&chain);
    arena_destroy(&arena);
    io_file_drop(file);
    io_close(io);
    sim_process_end(process);

    sim_host_power_cut(hosts[0], SIM_CRASH_LOSE_ALL);
    sim_host_power_on(hosts[0]);
    process = sim_process_start(hosts[0], 1);
    io = sim_process_io(process, 0);
    files = io_files(io);
    assert_int_equal(files.vtable->open(files.self, &file, "f", IO_READ), 0);
    assert_int_equal(run_disk(io, IO_OP_READ, file, NULL, bytes, 16, 0, true), -EAGAIN);
    assert_int_equal(run_disk(io, IO_OP_READ, file, NULL, bytes, 16, 0, false), 11);
    assert_int_equal(run_disk(io, IO_OP_READ, file, NULL, bytes, 16, 0, true), 11);
    io_file_drop(file);
    world_free();
}

/* A sync covers what was written before it was asked for: what is written while it runs is not promised. */
TEST(io_sync_covers_what_came_before_it) {
    int covered = 0, not_covered = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        world_new(seed, true);
        struct sim_process *process = sim_process_start(hosts[0], 1);
        struct io *io = sim_process_io(process, 0);
        struct io_files files = io_files(io);
        struct io_file *file;
        struct arena arena;
        struct chain first, second;
        arena_init(&arena, sim_process_pool(process, 0), 0);
        chain_init(&first, &arena);
        chain_init(&second, &arena);
        assert_true(chain_add_memory(&first, "a", 1, NULL) && chain_add_memory(&second, "b", 1, NULL));
        assert_int_equal(files.vtable->open(files.self, &file, "f", IO_READ | IO_WRITE | IO_CREATE), 0);
        assert_int_equal(files.vtable->sync_directory(files.self, "/"), 0);
        assert_int_equal(run_disk(io, IO_OP_WRITE, file, &first, NULL, 0, 0, false), 1);
        struct io_op sync = {.kind = IO_OP_SYNC, .done = noted, .disk = {.file = file}};
        struct io_op write = {.kind = IO_OP_WRITE, .done = noted, .disk = {.file = file, .chain = &second, .offset = 1}};
        io_submit(io, &sync);
        io_submit(io, &write);
        while (sync.pending || write.pending) io_turn(io, INT64_MAX);
        int64_t size = sim_disk_peek_durable_size(sim_host_disk(hosts[0]), "f");
        assert_true(size == 1);
        sim_process_kill(process);
        sim_host_power_cut(hosts[0], SIM_CRASH_RANDOM);
        size = sim_disk_peek_size(sim_host_disk(hosts[0]), "f");
        assert_true(size == 1 || size == 2);
        covered += size == 2;
        not_covered += size == 1;
        world_free();
    }
    assert_true(covered > 5 && not_covered > 5);
}

/* A write that is under way when the process is killed may have gone part of the way; when the disk is cut in the midst
 * of a job, nothing that the process does afterwards leaves it, and its memory is dropped as a whole. */
static int64_t job_writes(struct io_op *op, struct io_files files) {
    struct io_file *file;
    int error = files.vtable->open(files.self, &file, "job", IO_WRITE | IO_CREATE);
    if (error) return error;
    for (uint64_t i = 0; i < 10 && error >= 0; i++) error = (int)files.vtable->write(files.self, file, "0123456789", 10, i * 10);
    io_file_drop(file);
    return error;
}
TEST(io_jobs_are_cut_with_the_disk) {
    for (uint64_t n = 1; n <= 10; n++) {
        world_new(n, true);
        struct sim_process *process = sim_process_start(hosts[0], 1);
        struct io *io = sim_process_io(process, 0);
        struct io_op *op = POOL_NEW(sim_process_pool(process, 0), struct io_op);
        *op = (struct io_op){.kind = IO_OP_JOB, .done = noted, .job = {.run = job_writes}};
        sim_disk_cut_after(sim_host_disk(hosts[0]), n);
        io_submit(io, op);
        while (!sim_process_is_stuck(process)) assert_true(sim_step(sim));
        assert_true(op->result == 0 || op->result == -EIO);
        assert_true(op->pending);
        sim_process_kill(process);
        int64_t size = sim_disk_peek_size(sim_host_disk(hosts[0]), "job");
        assert_in_range(size, (n - 1) * 10, n * 10);
        world_free();
    }
}

/* ---- An echo service, driven by the world */
struct service { struct io *io; struct io_socket *listener; struct io_op accept; int accepted; };
struct conn { struct io *io; struct io_op op; struct io_socket *socket; struct arena arena; struct chain chain; char bytes[512]; bool sends; };

static void take_turn(void *io) { io_turn(io, 0); }

static void conn_done(struct io_op *op);
static void conn_recv(struct conn *conn) {
    conn->sends = false;
    conn->op = (struct io_op){.kind = IO_OP_RECV, .done = conn_done, .net = {.socket = conn->socket, .data = conn->bytes, .size = sizeof conn->bytes}};
    io_submit(conn->io, &conn->op);
}
static void conn_send(struct conn *conn) {
    conn->sends = true;
    conn->op = (struct io_op){.kind = IO_OP_SEND, .done = conn_done, .net = {.socket = conn->socket, .chain = &conn->chain}};
    io_submit(conn->io, &conn->op);
}
static void conn_done(struct io_op *op) {
    struct conn *conn = container_of(op, struct conn, op);
    if (op->result <= 0) {
        io_socket_close(conn->io, conn->socket, false);
        chain_clear(&conn->chain);
        arena_destroy(&conn->arena);
        pool_free(conn->io->pool, conn, sizeof *conn);
        return;
    }
    if (conn->sends) chain_consume(&conn->chain, (size_t)op->result);
    else {
        arena_reset(&conn->arena);
        chain_init(&conn->chain, &conn->arena);
        assert_true(chain_add_memory(&conn->chain, conn->bytes, (size_t)op->result, NULL));
    }
    if (conn->chain.bytes > 0) conn_send(conn);
    else conn_recv(conn);
}
static void service_accepted(struct io_op *op) {
    struct service *service = container_of(op, struct service, accept);
    if (op->result < 0) return;
    struct conn *conn = POOL_NEW(service->io->pool, struct conn);
    conn->io = service->io;
    conn->socket = op->net.accepted;
    arena_init(&conn->arena, conn->io->pool, 0);
    chain_init(&conn->chain, &conn->arena);
    service->accepted++;
    conn_recv(conn);
    io_submit(service->io, op);
}
static struct service *service_start(struct sim_host *host) {
    struct sim_process *process = sim_process_start(host, 1);
    struct service *service = POOL_NEW(sim_process_pool(process, 0), struct service);
    struct io_address address;
    service->io = sim_process_io(process, 0);
    sim_net_address(sim_host_number(host), 9092, &address);
    sim_io_drive(service->io, take_turn, NULL, service->io);
    assert_int_equal(service->io->vtable->listen(service->io, &service->listener, &address, 16, false), 0);
    service->accept = (struct io_op){.kind = IO_OP_ACCEPT, .done = service_accepted, .net = {.socket = service->listener}};
    io_submit(service->io, &service->accept);
    return service;
}

/* A client sends `total` bytes of a pattern and checks that the same come back, in order and once. */
struct client { struct io *io; struct io_socket *socket; struct io_op out, in; struct arena arena; struct chain chain;
                uint32_t sent, received, total; char outgoing[256], incoming[300]; int error; bool connected, over; struct io_address address; };

static char pattern(uint32_t n) { return (char)(n * 31 + n / 251); }
static void client_end(struct client *client, int error) {
    if (client->over) return;
    client->over = true;
    client->error = error;
    io_socket_close(client->io, client->socket, false);
}
static void client_send(struct client *client) {
    uint32_t size = client->total - client->sent < 256 ? client->total - client->sent : 256;
    if (size == 0) return;
    for (uint32_t i = 0; i < size; i++) client->outgoing[i] = pattern(client->sent + i);
    arena_reset(&client->arena);
    chain_init(&client->chain, &client->arena);
    assert_true(chain_add_memory(&client->chain, client->outgoing, size, NULL));
    client->out.kind = IO_OP_SEND;
    client->out.net.chain = &client->chain;
    io_submit(client->io, &client->out);
}
static void client_out(struct io_op *op) {
    struct client *client = container_of(op, struct client, out);
    if (client->over) return;
    if (op->result < 0) {
        client_end(client, (int)op->result);
        return;
    }
    if (!client->connected) {
        client->connected = true;
        io_submit(client->io, &client->in);
    } else {
        client->sent += (uint32_t)op->result;
    }
    client_send(client);
}
static void client_in(struct io_op *op) {
    struct client *client = container_of(op, struct client, in);
    if (client->over) return;
    if (op->result <= 0) {
        client_end(client, op->result ? (int)op->result : -ENODATA);
        return;
    }
    for (int64_t i = 0; i < op->result; i++) assert_int_equal(client->incoming[i], pattern(client->received + (uint32_t)i));
    client->received += (uint32_t)op->result;
    if (client->received == client->total) client_end(client, 0);
    else io_submit(client->io, op);
}
static struct client *client_start(struct sim_host *host, uint32_t to, uint32_t total) {
    struct sim_process *process = sim_process_start(host, 1);
    struct client *client = POOL_NEW(sim_process_pool(process, 0), struct client);
    client->io = sim_process_io(process, 0);
    client->total = total;
    arena_init(&client->arena, sim_process_pool(process, 0), 0);
    sim_io_drive(client->io, take_turn, NULL, client->io);
    assert_int_equal(client->io->vtable->socket_new(client->io, &client->socket), 0);
    sim_net_address(to, 9092, &client->address);
    client->out = (struct io_op){.kind = IO_OP_CONNECT, .done = client_out, .net = {.socket = client->socket, .address = &client->address}};
    client->in = (struct io_op){.kind = IO_OP_RECV, .done = client_in, .net = {.socket = client->socket, .data = client->incoming, .size = sizeof client->incoming}};
    io_submit(client->io, &client->out);
    return client;
}
static bool client_is_over(void *context) { return ((struct client *)context)->over; }

/* Bytes come back in order and once, whatever pieces they travel in, through delays and a cut that heals. The same seed
 * gives the same hash. */
static uint64_t echo(uint64_t seed) {
    world_new(seed, true);
    service_start(hosts[0]);
    struct client *client = client_start(hosts[1], 0, 200000);
    sim_run_until(sim, 10 * NS_PER_MS);
    sim_net_cut(net, 1, 0);
    sim_net_cut(net, 0, 1);
    sim_run_until(sim, sim_now(sim) + 3 * NS_PER_S);
    uint32_t held = client->received;
    sim_run_until(sim, sim_now(sim) + NS_PER_S);
    assert_int_equal(client->received, held);
    assert_true(held < 200000);
    sim_net_heal_all(net);
    assert_true(sim_run_while_not(sim, client_is_over, client, 60 * NS_PER_S));
    assert_int_equal(client->error, 0);
    assert_int_equal(client->received, 200000);
    sim_run_until(sim, sim_now(sim) + NS_PER_S);
    assert_int_equal(sim_net_connections(net), 0); /* both ends are closed and nothing is left of it */
    uint64_t hash = sim_hash(sim);
    world_free();
    return hash;
}
TEST(net_keeps_order_through_pieces_and_cuts) {
    for (uint64_t seed = 0; seed < 30; seed++) assert_true(echo(seed) == echo(seed));
    assert_true(echo(1) != echo(2));
}

/* How a connect fails: refused where nobody listens, timed out where a wire is cut or the host is down; and once the wire
 * is healed in time, it succeeds. */
TEST(net_connects_or_says_why_not) {
    struct { bool service, cut_there, cut_back, down, heal; int error; } cases[] = {
        {true, false, false, false, false, 0}, {false, false, false, false, false, -ECONNREFUSED},
        {true, true, false, false, false, -ETIMEDOUT}, {true, false, true, false, false, -ETIMEDOUT},
        {true, true, true, false, true, 0}, {false, false, false, true, false, -ETIMEDOUT},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        world_new(100 + i, true);
        if (cases[i].service) service_start(hosts[0]);
        if (cases[i].cut_there) sim_net_cut(net, 1, 0);
        if (cases[i].cut_back) sim_net_cut(net, 0, 1);
        if (cases[i].down) sim_host_power_cut(hosts[0], SIM_CRASH_RANDOM);
        struct client *client = client_start(hosts[1], 0, 10);
        sim_run_until(sim, 2 * NS_PER_S);
        if (cases[i].heal) sim_net_heal_all(net);
        assert_true(sim_run_while_not(sim, client_is_over, client, 60 * NS_PER_S));
        assert_int_equal(client->error, cases[i].error);
        if (cases[i].down) sim_host_power_on(hosts[0]);
        world_free();
    }
}

/* What the peer of a process that goes away sees: a kill ends or resets the connection soon; a power cut says nothing
 * until the peer sends to the host that came back and is reset; a cut that stays makes the sender give up; a reset of the
 * network reaches both. */
TEST(net_peers_learn_what_they_can) {
    for (int how = 0; how < 4; how++) {
        world_new(200 + (uint64_t)how, true);
        service_start(hosts[0]);
        struct client *client = client_start(hosts[1], 0, 4000000);
        sim_run_until(sim, 50 * NS_PER_MS);
        assert_true(client->received > 0 && !client->over);
        time_ns before = sim_now(sim);
        if (how == 0) sim_process_kill(sim_host_process(hosts[0]));
        if (how == 1) {
            sim_host_power_cut(hosts[0], SIM_CRASH_RANDOM);
            sim_run_until(sim, before + 2 * NS_PER_S);
            assert_false(client->over);
            sim_host_power_on(hosts[0]);
        }
        if (how == 2) sim_net_cut(net, 1, 0);
        if (how == 3) assert_int_equal(sim_net_reset(net, 0, 1), 1);
        assert_true(sim_run_while_not(sim, client_is_over, client, 60 * NS_PER_S));
        time_ns took = sim_now(sim) - before;
        if (how == 0) assert_true(client->error == -ECONNRESET || client->error == -ENODATA);
        else assert_int_equal(client->error, how == 2 ? -ETIMEDOUT : -ECONNRESET);
        if (how == 0 || how == 3) assert_true(took < 100 * NS_PER_MS);
        if (how == 2) assert_true(took >= 14 * NS_PER_S);
        world_free();
    }
}

/* A process that is stopped does nothing, keeps its connections, and goes on afterwards. */
TEST(process_stops_and_goes_on) {
    world_new(300, true);
    service_start(hosts[0]);
    struct client *client = client_start(hosts[1], 0, 100000);
    sim_run_until(sim, 5 * NS_PER_MS);
    sim_process_pause(sim_host_process(hosts[0]), sim_now(sim) + 3600 * NS_PER_S);
    sim_run_until(sim, sim_now(sim) + 3599 * NS_PER_S);
    assert_false(client->over);
    assert_true(sim_run_while_not(sim, client_is_over, client, 60 * NS_PER_S));
    assert_int_equal(client->error, 0);
    world_free();
}

/* Names: a host's, several of one name, literals, the own host, none. */
TEST(net_resolves_names) {
    world_new(400, true);
    struct sim_process *process = sim_process_start(hosts[0], 1);
    struct io *io = sim_process_io(process, 0);
    struct io_address addresses[IO_ADDRESSES_MAX], expected;
    struct { const char *name; int64_t count; } cases[] = {{"broker", 2}, {"10.0.0.3", 1}, {"localhost", 1}, {"nobody", -ENOENT}};
    assert_true(sim_net_name(net, "broker", 1) && sim_net_name(net, "broker", 2));
    for (size_t i = 0; i < countof(cases); i++) {
        struct io_op op = {.kind = IO_OP_RESOLVE, .resolve = {.name = cases[i].name, .port = 77, .addresses = addresses}};
        assert_int_equal(run(io, &op), cases[i].count);
        sim_net_address(2, 77, &expected);
        if (i < 2) assert_memory_equal(&addresses[cases[i].count - 1], &expected, sizeof expected);
    }
    world_free();
}

/* The clocks of a host: the wall steps and nothing else does; a fast clock meets a deadline early in true time. */
TEST(clocks_step_and_drift_apart) {
    world_new(500, true);
    struct io *a = sim_process_io(sim_process_start(hosts[0], 1), 0), *b = sim_process_io(sim_process_start(hosts[1], 1), 0);
    sim_host_clock_rate(hosts[0], 100000);
    time_ns a0 = io_now_precise(a), b0 = io_now_precise(b), true0 = sim_now(sim);
    io_turn(a, a0 + 11 * NS_PER_S);
    assert_in_range(sim_now(sim) - true0, 10 * NS_PER_S, 10 * NS_PER_S + 10);
    assert_in_range(io_now_precise(b) - b0, 10 * NS_PER_S, 10 * NS_PER_S + 10);
    io_turn(b, 0);
    time_ms wall = io_wall(b);
    time_ns now = io_now(b);
    sim_host_clock_step(hosts[1], -1000000);
    io_turn(b, 0);
    assert_int_equal(io_wall(b), wall - 1000000);
    assert_int_equal(io_now(b), now);
    world_free();
}
