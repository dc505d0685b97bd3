/* quorum/describe.c - the answer of DescribeQuorum. */
#include "quorum/calls.h"

static bool describe_replicas(struct quorum *quorum, struct quorum_request *request, const struct raft_replica_info *from, uint32_t count,
                              struct describe_quorum_response_replica_state **items, int32_t *items_count) {
    time_ms wall = shard_wall(quorum->shard);
    int64_t now = quorum_now_ms(quorum);
    *items = describe_quorum_response_replica_state_array(request->arena, (int32_t)count);
    if (!*items) return false;
    *items_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        struct describe_quorum_response_replica_state *to = &(*items)[i];
        to->replica_id = from[i].key.id;
        if (request->version >= 2) to->replica_directory_id = from[i].key.directory;
        to->log_end_offset = from[i].end;
        to->last_fetch_timestamp = from[i].fetch_ms < 0 ? -1 : wall - (now - from[i].fetch_ms);
        to->last_caught_up_timestamp = from[i].caught_up_ms < 0 ? -1 : wall - (now - from[i].caught_up_ms);
    }
    return true;
}

static bool describe_nodes(struct quorum *quorum, struct quorum_request *request, struct describe_quorum_response *out) {
    const struct raft_voters *voters = raft_voters(&quorum->raft);
    out->nodes = describe_quorum_response_node_array(request->arena, voters->count);
    if (!out->nodes) return false;
    out->nodes_count = voters->count;
    for (uint32_t i = 0; i < voters->count; i++) {
        struct describe_quorum_response_node *node = &out->nodes[i];
        node->node_id = voters->voters[i].key.id;
        node->listeners = describe_quorum_response_listener_array(request->arena, voters->voters[i].count);
        if (!node->listeners) return false;
        node->listeners_count = voters->voters[i].count;
        for (uint32_t j = 0; j < voters->voters[i].count; j++) {
            struct raft_listener at = raft_voters_listener(voters, i, j);
            void *name = arena_copy(request->arena, at.name.data, at.name.size), *host = arena_copy(request->arena, at.host.data, at.host.size);
            if (!name || !host) return false;
            node->listeners[j].name = span_of(name, at.name.size);
            node->listeners[j].host = span_of(host, at.host.size);
            node->listeners[j].port = at.port;
        }
    }
    return true;
}

/* Asked for anything but the one partition that there is: each that was named is told so. */
static bool describe_unknown(const struct describe_quorum_request *in, struct arena *arena, struct describe_quorum_response *out) {
    out->topics = describe_quorum_response_topic_data_array(arena, in->topics_count);
    if (!out->topics) return false;
    out->topics_count = in->topics_count;
    for (int32_t t = 0; t < in->topics_count; t++) {
        out->topics[t].topic_name = in->topics[t].topic_name;
        out->topics[t].partitions = describe_quorum_response_partition_data_array(arena, in->topics[t].partitions_count);
        if (!out->topics[t].partitions) return false;
        out->topics[t].partitions_count = in->topics[t].partitions_count;
        for (int32_t i = 0; i < in->topics[t].partitions_count; i++) {
            out->topics[t].partitions[i].partition_index = in->topics[t].partitions[i].partition_index;
            out->topics[t].partitions[i].error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            out->topics[t].partitions[i].error_message = SPAN_LITERAL("This server does not host this topic-partition.");
        }
    }
    return true;
}

void *calls_describe(struct quorum *quorum, struct quorum_request *request) {
    const struct describe_quorum_request *in = request->request;
    struct arena *arena = request->arena;
    struct describe_quorum_response *out = ARENA_NEW(arena, struct describe_quorum_response);
    struct raft_description *description = ARENA_NEW(arena, struct raft_description);
    if (!out || !description) return NULL;
    describe_quorum_response_init(out);
    if (!ONE_PARTITION(in, topic_name) || in->topics[0].partitions[0].partition_index != 0) return describe_unknown(in, arena, out) ? out : NULL;
    ONE_PART(out, describe_quorum_response_topic_data, describe_quorum_response_partition_data, part);
    out->topics[0].topic_name = METADATA_TOPIC;
    part->partition_index = 0;
    part->leader_id = quorum->raft.leader_id;
    part->leader_epoch = quorum->raft.epoch;
    part->high_watermark = -1;
    bool runs = quorum->state == QUORUM_RUNNING || quorum->state == QUORUM_STOPPING;
    if (!runs || !raft_describe(&quorum->raft, quorum_now_ms(quorum), description)) {
        part->error_code = KAFKA_NOT_LEADER_OR_FOLLOWER;
        return out;
    }
    part->leader_id = description->leader_id;
    part->leader_epoch = description->epoch;
    part->high_watermark = description->high_watermark;
    bool made = describe_replicas(quorum, request, description->voters, description->voters_count, &part->current_voters, &part->current_voters_count) &&
                describe_replicas(quorum, request, description->observers, description->observers_count, &part->observers, &part->observers_count);
    if (made && request->version >= 2) made = describe_nodes(quorum, request, out);
    return made ? out : NULL;
}
