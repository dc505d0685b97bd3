/* broker/dispatch.h - from a frame to its handler: header, row of api.tbl, decode, order. */
#pragma once
#include "broker/request.h"

enum { API_OVERLAPS = 1, API_ANY_VERSION = 2, API_FROM_IMAGE = 4 };
struct api_row {
    int16_t key, version_min, version_max;
    uint8_t flags;
    uint32_t size;                 /* of the request's C struct */
    const char *name;
    void (*handle)(struct request *request);
};
/* What a listener serves: a controller's, or a broker's. */
const struct api_row *api_row(bool is_controller, int16_t key); /* NULL: not served */
const struct api_row *api_rows(bool is_controller, uint32_t *count);

void request_free(struct request *request);
/* Decodes and hands it to its handler. */
void request_start(struct request *request);
/* The same from behind the decoding on, which said `err` after `used` bytes. */
void request_decoded(struct request *request, enum err err, size_t used);
enum kafka_error kafka_error_of(enum err err);
