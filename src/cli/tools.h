/* cli/tools.h - the entries of tools that are one file and need no header of their own. Each answers the exit status. */
#pragma once
#include "cli/args.h"

int get_offsets_run(struct args *args);
int delete_records_run(struct args *args);
int log_dirs_run(struct args *args);
int producer_perf_run(struct args *args);
int consumer_perf_run(struct args *args);
int e2e_latency_run(struct args *args);
int verifiable_producer_run(struct args *args);
int verifiable_consumer_run(struct args *args);
