/* cli/servers.h - what --bootstrap-server says: host:port, or several with commas between.
 */
#pragma once
#include "base/text.h"
#include <stdbool.h>

/* Whether each is host:port, with or without a protocol before it; `bad`, if not NULL: the first one that is none, of
 * *bad_size bytes (0: there is none at all). */
bool servers_are_valid(const char *list, const char **bad, size_t *bad_size);
/* The same, and whether a host can be found by its name: it takes one of them, those that cannot are told on standard
 * error. False: `why` has the sentence of Kafka's clients, who look before they connect, too. May wait for names. */
must_use bool servers_check(const char *list, struct text *why);
