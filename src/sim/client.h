/* sim/client.h - what the files of the clients share: one client, with one call under way, and what it knows. */
#pragma once
#include "net/net.h"
#include "sim/clients.h"
#include "wire/api.h"
#include "wire/errors.h"

enum { CLIENTS_MAX = 24, MEMBER_ID_BYTES = 128, TOPIC_PARTITIONS = 2 };
enum client_kind { CLIENT_ADMIN, CLIENT_PRODUCER, CLIENT_CONSUMER, CLIENT_MEMBER };

struct client {
    struct clients *all;
    enum client_kind kind;
    uint32_t number;              /* among its kind */
    struct peer *peer;
    struct timer timer;
    void (*next)(struct client *client);
    /* The one call under way. */
    struct peer_request request;
    struct arena arena;
    struct chain chain;
    const struct wire_api *api;
    int16_t version;
    void (*answered)(struct client *client, enum err err, const void *response);
    bool calling;
    uint32_t lives;               /* of the history, when the call was made */
    uint64_t done;                /* successes, ever */
    uint64_t marked;
    enum kafka_error error;       /* the last that was not none */
    union {
        struct { bool exists, verified; uint32_t topic, deletes_of; uint32_t verify_next; bool rested; } admin;
        struct {
            producer_id id;
            int16_t epoch;
            int32_t sequences[HISTORY_PARTITIONS_MAX];
            struct slab *batch;   /* not acknowledged yet */
            uint32_t partition, count;
            uint64_t first;
            bool stop;
        } producer;
        struct {
            int64_t positions[HISTORY_PARTITIONS_MAX], starts[HISTORY_PARTITIONS_MAX];
            bool verifying;
            uint64_t verified;    /* partitions, bits */
        } consumer;
        struct {
            char id[MEMBER_ID_BYTES];
            int32_t generation;
            uint64_t owned, fetched;
            int64_t offsets[HISTORY_PARTITIONS_MAX], floors[HISTORY_PARTITIONS_MAX];
            int32_t highest_when_sent;
            bool leads, knows_coordinator;
            uint32_t members_count;
            char members[CLIENTS_MAX][MEMBER_ID_BYTES];
            uint32_t rounds;
        } member;
    };
};

struct clients {
    struct clients_options options;
    struct cluster_node *node;
    struct sim *sim;
    struct history *history;
    struct shard_group *group;
    struct shard *shard;
    struct random random;
    struct client clients[CLIENTS_MAX];
    uint32_t count;
    bool topic_exists, verifying;
    struct uuid topic_id;
};

#define TOPIC SPAN_LITERAL("t")
#define GROUP SPAN_LITERAL("g")

/* ---- calls: one at a time */
void client_begin(struct client *client); /* forgets what the last one was made of */
/* What a request is made of lives in the client's arena, until the answer was dealt with. */
void client_call(struct client *client, int16_t key, int16_t version_min, int16_t version_max, const void *request, time_ms timeout_ms,
                 void (*answered)(struct client *, enum err, const void *));
void client_later(struct client *client, time_ms in_ms, void (*next)(struct client *));
time_ms client_backoff(struct client *client);
void client_note_error(struct client *client, enum kafka_error error);
/* Errors after which the same is tried again, and which a cluster in trouble may give. */
bool client_may_retry(enum kafka_error error);
void client_unexpected(struct client *client, enum kafka_error error); /* fails the run, unless it may be given */
void clients_acknowledged(struct clients *all, enum client_done what);

/* ---- what each kind does first, and then of itself */
void admin_next(struct client *client);
void producer_next(struct client *client);
void consumer_next(struct client *client);
void member_join(struct client *client);
