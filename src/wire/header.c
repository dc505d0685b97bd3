#include "wire/header.h"
#include "base/bytes.h"

enum { SIZE_BYTES = 4, REQUEST_FIXED_BYTES = 8 };

int16_t wire_request_header_version(const struct wire_api *api, int16_t version) {
    return wire_is_flexible(api->request, version) ? 2 : 1;
}

int16_t wire_response_header_version(const struct wire_api *api, int16_t version) {
    return api->key != API_API_VERSIONS && wire_is_flexible(api->response, version) ? 1 : 0;
}

enum err wire_request_header_decode(struct request_header *out, struct span frame, struct arena *arena, struct span *rest) {
    size_t used;
    request_header_init(out);
    if (frame.size < REQUEST_FIXED_BYTES) return ERR_CORRUPT;
    out->request_api_key = (int16_t)load_be16(frame.data);
    out->request_api_version = (int16_t)load_be16(frame.data + 2);
    out->correlation_id = (int32_t)load_be32(frame.data + 4);
    const struct wire_api *api = wire_api(out->request_api_key);
    if (!api || !api->request || !wire_has_version(api->request, out->request_api_version)) return ERR_UNSUPPORTED;
    enum err err = request_header_decode(out, wire_request_header_version(api, out->request_api_version), frame, arena, &used);
    if (err) return err;
    *rest = span_of(frame.data + used, frame.size - used);
    return ERR_NONE;
}

enum err wire_response_header_decode(const struct wire_api *api, int16_t version, struct response_header *out,
                                     struct span frame, struct arena *arena, struct span *rest) {
    size_t used;
    enum err err = response_header_decode(out, wire_response_header_version(api, version), frame, arena, &used);
    if (err) return err;
    *rest = span_of(frame.data + used, frame.size - used);
    return ERR_NONE;
}

bool wire_request_frame(const struct wire_api *api, int16_t version, int32_t correlation_id, struct span client_id,
                        const void *request, struct chain *out) {
    struct request_header header = {.request_api_key = api->key, .request_api_version = version, .correlation_id = correlation_id,
                                    .client_id = client_id};
    assert(api->request);
    if (!wire_has_version(api->request, version)) return false;
    int16_t header_version = wire_request_header_version(api, version);
    size_t header_bytes = request_header_size(&header, header_version), before = out->bytes;
    uint8_t *at;
    if (header_bytes == WIRE_NOT_ENCODABLE) return false;
    if (!wire_encode_behind(SIZE_BYTES + header_bytes, api->request, version, request, out, &at)) return false;
    store_be32(at, (uint32_t)(out->bytes - before - SIZE_BYTES));
    wire_write(&request_header_message, header_version, &header, at + SIZE_BYTES);
    return true;
}

bool wire_response_frame(const struct wire_api *api, int16_t version, int32_t correlation_id, const void *response, struct chain *out) {
    struct response_header header = {.correlation_id = correlation_id};
    assert(api->response);
    if (!wire_has_version(api->response, version)) return false;
    int16_t header_version = wire_response_header_version(api, version);
    size_t before = out->bytes;
    uint8_t *at;
    if (!wire_encode_behind(SIZE_BYTES + response_header_size(&header, header_version), api->response, version, response, out, &at)) return false;
    store_be32(at, (uint32_t)(out->bytes - before - SIZE_BYTES));
    wire_write(&response_header_message, header_version, &header, at + SIZE_BYTES);
    return true;
}
