/* What was renamed away is removed by a job when its time has come: file.delete.delay.ms, as in Kafka. The list lives in
 * memory alone: what a stop or a crash leaves is found by its name at the next start, or when its log is opened. */
#include "log/parts.h"
#include <errno.h>
#include <string.h>

struct removal {
    struct list node;
    time_ns due;
    log_offset base;
    size_t bytes;
    char path[];
};
struct removal_job {
    struct log_job job;
    struct io_files files;
    struct removal *removal; /* owns */
};

static int remove_entry(void *context, const char *name, bool is_directory) {
    struct removal_job *r = context;
    char path[PATH_MAX_BYTES];
    if (is_directory) return 0;
    path_join(path, r->removal->path, name);
    int result = r->files.vtable->unlink(r->files.self, path);
    return result == -ENOENT ? 0 : result;
}

static enum err removal_run(struct log_job *job, struct io_files files) {
    struct removal_job *r = container_of(job, struct removal_job, job);
    const struct removal *removal = r->removal;
    int result = 0;
    if (removal->base == REMOVAL_FOLDER) {
        r->files = files;
        result = files.vtable->list(files.self, removal->path, remove_entry, r);
        if (result >= 0) result = files.vtable->remove_directory(files.self, removal->path);
    }
    for (size_t kind = 0; kind < countof(segment_endings) && removal->base >= 0; kind++) {
        char path[PATH_MAX_BYTES], ending[32];
        struct text text;
        text_init(&text, ending, sizeof ending);
        text_add(&text, "%s.deleted", segment_endings[kind]);
        path_of_offset(path, removal->path, removal->base, ending);
        int one = files.vtable->unlink(files.self, path);
        if (one < 0 && one != -ENOENT) result = one;
    }
    return result == -ENOENT ? ERR_NONE : err_from_errno(result);
}

static void removal_finish(struct log_job *job) {
    struct removal_job *r = container_of(job, struct removal_job, job);
    /* What could not be removed is found again at the next start, or when its log is opened. */
    pool_free(job->store->shard->pool, r->removal, r->removal->bytes);
    job_free(job);
}

static void removal_fire(struct timer *timer) {
    struct log_store *store = container_of(timer, struct log_store, removal_timer);
    time_ns now = io_now(store->shard->io), next = INT64_MAX;
    LIST_EACH_SAFE(at, &store->removals) {
        struct removal *removal = LIST_ITEM(at, struct removal, node);
        struct removal_job *r = removal->due <= now ? job_new(store, NULL, sizeof *r) : NULL;
        if (!r) {
            time_ns due = removal->due <= now ? now + NS_PER_S : removal->due;
            if (due < next) next = due;
            continue;
        }
        list_remove(&removal->node);
        r->removal = removal;
        r->job.run = removal_run;
        r->job.finish = removal_finish;
        job_start(&r->job);
    }
    if (next == INT64_MAX) return;
    if (!timer_set(store->shard, timer, next, removal_fire)) never("a timer fits where it was");
}

void removal_add(struct log_store *store, const char *path, log_offset base, time_ms delay) {
    size_t size = strlen(path) + 1;
    if (store->stopping) return;
    struct removal *removal = pool_alloc(store->shard->pool, sizeof *removal + size);
    if (!removal) return;
    if (delay < 0) delay = 0;
    *removal = (struct removal){.base = base, .bytes = sizeof *removal + size};
    removal->due = delay > INT64_MAX / NS_PER_MS / 4 ? INT64_MAX / 2 : io_now(store->shard->io) + delay * NS_PER_MS;
    memcpy(removal->path, path, size);
    list_push(&store->removals, &removal->node);
    time_ns due = removal->due;
    if (store->removal_timer.node.index && store->removal_timer.node.key < due) due = store->removal_timer.node.key;
    /* Without memory for the timer the next removal brings it. */
    if (!timer_set(store->shard, &store->removal_timer, due, removal_fire)) return;
}

void removal_resume(struct log_store *store) {
    for (uint32_t i = 0; i < store->dirs->count; i++) {
        struct log_dir *dir = &store->dirs->dirs[i];
        for (struct away *away = dir->away; away && log_dir_is_online(dir); away = away->next) {
            char path[PATH_MAX_BYTES];
            path_join(path, dir->path, away->name);
            removal_add(store, path, REMOVAL_FOLDER, store->options.delete_delay_ms);
        }
    }
}

void removal_free_all(struct log_store *store) {
    while (!list_is_empty(&store->removals)) {
        struct removal *removal = LIST_ITEM(list_pop(&store->removals), struct removal, node);
        pool_free(store->shard->pool, removal, removal->bytes);
    }
}
