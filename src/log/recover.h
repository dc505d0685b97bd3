/* log/recover.h - what a partition's directory holds, up to where it is good: the work of an opening, and of a cut.
 *
 * After a clean stop only the last few KiB are looked at. Else everything from the recovery point on is verified, batch by
 * batch; the first one that is not good ends the log: the rest is cut off, kept aside once (`moldau.cut-<offset>`), and
 * reported. Segments that then follow a gap go the same way, unless the topic is compacted, where gaps are no loss.
 * What was verified is synced before anybody may call it flushed. On the way indexes, epochs, producers and aborted
 * transactions of that part are made anew. Temporary files of a crash (.deleted, .cleaned, .swap) are settled as Kafka does.
 *
 * Runs on an offload thread, or anywhere in tests and tools: nothing here knows the shard.
 */
#pragma once
#include "log/parts.h"

struct recover_input {
    struct io_files files;
    struct pool *body_pool;       /* what the body is made of                                  */
    struct pool *work_pool;       /* what is only needed meanwhile                             */
    const char *parent;           /* the log directory                                         */
    const char *folder;           /* the partition's                                           */
    struct uuid topic_id;         /* zero: take what is there                                  */
    const struct log_config *config;
    log_offset start_mark;        /* from the checkpoint; -1: none                             */
    log_offset recovery_point;    /* -1: none                                                  */
    bool create, clean;
    bool cut;                     /* a truncation: epochs behind the end go from their file, too */
    time_ms now_ms;
    time_ms producer_expiration_ms;
    struct log *log;              /* only put into the segments */
    struct log_report *report;    /* filled in also when it fails; may be NULL */
};
/* ERR_NOT_FOUND: no directory, and not to be made; ERR_FENCED: of another topic id (*topic_id says which). */
must_use enum err recover(const struct recover_input *input, struct log_body **body, struct uuid *topic_id);
void recover_body_free(struct log_body *body, struct pool *pool);

/* leader-epoch-checkpoint, replaced. */
must_use enum err epochs_write(struct io_files files, const char *folder, struct epoch_cache *epochs, struct pool *pool);

/* Cuts the files at `offset`: later segments go, from the last on, then the end of the one that holds it. With `copy`
 * the file is replaced instead of cut: somebody reads it. */
must_use enum err recover_cut(struct io_files files, struct pool *pool, const char *folder, log_offset offset, bool copy);
/* Every segment, index and snapshot goes; the epochs, too. */
must_use enum err recover_wipe(struct io_files files, const char *folder);
