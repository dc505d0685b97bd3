/* quorum/records.c - control records as this folder's values and back, and what batches hold for those above. */
#include "quorum/host.h"

struct span voters_record_encode_bytes(const struct raft_voters *voters, struct arena *arena) {
    struct voters_record record;
    voters_record_init(&record);
    record.voters = voters_record_voter_array(arena, voters->count);
    if (!record.voters) return (struct span){0};
    record.voters_count = voters->count;
    for (uint32_t i = 0; i < voters->count; i++) {
        const struct raft_voter *voter = &voters->voters[i];
        struct voters_record_voter *to = &record.voters[i];
        to->voter_id = voter->key.id;
        to->voter_directory_id = voter->key.directory;
        to->kraft_version_feature.min_supported_version = voter->kraft_min;
        to->kraft_version_feature.max_supported_version = voter->kraft_max;
        to->endpoints = voters_record_endpoint_array(arena, voter->count);
        if (!to->endpoints) return (struct span){0};
        to->endpoints_count = voter->count;
        for (uint32_t j = 0; j < voter->count; j++) {
            struct raft_listener listener = raft_voters_listener(voters, i, j);
            to->endpoints[j].name = listener.name;
            to->endpoints[j].host = listener.host;
            to->endpoints[j].port = listener.port;
        }
    }
    return wire_bytes(&voters_record_message, 0, &record, arena);
}

enum err voters_record_parse(struct span value, struct arena *arena, struct raft_voters *out) {
    struct voters_record record;
    enum err err = voters_record_decode(&record, 0, value, arena, NULL);
    if (err) return err;
    *out = (struct raft_voters){0};
    for (int32_t i = 0; i < record.voters_count; i++) {
        const struct voters_record_voter *from = &record.voters[i];
        struct raft_listener listeners[RAFT_LISTENERS_MAX];
        uint32_t count = 0;
        for (int32_t j = 0; j < from->endpoints_count && count < RAFT_LISTENERS_MAX; j++)
            listeners[count++] = (struct raft_listener){from->endpoints[j].name, from->endpoints[j].host, from->endpoints[j].port};
        struct raft_key key = {from->voter_id, from->voter_directory_id};
        if (key.id < 0) return ERR_CORRUPT;
        if (!raft_voters_add(out, key, from->kraft_version_feature.min_supported_version,
                             from->kraft_version_feature.max_supported_version, listeners, count))
            return ERR_LIMIT;
    }
    return ERR_NONE;
}

enum err kraft_version_parse(struct span value, struct arena *arena, int16_t *out) {
    struct kraft_version_record record;
    enum err err = kraft_version_record_decode(&record, 0, value, arena, NULL);
    if (!err) *out = record.kraft_version;
    return err;
}

struct span leader_change_bytes(const struct raft_record *record, struct arena *arena) {
    struct leader_change_message message;
    leader_change_message_init(&message);
    message.leader_id = record->leader_id;
    message.voters = leader_change_message_voter_array(arena, record->voters->count);
    message.granting_voters = leader_change_message_voter_array(arena, record->voters->count);
    if (!message.voters || !message.granting_voters) return (struct span){0};
    message.voters_count = record->voters->count;
    for (uint32_t i = 0; i < record->voters->count; i++) {
        message.voters[i].voter_id = record->voters->voters[i].key.id;
        if (record->granting & 1u << i) message.granting_voters[message.granting_voters_count++].voter_id = message.voters[i].voter_id;
    }
    return wire_bytes(&leader_change_message_message, 0, &message, arena);
}

/* ---- Batches */

enum err quorum_batches_decode(struct span bytes, log_offset from, struct arena *arena, struct quorum_batch **out, uint32_t *count) {
    struct span rest = bytes;
    struct batch batch;
    uint32_t batches = 0;
    *count = 0;
    while (!batch_next(&rest, &batch)) batches++;
    *out = ARENA_ARRAY(arena, batches + 1, struct quorum_batch);
    if (!*out) return ERR_NO_MEMORY;
    rest = bytes;
    for (uint32_t i = 0; i < batches; i++) {
        if (batch_next(&rest, &batch) || !batch_crc_is_good(&batch) || batch_codec(&batch) != 0) return ERR_CORRUPT;
        if (batch_last_offset(&batch) < from) continue;
        struct quorum_batch *to = &(*out)[*count];
        *to = (struct quorum_batch){.base = batch.base_offset, .last = batch_last_offset(&batch), .epoch = batch.leader_epoch,
                                    .timestamp = batch.max_timestamp, .bytes = batch.size};
        if (!batch_is_control(&batch)) {
            if (batch.count < 0 || (uint32_t)batch.count > batch.size) return ERR_CORRUPT;
            struct span *values = ARENA_ARRAY(arena, (size_t)batch.count + 1, struct span);
            struct record_cursor cursor;
            struct record record;
            enum err err;
            if (!values) return ERR_NO_MEMORY;
            record_cursor_init(&cursor, &batch, span_of(batch.bytes + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES));
            while (!(err = record_next(&cursor, &record))) values[to->count++] = record.value;
            if (err != ERR_NOT_FOUND) return err;
            to->values = values;
        }
        ++*count;
    }
    return ERR_NONE;
}
