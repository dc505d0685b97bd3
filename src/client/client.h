/* client/client.h - asynchronous RPC with a cluster: for tools, and for whoever asks brokers in their own name.
 *
 * A client knows where to begin (bootstrap servers) and who is there (brokers, as Metadata tells them). A call names an API
 * and a broker, or any; it is sent in the highest version that both sides know, over one connection for each broker, and
 * is tried again, elsewhere if it may be, until its deadline. All of it on one shard; a tool runs its own (client_wait).
 *
 * Errors: ERR_TIMEOUT (nobody answered in time), ERR_UNSUPPORTED (the broker does not know the API, or no version of it
 * that can say this), ERR_CORRUPT (an answer that cannot be read), ERR_CLOSED (the client is closing). What Kafka answers
 * is in the response.
 */
#pragma once
#include "net/net.h"
#include "wire/api.h"
#include "wire/header.h"

struct client;
enum { CLIENT_ANY = -1, CLIENT_BROKERS_MAX = 1024 };

struct client_options {
    struct shard *shard;
    const char *bootstrap;       /* host:port,host:port */
    const char *client_id;       /* copied */
    time_ms call_ms;             /* 0: 60 s; how long one attempt may take */
};
/* ERR_INVALID: not a list of host:port. */
must_use enum err client_open(struct client **out, const struct client_options *options);
/* Calls under way end with ERR_CLOSED; `closed` when all is gone. */
void client_close(struct client *client, void (*closed)(void *context), void *context);

/* Inside its owner; the client's from client_call until `done`. */
struct client_call {
    int32_t broker;              /* a broker's id, or CLIENT_ANY */
    int16_t api_key;
    int16_t version_min, version_max; /* 0, 0: any that the struct's messages have */
    const void *request;         /* the generated struct */
    void *response;              /* the generated struct: initialised and filled in here */
    struct arena *arena;         /* request bytes and the answer live here */
    time_ms timeout_ms;          /* 0: 60 s; in all */
    void (*done)(struct client_call *call);
    void *context;
    /* the answer */
    enum err err;
    int16_t version;             /* that was spoken */
    int32_t answered_by;         /* -1: a bootstrap server */
    /* the client's */
    struct client *client;
    struct list node;
    struct peer_request peer_request;
    struct chain chain;
    struct timer timer;
    struct connection *connection;
    time_ns deadline;
};
void client_call(struct client *client, struct client_call *call);
/* Tools: turns the shard until the call is done. */
enum err client_wait(struct client *client, struct client_call *call);

/* Where brokers are: learnt from each Metadata answer that comes through client_call. */
void client_learn(struct client *client, const struct metadata_response *metadata);
/* The versions of an API that a broker has said it knows (asked when connecting). False: not connected yet, or not known. */
bool client_versions(const struct client *client, int32_t broker, int16_t api_key, int16_t *min, int16_t *max);
