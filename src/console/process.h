/* console/process.h - what the kernel says of this process, from /proc. Not on a shard. */
#pragma once
#include "console/page.h"

void process_look(struct process_sample *out);
