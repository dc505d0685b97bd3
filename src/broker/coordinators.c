#include "broker/coordinators.h"
#include "broker/broker.h"
#include "broker/partition.h"
#include "broker/topic.h"
#include "wire/batch.h"

static const struct span OFFSETS_TOPIC = {(const uint8_t *)"__consumer_offsets", 18};
enum { LOADING_MAX_MS = 30000, REQUESTS_MAX = 10000, BATCH_BYTES_MAX = 100 << 20 };

struct coordinator {
    struct map_node node;            /* in coordinators->by_partition */
    struct coordinators *all;
    struct broker *broker;
    struct partition *partition;     /* NULL: not led (any more) */
    partition_index index;
    struct partition_listener listener;
    struct coord *coord;
    struct group_machine *machine;
    struct timer timer;
    struct log_wait opening;
    struct list waiting;             /* group_call.node: until it is loaded */
    time_ms loading_since_ms;
    log_offset told_unreadable;      /* where what was last told lies; -1: nothing was */
    bool is_open;                    /* the log is held open */
    bool is_opening;                 /* `opening` is the log's, maybe on behalf of a former life */
    /* One read at a time, while loading. */
    struct { struct log_read log; struct arena arena; struct chain chain; struct io_op op; void *buffer; size_t bytes; uint64_t load; bool busy; } read;
};

struct coordinators {
    struct broker *broker;
    enum compression codec;          /* of what is written */
    struct map by_partition;
};

static bool is_partition(const struct map_node *node, const void *key) {
    return MAP_ITEM(node, struct coordinator, node)->index == *(const partition_index *)key;
}

static struct coord_now now_of(struct broker *broker) {
    return (struct coord_now){.now_ms = shard_now(broker->shard) / NS_PER_MS, .wall_ms = shard_wall(broker->shard), .random = &broker->random};
}

/* ---- the log below ------------------------------------------------------------------------------------------------ */

static enum kafka_error log_append_batch(void *self, const struct coord_batch *batch, log_offset *end) {
    struct coordinator *coordinator = self;
    struct broker *broker = coordinator->broker;
    struct partition *partition = coordinator->partition;
    struct slab *slab = NULL;
    enum err err = ERR_NONE;
    if (!partition) return KAFKA_NOT_LEADER_OR_FOLLOWER;
    if (batch->marker != COORD_MARKER_NONE) {
        err = batch_build_marker(broker->shard->pool, batch->marker == COORD_MARKER_COMMIT ? CONTROL_COMMIT : CONTROL_ABORT, batch->producer_id,
                                 batch->producer_epoch, batch->coordinator_epoch, batch->timestamp_ms, &slab);
    } else {
        struct batch_builder builder;
        struct batch_options options;
        batch_options_init(&options);
        options.codec = coordinator->all->codec;
        options.producer_id = batch->producer_id;
        options.producer_epoch = batch->producer_epoch;
        options.transactional = batch->producer_id >= 0;
        batch_builder_init(&builder, broker->shard->pool, BATCH_BYTES_MAX, &options);
        for (uint32_t i = 0; i < batch->count && !err; i++)
            err = batch_builder_add(&builder, batch->timestamp_ms, batch->records[i].key, batch->records[i].value, NULL, 0);
        if (!err) err = batch_builder_finish(&builder, &broker->codecs, &slab);
        batch_builder_destroy(&builder);
    }
    if (err) return err == ERR_LIMIT ? KAFKA_RECORD_LIST_TOO_LARGE : KAFKA_KAFKA_STORAGE_ERROR;
    if (batch->is_bounded && slab->used > (uint32_t)partition->topic->settings.verify.message_bytes_max) {
        slab_drop(slab);
        return KAFKA_MESSAGE_TOO_LARGE;
    }
    enum kafka_error error = partition_append(partition, slab->bytes, slab->used, slab, batch->marker != COORD_MARKER_NONE ? batch->coordinator_epoch : -1, end);
    slab_drop(slab);
    return error;
}

static void read_over(struct coordinator *coordinator, enum err err, struct span bytes) {
    struct coord_now now = now_of(coordinator->broker);
    uint64_t load = coordinator->read.load;
    coordinator->read.busy = false;
    coord_read_done_bytes(coordinator->coord, &now, load, err, bytes);
    if (coordinator->read.busy) return; /* it asked for the next piece from within */
    chain_clear(&coordinator->read.chain);
    arena_reset(&coordinator->read.arena);
}

static void coordinator_progress(struct coordinator *coordinator);

static void coordinator_free(struct coordinator *coordinator) {
    chain_clear(&coordinator->read.chain);
    arena_destroy(&coordinator->read.arena);
    pool_free(coordinator->broker->shard->pool, coordinator, sizeof *coordinator);
}

/* What was under way when the coordinators were closed has come back: the last of this one can go. */
static bool was_closed(struct coordinator *coordinator) {
    if (coordinator->coord) return false;
    coordinator_free(coordinator);
    return true;
}

static void file_read(struct io_op *op) {
    struct coordinator *coordinator = container_of(op, struct coordinator, read.op);
    struct pool *pool = coordinator->broker->shard->pool;
    enum err err = op->result < 0 ? err_from_errno((long)op->result) : ERR_NONE;
    struct span bytes = span_of(coordinator->read.buffer, err ? 0 : (size_t)op->result);
    void *buffer = coordinator->read.buffer;
    size_t size = coordinator->read.bytes;
    coordinator->read.buffer = NULL;
    chain_clear(&coordinator->read.chain);
    bool is_closed = was_closed(coordinator);
    if (!is_closed) read_over(coordinator, err, bytes);
    pool_free(pool, buffer, size);
    if (!is_closed) coordinator_progress(coordinator);
}

static void was_read(struct coordinator *coordinator, enum err err) {
    struct chain *chain = &coordinator->read.chain;
    if (err || chain->bytes == 0) {
        read_over(coordinator, err, span_of(NULL, 0));
        return;
    }
    coordinator->read.bytes = chain->bytes;
    coordinator->read.buffer = pool_alloc(coordinator->broker->shard->pool, chain->bytes);
    if (!coordinator->read.buffer) {
        read_over(coordinator, ERR_NO_MEMORY, span_of(NULL, 0));
        return;
    }
    if (chain->first->kind == SLICE_MEMORY) {
        void *buffer = coordinator->read.buffer;
        size_t bytes = chain_copy_out(chain, buffer, chain->bytes), size = coordinator->read.bytes;
        coordinator->read.buffer = NULL;
        chain_clear(chain);
        read_over(coordinator, ERR_NONE, span_of(buffer, bytes));
        pool_free(coordinator->broker->shard->pool, buffer, size);
        return;
    }
    coordinator->read.op = (struct io_op){.kind = IO_OP_READ, .done = file_read};
    coordinator->read.op.disk.file = (struct io_file *)(void *)chain->first->file.file;
    coordinator->read.op.disk.offset = chain->first->file.offset;
    coordinator->read.op.disk.data = coordinator->read.buffer;
    coordinator->read.op.disk.size = chain->first->size;
    io_submit(coordinator->broker->shard->io, &coordinator->read.op);
}

static void log_read_done(struct log_read *read, enum err err) {
    struct coordinator *coordinator = container_of(read, struct coordinator, read.log);
    if (was_closed(coordinator)) return;
    was_read(coordinator, err);
    coordinator_progress(coordinator);
}

static void log_read_batches(void *self, log_offset from, uint32_t bytes_max, uint64_t load) {
    struct coordinator *coordinator = self;
    coordinator->read.load = load;
    coordinator->read.busy = true;
    chain_clear(&coordinator->read.chain);
    if (!coordinator->partition) {
        read_over(coordinator, ERR_CLOSED, span_of(NULL, 0));
        return;
    }
    log_offset start = log_start(coordinator->partition->log);
    coordinator->read.log = (struct log_read){.log = coordinator->partition->log, .from = from < start ? start : from, .bytes_max = bytes_max,
                                              .min_one = true, .upto = LOG_UPTO_END, .out = &coordinator->read.chain, .done = log_read_done};
    enum err err = log_read(&coordinator->read.log);
    if (err != ERR_AGAIN) was_read(coordinator, err);
}

static log_offset log_end_of(void *self) {
    struct coordinator *coordinator = self;
    return coordinator->partition ? log_end(coordinator->partition->log) : 0;
}

static log_offset log_committed_of(void *self) {
    struct coordinator *coordinator = self;
    return coordinator->partition ? log_high_watermark(coordinator->partition->log) : 0;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static void answer_with(struct group_call *call, enum kafka_error error) {
    assert(error != KAFKA_NONE); /* it would say that what was asked for is done */
    call->coord.group.error = error;
    call->coord.group.answer.any = NULL;
    (void)!group_error_answer(&call->coord.group, error);
    call->done(call);
}

static void replied(struct coord_request *request) {
    struct group_call *call = container_of(container_of(request, struct coord_group_request, host), struct group_call, coord);
    if (request->error) answer_with(call, request->error);
    else call->done(call);
}

static void timer_fired(struct timer *timer) {
    struct coordinator *coordinator = container_of(timer, struct coordinator, timer);
    struct coord_now now = now_of(coordinator->broker);
    if (coordinator->is_open) coord_tick(coordinator->coord, &now);
    coordinator_progress(coordinator);
}

static void answer_waiting(struct coordinator *coordinator, enum kafka_error error) {
    struct list *node;
    while ((node = list_pop(&coordinator->waiting))) answer_with(LIST_ITEM(node, struct group_call, node), error);
}

/* What the partition has cannot be read: going on without it would give out older offsets than were committed. As Apache
 * Kafka answers then, this is no coordinator; the groups of other partitions are not touched by it. */
static void refuse_unreadable(struct coordinator *coordinator) {
    log_offset at;
    enum err err = coord_load_failure(coordinator->coord, &at);
    if (!err) return;
    if (coordinator->told_unreadable != at)
        broker_trace(coordinator->broker, "partition %.*s-%d: what is committed there cannot be read at offset %lld: %s; its groups are refused",
                     (int)OFFSETS_TOPIC.size, (const char *)OFFSETS_TOPIC.data, coordinator->index, (long long)at, err_text(err));
    coordinator->told_unreadable = at;
    answer_waiting(coordinator, KAFKA_NOT_COORDINATOR);
}

/* After every event: what waited for the loading goes in, and the timer is set for what comes next. */
static void coordinator_progress(struct coordinator *coordinator) {
    struct broker *broker = coordinator->broker;
    struct coord_now now = now_of(broker);
    if (coord_state(coordinator->coord) == COORD_SERVING) {
        struct list *node;
        while ((node = list_pop(&coordinator->waiting))) coord_request(coordinator->coord, &LIST_ITEM(node, struct group_call, node)->coord.host, &now);
    }
    refuse_unreadable(coordinator);
    time_ms deadline = coord_next_deadline(coordinator->coord);
    if (!list_is_empty(&coordinator->waiting)) {
        time_ms give_up = coordinator->loading_since_ms + LOADING_MAX_MS;
        if (now.now_ms >= give_up) answer_waiting(coordinator, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        else if (give_up < deadline) deadline = give_up;
    }
    if (deadline == INT64_MAX) timer_cancel(broker->shard, &coordinator->timer);
    else if (!timer_set(broker->shard, &coordinator->timer, deadline * NS_PER_MS, timer_fired)) broker_trace(broker, "no memory for a coordinator's timer");
}

static void high_watermark_moved(struct partition_listener *listener, log_offset offset) {
    struct coordinator *coordinator = container_of(listener, struct coordinator, listener);
    if (!coordinator->is_open) return;
    coord_committed(coordinator->coord, offset);
    coordinator_progress(coordinator);
}

static void partition_gone(struct partition_listener *listener) {
    struct coordinator *coordinator = container_of(listener, struct coordinator, listener);
    coord_lost(coordinator->coord);
    answer_waiting(coordinator, KAFKA_NOT_COORDINATOR);
    timer_cancel(coordinator->broker->shard, &coordinator->timer);
    if (coordinator->is_open) log_release(coordinator->partition->log);
    if (coordinator->is_opening) coordinator->partition->waiting--;
    coordinator->is_open = false;
    coordinator->partition = NULL;
}

static void log_is_open(struct coordinator *coordinator, enum err err) {
    if (!coordinator->partition) return;
    coordinator->partition->waiting--;
    if (err || partition_lead(coordinator->partition) != KAFKA_NONE) {
        answer_waiting(coordinator, KAFKA_NOT_COORDINATOR);
        list_remove(&coordinator->listener.node);
        coordinator->partition = NULL;
        return;
    }
    struct coord_now now = now_of(coordinator->broker);
    log_hold(coordinator->partition->log);
    coordinator->is_open = true;
    coord_won(coordinator->coord, &now, log_start(coordinator->partition->log));
    coordinator_progress(coordinator);
}

static void log_opened(struct log_wait *wait, enum err err) {
    struct coordinator *coordinator = container_of(wait, struct coordinator, opening);
    coordinator->is_opening = false;
    if (was_closed(coordinator)) return;
    log_is_open(coordinator, err);
}

static void start(struct coordinator *coordinator, struct partition *partition) {
    coordinator->partition = partition;
    coordinator->loading_since_ms = shard_now(coordinator->broker->shard) / NS_PER_MS;
    partition_listen(partition, &coordinator->listener);
    coordinator->opening.done = log_opened;
    partition->waiting++;
    enum err err = log_open(partition->log, &coordinator->opening);
    coordinator->is_opening = err == ERR_AGAIN;
    if (err != ERR_AGAIN) log_is_open(coordinator, err);
}

static struct group_settings settings_of(struct broker *broker) {
    struct config_view view = broker_config_view(broker);
    struct group_settings settings = group_settings_default();
    settings.session_timeout_ms_min = (int32_t)config_number(&view, KEY_group_min_session_timeout_ms);
    settings.session_timeout_ms_max = (int32_t)config_number(&view, KEY_group_max_session_timeout_ms);
    settings.initial_rebalance_delay_ms = (int32_t)config_number(&view, KEY_group_initial_rebalance_delay_ms);
    settings.size_max = (int32_t)config_number(&view, KEY_group_max_size);
    settings.offset_metadata_bytes_max = (int32_t)config_number(&view, KEY_offset_metadata_max_bytes);
    settings.offsets_retention_ms = config_number(&view, KEY_offsets_retention_minutes) * 60000;
    settings.offsets_check_interval_ms = config_number(&view, KEY_offsets_retention_check_interval_ms);
    return settings;
}

static struct coordinator *make(struct coordinators *all, partition_index index) {
    struct broker *broker = all->broker;
    struct pool *pool = broker->shard->pool;
    struct coordinator *coordinator = POOL_NEW(pool, struct coordinator);
    if (!coordinator) return NULL;
    coordinator->all = all;
    coordinator->broker = broker;
    coordinator->index = index;
    coordinator->told_unreadable = -1;
    coordinator->listener.high_watermark = high_watermark_moved;
    coordinator->listener.gone = partition_gone;
    list_init(&coordinator->listener.node);
    list_init(&coordinator->waiting);
    arena_init(&coordinator->read.arena, pool, 0);
    chain_init(&coordinator->read.chain, &coordinator->read.arena);
    struct group_settings settings = settings_of(broker);
    if (!(coordinator->machine = group_machine_new(pool, &settings))) goto fail;
    struct coord_options options = {
        .pool = pool, .requests_max = REQUESTS_MAX,
        .log = {.self = coordinator, .append = log_append_batch, .read = log_read_batches, .end = log_end_of, .committed = log_committed_of},
        .machine = coord_group_machine(coordinator->machine), .codecs = &broker->codecs,
    };
    if (coord_open(&coordinator->coord, &options)) goto fail;
    if (!map_insert(&all->by_partition, &coordinator->node, hash_u64((uint32_t)index))) goto fail;
    return coordinator;
fail:
    coord_close(coordinator->coord);
    group_machine_free(coordinator->machine);
    pool_free(pool, coordinator, sizeof *coordinator);
    return NULL;
}

static struct coordinator *find(const struct coordinators *all, partition_index index) {
    struct map_node *node = map_find(&all->by_partition, hash_u64((uint32_t)index), &index);
    return node ? MAP_ITEM(node, struct coordinator, node) : NULL;
}

/* NULL, and why: not led here, or no memory. */
static struct coordinator *get(struct coordinators *all, partition_index index, enum kafka_error *why) {
    struct broker *broker = all->broker;
    struct coordinator *coordinator = find(all, index);
    *why = KAFKA_COORDINATOR_NOT_AVAILABLE;
    if (!coordinator && !(coordinator = make(all, index))) return NULL;
    if (coordinator->partition) return coordinator;
    if (coordinator->read.busy || coordinator->is_opening) return NULL; /* of a former life: soon over */
    struct uuid topic_id;
    *why = KAFKA_NOT_COORDINATOR;
    if (!broker_topic_id(broker, OFFSETS_TOPIC, &topic_id)) return NULL;
    struct partition *partition = partition_get(broker, topic_id, index, why);
    *why = KAFKA_NOT_COORDINATOR; /* also of a partition that is there, and that this broker does not lead now */
    if (!partition) return NULL;
    start(coordinator, partition);
    return coordinator->partition ? coordinator : NULL;
}

enum kafka_error coordinators_place(const struct broker *broker, struct span group_id, partition_index *partition, uint32_t *shard) {
    const struct image_topic *topic = image_topic(broker->image, OFFSETS_TOPIC);
    if (!topic || topic->partition_count == 0) return KAFKA_NOT_COORDINATOR;
    *partition = group_partition(group_id, (int32_t)topic->partition_count);
    const struct image_partition *state = image_partition(topic, *partition);
    if (!state || state->leader != broker->node->id) return KAFKA_NOT_COORDINATOR;
    *shard = partition_shard(broker, topic->id, *partition);
    return KAFKA_NONE;
}

void coordinators_group_call(struct coordinators *all, partition_index partition, struct group_call *call) {
    enum kafka_error why;
    struct coordinator *coordinator = get(all, partition, &why);
    call->coord.host.reply = replied;
    if (!coordinator) {
        answer_with(call, why);
        return;
    }
    call->coordinator = coordinator;
    if (coord_state(coordinator->coord) == COORD_SERVING) {
        struct coord_now now = now_of(all->broker);
        coord_request(coordinator->coord, &call->coord.host, &now);
    } else {
        list_push(&coordinator->waiting, &call->node);
    }
    coordinator_progress(coordinator);
}

partition_index coordinators_next(const struct coordinators *all, partition_index previous) {
    partition_index next = -1;
    MAP_EACH(node, &all->by_partition) {
        const struct coordinator *coordinator = MAP_EACH_ITEM(node, const struct coordinator, node);
        if (coordinator->partition && coordinator->index > previous && (next < 0 || coordinator->index < next)) next = coordinator->index;
    }
    return next;
}

uint64_t coordinators_visit(const struct coordinators *all, uint32_t max, const struct group_visitor *visitor) {
    uint64_t left_out = 0;
    MAP_EACH(node, &all->by_partition) {
        const struct coordinator *coordinator = MAP_EACH_ITEM(node, const struct coordinator, node);
        if (!coordinator->partition || coord_state(coordinator->coord) != COORD_SERVING) continue;
        uint32_t groups = group_count(coordinator->machine), seen = groups < max ? groups : max;
        group_visit(coordinator->machine, max, visitor);
        max -= seen;
        left_out += groups - seen;
    }
    return left_out;
}

void coordinators_follow_image(struct coordinators *all) {
    struct broker *broker = all->broker;
    const struct image_topic *topic = image_topic(broker->image, OFFSETS_TOPIC);
    if (!topic) return;
    for (const struct image_partition *p = image_partition_next(topic, NULL); p; p = image_partition_next(topic, p)) {
        if (p->leader != broker->node->id || partition_shard(broker, topic->id, p->index) != broker->shard->index) continue;
        if (find(all, p->index) || !log_dirs_find(broker->node->dirs, "__consumer_offsets", p->index)) continue;
        enum kafka_error why;
        (void)get(all, p->index, &why);
    }
}

static void topic_forgotten(struct group_call *call) {
    struct broker *broker = call->coordinator->broker;
    arena_destroy(call->coord.group.arena);
    pool_free(broker->shard->pool, call->coord.group.arena, sizeof(struct arena));
    pool_free(broker->shard->pool, call, sizeof *call);
}

void coordinators_topic_deleted(struct coordinators *all, struct span name, struct uuid id) {
    struct pool *pool = all->broker->shard->pool;
    MAP_EACH_SAFE(node, &all->by_partition) {
        struct coordinator *coordinator = MAP_EACH_ITEM(node, struct coordinator, node);
        if (!coordinator->partition) continue;
        struct group_call *call = POOL_NEW(pool, struct group_call);
        struct arena *arena = POOL_NEW(pool, struct arena);
        if (!call || !arena) { /* the offsets stay until they expire */
            pool_free(pool, call, sizeof *call);
            pool_free(pool, arena, sizeof *arena);
            return;
        }
        arena_init(arena, pool, 0);
        call->coord.group.type = GROUP_TOPIC_DELETED;
        call->coord.group.arena = arena;
        call->coord.group.topic.name = span_of(arena_copy(arena, name.data, name.size), name.size);
        call->coord.group.topic.id = id;
        call->done = topic_forgotten;
        call->coordinator = coordinator;
        coordinators_group_call(all, coordinator->index, call);
    }
}

enum err coordinators_open(struct coordinators **out, struct broker *broker) {
    struct coordinators *all = POOL_NEW(broker->shard->pool, struct coordinators);
    if (!all) return ERR_NO_MEMORY;
    struct config_view view = broker_config_view(broker);
    all->broker = broker;
    all->codec = (enum compression)config_number(&view, KEY_offsets_topic_compression_codec); /* held against the codecs at the start */
    map_init(&all->by_partition, broker->shard->pool, 0, is_partition);
    *out = all;
    return ERR_NONE;
}

void coordinators_close(struct coordinators *all) {
    if (!all) return;
    struct pool *pool = all->broker->shard->pool;
    MAP_EACH_SAFE(node, &all->by_partition) {
        struct coordinator *coordinator = MAP_EACH_ITEM(node, struct coordinator, node);
        if (coordinator->partition) {
            list_remove(&coordinator->listener.node);
            partition_gone(&coordinator->listener);
        }
        map_remove(&all->by_partition, &coordinator->node);
        coord_close(coordinator->coord);
        group_machine_free(coordinator->machine);
        coordinator->coord = NULL;
        if (!coordinator->read.busy && !coordinator->is_opening) coordinator_free(coordinator);
    }
    map_destroy(&all->by_partition);
    pool_free(pool, all, sizeof *all);
}
