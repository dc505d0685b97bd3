/* base/random.h - a seeded generator, passed by pointer, and UUIDs as Kafka makes and writes them. */
#pragma once
#include "base/units.h"

struct random { uint64_t state[4]; };
void random_seed(struct random *random, uint64_t seed);
uint64_t random_u64(struct random *random);
/* Evenly in [0, bound); bound > 0. */
uint64_t random_below(struct random *random, uint64_t bound);
/* True in `numerator` of `denominator` cases. */
bool random_chance(struct random *random, uint64_t numerator, uint64_t denominator);
void random_bytes(struct random *random, void *target, size_t size);

enum { UUID_TEXT_BYTES = 22 };
/* Kafka's random id: version 4, none of the reserved ids, no '-' in its text form. */
struct uuid uuid_random(struct random *random);
bool uuid_equal(struct uuid a, struct uuid b);
int uuid_compare(struct uuid a, struct uuid b);     /* by bytes, as unsigned */
bool uuid_is_zero(struct uuid id);
uint64_t uuid_hash(struct uuid id);
void uuid_text(struct uuid id, char out[UUID_TEXT_BYTES + 1]); /* URL-safe base64 without padding */
bool uuid_parse(const char *text, size_t size, struct uuid *out); /* false: not 22 characters of that alphabet */
