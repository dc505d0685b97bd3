/* test/fuzz.h - a fuzz target is two functions in a file x_fuzz.c, a row in a meson.build: fuzzers += {'x': files('x_fuzz.c')}.
 *
 * It becomes fuzz-x for libFuzzer (meson -Dfuzz=true, clang), and fuzz-x-run, which needs no clang: it goes over the seeds
 * and random changes of them for a while (fuzz_main.c). Inputs that once failed are kept in test/fuzz/x and run first.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Must return 0 for any input; what is wrong ends the program. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Gives inputs to start from. */
typedef void fuzz_add(const void *data, size_t size);
void fuzz_seeds(fuzz_add *add);
