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
int features_describe_run(struct args *args);
int features_upgrade_run(struct args *args);
int features_downgrade_run(struct args *args);
int features_disable_run(struct args *args);
int features_version_mapping_run(struct args *args);
int quorum_describe_run(struct args *args);
int quorum_add_controller_run(struct args *args);
int quorum_remove_controller_run(struct args *args);
int cluster_id_run(struct args *args);
int cluster_unregister_run(struct args *args);
int cluster_list_endpoints_run(struct args *args);
int api_versions_run(struct args *args);
int top_run(struct args *args);

/* moldau completion bash|zsh; moldau man DIR. Words, not options. */
int completion_run(int argc, char **argv);
int man_run(int argc, char **argv);
