/* A produced batch from any bytes, under rules that the first two bytes choose; the CRC is made to fit. What is taken is
 * whole, good, dense and as the topic wants it; verified once more it is taken as it is. Runs are read as a file's, too. */
#include "fuzz.h"
#include "vectors.h"
#include "log/verify.h"
#include <stdio.h>
#include <stdlib.h>

enum { NOW = 1700000000 };
static struct pool pool;
static struct codecs codecs;

/* A client's batch that says LogAppendTime has one time for all of its records, which stays its largest when a topic with
 * CreateTime takes it: as with Apache Kafka, what the records themselves say is not looked at then. */
static bool says_append_time(const uint8_t *bytes, size_t size) {
    return size >= BATCH_HEADER_BYTES && load_be16(bytes + BATCH_AT_ATTRIBUTES) & BATCH_LOG_APPEND_TIME;
}

static void check_taken(const struct verify_input *input, const struct verified *out, bool said_append_time) {
    const struct verify_rules *rules = input->rules;
    struct batch_facts facts;
    assert(batch_crc_is_good(&out->batch));
    assert(out->batch.size <= (uint32_t)rules->message_bytes_max);
    assert(batch_walk(&out->batch, &codecs, &rules->limits, &facts) == ERR_NONE);
    assert(facts.offsets_are_dense);
    assert(batch_timestamp_type(&out->batch) == rules->timestamp_type);
    assert(rules->compression_is_producers || batch_codec(&out->batch) == (unsigned)rules->compression);
    assert(implies(rules->compacted, facts.every_has_key));
    assert(out->batch.max_timestamp == facts.timestamp_max || rules->timestamp_type == TIMESTAMP_LOG_APPEND || said_append_time);
}

static void produce(uint8_t *bytes, size_t size, uint8_t choice) {
    struct verify_rules rules;
    struct arena arena;
    struct verified out, again;
    verify_rules_init(&rules);
    rules.limits = (struct unpack_limits){.bytes_max = MIB(1), .ratio_max = 1000, .ratio_from = KIB(64)};
    rules.compacted = choice & 1;
    rules.timestamp_type = choice & 2 ? TIMESTAMP_LOG_APPEND : TIMESTAMP_CREATE;
    rules.compression_is_producers = choice & 4;
    rules.compression = (enum compression)((choice >> 3) % COMPRESSION_COUNT);
    arena_init(&arena, &pool, 0);
    struct verify_input input = {.rules = &rules, .origin = LOG_FROM_CLIENT, .now_ms = NOW, .codecs = &codecs, .pool = &pool, .arena = &arena, .bytes = bytes, .size = size};
    bool said_append_time = says_append_time(bytes, size);
    if (verify_incoming(&input, &out) == ERR_NONE && out.kafka_error == KAFKA_NONE) {
        check_taken(&input, &out, said_append_time);
        input.bytes = (uint8_t *)(uintptr_t)out.batch.bytes;
        input.size = out.batch.size;
        /* LogAppendTime, once set, is not a client's to send. */
        if (rules.timestamp_type == TIMESTAMP_CREATE && !said_append_time) {
            enum err err = verify_incoming(&input, &again);
            assert(err == ERR_NONE && again.kafka_error == KAFKA_NONE && !again.rewritten && again.batch.crc == out.batch.crc);
        }
        slab_drop(out.rewritten);
    }
    arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    if (!pool.limit) {
        pool_init(&pool, MIB(64), 4);
        codecs_init(&codecs, &pool);
    }
    uint8_t *bytes = malloc(size), choice = data[0];
    size_t used = size - 1;
    if (!bytes) abort();
    memcpy(bytes, data + 1, used);
    struct span run = span_of(bytes, used);
    struct batch batch;
    if (batch_next(&run, &batch) == ERR_NONE) {
        if (!(choice & 0x80)) batch_stamp(bytes, 0, -1);
        batch_stamp_crc(bytes, batch.size);
    }
    struct verify_run file;
    verify_run_init(&file, 0);
    file.old_formats = choice & 1;
    enum err err = verify_stored(&file, span_of(bytes, used));
    assert(file.bytes <= used && implies(err == ERR_NONE && file.batches == 0, file.bytes == 0));
    produce(bytes, used, choice);
    free(bytes);
    return 0;
}

static void add_line(void *context, const char *folder, const char *path, uint32_t line, const json_t *json) {
    fuzz_add *const *add = context;
    struct pool own;
    struct arena arena;
    pool_init(&own, 0, 4);
    arena_init(&arena, &own, 0);
    struct span bytes = vector_hex(&arena, json_object_get(json, "hex"));
    uint8_t *input = malloc(bytes.size + 1);
    if (bytes.size && input) {
        for (int choice = 0; choice < 0x100; choice += 29) {
            input[0] = (uint8_t)choice;
            memcpy(input + 1, bytes.data, bytes.size);
            (*add)(input, bytes.size + 1);
        }
    }
    free(input);
    arena_destroy(&arena);
    pool_destroy(&own);
}

void fuzz_seeds(fuzz_add *add) {
    const char *top = getenv("MOLDAU_VECTORS");
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/records", top ? top : TEST_SOURCE_ROOT "/test/vectors");
    vectors_each(folder, NULL, add_line, &add);
}
