/* cli/cli.h - Kafka's command-line tools, under Kafka's names with Kafka's options and output.
 *
 * `moldau topics ...` and `kafka-topics.sh ...` are the same. Tools and options stand in cli.tbl, once: parsing, help and
 * checks come from there. A tool that talks to a cluster runs a shard of its own (session.h); the console tools' producer
 * and consumer are librdkafka's.
 */
#pragma once

/* The tool is chosen by the program's name, else by the first word. Answers the exit status. */
int cli_main(int argc, char **argv);

#include "cli/config_provide.h"
