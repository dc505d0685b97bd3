/* broker/tracing.h - requests and answers as lines (wire/trace.h), while moldau.trace.apis names some of them.
 *
 * Each shard has its own: lists copied from the settings, and how many lines are left in this second. While nothing is
 * traced there is none, and all that it costs is one look at broker->tracing for each request.
 *
 * Lines are handed to the process as they are made, and it writes them from the shard's thread, as it does with the log:
 * whoever traces much waits for the file or the pipe with it. That is what moldau.trace.lines.per.second bounds.
 */
#pragma once
#include "broker/request.h"

/* Reads the settings anew; makes, changes or frees the broker's tracing. */
void tracing_follow(struct broker *broker);
void tracing_free(struct broker *broker);

/* Behind decoding: `err` and where it was found. Tells it if the filters take it, and marks it, so that its answer is told, too. */
void trace_request(struct request *request, enum err err, size_t at);
/* The line of a marked request's answer, or of `why` there is none; in the request's arena. NULL: no memory, or no line is left. */
const char *trace_answer(struct request *request, const void *response, const char *why);
void trace_tell(struct broker *broker, const char *line); /* NULL is fine */
/* A frame that is no request that is served here. */
void trace_refused(struct client *client, const struct request_header *header, struct span frame, enum err err);
