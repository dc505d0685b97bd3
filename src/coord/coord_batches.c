/* Loading from record batches as they lie in a log. */
#include "coord/coord_state.h"

static enum err batch_to_records(struct coord *coord, const struct batch *batch, struct batch_records *opened, struct coord_batch *out) {
    *out = (struct coord_batch){.timestamp_ms = batch->max_timestamp, .producer_id = -1, .producer_epoch = -1};
    if (batch_is_transactional(batch)) {
        out->producer_id = batch->producer_id;
        out->producer_epoch = batch->producer_epoch;
    }
    if (batch_is_control(batch)) {
        struct batch_marker marker;
        enum err err = batch_marker_parse(batch, &marker);
        if (err == ERR_UNSUPPORTED) return ERR_NONE; /* of another kind: no records for the machine */
        if (err) return err;
        out->producer_id = batch->producer_id;
        out->producer_epoch = batch->producer_epoch;
        out->marker = marker.type == CONTROL_COMMIT ? COORD_MARKER_COMMIT : COORD_MARKER_ABORT;
        out->coordinator_epoch = marker.coordinator_epoch;
        return ERR_NONE;
    }
    static const struct unpack_limits limits = {.bytes_max = COORD_UNPACKED_BYTES};
    enum err err = batch_records_open(batch, coord->options.codecs, &limits, opened);
    if (err) return err;
    struct coord_record *records = ARENA_ARRAY(&coord->arena, (size_t)batch->count, struct coord_record);
    if (!records && batch->count) return ERR_NO_MEMORY;
    struct record_cursor cursor;
    record_cursor_init(&cursor, batch, opened->bytes);
    for (struct record record; !(err = record_next(&cursor, &record));)
        records[out->count++] = (struct coord_record){.key = record.key, .value = record.value};
    out->records = records;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

void coord_read_done_bytes(struct coord *coord, const struct coord_now *now, uint64_t load, enum err err, struct span bytes) {
    if (!coord_load_answered(coord, now, load, err)) return;
    log_offset next = coord->applied;
    struct batch batch;
    while (!(err = batch_next(&bytes, &batch))) {
        struct batch_records opened = {0};
        struct coord_batch records;
        arena_reset(&coord->arena);
        bool whole = !(err = batch_to_records(coord, &batch, &opened, &records));
        bool applied = whole && coord_load_apply(coord, now, &records, batch.base_offset);
        batch_records_close(&opened);
        if (!whole) break;
        if (!applied) return;
        if (batch_next_offset(&batch) > next) next = batch_next_offset(&batch);
    }
    if (err == ERR_NOT_FOUND || err == ERR_AGAIN) {
        coord_load_next(coord, now, next);
    } else if (err == ERR_NO_MEMORY) {
        coord_reload(coord, now);
    } else {
        /* Not to be skipped: an offset that was answered may be in it. */
        coord->applied = next;
        coord_load_failed(coord, now, err, next);
    }
}
