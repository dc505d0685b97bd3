/* test/test.h - a unit test is a function: TEST(what_is_shown) { ... }, with a sentence before it.
 *
 * Every folder's x_test.c files make one program, test-<folder>; its arguments choose tests by a part of their names.
 * The checks are cmocka's: assert_int_equal, assert_string_equal, assert_memory_equal, assert_true, ...
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct test {
    struct test *next;
    const char *name, *file;
    void (*run)(void **state);
};
void test_register(struct test *test);

#define TEST(name_)                                                                              \
    static void name_(void **state);                                                             \
    static struct test name_##_entry = {.name = #name_, .file = __FILE__, .run = name_};         \
    __attribute__((constructor)) static void name_##_register(void) { test_register(&name_##_entry); } \
    static void name_(void **state __attribute__((unused)))

/* Where the golden vectors lie: from the environment, else test/vectors of the source. */
const char *test_vectors_folder(void);
