/* Record batches from any bytes: the walk, the window and the cursor agree; what is good is encoded to the same again.
 * The CRC is made to fit, so that the fuzzer gets behind it. */
#include "fuzz.h"
#include "vectors.h"
#include "wire/fuzz_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_begin();
    uint8_t *bytes = fuzz_copy(data, size);
    struct span run = span_of(bytes, size);
    struct batch batch;
    for (int n = 0; n < 64 && batch_next(&run, &batch) == ERR_NONE; n++) {
        batch_stamp_crc(bytes + (batch.bytes - bytes), batch.size);
        batch.crc = load_be32(batch.bytes + BATCH_AT_CRC);
        assert(batch_crc_is_good(&batch));
        fuzz_batch(&batch);
    }
    free(bytes);
    fuzz_end();
    return 0;
}

static void seed(fuzz_add *add, struct span bytes) {
    if (bytes.data[BATCH_AT_MAGIC] == BATCH_MAGIC_2) add(bytes.data, bytes.size);
}
/* Records larger than the window that a walk looks through, in few bytes. */
static void large(fuzz_add *add, enum compression codec) {
    static const uint8_t zeros[90000];
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    batch_options_init(&options);
    options.codec = codec;
    batch_builder_init(&builder, &fuzz_pool, MIB(1), &options);
    for (int i = 0; i < 3; i++)
        if (batch_builder_add(&builder, 1000 + i, span_of(zeros, 70000), span_of(zeros, sizeof zeros), NULL, 0)) never("there is room");
    if (batch_builder_finish(&builder, &fuzz_codecs, &slab)) never("there is memory");
    add(slab->bytes, slab->used);
    slab_drop(slab);
    batch_builder_destroy(&builder);
}
void fuzz_seeds(fuzz_add *add) {
    fuzz_seeds_from(add, seed);
    fuzz_begin();
    for (enum compression codec = COMPRESSION_GZIP; codec < COMPRESSION_COUNT; codec++) large(add, codec);
}
