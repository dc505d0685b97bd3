/* controller/controller.h - the controller of a node: the machine that decides about the cluster's metadata, hosted on
 * the metadata log.
 *
 * It follows the committed log on every node that can become controller, as one of the quorum's listeners. When this node
 * leads the quorum, it takes over: reads what is left of the log, ends what a former leader left unfinished, writes the
 * bootstrap records if the log is empty, and serves. Requests are decided on the applied version and answered when what
 * they saw is committed; reads are answered from the committed version. When leadership is lost, all that waits is
 * answered NOT_CONTROLLER, and the machine goes back to the committed version.
 *
 * Lives on the control shard.
 */
#pragma once
#include "coord/coord.h"
#include "meta/meta.h"
#include "quorum/quorum.h"
#include "shard/shard.h"
#include "controller/format.h" /* what a new node starts with */

struct controller;

struct controller_options {
    struct shard *shard;                    /* the control shard                                                 */
    broker_id node;
    struct span cluster_id;                 /* borrows                                                           */
    const struct config_values *config;     /* borrows: static values                                            */
    /* What this controller registers as: its listeners' own addresses, its process. */
    struct uuid incarnation;
    const struct image_endpoint *endpoints; /* borrows */
    uint32_t endpoint_count;
    uint32_t requests_max;                  /* taken and not yet answered; 0: 4096                               */
    /* The metadata cannot be trusted any more (a record that contradicts the state): the process must end. */
    void (*on_failed)(void *context, const char *why);
    /* Optional: another version is committed. Borrowed for the call: hold it to keep it. */
    void (*on_image)(void *context, const struct image *image);
    void *context;
};
must_use enum err controller_open(struct controller **out, const struct controller_options *options);
/* For quorum_options.listener; the quorum must be closed before the controller is. */
struct quorum_listener *controller_listener(struct controller *controller);
/* Once, after quorum_open. */
void controller_start(struct controller *controller, struct quorum *quorum);
/* Answers all that waits. The shard must have run its last turn. NULL is fine. */
void controller_close(struct controller *controller);

/* Serves: leads the quorum, and is done taking over. */
bool controller_is_active(const struct controller *controller);
/* The committed version (records of an unfinished transaction aside). Borrows: hold it to keep it. */
const struct image *controller_image(const struct controller *controller);
/* What is told in ApiVersions, finalized: the committed version's features are these as of this offset; -1: not known yet. */
log_offset controller_features_epoch(const struct controller *controller);

/* The APIs: CreateTopics 19, DeleteTopics 20, AlterConfigs 33, CreatePartitions 37, ElectLeaders 43,
 * IncrementalAlterConfigs 44, AlterPartitionReassignments 45, ListPartitionReassignments 46, AlterPartition 56, UpdateFeatures 57, BrokerRegistration 62, BrokerHeartbeat 63,
 * UnregisterBroker 64, AllocateProducerIds 67, ControllerRegistration 70, AssignReplicasToDirs 73, UnregisterController 94. */
bool controller_serves(int16_t api_key);

struct controller_request {
    struct coord_request coord;  /* the host's */
    int16_t api_key, version;
    const void *request;         /* the generated struct: borrows until done                                      */
    void *response;              /* the generated struct, initialised: filled in                                  */
    struct arena *arena;         /* what the response points to lives here                                        */
    /* Of a BrokerRegistration: the broker's former connection is known to be closed (or it lives in this very process), so
     * that it may take over a session that has not expired, if its directories are the same. */
    bool former_is_gone;
    /* Once; never from within controller_call. `error`: the call as a whole failed (NOT_CONTROLLER, ...), the response
     * must not be used. */
    void (*done)(struct controller_request *request, enum kafka_error error);
    void *user;
    /* the controller's */
    struct controller *controller;
    struct list node;
    bool upgraded;               /* what it says of kraft.version, the quorum has heard */
};
/* Authorized by whoever calls. */
void controller_call(struct controller *controller, struct controller_request *request);

void controller_check(const struct controller *controller); /* asserts every invariant */
