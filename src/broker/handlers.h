/* broker/handlers.h - one function for each API that is served: rows of api.tbl and api_controller.tbl. Each takes a request whose `in` is
 * decoded and ends in exactly one of request_reply, request_reply_nothing and request_refuse, now or later.
 */
#pragma once
struct request;
#define API(key, name, min, max, handler, ...) void handler(struct request *request);
#include "broker/api.tbl"
#include "broker/api_controller.tbl"
#undef API
