/* log/listing.h - the files of one partition's folder that an opening or a cut has to do with: kind, offset and state of each.
 *
 * Sorted by name, so by offset within a kind and state. What has another name is not in it. For offload threads.
 */
#pragma once
#include "log/parts.h"

enum file_kind { FILE_LOG, FILE_OFFSET_INDEX, FILE_TIME_INDEX, FILE_TXN_INDEX, FILE_SNAPSHOT, FILE_KINDS };
enum file_state { FILE_PLAIN, FILE_DELETED, FILE_CLEANED, FILE_SWAP };
extern const char *const file_endings[FILE_KINDS];

struct file_entry { log_offset offset; enum file_kind kind; enum file_state state; };
struct listing {
    struct pool *pool;
    struct file_entry *entries;   /* owns; an offset of -1: removed */
    uint32_t count, capacity;
};

must_use enum err listing_read(struct io_files files, struct pool *pool, const char *folder, struct listing *out);
void listing_free(struct listing *listing);
void listing_path(char out[PATH_MAX_BYTES], const char *folder, const struct file_entry *entry, enum file_state state);

/* Not durable before folder_sync. What is not there any more is removed. */
must_use enum err listing_remove(struct io_files files, const char *folder, struct file_entry *entry);
must_use enum err file_remove(struct io_files files, const char *folder, log_offset offset, const char *ending);
must_use enum err folder_sync(struct io_files files, const char *folder);
