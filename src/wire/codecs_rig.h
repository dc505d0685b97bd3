/* wire/codecs_rig.h - for the tests: a pool and the codecs over it, which every test begins and ends with. */
#pragma once
#include "wire/compress.h"

extern struct pool pool;
extern struct codecs codecs;
extern const struct unpack_limits limits;
void begin(void);
void end(void); /* asserts that nothing of the pool is out */
