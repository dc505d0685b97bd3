/* cli/topics_text.c - how kafka-topics.sh tells of a topic, and reads an assignment of replicas. */
#include "cli/topics.h"
#include "base/random.h"
#include <stdlib.h>
#include <string.h>

enum { SOURCE_OF_DEFAULTS = 5, REPLICAS_MAX = 1024, PARTITIONS_MAX = 100000 };

static void print_ids(FILE *out, const char *label, const int32_t *ids, int32_t count) {
    fprintf(out, "\t%s: ", label);
    for (int32_t i = 0; i < count; i++) fprintf(out, i ? ",%d" : "%d", ids[i]);
}

/* While replicas are added, they are not yet replicas that the partition was promised. */
static int32_t replication_factor(const struct topic_partition_view *partition) {
    return partition->is_reassigned ? partition->replicas_count - partition->adding_count : partition->replicas_count;
}

static bool is_live(const struct topic_filter *filter, int32_t broker) {
    for (int32_t i = 0; i < filter->broker_count; i++)
        if (filter->brokers[i] == broker) return true;
    return false;
}

static int64_t min_isr(const struct topic_view *topic) {
    int64_t value = 1;
    for (int32_t i = 0; i < topic->config_count; i++)
        if (span_equal(topic->configs[i].name, SPAN_LITERAL("min.insync.replicas"))) (void)config_parse_integer(topic->configs[i].value, &value);
    return value;
}

static bool is_asked_for(const struct topic_view *topic, const struct topic_partition_view *partition, const struct topic_filter *filter) {
    bool has_leader = partition->leader >= 0;
    if (!filter->unavailable && !filter->under_replicated && !filter->under_min_isr && !filter->at_min_isr) return true;
    return (filter->under_replicated && replication_factor(partition) > partition->isr_count) ||
           (filter->unavailable && (!has_leader || !is_live(filter, partition->leader))) ||
           (filter->under_min_isr && (!has_leader || partition->isr_count < min_isr(topic))) ||
           (filter->at_min_isr && partition->isr_count == min_isr(topic));
}

static void print_topic(const struct topic_view *topic, FILE *out) {
    char id[UUID_TEXT_BYTES + 1];
    uuid_text(topic->id, id);
    fprintf(out, "Topic: %.*s", (int)topic->name.size, (const char *)topic->name.data);
    if (!uuid_is_zero(topic->id)) fprintf(out, "\tTopicId: %s", id);
    fprintf(out, "\tPartitionCount: %d\tReplicationFactor: %d\tConfigs: ", topic->partition_count,
            topic->partition_count ? replication_factor(&topic->partitions[0]) : 0);
    const char *between = "";
    for (int32_t i = 0; i < topic->config_count; i++) {
        if (topic->configs[i].config_source == SOURCE_OF_DEFAULTS) continue;
        struct span name = topic->configs[i].name, value = topic->configs[i].value;
        fprintf(out, "%s%.*s=%.*s", between, (int)name.size, (const char *)name.data, value.data ? (int)value.size : 4, value.data ? (const char *)value.data : "null");
        between = ",";
    }
    fputc('\n', out);
}

static void print_partition(const struct topic_view *topic, const struct topic_partition_view *partition, FILE *out) {
    fprintf(out, "\tTopic: %.*s\tPartition: %d\tLeader: ", (int)topic->name.size, (const char *)topic->name.data, partition->index);
    if (partition->leader >= 0) fprintf(out, "%d", partition->leader);
    else fputs("none", out);
    print_ids(out, "Replicas", partition->replicas, partition->replicas_count);
    print_ids(out, "Isr", partition->isr, partition->isr_count);
    if (partition->is_reassigned) {
        print_ids(out, "Adding Replicas", partition->adding, partition->adding_count);
        print_ids(out, "Removing Replicas", partition->removing, partition->removing_count);
    }
    if (partition->elr_count >= 0) print_ids(out, "Elr", partition->elr, partition->elr_count);
    else fputs("\tElr: N/A", out);
    if (partition->last_known_elr_count >= 0) print_ids(out, "LastKnownElr", partition->last_known_elr, partition->last_known_elr_count);
    else fputs("\tLastKnownElr: N/A", out);
    fputc('\n', out);
}

void topics_print(const struct topic_view *topic, const struct topic_filter *filter, FILE *out) {
    bool has_own = false;
    for (int32_t i = 0; i < topic->config_count; i++) has_own |= topic->configs[i].config_source != SOURCE_OF_DEFAULTS;
    bool by_partition = filter->unavailable || filter->under_replicated || filter->under_min_isr || filter->at_min_isr;
    if (!by_partition && (!filter->overridden || has_own)) print_topic(topic, out);
    for (int32_t i = 0; i < topic->partition_count && !filter->overridden; i++)
        if (is_asked_for(topic, &topic->partitions[i], filter)) print_partition(topic, &topic->partitions[i], out);
}

bool topics_parse_assignment(const char *text, struct arena *arena, struct create_topics_request_creatable_replica_assignment **out,
                             int32_t *count, struct text *why) {
    int32_t partitions = 1;
    for (const char *at = text; *at; at++) partitions += *at == ',';
    *count = 0;
    *out = partitions <= PARTITIONS_MAX ? create_topics_request_creatable_replica_assignment_array(arena, partitions) : NULL;
    if (!*out) {
        text_add(why, "too many partitions");
        return false;
    }
    for (const char *at = text;;) {
        int32_t *ids = ARENA_ARRAY(arena, REPLICAS_MAX < strlen(at) + 1 ? REPLICAS_MAX : strlen(at) + 1, int32_t), n = 0;
        for (;;) {
            char *end;
            while (*at == ' ') at++;
            long id = strtol(at, &end, 10);
            if (!ids || n == REPLICAS_MAX || end == at || id < 0 || id > INT32_MAX) {
                const char *stop = at + strcspn(at, ":, ");
                text_add(why, "For input string: \"%.*s\"", (int)(stop - at), at);
                return false;
            }
            for (int32_t i = 0; i < n; i++)
                if (ids[i] == id) {
                    text_add(why, "Partition replica lists may not contain duplicate entries: %ld", id);
                    return false;
                }
            ids[n++] = (int32_t)id;
            at = end;
            while (*at == ' ') at++;
            if (*at != ':') break;
            at++;
        }
        struct create_topics_request_creatable_replica_assignment *row = &(*out)[*count];
        row->partition_index = *count;
        row->broker_ids = ids;
        row->broker_ids_count = n;
        if (n != (*out)[0].broker_ids_count) {
            text_add(why, "Partition %d has different replication factor: [", *count);
            for (int32_t i = 0; i < n; i++) text_add(why, i ? ", %d" : "%d", ids[i]);
            text_add(why, "]");
            return false;
        }
        ++*count;
        if (*at != ',') break;
        at++;
    }
    return true;
}
