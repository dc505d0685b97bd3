/* broker/broker.h - the broker's part of a node: the door.
 *
 * `broker_node` is what the node has once and does not change while it runs; `broker` is one shard's part: its
 * connections' requests, the partitions that live on it, the coordinators of the internal partitions among them.
 * The metadata reach it as images (broker_image), what only the controller may decide leaves through `control`.
 *
 * A frame comes in through broker/dispatch, a handler works on it (handlers.h), what belongs to other shards travels
 * there (fanout.h), partition.c is where a log and its replica machine meet.
 */
#pragma once
#include "base/containers.h"
#include "base/random.h"
#include "broker/counts.h"
#include "log/log.h"
#include "meta/meta.h"
#include "net/net.h"
#include "replica/replica.h"
#include "shard/shard.h"
#include "wire/compress.h"
#include "wire/api.h"
#include "wire/errors.h"
#include <stdatomic.h>

struct broker;
struct broker_node;
struct coordinators;
struct fetch_sessions;
struct request;
struct telemetry;
struct tracing;

/* What the broker asks of the control shard, on that shard; server/ fills it in with the controller of this node (or the
 * way to it). The request and what `done` gets are borrowed for the calls; `arena` may be used for the answer. */
struct control_call {
    const struct wire_api *api;
    int16_t version;
    const void *request;
    void *response;              /* the generated struct, initialised; the controller fills it in. Of raft's requests, which
                                  * the quorum answers: set by it, in the arena; NULL: over budget */
    struct chain *records;       /* counted slices in that response, or NULL: for whoever encodes or drops it */
    struct arena *arena;
    struct span listener;        /* the name of the one that the request came in on; NULL data: it is this broker's own */
    enum kafka_error error;      /* the call as a whole could not be made: NOT_CONTROLLER, ... */
    void (*done)(struct control_call *call);
    void *held[24];              /* whoever carries the call out */
};
struct broker_control {
    void *self;
    /* Not before all is put together: NULL until then. Of raft's requests some are answered from within. */
    void (*call)(void *self, struct control_call *call);
    int32_t (*active_controller)(void *self);                 /* -1: not known */
};

enum { LISTENERS_MAX = 16 };
struct broker_listener {
    char name[64];
    struct io_address address;   /* to listen on */
    char host[256];              /* as advertised */
    uint16_t port;               /* as advertised; after opening, never 0 */
    bool is_controller;          /* serves the controller's APIs */
    bool is_protected;           /* the brokers' own: their connections are not closed for others */
};

struct broker_node {
    broker_id id;
    char cluster_id[64];
    struct uuid incarnation;
    struct broker_listener listeners[LISTENERS_MAX];
    uint32_t listener_count;
    const struct config_values *config;     /* static values: the file and --override */
    struct log_dirs *dirs;
    struct shard_group *group;
    struct broker *brokers[SHARDS_MAX];     /* one for each shard */
    struct broker_control control;          /* used on shard 0 only */
    time_ms replica_lag_ms_max;
    bool page_cache;                        /* moldau.durability=page-cache */
    void (*trace)(const char *line);        /* structured log; may be NULL */
    void (*protocol)(const char *line);     /* traced requests and answers; NULL: in the log */
    _Atomic int8_t log_level;               /* of what a broker traces (all of it is INFO): TRACE 0 ... FATAL 5 */
    /* What a handler needs of the static configuration, read once. */
    int32_t num_partitions, offsets_partitions, offsets_replication, default_replication;
    char offsets_segment_bytes[24];         /* text, as a topic config */
    int64_t request_bytes_max, fetch_bytes_max;
    int32_t fetch_sessions_max;
    bool auto_create, delete_enabled;
    bool unstable_apis;
};

/* What this shard tells the controller of its partitions' directories: assign.h. */
struct assigning {
    struct list wanted;                     /* partition.unassigned */
    struct message message;                 /* to the control shard and back, while busy */
    struct control_call call;
    struct arena arena;                     /* travels with it */
    struct timer timer;
    bool busy;
};

struct broker {
    struct shard *shard;
    struct broker_node *node;
    uint32_t shards;
    struct image *image;                    /* holds one count; never NULL after broker_image */
    struct image *previous;                 /* while an image is being taken over */
    struct log_store *store;
    struct net *net;
    struct codecs codecs;                   /* compressors and their working memory */
    struct random random;
    struct purgatory purgatory;
    struct timer purgatory_timer;
    struct timer adopt_timer;
    struct assigning assigning;
    struct map partitions;                  /* struct partition, by topic id and index */
    struct list partitions_changed;         /* whose ends moved in this turn */
    struct map topics;                      /* struct topic_entry, by topic id */
    struct map topics_read;                 /* struct topic_read, by topic id */
    struct list clients;
    struct turn_hook hook;
    struct pool requests;                   /* child of the shard's pool: all that requests hold */
    struct list requests_free;              /* struct request, kept with its first chunk */
    uint32_t requests_free_count;
    struct coordinators *coordinators;
    struct fetch_sessions *sessions;
    struct telemetry *telemetry;            /* instances of clients that push metrics; NULL until there is one */
    struct { producer_id next, end; bool asking; struct list waiting; } producer_ids; /* the block leased from the controller */
    struct list creations;                  /* topics_auto: being created */
    uint32_t creations_count;
    uint64_t serial;
    struct api_counts *apis[API_COUNT];     /* owns, by key; NULL: never asked for */
    struct topic_counts topics_total;       /* of all topics, those among them that are gone */
    struct { uint64_t opened; uint32_t open; } listeners[LISTENERS_MAX]; /* connections */
    struct { uint64_t refused, telemetry_pushes, telemetry_bytes, telemetry_metrics, telemetry_points, telemetry_unreadable; } metrics;
    struct { time_ns since; uint32_t told, untold; } refusals; /* of this minute, in the trace */
    struct tracing *tracing;                /* tracing.h; NULL: nothing is traced */
    struct list held;                       /* struct request: came before this broker served */
    struct { struct list waiting; bool busy; } apart; /* apart.h: one of them is away */
    bool serves, stopping, settings_changed;
};

struct broker_options {
    struct shard *shard;
    struct broker_node *node;
    struct log_store *store;
};
/* On the shard's own thread, or before the threads run. */
must_use enum err broker_open(struct broker **out, const struct broker_options *options);
/* A new version of the metadata, on each shard in the same order. Takes one count. */
void broker_image(struct broker *broker, struct image *image);
/* Whoever waits is answered at once, coordinators give up their partitions. Connections are net_stop's. */
void broker_stop(struct broker *broker);
/* After the store has stopped, so that no log calls back, and with no connection left. NULL is fine. */
void broker_free(struct broker *broker);

/* What a connection of a listener needs (net.h); its context is the struct broker_listener. */
extern const struct conn_owner broker_connections;

/* ---- For the files of this folder */

void broker_wants_turn_end(struct broker *broker);
void broker_wants_deadline(struct broker *broker);
void broker_trace(struct broker *broker, const char *format, ...) printf_like(2, 3);
bool broker_topic_id(const struct broker *broker, struct span name, struct uuid *out);
bool broker_topic_exists(const struct broker *broker, struct uuid id);
struct config_view broker_config_view(const struct broker *broker);
/* What of the settings a store acts on: read before it is opened, and again (log_store_tune) when a running broker's have
 * changed. `shards`: by so many the node's share is divided. What else a store has is left as it is in *out. */
void store_settings_read(struct log_store_options *out, const struct config_view *view, uint32_t shards, uint32_t dirs);

/* The rest of the door: metadata from the quorum, and the broker's life in the cluster. */
#include "broker/meta_follow.h"
#include "broker/register.h"
#include "broker/lag.h"
#include "broker/sample.h"
