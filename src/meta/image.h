/* meta/image.h - one immutable version of everything that the metadata log says.
 *
 * A version is made from the one before by copying the path to what changed (delta.h); the rest is shared. Whoever
 * looks at a version holds it: it is freed, with all that only it had, when the last holder lets go, on whichever
 * thread that is. What a lookup answers is borrowed: it lives as long as the version that it was found in is held.
 * Nothing that is reachable from a held version ever changes, so any shard may read it without a lock.
 *
 * Lookups are O(log n). Everything is iterated in order with `next`: give NULL for the first, then the one before.
 * `next` only compares keys, so the one before may be from another version: a walk may go on after the image moved.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct image;

/* The empty version: no record was applied. The pool must outlive every version. NULL: over budget. */
must_use struct image *image_new(struct pool *pool);
struct image *image_hold(const struct image *image);
void image_drop(const struct image *image); /* NULL is fine; from any thread */

/* How far the log is in it: all records before `offset`, the last of them of `epoch`, written at `timestamp_ms`. */
struct image_position {
    log_offset offset;        /* 0: nothing */
    leader_epoch epoch;
    time_ms timestamp_ms;
};
struct image_position image_position(const struct image *image);
/* The same content, said to be as of another place in the log. NULL: over budget. */
must_use struct image *image_at(const struct image *image, struct image_position position);

/* ---- Topics and partitions */

struct image_ids {            /* broker ids, in Kafka's order */
    const broker_id *ids;
    uint32_t count;
};
bool image_ids_contain(struct image_ids list, broker_id id);
bool image_ids_equal(struct image_ids a, struct image_ids b);

enum { LEADER_RECOVERED = 0, LEADER_RECOVERING = 1 };

struct image_partition {
    _Atomic uint32_t refs;
    partition_index index;
    broker_id leader;               /* -1: none */
    leader_epoch leader_epoch;
    int32_t partition_epoch;
    uint16_t replicas, isr, removing, adding, elr, last_known_elr; /* how many of each follow, in this order */
    int8_t recovery;                /* LEADER_... */
    bool isr_is_replicas;           /* then they are stored once */
    bool has_directories;           /* else each of them is DIRECTORY_MIGRATING */
    broker_id data[];               /* ids, then directories */
};
struct image_ids image_replicas(const struct image_partition *partition);     /* the preferred leader first */
struct image_ids image_isr(const struct image_partition *partition);
struct image_ids image_removing(const struct image_partition *partition);
struct image_ids image_adding(const struct image_partition *partition);
struct image_ids image_elr(const struct image_partition *partition);          /* eligible leaders outside of the ISR */
struct image_ids image_last_known_elr(const struct image_partition *partition);
/* The log directory of the i-th replica: an id, or one of the reserved ones. */
struct uuid image_directory(const struct image_partition *partition, uint32_t replica);
/* Which replica this broker is; -1: none. */
int32_t image_replica_index(const struct image_partition *partition, broker_id id);
/* min.insync.replicas and the like compare with this: what the partition is meant to have, reassignment aside. */
bool image_is_reassigning(const struct image_partition *partition);

extern const struct uuid DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, DIRECTORY_LOST; /* reserved directory ids */

struct image_topic {
    _Atomic uint32_t refs;
    uint32_t partition_count;
    struct uuid id;
    struct span name;
    struct image_node *partitions;  /* shares: a tree by index */
    struct image_name *label;       /* shares: the name's entry */
};
const struct image_topic *image_topic(const struct image *image, struct span name);  /* NULL: there is none */
const struct image_topic *image_topic_by_id(const struct image *image, struct uuid id);
const struct image_topic *image_topic_next(const struct image *image, const struct image_topic *previous); /* by name, bytewise */
const struct image_topic *image_topic_from(const struct image *image, struct span name); /* the first one not before `name` */
uint32_t image_topic_count(const struct image *image);
uint64_t image_partition_count(const struct image *image);                           /* of all topics */

const struct image_partition *image_partition(const struct image_topic *topic, partition_index index); /* NULL: none */
const struct image_partition *image_partition_next(const struct image_topic *topic, const struct image_partition *previous);
/* The same over all of a topic that has very many, without a search for each. The topic must stay. */
struct image_walk {
    const struct image_node *nodes[12]; /* on the path, the leaf last */
    uint32_t at[12], depth;             /* 0: at the end               */
};
void image_partitions_begin(struct image_walk *walk, const struct image_topic *topic);
const struct image_partition *image_partitions_step(struct image_walk *walk); /* NULL: that was the last */

/* ---- Brokers and controllers, registered ones: fenced ones too */

struct image_endpoint {
    struct span name, host;
    uint16_t port;
    int16_t security;               /* 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL */
};
struct image_range { struct span name; int16_t min, max; };       /* of a feature, supported */

struct image_broker {
    _Atomic uint32_t refs;
    uint32_t bytes;
    broker_id id;
    bool fenced, in_controlled_shutdown, is_migrating, has_rack, cordoned_known;
    broker_epoch epoch;             /* the offset of its registration record */
    struct uuid incarnation;
    struct span rack;               /* only if has_rack */
    const struct image_endpoint *endpoints;
    const struct image_range *features;
    const struct uuid *directories; /* the log directories that are online; none before metadata.version 3.7-IV2 */
    const struct uuid *cordoned;    /* only if cordoned_known */
    uint32_t endpoint_count, feature_count, directory_count, cordoned_count;
};
const struct image_broker *image_broker(const struct image *image, broker_id id);
const struct image_broker *image_broker_next(const struct image *image, const struct image_broker *previous); /* by id */
uint32_t image_broker_count(const struct image *image);
/* May lead and be in an ISR: not fenced, not in controlled shutdown. */
bool image_broker_is_active(const struct image *image, broker_id id);
const struct image_endpoint *image_broker_endpoint(const struct image_broker *broker, struct span listener); /* NULL: none */
/* Is a replica in that directory of that broker there? Unassigned and migrating ones count as online, lost ones do not. */
bool image_directory_is_online(const struct image_broker *broker, struct uuid directory);

struct image_controller {
    _Atomic uint32_t refs;
    uint32_t bytes;
    int32_t id;
    bool zk_migration_ready;
    struct uuid incarnation;
    const struct image_endpoint *endpoints;
    const struct image_range *features;
    uint32_t endpoint_count, feature_count;
};
const struct image_controller *image_controller(const struct image *image, int32_t id);
const struct image_controller *image_controller_next(const struct image *image, const struct image_controller *previous);

/* ---- Features. metadata.version is one of them; kraft.version is not here: it lives in raft's control records. */

struct image_feature {
    _Atomic uint32_t refs;
    uint32_t bytes;
    int16_t level;                  /* never 0: that removes it */
    struct span name;
};
int16_t image_metadata_version(const struct image *image);                 /* 0: none was written yet */
int16_t image_feature_level(const struct image *image, struct span name);  /* 0: not finalized */
const struct image_feature *image_feature_next(const struct image *image, const struct image_feature *previous); /* by name */

/* ---- Configs that were set at run time, by resource (config.h says what holds where nothing was set) */

enum config_resource {
    CONFIG_UNKNOWN = 0, CONFIG_TOPIC = 2, CONFIG_BROKER = 4, CONFIG_BROKER_LOGGER = 8, CONFIG_CLIENT_METRICS = 16, CONFIG_GROUP = 32,
};
struct image_config {
    _Atomic uint32_t refs;
    uint32_t bytes;
    int8_t type;                    /* enum config_resource */
    struct span resource;           /* a topic, a broker's id in digits, ...; empty: all brokers */
    struct span key, value;
};
const struct image_config *image_config(const struct image *image, enum config_resource type, struct span resource, struct span key);
/* All configs, by type, resource and key. */
const struct image_config *image_config_next(const struct image *image, const struct image_config *previous);
/* Those of one resource, by key: `previous` NULL for the first. */
const struct image_config *image_config_of(const struct image *image, enum config_resource type, struct span resource,
                                           const struct image_config *previous);

/* ---- Client quotas, producer ids, ACLs, SCRAM credentials, delegation tokens */

struct image_quota_entity { struct span type, name; }; /* name.data NULL: the default of that type */
enum { QUOTA_ENTITIES_MAX = 8 };
struct image_quota {
    _Atomic uint32_t refs;
    uint32_t bytes;
    uint32_t entity_count;          /* sorted by type */
    const struct image_quota_entity *entities;
    struct span key;
    double value;
};
const struct image_quota *image_quota(const struct image *image, const struct image_quota_entity *entities, uint32_t count, struct span key);
const struct image_quota *image_quota_next(const struct image *image, const struct image_quota *previous);

producer_id image_next_producer_id(const struct image *image);  /* -1: no block was given out yet */
int8_t image_zk_migration_state(const struct image *image);     /* from 3.x; means nothing any more; 0: none */

struct image_acl {
    _Atomic uint32_t refs;
    uint32_t bytes;
    struct uuid id;
    int8_t resource_type, pattern_type, operation, permission;
    struct span resource_name, principal, host;
};
const struct image_acl *image_acl(const struct image *image, struct uuid id);
const struct image_acl *image_acl_next(const struct image *image, const struct image_acl *previous); /* by id */

struct image_scram {
    _Atomic uint32_t refs;
    uint32_t bytes;
    int8_t mechanism;               /* 1 SCRAM-SHA-256, 2 SCRAM-SHA-512 */
    int32_t iterations;
    struct span user, salt, stored_key, server_key;
};
const struct image_scram *image_scram(const struct image *image, int8_t mechanism, struct span user);
const struct image_scram *image_scram_next(const struct image *image, const struct image_scram *previous);

struct image_token {
    _Atomic uint32_t refs;
    uint32_t bytes;
    time_ms issued_ms, max_ms, expires_ms;
    struct span id, owner, requester;
    const struct span *renewers;
    uint32_t renewer_count;
};
const struct image_token *image_token(const struct image *image, struct span id);
const struct image_token *image_token_next(const struct image *image, const struct image_token *previous);

/* ---- What changed from one version to another: shared parts are skipped, so it costs what changed, not what there is.
 * Each callback may be NULL. `before` NULL: new; `after` NULL: gone. What is equal in content may still be reported
 * when it was written anew. A topic that was deleted and made again under its name has another id: it comes as
 * gone and as new, each with its partitions. */
struct image_visitor {
    void *context;
    void (*topic)(void *context, const struct image_topic *before, const struct image_topic *after);
    /* The topic is the one of `after`, or of `before` when the partition is gone. */
    void (*partition)(void *context, const struct image_topic *topic, const struct image_partition *before, const struct image_partition *after);
    void (*broker)(void *context, const struct image_broker *before, const struct image_broker *after);
    void (*controller)(void *context, const struct image_controller *before, const struct image_controller *after);
    void (*feature)(void *context, const struct image_feature *before, const struct image_feature *after);
    void (*config)(void *context, const struct image_config *before, const struct image_config *after);
    void (*quota)(void *context, const struct image_quota *before, const struct image_quota *after);
    void (*acl)(void *context, const struct image_acl *before, const struct image_acl *after);
    void (*scram)(void *context, const struct image_scram *before, const struct image_scram *after);
    void (*token)(void *context, const struct image_token *before, const struct image_token *after);
};
void image_diff(const struct image *before, const struct image *after, const struct image_visitor *visitor); /* before NULL: empty */

/* A hash of the whole content: equal logs give equal hashes on every node [M8]. Walks everything. */
uint64_t image_hash(const struct image *image);
bool image_equal(const struct image *a, const struct image *b);  /* by content, position aside */
void image_check(const struct image *image);                     /* asserts what always holds */
