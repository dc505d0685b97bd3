/* DescribeLogDirs: what lies in which directory of this node, and how much room there is.
 *
 * The directories are read by a job, so that logs which are closed stay closed. What it found is then held against the
 * metadata: folders of partitions that this broker has no replica of are not told, and a replica that has no folder yet,
 * because nothing was written to it, is told with no bytes where it will be made. The files of an open log may have room
 * behind their data: its size is asked of the log itself, on each shard.
 */
#include "broker/broker.h"
#include "broker/fanout.h"
#include "broker/handlers.h"
#include "broker/partition.h"
#include "broker/topic.h"
#include <stdlib.h>

struct dir_entry {
    struct dir_entry *next;
    struct span topic;
    partition_index partition;
    uint32_t dir;
    int64_t bytes;
    bool is_future;
};
struct place {
    struct span topic;
    partition_index partition;
};
struct dir_state {
    bool failed;
    struct io_space space;
};
struct dirs_share {
    struct share share;               /* its arena holds what the job found */
    struct io_op op;
    struct log_dirs *dirs;
    struct place *asked;              /* sorted */
    size_t asked_count;
    bool all;
    struct dir_state *states;
    struct dir_entry *entries;
    uint32_t count, dir_count, dir;
    bool no_memory;
};
/* The logs that are open on one shard. */
struct open_size {
    struct open_size *next;
    struct span topic;
    partition_index partition;
    const struct log_dir *dir;
    int64_t bytes;
};
struct sizes_share {
    struct share share;               /* its arena holds the sizes */
    struct open_size *sizes;
    uint32_t count;
    bool no_memory;
};
struct dirs_work {
    struct describe_log_dirs_response response;
    struct dirs_share *share;
    struct sizes_share *sizes;        /* one for each shard */
};

static struct span name_of(const char *text) { return span_of(text, strlen(text)); }

static int by_partition(const void *a, const void *b) {
    const struct place *left = a, *right = b;
    int order = span_compare(left->topic, right->topic);
    return order ? order : left->partition < right->partition ? -1 : left->partition > right->partition;
}

/* ---- The job, on an offload thread */

static bool wanted(void *context, const char *topic, partition_index partition) {
    const struct dirs_share *share = context;
    struct place key = {name_of(topic), partition};
    return share->all || (share->asked_count && bsearch(&key, share->asked, share->asked_count, sizeof key, by_partition));
}

static int note(void *context, const struct log_dir_entry *found) {
    struct dirs_share *share = context;
    struct arena *arena = &share->share.arena;
    struct dir_entry *entry = ARENA_NEW(arena, struct dir_entry);
    size_t size = strlen(found->topic);
    const void *name = entry ? arena_copy(arena, found->topic, size) : NULL;
    if (!name) {
        share->no_memory = true;
        return 1;
    }
    *entry = (struct dir_entry){.next = share->entries, .topic = span_of(name, size), .partition = found->partition, .dir = share->dir,
                                .bytes = (int64_t)found->bytes, .is_future = found->is_future};
    share->entries = entry;
    share->count++;
    return 0;
}

static int64_t read_dirs(struct io_op *op, struct io_files files) {
    struct dirs_share *share = container_of(op, struct dirs_share, op);
    for (share->dir = 0; share->dir < share->dir_count && !share->no_memory; share->dir++) {
        struct log_dir *dir = log_dirs_at(share->dirs, share->dir);
        struct dir_state *state = &share->states[share->dir];
        state->failed = !log_dir_is_online(dir) || files.vtable->space(files.self, log_dir_path(dir), &state->space) < 0 ||
            log_dir_scan(dir, files, wanted, note, share) < 0;
    }
    return 0;
}

static void were_read(struct io_op *op) {
    struct dirs_share *share = container_of(op, struct dirs_share, op);
    if (op->result < 0) share->no_memory = true; /* it did not run */
    fanout_done(&share->share);
}

static void run(struct share *base) {
    struct dirs_share *share = container_of(base, struct dirs_share, share);
    share->op = (struct io_op){.kind = IO_OP_JOB, .done = were_read, .job = {.run = read_dirs}};
    io_submit(base->there->shard->io, &share->op);
}

static void gather_sizes(struct share *base) {
    struct sizes_share *share = container_of(base, struct sizes_share, share);
    MAP_EACH(at, &base->there->partitions) {
        const struct partition *partition = MAP_EACH_ITEM(at, struct partition, node);
        if (!partition->log || partition->is_deleting || log_state(partition->log) != LOG_OPEN) continue;
        struct span name = partition->topic->name;
        struct open_size *size = ARENA_NEW(&base->arena, struct open_size);
        const void *copy = size ? arena_copy(&base->arena, name.data, name.size) : NULL;
        if (!copy) {
            share->no_memory = true;
            break;
        }
        *size = (struct open_size){.next = share->sizes, .topic = span_of(copy, name.size), .partition = partition->index,
                                   .dir = log_dir_of(partition->log), .bytes = (int64_t)log_size(partition->log)};
        share->sizes = size;
        share->count++;
    }
    fanout_done(base);
}

/* ---- The answer */

static const struct image_partition *own_replica(const struct broker *broker, const struct image_topic *topic, partition_index index) {
    const struct image_partition *state = topic ? image_partition(topic, index) : NULL;
    return state && image_replica_index(state, broker->node->id) >= 0 ? state : NULL;
}

static int by_place(const void *a, const void *b) {
    const struct dir_entry *left = *(const struct dir_entry *const *)a, *right = *(const struct dir_entry *const *)b;
    if (left->dir != right->dir) return left->dir < right->dir ? -1 : 1;
    int order = span_compare(left->topic, right->topic);
    if (order) return order;
    if (left->partition != right->partition) return left->partition < right->partition ? -1 : 1;
    return (int)left->is_future - (int)right->is_future;
}

static int by_name(const void *a, const void *b) {
    const struct dir_entry *left = *(const struct dir_entry *const *)a, *right = *(const struct dir_entry *const *)b;
    int order = span_compare(left->topic, right->topic);
    return order ? order : left->partition < right->partition ? -1 : left->partition > right->partition;
}

/* The directory of a replica that has no folder yet: as partition_get will choose it. */
static uint32_t dir_to_come(const struct broker *broker, const struct image_partition *state) {
    struct log_dirs *dirs = broker->node->dirs;
    struct log_dir *dir = log_dirs_by_id(dirs, image_directory(state, (uint32_t)image_replica_index(state, broker->node->id)));
    if (!dir) dir = log_dirs_emptiest(dirs);
    for (uint32_t i = 0; i < log_dirs_count(dirs); i++)
        if (log_dirs_at(dirs, i) == dir) return i;
    return 0;
}

struct collection {
    struct request *request;
    struct dir_entry **items;  /* those that were found, in the order of names; then others behind */
    uint32_t found, count, capacity;
};

static bool add(struct collection *collection, struct dir_entry *entry) {
    if (collection->count == collection->capacity) {
        uint32_t capacity = collection->capacity ? collection->capacity * 2 : 64;
        struct dir_entry **items = REQUEST_ARRAY(collection->request, capacity, struct dir_entry *);
        if (!items) return false;
        if (collection->count) memcpy(items, collection->items, collection->count * sizeof *items);
        collection->items = items;
        collection->capacity = capacity;
    }
    collection->items[collection->count++] = entry;
    return true;
}

static bool was_found(const struct collection *collection, struct span topic, partition_index partition) {
    const struct dir_entry wanted_entry = {.topic = topic, .partition = partition}, *key = &wanted_entry;
    return collection->found && bsearch(&key, collection->items, collection->found, sizeof *collection->items, by_name);
}

static bool add_missing_of(struct collection *collection, const struct image_topic *topic, const struct image_partition *state) {
    struct broker *broker = collection->request->broker;
    if (image_replica_index(state, broker->node->id) < 0 || was_found(collection, topic->name, state->index)) return true;
    struct dir_entry *entry = REQUEST_NEW(collection->request, struct dir_entry);
    if (!entry) return false;
    *entry = (struct dir_entry){.topic = topic->name, .partition = state->index, .dir = dir_to_come(broker, state)};
    return add(collection, entry);
}

static bool add_missing(struct collection *collection) {
    const struct describe_log_dirs_request *in = collection->request->in;
    const struct image *image = collection->request->broker->image;
    for (const struct image_topic *topic = in->topics_count < 0 ? image_topic_next(image, NULL) : NULL; topic; topic = image_topic_next(image, topic))
        for (const struct image_partition *p = image_partition_next(topic, NULL); p; p = image_partition_next(topic, p))
            if (!add_missing_of(collection, topic, p)) return false;
    for (int32_t t = 0; t < in->topics_count; t++) {
        const struct image_topic *topic = image_topic(image, in->topics[t].topic);
        for (int32_t i = 0; topic && i < in->topics[t].partitions_count; i++) {
            const struct image_partition *p = image_partition(topic, in->topics[t].partitions[i]);
            if (p && !add_missing_of(collection, topic, p)) return false;
        }
    }
    return true;
}

/* What the job found and the metadata know, and what only the metadata know, in the answer's order; named twice, once. */
static bool collect(struct collection *collection, const struct dirs_share *share) {
    const struct broker *broker = collection->request->broker;
    for (struct dir_entry *entry = share->entries; entry; entry = entry->next)
        if (own_replica(broker, image_topic(broker->image, entry->topic), entry->partition) && !add(collection, entry)) return false;
    collection->found = collection->count;
    if (collection->found > 1) qsort(collection->items, collection->found, sizeof *collection->items, by_name);
    if (!add_missing(collection)) return false;
    if (collection->count > 1) qsort(collection->items, collection->count, sizeof *collection->items, by_place);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < collection->count; i++)
        if (kept == 0 || by_place(&collection->items[kept - 1], &collection->items[i]) != 0) collection->items[kept++] = collection->items[i];
    collection->count = kept;
    return true;
}

static int by_open(const void *a, const void *b) {
    const struct open_size *left = *(const struct open_size *const *)a, *right = *(const struct open_size *const *)b;
    int order = span_compare(left->topic, right->topic);
    return order ? order : left->partition < right->partition ? -1 : left->partition > right->partition;
}

/* What open logs say of their size counts more than their files. */
static bool correct_sizes(struct request *request, struct dirs_share *share, const struct sizes_share *sizes) {
    uint32_t count = 0, shards = request->broker->shards;
    for (uint32_t i = 0; i < shards; i++) {
        if (sizes[i].no_memory) share->no_memory = true;
        count += sizes[i].count;
    }
    struct open_size **open = count ? REQUEST_ARRAY(request, count, struct open_size *) : NULL;
    if (!open) return count == 0;
    count = 0;
    for (uint32_t i = 0; i < shards; i++)
        for (struct open_size *size = sizes[i].sizes; size; size = size->next) open[count++] = size;
    qsort(open, count, sizeof *open, by_open);
    for (struct dir_entry *entry = share->entries; entry; entry = entry->next) {
        const struct open_size wanted_size = {.topic = entry->topic, .partition = entry->partition}, *key = &wanted_size;
        struct open_size **found = entry->is_future ? NULL : bsearch(&key, open, count, sizeof *open, by_open);
        if (found && (*found)->dir == log_dirs_at(share->dirs, entry->dir)) entry->bytes = (*found)->bytes;
    }
    return true;
}

static bool is_cordoned(const struct broker *broker, const struct log_dir *dir) {
    const struct image_broker *self = image_broker(broker->image, broker->node->id);
    for (uint32_t i = 0; self && self->cordoned_known && i < self->cordoned_count; i++)
        if (uuid_equal(self->cordoned[i], log_dir_id(dir))) return true;
    return false;
}

typedef struct describe_log_dirs_response_describe_log_dirs_result dir_result;
typedef struct describe_log_dirs_response_describe_log_dirs_topic topic_result;
typedef struct describe_log_dirs_response_describe_log_dirs_partition partition_result;

/* The entries of one directory lie together, in the order of topics. */
static bool fill_dir(struct request *request, dir_result *out, struct dir_entry *const *entries, uint32_t count) {
    uint32_t topics = 0;
    for (uint32_t i = 0; i < count; i++) topics += i == 0 || !span_equal(entries[i]->topic, entries[i - 1]->topic);
    out->topics = describe_log_dirs_response_describe_log_dirs_topic_array(&request->arena, (int32_t)topics);
    partition_result *partitions = describe_log_dirs_response_describe_log_dirs_partition_array(&request->arena, (int32_t)count);
    if (!out->topics || !partitions) return false;
    topic_result *topic = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (!topic || !span_equal(topic->name, entries[i]->topic)) {
            topic = &out->topics[out->topics_count++];
            topic->name = entries[i]->topic;
            topic->partitions = &partitions[i];
        }
        partition_result *partition = &topic->partitions[topic->partitions_count++];
        partition->partition_index = entries[i]->partition;
        partition->partition_size = entries[i]->bytes;
        partition->is_future_key = entries[i]->is_future;
    }
    return true;
}

static void joined(struct request *request) {
    struct dirs_work *work = request->work;
    struct dirs_share *share = work->share;
    struct describe_log_dirs_response *out = &work->response;
    struct collection collection = {.request = request};
    if (!correct_sizes(request, share, work->sizes)) return;
    if (share->no_memory) goto over_budget;
    if (!collect(&collection, share)) return;
    out->results = describe_log_dirs_response_describe_log_dirs_result_array(&request->arena, (int32_t)share->dir_count);
    if (!out->results) goto over_budget;
    uint32_t from = 0;
    for (uint32_t d = 0; d < share->dir_count; d++) {
        const struct log_dir *dir = log_dirs_at(share->dirs, d);
        dir_result *result = &out->results[out->results_count++];
        uint32_t upto = from;
        while (upto < collection.count && collection.items[upto]->dir == d) upto++;
        result->log_dir = name_of(log_dir_path(dir));
        if (share->states[d].failed) {
            result->error_code = KAFKA_KAFKA_STORAGE_ERROR;
        } else {
            result->total_bytes = (int64_t)share->states[d].space.total;
            result->usable_bytes = (int64_t)share->states[d].space.available;
            result->is_cordoned = is_cordoned(request->broker, dir);
            if (upto > from && !fill_dir(request, result, collection.items + from, upto - from)) goto over_budget;
        }
        from = upto;
    }
    request_reply(request, out);
    return;
over_budget:
    request_refuse(request, "over budget");
}

static bool list_asked(struct request *request, struct dirs_share *share) {
    const struct describe_log_dirs_request *in = request->in;
    size_t count = 0;
    share->all = in->topics_count < 0;
    for (int32_t t = 0; t < in->topics_count; t++) count += (size_t)in->topics[t].partitions_count;
    if (!(share->asked = REQUEST_ARRAY(request, count, struct place))) return false;
    for (int32_t t = 0; t < in->topics_count; t++)
        for (int32_t p = 0; p < in->topics[t].partitions_count; p++)
            share->asked[share->asked_count++] = (struct place){in->topics[t].topic, in->topics[t].partitions[p]};
    if (count > 1) qsort(share->asked, count, sizeof *share->asked, by_partition);
    return true;
}

void handle_describe_log_dirs(struct request *request) {
    struct broker *broker = request->broker;
    struct dirs_work *work = REQUEST_NEW(request, struct dirs_work);
    struct dirs_share *share = work ? REQUEST_NEW(request, struct dirs_share) : NULL;
    if (!share || !(work->sizes = REQUEST_ARRAY(request, broker->shards, struct sizes_share))) return;
    memset(work->sizes, 0, broker->shards * sizeof *work->sizes);
    request->work = work;
    work->share = share;
    describe_log_dirs_response_init(&work->response);
    share->dirs = broker->node->dirs;
    if (!list_asked(request, share)) return;
    share->dir_count = log_dirs_count(share->dirs);
    if (!(share->states = REQUEST_ARRAY(request, share->dir_count, struct dir_state))) return;
    arena_init_travelling(&share->share.arena, broker->shard->pool, 0);
    for (uint32_t i = 0; i < broker->shards; i++) arena_init_travelling(&work->sizes[i].share.arena, broker->shard->pool, 0);
    fanout_begin(request, joined);
    for (uint32_t i = 0; i < broker->shards; i++) fanout_send(request, i, &work->sizes[i].share, gather_sizes, NULL);
    fanout_send(request, broker->shard->index, &share->share, run, NULL);
    fanout_sent(request);
}
