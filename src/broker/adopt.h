/* broker/adopt.h - partitions whose files lie in the log directories and that nobody has asked for since the start.
 *
 * A partition comes to life when a request wants it, so a start costs nothing for those that are idle. But time passes
 * for these, too: retention and compaction must reach them. So when the broker serves, they are brought to life a few at a
 * time, closed, which costs memory only; their stores' timers do the rest. Those of no topic that the image knows stay
 * as they are.
 */
#pragma once

#include <stdbool.h>

struct broker;
void adopt_begin(struct broker *broker); /* once the broker serves */
bool adopt_is_complete(struct broker *broker); /* every partition on disk has a log, and so the store sees what became of it */
