/* broker/control.h - what only the controller may decide, asked from any shard: carried to the control shard and back. */
#pragma once
#include "broker/broker.h"
#include "broker/fanout.h"

struct control_share {
    struct share share;
    struct control_call call;
};
/* Sends `body` (a generated request of this api, living in the request's arena) to the controller; `joined` runs when the
 * answer is in `response` (initialised by the caller). Answers the share, which holds call.error; NULL: refused. */
struct control_share *control_ask(struct request *request, int16_t api_key, int16_t version, const void *body, void *response,
                                  void (*joined)(struct request *request));
