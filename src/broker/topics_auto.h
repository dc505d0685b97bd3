/* broker/topics_auto.h - topics that come into being because somebody asks for them: a client's by Metadata, the internal
 * ones by FindCoordinator. The asker is told that the topic is not there yet, and asks again.
 */
#pragma once
#include "broker/request.h"
#include "meta/meta.h"

struct topics_auto; /* names to create, in a request's arena */

bool topic_name_is_valid(struct span name);
/* INVALID_TOPIC_EXCEPTION for a name that no topic may have, else NONE. */
enum kafka_error topic_name_error(const struct image *image, struct span name);
/* False: the request has been refused (over budget). */
bool topics_auto_add(struct request *request, struct topics_auto **names, struct span name);
/* Asks the controller, without waiting for it. What is being created already is not asked for again. */
void topics_auto_create(struct broker *broker, struct topics_auto *names);
/* The same for one internal topic. */
void topics_auto_create_internal(struct broker *broker, struct span name);
