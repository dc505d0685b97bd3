/* base/assert.h - broken promises of our own. Always on; never for input, from the network or from disk.
 *
 * A failed assertion prints the fact, the place and what the thread said it was doing, and aborts.
 */
#pragma once
#include <assert.h> /* static_assert */
#include <stddef.h>
#include <stdint.h>
#undef assert

#define must_use __attribute__((warn_unused_result))
#define printf_like(at, first) __attribute__((format(printf, at, first)))
#define countof(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)((uintptr_t)(pointer) - offsetof(type, member)))

#define assert(fact) ((fact) ? (void)0 : panic(__FILE__, __LINE__, #fact))
#define never(why) panic(__FILE__, __LINE__, why)
#define implies(if_, then_) (!(if_) || (then_))

_Noreturn void panic(const char *file, int line, const char *fact);

/* What this thread is doing, for the panic's report and for who makes things fail: borrowed until set again. NULL: nothing.
 * Answers what it was before, to be set again where that goes on. */
const char *panic_context_set(const char *what);
const char *panic_context(void);
