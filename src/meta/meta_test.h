/* meta/meta_test.h - what tests of metadata share: logs from disk, vectors, random logs. */
#pragma once
#include "base/random.h"
#include "meta/meta.h"
#include "wire/batch.h"
#include "wire/record_frame.h"
#include "wire/records.h"

/* Calls `record` for each data record's value of a segment or snapshot file of the vectors, in order; the position is
 * that of the batch's end after its last record, else -1. */
struct log_walk {
    void *context;
    void (*record)(void *context, struct span value, const struct batch *batch, bool last_of_batch);
};
void walk_vector_log(const char *path, const struct log_walk *walk);
/* Calls `value` for each framed record of test/vectors/metadata. Answers how many files there were. */
uint32_t walk_vector_records(void *context, void (*value)(void *context, const char *name, struct span framed));

/* A log that could be: records that fit the state so far, of every type. */
struct random_log {
    struct random random;
    struct arena *arena;     /* borrows: the records */
    struct delta *delta;     /* borrows: what was told so far */
    bool in_transaction;
};
/* The next record, encoded. It has not been applied. */
struct span random_log_next(struct random_log *log);
