/* server/notify.h - tells the service manager how the node is: systemd's notification protocol, a datagram of KEY=value
 * lines to the socket that $NOTIFY_SOCKET names.
 *
 * Without libsystemd on purpose: the protocol is promised to stay, is these few lines, and its own manual gives a program
 * that speaks it without the library, which would bring compressors and a cryptographic library into every node.
 *
 * The watchdog: where the manager asks for signs of life ($WATCHDOG_USEC), it gets one twice in each such time, as long as
 * every shard's loop goes round. A loop that hangs is a bug, and starting again is what helps the clients.
 */
#pragma once
#include "shard/shard.h"

/* False: nobody asked to be told, or the socket does not take it; the node goes on all the same. */
bool notify_send(const char *lines);
/* Signs of life from now on; on shard 0. No effect where nobody asks for them. */
void notify_watchdog_start(struct shard_group *group);
