#include "base/bytes.h"
#include "base/random.h"
#include "test.h"
#include "wire/codecs_rig.h"
#include <lz4frame.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <zstd.h>

/* Words: they shrink, unlike random bytes, and are not all the same. */
static uint8_t *words(size_t size, uint64_t seed) {
    static const char *const list[] = {"offset ", "epoch ", "leader ", "the ", "a ", "replica ", "lag\n", "0123456789"};
    struct random random;
    uint8_t *bytes = malloc(size + 16);
    random_seed(&random, seed);
    for (size_t at = 0; at < size;) {
        const char *word = list[random_below(&random, countof(list))];
        size_t n = strlen(word);
        memcpy(bytes + at, word, n < size - at ? n : size - at);
        at += n;
    }
    return bytes;
}

static struct slab *packed(enum compression codec, int32_t level, uint32_t flags, const uint8_t *bytes, size_t size) {
    struct slab *out = NULL;
    assert_int_equal(pack(&codecs, codec, level, flags, span_of(bytes, size), &out), ERR_NONE);
    return out;
}
static struct span all(const struct slab *slab) {
    return span_of(slab->bytes, slab->used);
}

/* What is packed comes back, at once and in pieces of odd sizes: every codec, sizes around every block's and window's. */
TEST(codecs_round_trip) {
    static const size_t sizes[] = {0, 1, 100, 32767, 32768, 32769, 65535, 65536, 65537, 300000, 3000000};
    begin();
    for (unsigned codec = 0; codec < COMPRESSION_COUNT; codec++) {
        for (size_t i = 0; i < countof(sizes); i++) {
            uint8_t *bytes = words(sizes[i], i), *piecewise = malloc(sizes[i] + 1);
            struct slab *small = packed((enum compression)codec, COMPRESSION_LEVEL_DEFAULT, 0, bytes, sizes[i]), *out = NULL;
            if (codec && sizes[i] > 1000) assert_true(small->used < sizes[i] / 2);
            assert_int_equal(unpack(&codecs, (enum compression)codec, all(small), 0, &limits, &out), ERR_NONE);
            assert_int_equal(out->used, sizes[i]);
            assert_memory_equal(out->bytes, bytes, sizes[i]);
            slab_drop(out);

            struct unpacker unpacker;
            struct random random;
            size_t done = 0, got = 1;
            random_seed(&random, i);
            assert_int_equal(unpacker_open(&unpacker, &codecs, (enum compression)codec, all(small), 0, &limits), ERR_NONE);
            while (got) {
                uint8_t piece[70000];
                size_t room = 1 + random_below(&random, i % 2 ? 100 : sizeof piece);
                assert_int_equal(unpacker_read(&unpacker, piece, room, &got), ERR_NONE);
                assert_true(got <= room && done + got <= sizes[i]);
                memcpy(piecewise + done, piece, got);
                done += got;
            }
            unpacker_close(&unpacker);
            assert_int_equal(done, sizes[i]);
            assert_memory_equal(piecewise, bytes, sizes[i]);
            slab_drop(small);
            free(piecewise);
            free(bytes);
        }
    }
    end();
}

/* Levels are those of Kafka's configs; what is packed at the ends of their ranges unpacks, and others are refused. */
TEST(levels_are_kafkas) {
    static const struct { enum compression codec; int32_t level; bool valid; } cases[] = {
        {COMPRESSION_GZIP, -1, true}, {COMPRESSION_GZIP, 0, false}, {COMPRESSION_GZIP, 1, true}, {COMPRESSION_GZIP, 9, true}, {COMPRESSION_GZIP, 10, false},
        {COMPRESSION_LZ4, 0, false}, {COMPRESSION_LZ4, 1, true}, {COMPRESSION_LZ4, 9, true}, {COMPRESSION_LZ4, 17, true}, {COMPRESSION_LZ4, 18, false},
        {COMPRESSION_ZSTD, -131072, true}, {COMPRESSION_ZSTD, -131073, false}, {COMPRESSION_ZSTD, 0, true}, {COMPRESSION_ZSTD, 22, true}, {COMPRESSION_ZSTD, 23, false},
        {COMPRESSION_COUNT, 1, false}};
    begin();
    uint8_t *bytes = words(100000, 7);
    for (size_t i = 0; i < countof(cases); i++) {
        struct slab *small = NULL, *out = NULL;
        assert_int_equal(compression_level_is_valid(cases[i].codec, cases[i].level), cases[i].valid);
        enum err err = pack(&codecs, cases[i].codec, cases[i].level, 0, span_of(bytes, 100000), &small);
        assert_int_equal(err, cases[i].valid ? ERR_NONE : cases[i].codec == COMPRESSION_COUNT ? ERR_UNSUPPORTED : ERR_INVALID);
        if (err) continue;
        assert_int_equal(unpack(&codecs, cases[i].codec, all(small), 0, &limits, &out), ERR_NONE);
        assert_int_equal(out->used, 100000);
        assert_memory_equal(out->bytes, bytes, 100000);
        slab_drop(out);
        slab_drop(small);
    }
    free(bytes);
    end();
    enum compression codec;
    assert_true(compression_parse(span_text("zstd"), &codec) && codec == COMPRESSION_ZSTD);
    assert_false(compression_parse(span_text("brotli"), &codec));
}

/* The limit of bytes is exact, and a bomb stops at the limits without taking more memory than they allow: zeros, which
 * every codec packs as tightly as it can. */
TEST(unpacking_stops_at_its_limits) {
    size_t size = MIB(8);
    begin();
    uint8_t *zeros = calloc(1, size);
    for (unsigned codec = COMPRESSION_GZIP; codec < COMPRESSION_COUNT; codec++) {
        struct slab *small = packed((enum compression)codec, COMPRESSION_LEVEL_DEFAULT, 0, zeros, size), *out = NULL;
        struct unpack_limits exact = {.bytes_max = size};
        assert_int_equal(unpack(&codecs, (enum compression)codec, all(small), 0, &exact, &out), ERR_NONE);
        assert_int_equal(out->used, size);
        slab_drop(out);
        exact.bytes_max--;
        assert_int_equal(unpack(&codecs, (enum compression)codec, all(small), 0, &exact, &out), ERR_LIMIT);

        struct unpack_limits ratio = {.bytes_max = size, .ratio_max = 10, .ratio_from = KIB(64)};
        size_t most = 10 * small->used > KIB(64) ? 10 * small->used : KIB(64);
        size_t before = atomic_load(&pool.used);
        atomic_store(&pool.used_max, before);
        assert_int_equal(unpack(&codecs, (enum compression)codec, all(small), 0, &ratio, &out), ERR_LIMIT);
        assert_true(atomic_load(&pool.used_max) - before <= 4 * most + KIB(512));
        slab_drop(small);
    }
    free(zeros);
    end();
}

/* The ratio's limit is exact, too, where it counts by its floor and where it counts by what came in: a byte less is
 * refused, just so many and one more are taken. */
TEST(ratios_are_exact) {
    enum { SIZE = 1 << 20 };
    begin();
    uint8_t *zeros = calloc(1, SIZE);
    for (unsigned codec = COMPRESSION_GZIP; codec < COMPRESSION_COUNT; codec++) {
        for (int more = -1; more <= 1; more++) {
            struct slab *small = packed((enum compression)codec, COMPRESSION_LEVEL_DEFAULT, 0, zeros, SIZE), *out = NULL;
            assert_true((size_t)small->used < SIZE); /* the floor is what counts */
            struct unpack_limits floor = {.bytes_max = MIB(64), .ratio_max = 1, .ratio_from = (uint64_t)(SIZE + more)};
            assert_int_equal(unpack(&codecs, (enum compression)codec, all(small), 0, &floor, &out), more < 0 ? ERR_LIMIT : ERR_NONE);
            if (more >= 0) {
                assert_int_equal(out->used, SIZE);
                slab_drop(out);
            }
            slab_drop(small);
        }
        uint8_t *noise = words(SIZE, (int)codec);
        struct slab *small = packed((enum compression)codec, COMPRESSION_LEVEL_DEFAULT, 0, noise, SIZE), *out = NULL;
        uint64_t ratio = (SIZE + small->used - 1) / small->used; /* the least that is enough */
        struct unpack_limits by_ratio = {.bytes_max = MIB(64), .ratio_max = ratio, .ratio_from = 1};
        assert_int_equal(unpack(&codecs, (enum compression)codec, all(small), 0, &by_ratio, &out), ERR_NONE);
        slab_drop(out);
        if (ratio > 1) {
            by_ratio.ratio_max--;
            assert_int_equal(unpack(&codecs, (enum compression)codec, all(small), 0, &by_ratio, &out), ERR_LIMIT);
        }
        slab_drop(small);
        free(noise);
    }
    free(zeros);
    end();
}

/* Cut anywhere, a packed run is refused or gives less than the whole, and never more; nothing leaks, nothing crashes.
 * Only Java's snappy stream has ends in its middle: between two blocks. */
TEST(cut_input_is_refused) {
    size_t size = 70000;
    begin();
    uint8_t *bytes = words(size, 3);
    for (unsigned codec = COMPRESSION_GZIP; codec < COMPRESSION_COUNT; codec++) {
        struct slab *small = packed((enum compression)codec, COMPRESSION_LEVEL_DEFAULT, 0, bytes, size), *out;
        for (size_t kept = 0; kept < small->used; kept += kept < 100 || kept + 100 > small->used ? 1 : 97) {
            uint8_t *exact = malloc(kept + 1); /* so that a sanitizer sees a read beyond it */
            memcpy(exact, small->bytes, kept);
            enum err err = unpack(&codecs, (enum compression)codec, span_of(exact, kept), 0, &limits, &out);
            if (err == ERR_NONE) {
                assert_true(codec == COMPRESSION_SNAPPY || (codec == COMPRESSION_ZSTD && kept == 0));
                assert_true(out->used < size);
                slab_drop(out);
            } else {
                assert_int_equal(err, ERR_CORRUPT);
            }
            free(exact);
        }
        slab_drop(small);
    }
    free(bytes);
    end();
}

/* Every allocation may fail, reading and writing: the answer is ERR_NO_MEMORY and everything is given back. */
TEST(codecs_survive_failed_allocations) {
    size_t size = 200000;
    uint8_t *bytes = words(size, 5);
    for (unsigned codec = 0; codec < COMPRESSION_COUNT; codec++) {
        for (uint64_t n = 1;; n++) {
            struct slab *small = NULL, *out = NULL;
            begin();
            pool.fail_at = n;
            enum err err = pack(&codecs, (enum compression)codec, COMPRESSION_LEVEL_DEFAULT, 0, span_of(bytes, size), &small);
            if (!err) err = unpack(&codecs, (enum compression)codec, all(small), 0, &limits, &out);
            bool reached = pool.fail_at == 0;
            if (reached) assert_int_equal(err, ERR_NO_MEMORY);
            else assert_int_equal(err, ERR_NONE);
            slab_drop(small);
            slab_drop(out);
            end();
            if (!reached) break;
            assert_true(n < 100);
        }
    }
    free(bytes);
}

/* librdkafka writes one bare block, Java a stream of them; both are read, and streams one behind the other, too. A block
 * that promises more than its size can hold is refused before any memory is taken for it. */
TEST(snappy_is_read_in_both_framings) {
    begin();
    uint8_t *bytes = words(100000, 9);
    struct slab *out;
    size_t size = snappy_max_compressed_length(100000);
    char *block = malloc(size);
    assert_int_equal(snappy_compress((char *)bytes, 100000, block, &size), SNAPPY_OK);
    assert_int_equal(unpack(&codecs, COMPRESSION_SNAPPY, span_of(block, size), 0, &limits, &out), ERR_NONE);
    assert_int_equal(out->used, 100000);
    assert_memory_equal(out->bytes, bytes, 100000);
    slab_drop(out);
    free(block);

    struct slab *stream = packed(COMPRESSION_SNAPPY, 0, 0, bytes, 50000);
    assert_memory_equal(stream->bytes, "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
    assert_int_equal(pack(&codecs, COMPRESSION_SNAPPY, 0, 0, span_of(bytes + 50000, 50000), &stream), ERR_NONE);
    assert_int_equal(unpack(&codecs, COMPRESSION_SNAPPY, all(stream), 0, &limits, &out), ERR_NONE);
    assert_int_equal(out->used, 100000);
    assert_memory_equal(out->bytes, bytes, 100000);
    slab_drop(out);
    slab_drop(stream);

    static const uint8_t liar[] = {0xff, 0xff, 0xff, 0x1f, 0x00, 'a'}; /* "64 MiB - 1" in six bytes */
    atomic_store(&pool.used_max, 0);
    assert_int_equal(unpack(&codecs, COMPRESSION_SNAPPY, span_of(liar, sizeof liar), 0, &limits, &out), ERR_CORRUPT);
    assert_true(atomic_load(&pool.used_max) < KIB(16));
    free(bytes);
    end();
}

static size_t lz4_frame(uint8_t *target, size_t room, const uint8_t *bytes, size_t size, LZ4F_blockMode_t mode, bool sums) {
    LZ4F_preferences_t preferences = {.frameInfo = {.blockMode = mode, .blockSizeID = LZ4F_max256KB}};
    if (sums) {
        preferences.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
        preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
        preferences.frameInfo.contentSize = size;
    }
    size_t made = LZ4F_compressFrame(target, room, bytes, size, &preferences);
    assert_false(LZ4F_isError(made));
    return made;
}

/* Frames as other clients' libraries write them (block and content checksums, content size) are read; linked blocks are
 * not, as no Java consumer could; the checksum of formats 0 and 1 only where it is allowed. */
TEST(lz4_frames_are_those_that_kafka_reads) {
    begin();
    size_t size = 300000, room = 400000;
    uint8_t *bytes = words(size, 11), *frame = malloc(room);
    struct slab *out;
    for (int sums = 0; sums < 2; sums++) {
        size_t made = lz4_frame(frame, room, bytes, size, LZ4F_blockIndependent, sums);
        assert_int_equal(unpack(&codecs, COMPRESSION_LZ4, span_of(frame, made), 0, &limits, &out), ERR_NONE);
        assert_int_equal(out->used, size);
        assert_memory_equal(out->bytes, bytes, size);
        slab_drop(out);
        if (!sums) continue;
        frame[made / 2] ^= 1; /* a block's checksum covers it */
        assert_int_equal(unpack(&codecs, COMPRESSION_LZ4, span_of(frame, made), 0, &limits, &out), ERR_CORRUPT);
    }
    size_t made = lz4_frame(frame, room, bytes, size, LZ4F_blockLinked, false);
    assert_int_equal(unpack(&codecs, COMPRESSION_LZ4, span_of(frame, made), 0, &limits, &out), ERR_CORRUPT);

    /* One block that depends on nothing is refused, too, when the frame says that its blocks do. */
    LZ4F_cctx *writer;
    LZ4F_preferences_t linked = {.frameInfo = {.blockMode = LZ4F_blockLinked, .blockSizeID = LZ4F_max64KB}};
    assert_false(LZ4F_isError(LZ4F_createCompressionContext(&writer, LZ4F_VERSION)));
    made = LZ4F_compressBegin(writer, frame, room, &linked);
    made += LZ4F_compressUpdate(writer, frame + made, room - made, bytes, 1000, NULL);
    made += LZ4F_compressEnd(writer, frame + made, room - made, NULL);
    LZ4F_freeCompressionContext(writer);
    assert_int_equal(unpack(&codecs, COMPRESSION_LZ4, span_of(frame, made), 0, &limits, &out), ERR_CORRUPT);

    struct slab *old = packed(COMPRESSION_LZ4, COMPRESSION_LEVEL_DEFAULT, COMPRESS_OLD_LZ4, bytes, size);
    assert_int_equal(unpack(&codecs, COMPRESSION_LZ4, all(old), 0, &limits, &out), ERR_CORRUPT);
    assert_int_equal(unpack(&codecs, COMPRESSION_LZ4, all(old), COMPRESS_OLD_LZ4, &limits, &out), ERR_NONE);
    assert_memory_equal(out->bytes, bytes, size);
    slab_drop(out);
    slab_drop(old);
    /* Our own frames are ones that the library takes. */
    struct slab *ours = packed(COMPRESSION_LZ4, COMPRESSION_LEVEL_DEFAULT, 0, bytes, size);
    LZ4F_dctx *reader;
    size_t done = size, used = ours->used;
    assert_false(LZ4F_isError(LZ4F_createDecompressionContext(&reader, LZ4F_VERSION)));
    assert_int_equal(LZ4F_decompress(reader, frame, &done, ours->bytes, &used, NULL), 0);
    assert_int_equal(done, size);
    assert_memory_equal(frame, bytes, size);
    LZ4F_freeDecompressionContext(reader);
    slab_drop(ours);
    free(frame);
    free(bytes);
    end();
}

/* A frame that declares a window of 128 MiB (level 22 of a stream) is read without memory for the window; two frames one
 * behind the other are one run, as are two members of gzip, and what follows gzip's last is ignored as Java does. */
TEST(zstd_windows_and_concatenation) {
    begin();
    size_t size = 500000, room = 600000;
    uint8_t *bytes = words(size, 13), *frame = malloc(2 * room);
    struct slab *out;
    ZSTD_CCtx *writer = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(writer, ZSTD_c_compressionLevel, 3);
    ZSTD_CCtx_setParameter(writer, ZSTD_c_windowLog, 27);
    ZSTD_outBuffer target = {frame, 2 * room, 0};
    for (int frames = 0; frames < 2; frames++) {
        ZSTD_inBuffer source = {bytes, size, 0};
        while (ZSTD_compressStream2(writer, &target, &source, ZSTD_e_continue) && source.pos < source.size) {}
        while (ZSTD_compressStream2(writer, &target, &source, ZSTD_e_end)) {}
    }
    ZSTD_freeCCtx(writer);
    assert_int_equal(unpack(&codecs, COMPRESSION_ZSTD, span_of(frame, target.pos), 0, &limits, &out), ERR_NONE);
    assert_int_equal(out->used, 2 * size);
    assert_memory_equal(out->bytes + size, bytes, size);
    assert_true(atomic_load(&pool.used_max) < MIB(8));
    slab_drop(out);
    free(frame);

    struct slab *members = packed(COMPRESSION_GZIP, COMPRESSION_LEVEL_DEFAULT, 0, bytes, 1000);
    assert_int_equal(pack(&codecs, COMPRESSION_GZIP, 9, 0, span_of(bytes + 1000, 1000), &members), ERR_NONE);
    assert_int_equal(pack(&codecs, COMPRESSION_NONE, 0, 0, SPAN_LITERAL("not a member"), &members), ERR_NONE);
    assert_int_equal(unpack(&codecs, COMPRESSION_GZIP, all(members), 0, &limits, &out), ERR_NONE);
    assert_int_equal(out->used, 2000);
    assert_memory_equal(out->bytes, bytes, 2000);
    slab_drop(out);
    slab_drop(members);
    free(bytes);
    end();
}

/* Any change of a packed run ends in an answer within the limits. Random flips, all codecs; sanitizers do the watching. */
TEST(damaged_input_gets_an_answer) {
    begin();
    struct random random;
    random_seed(&random, 17);
    size_t size = 5000;
    uint8_t *bytes = words(size, 17);
    for (unsigned codec = COMPRESSION_GZIP; codec < COMPRESSION_COUNT; codec++) {
        struct slab *small = packed((enum compression)codec, COMPRESSION_LEVEL_DEFAULT, 0, bytes, size), *out;
        for (int i = 0; i < 3000; i++) {
            uint8_t *damaged = malloc(small->used);
            memcpy(damaged, small->bytes, small->used);
            for (uint64_t flips = 1 + random_below(&random, 4); flips; flips--)
                damaged[random_below(&random, small->used)] ^= (uint8_t)(1 << random_below(&random, 8));
            enum err err = unpack(&codecs, (enum compression)codec, span_of(damaged, small->used), 0, &limits, &out);
            assert_true(err == ERR_NONE || err == ERR_CORRUPT || err == ERR_LIMIT);
            if (!err) slab_drop(out);
            free(damaged);
        }
        slab_drop(small);
    }
    free(bytes);
    end();
}
