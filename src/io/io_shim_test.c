#include "io/io_shim.h"
#include "io/io_test.h"
#include "test.h"
#include <errno.h>
#include <string.h>

/* A small program: a job makes a file and syncs its folder; then two writes and a sync through the io. Answers the first
 * error, and closes what it opened. */
struct making { struct flagged flagged; struct io_file *file; };

static int64_t make(struct io_op *op, struct io_files files) {
    struct making *making = container_of(op, struct making, flagged.op);
    int error = files.vtable->open(files.self, &making->file, folder_path("f"), IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE);
    return error ? error : files.vtable->sync_directory(files.self, folder_path(""));
}

static int64_t program(struct io *io) {
    struct making making = {.flagged.op = {.kind = IO_OP_JOB, .job = {.run = make}}};
    struct arena arena;
    struct chain chain;
    flagged_submit(io, &making.flagged);
    turn_until(io, &making.flagged.done);
    int64_t result = making.flagged.op.result;
    arena_init(&arena, &test_pool, 0);
    for (uint64_t i = 0; i < 3 && result >= 0; i++) {
        chain_init(&chain, &arena);
        assert_true(chain_add_memory(&chain, "01234", 5, NULL) && chain_add_memory(&chain, "56789", 5, NULL));
        struct io_op op = {.kind = i < 2 ? IO_OP_WRITE : IO_OP_SYNC, .disk = {.file = making.file, .offset = i * 10, .chain = &chain}};
        result = op_run(io, &op);
        chain_clear(&chain);
    }
    arena_destroy(&arena);
    if (making.file) io_file_drop(making.file);
    return result;
}

static struct io *shim_new(struct io_shim_plan *plan) {
    struct io *inner, *io;
    pool_init(&test_pool, 0, 0);
    assert_int_equal(io_open(&inner, &(struct io_options){.backend = IO_BACKEND_EPOLL, .pool = &test_pool}), 0);
    assert_int_equal(io_shim_open(&io, inner, plan), 0);
    return io;
}
static void shim_end(struct io *io) {
    io_close(io);
    pool_destroy(&test_pool);
}

/* What is meant is counted, on the io and in its jobs; then the first, the second, ... fails, exactly that one, with the
 * error that was asked for, and the program sees it. */
TEST(shim_counts_and_fails_each) {
    struct io_shim_plan plan = {.kinds = SHIM_CHANGES, .fail_with = EIO};
    struct io *io = shim_new(&plan);
    folder_make();
    assert_int_equal(program(io), 0);
    assert_int_equal(plan.seen, 5);
    assert_int_equal(plan.counts[SHIM_OPEN], 1);
    assert_int_equal(plan.counts[SHIM_SYNC_DIRECTORY], 1);
    assert_int_equal(plan.counts[SHIM_WRITE], 2);
    assert_int_equal(plan.counts[SHIM_SYNC], 1);
    assert_int_equal(plan.counts[SHIM_JOB], 1);
    for (plan.fail_at = 1; plan.fail_at <= 5; plan.fail_at++) {
        io_shim_plan_reset(&plan);
        assert_int_equal(program(io), -EIO);
        assert_int_equal(plan.seen, plan.fail_at);
    }
    io_shim_plan_reset(&plan);
    assert_int_equal(program(io), 0);
    plan.fail_at = 2;
    plan.fail_after = true;
    io_shim_plan_reset(&plan);
    assert_int_equal(program(io), -EIO);
    assert_int_equal(program(io), -EIO);
    assert_int_equal(plan.seen, 3);
    plan.kinds = 1u << SHIM_RENAME;
    io_shim_plan_reset(&plan);
    assert_int_equal(program(io), 0);
    folder_remove();
    shim_end(io);
}

/* A torn write leaves its first bytes, over slices, through the io and blocking. */
TEST(shim_tears_writes) {
    struct io_shim_plan plan = {.kinds = 1u << SHIM_WRITE, .fail_at = 2, .fail_with = ENOSPC};
    struct io *io = shim_new(&plan);
    struct io_files real = io_files_real(), files = io_files(io);
    struct io_stat info;
    folder_make();
    for (plan.torn_bytes = 0; plan.torn_bytes <= 12; plan.torn_bytes++) {
        size_t kept = plan.torn_bytes < 10 ? plan.torn_bytes : 10;
        struct io_file *file;
        char bytes[32];
        io_shim_plan_reset(&plan);
        assert_int_equal(program(io), -ENOSPC);
        assert_int_equal(real.vtable->stat(real.self, folder_path("f"), &info), 0);
        assert_int_equal(info.size, 10 + kept);
        io_shim_plan_reset(&plan);
        assert_int_equal(files.vtable->open(files.self, &file, folder_path("f"), IO_READ | IO_WRITE | IO_TRUNCATE), 0);
        assert_int_equal(files.vtable->write(files.self, file, "0123456789", 10, 0), 10);
        assert_int_equal(files.vtable->write(files.self, file, "abcdefghij", 10, 10), -ENOSPC);
        assert_int_equal(files.vtable->read(files.self, file, bytes, 32, 0), 10 + kept);
        assert_memory_equal(bytes + 10, "abcdefghij", kept);
        io_file_drop(file);
    }
    folder_remove();
    shim_end(io);
}

/* Operations come late by the delay, and meanwhile the turn waits no longer than for them. */
TEST(shim_delays) {
    struct io_shim_plan plan = {.delay = 40 * NS_PER_MS};
    struct io *io = shim_new(&plan);
    folder_make();
    time_ns before = io_now_precise(io);
    assert_int_equal(program(io), 0);
    time_ns took = io_now_precise(io) - before;
    assert_true(took >= 4 * 39 * NS_PER_MS && took < 4 * 39 * NS_PER_MS + 2 * NS_PER_S);
    folder_remove();
    shim_end(io);
}

/* A late operation on a socket that is closed meanwhile is cancelled, and its accepted socket is not lost. */
TEST(shim_closes_sockets_with_late_operations) {
    struct io_shim_plan plan = {.delay = 50 * NS_PER_MS};
    struct io *io = shim_new(&plan);
    struct io_address any, at;
    struct io_socket *listener, *client;
    assert_true(io_address_parse("127.0.0.1:0", &any));
    assert_int_equal(io->vtable->listen(io, &listener, &any, 8, false), 0);
    assert_int_equal(io->vtable->socket_address(io, listener, &at), 0);
    assert_int_equal(io->vtable->socket_new(io, &client), 0);
    struct flagged accept = {.op = {.kind = IO_OP_ACCEPT, .net = {.socket = listener}}};
    struct flagged connect = {.op = {.kind = IO_OP_CONNECT, .net = {.socket = client, .address = &at}}};
    flagged_submit(io, &accept);
    flagged_submit(io, &connect);
    for (int i = 0; i < 10; i++) io_turn(io, 0); /* both have ended beneath, and are held back */
    assert_false(accept.done || connect.done);
    io_socket_close(io, listener, false);
    io_socket_close(io, client, false);
    turn_until(io, &accept.done);
    turn_until(io, &connect.done);
    assert_int_equal(accept.op.result, -ECANCELED);
    assert_int_equal(connect.op.result, -ECANCELED);
    shim_end(io);
}
