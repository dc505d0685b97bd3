/* wire/header.h - what stands before a request or a response, and whole frames.
 *
 * A frame is int32 size (of what follows), header, body. Headers:
 *   request 1:  int16 api key, int16 api version, int32 correlation id, nullable string client id (never compact)
 *   request 2:  the same and tagged fields: with each flexible version of a body
 *   response 0: int32 correlation id          response 1: the same and tagged fields: with each flexible version,
 *                                             except ApiVersions, whose client does not know yet what the server speaks
 */
#pragma once
#include "wire/api.h"

int16_t wire_request_header_version(const struct wire_api *api, int16_t version);
int16_t wire_response_header_version(const struct wire_api *api, int16_t version);

/* Reads the header that a frame (without its size) begins with; `rest` takes the body's bytes.
 * ERR_UNSUPPORTED: the key, or the version of it, is not Kafka's, and `out` holds key, version and correlation id all the
 * same, so that ApiVersions can answer in version 0. ERR_CORRUPT: not a header; close the connection.
 * `arena` is only for what headers of the future may hold; today nothing is taken from it. */
must_use enum err wire_request_header_decode(struct request_header *out, struct span frame, struct arena *arena, struct span *rest);
must_use enum err wire_response_header_decode(const struct wire_api *api, int16_t version, struct response_header *out,
                                              struct span frame, struct arena *arena, struct span *rest);

/* Appends size, header and body to `out`. False: over budget, or this version cannot say it; `out` is as it was. */
must_use bool wire_request_frame(const struct wire_api *api, int16_t version, int32_t correlation_id, struct span client_id,
                                 const void *request, struct chain *out);
must_use bool wire_response_frame(const struct wire_api *api, int16_t version, int32_t correlation_id,
                                  const void *response, struct chain *out);
