#include "wire/codecs_rig.h"

struct pool pool;
struct codecs codecs;
const struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;

void begin(void) {
    pool_init(&pool, 0, 4);
    codecs_init(&codecs, &pool);
}

void end(void) {
    codecs_destroy(&codecs);
    pool_destroy(&pool);
}
