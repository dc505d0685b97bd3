/* A metadata log from any bytes: two bytes of length before each record. Each record is taken or refused; a refused one
 * changes nothing; what the log has become is sound, and survives a snapshot. */
#include "fuzz.h"
#include "base/bytes.h"
#include "base/random.h"
#include "meta/meta.h"
#include "vectors.h"
#include "wire/batch.h"
#include "wire/record_frame.h"
#include "wire/records.h"
#include <string.h>

enum { RECORDS_MAX = 256 };

static void through_snapshot(struct pool *pool, const struct image *image) {
    struct arena arena, scratch;
    arena_init(&arena, pool, 0);
    arena_init(&scratch, pool, 0);
    struct image *empty = image_new(pool);
    struct delta *again = delta_new(pool, empty);
    struct snapshot_walk *walk = snapshot_walk_new(pool, image);
    struct span values[16];
    for (int32_t count; (count = snapshot_walk_next(walk, &arena, values, countof(values))) > 0; arena_reset(&arena))
        for (int32_t i = 0; i < count; i++) {
            enum err err = delta_apply(again, values[i], &scratch);
            assert(err == ERR_NONE);
            arena_reset(&scratch);
        }
    struct image *copy = delta_current(again);
    if (snapshot_walk_lost(walk)[0] == 0) assert(image_equal(copy, image));
    snapshot_walk_free(walk);
    image_drop(copy);
    image_drop(empty);
    delta_free(again);
    arena_destroy(&scratch);
    arena_destroy(&arena);
}

/* The log's records, or only those that are not marked in `refused`; without marks yet, they are made. */
static struct image *replay(struct pool *pool, const uint8_t *data, size_t size, bool refused[RECORDS_MAX], bool mark) {
    struct arena scratch;
    arena_init(&scratch, pool, MIB(16));
    struct image *empty = image_new(pool);
    struct delta *delta = delta_new(pool, empty);
    image_drop(empty);
    for (int n = 0; n < RECORDS_MAX && size >= 2; n++) {
        size_t bytes = load_be16(data);
        if (bytes > size - 2) bytes = size - 2;
        if (mark || !refused[n]) {
            enum err err = delta_apply(delta, (struct span){data + 2, bytes}, &scratch);
            if (mark) refused[n] = err != ERR_NONE;
            else assert(err == ERR_NONE);
            arena_reset(&scratch);
        }
        data += 2 + bytes;
        size -= 2 + bytes;
    }
    struct image *image = delta_current(delta);
    delta_free(delta);
    arena_destroy(&scratch);
    return image;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct pool pool;
    bool refused[RECORDS_MAX] = {false}, any = false;
    if (!pool.limit) pool_init(&pool, MIB(64), 16);
    struct image *image = replay(&pool, data, size, refused, true);
    for (int n = 0; n < RECORDS_MAX; n++) any |= refused[n];
    image_check(image);
    if (any) { /* without them it is the same */
        struct image *without = replay(&pool, data, size, refused, false);
        assert(image_equal(image, without));
        image_drop(without);
    }
    through_snapshot(&pool, image);
    image_drop(image);
    assert(atomic_load(&pool.used) == 0);
    return 0;
}

static size_t put(uint8_t *at, const struct wire_message *message, int16_t version, const void *record, struct arena *arena) {
    struct span value = wire_metadata_frame(message, version, record, arena);
    store_be16(at, (uint16_t)value.size);
    memcpy(at + 2, value.data, value.size);
    return value.size + 2;
}

/* Values of the golden vectors one by one, behind each other, and as Apache's log on disk has them. */
struct values { fuzz_add *add; uint8_t bytes[1 << 15]; size_t size; struct pool pool; };

static void put_value(struct values *values, struct span value) {
    if (value.size > UINT16_MAX || values->size + 2 + value.size > sizeof values->bytes) {
        values->add(values->bytes, values->size);
        values->size = 0;
    }
    if (value.size > 4096) return;
    store_be16(values->bytes + values->size, (uint16_t)value.size);
    memcpy(values->bytes + values->size + 2, value.data, value.size);
    values->size += 2 + value.size;
}

static void add_vector(void *context, const char *folder, const char *path, uint32_t line, const json_t *json) {
    struct values *values = context;
    struct arena arena;
    uint8_t alone[2 + 1024];
    arena_init(&arena, &values->pool, 0);
    struct span value = vector_hex(&arena, json_object_get(json, "framed"));
    if (value.size && value.size <= 1024) {
        store_be16(alone, (uint16_t)value.size);
        memcpy(alone + 2, value.data, value.size);
        if (line % 4 == 0) values->add(alone, 2 + value.size);
        put_value(values, value);
    }
    arena_destroy(&arena);
}

static void add_log(struct values *values) {
    struct arena arena;
    struct batch batch;
    arena_init(&arena, &values->pool, 0);
    struct span rest = vector_file(&arena, TEST_SOURCE_ROOT "/test/vectors/disk", "files/__cluster_metadata-0/00000000000000000000.log");
    values->size = 0;
    while (!batch_next(&rest, &batch)) {
        struct record_cursor cursor;
        struct record record;
        if (batch_is_control(&batch)) continue;
        record_cursor_init(&cursor, &batch, span_of(batch.bytes + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES));
        while (!record_next(&cursor, &record)) put_value(values, record.value);
    }
    if (values->size) values->add(values->bytes, values->size);
    arena_destroy(&arena);
}

void fuzz_seeds(fuzz_add *add) {
    struct pool pool;
    struct arena arena;
    pool_init(&pool, 0, 0);
    arena_init(&arena, &pool, 0);
    uint8_t log[1024];
    size_t size = 0;
    struct feature_level_record level = {.name = SPAN_LITERAL("metadata.version"), .feature_level = MV_LATEST};
    struct topic_record topic = {.name = SPAN_LITERAL("t"), .topic_id = {{1}}};
    struct partition_record partition;
    struct partition_change_record change;
    struct register_broker_record broker;
    int32_t ids[2] = {1, 2};
    struct uuid directories[2] = {{{3}}, {{4}}};
    partition_record_init(&partition);
    partition.topic_id = topic.topic_id;
    partition.partition_id = 0;
    partition.replicas = partition.isr = ids;
    partition.replicas_count = partition.isr_count = partition.directories_count = 2;
    partition.directories = directories;
    partition_change_record_init(&change);
    change.topic_id = topic.topic_id;
    change.partition_id = 0;
    change.leader = 2;
    register_broker_record_init(&broker);
    broker.broker_id = 1;
    struct config_record config = {.resource_type = 2, .resource_name = SPAN_LITERAL("t"), .name = SPAN_LITERAL("k"), .value = SPAN_LITERAL("v")};
    struct remove_topic_record gone = {.topic_id = topic.topic_id};
    struct begin_transaction_record begin = {.name = {0}};
    struct abort_transaction_record back = {.reason = {0}};
    size += put(log + size, &feature_level_record_message, 0, &level, &arena);
    size += put(log + size, &register_broker_record_message, 4, &broker, &arena);
    size += put(log + size, &topic_record_message, 0, &topic, &arena);
    size += put(log + size, &partition_record_message, 2, &partition, &arena);
    size += put(log + size, &config_record_message, 0, &config, &arena);
    size += put(log + size, &partition_change_record_message, 2, &change, &arena);
    add(log, size);
    size += put(log + size, &begin_transaction_record_message, 0, &begin, &arena);
    size += put(log + size, &remove_topic_record_message, 0, &gone, &arena);
    size += put(log + size, &abort_transaction_record_message, 0, &back, &arena);
    add(log, size);
    arena_destroy(&arena);
    pool_destroy(&pool);
    static struct values values;
    values.add = add;
    pool_init(&values.pool, 0, 0);
    vectors_each(TEST_SOURCE_ROOT "/test/vectors/metadata", NULL, add_vector, &values);
    if (values.size) add(values.bytes, values.size);
    add_log(&values);
    pool_destroy(&values.pool);
}
