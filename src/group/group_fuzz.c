/* Any bytes as records of `__consumer_offsets`: nothing is asserted about what a log says. What can be read is applied; then
 * time passes, so that sessions end and groups rebalance; then the machine's own records are applied anew.
 * The input: each record an int16 key size, the key, an int16 value size (-1: a tombstone), the value. */
#include "fuzz.h"
#include "group/group.h"
#include "vectors.h"
#include "wire/batch.h"
#include <stdlib.h>
#include <string.h>

static struct pool pool;

/* A span of its own, exactly as large: a read beyond it is seen. */
static bool take(const uint8_t **at, const uint8_t *end, uint8_t **owned, struct span *out) {
    if (end - *at < 2) return false;
    int16_t size = (int16_t)load_be16(*at);
    *at += 2;
    *owned = NULL;
    *out = span_of(NULL, 0);
    if (size < 0) return true;
    if (end - *at < size) return false;
    *owned = malloc(size ? (size_t)size : 1);
    memcpy(*owned, *at, (size_t)size);
    *out = span_of(*owned, (size_t)size);
    *at += size;
    return true;
}

static void carry_out(struct group_machine *machine, const struct group_now *now, struct group_effects *effects, log_offset *end) {
    if (effects->count) {
        struct group_batch batch = {.records = effects->records, .count = effects->count, .producer_id = -1};
        if (group_apply(machine, &batch, *end, true)) group_applied(machine, now, effects);
        *end += effects->count;
    }
    group_check(machine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!pool.limit) pool_init(&pool, MIB(64), 32);
    struct group_settings settings = group_settings_default();
    struct group_machine *machine = group_machine_new(&pool, &settings);
    struct random random;
    struct group_now now = {.now_ms = 0, .wall_ms = 1000, .random = &random};
    log_offset end = 0;
    random_seed(&random, 1);
    const uint8_t *at = data, *stop = data + size;
    bool going = machine != NULL;
    while (going) {
        struct group_record record;
        uint8_t *key = NULL, *value = NULL;
        going = take(&at, stop, &key, &record.key) && take(&at, stop, &value, &record.value);
        if (going) {
            struct group_batch batch = {.records = &record, .count = 1, .producer_id = size % 3 ? -1 : (producer_id)(end % 4)};
            going = group_apply(machine, &batch, end++, false);
        }
        free(key);
        free(value);
    }
    group_check(machine);
    for (producer_id producer = 0; producer < 4; producer++) {
        struct group_batch marker = {.producer_id = producer, .marker = producer % 2 ? GROUP_MARKER_COMMIT : GROUP_MARKER_ABORT};
        (void)!group_apply(machine, &marker, end++, false);
    }
    struct arena arena;
    struct group_effects effects;
    arena_init(&arena, &pool, 0);
    group_effects_init(&effects, &arena);
    group_loaded(machine, &now, &effects);
    group_check(machine);
    for (int i = 0; i < 50; i++) {
        time_ms due = group_next_deadline(machine);
        if (due == INT64_MAX) break; /* nothing waits for time any more */
        if (due > now.now_ms) {
            now.wall_ms += due - now.now_ms;
            now.now_ms = due;
        }
        arena_reset(&arena);
        group_effects_init(&effects, &arena);
        group_tick(machine, &now, &effects);
        carry_out(machine, &now, &effects, &end);
    }
    struct group_request list = {.type = GROUP_LIST, .version = 5, .arena = &arena};
    struct list_groups_request all = {0};
    list.list = &all;
    arena_reset(&arena);
    group_effects_init(&effects, &arena);
    group_decide(machine, &list, &now, &effects);
    for (int32_t i = 0; list.answer.list && i < list.answer.list->groups_count && i < 8; i++) {
        struct group_request describe = {.type = GROUP_DESCRIBE, .version = 6, .arena = &arena, .group_id = list.answer.list->groups[i].group_id};
        struct group_effects described;
        group_effects_init(&described, &arena);
        group_decide(machine, &describe, &now, &described);
    }
    arena_destroy(&arena);
    group_machine_free(machine);
    return 0;
}

/* ---- Seeds: the values of the golden vectors under keys that fit, and what Apache left on disk. */

static fuzz_add *add_seed;

static size_t put(uint8_t *at, struct span span) {
    store_be16(at, span.data ? (uint16_t)span.size : 0xffff);
    if (span.size) memcpy(at + 2, span.data, span.size);
    return 2 + span.size;
}

static void add_value(void *context, const char *folder, const char *path, uint32_t line, const json_t *json) {
    static const uint8_t offset_key[] = {0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 0}, group_key[] = {0, 2, 0, 1, 'g'};
    static uint8_t bytes[65536];
    bool is_group = json && !strcmp(vector_text(json, "api"), "GroupMetadataValue"), is_offset = json && !strcmp(vector_text(json, "api"), "OffsetCommitValue");
    struct arena arena;
    if (!is_group && !is_offset) return;
    arena_init(&arena, &pool, 0);
    struct span value = vector_hex(&arena, json_object_get(json, "framed"));
    if (value.size < 32000) {
        size_t size = put(bytes, is_group ? span_of(group_key, sizeof group_key) : span_of(offset_key, sizeof offset_key));
        size += put(bytes + size, value);
        add_seed(bytes, size);
    }
    arena_destroy(&arena);
}

void fuzz_seeds(fuzz_add *add) {
    if (!pool.limit) pool_init(&pool, MIB(64), 32);
    add_seed = add;
    char folder[512];
    struct text text;
    text_init(&text, folder, sizeof folder);
    text_add(&text, "%s/group", TEST_SOURCE_ROOT "/test/vectors");
    vectors_each(folder, NULL, add_value, NULL);
    static const char *const logs[] = {"__consumer_offsets-0", "__consumer_offsets-1"};
    for (size_t i = 0; i < countof(logs); i++) {
        static uint8_t bytes[65536];
        size_t size = 0;
        struct arena arena;
        arena_init(&arena, &pool, 0);
        text_reset(&text);
        text_add(&text, "disk/files/%s/00000000000000000000.log", logs[i]);
        struct span rest = vector_file(&arena, TEST_SOURCE_ROOT "/test/vectors", folder);
        struct batch batch;
        while (!batch_next(&rest, &batch)) {
            struct record_cursor cursor;
            struct record record;
            if (batch_is_control(&batch)) continue;
            record_cursor_init(&cursor, &batch, span_of(batch.bytes + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES));
            while (!record_next(&cursor, &record) && size + record.key.size + record.value.size + 4 < sizeof bytes) {
                size += put(bytes + size, record.key);
                size += put(bytes + size, record.value);
            }
        }
        if (size) add(bytes, size);
        arena_destroy(&arena);
    }
}
