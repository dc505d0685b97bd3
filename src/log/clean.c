#include "log/clean.h"
#include "log/clean_filter.h"
#include "log/dir.h"
#include "base/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TXN_INDEX_BYTES_MAX = MIB(256) };

void clean_init(struct cleaning *c) {
    assert(c->count > 0 && c->bound >= c->dirty);
    c->phase = CLEAN_TRANSACTIONS;
    c->end = -1;
    codecs_init(&c->codecs, c->pool);
}

static void close_source(struct cleaning *c) {
    if (c->scanning) scan_free(&c->scan);
    c->scanning = false;
    io_file_drop(c->source);
    c->source = NULL;
}

void clean_free(struct cleaning *c) {
    close_source(c);
    clean_target_free(c);
    clean_walk_end(c);
    clean_map_destroy(&c->map);
    codecs_destroy(&c->codecs);
    pool_free(c->pool, c->groups, c->group_capacity * sizeof *c->groups);
    pool_free(c->pool, c->aborted, c->aborted_capacity * sizeof *c->aborted);
    c->groups = NULL;
    c->aborted = NULL;
    c->group_capacity = c->aborted_capacity = 0;
}

/* ---- Aborted transactions that have to do with what is cleaned. */

static enum err add_aborted(struct cleaning *c, struct span bytes) {
    for (size_t at = 0; at + TXN_ENTRY_BYTES <= bytes.size; at += TXN_ENTRY_BYTES) {
        struct txn_entry entry;
        enum err err = txn_entry_decode(bytes.data + at, &entry);
        if (err) return ERR_CORRUPT;
        if (entry.first >= c->bound || entry.last < c->start) continue;
        if (c->aborted_count == c->aborted_capacity) {
            uint32_t capacity = c->aborted_capacity ? c->aborted_capacity * 2 : 64;
            struct clean_txn *grown = pool_realloc(c->pool, c->aborted, c->aborted_capacity * sizeof *grown, capacity * sizeof *grown);
            if (!grown) return ERR_NO_MEMORY;
            c->aborted = grown;
            c->aborted_capacity = capacity;
        }
        c->aborted[c->aborted_count++] = (struct clean_txn){.entry = entry};
    }
    return ERR_NONE;
}

static int by_first(const void *a, const void *b) {
    const struct clean_txn *x = a, *y = b;
    if (x->entry.first != y->entry.first) return x->entry.first < y->entry.first ? -1 : 1;
    return x->entry.last < y->entry.last ? -1 : x->entry.last > y->entry.last;
}

static enum err gather_transactions(struct cleaning *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        struct clean_segment *s = &c->segments[i];
        char path[PATH_MAX_BYTES], *bytes = NULL;
        size_t size = 0;
        enum err err = ERR_NONE;
        if (!s->txn_read) err = add_aborted(c, span_of(s->txn, s->txn_bytes));
        else {
            path_of_offset(path, c->folder, s->base, ".txnindex");
            err = file_slurp(c->files, path, TXN_INDEX_BYTES_MAX, c->pool, &bytes, &size);
            if (err == ERR_NOT_FOUND) continue;
            if (!err) err = add_aborted(c, span_of(bytes, size));
            if (bytes) pool_free(c->pool, bytes, size + 1);
        }
        if (err) return err;
    }
    if (c->aborted_count) qsort(c->aborted, c->aborted_count, sizeof *c->aborted, by_first);
    return ERR_NONE;
}

/* ---- Walking over a segment */

static enum err open_source(struct cleaning *c, const struct clean_segment *s) {
    char path[PATH_MAX_BYTES];
    path_of_offset(path, c->folder, s->base, ".log");
    enum err err = err_from_errno(c->files.vtable->open(c->files.self, &c->source, path, IO_READ));
    if (!err) err = scan_init(&c->scan, c->files, c->source, 0, s->size, true, c->pool);
    c->scanning = !err;
    return err;
}

/* ERR_NOT_FOUND: the segment is at its end, and closed. */
static enum err next_batch(struct cleaning *c, const struct clean_segment *s, struct scan_batch *out) {
    enum err err = c->scanning ? ERR_NONE : open_source(c, s);
    if (err) return err == ERR_NOT_FOUND ? ERR_IO : err; /* a segment that is there has a file */
    c->scan.files = c->files;
    err = scan_next(&c->scan, out);
    if (!err) c->bytes_read += out->batch.size;
    if (err == ERR_NOT_FOUND) close_source(c);
    return err;
}

/* ---- The map */

static enum err map_records(struct cleaning *c, const struct scan_batch *at, bool *full) {
    struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;
    struct record record;
    enum err err;
    *full = false;
    if (at->magic == BATCH_MAGIC_2) {
        struct batch_records records;
        struct record_cursor cursor;
        if ((err = batch_records_open(&at->batch, &c->codecs, &limits, &records))) return err;
        record_cursor_init(&cursor, &at->batch, records.bytes);
        while (!*full && !(err = record_next(&cursor, &record)))
            if (record.key.data && record.offset >= c->dirty) *full = !clean_map_put(&c->map, record.key, record.offset);
        batch_records_close(&records);
    } else {
        struct span rest = span_of(at->batch.bytes, at->batch.size);
        struct old_message message;
        struct old_cursor cursor;
        if ((err = old_next(&rest, &message)) || (err = old_cursor_open(&cursor, &message, &c->codecs, &limits, NULL))) return err;
        while (!*full && !(err = old_cursor_next(&cursor, &record)))
            if (record.key.data && record.offset >= c->dirty) *full = !clean_map_put(&c->map, record.key, record.offset);
        old_cursor_close(&cursor);
    }
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static enum err map_batch(struct cleaning *c, const struct scan_batch *at, bool *full) {
    enum err err = ERR_NONE;
    bool may_go = false;
    *full = false;
    if (at->magic == BATCH_MAGIC_2) {
        struct clean_txn *kept;
        err = clean_walk_batch(c, &at->batch, &may_go, &kept);
    }
    bool is_data = at->magic != BATCH_MAGIC_2 || !batch_is_control(&at->batch);
    if (!err && is_data && !may_go && at->batch.count > 0 && batch_last_offset(&at->batch) >= c->dirty) err = map_records(c, at, full);
    if (!err && !*full && batch_last_offset(&at->batch) > c->map.latest) c->map.latest = batch_last_offset(&at->batch);
    return err;
}

static void begin_map(struct cleaning *c) {
    clean_walk_begin(c);
    c->phase = CLEAN_MAP;
    c->at = 0;
    while (c->at + 1 < c->count && c->segments[c->at].next <= c->dirty) c->at++;
}

static enum err map_some(struct cleaning *c, uint64_t until) {
    while (c->at < c->count && c->segments[c->at].base < c->bound) {
        struct scan_batch batch;
        bool full = false;
        enum err err = next_batch(c, &c->segments[c->at], &batch);
        if (err == ERR_NOT_FOUND) { c->at++; continue; }
        if (!err) err = map_batch(c, &batch, &full);
        if (err) return err;
        if (full) {
            close_source(c);
            if (c->map.latest < c->dirty) return ERR_LIMIT;
            c->end = c->map.latest + 1;
            c->phase = CLEAN_GROUPS;
            return ERR_NONE;
        }
        if (c->bytes_read + c->bytes_written >= until) return ERR_NONE;
    }
    c->end = c->bound;
    c->phase = CLEAN_GROUPS;
    return ERR_NONE;
}

/* ---- Groups: neighbours that fit into one segment. */

static enum err make_groups(struct cleaning *c) {
    uint32_t clean_before = 0;
    c->group_capacity = c->count;
    c->groups = pool_zero_alloc(c->pool, c->group_capacity * sizeof *c->groups);
    if (!c->groups) { c->group_capacity = 0; return ERR_NO_MEMORY; }
    uint64_t size = 0, index_bytes = 0;
    struct clean_group *group = NULL;
    for (uint32_t i = 0; i < c->count && c->segments[i].base < c->end; i++) {
        const struct clean_segment *s = &c->segments[i];
        bool fits = group && size + s->size <= c->segment_bytes && index_bytes + s->index_bytes <= c->segment_index_bytes &&
                    s->next - 1 - group->base <= INT32_MAX;
        if (!fits) {
            group = &c->groups[c->group_count++];
            *group = (struct clean_group){.first = i, .base = s->base, .timestamp_max = -1, .timestamp_max_at = -1, .timestamp_first = -1};
            size = index_bytes = 0;
        }
        group->count++;
        group->modified_ms = s->modified_ms;
        size += s->size;
        index_bytes += s->index_bytes;
        if (s->next <= c->dirty) clean_before = i + 1;
    }
    c->legacy_horizon = clean_before ? c->segments[clean_before - 1].modified_ms - c->delete_retention_ms : 0;
    clean_walk_begin(c);
    c->phase = CLEAN_COPY;
    c->group_at = c->at = 0;
    return ERR_NONE;
}

static enum err copy_some(struct cleaning *c, uint64_t until) {
    while (c->group_at < c->group_count) {
        struct clean_group *group = &c->groups[c->group_at];
        struct scan_batch batch;
        enum err err = c->target ? ERR_NONE : clean_target_open(c, group);
        while (!err && c->at < group->first + group->count) {
            const struct clean_segment *s = &c->segments[c->at];
            err = next_batch(c, s, &batch);
            if (err == ERR_NOT_FOUND) { c->at++; err = ERR_NONE; continue; }
            if (!err) err = clean_filter(c, group, &batch, s->modified_ms);
            if (!err && c->bytes_read + c->bytes_written >= until) return ERR_NONE;
        }
        if (!err) err = clean_target_close(c, group);
        if (err) return err;
        c->group_at++;
    }
    c->phase = CLEAN_DONE;
    return ERR_NONE;
}

enum err clean_step(struct cleaning *c, uint64_t bytes) {
    uint64_t until = c->bytes_read + c->bytes_written + bytes;
    enum err err = ERR_NONE;
    while (!err && c->phase != CLEAN_DONE && c->bytes_read + c->bytes_written < until) {
        switch (c->phase) {
        case CLEAN_TRANSACTIONS:
            err = gather_transactions(c);
            if (!err) begin_map(c);
            break;
        case CLEAN_MAP: err = map_some(c, until); break;
        case CLEAN_GROUPS: err = make_groups(c); break;
        case CLEAN_COPY: err = copy_some(c, until); break;
        case CLEAN_DONE: break;
        }
    }
    return err ? err : c->phase == CLEAN_DONE ? ERR_NONE : ERR_AGAIN;
}

/* ---- The files' names */
static const char *const kinds[] = {".index", ".timeindex", ".txnindex", ".log"};

static void name_of(char out[PATH_MAX_BYTES], const struct cleaning *c, log_offset base, const char *kind, const char *state) {
    char ending[40];
    struct text text;
    text_init(&text, ending, sizeof ending);
    text_add(&text, "%s%s", kind, state);
    path_of_offset(out, c->folder, base, ending);
}

void clean_discard(struct cleaning *c) {
    io_file_drop(c->target);
    c->target = NULL;
    for (uint32_t i = 0; i < c->group_count && i <= c->group_at; i++) {
        for (size_t kind = 0; kind < countof(kinds); kind++) {
            char path[PATH_MAX_BYTES];
            name_of(path, c, c->groups[i].base, kinds[kind], ".cleaned");
            (void)c->files.vtable->unlink(c->files.self, path); /* the next opening removes what stays */
        }
    }
}

static enum err rename_state(struct cleaning *c, log_offset base, const char *kind, const char *from, const char *to) {
    char old[PATH_MAX_BYTES], new[PATH_MAX_BYTES];
    name_of(old, c, base, kind, from);
    name_of(new, c, base, kind, to);
    int result = c->files.vtable->rename(c->files.self, old, new);
    return result == -ENOENT ? ERR_NONE : err_from_errno(result);
}

static enum err sync_folder(struct cleaning *c) {
    return err_from_errno(c->files.vtable->sync_directory(c->files.self, c->folder));
}

static enum err swap_group(struct cleaning *c, const struct clean_group *group) {
    enum err err = ERR_NONE;
    /* The log last: while it is still `.cleaned`, an opening throws all of the group away. */
    for (size_t kind = 0; kind < countof(kinds) && !err; kind++) err = rename_state(c, group->base, kinds[kind], ".cleaned", ".swap");
    if (!err) err = sync_folder(c);
    /* From here on an opening finishes what is begun. */
    for (uint32_t i = group->first; i < group->first + group->count && !err; i++) {
        for (size_t kind = 0; kind < countof(kinds) && !err; kind++) err = rename_state(c, c->segments[i].base, kinds[kind], "", ".deleted");
        if (!err && i > group->first) err = rename_state(c, c->segments[i].base, ".snapshot", "", ".deleted");
    }
    if (!err) err = sync_folder(c);
    for (size_t kind = countof(kinds); kind-- > 0 && !err;) err = rename_state(c, group->base, kinds[kind], ".swap", "");
    return err ? err : sync_folder(c);
}

enum err clean_swap(struct cleaning *c) {
    enum err err = ERR_NONE;
    for (uint32_t i = 0; i < c->group_count && !err; i++) err = swap_group(c, &c->groups[i]);
    return err;
}
