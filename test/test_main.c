#include "test.h"
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct test *first, **last = &first;

void test_register(struct test *test) {
    *last = test;
    last = &test->next;
}

const char *test_vectors_folder(void) {
    const char *folder = getenv("MOLDAU_VECTORS");
    return folder ? folder : TEST_SOURCE_ROOT "/test/vectors";
}

static int chosen(const struct test *test, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strstr(test->name, argv[i]) || strstr(test->file, argv[i])) return 1;
    return argc <= 1;
}

int main(int argc, char **argv) {
    size_t count = 0, n = 0;
    for (struct test *test = first; test; test = test->next) count += (size_t)chosen(test, argc, argv);
    struct CMUnitTest *tests = calloc(count + 1, sizeof *tests);
    if (!tests) return 2;
    for (struct test *test = first; test; test = test->next)
        if (chosen(test, argc, argv)) tests[n++] = (struct CMUnitTest){.name = test->name, .test_func = test->run};
    int failed = _cmocka_run_group_tests(argv[0], tests, n, NULL, NULL);
    free(tests);
    printf("%zu passed, %d failed\n", n - (size_t)(failed < 0 ? (int)n : failed), failed < 0 ? (int)n : failed);
    return failed == 0 && n > 0 ? 0 : 1;
}
