/* broker/apart.h - what takes long of one request is done by an offload thread, so that nobody else's request waits for it.
 *
 * Two things can take milliseconds: decoding a request of many elements, whatever its API, and an answer of many, where
 * that is made from the metadata alone: all partitions of a large cluster, the configs of a thousand topics. Rows that are
 * API_FROM_IMAGE have handlers that look at nothing but the request, its arena, request->image, what a broker_node never
 * changes and what is atomic there. Such a handler runs whole on that thread, with its decoding before and its encoding
 * behind it; request_reply and request_refuse note what it said, and the shard acts on it when the request is back.
 *
 * Each shard has one request away at a time, the others wait in their order: who sends many large ones shall not have
 * more of the processors than the shards. A connection's order is kept, as the request is under way all that time.
 */
#pragma once
#include "broker/request.h"

/* For a body that is large. False: it is not, or there is no memory for it: to be done here and now. */
must_use bool apart_decode(struct request *request);
/* For a handler of an API_FROM_IMAGE row that sees that its answer will be a long one: true, it is called again on that
 * thread, and shall return now. False: it is there already, or has to go on here. */
must_use bool apart_handle(struct request *request);

/* From the handler, on that thread. */
void apart_reply(struct request *request, const void *response);
void apart_refuse(struct request *request, const char *why);
