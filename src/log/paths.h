/* log/paths.h - names of a log directory's files and of a partition's. */
#pragma once
#include "base/random.h"
#include "base/units.h"

enum { PATH_MAX_BYTES = 1024, NAME_MAX_BYTES = 255, OFFSET_DIGITS = 20 };

/* "<folder>/<name>". Asserts the room: folders are held against the limit when they are opened. */
void path_join(char out[PATH_MAX_BYTES], const char *folder, const char *name);
/* "<folder>/<offset, 20 digits><ending>", the ending with its dot. */
void path_of_offset(char out[PATH_MAX_BYTES], const char *folder, log_offset offset, const char *ending);
/* "<topic>-<partition>" */
void path_partition_name(char out[NAME_MAX_BYTES + 1], const char *topic, partition_index partition);
/* "<topic, cut to fit>-<partition>.<32 hex digits><ending>", as `-delete` and `-stray` directories are called. */
void path_away_name(char out[NAME_MAX_BYTES + 1], const char *topic, partition_index partition, struct uuid id, const char *ending);

bool name_ends_with(const char *name, const char *ending);
/* The base offset of "<20 digits><ending>"; false: not such a name. */
bool name_offset(const char *name, const char *ending, log_offset *out);
/* "<topic>-<partition>": topic gets a copy. False: not such a name (split at the last '-'; a number without sign behind). */
bool name_partition(const char *name, char topic[NAME_MAX_BYTES + 1], partition_index *partition);
/* "<topic>-<partition>.<32 hex digits>-future", as a partition is called that is on its way into another directory. */
bool name_future(const char *name, char topic[NAME_MAX_BYTES + 1], partition_index *partition);
