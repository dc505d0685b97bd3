/* test/vectors_misc.c - hashes that place keys and groups, and the text of uuids. */
#include "vectors.h"
#include "base/hash.h"
#include "base/random.h"
#include <stdlib.h>
#include <string.h>

/* {"partition": {"COUNT": PARTITION, ...}}: what `place` gives for each count. */
static bool places_match(const json_t *json, uint32_t place) {
    const char *count;
    json_t *partition, *places = json_object_get(json, "partition");
    json_object_foreach(places, count, partition)
        if ((int64_t)(place % (uint32_t)strtoul(count, NULL, 10)) != json_integer_value(partition)) return false;
    return json_object_size(places) > 0;
}

enum verdict vectors_partitioner(const struct vector *vector) {
    struct span key = vector_hex(vector->arena, json_object_get(vector->json, "key"));
    uint32_t hash = murmur2(key.data, key.size);
    if ((int32_t)hash != vector_number(vector->json, "murmur2")) return vector_wrong(vector, "murmur2 is %d", (int32_t)hash);
    return places_match(vector->json, hash & INT32_MAX) ? VECTOR_PASSED : vector_wrong(vector, "another partition");
}

enum verdict vectors_coordinator(const struct vector *vector) {
    const json_t *id = json_object_get(vector->json, "id");
    int32_t hash = java_string_hash(span_of(json_string_value(id), json_string_length(id)));
    if (hash != vector_number(vector->json, "javaHashCode")) return vector_wrong(vector, "the hash is %d", hash);
    uint32_t place = hash == INT32_MIN ? 0 : (uint32_t)abs(hash);
    return places_match(vector->json, place) ? VECTOR_PASSED : vector_wrong(vector, "another partition");
}

enum verdict vectors_uuid(const struct vector *vector) {
    struct span bytes = vector_hex(vector->arena, json_object_get(vector->json, "bytes"));
    const char *expected = vector_text(vector->json, "text");
    struct uuid id, parsed;
    char text[UUID_TEXT_BYTES + 1];
    if (bytes.size != sizeof id.bytes) return vector_wrong(vector, "not 16 bytes");
    memcpy(id.bytes, bytes.data, sizeof id.bytes);
    uuid_text(id, text);
    if (strcmp(text, expected)) return vector_wrong(vector, "the text is %s", text);
    if (!uuid_parse(expected, strlen(expected), &parsed) || !uuid_equal(id, parsed)) return vector_wrong(vector, "the text is not read back");
    return VECTOR_PASSED;
}
