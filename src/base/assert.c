#include "base/assert.h"
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local const char *context;

const char *panic_context_set(const char *what) {
    const char *before = context;
    context = what;
    return before;
}

const char *panic_context(void) { return context; }

void panic(const char *file, int line, const char *fact) {
    fprintf(stderr, "moldau: panic: %s:%d: %s%s%s\n", file, line, fact, context ? "; while " : "", context ? context : "");
    fflush(stderr);
    /* Where: offsets in the program, for addr2line. */
    void *frames[32];
    backtrace_symbols_fd(frames, backtrace(frames, 32), 2);
    abort();
}
