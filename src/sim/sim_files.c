/* What programs can call on a simulated disk: paths, open files, locks, faults and the moment of a cut. */
#include "sim/sim_disk_inner.h"
#include "base/hash.h"
#include <errno.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

/* ---- Whether an operation may happen */
static bool rule_matches(const struct fault_rule *rule, unsigned operation, const char *path) {
    if (!rule->stands || !(rule->fault.operations & operation)) return false;
    return !rule->fault.path_part || (path && strstr(path, rule->fault.path_part));
}

static void count_fault(struct sim_disk *disk, const char *path) {
    sim_count(disk->sim)->faults++;
    if (disk->on_fault) disk->on_fault(disk->on_fault_context, path);
}

/* The error that a rule or the seed wants here; 0: none. */
static int fault_of(struct sim_disk *disk, unsigned operation, const char *path) {
    for (uint32_t i = 0; i < SIM_DISK_FAULTS_MAX; i++) {
        struct fault_rule *rule = &disk->rules[i];
        if (!rule_matches(rule, operation, path)) continue;
        uint64_t n = rule->met++;
        if (n < rule->fault.skip || (rule->fault.times && n >= rule->fault.skip + rule->fault.times)) continue;
        sim_note(disk->sim, "disk fault", disk->where, operation, (uint64_t)-rule->fault.error);
        count_fault(disk, path);
        if (rule->fault.failed) rule->fault.failed(rule->fault.context, operation, path);
        return rule->fault.error;
    }
    uint32_t one_in = operation == SIM_DISK_READ ? disk->trouble.read_one_in
                    : operation == SIM_DISK_WRITE ? disk->trouble.write_one_in
                    : operation == SIM_DISK_SYNC ? disk->trouble.sync_one_in : 0;
    if (one_in == 0 || !random_chance(&disk->random, 1, one_in)) return 0;
    sim_note(disk->sim, "disk trouble", disk->where, operation, 0);
    count_fault(disk, path);
    return -EIO;
}

/* For changing operations: counted, and cut when the moment has come. `first_cut` says that it is this one. */
static bool may_change(struct sim_disk *disk, bool *first_cut) {
    *first_cut = false;
    if (disk->cut) return false;
    if (disk->operations++ < disk->cut_at) return true;
    disk->cut = true;
    *first_cut = true;
    sim_note(disk->sim, "disk cut", disk->where, disk->operations, 0);
    return false;
}

void sim_disk_cut_after(struct sim_disk *disk, uint64_t operations) {
    disk->cut_at = operations == UINT64_MAX ? UINT64_MAX : disk->operations + operations;
}

void sim_disk_uncut(struct sim_disk *disk) {
    disk->cut = false;
    disk->cut_at = UINT64_MAX;
}

bool sim_disk_is_cut(const struct sim_disk *disk) { return disk->cut; }
uint64_t sim_disk_operations(const struct sim_disk *disk) { return disk->operations; }

void sim_disk_fail(struct sim_disk *disk, const struct sim_disk_fault *fault) {
    for (uint32_t i = 0; i < SIM_DISK_FAULTS_MAX; i++) {
        if (disk->rules[i].stands) continue;
        disk->rules[i] = (struct fault_rule){.fault = *fault, .stands = true};
        return;
    }
    never("more fault rules than SIM_DISK_FAULTS_MAX");
}

uint64_t sim_disk_met(const struct sim_disk *disk) { return disk->rules[0].met; }

void sim_disk_trouble(struct sim_disk *disk, struct sim_disk_trouble trouble) { disk->trouble = trouble; }

void sim_disk_heal_path(struct sim_disk *disk, const char *path_part) {
    for (uint32_t i = 0; i < SIM_DISK_FAULTS_MAX; i++)
        if (disk->rules[i].fault.path_part == path_part) disk->rules[i] = (struct fault_rule){0};
}

void sim_disk_set_devices(struct sim_disk *disk) { disk->has_devices = true; }

void sim_disk_on_fault(struct sim_disk *disk, void (*on_fault)(void *context, const char *path), void *context) {
    disk->on_fault = on_fault;
    disk->on_fault_context = context;
}

void sim_disk_heal(struct sim_disk *disk) {
    memset(disk->rules, 0, sizeof disk->rules);
    disk->trouble = (struct sim_disk_trouble){0};
}

/* ---- Paths: from the root, whether they begin with a slash or not. */
static const char *next_name(const char *path, char name[SIM_NAME_MAX + 1], int *error) {
    for (;;) {
        while (*path == '/') path++;
        if (!*path) return NULL;
        size_t size = strcspn(path, "/");
        if (size > SIM_NAME_MAX) return *error = -ENAMETOOLONG, NULL;
        memcpy(name, path, size);
        name[size] = 0;
        path += size;
        if (strcmp(name, ".") != 0) return path;
    }
}

/* To the directory that holds the last name of the path, and that name. A path without a name is the root itself. */
static int walk(struct sim_disk *disk, const char *path, bool durable, struct inode **directory, char name[SIM_NAME_MAX + 1]) {
    struct inode *at = disk->root;
    char next[SIM_NAME_MAX + 1];
    int error = 0;
    name[0] = 0;
    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        const char *rest = next_name(path, next, &error);
        if (error) return error;
        if (!rest) {
            *directory = at;
            return 0;
        }
        if (name[0]) {
            at = names_find(durable ? &at->kept_names : &at->seen_names, name);
            if (!at) return -ENOENT;
            if (!at->is_directory) return -ENOTDIR;
        }
        memcpy(name, next, sizeof next);
        path = rest;
    }
    return -ELOOP;
}

static int find(struct sim_disk *disk, const char *path, bool durable, struct inode **out) {
    char name[SIM_NAME_MAX + 1];
    struct inode *directory;
    int error = walk(disk, path, durable, &directory, name);
    if (error) return error;
    *out = name[0] ? names_find(durable ? &directory->kept_names : &directory->seen_names, name) : directory;
    return *out ? 0 : -ENOENT;
}

/* ---- Users and open files */
struct sim_disk_user *sim_disk_user_new(struct sim_disk *disk) {
    struct sim_disk_user *user = POOL_NEW(disk->pool, struct sim_disk_user);
    assert(user);
    user->disk = disk;
    list_init(&user->files);
    list_push(&disk->users, &user->others);
    return user;
}

static void file_let_go(struct io_file *file) {
    if (file->inode->lock == file) file->inode->lock = NULL;
    file->inode->opens--;
    inode_unseen(file->user->disk, file->inode);
}

void sim_disk_user_kill(struct sim_disk_user *user) {
    if (user->dead) return;
    user->dead = true;
    LIST_EACH(node, &user->files) file_let_go(LIST_ITEM(node, struct io_file, others));
}

static void file_free(struct io_file *file) {
    struct sim_disk *disk = file->user->disk;
    list_remove(&file->others);
    inode_drop(disk, file->inode);
    pool_free(disk->pool, file->path, strlen(file->path) + 1);
    pool_free(disk->pool, file, sizeof *file);
}

static void file_release(struct file_ref *ref) {
    struct io_file *file = container_of(ref, struct io_file, ref);
    if (!file->user->dead) {
        sim_note(file->user->disk->sim, "file close", file->user->disk->where, file->inode->number, 0);
        file_let_go(file);
    }
    file_free(file);
}

void sim_disk_user_free(struct sim_disk_user *user) {
    if (!user) return;
    sim_disk_user_kill(user);
    LIST_EACH_SAFE(node, &user->files) file_free(LIST_ITEM(node, struct io_file, others));
    list_remove(&user->others);
    pool_free(user->disk->pool, user, sizeof *user);
}

bool sim_file_belongs(const struct io_file *file, const struct sim_disk_user *user) { return file->user == user; }

static struct io_file *file_new(struct sim_disk_user *user, struct inode *inode, const char *path, unsigned flags) {
    struct io_file *file = POOL_NEW(user->disk->pool, struct io_file);
    assert(file);
    atomic_init(&file->ref.refs, 1);
    file->ref.release = file_release;
    file->user = user;
    file->inode = inode;
    file->flags = flags;
    file->path = pool_alloc(user->disk->pool, strlen(path) + 1);
    assert(file->path);
    strcpy(file->path, path);
    inode_hold(inode);
    inode->opens++;
    list_push(&user->files, &file->others);
    return file;
}

/* ---- The operations on an open file */
static int64_t write_room(struct sim_disk *disk, const struct inode *inode, size_t size, uint64_t offset) {
    if (disk->capacity_pages == 0) return (int64_t)size;
    uint64_t left = disk->used_pages < disk->capacity_pages ? disk->capacity_pages - disk->used_pages : 0;
    if (content_pages_missing(inode, offset, size) <= left) return (int64_t)size;
    size_t fits = 0;
    while (fits < size) {
        size_t part = SIM_PAGE_BYTES - (offset + fits) % SIM_PAGE_BYTES;
        if (part > size - fits) part = size - fits;
        if (content_pages_missing(inode, offset, fits + part) > left) break;
        fits += part;
    }
    return (int64_t)fits;
}

/* An operation that fails half-way has written a beginning, or nothing. */
static void write_beginning(struct sim_disk *disk, struct inode *inode, const void *source, size_t size, uint64_t offset) {
    size_t part = (size_t)random_below(&disk->random, size + 1);
    if (random_chance(&disk->random, 1, 2)) part -= part % SIM_SECTOR_BYTES;
    part = (size_t)write_room(disk, inode, part, offset);
    content_write(disk, inode, source, part, offset);
}

static int64_t file_write(void *self, struct io_file *file, const void *source, size_t size, uint64_t offset) {
    struct sim_disk *disk = file->user->disk;
    struct inode *inode = file->inode;
    bool first_cut;
    if (file->user->dead) return -EIO;
    if (!(file->flags & IO_WRITE)) return -EBADF;
    if (!may_change(disk, &first_cut)) {
        if (first_cut) write_beginning(disk, inode, source, size, offset);
        return -EIO;
    }
    sim_note(disk->sim, "disk write", disk->where, inode->number, offset);
    sim_hash_bytes(disk->sim, source, size);
    int error = fault_of(disk, SIM_DISK_WRITE, file->path);
    if (error) {
        write_beginning(disk, inode, source, size, offset);
        return error;
    }
    int64_t room = write_room(disk, inode, size, offset);
    content_write(disk, inode, source, (uint64_t)room, offset);
    if ((size_t)room < size) {
        sim_note(disk->sim, "disk full", disk->where, inode->number, (uint64_t)room);
        count_fault(disk, file->path);
        return -ENOSPC;
    }
    return (int64_t)size;
}

int64_t sim_file_write_chain(struct io_file *file, const struct chain *chain, uint64_t offset) {
    struct sim_disk *disk = file->user->disk;
    uint8_t *bytes = pool_alloc(disk->pool, chain->bytes);
    assert(bytes);
    size_t copied = chain_copy_out(chain, bytes, chain->bytes);
    assert(copied == chain->bytes);
    int64_t result = file_write(NULL, file, bytes, copied, offset);
    pool_free(disk->pool, bytes, chain->bytes);
    return result;
}

void sim_file_write_interrupted(struct io_file *file, const struct chain *chain, uint64_t offset) {
    struct sim_disk *disk = file->user->disk;
    if (disk->cut || file->user->dead || !random_chance(&disk->random, 1, 2)) return;
    uint8_t *bytes = pool_alloc(disk->pool, chain->bytes);
    assert(bytes);
    size_t copied = chain_copy_out(chain, bytes, chain->bytes);
    write_beginning(disk, file->inode, bytes, copied, offset);
    pool_free(disk->pool, bytes, chain->bytes);
}

static bool range_is_cold(struct sim_disk *disk, struct inode *inode, size_t size, uint64_t offset) {
    if (size == 0 || offset >= inode->seen.size) return false;
    uint64_t first = offset / SIM_PAGE_BYTES, last = (offset + size - 1) / SIM_PAGE_BYTES;
    if (disk->trouble.cold_one_in && random_chance(&disk->random, 1, disk->trouble.cold_one_in))
        for (uint64_t page = first; page <= last && page < inode->page_flags_count; page++) inode->page_flags[page] |= PAGE_COLD;
    for (uint64_t page = first; page <= last && page < inode->page_flags_count; page++)
        if ((inode->page_flags[page] & PAGE_COLD)) return true;
    return false;
}

int64_t sim_file_read(struct io_file *file, void *target, size_t size, uint64_t offset, bool hot) {
    struct sim_disk *disk = file->user->disk;
    struct inode *inode = file->inode;
    if (file->user->dead || disk->cut) return -EIO;
    if (!(file->flags & IO_READ)) return -EBADF;
    if (hot && range_is_cold(disk, inode, size, offset)) return -EAGAIN;
    int error = fault_of(disk, SIM_DISK_READ, file->path);
    if (error) return error;
    uint64_t got = version_read(&inode->seen, target, size, offset);
    for (uint64_t page = offset / SIM_PAGE_BYTES; !hot && got > 0 && page <= (offset + got - 1) / SIM_PAGE_BYTES; page++)
        if (page_flag_at(inode, page)) *page_flag_at(inode, page) &= (uint8_t)~PAGE_COLD;
    sim_note(disk->sim, "disk read", disk->where, inode->number, offset);
    return (int64_t)got;
}

static int64_t file_read(void *self, struct io_file *file, void *target, size_t size, uint64_t offset) {
    return sim_file_read(file, target, size, offset, false);
}

uint64_t sim_file_mark(const struct io_file *file) { return file->user->disk->sequence; }

static int sync_with(struct io_file *file, uint64_t mark, bool with_time) {
    struct sim_disk *disk = file->user->disk;
    bool first_cut;
    if (file->user->dead || !may_change(disk, &first_cut)) return -EIO;
    sim_note(disk->sim, "disk sync", disk->where, file->inode->number, mark);
    int error = fault_of(disk, SIM_DISK_SYNC, file->path);
    if (file->inode->is_directory) {
        if (!error) journal_sync(disk, file->inode, mark);
    } else if (error) {
        content_sync_failed(disk, file->inode, mark);
    } else {
        content_sync(disk, file->inode, mark, with_time);
    }
    return error;
}

int sim_file_sync(struct io_file *file, uint64_t mark) { return sync_with(file, mark, false); }
static int file_sync_data(void *self, struct io_file *file) { return sync_with(file, UINT64_MAX, false); }
static int file_sync_file(void *self, struct io_file *file) { return sync_with(file, UINT64_MAX, true); }

/* What is on the device: all of the disk, if it has no others. */
static int sync_device(struct sim_disk *disk, uint64_t device, const char *path, uint64_t mark) {
    bool first_cut;
    if (!may_change(disk, &first_cut)) return -EIO;
    sim_note(disk->sim, "disk sync all", disk->where, mark, device);
    int error = fault_of(disk, SIM_DISK_SYNC, path);
    LIST_EACH(node, &disk->inodes) {
        struct inode *inode = LIST_ITEM(node, struct inode, all);
        if (inode->is_directory || inode->device != device) continue;
        if (error) content_sync_failed(disk, inode, mark);
        else content_sync(disk, inode, mark, true);
    }
    if (!error) journal_sync_device(disk, device, mark);
    return error;
}

int sim_file_sync_device(struct io_file *file, uint64_t mark) {
    return file->user->dead ? -EIO : sync_device(file->user->disk, file->inode->device, file->path, mark);
}

static int64_t file_size(void *self, struct io_file *file) {
    if (file->user->dead || file->user->disk->cut) return -EIO;
    return (int64_t)file->inode->seen.size;
}

static int file_truncate(void *self, struct io_file *file, uint64_t size) {
    struct sim_disk *disk = file->user->disk;
    bool first_cut;
    if (file->user->dead || !may_change(disk, &first_cut)) return -EIO;
    if (!(file->flags & IO_WRITE)) return -EBADF;
    sim_note(disk->sim, "disk truncate", disk->where, file->inode->number, size);
    int error = fault_of(disk, SIM_DISK_TRUNCATE, file->path);
    if (!error && size != file->inode->seen.size) content_truncate(disk, file->inode, size);
    return error;
}

static int file_allocate(void *self, struct io_file *file, uint64_t offset, uint64_t size) {
    struct sim_disk *disk = file->user->disk;
    bool first_cut;
    if (file->user->dead || !may_change(disk, &first_cut)) return -EIO;
    sim_note(disk->sim, "disk allocate", disk->where, file->inode->number, size);
    int error = fault_of(disk, SIM_DISK_ALLOCATE, file->path);
    if (error) return error;
    uint64_t left = disk->used_pages < disk->capacity_pages ? disk->capacity_pages - disk->used_pages : 0;
    if (disk->capacity_pages && content_pages_missing(file->inode, offset, size) > left) {
        sim_note(disk->sim, "disk full", disk->where, file->inode->number, size);
        count_fault(disk, file->path);
        return -ENOSPC;
    }
    content_reserve(disk, file->inode, offset, size);
    return 0;
}

static int file_lock(void *self, struct io_file *file) {
    struct sim_disk *disk = file->user->disk;
    if (file->user->dead || disk->cut) return -EIO;
    int error = fault_of(disk, SIM_DISK_LOCK, file->path);
    if (error) return error;
    if (file->inode->lock && file->inode->lock != file) return -EAGAIN;
    file->inode->lock = file;
    return 0;
}

/* ---- The operations on names */
static struct sim_disk *disk_of(void *self) { return ((struct sim_disk_user *)self)->disk; }
static bool is_gone(void *self) { return ((struct sim_disk_user *)self)->dead || disk_of(self)->cut; }

/* Whether a change of names may happen; half of those that are cut had been done. */
static bool names_may_change(void *self, const char *path, int *error, bool *last) {
    struct sim_disk *disk = disk_of(self);
    bool first_cut;
    *last = false;
    if (((struct sim_disk_user *)self)->dead) return *error = -EIO, false;
    if (!may_change(disk, &first_cut)) {
        *error = -EIO;
        *last = first_cut && random_chance(&disk->random, 1, 2);
        return *last;
    }
    *error = fault_of(disk, SIM_DISK_NAMES, path);
    return *error == 0;
}

static int files_open(void *self, struct io_file **out, const char *path, unsigned flags) {
    struct sim_disk *disk = disk_of(self);
    char name[SIM_NAME_MAX + 1];
    struct inode *directory;
    if (is_gone(self)) return -EIO;
    int error = fault_of(disk, SIM_DISK_OPEN, path);
    if (!error) error = walk(disk, path, false, &directory, name);
    if (error) return error;
    struct inode *inode = name[0] ? names_find(&directory->seen_names, name) : directory;
    if (inode && (flags & IO_CREATE) && (flags & IO_EXCLUSIVE)) return -EEXIST;
    if (inode && inode->is_directory && !(flags & IO_DIRECTORY)) return -EISDIR;
    if (inode && !inode->is_directory && (flags & IO_DIRECTORY)) return -ENOTDIR;
    if (!inode) {
        if (!(flags & IO_CREATE)) return -ENOENT;
        bool last;
        if (!names_may_change(self, path, &error, &last) && !last) return error;
        inode = inode_new(disk, false);
        inode->device = directory->device;
        journal_link(disk, directory, name, inode);
        sim_note(disk->sim, "file create", disk->where, inode->number, directory->number);
        sim_say(disk->sim, disk->where, "  %s is %llu", path, (unsigned long long)inode->number);
        sim_hash_bytes(disk->sim, name, strlen(name));
        if (last) return error;
    }
    *out = file_new(self, inode, path, flags);
    if ((flags & IO_TRUNCATE) && inode->seen.size > 0 && (error = file_truncate(self, *out, 0))) {
        io_file_drop(*out);
        *out = NULL;
    }
    return error;
}

static int files_sync_directory(void *self, const char *path) {
    struct sim_disk *disk = disk_of(self);
    struct inode *directory;
    bool first_cut;
    if (((struct sim_disk_user *)self)->dead || !may_change(disk, &first_cut)) return -EIO;
    int error = find(disk, path, false, &directory);
    if (!error && !directory->is_directory) error = -ENOTDIR;
    if (!error) error = fault_of(disk, SIM_DISK_SYNC, path);
    if (error) return error;
    sim_note(disk->sim, "disk sync directory", disk->where, directory->number, 0);
    journal_sync(disk, directory, UINT64_MAX);
    return 0;
}

static int files_sync_file_system(void *self, const char *path) {
    struct inode *inode;
    int error = is_gone(self) ? -EIO : find(disk_of(self), path, false, &inode);
    return error ? error : sync_device(disk_of(self), inode->device, path, UINT64_MAX);
}

static bool is_below(const struct inode *directory, const struct inode *wanted) {
    if (directory == wanted) return true;
    for (uint32_t i = 0; i < directory->seen_names.count; i++)
        if (directory->seen_names.items[i].inode->is_directory && is_below(directory->seen_names.items[i].inode, wanted)) return true;
    return false;
}

static int files_rename(void *self, const char *from, const char *to) {
    struct sim_disk *disk = disk_of(self);
    char from_name[SIM_NAME_MAX + 1], to_name[SIM_NAME_MAX + 1];
    struct inode *from_directory, *to_directory;
    int error = is_gone(self) ? -EIO : walk(disk, from, false, &from_directory, from_name);
    if (!error) error = walk(disk, to, false, &to_directory, to_name);
    if (error) return error;
    struct inode *inode = from_name[0] ? names_find(&from_directory->seen_names, from_name) : NULL;
    if (!inode) return -ENOENT;
    struct inode *old = to_name[0] ? names_find(&to_directory->seen_names, to_name) : to_directory;
    if (old == inode) return 0;
    if (from_directory->device != to_directory->device) return -EXDEV;
    if (inode->is_directory && is_below(inode, to_directory)) return -EINVAL;
    if (old && inode->is_directory && !old->is_directory) return -ENOTDIR;
    if (old && !inode->is_directory && old->is_directory) return -EISDIR;
    if (old && old->is_directory && old->seen_names.count > 0) return -ENOTEMPTY;
    bool last;
    if (!names_may_change(self, from, &error, &last)) return error;
    sim_note(disk->sim, "file rename", disk->where, inode->number, to_directory->number);
    sim_say(disk->sim, disk->where, "  %s to %s", from, to);
    sim_hash_bytes(disk->sim, to_name, strlen(to_name));
    journal_rename(disk, from_directory, from_name, to_directory, to_name);
    return error;
}

static int remove_name(void *self, const char *path, bool is_directory) {
    struct sim_disk *disk = disk_of(self);
    char name[SIM_NAME_MAX + 1];
    struct inode *directory;
    int error = is_gone(self) ? -EIO : walk(disk, path, false, &directory, name);
    if (error) return error;
    struct inode *inode = name[0] ? names_find(&directory->seen_names, name) : NULL;
    if (!inode) return name[0] ? -ENOENT : -EBUSY;
    if (is_directory && !inode->is_directory) return -ENOTDIR;
    if (!is_directory && inode->is_directory) return -EISDIR;
    if (is_directory && inode->seen_names.count > 0) return -ENOTEMPTY;
    bool last;
    if (!names_may_change(self, path, &error, &last)) return error;
    sim_note(disk->sim, "file remove", disk->where, inode->number, directory->number);
    sim_say(disk->sim, disk->where, "  %s", path);
    journal_unlink(disk, directory, name);
    return error;
}

static int files_unlink(void *self, const char *path) { return remove_name(self, path, false); }
static int files_remove_directory(void *self, const char *path) { return remove_name(self, path, true); }

static int files_make_directory(void *self, const char *path) {
    struct sim_disk *disk = disk_of(self);
    char name[SIM_NAME_MAX + 1];
    struct inode *directory;
    int error = is_gone(self) ? -EIO : walk(disk, path, false, &directory, name);
    if (error) return error;
    if (!name[0] || names_find(&directory->seen_names, name)) return -EEXIST;
    bool last;
    if (!names_may_change(self, path, &error, &last)) return error;
    struct inode *inode = inode_new(disk, true);
    inode->device = disk->has_devices && directory == disk->root ? inode->number : directory->device;
    sim_note(disk->sim, "directory create", disk->where, inode->number, directory->number);
    sim_say(disk->sim, disk->where, "  %s is %llu", path, (unsigned long long)inode->number);
    sim_hash_bytes(disk->sim, name, strlen(name));
    journal_link(disk, directory, name, inode);
    return error;
}

/* The names as they were at the beginning: what `entry` does to the directory does not disturb it. */
static int files_list(void *self, const char *path, int (*entry)(void *, const char *, bool), void *context) {
    struct sim_disk *disk = disk_of(self);
    struct inode *directory;
    struct arena arena;
    int error = is_gone(self) ? -EIO : find(disk, path, false, &directory);
    if (!error && !directory->is_directory) error = -ENOTDIR;
    if (!error) error = fault_of(disk, SIM_DISK_READ, path);
    if (error) return error;
    arena_init(&arena, disk->pool, 0);
    uint32_t count = directory->seen_names.count;
    struct { const char *text; bool is_directory; } *names = arena_array(&arena, count ? count : 1, sizeof *names);
    assert(names);
    for (uint32_t i = 0; i < count; i++) {
        const struct name *name = &directory->seen_names.items[i];
        names[i].text = arena_copy(&arena, name->text, strlen(name->text) + 1);
        names[i].is_directory = name->inode->is_directory;
    }
    for (uint32_t i = 0; i < count && error == 0; i++) error = entry(context, names[i].text, names[i].is_directory);
    arena_destroy(&arena);
    return error;
}

static int files_stat(void *self, const char *path, struct io_stat *out) {
    struct sim_disk *disk = disk_of(self);
    struct inode *inode;
    int error = is_gone(self) ? -EIO : find(disk, path, false, &inode);
    if (!error) error = fault_of(disk, SIM_DISK_STAT, path);
    if (error) return error;
    uint64_t pages = 0, count = inode->seen.page_count > inode->page_flags_count ? inode->seen.page_count : inode->page_flags_count;
    for (uint64_t page = 0; page < count; page++)
        pages += (page < inode->seen.page_count && inode->seen.pages[page])
              || (page < inode->page_flags_count && (inode->page_flags[page] & PAGE_RESERVED));
    *out = (struct io_stat){.size = inode->seen.size, .inode = inode->number, .blocks_bytes = pages * SIM_PAGE_BYTES,
                            .modified_ns = inode->seen.modified_ns, .mode = inode->mode, .is_directory = inode->is_directory};
    return 0;
}

static int files_space(void *self, const char *path, struct io_space *out) {
    struct sim_disk *disk = disk_of(self);
    struct inode *inode;
    int error = is_gone(self) ? -EIO : find(disk, path, false, &inode);
    if (error) return error;
    uint64_t pages = disk->capacity_pages ? disk->capacity_pages : UINT64_C(1) << 40 >> 12; /* 1 TiB when nothing was said */
    uint64_t left = disk->used_pages < pages ? pages - disk->used_pages : 0;
    *out = (struct io_space){.total = pages * SIM_PAGE_BYTES, .available = left * SIM_PAGE_BYTES};
    return 0;
}

static int files_set_modified(void *self, const char *path, int64_t modified_ns) {
    struct inode *inode;
    int error = is_gone(self) ? -EIO : find(disk_of(self), path, false, &inode);
    if (!error) inode->seen.modified_ns = modified_ns;
    return error;
}

static int files_set_mode(void *self, const char *path, uint32_t mode) {
    struct inode *inode;
    int error = is_gone(self) ? -EIO : find(disk_of(self), path, false, &inode);
    if (!error) inode->mode = mode & 07777;
    return error;
}

static const struct io_files_vtable vtable = {
    .open = files_open, .size = file_size, .read = file_read, .write = file_write, .truncate = file_truncate,
    .allocate = file_allocate, .sync_data = file_sync_data, .sync_file = file_sync_file,
    .sync_directory = files_sync_directory, .sync_file_system = files_sync_file_system, .rename = files_rename,
    .unlink = files_unlink, .make_directory = files_make_directory, .remove_directory = files_remove_directory,
    .list = files_list, .stat = files_stat, .space = files_space, .lock = file_lock, .set_modified = files_set_modified,
    .set_mode = files_set_mode,
};

struct io_files sim_disk_files(struct sim_disk_user *user) { return (struct io_files){&vtable, user}; }

/* ---- From outside */
int sim_disk_rot(struct sim_disk *disk, const char *path, uint64_t offset, uint8_t mask) {
    struct inode *inode;
    int error = find(disk, path, false, &inode);
    if (error) return error;
    if (offset >= inode->seen.size) return -ERANGE;
    sim_note(disk->sim, "disk rot", disk->where, inode->number, offset);
    count_fault(disk, path);
    version_poke(disk, &inode->seen, offset, mask);
    version_poke(disk, &inode->kept, offset, mask);
    return 0;
}

int64_t sim_disk_peek(struct sim_disk *disk, const char *path, void *target, size_t size, uint64_t offset) {
    struct inode *inode;
    int error = find(disk, path, false, &inode);
    return error ? error : (int64_t)version_read(&inode->seen, target, size, offset);
}

int64_t sim_disk_peek_size(struct sim_disk *disk, const char *path) {
    struct inode *inode;
    int error = find(disk, path, false, &inode);
    return error ? error : (int64_t)inode->seen.size;
}

int64_t sim_file_peek(const struct io_file *file, void *target, size_t size, uint64_t offset) {
    return (int64_t)version_read(&file->inode->seen, target, size, offset);
}

void sim_disk_peek_names(struct sim_disk *disk, const char *path, void (*name)(void *context, const char *name, bool is_directory), void *context) {
    struct inode *inode;
    if (find(disk, path, false, &inode) || !inode->is_directory) return;
    for (uint32_t i = 0; i < inode->seen_names.count; i++) name(context, inode->seen_names.items[i].text, inode->seen_names.items[i].inode->is_directory);
}

int64_t sim_disk_peek_durable(struct sim_disk *disk, const char *path, void *target, size_t size, uint64_t offset) {
    struct inode *inode;
    int error = find(disk, path, true, &inode);
    return error ? error : (int64_t)version_read(&inode->kept, target, size, offset);
}

int64_t sim_disk_peek_durable_size(struct sim_disk *disk, const char *path) {
    struct inode *inode;
    int error = find(disk, path, true, &inode);
    return error ? error : (int64_t)inode->kept.size;
}
