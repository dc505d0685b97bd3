/* Strays: partitions that were found and that the metadata do not know. Kept, under a name that no log has. */
#include "log/parts.h"

struct stray { struct stray *next; struct log_dir *dir; char from[PATH_MAX_BYTES], to[PATH_MAX_BYTES]; };
struct stray_job {
    struct log_job job;
    struct stray *first;          /* in the job's pool */
};

static bool stray_add(struct stray_job *s, struct log_dir *dir, const char *name, const char *topic, partition_index partition) {
    struct stray *stray = pool_alloc(&s->job.pool, sizeof *stray);
    char to[NAME_MAX_BYTES + 1];
    if (!stray) return false; /* the next start finds it again */
    path_away_name(to, topic, partition, uuid_random(&s->job.store->random), "-stray");
    path_join(stray->from, dir->path, name);
    path_join(stray->to, dir->path, to);
    stray->dir = dir;
    stray->next = s->first;
    s->first = stray;
    atomic_fetch_add(&dir->straying, 1);
    return true;
}

/* One whose rename fails stays as it is, and nobody looks at it. */
static enum err stray_run(struct log_job *job, struct io_files files) {
    const struct stray_job *s = container_of(job, struct stray_job, job);
    struct log_dirs *dirs = job->store->dirs;
    for (const struct stray *stray = s->first; stray; stray = stray->next) (void)files.vtable->rename(files.self, stray->from, stray->to);
    for (uint32_t i = 0; i < dirs->count; i++)
        if (atomic_load(&dirs->dirs[i].straying) > 0) (void)files.vtable->sync_directory(files.self, dirs->dirs[i].path);
    return ERR_NONE;
}

static void stray_finish(struct log_job *job) {
    struct stray_job *s = container_of(job, struct stray_job, job);
    struct log_store *store = job->store;
    while (s->first) {
        struct stray *stray = s->first;
        s->first = stray->next;
        atomic_fetch_add(&stray->dir->deleted, 1); /* its lines in the checkpoints are nobody's now */
        atomic_fetch_sub(&stray->dir->straying, 1);
        pool_free(&job->pool, stray, sizeof *stray);
    }
    dirs_mark_all_dirty(store->dirs);
    job_free(job);
}

uint32_t log_store_strays(struct log_store *store, bool (*is_stray)(void *context, const char *topic, partition_index partition), void *context) {
    struct stray_job *s = store->stopping ? NULL : job_new(store, NULL, sizeof *s);
    uint32_t count = 0;
    if (!s) return 0;
    s->job.run = stray_run;
    s->job.finish = stray_finish;
    MAP_EACH(at, &store->dirs->found) {
        struct found *found = MAP_EACH_ITEM(at, struct found, node);
        char name[NAME_MAX_BYTES + 1];
        bool taken = atomic_load(&found->taken);
        if (taken || !log_dir_is_online(found->dir) || !is_stray(context, found->topic, found->partition)) continue;
        /* Another shard may just now learn of a topic of this name. */
        if (!atomic_compare_exchange_strong(&found->taken, &taken, true)) continue;
        path_partition_name(name, found->topic, found->partition);
        if (!stray_add(s, found->dir, name, found->topic, found->partition)) continue;
        atomic_fetch_sub(&found->dir->partitions, 1);
        count++;
    }
    for (struct future *future = store->dirs->futures; future; future = future->next) {
        if (!log_dir_is_online(future->dir) || !is_stray(context, future->topic, future->partition)) continue;
        if (!stray_add(s, future->dir, future->name, future->topic, future->partition)) continue;
        future->is_stray = true;
        count++;
    }
    if (count > 0) job_start(&s->job);
    else job_free(&s->job);
    return count;
}
