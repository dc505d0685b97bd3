/* wire/fill.h - random messages: any value that a version can say, for tests, the simulator and the fuzzers' first inputs. */
#pragma once
#include "base/random.h"
#include "wire/codec.h"

struct wire_fill {
    uint32_t items_max;     /* in an array; now and then an array has more */
    uint32_t bytes_max;     /* in a string and the like; now and then one has more */
};
/* Fields that the version lacks keep their defaults. Strings are UTF-8 without a 0. False: the arena is over budget. */
must_use bool wire_fill(const struct wire_message *message, int16_t version, const struct wire_fill *limits,
                        struct random *random, struct arena *arena, void *out);
