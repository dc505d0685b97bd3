/* broker/request.h - a request's life: from a whole frame to the one answer.
 *
 * Lives on the shard of its connection. Owns its arena (all that is decoded and answered lives in it) and holds the slab
 * that its frame lies in, so records stay slices of what was received. A handler ends in exactly one of request_reply,
 * request_reply_nothing and request_refuse; until then the request may wait for other owners (broker/fanout.h).
 *
 * Order: a client's requests start in order and are answered in order. A Produce may overlap earlier Produces; anything
 * else starts when all earlier ones are answered.
 */
#pragma once
#include "base/arena.h"
#include "base/containers.h"
#include "net/net.h"
#include "wire/api.h"
#include "wire/errors.h"
#include "wire/header.h"

struct apart;
struct broker;
struct config_view;
struct image;
struct request;
struct api_counts;
struct api_row;
struct fetch_wait;

/* What a broker knows of one connection: the conn's user pointer. */
struct client {
    struct broker *broker;   /* borrows */
    struct conn *conn;
    struct list node;        /* in the broker's list              */
    uint32_t listener;       /* index of the listener it came through */
    uint32_t exclusive;      /* requests under way that nothing may overlap: 0 or 1 */
    bool closed;             /* no more frames; answers go nowhere */
    bool sends_tokens;       /* SaslHandshake of version 0 came: what follows is bare credentials, and nothing of it is traced */
    char software_name[40], software_version[24]; /* as ApiVersions told them, cut; empty: not told */
    char address[IO_ADDRESS_TEXT_MAX + 1]; /* "/1.2.3.4", as Kafka writes a client's host */
};

enum request_state { REQUEST_RUNNING, REQUEST_ANSWERED };

struct request {
    struct list node;              /* in broker->requests_free or ->held */
    struct client *client;
    struct broker *broker;
    struct arena arena;
    struct conn_slot *slot;        /* where the answer goes */
    struct slab *slab;             /* shares: the frame's memory */
    struct span body;              /* the frame behind its header */
    const struct api_row *row;
    const struct wire_api *api;
    struct request_header header;
    int16_t version;
    enum request_state state;
    bool is_traced;
    void *in;                      /* the decoded request, in the arena */
    struct image *image;           /* borrows: for the handler's call, the broker's; one count while it is worked on apart */
    struct apart *apart;           /* an offload thread has it, or soon will; else NULL */
    struct api_counts *counts;     /* of its API, on this shard; NULL: there was no memory for them */
    time_ns arrived, started;      /* the second when it was handed to its handler */
    time_ns answered;              /* when its answer was made                     */
    time_ns away_since, away;      /* waiting for shares, so far                   */
    struct share *shares;          /* sent so far: their arenas go with the request */
    uint32_t outstanding;          /* shares that other owners (or this one) work on */
    void (*joined)(struct request *request); /* when outstanding comes back to 0 */
    void *work;                    /* the handler's own */
    void (*before_answer)(struct request *request); /* on the shard, when the answer is made; NULL */
};

/* Did it come through a controller's listener? */
bool request_is_controllers(const struct request *request);

/* Encodes and sends the answer, and frees the request. `response` is the generated struct, in the request's arena or
 * borrowed for the call. */
void request_reply(struct request *request, const void *response);
/* Its two halves, for an answer that is made in one place and sent from another. False: not encodable, or over budget. */
#define REQUEST_NOT_ENCODED "the answer cannot be encoded, or is over budget"
must_use bool request_encode(struct request *request, const void *response, struct chain *chain);
void request_send(struct request *request, const void *response, struct chain *chain);
/* acks=0: nothing is sent. */
void request_reply_nothing(struct request *request);
/* No answer can be given: the connection is closed. `why` for the trace. */
void request_refuse(struct request *request, const char *why);
/* Memory from the request's arena; over budget closes the connection and answers NULL: the handler returns at once. */
void *request_alloc(struct request *request, size_t bytes);
#define REQUEST_NEW(request, type) ((type *)request_alloc((request), sizeof(type)))
#define REQUEST_ARRAY(request, count, type) ((type *)request_array((request), (count), sizeof(type)))
void *request_array(struct request *request, size_t count, size_t size);
/* An empty answer to this request, from the same memory. */
void *request_response_new(struct request *request);
/* What holds by the metadata that it is answered from. */
struct config_view request_config_view(const struct request *request);
/* The name of the listener through which its client came. */
const char *request_listener(const struct request *request);
/* A copy of text in the arena; NULL data when over budget. */
struct span request_text(struct request *request, const char *format, ...) printf_like(2, 3);
