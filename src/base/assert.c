#include "base/assert.h"
#include <stdio.h>
#include <stdlib.h>

static _Thread_local const char *context;

void panic_context_set(const char *what) {
    context = what;
}

void panic(const char *file, int line, const char *fact) {
    fprintf(stderr, "moldau: panic: %s:%d: %s%s%s\n", file, line, fact, context ? "; while " : "", context ? context : "");
    abort();
}
