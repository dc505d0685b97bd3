#include "controller/decide.h"
#include "wire/record_frame.h"
#include <string.h>

void *decide_alloc(struct decide *d, size_t count, size_t size) {
    void *memory = arena_array(d->arena, count ? count : 1, size);
    if (!memory) d->failed = true;
    return memory;
}

void *decide_answer_alloc(struct decide *d, size_t count, size_t size) {
    void *memory = arena_array(d->answer, count ? count : 1, size);
    if (!memory) d->failed = true;
    return memory;
}

struct span decide_keep(struct decide *d, const struct text *text) {
    char *copy = arena_copy(d->answer, text->bytes, text->size ? text->size : 1);
    if (!copy) d->failed = true;
    return (struct span){(const uint8_t *)copy, copy ? text->size : 0};
}

void decide_framed(struct decide *d, struct span value) {
    if (d->failed) return;
    if (d->count == d->capacity) {
        uint32_t capacity = d->capacity ? d->capacity * 2 : 64;
        struct span *records = decide_alloc(d, capacity, sizeof *records);
        if (!records) return;
        if (d->count) memcpy(records, d->records, d->count * sizeof *records);
        d->records = records;
        d->capacity = capacity;
    }
    d->records[d->count++] = value;
}

void decide_record(struct decide *d, const struct wire_message *message, int16_t version, const void *record) {
    if (d->failed) return;
    struct span value = wire_metadata_frame(message, version, record, d->arena);
    if (value.data) decide_framed(d, value);
    else d->failed = true;
}

void decide_undo(struct decide *d, uint32_t count) {
    assert(count <= d->count);
    d->count = count;
}

bool decide_elr_is_on(const struct decide *d) {
    return mv_has_elr(decide_mv(d)) && image_feature_level(d->image, SPAN_LITERAL(FEATURE_ELR)) > 0;
}

enum kafka_error decide_check_epoch(const struct decide *d, broker_id id, broker_epoch epoch) {
    const struct image_broker *broker = image_broker(d->image, id);
    return broker && broker->epoch == epoch ? KAFKA_NONE : KAFKA_STALE_BROKER_EPOCH;
}

struct uuid decide_default_directory(const struct decide *d, broker_id id) {
    const struct image_broker *broker = image_broker(d->image, id);
    if (!broker || broker->directory_count == 0) return DIRECTORY_MIGRATING;
    return broker->directory_count == 1 ? broker->directories[0] : DIRECTORY_UNASSIGNED;
}

bool decide_is_cordoned(const struct image_broker *broker) {
    if (broker->directory_count == 0 || !broker->cordoned_known) return false;
    for (uint32_t i = 0; i < broker->directory_count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < broker->cordoned_count && !found; k++) found = uuid_equal(broker->directories[i], broker->cordoned[k]);
        if (!found) return false;
    }
    return true;
}

bool decide_is_usable(const struct decide *d, const struct image_broker *broker) {
    (void)d;
    return !broker->in_controlled_shutdown && !decide_is_cordoned(broker);
}

struct span decide_check_topic_name(struct decide *d, struct span name) {
    if (name.size == 0) return SPAN_LITERAL("Topic name is invalid: the empty string is not allowed");
    if (span_equal(name, SPAN_LITERAL(".")) || span_equal(name, SPAN_LITERAL(".."))) return decide_text(d, "Topic name is invalid: '%.*s' is not allowed", SPAN_ARGS(name));
    if (name.size > TOPIC_NAME_BYTES_MAX) return decide_text(d, "Topic name is invalid: the length of '%.*s' is longer than the max allowed length %d", SPAN_ARGS(name), TOPIC_NAME_BYTES_MAX);
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-') continue;
        return decide_text(d, "Topic name is invalid: '%.*s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", SPAN_ARGS(name));
    }
    return (struct span){0};
}
