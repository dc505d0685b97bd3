#include "base/hash.h"
#include "test.h"
#include "wire/batch_old.h"
#include "wire/codecs_rig.h"

/* Writes one message, as clients of that time did; answers its size. */
static size_t write_message(uint8_t *at, log_offset offset, uint8_t magic, uint8_t attributes, time_ms timestamp, struct span key, struct span value) {
    uint8_t *p = at + 18;
    store_be64(at, (uint64_t)offset);
    at[16] = magic;
    at[17] = attributes;
    if (magic == 1) store_be64(p, (uint64_t)timestamp), p += 8;
    struct span fields[] = {key, value};
    for (int i = 0; i < 2; i++) {
        store_be32(p, fields[i].data ? (uint32_t)fields[i].size : UINT32_MAX);
        if (fields[i].size) memcpy(p + 4, fields[i].data, fields[i].size);
        p += 4 + fields[i].size;
    }
    store_be32(at + 8, (uint32_t)(p - at) - 12);
    store_be32(at + 12, crc32_zip(0, at + 16, (size_t)(p - at) - 16));
    return (size_t)(p - at);
}

static size_t write_wrapper(uint8_t *at, log_offset offset, uint8_t magic, uint8_t attributes, time_ms timestamp, const uint8_t *inner, size_t size) {
    struct slab *packed = NULL;
    assert_int_equal(pack(&codecs, (enum compression)(attributes & 7), COMPRESSION_LEVEL_DEFAULT, magic == 0 ? COMPRESS_OLD_LZ4 : 0, span_of(inner, size), &packed), ERR_NONE);
    size_t written = write_message(at, offset, magic, attributes, timestamp, span_of(NULL, 0), span_of(packed->bytes, packed->used));
    slab_drop(packed);
    return written;
}

static enum err open_first(const uint8_t *bytes, size_t size, struct old_cursor *cursor, struct old_range *range) {
    struct span run = span_of(bytes, size);
    struct old_message message;
    enum err err = old_next(&run, &message);
    *cursor = (struct old_cursor){0};
    return err ? err : old_cursor_open(cursor, &message, &codecs, &limits, range);
}

/* Format 1 counts inside from any start, and the outer offset is the last one's; with LogAppendTime the outer timestamp
 * is everybody's. Format 0 has absolute offsets. */
TEST(offsets_of_wrapped_messages) {
    uint8_t inner[1000], outer[1000];
    struct old_cursor cursor;
    struct old_range range;
    struct record record;
    begin();
    for (uint8_t codec = COMPRESSION_GZIP; codec <= COMPRESSION_LZ4; codec++) {
        for (uint8_t magic = 0; magic < 2; magic++) {
            for (uint8_t append = 0; append <= (magic ? 8 : 0); append += 8) {
                static const log_offset offsets[] = {5, 6, 9};
                size_t size = 0;
                for (int i = 0; i < 3; i++) size += write_message(inner + size, offsets[i], magic, 0, 100 + i, SPAN_LITERAL("k"), SPAN_LITERAL("v"));
                size = write_wrapper(outer, magic ? 1009 : 9, magic, (uint8_t)(codec | append), 200, inner, size);
                assert_int_equal(open_first(outer, size, &cursor, &range), ERR_NONE);
                log_offset base = magic ? 1000 : 0;
                assert_int_equal(range.base_offset, base + 5);
                assert_int_equal(range.last_offset, base + 9);
                assert_int_equal(range.count, 3);
                for (int i = 0; i < 3; i++) {
                    assert_int_equal(old_cursor_next(&cursor, &record), ERR_NONE);
                    assert_int_equal(record.offset, base + offsets[i]);
                    assert_int_equal(record.timestamp, !magic ? -1 : append ? 200 : 100 + i);
                }
                assert_int_equal(old_cursor_next(&cursor, &record), ERR_NOT_FOUND);
                old_cursor_close(&cursor);
            }
        }
    }
    end();
}

/* What no client may have meant is refused: each case breaks one thing. */
TEST(wrong_old_messages_are_refused) {
    uint8_t inner[1000], outer[2000], twice[2000];
    struct old_cursor cursor;
    size_t one, size;
    begin();
    one = write_message(inner, 0, 1, 0, 100, SPAN_LITERAL("k"), SPAN_LITERAL("v"));
#define REFUSED(err_) do { assert_int_equal(open_first(outer, size, &cursor, NULL), err_); old_cursor_close(&cursor); } while (0)
    size = write_wrapper(outer, 7, 1, COMPRESSION_GZIP, 100, inner, one);
    REFUSED(ERR_NONE);
    outer[size - 1] ^= 1; /* CRC of the outer one */
    REFUSED(ERR_CORRUPT);
    inner[one - 1] ^= 1; /* CRC of the inner one */
    size = write_wrapper(outer, 7, 1, COMPRESSION_GZIP, 100, inner, one);
    REFUSED(ERR_CORRUPT);
    inner[one - 1] ^= 1;
    size = write_wrapper(outer, 7, 0, COMPRESSION_GZIP, 100, inner, one); /* another format inside */
    REFUSED(ERR_CORRUPT);
    size = write_wrapper(twice, 7, 1, COMPRESSION_GZIP, 100, inner, one); /* a wrapper in a wrapper */
    size = write_wrapper(outer, 7, 1, COMPRESSION_GZIP, 100, twice, size);
    REFUSED(ERR_CORRUPT);
    size = write_wrapper(outer, 7, 1, COMPRESSION_GZIP, 100, inner, one - 1); /* cut inside */
    REFUSED(ERR_CORRUPT);
    size = write_wrapper(outer, 7, 1, COMPRESSION_GZIP, 100, inner, 0); /* nothing inside */
    REFUSED(ERR_CORRUPT);
    memcpy(inner + one, inner, one); /* the same offset twice */
    size = write_wrapper(outer, 7, 1, COMPRESSION_GZIP, 100, inner, 2 * one);
    REFUSED(ERR_CORRUPT);
    size = write_message(outer, 7, 1, COMPRESSION_GZIP, 100, SPAN_LITERAL("k"), span_of(NULL, 0)); /* null value */
    REFUSED(ERR_CORRUPT);
    size = write_message(outer, 7, 1, COMPRESSION_ZSTD, 100, SPAN_LITERAL("k"), SPAN_LITERAL("v")); /* zstd came later */
    REFUSED(ERR_UNSUPPORTED);
    size = write_message(outer, 7, 1, 0, 100, SPAN_LITERAL("key"), SPAN_LITERAL("value"));
    REFUSED(ERR_NONE);
    for (size_t cut = 1; cut < size; cut++) { /* the fields must fill the message exactly */
        store_be32(outer + 8, (uint32_t)(size - 12 - cut));
        enum err err = open_first(outer, size, &cursor, NULL);
        assert_int_equal(err, ERR_CORRUPT);
    }
#undef REFUSED
    end();
}
