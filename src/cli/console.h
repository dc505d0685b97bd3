/* cli/console.h - kafka-console-producer.sh and kafka-console-consumer.sh, over librdkafka. */
#pragma once
#include "cli/args.h"

int console_producer_run(struct args *args);
int console_consumer_run(struct args *args);
