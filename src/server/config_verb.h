/* server/config_verb.h - `moldau config`: says what a server.properties means without starting anything, and prints the
 * reference of all keys.
 */
#pragma once
#include "meta/meta.h"

/* A file's values, then those of --override key=value. False: `why` has the sentence. */
must_use bool config_load_file(struct config_values *values, const char *path, struct arena *arena, struct text *why);
must_use bool config_load_override(struct config_values *values, const char *pair, struct text *why);

/* argv[0] is "config". Answers the exit status. */
int config_run(int argc, char **argv);
