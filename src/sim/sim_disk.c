#include "sim/sim_disk_inner.h"
#include <errno.h>
#include <string.h>

enum { CHANGES_KEPT_MAX = 1024 }; /* then the kernel's write-back has come to the oldest */

static void *must(void *memory) {
    assert(memory); /* the world's pool has no limit */
    return memory;
}

static char *text_copy(struct sim_disk *disk, const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(must(pool_alloc(disk->pool, size)), text, size);
}

static void text_drop(struct sim_disk *disk, char *text) {
    if (text) pool_free(disk->pool, text, strlen(text) + 1);
}

/* ---- Pages of a version */
static void version_page_count(struct sim_disk *disk, struct version *version, uint64_t count) {
    if (count <= version->page_count) return;
    uint64_t room = version->page_count ? version->page_count : 4;
    while (room < count) room *= 2;
    version->pages = must(pool_realloc(disk->pool, version->pages, version->page_count * sizeof *version->pages,
                                       room * sizeof *version->pages));
    memset(version->pages + version->page_count, 0, (room - version->page_count) * sizeof *version->pages);
    version->page_count = room;
}

static uint8_t *version_page(struct sim_disk *disk, struct version *version, uint64_t page) {
    version_page_count(disk, version, page + 1);
    if (!version->pages[page]) version->pages[page] = must(pool_zero_alloc(disk->pool, SIM_PAGE_BYTES));
    return version->pages[page];
}

static void version_write(struct sim_disk *disk, struct version *version, const uint8_t *bytes, uint64_t size, uint64_t offset) {
    for (uint64_t done = 0; done < size;) {
        uint64_t at = offset + done, in_page = at % SIM_PAGE_BYTES;
        uint64_t part = SIM_PAGE_BYTES - in_page < size - done ? SIM_PAGE_BYTES - in_page : size - done;
        memcpy(version_page(disk, version, at / SIM_PAGE_BYTES) + in_page, bytes + done, part);
        done += part;
    }
    if (offset + size > version->size) version->size = offset + size;
}

static void version_truncate(struct sim_disk *disk, struct version *version, uint64_t size) {
    uint64_t whole = (size + SIM_PAGE_BYTES - 1) / SIM_PAGE_BYTES;
    for (uint64_t page = whole; page < version->page_count; page++) {
        pool_free(disk->pool, version->pages[page], SIM_PAGE_BYTES);
        version->pages[page] = NULL;
    }
    if (size % SIM_PAGE_BYTES && size / SIM_PAGE_BYTES < version->page_count && version->pages[size / SIM_PAGE_BYTES])
        memset(version->pages[size / SIM_PAGE_BYTES] + size % SIM_PAGE_BYTES, 0, SIM_PAGE_BYTES - size % SIM_PAGE_BYTES);
    version->size = size;
}

static void version_destroy(struct sim_disk *disk, struct version *version) {
    for (uint64_t page = 0; page < version->page_count; page++) pool_free(disk->pool, version->pages[page], SIM_PAGE_BYTES);
    pool_free(disk->pool, version->pages, version->page_count * sizeof *version->pages);
    version->pages = NULL;
    version->page_count = 0;
}

uint64_t version_read(const struct version *version, void *target, uint64_t size, uint64_t offset) {
    if (offset >= version->size) return 0;
    if (size > version->size - offset) size = version->size - offset;
    for (uint64_t done = 0; done < size;) {
        uint64_t at = offset + done, in_page = at % SIM_PAGE_BYTES, page = at / SIM_PAGE_BYTES;
        uint64_t part = SIM_PAGE_BYTES - in_page < size - done ? SIM_PAGE_BYTES - in_page : size - done;
        if (page < version->page_count && version->pages[page]) memcpy((uint8_t *)target + done, version->pages[page] + in_page, part);
        else memset((uint8_t *)target + done, 0, part);
        done += part;
    }
    return size;
}

void version_poke(struct sim_disk *disk, struct version *version, uint64_t offset, uint8_t mask) {
    if (offset < version->size) version_page(disk, version, offset / SIM_PAGE_BYTES)[offset % SIM_PAGE_BYTES] ^= mask;
}

/* ---- Inodes */
struct inode *inode_new(struct sim_disk *disk, bool is_directory) {
    struct inode *inode = must(POOL_NEW(disk->pool, struct inode));
    inode->number = ++disk->inode_next;
    inode->is_directory = is_directory;
    inode->mode = is_directory ? 0755 : 0644;
    inode->seen.modified_ns = inode->kept.modified_ns = disk->wall_ns ? disk->wall_ns(disk->wall_context) : sim_now(disk->sim);
    list_push(&disk->inodes, &inode->all);
    return inode;
}

void inode_hold(struct inode *inode) { inode->refs++; }

static void names_clear(struct sim_disk *disk, struct names *names);

static void changes_clear(struct sim_disk *disk, struct inode *inode) {
    while (inode->first) {
        struct change *change = inode->first;
        inode->first = change->next;
        pool_free(disk->pool, change, sizeof *change + (change->truncates ? 0 : change->size));
    }
    inode->last = NULL;
    inode->change_count = 0;
}

static void flags_clear(struct sim_disk *disk, struct inode *inode) {
    pool_free(disk->pool, inode->page_flags, inode->page_flags_count);
    inode->page_flags = NULL;
    inode->page_flags_count = 0;
}

static uint64_t pages_taken(const struct inode *inode) {
    uint64_t taken = 0, count = inode->seen.page_count > inode->page_flags_count ? inode->seen.page_count : inode->page_flags_count;
    for (uint64_t page = 0; page < count; page++)
        taken += (page < inode->seen.page_count && inode->seen.pages[page])
              || (page < inode->page_flags_count && (inode->page_flags[page] & PAGE_RESERVED));
    return taken;
}

void inode_drop(struct sim_disk *disk, struct inode *inode) {
    assert(inode->refs > 0);
    if (--inode->refs > 0) return;
    assert(inode->links == 0 && inode->opens == 0);
    inode_unseen(disk, inode);
    changes_clear(disk, inode);
    version_destroy(disk, &inode->kept);
    names_clear(disk, &inode->seen_names);
    names_clear(disk, &inode->kept_names);
    list_remove(&inode->all);
    pool_free(disk->pool, inode, sizeof *inode);
}

void inode_unseen(struct sim_disk *disk, struct inode *inode) {
    if (inode->links > 0 || inode->opens > 0) return;
    disk->used_pages -= pages_taken(inode);
    version_destroy(disk, &inode->seen);
    flags_clear(disk, inode);
}

uint8_t *page_flag_at(struct inode *inode, uint64_t page) {
    return page < inode->page_flags_count ? &inode->page_flags[page] : NULL;
}

static void flags_grow(struct sim_disk *disk, struct inode *inode, uint64_t count) {
    if (count <= inode->page_flags_count) return;
    uint64_t room = inode->page_flags_count ? inode->page_flags_count : 8;
    while (room < count) room *= 2;
    inode->page_flags = must(pool_realloc(disk->pool, inode->page_flags, inode->page_flags_count, room));
    memset(inode->page_flags + inode->page_flags_count, 0, room - inode->page_flags_count);
    inode->page_flags_count = room;
}

/* ---- Names, sorted by bytes */
static uint32_t names_at(const struct names *names, const char *name, bool *there) {
    uint32_t low = 0, high = names->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(names->items[middle].text, name);
        if (order == 0) return *there = true, middle;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    *there = false;
    return low;
}

struct inode *names_find(const struct names *names, const char *name) {
    bool there;
    uint32_t at = names_at(names, name, &there);
    return there ? names->items[at].inode : NULL;
}

void names_set(struct sim_disk *disk, struct names *names, const char *name, struct inode *inode) {
    bool there;
    uint32_t at = names_at(names, name, &there);
    inode_hold(inode);
    if (there) {
        struct inode *old = names->items[at].inode;
        names->items[at].inode = inode;
        inode_drop(disk, old);
        return;
    }
    if (names->count == names->capacity) {
        uint32_t capacity = names->capacity ? names->capacity * 2 : 8;
        names->items = must(pool_realloc(disk->pool, names->items, names->capacity * sizeof *names->items,
                                         capacity * sizeof *names->items));
        names->capacity = capacity;
    }
    memmove(&names->items[at + 1], &names->items[at], (names->count - at) * sizeof *names->items);
    names->items[at] = (struct name){text_copy(disk, name), inode};
    names->count++;
}

void names_remove(struct sim_disk *disk, struct names *names, const char *name) {
    bool there;
    uint32_t at = names_at(names, name, &there);
    if (!there) return;
    struct name gone = names->items[at];
    memmove(&names->items[at], &names->items[at + 1], (names->count - at - 1) * sizeof *names->items);
    names->count--;
    text_drop(disk, gone.text);
    inode_drop(disk, gone.inode);
}

static void names_clear(struct sim_disk *disk, struct names *names) {
    while (names->count > 0) {
        struct name gone = names->items[--names->count];
        text_drop(disk, gone.text);
        inode_drop(disk, gone.inode);
    }
    pool_free(disk->pool, names->items, names->capacity * sizeof *names->items);
    *names = (struct names){0};
}

/* ---- Content */
static int64_t now_ns(struct sim_disk *disk) {
    return disk->wall_ns ? disk->wall_ns(disk->wall_context) : sim_now(disk->sim);
}

static void change_apply(struct sim_disk *disk, struct version *version, const struct change *change) {
    if (change->truncates) version_truncate(disk, version, change->size);
    else version_write(disk, version, change->bytes, change->size, change->offset);
}

static struct change *change_take(struct inode *inode) {
    struct change *change = inode->first;
    inode->first = change->next;
    if (!inode->first) inode->last = NULL;
    inode->change_count--;
    return change;
}

static void change_free(struct sim_disk *disk, struct change *change) {
    pool_free(disk->pool, change, sizeof *change + (change->truncates ? 0 : change->size));
}

static void change_note(struct sim_disk *disk, struct inode *inode, bool truncates, const void *bytes, uint64_t size, uint64_t offset) {
    struct change *change = must(pool_alloc(disk->pool, sizeof *change + (truncates ? 0 : size)));
    *change = (struct change){.sequence = ++disk->sequence, .truncates = truncates, .offset = offset, .size = size};
    if (!truncates) memcpy(change->bytes, bytes, size);
    if (inode->last) inode->last->next = change;
    else inode->first = change;
    inode->last = change;
    if (++inode->change_count > CHANGES_KEPT_MAX) {
        struct change *oldest = change_take(inode);
        change_apply(disk, &inode->kept, oldest);
        change_free(disk, oldest);
    }
    inode->seen.modified_ns = now_ns(disk);
}

static bool page_is_taken(const struct inode *inode, uint64_t page) {
    return (page < inode->seen.page_count && inode->seen.pages[page])
        || (page < inode->page_flags_count && (inode->page_flags[page] & PAGE_RESERVED));
}

uint64_t content_pages_missing(const struct inode *inode, uint64_t offset, uint64_t size) {
    uint64_t missing = 0;
    for (uint64_t page = offset / SIM_PAGE_BYTES; size > 0 && page <= (offset + size - 1) / SIM_PAGE_BYTES; page++)
        missing += !page_is_taken(inode, page);
    return missing;
}

void content_write(struct sim_disk *disk, struct inode *inode, const void *bytes, uint64_t size, uint64_t offset) {
    if (size == 0) return;
    disk->used_pages += content_pages_missing(inode, offset, size);
    version_write(disk, &inode->seen, bytes, size, offset);
    for (uint64_t page = offset / SIM_PAGE_BYTES; page <= (offset + size - 1) / SIM_PAGE_BYTES; page++)
        if (page_flag_at(inode, page)) *page_flag_at(inode, page) &= (uint8_t)~PAGE_COLD;
    change_note(disk, inode, false, bytes, size, offset);
}

void content_truncate(struct sim_disk *disk, struct inode *inode, uint64_t size) {
    uint64_t before = pages_taken(inode), whole = (size + SIM_PAGE_BYTES - 1) / SIM_PAGE_BYTES;
    version_truncate(disk, &inode->seen, size);
    for (uint64_t page = whole; page < inode->page_flags_count; page++) inode->page_flags[page] = 0;
    disk->used_pages = disk->used_pages + pages_taken(inode) - before;
    change_note(disk, inode, true, NULL, size, 0);
}

void content_reserve(struct sim_disk *disk, struct inode *inode, uint64_t offset, uint64_t size) {
    if (size == 0) return;
    disk->used_pages += content_pages_missing(inode, offset, size);
    flags_grow(disk, inode, (offset + size - 1) / SIM_PAGE_BYTES + 1);
    for (uint64_t page = offset / SIM_PAGE_BYTES; page <= (offset + size - 1) / SIM_PAGE_BYTES; page++)
        inode->page_flags[page] |= PAGE_RESERVED;
}

void content_sync(struct sim_disk *disk, struct inode *inode, uint64_t mark, bool with_time) {
    uint64_t size_before = inode->kept.size;
    while (inode->first && inode->first->sequence <= mark) {
        struct change *change = change_take(inode);
        change_apply(disk, &inode->kept, change);
        change_free(disk, change);
    }
    /* fdatasync writes the inode only when its size has to be. */
    if (with_time || inode->kept.size != size_before) inode->kept.modified_ns = inode->seen.modified_ns;
}

/* What programs see, made anew: what is kept, then the changes. Takes the room that it takes. */
static void seen_rebuild(struct sim_disk *disk, struct inode *inode, uint64_t size, int64_t modified_ns) {
    disk->used_pages -= pages_taken(inode);
    version_destroy(disk, &inode->seen);
    version_page_count(disk, &inode->seen, inode->kept.page_count);
    for (uint64_t page = 0; page < inode->kept.page_count; page++)
        if (inode->kept.pages[page]) memcpy(version_page(disk, &inode->seen, page), inode->kept.pages[page], SIM_PAGE_BYTES);
    inode->seen.size = inode->kept.size;
    for (struct change *change = inode->first; change; change = change->next) change_apply(disk, &inode->seen, change);
    version_truncate(disk, &inode->seen, size);
    inode->seen.modified_ns = modified_ns;
    disk->used_pages += pages_taken(inode);
}

/* The kernel marks pages clean whose write failed: a later sync succeeds without them. Some made it, some did not, and
 * what programs see is either the lost bytes (still in the cache) or what was there before (evicted and read again). */
void content_sync_failed(struct sim_disk *disk, struct inode *inode, uint64_t mark) {
    sim_count(disk->sim)->lost++;
    while (inode->first && inode->first->sequence <= mark) {
        struct change *change = change_take(inode);
        if (random_chance(&disk->random, 1, 2)) change_apply(disk, &inode->kept, change);
        else inode->differs = true;
        change_free(disk, change);
    }
    if (inode->differs && random_chance(&disk->random, 1, 2)) seen_rebuild(disk, inode, inode->seen.size, inode->seen.modified_ns);
}

/* ---- The journal of names */
static struct step *step_new(struct sim_disk *disk, enum step_kind kind, struct inode *inode, struct inode *from,
                             const char *from_name, struct inode *to, const char *to_name) {
    struct step *step = must(POOL_NEW(disk->pool, struct step));
    *step = (struct step){.kind = kind, .sequence = ++disk->sequence, .inode = inode, .from = from, .to = to,
                          .from_name = text_copy(disk, from_name), .to_name = to_name ? text_copy(disk, to_name) : NULL};
    inode_hold(inode);
    inode_hold(from);
    if (to) inode_hold(to);
    list_push(&disk->journal, &step->order);
    return step;
}

static void step_free(struct sim_disk *disk, struct step *step) {
    list_remove(&step->order);
    inode_drop(disk, step->inode);
    inode_drop(disk, step->from);
    if (step->to) inode_drop(disk, step->to);
    text_drop(disk, step->from_name);
    text_drop(disk, step->to_name);
    pool_free(disk->pool, step, sizeof *step);
}

static void step_apply(struct sim_disk *disk, struct step *step) {
    if (step->kind == STEP_LINK) {
        names_set(disk, &step->from->kept_names, step->from_name, step->inode);
        return;
    }
    if (names_find(&step->from->kept_names, step->from_name) == step->inode)
        names_remove(disk, &step->from->kept_names, step->from_name);
    if (step->kind == STEP_RENAME) names_set(disk, &step->to->kept_names, step->to_name, step->inode);
}

static void seen_set(struct sim_disk *disk, struct inode *directory, const char *name, struct inode *inode) {
    struct inode *old = names_find(&directory->seen_names, name);
    inode->links++;
    if (old) {
        inode_hold(old);
        old->links--;
    }
    names_set(disk, &directory->seen_names, name, inode);
    if (old) {
        inode_unseen(disk, old);
        inode_drop(disk, old);
    }
    directory->seen.modified_ns = now_ns(disk);
}

static void seen_remove(struct sim_disk *disk, struct inode *directory, const char *name) {
    struct inode *old = names_find(&directory->seen_names, name);
    assert(old);
    inode_hold(old);
    old->links--;
    names_remove(disk, &directory->seen_names, name);
    inode_unseen(disk, old);
    inode_drop(disk, old);
    directory->seen.modified_ns = now_ns(disk);
}

void journal_link(struct sim_disk *disk, struct inode *directory, const char *name, struct inode *inode) {
    step_new(disk, STEP_LINK, inode, directory, name, NULL, NULL);
    seen_set(disk, directory, name, inode);
}

void journal_unlink(struct sim_disk *disk, struct inode *directory, const char *name) {
    step_new(disk, STEP_UNLINK, names_find(&directory->seen_names, name), directory, name, NULL, NULL);
    seen_remove(disk, directory, name);
}

void journal_rename(struct sim_disk *disk, struct inode *from, const char *from_name, struct inode *to, const char *to_name) {
    struct inode *inode = names_find(&from->seen_names, from_name);
    step_new(disk, STEP_RENAME, inode, from, from_name, to, to_name);
    seen_set(disk, to, to_name, inode);
    seen_remove(disk, from, from_name);
}

void journal_sync(struct sim_disk *disk, struct inode *directory, uint64_t mark) {
    LIST_EACH_SAFE(node, &disk->journal) {
        struct step *step = LIST_ITEM(node, struct step, order);
        if (step->sequence > mark || (step->from != directory && step->to != directory)) continue;
        step_apply(disk, step);
        step_free(disk, step);
    }
}

void journal_sync_device(struct sim_disk *disk, uint64_t device, uint64_t mark) {
    LIST_EACH_SAFE(node, &disk->journal) {
        struct step *step = LIST_ITEM(node, struct step, order);
        if (step->sequence > mark || step->from->device != device) continue; /* no step leads from one device to another */
        step_apply(disk, step);
        step_free(disk, step);
    }
}

/* ---- Power cuts */
/* Which sectors of a write reached the platter: a beginning, an end, or any. */
static void change_tear(struct sim_disk *disk, struct version *version, const struct change *change) {
    uint64_t first = change->offset / SIM_SECTOR_BYTES, last = (change->offset + change->size - 1) / SIM_SECTOR_BYTES;
    uint64_t shape = random_below(&disk->random, 3), cut = first + random_below(&disk->random, last - first + 1);
    for (uint64_t sector = first; sector <= last; sector++) {
        bool kept = shape == 0 ? sector < cut : shape == 1 ? sector > cut : random_chance(&disk->random, 1, 2);
        if (!kept) continue;
        uint64_t start = sector * SIM_SECTOR_BYTES, end = start + SIM_SECTOR_BYTES;
        if (start < change->offset) start = change->offset;
        if (end > change->offset + change->size) end = change->offset + change->size;
        version_write(disk, version, change->bytes + (start - change->offset), end - start, start);
    }
}

static void content_crash(struct sim_disk *disk, struct inode *inode, enum sim_crash policy) {
    while (inode->first) {
        struct change *change = change_take(inode);
        bool all = policy == SIM_CRASH_KEEP_ALL || policy == SIM_CRASH_NEWEST;
        uint64_t fate = policy == SIM_CRASH_LOSE_ALL ? 0 : all ? 1 : random_below(&disk->random, 3);
        if (fate == 1) change_apply(disk, &inode->kept, change);
        else if (fate == 2 && !change->truncates) change_tear(disk, &inode->kept, change);
        /* The size may have been written without the bytes: they read as zeros. */
        if (policy == SIM_CRASH_RANDOM && fate != 1 && !change->truncates && change->offset + change->size > inode->kept.size
            && random_chance(&disk->random, 1, 4))
            inode->kept.size = change->offset + change->size;
        change_free(disk, change);
    }
    if (policy == SIM_CRASH_KEEP_ALL || (policy == SIM_CRASH_RANDOM && random_chance(&disk->random, 1, 2)))
        inode->kept.modified_ns = inode->seen.modified_ns;
}

static void journal_crash(struct sim_disk *disk, enum sim_crash policy) {
    bool in_order = random_chance(&disk->random, 1, 2);
    uint64_t count = 0, kept = 0, n = 0;
    LIST_EACH(node, &disk->journal) count++;
    kept = random_below(&disk->random, count + 1);
    while (!list_is_empty(&disk->journal)) {
        struct step *step = LIST_ITEM(disk->journal.next, struct step, order);
        bool keep = policy == SIM_CRASH_KEEP_ALL;
        if (policy == SIM_CRASH_NEWEST) keep = n >= kept;
        if (policy == SIM_CRASH_RANDOM) keep = in_order ? n < kept : random_chance(&disk->random, 1, 2);
        n++;
        if (keep) {
            step_apply(disk, step);
        } else {
            /* Later steps of the same inode build on this one: without it they did not happen either. */
            LIST_EACH_SAFE(node, &step->order) {
                if (node == &disk->journal) break;
                struct step *later = LIST_ITEM(node, struct step, order);
                if (later->inode == step->inode) step_free(disk, later);
            }
        }
        step_free(disk, step);
    }
}

static void names_copy(struct sim_disk *disk, struct inode *directory) {
    struct names old = directory->seen_names;
    directory->seen_names = (struct names){0};
    for (uint32_t i = 0; i < directory->kept_names.count; i++) {
        directory->kept_names.items[i].inode->links++;
        names_set(disk, &directory->seen_names, directory->kept_names.items[i].text, directory->kept_names.items[i].inode);
    }
    for (uint32_t i = 0; i < old.count; i++) old.items[i].inode->links--;
    names_clear(disk, &old);
}

void sim_disk_crash(struct sim_disk *disk, enum sim_crash policy) {
    LIST_EACH(node, &disk->users) {
        /* Files of the dead may still be held by what is being cleared away; of the living there are none. */
        struct sim_disk_user *user = LIST_ITEM(node, struct sim_disk_user, others);
        assert(user->dead || list_is_empty(&user->files));
    }
    sim_note(disk->sim, "disk crash", disk->where, (uint64_t)policy, disk->operations);
    inode_hold(disk->root);
    LIST_EACH(node, &disk->inodes) {
        struct inode *inode = LIST_ITEM(node, struct inode, all);
        inode_hold(inode);
        if (!inode->is_directory) content_crash(disk, inode, policy);
    }
    journal_crash(disk, policy);
    LIST_EACH(node, &disk->inodes) {
        struct inode *inode = LIST_ITEM(node, struct inode, all);
        if (inode->is_directory) names_copy(disk, inode);
        else {
            disk->used_pages -= pages_taken(inode);
            flags_clear(disk, inode);
            version_destroy(disk, &inode->seen);
        }
    }
    LIST_EACH(node, &disk->inodes) {
        struct inode *inode = LIST_ITEM(node, struct inode, all);
        inode->differs = false;
        if (inode->is_directory) continue;
        if (inode->links > 0) seen_rebuild(disk, inode, inode->kept.size, inode->kept.modified_ns);
        for (uint64_t page = 0; page < inode->seen.page_count && inode->links > 0; page++)
            if (inode->seen.pages[page]) {
                flags_grow(disk, inode, page + 1);
                inode->page_flags[page] = PAGE_COLD; /* a cache after a restart is empty */
            }
    }
    uint64_t count = 0;
    LIST_EACH(node, &disk->inodes) count++;
    /* A directory that lost its name takes what is below it along. */
    struct inode **held = must(pool_alloc(disk->pool, count * sizeof(struct inode *)));
    uint64_t n = 0;
    LIST_EACH(node, &disk->inodes) held[n++] = LIST_ITEM(node, struct inode, all);
    for (bool again = true; again;) {
        again = false;
        for (uint64_t i = 0; i < n; i++) {
            struct inode *lost = held[i];
            if (!lost->is_directory || lost->links > 0 || lost == disk->root || lost->seen_names.count == 0) continue;
            for (uint32_t k = 0; k < lost->seen_names.count; k++) lost->seen_names.items[k].inode->links--;
            names_clear(disk, &lost->seen_names);
            names_clear(disk, &lost->kept_names);
            again = true;
        }
    }
    for (uint64_t i = 0; i < n; i++) {
        if (held[i]->links == 0 && held[i] != disk->root && !held[i]->is_directory) inode_unseen(disk, held[i]);
        inode_drop(disk, held[i]);
    }
    pool_free(disk->pool, held, count * sizeof(struct inode *));
    inode_drop(disk, disk->root);
    disk->cut = false;
    disk->cut_at = UINT64_MAX;
    sim_count(disk->sim)->crashes++;
}

/* ---- The disk as a whole */
struct sim_disk *sim_disk_new(struct sim *sim, uint32_t where, uint64_t capacity_bytes) {
    struct pool *pool = sim_pool(sim);
    struct sim_disk *disk = must(POOL_NEW(pool, struct sim_disk));
    disk->sim = sim;
    disk->pool = pool;
    disk->where = where;
    disk->capacity_pages = capacity_bytes / SIM_PAGE_BYTES;
    disk->cut_at = UINT64_MAX;
    random_seed(&disk->random, sim_fork_seed(sim));
    list_init(&disk->inodes);
    list_init(&disk->journal);
    list_init(&disk->users);
    disk->root = inode_new(disk, true);
    disk->root->links = 1;
    inode_hold(disk->root);
    return disk;
}

void sim_disk_free(struct sim_disk *disk) {
    if (!disk) return;
    assert(list_is_empty(&disk->users));
    while (!list_is_empty(&disk->journal)) step_free(disk, LIST_ITEM(disk->journal.next, struct step, order));
    /* Top down, with every inode held meanwhile: names go first, then what had them. */
    LIST_EACH(node, &disk->inodes) inode_hold(LIST_ITEM(node, struct inode, all));
    LIST_EACH(node, &disk->inodes) {
        struct inode *inode = LIST_ITEM(node, struct inode, all);
        names_clear(disk, &inode->seen_names);
        names_clear(disk, &inode->kept_names);
        inode->links = 0;
    }
    inode_drop(disk, disk->root);
    while (!list_is_empty(&disk->inodes)) inode_drop(disk, LIST_ITEM(disk->inodes.next, struct inode, all));
    assert(disk->used_pages == 0);
    pool_free(disk->pool, disk, sizeof *disk);
}

void sim_disk_set_wall(struct sim_disk *disk, int64_t (*wall_ns)(void *context), void *context) {
    disk->wall_ns = wall_ns;
    disk->wall_context = context;
}

void sim_disk_set_capacity(struct sim_disk *disk, uint64_t capacity_bytes) {
    disk->capacity_pages = capacity_bytes / SIM_PAGE_BYTES;
    sim_note(disk->sim, "disk capacity", disk->where, capacity_bytes, disk->used_pages * SIM_PAGE_BYTES);
}

uint64_t sim_disk_used(const struct sim_disk *disk) { return disk->used_pages * SIM_PAGE_BYTES; }
