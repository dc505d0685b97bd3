/* Sockets over loopback, the same promises for each backend. */
#include "io/io_test.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct pair { struct io_socket *listener, *client, *server; struct io_address at; };

static struct io_address loopback(void) {
    struct io_address address;
    assert_true(io_address_parse("127.0.0.1:0", &address));
    return address;
}

static void pair_listen(struct io *io, struct pair *pair) {
    struct io_address any = loopback();
    assert_int_equal(io->vtable->listen(io, &pair->listener, &any, 64, false), 0);
    assert_int_equal(io->vtable->socket_address(io, pair->listener, &pair->at), 0);
    assert_true(pair->at.port > 0);
}

static struct io_socket *client_connect(struct io *io, struct io_address *to) {
    struct io_socket *socket;
    assert_int_equal(io->vtable->socket_new(io, &socket), 0);
    struct io_op op = {.kind = IO_OP_CONNECT, .net = {.socket = socket, .address = to}};
    assert_int_equal(op_run(io, &op), 0);
    return socket;
}

static void pair_open(struct io *io, struct pair *pair) {
    struct io_address from, own;
    pair_listen(io, pair);
    struct flagged accept = {.op = {.kind = IO_OP_ACCEPT, .net = {.socket = pair->listener, .address = &from}}};
    flagged_submit(io, &accept);
    io_turn(io, 0); /* the listener waits before the connection comes */
    assert_false(accept.done);
    pair->client = client_connect(io, &pair->at);
    turn_until(io, &accept.done);
    assert_int_equal(accept.op.result, 0);
    pair->server = accept.op.net.accepted;
    assert_int_equal(io->vtable->socket_address(io, pair->client, &own), 0);
    assert_memory_equal(&own, &from, sizeof own);
}

static void pair_close(struct io *io, struct pair *pair) {
    io_socket_close(io, pair->client, false);
    io_socket_close(io, pair->server, false);
    io_socket_close(io, pair->listener, false);
}

static int64_t send_text(struct io *io, struct io_socket *socket, const char *text) {
    struct arena arena;
    struct chain chain;
    arena_init(&arena, &test_pool, 0);
    chain_init(&chain, &arena);
    assert_true(chain_add_memory(&chain, text, strlen(text), NULL));
    struct io_op op = {.kind = IO_OP_SEND, .net = {.socket = socket, .chain = &chain}};
    int64_t result = op_run(io, &op);
    arena_destroy(&arena);
    return result;
}

static int64_t receive(struct io *io, struct io_socket *socket, void *target, size_t size, bool hot) {
    struct io_op op = {.kind = IO_OP_RECV, .hot = hot, .net = {.socket = socket, .data = target, .size = size}};
    return op_run(io, &op);
}

static void echo(struct io *io, enum io_backend backend) {
    struct pair pair;
    char got[16];
    pair_open(io, &pair);
    for (int i = 0; i < 3; i++) {
        struct flagged readable = {.op = {.kind = IO_OP_READABLE, .net = {.socket = pair.server}}};
        flagged_submit(io, &readable);
        io_turn(io, 0);
        assert_int_equal(send_text(io, pair.client, "hello"), 5);
        turn_until(io, &readable.done);
        assert_true(readable.op.result >= 0);
        assert_int_equal(receive(io, pair.server, got, sizeof got, true), 5);
        assert_memory_equal(got, "hello", 5);
        assert_int_equal(receive(io, pair.server, got, sizeof got, true), -EAGAIN);
        assert_int_equal(send_text(io, pair.server, "back"), 4);
        assert_int_equal(receive(io, pair.client, got, sizeof got, false), 4);
        assert_memory_equal(got, "back", 4);
    }
    /* A buffer smaller than what is there: the rest comes next, without another event. */
    assert_int_equal(send_text(io, pair.client, "0123456789"), 10);
    assert_int_equal(receive(io, pair.server, got, 4, false), 4);
    assert_int_equal(receive(io, pair.server, got + 4, 6, false), 6);
    assert_memory_equal(got, "0123456789", 10);
    pair_close(io, &pair);
}

/* Bytes go both ways; READABLE comes when there are some, a hot RECV does not wait, a plain one does. */
TEST(socket_echo) { each_backend(echo); }

static void ends(struct io *io, enum io_backend backend) {
    struct pair pair;
    char got[16];
    pair_open(io, &pair);
    assert_int_equal(send_text(io, pair.client, "bye"), 3);
    io_socket_close(io, pair.client, false);
    io_turn(io, 0);
    assert_int_equal(receive(io, pair.server, got, sizeof got, false), 3);
    struct io_op op = {.kind = IO_OP_READABLE, .net = {.socket = pair.server}};
    assert_true(op_run(io, &op) >= 0);
    assert_int_equal(receive(io, pair.server, got, sizeof got, true), 0);
    assert_int_equal(receive(io, pair.server, got, sizeof got, false), 0);
    io_socket_close(io, pair.server, false);
    io_socket_close(io, pair.listener, false);
    io_turn(io, 0);

    pair_open(io, &pair);
    struct flagged recv = {.op = {.kind = IO_OP_RECV, .net = {.socket = pair.server, .data = got, .size = sizeof got}}};
    flagged_submit(io, &recv);
    io_turn(io, 0);
    io_socket_close(io, pair.client, true);
    turn_until(io, &recv.done);
    assert_int_equal(recv.op.result, -ECONNRESET);
    int64_t put = send_text(io, pair.server, "x");
    assert_true(put == -EPIPE || put == -ECONNRESET);
    io_socket_close(io, pair.server, false);
    io_socket_close(io, pair.listener, false);
    io_turn(io, 0);
}

/* A clean end is 0, after all bytes; a reset is an error, and sending then is one too and raises no signal. */
TEST(socket_end_and_reset) { each_backend(ends); }

static void refused(struct io *io, enum io_backend backend) {
    struct pair pair;
    struct io_socket *socket;
    pair_listen(io, &pair);
    io_socket_close(io, pair.listener, false);
    io_turn(io, 0);
    assert_int_equal(io->vtable->socket_new(io, &socket), 0);
    struct io_op op = {.kind = IO_OP_CONNECT, .net = {.socket = socket, .address = &pair.at}};
    assert_int_equal(op_run(io, &op), -ECONNREFUSED);
    io_socket_close(io, socket, false);
    io_turn(io, 0);
}

/* Nobody listens there: the connect says so. */
TEST(socket_connect_refused) { each_backend(refused); }

static void cancels(struct io *io, enum io_backend backend) {
    struct pair pair;
    static char big[MIB(8)], got[16];
    struct arena arena;
    struct chain chain;
    pair_open(io, &pair);
    arena_init(&arena, &test_pool, 0);
    chain_init(&chain, &arena);
    struct flagged send = {.done = true, .op = {.kind = IO_OP_SEND, .net = {.socket = pair.server, .chain = &chain}}};
    assert_true(chain_add_memory(&chain, big, sizeof big, NULL));
    for (int i = 0; i < 1000 && send.done; i++) { /* until the socket is full */
        if (i) chain_consume(&chain, (size_t)send.op.result);
        flagged_submit(io, &send);
        for (int turns = 0; turns < 3 && !send.done; turns++) io_turn(io, io_now_precise(io) + 20 * NS_PER_MS);
    }
    assert_false(send.done);
    struct flagged recv = {.op = {.kind = IO_OP_RECV, .net = {.socket = pair.server, .data = got, .size = sizeof got}}};
    struct flagged accept = {.op = {.kind = IO_OP_ACCEPT, .net = {.socket = pair.listener}}};
    struct flagged queued = {.op = {.kind = IO_OP_READABLE, .net = {.socket = pair.client}}};
    flagged_submit(io, &recv);
    flagged_submit(io, &accept);
    io_turn(io, 0);
    flagged_submit(io, &queued); /* this one has not been tried yet */
    pair_close(io, &pair);
    assert_false(recv.done || send.done || accept.done || queued.done);
    turn_until(io, &recv.done);
    turn_until(io, &send.done);
    turn_until(io, &accept.done);
    turn_until(io, &queued.done);
    assert_int_equal(recv.op.result, -ECANCELED);
    assert_int_equal(send.op.result, -ECANCELED);
    assert_int_equal(accept.op.result, -ECANCELED);
    assert_int_equal(queued.op.result, -ECANCELED);
    chain_clear(&chain);
    arena_destroy(&arena);
}

/* Closing ends what is under way on the socket, in a later turn and never within the call. */
TEST(socket_close_cancels) { each_backend(cancels); }

/* What the reader of the sending tests has got, checked against what was meant to go. */
struct reader { struct flagged flagged; struct io *io; struct io_socket *socket; uint8_t *bytes; size_t size, capacity; };

static void reader_more(struct reader *reader);
static void reader_done(struct io_op *op) {
    struct reader *reader = container_of(op, struct reader, flagged.op);
    assert_true(op->result > 0);
    reader->size += (size_t)op->result;
    if (reader->size < reader->capacity) reader_more(reader);
    else reader->flagged.done = true;
}
static void reader_more(struct reader *reader) {
    reader->flagged.op = (struct io_op){.kind = IO_OP_RECV, .done = reader_done,
        .net = {.socket = reader->socket, .data = reader->bytes + reader->size, .size = reader->capacity - reader->size}};
    io_submit(reader->io, &reader->flagged.op);
}

/* Sends all of the chain, with as many operations as it takes; COLD answers are counted and warmed by a plain read. */
static void send_all(struct io *io, struct io_socket *socket, struct chain *chain, uint32_t *cold) {
    while (chain->bytes) {
        struct io_op op = {.kind = IO_OP_SEND, .net = {.socket = socket, .chain = chain}};
        int64_t put = op_run(io, &op);
        if (put == -EAGAIN) {
            struct slice *slice = chain->first;
            assert_int_equal(slice->kind, SLICE_FILE);
            assert_true(++*cold < 100);
            void *room = malloc(slice->size);
            struct io_op read = {.kind = IO_OP_READ, .disk = {.file = (struct io_file *)(void *)slice->file.file,
                .offset = slice->file.offset, .data = room, .size = slice->size}};
            assert_int_equal(op_run(io, &read), slice->size);
            free(room);
            continue;
        }
        assert_true(put > 0);
        chain_consume(chain, (size_t)put);
    }
}

static void mixed(struct io *io, enum io_backend backend) {
    enum { PART = 700001, PARTS = 12 };
    struct io_files files = io_files(io);
    struct io_file *file;
    struct arena arena;
    struct chain chain;
    struct pair pair;
    uint32_t cold = 0;
    uint8_t *bytes = malloc(PART * PARTS), *got = malloc(PART * PARTS);
    for (size_t i = 0; i < PART * PARTS; i++) bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    folder_make();
    assert_int_equal(files.vtable->open(files.self, &file, folder_path("a"), IO_READ | IO_WRITE | IO_CREATE), 0);
    assert_int_equal(files.vtable->write(files.self, file, bytes, PART * PARTS, 0), PART * PARTS);
    assert_int_equal(files.vtable->sync_data(files.self, file), 0);
    arena_init(&arena, &test_pool, 0);
    chain_init(&chain, &arena);
    for (size_t i = 0; i < PARTS; i++) {
        size_t at = i * PART, memory = i == 5 ? PART : i * 100; /* small headers, and once a part all in memory */
        for (size_t piece = 0; piece < memory; piece += 9973)
            assert_true(chain_add_memory(&chain, bytes + at + piece, memory - piece < 9973 ? memory - piece : 9973, NULL));
        assert_true(chain_add_file(&chain, io_file_ref(file), at + memory, PART - memory));
    }
    int descriptor = open(folder_path("a"), O_RDONLY);
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    close(descriptor);
    pair_open(io, &pair);
    struct reader reader = {.io = io, .socket = pair.client, .bytes = got, .capacity = PART * PARTS};
    reader_more(&reader);
    send_all(io, pair.server, &chain, &cold);
    turn_until(io, &reader.flagged.done);
    assert_memory_equal(bytes, got, PART * PARTS);
    printf("%s: %u answers were COLD\n", io->vtable->name, cold);
    assert_true(cold <= PARTS);
    pair_close(io, &pair);
    arena_destroy(&arena);
    io_file_drop(file);
    folder_remove();
    free(bytes);
    free(got);
}

/* An answer of memory and file ranges arrives byte for byte, though the socket fills up and the file was evicted. */
TEST(socket_sends_memory_and_files) { each_backend(mixed); }

static void too_short(struct io *io, enum io_backend backend) {
    struct io_files files = io_files(io);
    struct io_file *file;
    struct arena arena;
    struct chain chain;
    struct pair pair;
    char got[8];
    folder_make();
    assert_int_equal(files.vtable->open(files.self, &file, folder_path("a"), IO_READ | IO_WRITE | IO_CREATE), 0);
    assert_int_equal(files.vtable->write(files.self, file, "1234", 4, 0), 4);
    arena_init(&arena, &test_pool, 0);
    chain_init(&chain, &arena);
    assert_true(chain_add_file(&chain, io_file_ref(file), 2, 6));
    pair_open(io, &pair);
    struct io_op op = {.kind = IO_OP_SEND, .net = {.socket = pair.server, .chain = &chain}};
    assert_int_equal(op_run(io, &op), 2);
    chain_consume(&chain, 2);
    assert_int_equal(op_run(io, &op), -EIO);
    assert_int_equal(receive(io, pair.client, got, sizeof got, false), 2);
    pair_close(io, &pair);
    chain_clear(&chain);
    arena_destroy(&arena);
    io_file_drop(file);
    folder_remove();
}

/* A file that ends before its slice does is an error, not a wait. */
TEST(socket_file_shorter_than_its_slice) { each_backend(too_short); }

static void moves(struct io *io, enum io_backend backend) {
    struct pair pair;
    char got[16];
    struct io *other = backend_open(backend);
    pair_open(io, &pair);
    assert_int_equal(send_text(io, pair.client, "before"), 6);
    assert_int_equal(receive(io, pair.server, got, sizeof got, false), 6);
    struct io *from = io, *to = other;
    for (int i = 0; i < 4; i++) { /* there and back: registrations do not pile up */
        assert_int_equal(from->vtable->socket_move(from, pair.server, to), 0);
        if (i % 2) { /* what comes meanwhile is not lost */
            assert_int_equal(send_text(io, pair.client, "mid"), 3);
        }
        struct flagged readable = {.op = {.kind = IO_OP_READABLE, .net = {.socket = pair.server}}};
        flagged_submit(to, &readable);
        io_turn(to, 0);
        if (!(i % 2)) assert_int_equal(send_text(io, pair.client, "mid"), 3);
        turn_until(to, &readable.done);
        assert_int_equal(receive(to, pair.server, got, sizeof got, true), 3);
        assert_int_equal(send_text(to, pair.server, "x"), 1);
        assert_int_equal(receive(io, pair.client, got, sizeof got, false), 1);
        struct io *swap = from;
        from = to;
        to = swap;
    }
    pair_close(io, &pair);
    io_turn(io, 0);
    io_close(other);
}

/* A socket works on with another io, in both directions and more than once. */
TEST(socket_moves_between_ios) { each_backend(moves); }

static void no_descriptors(struct io *io, enum io_backend backend) {
    struct pair pair;
    struct rlimit before, tight;
    struct io_address from;
    pair_listen(io, &pair);
    pair.client = client_connect(io, &pair.at);
    int next = dup(0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    struct io_op op = {.kind = IO_OP_ACCEPT, .net = {.socket = pair.listener, .address = &from}};
    int64_t first = op_run(io, &op), again = op_run(io, &op);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(first, -EMFILE);
    assert_int_equal(again, -EMFILE);
    assert_int_equal(op_run(io, &op), 0);
    pair.server = op.net.accepted;
    assert_int_equal(send_text(io, pair.server, "x"), 1);
    pair_close(io, &pair);
    io_turn(io, 0);
}

/* Without a free descriptor ACCEPT is an error each time it is asked; with one again, the same connection comes. */
TEST(socket_accept_without_descriptors) { each_backend(no_descriptors); }

static void shared(struct io *io, enum io_backend backend) {
    struct io_address any = loopback(), at;
    struct io_socket *first, *second, *third;
    assert_int_equal(io->vtable->listen(io, &first, &any, 8, true), 0);
    assert_int_equal(io->vtable->socket_address(io, first, &at), 0);
    assert_int_equal(io->vtable->listen(io, &second, &at, 8, true), 0);
    assert_int_equal(io->vtable->listen(io, &third, &at, 8, false), -EADDRINUSE);
    io_socket_close(io, first, false);
    io_socket_close(io, second, false);
    memset(at.ip, 0, sizeof at.ip); /* all addresses, both families where there are both */
    at.port = 0;
    assert_int_equal(io->vtable->listen(io, &first, &at, 8, false), 0);
    assert_int_equal(io->vtable->socket_address(io, first, &at), 0);
    any.port = at.port;
    second = client_connect(io, &any);
    io_socket_close(io, first, false);
    io_socket_close(io, second, false);
    io_turn(io, 0);
}

/* Two listeners share a port when both say so, else not; the wildcard takes IPv4 too. */
TEST(socket_listens) { each_backend(shared); }

static void many(struct io *io, enum io_backend backend) {
    enum { MANY = 200, ROUNDS = 5 };
    static struct io_socket *clients[MANY], *servers[MANY];
    static struct flagged readable[MANY];
    struct pair pair;
    char got[8];
    pair_listen(io, &pair);
    for (int i = 0; i < MANY; i++) {
        clients[i] = client_connect(io, &pair.at);
        struct io_op op = {.kind = IO_OP_ACCEPT, .net = {.socket = pair.listener}};
        assert_int_equal(op_run(io, &op), 0);
        servers[i] = op.net.accepted;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < MANY; i++) {
            readable[i].op = (struct io_op){.kind = IO_OP_READABLE, .net = {.socket = servers[i]}};
            flagged_submit(io, &readable[i]);
        }
        for (int i = 0; i < MANY; i += 2) assert_int_equal(send_text(io, clients[i], "ping"), 4);
        for (int i = 0; i < MANY; i += 2) turn_until(io, &readable[i].done);
        io_turn(io, 0);
        for (int i = 1; i < MANY; i += 2) assert_false(readable[i].done);
        for (int i = 1; i < MANY; i += 2) assert_int_equal(send_text(io, clients[i], "pong"), 4);
        for (int i = 0; i < MANY; i++) {
            turn_until(io, &readable[i].done);
            assert_int_equal(receive(io, servers[i], got, sizeof got, true), 4);
            assert_memory_equal(got, i % 2 ? "pong" : "ping", 4);
        }
    }
    for (int i = 0; i < MANY; i++) {
        io_socket_close(io, clients[i], false);
        io_socket_close(io, servers[i], false);
    }
    io_socket_close(io, pair.listener, false);
    io_turn(io, 0);
}

/* Of many sockets exactly those with bytes come up readable, round after round. */
TEST(socket_many_at_once) { each_backend(many); }

static uint32_t descriptors_open(void) {
    uint32_t count = 0;
    for (int descriptor = 0; descriptor < 4096; descriptor++) count += fcntl(descriptor, F_GETFD) >= 0;
    return count;
}

static void mass(struct io *io, enum io_backend backend) {
    enum { MASS = 300, IN_A_TURN = 32 };
    static struct io_socket *clients[MASS], *servers[MASS];
    static struct flagged readable[MASS];
    struct pair pair;
    char got[8];
    pair_open(io, &pair);
    uint32_t before = descriptors_open();
    for (int i = 0; i < MASS; i++) {
        clients[i] = client_connect(io, &pair.at);
        struct io_op op = {.kind = IO_OP_ACCEPT, .net = {.socket = pair.listener}};
        assert_int_equal(op_run(io, &op), 0);
        servers[i] = op.net.accepted;
        readable[i].op = (struct io_op){.kind = IO_OP_READABLE, .net = {.socket = servers[i]}};
        if (i % 2) flagged_submit(io, &readable[i]);
    }
    for (int i = 0; i < MASS; i++) {
        io_socket_close(io, clients[i], i % 3 == 0);
        io_socket_close(io, servers[i], i % 3 == 1);
    }
    /* What stays is served before they are all closed. */
    assert_true(descriptors_open() > before + MASS);
    struct flagged still = {.op = {.kind = IO_OP_RECV, .net = {.socket = pair.server, .data = got, .size = sizeof got}}};
    flagged_submit(io, &still);
    assert_int_equal(send_text(io, pair.client, "still"), 5);
    turn_until(io, &still.done);
    assert_int_equal(still.op.result, 5);
    assert_true(descriptors_open() > before);
    uint32_t left = descriptors_open();
    for (int turn = 0; left > before && turn < 2 * MASS; turn++) {
        io_turn(io, INT64_MAX); /* which waits for nothing while there are some */
        uint32_t now = descriptors_open();
        assert_true(left - now <= IN_A_TURN);
        left = now;
    }
    assert_int_equal(left, before);
    for (int i = 1; i < MASS; i += 2) {
        assert_true(readable[i].done);
        assert_int_equal(readable[i].op.result, -ECANCELED);
    }
    pair_close(io, &pair);
}

/* Hundreds that are closed at once keep nobody waiting: their descriptors go a few in each turn, until all have gone. */
TEST(socket_closed_in_masses) { each_backend(mass); }

static void scarce(struct io *io, enum io_backend backend) {
    enum { SOME = 40 };
    struct io_socket *servers[SOME];
    struct pair pair;
    struct rlimit before, low;
    pair_open(io, &pair);
    for (int i = 0; i < SOME; i++) {
        struct io_socket *client = client_connect(io, &pair.at);
        struct io_op op = {.kind = IO_OP_ACCEPT, .net = {.socket = pair.listener}};
        assert_int_equal(op_run(io, &op), 0);
        servers[i] = op.net.accepted;
        io_socket_close(io, client, true);
    }
    struct io_socket *last = client_connect(io, &pair.at);
    for (int i = 0; i < 4; i++) io_turn(io, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t)dup(0); /* the lowest free one, and so the number of those below it */
    close((int)low.rlim_cur);
    for (int i = 0; i < SOME; i++) io_socket_close(io, servers[i], true);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct io_op op = {.kind = IO_OP_ACCEPT, .net = {.socket = pair.listener}};
    int64_t result = op_run(io, &op);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(result, 0);
    io_socket_close(io, op.net.accepted, false);
    io_socket_close(io, last, false);
    pair_close(io, &pair);
}

/* A connection that comes when all descriptors are taken, some by sockets that are closed and still have theirs, gets one. */
TEST(socket_accept_finds_the_descriptors_of_closed_ones) { each_backend(scarce); }
