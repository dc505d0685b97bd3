/* controller/decide.h - what every decision gets and gives: the applied version, time, chance, settings and sessions in;
 * records out. Decisions are pure functions: they answer in the response's struct and add the records that make it true.
 * An error of one element (a topic, a partition) adds no record of that element. A decision that is out of memory says so
 * with `failed`, and nothing of it is used.
 */
#pragma once
#include "base/random.h"
#include "base/text.h"
#include "controller/sessions.h"
#include "meta/meta.h"
#include "wire/api.h"
#include "wire/errors.h"
#include "wire/records.h"

enum {
    DECIDE_RECORDS_MAX = 10000,         /* of one request, as Kafka has it: more is POLICY_VIOLATION                  */
    DECIDE_SWEEP_MAX = 10000,           /* of one step of what may take several                                      */
    DECIDE_ELECTIONS_MAX = 1000,        /* of one run of the balancer                                                */
    PRODUCER_IDS_BLOCK = 1000,
};

struct decide_settings {
    broker_id node;                     /* of this controller */
    struct span cluster_id;
    const struct config_values *values; /* static */
    int16_t kraft_version;              /* of the quorum: not in the image */
};

struct decide {
    const struct image *image;          /* borrows: the applied version */
    const struct decide_settings *settings;
    struct sessions *sessions;          /* what is known of brokers besides the log: changed in place */
    time_ms now_ms;                     /* monotonic */
    struct random *random;
    log_offset next_offset;             /* where the first record will be */
    struct arena *arena;                /* the records' memory */
    struct arena *answer;               /* the response's memory */
    struct span *records;               /* framed values, made by decide_record */
    uint32_t count, capacity;
    bool failed;                        /* out of memory */
    bool unfinished;                    /* there are leaderless partitions left to be looked at: a sweep of them is due */
};

/* Adds a record; NULL memory is noted in `failed`. */
void decide_record(struct decide *d, const struct wire_message *message, int16_t version, const void *record);
/* The same of one that is framed already: borrowed until the decision is carried out. */
void decide_framed(struct decide *d, struct span value);
/* Takes the records from `count` on back: of an element that was refused after all. */
void decide_undo(struct decide *d, uint32_t count);
/* Memory for the answer, for what is only needed in the decision; NULL is noted in `failed`. */
void *decide_answer_alloc(struct decide *d, size_t count, size_t size);
void *decide_alloc(struct decide *d, size_t count, size_t size);
/* A sentence that lives with the answer. */
struct span decide_keep(struct decide *d, const struct text *text);
#define decide_text(d, ...)                                                     \
    ({                                                                          \
        char words_[512];                                                       \
        struct text text_;                                                      \
        text_init(&text_, words_, sizeof words_);                               \
        text_add(&text_, __VA_ARGS__);                                          \
        decide_keep(d, &text_);                                                 \
    })
/* For %.*s. */
#define SPAN_ARGS(span) (int)(span).size, (const char *)(span).data

static inline int16_t decide_mv(const struct decide *d) {
    int16_t mv = image_metadata_version(d->image);
    return mv ? mv : MV_MIN;
}
static inline struct config_view decide_config(const struct decide *d) {
    return (struct config_view){.image = d->image, .values = d->settings->values, .broker = d->settings->node};
}
bool decide_elr_is_on(const struct decide *d);
/* STALE_BROKER_EPOCH, or NONE. */
enum kafka_error decide_check_epoch(const struct decide *d, broker_id id, broker_epoch epoch);
enum { TOPIC_NAME_BYTES_MAX = 249 };
/* May a topic be called so? Data NULL: yes. */
struct span decide_check_topic_name(struct decide *d, struct span name);
/* Where a new replica on that broker goes: its one directory, UNASSIGNED if it has several, MIGRATING if none is known. */
struct uuid decide_default_directory(const struct decide *d, broker_id id);
/* May hold new replicas: registered, not shutting down, with a directory that is not cordoned. */
bool decide_is_usable(const struct decide *d, const struct image_broker *broker);
/* Is every log directory of it cordoned? */
bool decide_is_cordoned(const struct image_broker *broker);

/* ---- Topics (decide_topics.c) */
void decide_create_topics(struct decide *d, int16_t version, const struct create_topics_request *in, struct create_topics_response *out);
/* An error: of the call as a whole. */
enum kafka_error decide_delete_topics(struct decide *d, int16_t version, const struct delete_topics_request *in, struct delete_topics_response *out);
void decide_create_partitions(struct decide *d, const struct create_partitions_request *in, struct create_partitions_response *out);
/* Checks one list of replicas that somebody gave. factor: what it must have; -1: any. NULL: fine, else why not. */
struct span decide_check_assignment(struct decide *d, struct image_ids replicas, int32_t factor);

/* ---- Partitions (decide_partitions.c, partition_change.c) */
void decide_alter_partition(struct decide *d, int16_t version, const struct alter_partition_request *in, struct alter_partition_response *out);
void decide_elect_leaders(struct decide *d, const struct elect_leaders_request *in, struct elect_leaders_response *out);
void decide_assign_replicas(struct decide *d, const struct assign_replicas_to_dirs_request *in, struct assign_replicas_to_dirs_response *out);

/* New leaders and ISRs for partitions that a change of brokers touches. -1: nobody. Answers false when there were more
 * than DECIDE_SWEEP_MAX: the rest is for the next step. */
struct sweep {
    broker_id remove;           /* leaves every ISR, leads nothing                          */
    broker_id add;              /* may lead although it is not active yet                   */
    broker_id unclean;          /* leaves every ISR and ELR: its log may have lost records  */
    const struct uuid *directory; /* only replicas in that directory of `remove`            */
    bool leaderless;            /* only partitions without a leader                         */
    bool elr;                   /* those with `remove` in their ELR, too                    */
};
bool decide_sweep(struct decide *d, const struct sweep *sweep);
/* Moves leadership to preferred replicas that can lead. Answers how many partitions. */
uint32_t decide_balance_leaders(struct decide *d);
/* Elects, uncleanly where a topic allows it, for partitions that have no leader. Answers how many. */
uint32_t decide_elect_unclean(struct decide *d);

/* ---- Reassignments (decide_reassign.c) */
void decide_alter_reassignments(struct decide *d, const struct alter_partition_reassignments_request *in, struct alter_partition_reassignments_response *out);
void decide_list_reassignments(struct decide *d, const struct list_partition_reassignments_request *in, struct list_partition_reassignments_response *out);

/* ---- Brokers and controllers (decide_brokers.c) */
enum kafka_error decide_register_broker(struct decide *d, const struct broker_registration_request *in, struct broker_registration_response *out,
                                        bool former_is_gone);
enum kafka_error decide_heartbeat(struct decide *d, const struct broker_heartbeat_request *in, struct broker_heartbeat_response *out);
/* One broker's session is over. False: not done yet, call again. */
bool decide_fence(struct decide *d, broker_id id);
enum kafka_error decide_unregister_broker(struct decide *d, const struct unregister_broker_request *in, struct unregister_broker_response *out);
enum kafka_error decide_register_controller(struct decide *d, const struct controller_registration_request *in, struct controller_registration_response *out);
enum kafka_error decide_unregister_controller(struct decide *d, const struct unregister_controller_request *in, struct unregister_controller_response *out);
enum kafka_error decide_allocate_producer_ids(struct decide *d, const struct allocate_producer_ids_request *in, struct allocate_producer_ids_response *out);

/* ---- Configs (decide_configs.c) */
void decide_incremental_alter_configs(struct decide *d, const struct incremental_alter_configs_request *in, struct incremental_alter_configs_response *out);
void decide_alter_configs(struct decide *d, const struct alter_configs_request *in, struct alter_configs_response *out);
/* The settings of a topic that is being made: may they be? Data NULL: yes. */
struct span decide_check_topic_configs(struct decide *d, const struct config_values *values);

/* ---- Features and what a new controller does first (decide_features.c) */
void decide_update_features(struct decide *d, int16_t version, const struct update_features_request *in, struct update_features_response *out);
/* The log has been read and this node leads: end what was left open, begin what was never begun. `bootstrap`: the framed
 * records that format wrote; none: metadata.version at its latest. */
void decide_activate(struct decide *d, bool in_transaction, const struct span *bootstrap, uint32_t bootstrap_count);
void decide_no_op(struct decide *d);
