/* cli/names.h - which topics an option means: a regular expression, as Kafka's tools read it; and what an error is called.
 */
#pragma once
#include "base/text.h"

struct names;
/* A list with commas is an alternative; spaces and quotes around it mean nothing. NULL: `why` has Kafka's sentence. */
must_use struct names *names_new(const char *pattern, struct text *why);
bool names_match(const struct names *names, struct span name); /* as a whole */
void names_free(struct names *names);                          /* NULL is fine */

bool names_is_internal(struct span topic);                     /* one of Kafka's own */

/* What Kafka's clients say of an error that came without a message. */
const char *names_of_error(int16_t code);

/* What RE2, by whose rules brokers read subscriptions, says against a regular expression; NULL: nothing. */
const char *names_re2_problem(const char *pattern);
