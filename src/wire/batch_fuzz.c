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
void fuzz_seeds(fuzz_add *add) {
    fuzz_seeds_from(add, seed);
}
