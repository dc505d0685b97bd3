/* Message sets of formats 0 and 1 from any bytes. The outer CRC is made to fit; a message that opens gives as many records
 * as it said, with offsets that rise. */
#include "fuzz.h"
#include "vectors.h"
#include "base/hash.h"
#include "wire/fuzz_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_begin();
    uint8_t *bytes = fuzz_copy(data, size);
    struct span run = span_of(bytes, size);
    struct old_message message;
    for (int n = 0; n < 64 && old_next(&run, &message) == ERR_NONE; n++) {
        message.crc = crc32_zip(0, message.bytes + BATCH_AT_MAGIC, message.size - BATCH_AT_MAGIC);
        struct old_cursor cursor;
        struct old_range range;
        struct record record;
        if (old_cursor_open(&cursor, &message, &fuzz_codecs, &fuzz_limits, &range) == ERR_NONE) {
            int32_t count = 0;
            log_offset last = 0;
            enum err err;
            while ((err = old_cursor_next(&cursor, &record)) == ERR_NONE) {
                assert(count == 0 ? record.offset == range.base_offset : record.offset > last);
                last = record.offset;
                count++;
            }
            assert(err == ERR_NOT_FOUND && count == range.count && last == range.last_offset);
        }
        old_cursor_close(&cursor);
    }
    free(bytes);
    fuzz_end();
    return 0;
}

static void seed(fuzz_add *add, struct span bytes) {
    if (bytes.data[BATCH_AT_MAGIC] < BATCH_MAGIC_2) add(bytes.data, bytes.size);
}
void fuzz_seeds(fuzz_add *add) {
    fuzz_seeds_from(add, seed);
}
