/* controller/machine_rig.h - for tests: the machine under coord, on a log in memory that commits when it is told to.
 * Every batch that was written is kept, so that the log can be replayed beside the machine.
 */
#pragma once
#include "controller/machine.h"

struct rig_batch { struct span *values; uint32_t count; log_offset base; };
struct rig {
    struct pool pool;
    struct arena memory;            /* the log, requests, answers: until rig_close */
    struct config_values config;
    struct machine machine;
    struct coord *coord;
    struct random random;
    time_ms now_ms;
    struct rig_batch *batches;
    uint32_t batch_count, batch_capacity;
    log_offset end, delivered;
    bool hold;                      /* what is written is not committed until rig_commit */
    bool former_is_gone;            /* told with registrations */
    enum kafka_error refuse;        /* the next appends fail with it */
    struct uuid directories[16];    /* one for each broker */
};
void rig_open(struct rig *rig, const char *config, uint64_t seed);
void rig_close(struct rig *rig);
/* Leadership: the log so far is read, the activation's records are written. */
void rig_lead(struct rig *rig);
void rig_lose(struct rig *rig);
void rig_commit(struct rig *rig);
void rig_tick(struct rig *rig, time_ms ms);    /* so much later: what fell due is done */
/* A record that came from elsewhere, before rig_lead. */
void rig_write(struct rig *rig, const struct wire_message *message, int16_t version, const void *record);
void rig_write_framed(struct rig *rig, struct span value);

/* Asks; answers the call's error. With `hold` the answer is still out: see rig_answered. */
enum kafka_error rig_call(struct rig *rig, int16_t api, int16_t version, const void *request, void *response);
uint32_t rig_answered(const struct rig *rig);  /* calls that were answered so far */

const struct image *rig_image(const struct rig *rig);         /* applied */
/* Registers broker `id` with one directory (and a rack), and unfences it. */
broker_epoch rig_register(struct rig *rig, broker_id id, const char *rack);
struct broker_registration_request rig_registration(struct rig *rig, broker_id id); /* what a new process of that broker asks */
void rig_unfence(struct rig *rig, broker_id id);
/* An error code; the topic is made with `partitions` of `factor`. */
enum kafka_error rig_create(struct rig *rig, const char *name, int32_t partitions, int16_t factor);
const struct image_partition *rig_partition(const struct rig *rig, const char *topic, int32_t index);
/* What always holds of the image [R1, R6], against the one before. */
void rig_check(struct rig *rig, const struct image *before);

/* Leads with three brokers (0, 1, 2; 3 is fenced) and topics `t` (3 partitions of 3 replicas) and `dotted.name`. */
void rig_open_cluster(struct rig *rig, const char *config, int16_t metadata_version, bool elr);
#define RIG_QUIET "metadata.max.idle.interval.ms=0\nbroker.session.timeout.ms=900000\n" /* nothing falls due by itself */
