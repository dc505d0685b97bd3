#include "log/dir.h"
#include "base/hash.h"
#include "base/text.h"
#include "log/checkpoint.h"
#include <errno.h>
#include <string.h>

const char *const checkpoint_names[CHECKPOINT_KINDS] = {
    "recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint",
    "cleaner-offset-checkpoint"};
static const char meta_name[] = "meta.properties", meta_copy_name[] = "moldau.meta.properties", mark_name[] = ".kafka_cleanshutdown";

/* ---- meta.properties */

static enum err meta_read_one(struct io_files files, const char *folder, const char *name, struct log_dir_meta *out) {
    char path[PATH_MAX_BYTES], bytes[4096];
    struct io_file *file = NULL;
    struct meta_properties meta;
    struct checkpoint_fault fault;
    path_join(path, folder, name);
    int64_t size = files.vtable->open(files.self, &file, path, IO_READ);
    if (size < 0) return size == -ENOENT ? ERR_NOT_FOUND : err_from_errno(size);
    size = files.vtable->read(files.self, file, bytes, sizeof bytes, 0);
    io_file_drop(file);
    if (size < 0) return err_from_errno(size);
    if (size == sizeof bytes) return ERR_CORRUPT;
    enum err err = meta_properties_parse(span_of(bytes, (size_t)size), &meta, &fault);
    if (err) return err;
    if (meta.node < 0 || !meta.cluster_id[0]) return ERR_CORRUPT; /* an empty file, or its beginning */
    *out = (struct log_dir_meta){.node = meta.node, .id = meta.directory, .version = meta.version};
    static_assert(sizeof out->cluster_id == sizeof meta.cluster_id, "one bound for cluster ids");
    memcpy(out->cluster_id, meta.cluster_id, sizeof meta.cluster_id);
    return ERR_NONE;
}

static enum err meta_write(struct io_files files, const char *path, const char *name, const struct log_dir_meta *meta, time_ms now_ms) {
    char bytes[META_PROPERTIES_BYTES_MAX + 1];
    struct text text;
    struct meta_properties properties = {.version = meta->version, .node = meta->node, .directory = meta->id};
    memcpy(properties.cluster_id, meta->cluster_id, sizeof properties.cluster_id);
    text_init(&text, bytes, sizeof bytes);
    meta_properties_print(&properties, now_ms, &text);
    return text.cut ? ERR_LIMIT : file_replace(files, path, name, bytes, text.size);
}

/* The copy stands in for a file that cannot be read, never for one that is missing: a directory without
 * meta.properties was not formatted, or somebody took it away on purpose. */
enum err log_dir_meta_read(struct io_files files, const char *path, struct log_dir_meta *out) {
    enum err err = meta_read_one(files, path, meta_name, out);
    if (err != ERR_CORRUPT && err != ERR_IO) return err;
    return meta_read_one(files, path, meta_copy_name, out) == ERR_NONE ? ERR_NONE : err;
}

enum err log_dir_format(struct io_files files, const char *path, const char *cluster_id, broker_id node, struct uuid id, time_ms now_ms) {
    struct log_dir_meta meta = {.node = node, .id = id, .version = 1}, there;
    if (strlen(cluster_id) >= sizeof meta.cluster_id || node < 0) return ERR_INVALID;
    strcpy(meta.cluster_id, cluster_id);
    if (strlen(path) + 2 * NAME_MAX_BYTES >= PATH_MAX_BYTES) return ERR_LIMIT;
    int result = files.vtable->make_directory(files.self, path);
    if (result < 0 && result != -EEXIST) return err_from_errno(result);
    enum err err = log_dir_meta_read(files, path, &there);
    if (err == ERR_NONE) return ERR_EXISTS;
    if (err != ERR_NOT_FOUND) return err;
    /* The copy first: once meta.properties is there, the directory counts as formatted. */
    if ((err = meta_write(files, path, meta_copy_name, &meta, now_ms))) return err;
    if ((err = meta_write(files, path, meta_name, &meta, now_ms))) return err;
    /* The directory's own name, too. A parent that may not be opened is somebody else's care. */
    char parent[PATH_MAX_BYTES];
    strcpy(parent, path);
    char *slash = strrchr(parent, '/');
    if (!slash) strcpy(parent, ".");
    else slash[slash == parent] = 0;
    result = files.vtable->sync_directory(files.self, parent);
    if (result < 0 && result != -EACCES) return err_from_errno(result);
    return ERR_NONE;
}

struct opening {
    struct log_dirs *dirs;
    struct io_files files;
    const struct log_dirs_options *options;
    struct text why;
};

/* ---- What was found. */

struct name { const char *topic; partition_index partition; };

static uint64_t name_hash(const struct name *name) {
    return hash_bytes(name->topic, strlen(name->topic)) ^ hash_u64((uint64_t)name->partition + 1);
}

static bool found_is(const struct map_node *node, const void *key) {
    const struct found *found = container_of(node, const struct found, node);
    const struct name *name = key;
    return found->partition == name->partition && strcmp(found->topic, name->topic) == 0;
}

static struct found *find_any(const struct log_dirs *dirs, const char *topic, partition_index partition) {
    struct name name = {topic, partition};
    struct map_node *node = map_find(&dirs->found, name_hash(&name), &name);
    return node ? container_of(node, struct found, node) : NULL;
}

struct found *dirs_find(const struct log_dirs *dirs, const char *topic, partition_index partition) {
    struct found *found = find_any(dirs, topic, partition);
    return found && !atomic_load_explicit(&found->taken, memory_order_acquire) ? found : NULL;
}

struct log_dir *log_dirs_find(const struct log_dirs *dirs, const char *topic, partition_index partition) {
    struct found *found = dirs_find(dirs, topic, partition);
    return found ? found->dir : NULL;
}

int log_dirs_each_found(const struct log_dirs *dirs, int (*visit)(void *, struct log_dir *, const char *, partition_index), void *context) {
    MAP_EACH(at, &dirs->found) {
        struct found *found = MAP_EACH_ITEM(at, struct found, node);
        if (atomic_load_explicit(&found->taken, memory_order_acquire)) continue;
        int stop = visit(context, found->dir, found->topic, found->partition);
        if (stop) return stop;
    }
    return 0;
}

const struct future *dirs_next_future(const struct log_dirs *dirs, const struct future *before, const char *topic, partition_index partition) {
    const struct future *future = before ? before->next : dirs->futures;
    while (future && !(future->partition == partition && !future->is_stray && log_dir_is_online(future->dir) && strcmp(future->topic, topic) == 0)) future = future->next;
    return future;
}

static int list_future(struct log_dir *dir, const char *name) {
    char topic[NAME_MAX_BYTES + 1];
    partition_index partition;
    if (!name_future(name, topic, &partition)) return 0;
    struct arena *arena = &dir->dirs->arena;
    size_t size = strlen(name) + 1;
    struct future *future = arena_alloc(arena, sizeof *future + size);
    if (!future) return -ENOMEM;
    memcpy(future->name, name, size);
    future->dir = dir;
    future->partition = partition;
    if (!(future->topic = arena_copy(arena, topic, strlen(topic) + 1))) return -ENOMEM;
    future->next = dir->dirs->futures;
    dir->dirs->futures = future;
    return 0;
}

static const char metadata_topic[] = "__cluster_metadata";

/* metadata.log.dir, and none of log.dirs: no partitions are ever put there, and it has no mark, which Apache Kafka would
 * neither look at nor remove. */
static bool is_apart(const struct log_dir *dir) { return dir == dir->dirs->dirs + dir->dirs->data_count; }

static int list_entry(void *context, const char *name, bool is_directory) {
    struct log_dir *dir = context;
    struct log_dirs *dirs = dir->dirs;
    char topic[NAME_MAX_BYTES + 1];
    partition_index partition;
    if (!is_directory) return 0;
    /* In metadata.log.dir there is nothing but the metadata log, if it is none of log.dirs; and a log of that name elsewhere is
     * one that was there before metadata.log.dir was set. Apache Kafka looks at neither. */
    if (name_partition(name, topic, &partition) && strcmp(topic, metadata_topic) == 0) {
        if (dir != log_dirs_metadata(dirs)) return 0;
    } else if (is_apart(dir)) return 0;
    if (name_ends_with(name, "-delete")) {
        size_t size = strlen(name) + 1;
        struct away *away = arena_alloc(&dirs->arena, sizeof *away + size);
        if (!away) return -ENOMEM;
        memcpy(away->name, name, size);
        away->next = dir->away;
        dir->away = away;
        return 0;
    }
    if (name_ends_with(name, "-future")) return list_future(dir, name);
    if (name_ends_with(name, "-stray") || !name_partition(name, topic, &partition)) return 0;
    atomic_fetch_add(&dir->partitions, 1);
    struct found *found = find_any(dirs, topic, partition);
    if (found) {
        struct twin *twin = ARENA_NEW(&dirs->arena, struct twin);
        if (!twin) return -ENOMEM;
        *twin = (struct twin){dirs->twins, dir, found};
        dirs->twins = twin;
        return 0;
    }
    size_t size = strlen(topic) + 1;
    found = arena_alloc(&dirs->arena, sizeof *found + size);
    if (!found) return -ENOMEM;
    memcpy(found->topic, topic, size);
    found->partition = partition;
    found->dir = dir;
    for (int i = 0; i < CHECKPOINT_KINDS; i++) found->marks[i] = -1;
    struct name key = {found->topic, partition};
    return map_insert(&dirs->found, &found->node, name_hash(&key)) ? 0 : -ENOMEM;
}

/* ---- A partition in two directories. A process that ended between the two renames of a move leaves that (log/move.c): both
 * have all of it then. But the other one may have been written to since, while this one's directory could not be used. So the
 * one that was written to last counts, and the other gets a name that nobody takes for the partition's. */

struct newest { struct io_files files; const char *folder; log_offset base; int64_t modified_ns; };

static int look_for_newest(void *context, const char *name, bool is_directory) {
    struct newest *newest = context;
    char path[PATH_MAX_BYTES];
    struct io_stat stat;
    log_offset base;
    if (is_directory || strlen(name) != OFFSET_DIGITS + strlen(".log") || !name_offset(name, ".log", &base) || base < newest->base) return 0;
    path_join(path, newest->folder, name);
    if (newest->files.vtable->stat(newest->files.self, path, &stat) < 0) return 0;
    newest->base = base;
    newest->modified_ns = stat.modified_ns;
    return 0;
}

static struct newest newest_of(struct io_files files, const char *folder) {
    struct newest newest = {.files = files, .folder = folder, .base = -1};
    (void)files.vtable->list(files.self, folder, look_for_newest, &newest); /* what cannot be listed has nothing new */
    return newest;
}

static void settle_twin(struct opening *opening, const struct twin *twin) {
    struct found *found = twin->found;
    struct log_dir *keeps = found->dir, *gives = twin->dir;
    char name[NAME_MAX_BYTES + 1], stray[NAME_MAX_BYTES + 1], there[PATH_MAX_BYTES], here[PATH_MAX_BYTES];
    if (!log_dir_is_online(gives)) return;
    path_partition_name(name, found->topic, found->partition);
    path_join(here, keeps->path, name);
    path_join(there, gives->path, name);
    struct newest kept = newest_of(opening->files, here), given = newest_of(opening->files, there);
    bool is_newer = given.base > kept.base || (given.base == kept.base && given.modified_ns > kept.modified_ns);
    if (!log_dir_is_online(keeps) || is_newer) {
        found->dir = gives;
        gives = keeps;
    }
    if (!log_dir_is_online(gives) || !opening->options->random) return;
    /* If that fails both are looked at again with the next start; the one that is used is the newer one then, too. */
    path_away_name(stray, found->topic, found->partition, uuid_random(opening->options->random), "-stray");
    path_join(here, gives->path, name);
    path_join(there, gives->path, stray);
    if (opening->files.vtable->rename(opening->files.self, here, there) < 0) return;
    atomic_fetch_sub(&gives->partitions, 1);
}

/* A checkpoint that cannot be read is no reason not to start: without recovery points everything is verified, without
 * high watermarks they begin at the log's start and move up. */
static enum err read_marks(struct log_dir *dir, struct io_files files, enum checkpoint_kind kind) {
    struct pool *pool = dir->dirs->pool;
    struct checkpoint_offset *entries = NULL;
    struct checkpoint_fault fault;
    uint32_t count = 0;
    char path[PATH_MAX_BYTES], *bytes;
    size_t size;
    path_join(path, dir->path, checkpoint_names[kind]);
    enum err err = file_slurp(files, path, GIB(1), pool, &bytes, &size);
    /* A read that failed once may succeed: forgotten starts would show again what was deleted. */
    if (err == ERR_IO) err = file_slurp(files, path, GIB(1), pool, &bytes, &size);
    if (err) return err == ERR_NO_MEMORY ? err : ERR_NONE;
    struct arena arena;
    arena_init(&arena, pool, 0);
    err = checkpoint_offsets_parse(span_of(bytes, size), &arena, &entries, &count, &fault);
    for (uint32_t i = 0; i < count && !err; i++) {
        char topic[NAME_MAX_BYTES + 1];
        if (entries[i].topic.size > NAME_MAX_BYTES) continue;
        memcpy(topic, entries[i].topic.data, entries[i].topic.size);
        topic[entries[i].topic.size] = 0;
        struct found *found = find_any(dir->dirs, topic, entries[i].partition);
        if (found && found->dir == dir) found->marks[kind] = entries[i].offset;
        else atomic_store(&dir->deleted, 1); /* the process before did not come to take it out */
    }
    arena_destroy(&arena);
    pool_free(pool, bytes, size + 1);
    return err == ERR_NO_MEMORY ? err : ERR_NONE;
}

/* ---- The clean-shutdown mark. */

static enum err read_mark(struct log_dir *dir, struct io_files files) {
    char path[PATH_MAX_BYTES], bytes[256];
    struct io_file *file = NULL;
    path_join(path, dir->path, mark_name);
    dir->previous_epoch = -1;
    int64_t size = files.vtable->open(files.self, &file, path, IO_READ);
    if (size < 0) return size == -ENOENT ? ERR_NONE : err_from_errno(size);
    size = files.vtable->read(files.self, file, bytes, sizeof bytes, 0);
    io_file_drop(file);
    if (size < 0) return err_from_errno(size);
    dir->was_clean = true;
    dir->previous_epoch = clean_shutdown_parse(span_of(bytes, (size_t)size));
    return ERR_NONE;
}

/* Before the first write: from here on a stop that is not clean must be seen as one. */
static enum err remove_mark(struct log_dir *dir, struct io_files files) {
    char path[PATH_MAX_BYTES];
    path_join(path, dir->path, mark_name);
    int result = files.vtable->unlink(files.self, path);
    if (result < 0 && result != -ENOENT) return err_from_errno(result);
    /* Also when there was none: the process before may have been killed between a change of names and its sync, and this
     * one builds on what it sees, the mark's absence included. */
    return err_from_errno(files.vtable->sync_directory(files.self, dir->path));
}

/* ---- Opening. */

static enum err lock_dir(struct opening *opening, struct log_dir *dir) {
    char path[PATH_MAX_BYTES];
    path_join(path, dir->path, ".lock");
    int result = opening->files.vtable->open(opening->files.self, &dir->lock, path, IO_READ | IO_WRITE | IO_CREATE);
    if (result < 0) { dir->lock = NULL; return err_from_errno(result); }
    result = opening->files.vtable->lock(opening->files.self, dir->lock);
    if (result == -EAGAIN || result == -EACCES) {
        text_add(&opening->why, "%s is in use: another process holds %s", dir->path, path);
        return ERR_LOCKED;
    }
    return err_from_errno(result);
}

static enum err verify_meta(struct opening *opening, struct log_dir *dir, const struct log_dir_meta *meta) {
    struct log_dirs *dirs = opening->dirs;
    if (meta->node >= 0 && meta->node != opening->options->node) {
        text_add(&opening->why, "%s belongs to node %d, and node.id is %d", dir->path, (int)meta->node, (int)opening->options->node);
        return ERR_INVALID;
    }
    if (meta->cluster_id[0] && dirs->cluster_id[0] && strcmp(meta->cluster_id, dirs->cluster_id) != 0) {
        text_add(&opening->why, "%s belongs to cluster %s, and this one is %s", dir->path, meta->cluster_id, dirs->cluster_id);
        return ERR_INVALID;
    }
    if (meta->cluster_id[0]) strcpy(dirs->cluster_id, meta->cluster_id);
    for (struct log_dir *other = dirs->dirs; other < dir; other++) {
        if (other->lock && !uuid_is_zero(meta->id) && uuid_equal(other->id, meta->id)) {
            text_add(&opening->why, "%s and %s have the same directory.id", other->path, dir->path);
            return ERR_INVALID;
        }
    }
    dir->id = meta->id;
    return ERR_NONE;
}

/* An empty directory beside a formatted one becomes part of the node, as a disk that was replaced does. */
static bool same_meta(const struct log_dir_meta *a, const struct log_dir_meta *b) {
    return a->node == b->node && a->version == b->version && uuid_equal(a->id, b->id) && strcmp(a->cluster_id, b->cluster_id) == 0;
}

/* A file that could not be read is made anew from its copy: Apache Kafka has no second one. A copy that is missing or tells
 * something else is older than what another writer left. A disk that refuses this keeps nobody from starting. */
static void settle_meta(struct opening *opening, struct log_dir *dir, const struct log_dir_meta *meta) {
    struct log_dir_meta there;
    if (meta_read_one(opening->files, dir->path, meta_name, &there) == ERR_CORRUPT)
        (void)!meta_write(opening->files, dir->path, meta_name, meta, opening->options->now_ms);
    if (meta_read_one(opening->files, dir->path, meta_copy_name, &there) != ERR_NONE || !same_meta(&there, meta))
        (void)!meta_write(opening->files, dir->path, meta_copy_name, meta, opening->options->now_ms);
}

static enum err open_meta(struct opening *opening, struct log_dir *dir, bool is_metadata) {
    struct log_dir_meta meta;
    enum err err = log_dir_meta_read(opening->files, dir->path, &meta);
    if (err == ERR_NOT_FOUND && !is_metadata && opening->options->random && opening->dirs->cluster_id[0]) {
        struct uuid id = uuid_random(opening->options->random);
        err = log_dir_format(opening->files, dir->path, opening->dirs->cluster_id, opening->options->node, id, opening->options->now_ms);
        if (!err) err = log_dir_meta_read(opening->files, dir->path, &meta);
    }
    if (err == ERR_NOT_FOUND) text_add(&opening->why, "%s is not formatted: it has no %s", dir->path, meta_name);
    if (err == ERR_CORRUPT) text_add(&opening->why, "%s/%s is damaged, and so is its copy", dir->path, meta_name);
    if (!err) err = verify_meta(opening, dir, &meta);
    if (!err) settle_meta(opening, dir, &meta);
    return err;
}

/* The metadata directory first: it says which cluster this is. */
static struct log_dir *nth_dir(struct log_dirs *dirs, uint32_t n) {
    return &dirs->dirs[n == 0 ? dirs->metadata : n <= dirs->metadata ? n - 1 : n];
}

static enum err open_dir(struct opening *opening, struct log_dir *dir) {
    struct io_files files = opening->files;
    bool is_metadata = dir == nth_dir(opening->dirs, 0);
    struct io_stat stat;
    enum err err;
    int result = files.vtable->stat(files.self, dir->path, &stat);
    if (result == -ENOENT) {
        result = files.vtable->make_directory(files.self, dir->path);
        if (result == 0) result = files.vtable->stat(files.self, dir->path, &stat);
    }
    if (result < 0) return err_from_errno(result);
    if (!stat.is_directory) {
        text_add(&opening->why, "%s is not a directory", dir->path);
        return ERR_INVALID;
    }
    if ((err = lock_dir(opening, dir))) return err;
    if ((err = open_meta(opening, dir, is_metadata))) return err;
    if (!is_apart(dir) && (err = read_mark(dir, files))) return err;
    result = files.vtable->list(files.self, dir->path, list_entry, dir);
    if (result < 0) return err_from_errno(result);
    struct io_space space;
    atomic_store(&dir->available, UINT64_MAX);
    if (files.vtable->space(files.self, dir->path, &space) == 0) {
        atomic_store(&dir->available, space.available);
        dir->reserve_bytes = opening->options->disk_reserve_bytes;
        if (dir->reserve_bytes == UINT64_MAX) dir->reserve_bytes = space.total / 50 < GIB(1) ? space.total / 50 : GIB(1);
    }
    return ERR_NONE;
}

/* When it is known of all directories what lies in them. */
static enum err settle_dir(struct opening *opening, struct log_dir *dir) {
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) {
        enum err err = read_marks(dir, opening->files, (enum checkpoint_kind)kind);
        if (err) return err;
    }
    return remove_mark(dir, opening->files);
}

static void close_dir(struct log_dir *dir) {
    io_file_drop(dir->lock);
    dir->lock = NULL;
}

static void dirs_free(struct log_dirs *dirs) {
    for (uint32_t i = 0; i < dirs->count; i++) close_dir(&dirs->dirs[i]);
    MAP_EACH_SAFE(at, &dirs->found) map_remove(&dirs->found, &MAP_EACH_ITEM(at, struct found, node)->node);
    map_destroy(&dirs->found);
    arena_destroy(&dirs->arena);
    pool_free(dirs->pool, dirs, sizeof *dirs);
}

static bool is_same_path(const char *a, const char *b) {
    size_t a_size = strlen(a), b_size = strlen(b);
    while (a_size > 1 && a[a_size - 1] == '/') a_size--;
    while (b_size > 1 && b[b_size - 1] == '/') b_size--;
    return a_size == b_size && memcmp(a, b, a_size) == 0;
}

static enum err set_paths(struct opening *opening) {
    struct log_dirs *dirs = opening->dirs;
    const struct log_dirs_options *options = opening->options;
    uint32_t count = options->count;
    bool extra = options->metadata_path != NULL;
    for (uint32_t i = 0; i < count && extra; i++) extra = !is_same_path(options->paths[i], options->metadata_path);
    if (count + extra == 0 || count + extra > LOG_DIRS_MAX) {
        text_add(&opening->why, "log.dirs names %u directories; 1 to %d are possible", count, LOG_DIRS_MAX);
        return ERR_INVALID;
    }
    dirs->dirs = ARENA_ARRAY(&dirs->arena, count + extra, struct log_dir);
    if (!dirs->dirs) return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < count + extra; i++) {
        const char *path = i < count ? options->paths[i] : options->metadata_path;
        size_t size = strlen(path);
        if (size == 0 || size + 2 * NAME_MAX_BYTES >= PATH_MAX_BYTES) {
            text_add(&opening->why, "a path of %zu bytes in log.dirs: 1 to %d are possible", size, PATH_MAX_BYTES - 2 * NAME_MAX_BYTES - 1);
            return ERR_INVALID;
        }
        struct log_dir *dir = &dirs->dirs[i];
        dir->dirs = dirs;
        dir->previous_epoch = -1;
        dir->path = arena_copy(&dirs->arena, path, size + 1);
        if (!dir->path) return ERR_NO_MEMORY;
        while (size > 1 && dir->path[size - 1] == '/') dir->path[--size] = 0;
        if (options->metadata_path && is_same_path(path, options->metadata_path)) dirs->metadata = i;
        dirs->count++;
    }
    dirs->data_count = count;
    return ERR_NONE;
}

static bool stops_the_start(enum err err) {
    return err == ERR_LOCKED || err == ERR_INVALID || err == ERR_NO_MEMORY || err == ERR_CORRUPT || err == ERR_NOT_FOUND;
}

static enum err for_each_dir(struct opening *opening, enum err (*step)(struct opening *opening, struct log_dir *dir)) {
    struct log_dirs *dirs = opening->dirs;
    for (uint32_t n = 0; n < dirs->count; n++) {
        struct log_dir *dir = nth_dir(dirs, n);
        enum err err = log_dir_is_online(dir) ? step(opening, dir) : ERR_NONE;
        if (!err) continue;
        if (n == 0 || stops_the_start(err)) {
            if (opening->why.size == 0) text_add(&opening->why, "%s cannot be used: %s", dir->path, err_text(err));
            return err;
        }
        close_dir(dir);
        atomic_store(&dir->offline, true);
    }
    return ERR_NONE;
}

static enum err open_all(struct opening *opening) {
    struct log_dirs *dirs = opening->dirs;
    uint32_t online = 0;
    enum err err = for_each_dir(opening, open_dir);
    if (err) return err;
    for (const struct twin *twin = dirs->twins; twin; twin = twin->next) settle_twin(opening, twin);
    if ((err = for_each_dir(opening, settle_dir))) return err;
    for (uint32_t i = 0; i < dirs->data_count; i++) online += log_dir_is_online(&dirs->dirs[i]);
    dirs->clean = true;
    dirs->previous_epoch = dirs->dirs[0].previous_epoch;
    for (uint32_t i = 0; i < dirs->data_count; i++) {
        dirs->clean &= dirs->dirs[i].was_clean;
        if (dirs->dirs[i].previous_epoch != dirs->previous_epoch) dirs->previous_epoch = -1;
    }
    return online ? ERR_NONE : ERR_IO;
}

enum err log_dirs_open(struct log_dirs **out, struct io_files files, const struct log_dirs_options *options, char *why, size_t why_size) {
    enum err err;
    struct opening opening = {.files = files, .options = options};
    char nothing[1];
    text_init(&opening.why, why_size ? why : nothing, why_size ? why_size : 1);
    struct log_dirs *dirs = POOL_NEW(options->pool, struct log_dirs);
    if (!dirs) return ERR_NO_MEMORY;
    dirs->pool = options->pool;
    dirs->node = options->node;
    dirs->previous_epoch = -1;
    arena_init(&dirs->arena, options->pool, 0);
    map_init(&dirs->found, options->pool, 0, found_is);
    opening.dirs = dirs;
    if (options->cluster_id) {
        if (strlen(options->cluster_id) >= sizeof dirs->cluster_id) { err = ERR_INVALID; goto fail; }
        strcpy(dirs->cluster_id, options->cluster_id);
    }
    if ((err = set_paths(&opening))) goto fail;
    if ((err = open_all(&opening))) goto fail;
    *out = dirs;
    return ERR_NONE;
fail:
    if (opening.why.size == 0) text_add(&opening.why, "%s", err_text(err));
    dirs_free(dirs);
    return err;
}

void log_dirs_unsettled(struct log_dirs *dirs) {
    for (uint32_t i = 0; i < dirs->count; i++)
        if (!dirs->dirs[i].was_clean) atomic_store(&dirs->dirs[i].unsettled, true);
}

void log_dirs_close(struct log_dirs *dirs, struct io_files files, bool clean, broker_epoch epoch) {
    if (!dirs) return;
    for (uint32_t i = 0; i < dirs->data_count && clean; i++) {
        struct log_dir *dir = &dirs->dirs[i];
        if (!log_dir_is_online(dir) || atomic_load(&dir->unsettled)) continue;
        char bytes[64];
        struct text text;
        text_init(&text, bytes, sizeof bytes);
        clean_shutdown_print(epoch, &text);
        if (file_replace(files, dir->path, mark_name, bytes, text.size)) log_dir_fail(dir); /* then it was not clean */
    }
    dirs_free(dirs);
}

/* ---- Small questions. */
uint32_t log_dirs_count(const struct log_dirs *dirs) { return dirs->data_count; }
struct log_dir *log_dirs_at(struct log_dirs *dirs, uint32_t index) { assert(index < dirs->data_count); return &dirs->dirs[index]; }
struct log_dir *log_dirs_metadata(struct log_dirs *dirs) { return &dirs->dirs[dirs->metadata]; }
const char *log_dirs_cluster_id(const struct log_dirs *dirs) { return dirs->cluster_id; }
bool log_dirs_were_clean(const struct log_dirs *dirs) { return dirs->clean; }
broker_epoch log_dirs_previous_epoch(const struct log_dirs *dirs) { return dirs->previous_epoch; }
struct uuid log_dir_id(const struct log_dir *dir) { return dir->id; }
const char *log_dir_path(const struct log_dir *dir) { return dir->path; }
bool log_dir_is_online(const struct log_dir *dir) { return !atomic_load_explicit(&dir->offline, memory_order_acquire); }
void log_dir_fail(struct log_dir *dir) { atomic_store_explicit(&dir->offline, true, memory_order_release); }
uint64_t log_dir_available(const struct log_dir *dir) { return atomic_load_explicit(&dir->available, memory_order_relaxed); }
uint64_t log_dir_reserve(const struct log_dir *dir) { return dir->reserve_bytes; }
uint32_t log_dir_partitions(const struct log_dir *dir) { return atomic_load_explicit(&dir->partitions, memory_order_relaxed); }

struct log_dir *log_dirs_by_id(struct log_dirs *dirs, struct uuid id) {
    for (uint32_t i = 0; i < dirs->data_count; i++)
        if (uuid_equal(dirs->dirs[i].id, id)) return &dirs->dirs[i];
    return NULL;
}

void log_dir_cordon(struct log_dir *dir, bool cordoned) { atomic_store_explicit(&dir->cordoned, cordoned, memory_order_relaxed); }
bool log_dir_is_cordoned(const struct log_dir *dir) { return atomic_load_explicit(&dir->cordoned, memory_order_relaxed); }

struct log_dir *log_dirs_emptiest(struct log_dirs *dirs) {
    struct log_dir *best = NULL;
    for (uint32_t i = 0; i < dirs->data_count; i++) {
        struct log_dir *dir = &dirs->dirs[i];
        if (!log_dir_is_online(dir)) continue;
        /* The controller gives this broker nothing new when all are cordoned; what it gave before must go somewhere. */
        bool is_better = !best || (log_dir_is_cordoned(best) && !log_dir_is_cordoned(dir)) ||
                         (log_dir_is_cordoned(best) == log_dir_is_cordoned(dir) && log_dir_partitions(dir) < log_dir_partitions(best));
        if (is_better) best = dir;
    }
    return best;
}
