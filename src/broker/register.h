/* broker/register.h - a broker's life in the cluster: registration, heartbeats, being unfenced, controlled shutdown. On the
 * control shard; asks the controller through broker_control.
 *
 *     ASKING -> CATCHING_UP -> FENCED -> SERVING -> LEAVING -> GONE
 *       ^-------- the registration is gone, or another one is there: again
 */
#pragma once
#include "broker/broker.h"

struct registration;
enum registration_state { REGISTRATION_ASKING, REGISTRATION_CATCHING_UP, REGISTRATION_FENCED, REGISTRATION_SERVING, REGISTRATION_LEAVING, REGISTRATION_GONE };

struct registration_options {
    struct shard *shard;
    struct broker_node *node;
    const char *rack;             /* "": none */
    time_ms heartbeat_ms;         /* broker.heartbeat.interval.ms */
    broker_epoch previous_epoch;  /* of the clean-shutdown marks; -1: none */
    void (*on_serving)(void *context);  /* unfenced for the first time */
    void *context;
};
must_use enum err registration_open(struct registration **out, const struct registration_options *options);
void registration_start(struct registration *registration);
/* Every image that this node has taken over. */
void registration_image(struct registration *registration, const struct image *image);
/* Controlled shutdown: the partitions led here are led elsewhere before `left` runs, or timeout_ms have passed. */
void registration_leave(struct registration *registration, time_ms timeout_ms, void (*left)(void *context), void *context);
enum registration_state registration_state(const struct registration *registration);
broker_epoch registration_epoch(const struct registration *registration); /* -1: none yet */
void registration_free(struct registration *registration); /* no call under way; NULL is fine */
