/* io/io_offload.c - the threads that wait for the disk and for names, so that shards need not.
 *
 * One set for the process. A thread starts when there is work and nobody idle; the last io to close ends them all.
 * Three queues: reads, and jobs that are as short and as urgent (`hot`); syncs; and jobs, which may take minutes. Jobs never
 * get the last threads, so that compaction cannot delay an acknowledgement. The queues hold their owners' operations and are
 * bounded by what those have in flight.
 *
 * Syncs go in waves: a thread takes all that wait for a device, has it begin with their data, syncs one file after the
 * other and hands them back together; what comes meanwhile is the next wave. So many small syncs share their waits and
 * wakes, which are most of what they cost. That is for a device that answers quickly. With one that is slow (or a machine
 * that is busy, where each wait is a long one) several threads sync one file each, side by side.
 */
#include "io/io_real.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_DEFAULT = 8, THREADS_MIN = 2, THREADS_MAX = 64, STACK_BYTES = 1 << 20, WAVE_MAX = 32 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    uint32_t users, threads, threads_max, jobs_running;
    uint32_t idle;   /* waiting for work, or started or signalled and not yet there to take it */
    uint32_t queued; /* reads and jobs */
    bool called;     /* for a wave that could begin: somebody will come */
    bool stopping;
    struct op_queue prompt, jobs, syncs;
    pthread_t ids[THREADS_MAX];
} offload = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

int offload_hold(uint32_t threads_max) {
    pthread_mutex_lock(&offload.lock);
    if (threads_max == 0) threads_max = THREADS_DEFAULT;
    if (threads_max < THREADS_MIN) threads_max = THREADS_MIN;
    if (threads_max > THREADS_MAX) threads_max = THREADS_MAX;
    if (threads_max > offload.threads_max) offload.threads_max = threads_max;
    offload.users++;
    pthread_mutex_unlock(&offload.lock);
    return 0;
}

void offload_drop(void) {
    pthread_mutex_lock(&offload.lock);
    assert(offload.users > 0);
    if (--offload.users > 0) {
        pthread_mutex_unlock(&offload.lock);
        return;
    }
    assert(!offload.prompt.first && !offload.jobs.first && !offload.syncs.first);
    uint32_t threads = offload.threads;
    offload.stopping = true;
    pthread_cond_broadcast(&offload.work);
    pthread_mutex_unlock(&offload.lock);
    for (uint32_t i = 0; i < threads; i++) pthread_join(offload.ids[i], NULL);
    offload.threads = offload.threads_max = 0;
    offload.stopping = false;
}

static int64_t resolve(struct io_op *op) {
    char port[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    snprintf(port, sizeof port, "%u", op->resolve.port);
    op->resolve.count = 0;
    int result = getaddrinfo(op->resolve.name, port, &hints, &found);
    if (result == EAI_SYSTEM) return -errno;
    if (result == EAI_AGAIN) return -EAGAIN;
    if (result == EAI_MEMORY) return -ENOMEM;
    if (result) return -ENOENT;
    for (struct addrinfo *at = found; at && op->resolve.count < IO_ADDRESSES_MAX; at = at->ai_next)
        if (address_from(at->ai_addr, &op->resolve.addresses[op->resolve.count])) op->resolve.count++;
    freeaddrinfo(found);
    return op->resolve.count ? (int64_t)op->resolve.count : -ENOENT;
}

static int64_t run(struct io_op *op) {
    switch (op->kind) {
    case IO_OP_READ: return file_read(op->disk.file, op->disk.data, op->disk.size, op->disk.offset);
    case IO_OP_SYNC_FS: return syncfs(op->disk.file->descriptor) < 0 ? -errno : 0;
    case IO_OP_RESOLVE: return resolve(op);
    case IO_OP_JOB: return op->job.run(op, io_files_real());
    default: never("only what waits comes to the threads");
    }
}

/* `touching` keeps the io alive until the last look at it: its owner may be closing it as soon as it has the operation. */
static void finish(struct io_real *real, struct io_op *op) {
    struct io_op *newest = atomic_load(&real->finished);
    do op->next = newest;
    while (!atomic_compare_exchange_weak(&real->finished, &newest, op));
}

static void ring(struct io_real *real) {
    if (atomic_exchange(&real->sleeping, false)) eventfd_ring(real->wake_fd);
}

static void give_back(struct io_real *real, struct io_op *op) {
    atomic_fetch_add(&real->touching, 1);
    finish(real, op);
    ring(real);
    atomic_fetch_sub(&real->touching, 1);
}

/* ---- Waves of syncs. */
static bool start_thread(void);

static int64_t monotonic_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * NS_PER_S + at.tv_nsec;
}

enum { LANES_SLOW = 4, SYNC_SLOW_NS = 500000, PROBE_EVERY = 16 };
struct sync_device {
    uint32_t waves;           /* under way */
    _Atomic int64_t sync_ns;  /* what one sync took lately */
    _Atomic uint32_t sent_on; /* by offload_is_quick */
};
static struct sync_device sync_devices[16];

/* Two devices may share a place, and so their lanes. */
static struct sync_device *device_of(const struct io_op *op) {
    uint64_t device = op->disk.file->device;
    return &sync_devices[(device ^ device >> 8) % countof(sync_devices)];
}

static bool is_slow(const struct sync_device *device) { return atomic_load_explicit(&device->sync_ns, memory_order_relaxed) > SYNC_SLOW_NS; }
static bool has_lane(const struct sync_device *device) { return device->waves < (is_slow(device) ? LANES_SLOW : 1); }

bool offload_is_quick(const struct io_op *op) {
    struct sync_device *device = device_of(op);
    return !is_slow(device) || atomic_fetch_add_explicit(&device->sent_on, 1, memory_order_relaxed) % PROBE_EVERY == 0;
}

static struct io_op *next_sync(void) {
    struct io_op *op = offload.syncs.first;
    while (op && !has_lane(device_of(op))) op = op->next;
    return op;
}

static void call_for_wave(void) {
    if (offload.called || !next_sync()) return;
    offload.called = true;
    if (offload.idle > 0) pthread_cond_signal(&offload.work);
    else if (offload.threads < offload.threads_max) (void)start_thread(); /* else the first that has time */
}

/* Those of the first device that has a lane; the others stay in their order. 0: none. */
static uint32_t take_wave(struct io_op *wave[WAVE_MAX]) {
    struct io_op *first = next_sync();
    struct op_queue rest = {0};
    uint32_t count = 0;
    if (!first) return 0;
    struct sync_device *device = device_of(first);
    uint32_t most = is_slow(device) ? 1 : WAVE_MAX;
    for (struct io_op *op; (op = op_pop(&offload.syncs));) {
        if (device_of(op) == device && count < most) wave[count++] = op;
        else op_push(&rest, op);
    }
    offload.syncs = rest;
    device->waves++;
    offload.called = false;
    call_for_wave();
    return count;
}

/* What sync_file_range says is not looked at: it only has the device begin. fdatasync is what counts. */
static void sync_wave(struct io_op *wave[WAVE_MAX], uint32_t count) {
    for (uint32_t i = 0; i < count && count > 1; i++)
        (void)sync_file_range(wave[i]->disk.file->descriptor, 0, 0, SYNC_FILE_RANGE_WRITE);
    for (uint32_t i = 0; i < count; i++)
        wave[i]->result = fdatasync(wave[i]->disk.file->descriptor) < 0 ? -errno : 0;
}

/* An operation is its owner's again as soon as it is finished; the ios are rung once all of theirs are. */
static void give_wave_back(struct io_op *wave[WAVE_MAX], uint32_t count) {
    struct io_real *reals[WAVE_MAX];
    for (uint32_t i = 0; i < count; i++) {
        reals[i] = (struct io_real *)(uintptr_t)wave[i]->backend[0];
        atomic_fetch_add(&reals[i]->touching, 1);
        finish(reals[i], wave[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        ring(reals[i]);
        atomic_fetch_sub(&reals[i]->touching, 1);
    }
}

/* Called and left with the lock held. False: there was none. */
static bool run_wave(void) {
    struct io_op *wave[WAVE_MAX];
    uint32_t count = take_wave(wave);
    if (count == 0) return false;
    struct sync_device *device = device_of(wave[0]);
    pthread_mutex_unlock(&offload.lock);
    int64_t began = monotonic_ns();
    sync_wave(wave, count);
    int64_t each = (monotonic_ns() - began) / count;
    give_wave_back(wave, count);
    pthread_mutex_lock(&offload.lock);
    int64_t before = atomic_load_explicit(&device->sync_ns, memory_order_relaxed);
    atomic_store_explicit(&device->sync_ns, before + (each - before) / 8, memory_order_relaxed);
    device->waves--;
    return true;
}

static bool job_may_run(void) {
    uint32_t reserved = offload.threads_max >= 8 ? offload.threads_max / 4 : 1;
    return offload.jobs.first && offload.jobs_running < offload.threads_max - reserved;
}

static struct io_op *take(bool *is_job) {
    struct io_op *op = op_pop(&offload.prompt);
    *is_job = !op && job_may_run();
    if (*is_job) {
        op = op_pop(&offload.jobs);
        offload.jobs_running++;
    }
    if (op) offload.queued--;
    return op;
}

static void *thread_main(void *context) {
    sigset_t all;
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&offload.lock);
    offload.idle--;
    for (;;) {
        bool is_job;
        if (run_wave()) continue; /* what came meanwhile is the next one */
        struct io_op *op = take(&is_job);
        if (!op) {
            if (offload.stopping) break;
            offload.idle++;
            pthread_cond_wait(&offload.work, &offload.lock);
            offload.idle--;
            continue;
        }
        pthread_mutex_unlock(&offload.lock);
        struct io_real *real = (struct io_real *)(uintptr_t)op->backend[0];
        op->result = run(op);
        give_back(real, op);
        pthread_mutex_lock(&offload.lock);
        if (is_job) offload.jobs_running--;
    }
    pthread_mutex_unlock(&offload.lock);
    return NULL;
}

/* False: no thread could be made. With at least one there the work is done all the same, only later. */
static bool start_thread(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    bool started = pthread_create(&offload.ids[offload.threads], &attributes, thread_main, NULL) == 0;
    pthread_attr_destroy(&attributes);
    if (started) {
        offload.threads++;
        offload.idle++;
    }
    return started;
}

void offload_submit(struct io_real *real, struct op_queue *ops) {
    struct op_queue refused = {0};
    uint32_t added = 0;
    pthread_mutex_lock(&offload.lock);
    assert(offload.users > 0);
    for (struct io_op *op; (op = op_pop(ops));) {
        op->backend[0] = (uintptr_t)real;
        if (op->kind == IO_OP_SYNC) {
            op_push(&offload.syncs, op); /* who is at work on the device takes it after that */
            continue;
        }
        op_push((op->kind == IO_OP_JOB && !op->hot) || op->kind == IO_OP_RESOLVE ? &offload.jobs : &offload.prompt, op);
        offload.queued++;
        added++;
    }
    for (uint32_t i = 0; i < added && i < offload.idle; i++) pthread_cond_signal(&offload.work);
    while (offload.idle < offload.queued && offload.threads < offload.threads_max && start_thread()) {}
    call_for_wave();
    if (offload.threads == 0) {
        refused = offload.prompt;
        for (struct io_op *op; (op = op_pop(&offload.jobs));) op_push(&refused, op);
        for (struct io_op *op; (op = op_pop(&offload.syncs));) op_push(&refused, op);
        offload.prompt = (struct op_queue){0};
        offload.queued = 0;
        offload.called = false;
    }
    pthread_mutex_unlock(&offload.lock);
    for (struct io_op *op; (op = op_pop(&refused));) {
        struct io_real *owner = (struct io_real *)(uintptr_t)op->backend[0];
        op->result = -EAGAIN;
        give_back(owner, op);
    }
}
