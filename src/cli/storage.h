/* cli/storage.h - kafka-storage.sh: log directories before a node runs on them. */
#pragma once
#include "cli/args.h"

int storage_info_run(struct args *args);
int storage_format_run(struct args *args);
int storage_version_mapping_run(struct args *args);
int storage_feature_dependencies_run(struct args *args);
int storage_random_uuid_run(struct args *args);
