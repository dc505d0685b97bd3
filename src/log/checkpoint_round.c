/* The four checkpoint files of each log directory are written together: a round goes from shard to shard and gathers each
 * one's lines, and shard 0 has them written by a job. One round at a time; who asks meanwhile is in the next one. */
#include "log/checkpoint.h"
#include "log/parts.h"
#include <string.h>

static struct log_store *store_of(const struct shard *shard) { return shard->roles[ROLE_LOG]; }

struct checkpoint_request {
    struct message message;
    struct list node;
    struct log_store *store;      /* who asked */
    struct log_wait *wait;
    struct log *log;              /* that is settling */
    uint32_t kinds;               /* bits */
    enum err err;
};
struct lines { uint8_t *bytes; size_t size, capacity; uint32_t count; };
struct checkpoint_round {
    struct message message;
    struct log_job job;
    struct list requests;
    uint32_t kinds;               /* bits */
    uint32_t dirs, next_shard;
    enum err err;
    struct lines *lines;          /* [dir][kind], in the job's pool */
    uint64_t *settled;            /* of each dir: what `deleted` was when the round began */
    enum err *errs;               /* of each dir */
    bool ran;
};

static void add_line(struct checkpoint_round *round, uint32_t dir, enum checkpoint_kind kind, const char *topic, partition_index partition, log_offset offset) {
    struct lines *lines = &round->lines[dir * CHECKPOINT_KINDS + kind];
    if (offset < 0 || !(round->kinds & 1u << kind)) return;
    if (lines->size + CHECKPOINT_LINE_BYTES_MAX + 1 > lines->capacity) {
        size_t capacity = lines->capacity ? lines->capacity * 2 : 8192;
        uint8_t *grown = pool_realloc(&round->job.pool, lines->bytes, lines->capacity, capacity);
        if (!grown) { round->err = ERR_NO_MEMORY; return; }
        lines->bytes = grown;
        lines->capacity = capacity;
    }
    struct text text;
    text_init(&text, (char *)lines->bytes + lines->size, CHECKPOINT_LINE_BYTES_MAX + 1);
    checkpoint_offsets_line(span_text(topic), partition, offset, &text);
    lines->size += text.size;
    lines->count++;
}

static void gather_found(struct checkpoint_round *round, const struct log_dirs *dirs) {
    MAP_EACH(at, &dirs->found) {
        struct found *found = MAP_EACH_ITEM(at, struct found, node);
        if (atomic_load_explicit(&found->taken, memory_order_acquire)) continue;
        for (int kind = 0; kind < CHECKPOINT_KINDS; kind++)
            add_line(round, (uint32_t)(found->dir - dirs->dirs), (enum checkpoint_kind)kind, found->topic, found->partition, found->marks[kind]);
    }
}

static void gather_list(struct checkpoint_round *round, struct log_store *store, const struct list *logs) {
    LIST_EACH(at, logs) {
        struct log *log = LIST_ITEM(at, struct log, node);
        uint32_t dir = (uint32_t)(log->dir - store->dirs->dirs);
        add_line(round, dir, CHECKPOINT_RECOVERY, log->topic, log->partition, log->recovery_known ? log->recovery_point : -1);
        add_line(round, dir, CHECKPOINT_HIGH_WATERMARK, log->topic, log->partition, log->mark_known ? log->high_watermark : -1);
        add_line(round, dir, CHECKPOINT_START, log->topic, log->partition, log_start_is_above(log) ? log->start : -1);
        if (log->move) /* where it will be: its lines there mean nothing before */
            add_line(round, (uint32_t)(log_move_target(log) - store->dirs->dirs), CHECKPOINT_START, log->topic, log->partition, log_start_is_above(log) ? log->start : -1);
        add_line(round, dir, CHECKPOINT_CLEANER, log->topic, log->partition, log->config.cleanup_compact ? log->clean_point : -1);
        if (!(round->kinds & 1u << CHECKPOINT_RECOVERY)) continue;
        log->recovery_gathered = log->recovery_point;
        if (log->recovery_filed < log->recovery_point) log->recovery_filed = log->recovery_point;
    }
}

static void gather_logs(struct checkpoint_round *round, struct log_store *store) {
    gather_list(round, store, &store->logs);
    gather_list(round, store, &store->retired);
}

static enum err write_lines(struct checkpoint_round *round, struct io_files files, const char *folder, enum checkpoint_kind kind, const struct lines *lines) {
    char head[CHECKPOINT_HEAD_BYTES_MAX + 1];
    struct text text;
    text_init(&text, head, sizeof head);
    checkpoint_offsets_head(lines->count, &text);
    size_t size = text.size + lines->size;
    uint8_t *bytes = pool_alloc(&round->job.pool, size);
    if (!bytes) return ERR_NO_MEMORY;
    memcpy(bytes, head, text.size);
    if (lines->size) memcpy(bytes + text.size, lines->bytes, lines->size);
    enum err err = file_replace(files, folder, checkpoint_names[kind], bytes, size);
    pool_free(&round->job.pool, bytes, size);
    return err;
}

static enum err checkpoint_run(struct log_job *job, struct io_files files) {
    struct checkpoint_round *round = container_of(job, struct checkpoint_round, job);
    struct log_dirs *dirs = job->store->dirs;
    enum err worst = ERR_NONE;
    round->ran = true;
    for (uint32_t dir = 0; dir < round->dirs; dir++) {
        if (!log_dir_is_online(&dirs->dirs[dir])) continue;
        for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) {
            if (!(round->kinds & 1u << kind)) continue;
            enum err err = write_lines(round, files, dirs->dirs[dir].path, (enum checkpoint_kind)kind, &round->lines[dir * CHECKPOINT_KINDS + kind]);
            if (!err) continue;
            worst = round->errs[dir] = err;
            break;
        }
    }
    return worst;
}

static void starts_are_filed(struct log_store *store, enum err err);

/* What a round that ended with `err` means to this log: the trouble of another directory is not its own. */
static enum err filing_of(const struct log *log, enum err err) {
    enum err own = err ? (enum err)atomic_load(&log->dir->filing) : ERR_NONE;
    if (err && !own && log->move) own = (enum err)atomic_load(&log_move_target(log)->filing); /* it is to be there, too */
    return own;
}

static void request_back(struct shard *shard, struct message *message) {
    struct checkpoint_request *request = container_of(message, struct checkpoint_request, message);
    struct log_store *store = request->store;
    struct log *log = request->log;
    struct log_wait *wait = request->wait;
    enum err err = request->err;
    bool is_of_starts = request->kinds != CHECKPOINT_ALL_KINDS;
    pool_free(store->shard->pool, request, sizeof *request);
    if (is_of_starts) starts_are_filed(store, err);
    if (log) {
        log->settling = false;
        /* Of a directory that has failed nothing is written any more: its files say what they said. */
        if (!log_dir_is_online(log->dir)) log_fail(log, ERR_IO);
        else if (filing_of(log, err)) store_retry(store);
        else {
            log->recovery_filed = log->recovery_gathered;
            log_due(log);
        }
    }
    if (wait) wait->done(wait, err);
    store_turn_wanted(store);
}

static void answer_requests(struct log_store *store, struct list *requests, enum err err) {
    while (!list_is_empty(requests)) {
        struct checkpoint_request *request = LIST_ITEM(list_pop(requests), struct checkpoint_request, node);
        request->err = err;
        request->message.run = request_back;
        shard_send(store->shard, request->store->shard->index, &request->message);
    }
}

static void checkpoint_end(struct checkpoint_round *round, enum err err) {
    struct log_store *store = round->job.store;
    struct list requests;
    list_init(&requests);
    while (!list_is_empty(&round->requests)) list_push(&requests, list_pop(&round->requests));
    if (err) atomic_fetch_or(&store->dirs->dirty, round->kinds);
    for (uint32_t dir = 0; dir < round->dirs; dir++) {
        enum err own = round->ran ? round->errs[dir] : err;
        if (own == ERR_IO || own == ERR_NOT_FOUND) log_dir_fail(&store->dirs->dirs[dir]);
        atomic_store(&store->dirs->dirs[dir].filing, own);
        if (!own && round->settled && round->kinds == CHECKPOINT_ALL_KINDS) atomic_store(&store->dirs->dirs[dir].settled, round->settled[dir]);
    }
    struct pool *pool = &round->job.pool;
    for (uint32_t i = 0; round->lines && i < round->dirs * CHECKPOINT_KINDS; i++) pool_free(pool, round->lines[i].bytes, round->lines[i].capacity);
    pool_free(pool, round->lines, round->dirs * CHECKPOINT_KINDS * sizeof *round->lines);
    pool_free(pool, round->settled, round->dirs * sizeof *round->settled);
    pool_free(pool, round->errs, round->dirs * sizeof *round->errs);
    store->checkpoint = NULL;
    pool_destroy(pool);
    pool_free(store->shard->pool, round, sizeof *round);
    answer_requests(store, &requests, err);
    if (!list_is_empty(&store->checkpoint_requests)) checkpoint_begin(store, 0);
    store_turn_wanted(store);
}

static void checkpoint_finish(struct log_job *job) {
    checkpoint_end(container_of(job, struct checkpoint_round, job), job->err);
}

/* Back on shard 0 with everybody's lines. */
static void checkpoint_home(struct shard *shard, struct message *message) {
    struct checkpoint_round *round = container_of(message, struct checkpoint_round, message);
    assert(shard->index == 0);
    if (round->err) checkpoint_end(round, round->err);
    else job_start(&round->job);
}

/* On each shard in turn. */
static void checkpoint_visit(struct shard *shard, struct message *message) {
    struct checkpoint_round *round = container_of(message, struct checkpoint_round, message);
    struct log_store *store = store_of(shard);
    if (store) gather_logs(round, store);
    if (++round->next_shard < shard_count(shard->group)) { shard_send(shard, round->next_shard, message); return; }
    message->run = checkpoint_home;
    shard_send(shard, 0, message);
}

void checkpoint_begin(struct log_store *store, uint32_t kinds) {
    struct log_dirs *dirs = store->dirs;
    if (store->checkpoint) return; /* its end begins the next, if somebody asked */
    struct checkpoint_round *round = POOL_NEW(store->shard->pool, struct checkpoint_round);
    if (!round) {
        answer_requests(store, &store->checkpoint_requests, ERR_NO_MEMORY);
        return;
    }
    struct pool *pool = &round->job.pool;
    pool_init_child(pool, store->shard->pool, 0);
    list_init(&round->requests);
    while (!list_is_empty(&store->checkpoint_requests)) {
        struct checkpoint_request *request = LIST_ITEM(list_pop(&store->checkpoint_requests), struct checkpoint_request, node);
        kinds |= request->kinds;
        list_push(&round->requests, &request->node);
    }
    round->job.store = store;
    round->job.run = checkpoint_run;
    round->job.finish = checkpoint_finish;
    round->kinds = kinds;
    round->dirs = dirs->count;
    store->checkpoint = round;
    round->lines = pool_zero_alloc(pool, round->dirs * CHECKPOINT_KINDS * sizeof *round->lines);
    round->settled = pool_zero_alloc(pool, round->dirs * sizeof *round->settled);
    round->errs = pool_zero_alloc(pool, round->dirs * sizeof *round->errs);
    if (!round->lines || !round->settled || !round->errs) {
        checkpoint_end(round, ERR_NO_MEMORY);
        return;
    }
    atomic_fetch_and(&dirs->dirty, ~kinds);
    for (uint32_t i = 0; i < round->dirs; i++) round->settled[i] = atomic_load(&dirs->dirs[i].deleted);
    gather_found(round, dirs);
    round->message.run = checkpoint_visit;
    shard_send(store->shard, 0, &round->message);
}

/* On shard 0. */
static void request_arrive(struct shard *shard, struct message *message) {
    struct checkpoint_request *request = container_of(message, struct checkpoint_request, message);
    struct log_store *store = store_of(shard);
    assert(store);
    list_push(&store->checkpoint_requests, &request->node);
    checkpoint_begin(store, 0);
}

static bool request_new(struct log_store *store, uint32_t kinds, struct log_wait *wait, struct log *log) {
    struct checkpoint_request *request = POOL_NEW(store->shard->pool, struct checkpoint_request);
    if (!request) return false;
    list_init(&request->node);
    request->store = store;
    request->kinds = kinds;
    request->wait = wait;
    request->log = log;
    request->message.run = request_arrive;
    shard_send(store->shard, 0, &request->message);
    return true;
}

enum err log_store_checkpoint(struct log_store *store, struct log_wait *wait) {
    return request_new(store, CHECKPOINT_ALL_KINDS, wait, NULL) ? ERR_AGAIN : ERR_NO_MEMORY;
}

void store_settle(struct log *log) {
    log->settling = request_new(log->store, CHECKPOINT_ALL_KINDS, NULL, log);
    if (!log->settling) store_retry(log->store);
}

/* ---- Log start offsets whose file somebody waits for: one request of a shard at a time, for all that came until it is made. */

void store_file_start(struct log *log, struct log_wait *wait) {
    wait->log = log;
    wait->target = log->start;
    list_push(&log->store->start_waits, &wait->node);
    store_turn_wanted(log->store);
}

void store_forget_waits(const struct log *log) {
    struct list *lists[] = {&log->store->start_waits, &log->store->start_waits_asked};
    for (size_t i = 0; i < countof(lists); i++)
        LIST_EACH(at, lists[i]) {
            struct log_wait *wait = LIST_ITEM(at, struct log_wait, node);
            if (wait->log == log) wait->log = NULL;
        }
}

void checkpoint_starts(struct log_store *store) {
    if (store->start_asked || list_is_empty(&store->start_waits)) return;
    while (!list_is_empty(&store->start_waits)) list_push(&store->start_waits_asked, list_pop(&store->start_waits));
    store->start_asked = request_new(store, 1u << CHECKPOINT_START, NULL, NULL);
    if (!store->start_asked) starts_are_filed(store, ERR_NO_MEMORY);
}

static void starts_are_filed(struct log_store *store, enum err err) {
    struct list told;
    list_init(&told);
    while (!list_is_empty(&store->start_waits_asked)) list_push(&told, list_pop(&store->start_waits_asked));
    store->start_asked = false;
    while (!list_is_empty(&told)) {
        struct log_wait *wait = LIST_ITEM(list_pop(&told), struct log_wait, node);
        struct log *log = wait->log;
        enum err own = !log ? ERR_CLOSED : !log_dir_is_online(log->dir) ? ERR_IO : filing_of(log, err);
        if (!own && log->start_filed < wait->target) log->start_filed = wait->target;
        wait->done(wait, own);
    }
    store_turn_wanted(store);
}
