/* cli/console.h - kafka-console-producer.sh and kafka-console-consumer.sh, over librdkafka.
 *
 * Configuration keys are Kafka's; where librdkafka calls one differently it is translated, and what it cannot do is
 * told on standard error and passed over, as Kafka's clients do with keys that they do not know.
 */
#pragma once
#include "cli/args.h"
#include "meta/meta.h"

int console_producer_run(struct args *args);
int console_consumer_run(struct args *args);

/* ---- what both need; `conf` is librdkafka's */
/* The option, or the older name of it, which is told to be deprecated. False: both were given, and it has been said. */
must_use bool console_renamed(const struct args *args, const char *option, const char *old, const char **out);
/* One key of Kafka's clients. False: `why` has a sentence. */
must_use bool console_set(void *conf, const char *name, const char *value, struct text *why);
must_use bool console_set_all(void *conf, const struct config_values *values, struct text *why);
/* Says what went wrong; answers 1. */
int console_failed(const struct text *why);
