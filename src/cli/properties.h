/* cli/properties.h - what a tool is told besides its options: properties files and key=value words.
 *
 * Security settings that are not served are refused, never passed over: a tool that was told to encrypt must not talk in
 * the clear.
 */
#pragma once
#include "meta/meta.h"

struct args;
/* Adds the file's. False: `why` has a sentence. */
must_use bool properties_read_file(struct config_values *into, const char *path, struct text *why);
/* Adds each value of an option that is key=value; a key alone has an empty value, as with Kafka's tools. */
must_use bool properties_read_option(struct config_values *into, const struct args *args, const char *option, struct text *why);
/* False: asks for security that is not there yet. */
must_use bool properties_check_security(const struct config_values *values, struct text *why);
/* As a C string in the values' arena; NULL: not there. */
const char *properties_text(const struct config_values *values, const char *name);
bool properties_flag(const struct config_values *values, const char *name, bool preset);
