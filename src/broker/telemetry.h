/* broker/telemetry.h - metrics that clients push (KIP-714): who is to push what, and what was pushed.
 *
 * A client asks for its subscription under an instance id and pushes under the subscription's id, no more often than the
 * interval says. Instances live on the shard that their id hashes to, TELEMETRY_INSTANCES_MAX on each at most: the longest
 * unused one goes first. What is subscribed to stands in the configs of client metrics, whose `match` chooses clients by
 * their attributes; of several that match, the metrics of all and the shortest interval count.
 *
 * What is pushed (OTLP, maybe compressed) is read as far as counting it needs.
 */
#pragma once
#include "base/containers.h"
#include "broker/request.h"
#include "meta/meta.h"

struct broker;
struct telemetry;

enum { TELEMETRY_INSTANCES_MAX = 16384, TELEMETRY_UNPACKED_BYTES_MAX = 1 << 20 };

/* What a subscription's `match` may ask about; all borrowed for the call. */
struct telemetry_client {
    struct uuid instance;
    struct span client_id, software_name, software_version, address, port;
};
struct telemetry_subscription {
    int32_t id, interval_ms;
    struct span *metrics;            /* name prefixes, or one "*"; live in the arena */
    int32_t metrics_count;
};

uint32_t telemetry_shard(const struct broker *broker, struct uuid instance);
/* Ids that no instance may have: zero, and those that mean something elsewhere. */
bool telemetry_is_reserved(struct uuid instance);

/* Both on the instance's shard. The answer is for the client as it is. */
enum kafka_error telemetry_ask(struct broker *broker, const struct telemetry_client *client, struct arena *arena, struct telemetry_subscription *out);
enum kafka_error telemetry_push(struct broker *broker, const struct telemetry_client *client, const struct push_telemetry_request *push, struct arena *arena);
void telemetry_free(struct broker *broker);

/* What a payload of OTLP holds; false: it is none. */
struct telemetry_counts { uint64_t metrics, points; };
bool telemetry_count(struct span payload, struct telemetry_counts *counts);
