/* The same promises, held against each backend: disk, threads, clocks. Sockets are in io_socket_test.c. */
#include "io/io_test.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct io_file *file_new(const char *name) {
    struct io_files files = io_files_real();
    struct io_file *file;
    assert_int_equal(files.vtable->open(files.self, &file, folder_path(name), IO_READ | IO_WRITE | IO_CREATE), 0);
    return file;
}

/* Pushes a synced file out of the page cache; false where the file system keeps it (then there is no cold to test). */
static bool make_cold(const char *name, struct io *io, struct io_file *file) {
    char byte;
    int descriptor = open(folder_path(name), O_RDONLY);
    assert_true(descriptor >= 0);
    fdatasync(descriptor);
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    close(descriptor);
    struct io_op op = {.kind = IO_OP_READ, .hot = true, .disk = {.file = file, .data = &byte, .size = 1}};
    return op_run(io, &op) == -EAGAIN;
}

static void disk(struct io *io, enum io_backend backend) {
    enum { SLICES = 300 };
    struct arena arena;
    struct chain chain;
    uint8_t source[SLICES * 7], back[SLICES * 7 + 10];
    folder_make();
    struct io_file *file = file_new("a");
    arena_init(&arena, &test_pool, 0);
    chain_init(&chain, &arena);
    for (size_t i = 0; i < sizeof source; i++) source[i] = (uint8_t)(i * 31);
    for (size_t i = 0; i < SLICES; i++) assert_true(chain_add_memory(&chain, source + i * 7, 7, NULL));
    struct io_op op = {.kind = IO_OP_WRITE, .disk = {.file = file, .offset = 10, .chain = &chain}};
    assert_int_equal(op_run(io, &op), sizeof source);
    op = (struct io_op){.kind = IO_OP_SYNC, .disk = {.file = file}};
    assert_int_equal(op_run(io, &op), 0);
    op = (struct io_op){.kind = IO_OP_SYNC_FS, .disk = {.file = file}};
    assert_int_equal(op_run(io, &op), 0);
    for (int hot = 0; hot < 2; hot++) {
        memset(back, 1, sizeof back);
        op = (struct io_op){.kind = IO_OP_READ, .hot = hot, .disk = {.file = file, .data = back, .size = sizeof back + 0}};
        assert_int_equal(op_run(io, &op), sizeof back);
        assert_memory_equal(back, "\0\0\0\0\0\0\0\0\0\0", 10);
        assert_memory_equal(back + 10, source, sizeof source);
    }
    op = (struct io_op){.kind = IO_OP_READ, .disk = {.file = file, .offset = sizeof back - 3, .data = back, .size = 10}};
    assert_int_equal(op_run(io, &op), 3);
    chain_clear(&chain);
    arena_destroy(&arena);
    io_file_drop(file);
    folder_remove();
}

/* A chain of more slices than one system call takes is written whole; reads give it back and are short at the end. */
TEST(backend_writes_reads_and_syncs) { each_backend(disk); }

static void cold(struct io *io, enum io_backend backend) {
    static uint8_t bytes[KIB(256)];
    folder_make();
    struct io_file *file = file_new("a");
    struct io_files files = io_files(io);
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(files.vtable->write(files.self, file, bytes, sizeof bytes, 0), sizeof bytes);
    if (make_cold("a", io, file)) {
        struct io_op op = {.kind = IO_OP_READ, .disk = {.file = file, .data = bytes, .size = sizeof bytes}};
        assert_int_equal(op_run(io, &op), sizeof bytes);
        op.hot = true;
        assert_int_equal(op_run(io, &op), sizeof bytes);
    } else {
        printf("[  SKIPPED ] cold reads: this file system does not tell\n");
    }
    io_file_drop(file);
    folder_remove();
}

/* A hot read of what was evicted says so and waits for nothing; a plain read brings it in, and then it is hot. */
TEST(backend_hot_read_tells_cold) { each_backend(cold); }

static void write_fails(struct io *io, enum io_backend backend) {
    struct io_files files = io_files(io);
    struct io_file *file;
    struct arena arena;
    struct chain chain;
    folder_make();
    io_file_drop(file_new("a"));
    assert_int_equal(files.vtable->open(files.self, &file, folder_path("a"), IO_READ), 0);
    arena_init(&arena, &test_pool, 0);
    chain_init(&chain, &arena);
    assert_true(chain_add_memory(&chain, "x", 1, NULL));
    struct io_op op = {.kind = IO_OP_WRITE, .disk = {.file = file, .chain = &chain}};
    assert_int_equal(op_run(io, &op), -EBADF);
    arena_destroy(&arena);
    io_file_drop(file);
    folder_remove();
}

/* An error of the kernel's is the operation's result. */
TEST(backend_write_error_is_the_result) { each_backend(write_fails); }

struct job { struct flagged flagged; pthread_t ran_on; struct io_file *file; sem_t *gate; };

static int64_t job_run(struct io_op *op, struct io_files files) {
    struct job *job = container_of(op, struct job, flagged.op);
    job->ran_on = pthread_self();
    if (job->gate) sem_wait(job->gate);
    return job->file ? files.vtable->write(files.self, job->file, "job", 3, 0) : 42;
}

static void jobs(struct io *io, enum io_backend backend) {
    enum { MANY = 100 };
    static struct job many[MANY];
    folder_make();
    struct io_file *file = file_new("a");
    memset(many, 0, sizeof many);
    for (int i = 0; i < MANY; i++) {
        many[i].flagged.op = (struct io_op){.kind = IO_OP_JOB, .job = {.run = job_run}};
        if (i == 50) many[i].file = file;
        flagged_submit(io, &many[i].flagged);
    }
    for (int i = 0; i < MANY; i++) {
        turn_until(io, &many[i].flagged.done);
        assert_int_equal(many[i].flagged.op.result, i == 50 ? 3 : 42);
        assert_false(pthread_equal(many[i].ran_on, pthread_self()));
    }
    struct io_files files = io_files(io);
    assert_int_equal(files.vtable->size(files.self, file), 3);
    io_file_drop(file);
    folder_remove();
}

/* Jobs run on other threads, may use files, and each comes back once with its answer. */
TEST(backend_runs_jobs_elsewhere) { each_backend(jobs); }

static void jobs_block(struct io *io, enum io_backend backend) {
    enum { MANY = 32 };
    static struct job many[MANY];
    sem_t gate;
    sem_init(&gate, 0, 0);
    folder_make();
    struct io_file *file = file_new("a");
    memset(many, 0, sizeof many);
    for (int i = 0; i < MANY; i++) {
        many[i] = (struct job){.gate = &gate, .flagged.op = {.kind = IO_OP_JOB, .job = {.run = job_run}}};
        flagged_submit(io, &many[i].flagged);
    }
    io_turn(io, 0);
    struct io_op op = {.kind = IO_OP_SYNC, .disk = {.file = file}};
    assert_int_equal(op_run(io, &op), 0);
    for (int i = 0; i < MANY; i++) assert_false(many[i].flagged.done);
    for (int i = 0; i < MANY; i++) sem_post(&gate);
    for (int i = 0; i < MANY; i++) turn_until(io, &many[i].flagged.done);
    sem_destroy(&gate);
    io_file_drop(file);
    folder_remove();
}

/* More stuck jobs than there are threads do not keep a sync from being done. */
TEST(backend_syncs_pass_stuck_jobs) { each_backend(jobs_block); }

static void *wake_later(void *context) {
    struct timespec pause = {.tv_nsec = 20 * NS_PER_MS};
    nanosleep(&pause, NULL);
    io_wake(context);
    return NULL;
}

static void wakes(struct io *io, enum io_backend backend) {
    pthread_t thread;
    for (int i = 0; i < 3; i++) {
        time_ns before = io_now_precise(io);
        assert_int_equal(pthread_create(&thread, NULL, wake_later, io), 0);
        assert_int_equal(io_turn(io, before + 8 * NS_PER_S), 0);
        assert_true(io_now_precise(io) - before < 4 * NS_PER_S);
        pthread_join(thread, NULL);
        io_turn(io, 0);
    }
    io_wake(io); /* before the wait: it ends the next one */
    assert_int_equal(io_turn(io, INT64_MAX), 0);
}

/* A wake from another thread ends a wait, also when it comes before the wait begins. */
TEST(backend_wake_ends_the_wait) { each_backend(wakes); }

static time_ns cpu_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return at.tv_sec * NS_PER_S + at.tv_nsec;
}

static void clocks(struct io *io, enum io_backend backend) {
    static const time_ns waits[] = {0, 300000, 3 * NS_PER_MS, 100 * NS_PER_MS};
    io_turn(io, 0);
    for (size_t i = 0; i < countof(waits); i++) {
        time_ns before = io_now_precise(io), cpu = cpu_ns();
        assert_int_equal(io_turn(io, before + waits[i]), 0);
        time_ns after = io_now(io);
        assert_true(after >= before + waits[i]);       /* never early: a timer that is due must be seen to be due */
        assert_true(after < before + waits[i] + NS_PER_S);
        assert_true(cpu_ns() - cpu < 20 * NS_PER_MS);
        assert_true(io_now_precise(io) >= after);
    }
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    time_ms difference = wall.tv_sec * 1000 + wall.tv_nsec / NS_PER_MS - io->vtable->wall(io);
    assert_true(difference >= -1000 && difference < 1000);
    assert_int_equal(io_now(io), io_now(io));
}

/* A turn waits until its deadline, not less, sleeps meanwhile, and reads both clocks. */
TEST(backend_waits_until_the_deadline) { each_backend(clocks); }

static void randomness(struct io *io, enum io_backend backend) {
    uint8_t first[600] = {0}, second[600] = {0};
    io_random(io, first, sizeof first);
    io_random(io, second, sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
    assert_memory_not_equal(first + 500, second + 500, 100);
}

/* Two draws differ, to their ends. */
TEST(backend_random_is_filled) { each_backend(randomness); }

static void names(struct io *io, enum io_backend backend) {
    struct io_address addresses[IO_ADDRESSES_MAX];
    char text[IO_ADDRESS_TEXT_MAX];
    struct io_op op = {.kind = IO_OP_RESOLVE, .resolve = {.name = "127.0.0.1", .port = 9092, .addresses = addresses}};
    assert_int_equal(op_run(io, &op), 1);
    assert_int_equal(op.resolve.count, 1);
    io_address_text(&addresses[0], text);
    assert_string_equal(text, "127.0.0.1:9092");
    op.resolve.name = "localhost";
    assert_true(op_run(io, &op) >= 1);
    op.resolve.name = "not a name";
    assert_true(op_run(io, &op) < 0);
}

/* Names become addresses with the port asked for; one that is none is an error. */
TEST(backend_resolves_names) { each_backend(names); }

/* From here on this process' system call `number` fails with `error`, as under a container's filter. */
static bool forbid(long number, int error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {countof(filter), filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a process of its own, where `number` is forbidden: AUTO opens epoll, io_uring says why not when it is asked for by
 * name, and waiting keeps its time. Answers 0, or the number of the check that failed. */
static int child_checks(long number, int error) {
    struct pool pool;
    struct io *io = NULL;
    pool_init(&pool, 0, 0);
    if (!forbid(number, error)) return 1;
    struct io_options options = {.backend = IO_BACKEND_AUTO, .pool = &pool};
    if (number == __NR_io_uring_setup) {
        options.backend = IO_BACKEND_URING;
        if (io_open(&io, &options) != -error) return 2;
        options.backend = IO_BACKEND_AUTO;
    } else {
        options.backend = IO_BACKEND_EPOLL;
    }
    if (io_open(&io, &options) != 0) return 3;
    if (strcmp(io->vtable->name, "epoll") != 0) return 4;
    for (time_ns wait = 0; wait < 5 * NS_PER_MS; wait += 1300000) {
        time_ns before = io_now_precise(io);
        if (io_turn(io, before + wait) != 0) return 5;
        if (io_now(io) < before + wait || io_now(io) > before + wait + NS_PER_S) return 6;
    }
    io_close(io);
    pool_destroy(&pool);
    return 0;
}

/* Under filters as containers have them: without io_uring AUTO falls back to epoll, however it is refused, and epoll does
 * without its newest call. */
TEST(backend_falls_back) {
    static const struct { long number; int error; } cases[] = {
        {__NR_io_uring_setup, ENOSYS}, {__NR_io_uring_setup, EPERM}, {__NR_io_uring_setup, EACCES},
        {__NR_epoll_pwait2, ENOSYS}, {__NR_epoll_pwait2, EPERM}};
    for (size_t i = 0; i < countof(cases); i++) {
        pid_t child = fork();
        if (child == 0) _exit(child_checks(cases[i].number, cases[i].error));
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}
