#include "log/listing.h"
#include "base/text.h"
#include <errno.h>
#include <string.h>

const char *const file_endings[FILE_KINDS] = {".log", ".index", ".timeindex", ".txnindex", ".snapshot"};
static const char *const state_endings[] = {"", ".deleted", ".cleaned", ".swap"};

static int list_one(void *context, const char *name, bool is_directory) {
    struct listing *listing = context;
    if (is_directory) return 0;
    for (int state = FILE_PLAIN; state <= FILE_SWAP; state++) {
        for (int kind = 0; kind < FILE_KINDS; kind++) {
            char ending[32];
            struct text text;
            log_offset offset;
            text_init(&text, ending, sizeof ending);
            text_add(&text, "%s%s", file_endings[kind], state_endings[state]);
            if (!name_ends_with(name, ending) || strlen(name) != OFFSET_DIGITS + text.size || !name_offset(name, ending, &offset)) continue;
            if (listing->count == listing->capacity) {
                uint32_t capacity = listing->capacity ? listing->capacity * 2 : 64;
                struct file_entry *grown = pool_realloc(listing->pool, listing->entries, listing->capacity * sizeof *grown, capacity * sizeof *grown);
                if (!grown) return -ENOMEM;
                listing->entries = grown;
                listing->capacity = capacity;
            }
            listing->entries[listing->count++] = (struct file_entry){offset, (enum file_kind)kind, (enum file_state)state};
            return 0;
        }
    }
    return 0;
}

enum err listing_read(struct io_files files, struct pool *pool, const char *folder, struct listing *out) {
    *out = (struct listing){.pool = pool};
    int result = files.vtable->list(files.self, folder, list_one, out);
    return result == -ENOMEM ? ERR_NO_MEMORY : err_from_errno(result);
}

void listing_free(struct listing *listing) {
    pool_free(listing->pool, listing->entries, listing->capacity * sizeof *listing->entries);
    listing->entries = NULL;
    listing->count = listing->capacity = 0;
}

void listing_path(char out[PATH_MAX_BYTES], const char *folder, const struct file_entry *entry, enum file_state state) {
    char ending[32];
    struct text text;
    text_init(&text, ending, sizeof ending);
    text_add(&text, "%s%s", file_endings[entry->kind], state_endings[state]);
    path_of_offset(out, folder, entry->offset, ending);
}

enum err listing_remove(struct io_files files, const char *folder, struct file_entry *entry) {
    char path[PATH_MAX_BYTES];
    listing_path(path, folder, entry, entry->state);
    int result = files.vtable->unlink(files.self, path);
    entry->offset = -1; /* gone */
    return err_from_errno(result == -ENOENT ? 0 : result);
}

enum err file_remove(struct io_files files, const char *folder, log_offset offset, const char *ending) {
    char path[PATH_MAX_BYTES];
    path_of_offset(path, folder, offset, ending);
    int result = files.vtable->unlink(files.self, path);
    return err_from_errno(result == -ENOENT ? 0 : result);
}

enum err folder_sync(struct io_files files, const char *folder) {
    return err_from_errno(files.vtable->sync_directory(files.self, folder));
}
