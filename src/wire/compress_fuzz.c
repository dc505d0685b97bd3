/* Decompressors on any bytes: the first byte chooses the codec. What comes out at once also comes out in pieces, within
 * the limits. */
#include "fuzz.h"
#include "vectors.h"
#include "wire/fuzz_batch.h"

static void one(enum compression codec, uint32_t flags, struct span packed) {
    struct slab *whole = NULL;
    enum err err = unpack(&fuzz_codecs, codec, packed, flags, &fuzz_limits, &whole), piecewise;
    struct unpacker unpacker;
    size_t done = 0, got = 1;
    piecewise = unpacker_open(&unpacker, &fuzz_codecs, codec, packed, flags, &fuzz_limits);
    for (size_t room = 1; !piecewise && got; room = room * 2 + 1) {
        uint8_t piece[8192];
        piecewise = unpacker_read(&unpacker, piece, room < sizeof piece ? room : sizeof piece, &got);
        if (piecewise) break;
        assert(err || (done + got <= whole->used && !memcmp(piece, whole->bytes + done, got)));
        done += got;
    }
    unpacker_close(&unpacker);
    assert((err == ERR_NONE) == (piecewise == ERR_NONE));
    assert(done <= fuzz_limits.bytes_max && (err || done == whole->used));
    if (!err) slab_drop(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_begin();
    if (size == 0) return 0;
    uint8_t *bytes = fuzz_copy(data + 1, size - 1);
    one((enum compression)((data[0] & 0x7f) % COMPRESSION_COUNT), data[0] & 0x80 ? COMPRESS_OLD_LZ4 : 0, span_of(bytes, size - 1));
    free(bytes);
    fuzz_end();
    return 0;
}

/* The payloads of compressed batches and old messages. */
static void seed(fuzz_add *add, struct span bytes) {
    struct span run = bytes, payload;
    struct batch batch;
    struct old_message message;
    uint8_t input[8192];
    if (batch_next(&run, &batch) == ERR_NONE) {
        input[0] = (uint8_t)batch_codec(&batch);
        payload = span_of(batch.bytes + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES);
    } else {
        if (old_next(&run, &message)) return;
        input[0] = (uint8_t)(0x80 | old_codec(&message));
        payload = message.value;
    }
    if (payload.size >= sizeof input) return;
    if (payload.size) memcpy(input + 1, payload.data, payload.size);
    add(input, payload.size + 1);
}
void fuzz_seeds(fuzz_add *add) {
    fuzz_seeds_from(add, seed);
}
