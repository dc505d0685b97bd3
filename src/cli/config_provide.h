/* cli/config_provide.h - values from elsewhere (KIP-297): ${NAME:key} and ${NAME:path:key} in a server.properties, where NAME
 * is one of config.providers and config.providers.NAME.class is Kafka's FileConfigProvider, DirectoryConfigProvider or
 * EnvVarConfigProvider. What is not found there stays as it is written, as in Kafka.
 */
#pragma once
#include "meta/meta.h"

/* Replaces them in all values; then node.id and broker.id, its former name, are the same, whichever was given. Asked once, of a
 * node's own values, when all of them are there. False: `why` has the sentence. */
must_use bool config_provide(struct config_values *values, struct text *why);
