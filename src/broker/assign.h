/* broker/assign.h - tells the controller in which log directory this broker's replicas are (AssignReplicasToDirs).
 *
 * The controller must know, so that it takes the replicas of a directory that is told to be offline, and no others, out of
 * service. A broker with one directory has nothing to tell. Each shard tells of its own partitions, some at a time; what
 * could not be told is told again.
 */
#pragma once
#include "broker/broker.h"

struct partition;
void assign_init(struct broker *broker);
/* Where the partition's log lies is another directory than the controller was told: it will be. */
void assign_look(struct partition *partition);
void assign_stop(struct broker *broker);  /* no more is asked */
void assign_free(struct broker *broker);  /* when no message can come any more */
