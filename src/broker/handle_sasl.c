/* SaslHandshake and SaslAuthenticate: no listener asks for SASL, so a connection is past the point where it may begin. */
#include "broker/handlers.h"
#include "broker/request.h"

void handle_sasl_handshake(struct request *request) {
    struct sasl_handshake_response out;
    sasl_handshake_response_init(&out);
    out.error_code = KAFKA_ILLEGAL_SASL_STATE;
    if (request->version == 0) request->client->sends_tokens = true;
    request_reply(request, &out);
}

void handle_sasl_authenticate(struct request *request) {
    struct sasl_authenticate_response out;
    sasl_authenticate_response_init(&out);
    out.error_code = KAFKA_ILLEGAL_SASL_STATE;
    out.error_message = SPAN_LITERAL("this listener asks for no authentication");
    request_reply(request, &out);
}
