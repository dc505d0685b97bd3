#include "wire/compress.h"
#include "base/bytes.h"
#include <lz4.h>
#include <lz4hc.h>
#include <snappy-c.h>
#include <zlib.h>
#define ZSTD_STATIC_LINKING_ONLY /* contexts within our pool's budget, and a look at a frame's window before it is believed */
#include <zstd.h>
#include <zstd_errors.h>

enum {
    SNAPPY_HEADER_BYTES = 16,
    SNAPPY_BLOCK_BYTES = 32 * 1024,    /* what Java's stream puts into a block */
    SNAPPY_EXPANDS_MAX = 22,           /* its densest element: 3 bytes for 64 */
    LZ4_BLOCK_BYTES = 64 * 1024,
    LZ4_EXPANDS_MAX = 255,
    ZSTD_STREAM_WINDOW_MAX = 2 << 20,  /* frames with a larger window are unpacked whole: then no window is needed */
    WHOLE_BYTES_MIN = 64 * 1024,
};
static const uint8_t snappy_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
static const uint8_t lz4_magic[4] = {0x04, 0x22, 0x4d, 0x18};

/* ---- The table */

struct codec {
    const char *name;
    int32_t level_min, level_max, level_default;
    enum err (*open)(struct unpacker *unpacker, uint32_t flags);
    enum err (*read)(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got);
    enum err (*pack)(struct codecs *codecs, int level, uint32_t flags, struct span plain, struct slab **out);
};
static const struct codec table[COMPRESSION_COUNT];

const char *compression_name(enum compression codec) {
    return codec < COMPRESSION_COUNT ? table[codec].name : "unknown";
}

bool compression_parse(struct span name, enum compression *out) {
    for (unsigned codec = 0; codec < COMPRESSION_COUNT; codec++) {
        if (!span_equal(name, span_text(table[codec].name))) continue;
        *out = (enum compression)codec;
        return true;
    }
    return false;
}

bool compression_level_is_valid(enum compression codec, int32_t level) {
    if (codec >= COMPRESSION_COUNT) return false;
    const struct codec *row = &table[codec];
    return level == row->level_default || (level >= row->level_min && level <= row->level_max);
}

/* ---- Memory: the libraries free without a size, so each piece carries its own in front. */

enum { PIECE_HEADER_BYTES = 16 };

static void *piece_alloc(void *pool, size_t bytes) {
    size_t *piece = pool_alloc(pool, bytes + PIECE_HEADER_BYTES);
    if (!piece) return NULL;
    *piece = bytes + PIECE_HEADER_BYTES;
    return (uint8_t *)piece + PIECE_HEADER_BYTES;
}
static void piece_free(void *pool, void *memory) {
    if (!memory) return;
    size_t *piece = (size_t *)(void *)((uint8_t *)memory - PIECE_HEADER_BYTES);
    pool_free(pool, piece, *piece);
}
static void *zlib_alloc(void *pool, unsigned items, unsigned size) {
    return piece_alloc(pool, (size_t)items * size);
}

void codecs_init(struct codecs *codecs, struct pool *pool) {
    *codecs = (struct codecs){.pool = pool};
}

void codecs_destroy(struct codecs *codecs) {
    assert(!codecs->in_use);
    if (codecs->inflater) {
        inflateEnd(codecs->inflater);
        pool_free(codecs->pool, codecs->inflater, sizeof(z_stream));
    }
    pool_free(codecs->pool, codecs->window, WINDOW_BYTES);
    ZSTD_freeDCtx(codecs->zstd_reader);
    ZSTD_freeCCtx(codecs->zstd_writer);
    *codecs = (struct codecs){.pool = codecs->pool};
}

uint8_t *codecs_window(struct codecs *codecs) {
    if (!codecs->window) codecs->window = pool_alloc(codecs->pool, WINDOW_BYTES);
    return codecs->window;
}

static ZSTD_customMem zstd_memory(struct codecs *codecs) {
    return (ZSTD_customMem){.customAlloc = piece_alloc, .customFree = piece_free, .opaque = codecs->pool};
}

bool slab_reserve(struct pool *pool, struct slab **slab, size_t bytes) {
    struct slab *old = *slab;
    size_t used = old ? old->used : 0, capacity = old ? old->capacity : 0;
    if (old && capacity - used >= bytes) return true;
    if (bytes > UINT32_MAX - sizeof *old - used) return false;
    size_t want = used + bytes, twice = 2 * capacity;
    if (twice > UINT32_MAX - sizeof *old) twice = UINT32_MAX - sizeof *old;
    if (want < twice) want = twice;
    if (!old) {
        *slab = slab_new(pool, (uint32_t)want);
        return *slab != NULL;
    }
    assert(atomic_load_explicit(&old->refs, memory_order_relaxed) == 1);
    struct slab *grown = pool_realloc(pool, old, sizeof *old + capacity, sizeof *old + want);
    if (!grown) return false;
    grown->capacity = (uint32_t)want;
    *slab = grown;
    return true;
}

/* ---- Limits */

/* How much may still come out. 0 with more to come is the limit. */
static uint64_t room_left(const struct unpacker *unpacker) {
    const struct unpack_limits *limits = &unpacker->limits;
    uint64_t most = limits->bytes_max;
    if (limits->ratio_max) {
        uint64_t by_ratio;
        if (__builtin_mul_overflow(unpacker->packed_bytes, limits->ratio_max, &by_ratio)) by_ratio = UINT64_MAX;
        if (by_ratio < limits->ratio_from) by_ratio = limits->ratio_from;
        if (by_ratio < most) most = by_ratio;
    }
    return most > unpacker->unpacked_bytes ? most - unpacker->unpacked_bytes : 0;
}

static void take(struct unpacker *unpacker, size_t bytes) {
    assert(bytes <= unpacker->left.size);
    unpacker->left.data += bytes;
    unpacker->left.size -= bytes;
}

/* ---- Blocks: lz4 and snappy decode a block at once. Into the caller's room when it is large enough, else into our own. */

static enum err block_room(struct unpacker *unpacker, size_t bytes, uint8_t *target, size_t room, uint8_t **where) {
    *where = target;
    if (room >= bytes) return ERR_NONE;
    struct slab *block = unpacker->block;
    if (block) block->used = 0;
    unpacker->block_at = 0;
    if (bytes > UINT32_MAX || !slab_reserve(unpacker->codecs->pool, &unpacker->block, bytes)) return ERR_NO_MEMORY;
    *where = unpacker->block->bytes;
    return ERR_NONE;
}

/* The block has been decoded to `where`: how much of it is in the caller's room now? */
static enum err block_done(struct unpacker *unpacker, size_t bytes, const uint8_t *where, uint8_t *target, size_t room, size_t *got) {
    if (bytes > room_left(unpacker)) return ERR_LIMIT;
    unpacker->unpacked_bytes += bytes;
    *got = bytes;
    if (where == target) return ERR_NONE;
    *got = bytes < room ? bytes : room;
    if (*got) memcpy(target, where, *got);
    unpacker->block->used = (uint32_t)bytes;
    unpacker->block_at = (uint32_t)*got;
    return ERR_NONE;
}

static bool block_is_waiting(const struct unpacker *unpacker) {
    return unpacker->block && unpacker->block_at < unpacker->block->used;
}

static void block_hand_out(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got) {
    struct slab *block = unpacker->block;
    *got = block->used - unpacker->block_at < room ? block->used - unpacker->block_at : room;
    memcpy(target, block->bytes + unpacker->block_at, *got);
    unpacker->block_at += (uint32_t)*got;
}

/* ---- none */

static enum err none_open(struct unpacker *unpacker, uint32_t flags) {
    return ERR_NONE;
}
static enum err none_read(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got) {
    *got = unpacker->left.size < room ? unpacker->left.size : room;
    if (*got > room_left(unpacker)) return ERR_LIMIT;
    if (*got) memcpy(target, unpacker->left.data, *got);
    take(unpacker, *got);
    unpacker->unpacked_bytes += *got;
    unpacker->ended = unpacker->left.size == 0;
    return ERR_NONE;
}
static enum err none_pack(struct codecs *codecs, int level, uint32_t flags, struct span plain, struct slab **out) {
    if (!slab_reserve(codecs->pool, out, plain.size)) return ERR_NO_MEMORY;
    if (plain.size) memcpy((*out)->bytes + (*out)->used, plain.data, plain.size);
    (*out)->used += (uint32_t)plain.size;
    return ERR_NONE;
}

/* ---- gzip */

enum { GZIP_WINDOW_BITS = 15 + 16 /* 16: with gzip's header and trailer */ };

static enum err gzip_open(struct unpacker *unpacker, uint32_t flags) {
    struct codecs *codecs = unpacker->codecs;
    z_stream *stream = codecs->inflater;
    if (stream) return inflateReset(stream) == Z_OK ? ERR_NONE : ERR_CORRUPT;
    if (!(stream = pool_zero_alloc(codecs->pool, sizeof *stream))) return ERR_NO_MEMORY;
    stream->zalloc = zlib_alloc;
    stream->zfree = piece_free;
    stream->opaque = codecs->pool;
    if (inflateInit2(stream, GZIP_WINDOW_BITS) != Z_OK) {
        pool_free(codecs->pool, stream, sizeof *stream);
        return ERR_NO_MEMORY;
    }
    codecs->inflater = stream;
    return ERR_NONE;
}

static enum err gzip_read(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got) {
    z_stream *stream = unpacker->codecs->inflater;
    uint64_t allowed = room_left(unpacker);
    if (room > allowed + 1) room = (size_t)allowed + 1; /* one more shows that there is too much */
    if (room > UINT32_MAX) room = UINT32_MAX;
    stream->next_out = target;
    stream->avail_out = (unsigned)room;
    while (stream->avail_out > 0) {
        unsigned given = unpacker->left.size < UINT32_MAX ? (unsigned)unpacker->left.size : UINT32_MAX;
        stream->next_in = (Bytef *)(uintptr_t)unpacker->left.data;
        stream->avail_in = given;
        int answer = inflate(stream, Z_NO_FLUSH);
        take(unpacker, given - stream->avail_in);
        if (answer == Z_STREAM_END) {
            /* Another member may follow; what is not one is ignored, as Java's reader does. */
            const uint8_t *at = unpacker->left.data;
            if (unpacker->left.size >= 3 && at[0] == 0x1f && at[1] == 0x8b && at[2] == 8 && inflateReset(stream) == Z_OK) continue;
            unpacker->ended = true;
            break;
        }
        if (answer == Z_MEM_ERROR) return ERR_NO_MEMORY;
        if (answer != Z_OK) return ERR_CORRUPT; /* Z_BUF_ERROR: the input ends within a member */
    }
    *got = room - stream->avail_out;
    if (*got > allowed) return ERR_LIMIT;
    unpacker->unpacked_bytes += *got;
    return ERR_NONE;
}

static enum err gzip_pack(struct codecs *codecs, int level, uint32_t flags, struct span plain, struct slab **out) {
    if (plain.size > UINT32_MAX / 2) return ERR_LIMIT;
    z_stream stream = {.zalloc = zlib_alloc, .zfree = piece_free, .opaque = codecs->pool};
    if (deflateInit2(&stream, level, Z_DEFLATED, GZIP_WINDOW_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) return ERR_NO_MEMORY;
    gz_header header = {.os = 255}; /* "unknown", as Java writes it: the same records are the same bytes */
    if (deflateSetHeader(&stream, &header) != Z_OK) never("a stream that is new takes its header");
    enum err err = ERR_NO_MEMORY;
    size_t bound = deflateBound(&stream, plain.size);
    if (slab_reserve(codecs->pool, out, bound)) {
        stream.next_in = (Bytef *)(uintptr_t)plain.data;
        stream.avail_in = (unsigned)plain.size;
        stream.next_out = (*out)->bytes + (*out)->used;
        stream.avail_out = (unsigned)bound;
        int answer = deflate(&stream, Z_FINISH);
        assert(answer == Z_STREAM_END); /* the bound is zlib's promise */
        (*out)->used += (uint32_t)(bound - stream.avail_out);
        err = ERR_NONE;
    }
    deflateEnd(&stream);
    return err;
}

/* ---- snappy */

static enum err snappy_open(struct unpacker *unpacker, uint32_t flags) {
    const struct span *left = &unpacker->left;
    unpacker->whole = left->size < SNAPPY_HEADER_BYTES || memcmp(left->data, snappy_magic, sizeof snappy_magic) != 0;
    if (unpacker->whole) return ERR_NONE;
    if ((int32_t)load_be32(left->data + 8) < 1) return ERR_CORRUPT; /* the version */
    take(unpacker, SNAPPY_HEADER_BYTES);
    return ERR_NONE;
}

static enum err snappy_block(struct unpacker *unpacker, size_t size, uint8_t *target, size_t room, size_t *got) {
    const char *block = (const char *)unpacker->left.data;
    size_t bytes;
    if (snappy_uncompressed_length(block, size, &bytes) != SNAPPY_OK) return ERR_CORRUPT;
    if (bytes / SNAPPY_EXPANDS_MAX > size) return ERR_CORRUPT; /* a lie: no block of this size holds so much */
    if (bytes > room_left(unpacker)) return ERR_LIMIT;
    uint8_t *where;
    enum err err = block_room(unpacker, bytes, target, room, &where);
    if (err) return err;
    if (snappy_uncompress(block, size, (char *)where, &bytes) != SNAPPY_OK) return ERR_CORRUPT;
    take(unpacker, size);
    return block_done(unpacker, bytes, where, target, room, got);
}

static enum err snappy_read(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got) {
    if (unpacker->whole) {
        unpacker->ended = true;
        return snappy_block(unpacker, unpacker->left.size, target, room, got);
    }
    while (*got == 0) {
        if (unpacker->left.size < 4) { /* Java's reader takes a cut size for the end, too */
            unpacker->ended = true;
            return ERR_NONE;
        }
        uint32_t size = load_be32(unpacker->left.data);
        if (size == load_be32(snappy_magic)) { /* streams written one behind the other: another header */
            if (unpacker->left.size < SNAPPY_HEADER_BYTES) return ERR_CORRUPT;
            take(unpacker, SNAPPY_HEADER_BYTES);
            continue;
        }
        take(unpacker, 4);
        if (size > unpacker->left.size) return ERR_CORRUPT;
        enum err err = snappy_block(unpacker, size, target, room, got);
        if (err) return err;
    }
    return ERR_NONE;
}

static enum err snappy_pack(struct codecs *codecs, int level, uint32_t flags, struct span plain, struct slab **out) {
    uint32_t used = *out ? (*out)->used : 0;
    if (!slab_reserve(codecs->pool, out, SNAPPY_HEADER_BYTES)) return ERR_NO_MEMORY;
    uint8_t *header = (*out)->bytes + used;
    memcpy(header, snappy_magic, sizeof snappy_magic);
    store_be32(header + 8, 1);
    store_be32(header + 12, 1);
    (*out)->used += SNAPPY_HEADER_BYTES;
    while (plain.size > 0) {
        size_t part = plain.size < SNAPPY_BLOCK_BYTES ? plain.size : SNAPPY_BLOCK_BYTES;
        size_t bytes = snappy_max_compressed_length(part);
        if (!slab_reserve(codecs->pool, out, 4 + bytes)) {
            (*out)->used = used;
            return ERR_NO_MEMORY;
        }
        uint8_t *at = (*out)->bytes + (*out)->used;
        snappy_status answer = snappy_compress((const char *)plain.data, part, (char *)at + 4, &bytes);
        assert(answer == SNAPPY_OK);
        store_be32(at, (uint32_t)bytes);
        (*out)->used += (uint32_t)(4 + bytes);
        plain.data += part;
        plain.size -= part;
    }
    return ERR_NONE;
}

/* ---- lz4: the frame is ours to read, as Kafka has its own reader of it, which differs from the library's */

static const uint32_t XXH_1 = 0x9E3779B1, XXH_2 = 0x85EBCA77, XXH_3 = 0xC2B2AE3D, XXH_4 = 0x27D4EB2F, XXH_5 = 0x165667B1;

static uint32_t rotate(uint32_t v, int bits) { return v << bits | v >> (32 - bits); }
static uint32_t load_le32(const uint8_t *at) { return __builtin_bswap32(load_be32(at)); }
static void store_le32(uint8_t *at, uint32_t v) { store_be32(at, __builtin_bswap32(v)); }

/* XXH32 with seed 0. */
static uint32_t xxh32(const uint8_t *at, size_t size) {
    const uint8_t *end = at + size;
    uint32_t h = XXH_5;
    if (size >= 16) {
        uint32_t lane[4] = {XXH_1 + XXH_2, XXH_2, 0, 0u - XXH_1};
        for (; end - at >= 16; at += 16)
            for (int i = 0; i < 4; i++) lane[i] = rotate(lane[i] + load_le32(at + 4 * i) * XXH_2, 13) * XXH_1;
        h = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
    }
    h += (uint32_t)size;
    for (; end - at >= 4; at += 4) h = rotate(h + load_le32(at) * XXH_3, 17) * XXH_4;
    for (; at < end; at++) h = rotate(h + *at * XXH_5, 11) * XXH_1;
    h = (h ^ h >> 15) * XXH_2;
    h = (h ^ h >> 13) * XXH_3;
    return h ^ h >> 16;
}

enum lz4_flag { LZ4_VERSION_1 = 0x40, LZ4_VERSION_MASK = 0xc0, LZ4_INDEPENDENT = 0x20, LZ4_BLOCK_SUM = 0x10, LZ4_CONTENT_SIZE = 0x08,
                LZ4_CONTENT_SUM = 0x04, LZ4_RESERVED = 0x03 };

static enum err lz4_open(struct unpacker *unpacker, uint32_t flags) {
    const struct span *left = &unpacker->left;
    if (left->size < 7 || memcmp(left->data, lz4_magic, 4) != 0) return ERR_CORRUPT;
    uint8_t flg = left->data[4], bd = left->data[5];
    if ((flg & LZ4_VERSION_MASK) != LZ4_VERSION_1 || (flg & LZ4_RESERVED)) return ERR_CORRUPT;
    if (!(flg & LZ4_INDEPENDENT)) return ERR_CORRUPT;
    if ((bd & 0x8f) || bd >> 4 < 4) return ERR_CORRUPT;
    size_t header = 6 + (flg & LZ4_CONTENT_SIZE ? 8 : 0);
    if (left->size < header + 1) return ERR_CORRUPT;
    uint8_t sum = left->data[header];
    if (!(flags & COMPRESS_OLD_LZ4) && sum != (uint8_t)(xxh32(left->data + 4, header - 4) >> 8)) return ERR_CORRUPT;
    unpacker->block_checksums = flg & LZ4_BLOCK_SUM;
    unpacker->block_bytes_max = UINT32_C(1) << (2 * (bd >> 4) + 8); /* 4: 64 KiB .. 7: 4 MiB */
    take(unpacker, header + 1);
    return ERR_NONE;
}

static enum err lz4_read(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got) {
    struct span *left = &unpacker->left;
    while (*got == 0) {
        if (left->size < 4) return ERR_CORRUPT;
        uint32_t word = load_le32(left->data);
        take(unpacker, 4);
        if (word == 0) { /* A checksum of the whole may follow: nobody checks it, the batch's own CRC covers all of this. */
            unpacker->ended = true;
            return ERR_NONE;
        }
        bool plain = word >> 31;
        uint32_t size = word & INT32_MAX;
        size_t sum_bytes = unpacker->block_checksums ? 4 : 0;
        if (size > unpacker->block_bytes_max || left->size < sum_bytes || size > left->size - sum_bytes) return ERR_CORRUPT;
        if (sum_bytes && load_le32(left->data + size) != xxh32(left->data, size)) return ERR_CORRUPT;
        /* What the block can hold at most, and no more than the limit: beyond it there is an error either way. */
        uint64_t bytes = plain ? size : (uint64_t)size * LZ4_EXPANDS_MAX;
        if (bytes > unpacker->block_bytes_max) bytes = unpacker->block_bytes_max;
        bool bounded = bytes > room_left(unpacker);
        if (bounded) bytes = room_left(unpacker);
        uint8_t *where;
        enum err err = block_room(unpacker, (size_t)bytes, target, room, &where);
        if (err) return err;
        if (plain) {
            if (size > bytes) return ERR_LIMIT;
            if (size) memcpy(where, left->data, size);
        } else {
            int made = LZ4_decompress_safe((const char *)left->data, (char *)where, (int)size, (int)bytes);
            if (made < 0) return bounded ? ERR_LIMIT : ERR_CORRUPT;
            bytes = (uint64_t)made;
        }
        take(unpacker, size + sum_bytes);
        if ((err = block_done(unpacker, (size_t)bytes, where, target, room, got))) return err;
    }
    return ERR_NONE;
}

static enum err lz4_pack(struct codecs *codecs, int level, uint32_t flags, struct span plain, struct slab **out) {
    uint32_t used = *out ? (*out)->used : 0;
    if (!slab_reserve(codecs->pool, out, 7 + 4)) return ERR_NO_MEMORY;
    bool high = level != table[COMPRESSION_LZ4].level_default;
    void *state = NULL;
    size_t state_bytes = high ? (size_t)LZ4_sizeofStateHC() : (size_t)LZ4_sizeofState();
    if (!(state = pool_alloc(codecs->pool, state_bytes))) return ERR_NO_MEMORY;
    uint8_t *header = (*out)->bytes + used;
    memcpy(header, lz4_magic, 4);
    header[4] = LZ4_VERSION_1 | LZ4_INDEPENDENT;
    header[5] = 4 << 4;
    header[6] = (uint8_t)((flags & COMPRESS_OLD_LZ4 ? xxh32(header, 6) : xxh32(header + 4, 2)) >> 8);
    (*out)->used += 7;
    enum err err = ERR_NO_MEMORY;
    while (plain.size > 0) {
        int part = plain.size < LZ4_BLOCK_BYTES ? (int)plain.size : LZ4_BLOCK_BYTES;
        if (!slab_reserve(codecs->pool, out, 4 + LZ4_BLOCK_BYTES + 4)) goto out;
        uint8_t *at = (*out)->bytes + (*out)->used;
        char *target = (char *)at + 4;
        const char *source = (const char *)plain.data;
        int made = high ? LZ4_compress_HC_extStateHC(state, source, target, part, part - 1, level)
                        : LZ4_compress_fast_extState(state, source, target, part, part - 1, 1);
        if (made <= 0) { /* it does not get smaller */
            memcpy(target, source, (size_t)part);
            store_le32(at, (uint32_t)part | UINT32_C(1) << 31);
            made = part;
        } else {
            store_le32(at, (uint32_t)made);
        }
        (*out)->used += 4 + (uint32_t)made;
        plain.data += part;
        plain.size -= (size_t)part;
    }
    if (!slab_reserve(codecs->pool, out, 4)) goto out;
    store_le32((*out)->bytes + (*out)->used, 0);
    (*out)->used += 4;
    err = ERR_NONE;
out:
    if (err) (*out)->used = used;
    pool_free(codecs->pool, state, state_bytes);
    return err;
}

/* ---- zstd */

static enum err zstd_err(size_t code) {
    return ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation ? ERR_NO_MEMORY : ERR_CORRUPT;
}

static enum err zstd_open(struct unpacker *unpacker, uint32_t flags) {
    struct codecs *codecs = unpacker->codecs;
    if (!codecs->zstd_reader && !(codecs->zstd_reader = ZSTD_createDCtx_advanced(zstd_memory(codecs)))) return ERR_NO_MEMORY;
    ZSTD_DCtx_reset(codecs->zstd_reader, ZSTD_reset_session_only);
    unpacker->whole = true; /* here: between two frames */
    return ERR_NONE;
}

/* A frame whose window is large is unpacked into a block of its own, which grows only as far as there is content: its
 * header's word for it is not taken. */
static enum err zstd_whole_frame(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got) {
    struct codecs *codecs = unpacker->codecs;
    struct span *left = &unpacker->left;
    size_t frame = ZSTD_findFrameCompressedSize(left->data, left->size);
    if (ZSTD_isError(frame)) return zstd_err(frame);
    uint64_t most = room_left(unpacker), bytes = (uint64_t)frame * 8;
    if (bytes < WHOLE_BYTES_MIN) bytes = WHOLE_BYTES_MIN;
    for (;;) {
        bool bounded = bytes >= most;
        if (bounded) bytes = most;
        if (unpacker->block) unpacker->block->used = 0;
        unpacker->block_at = 0;
        if (bytes > UINT32_MAX || !slab_reserve(codecs->pool, &unpacker->block, (size_t)bytes)) return ERR_NO_MEMORY;
        size_t made = ZSTD_decompressDCtx(codecs->zstd_reader, unpacker->block->bytes, (size_t)bytes, left->data, frame);
        if (!ZSTD_isError(made)) {
            take(unpacker, frame);
            return block_done(unpacker, made, unpacker->block->bytes, target, room, got);
        }
        if (ZSTD_getErrorCode(made) != ZSTD_error_dstSize_tooSmall) return zstd_err(made);
        if (bounded) return ERR_LIMIT;
        bytes *= 4;
    }
}

static enum err zstd_read(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got) {
    struct span *left = &unpacker->left;
    uint64_t allowed = room_left(unpacker);
    if (room > allowed + 1) room = (size_t)allowed + 1;
    while (*got < room) {
        if (unpacker->whole) {
            if (left->size == 0) {
                unpacker->ended = true;
                break;
            }
            ZSTD_frameHeader header;
            size_t more = ZSTD_getFrameHeader(&header, left->data, left->size);
            if (more != 0) return ERR_CORRUPT; /* not a frame, or cut within its header */
            if (header.frameType == ZSTD_frame && header.windowSize > ZSTD_STREAM_WINDOW_MAX) {
                if (*got > 0) break; /* hand out first what there is */
                enum err err = zstd_whole_frame(unpacker, target, room, got);
                if (err || *got) return err;
                continue;
            }
            unpacker->whole = false;
            /* The library holds a frame to the size that it declares, or not, by how much room it has at the end. */
            unpacker->frame_end = UINT64_MAX;
            if (header.frameType == ZSTD_frame && header.frameContentSize != ZSTD_CONTENTSIZE_UNKNOWN)
                unpacker->frame_end = unpacker->unpacked_bytes + header.frameContentSize;
        }
        ZSTD_inBuffer in = {.src = left->data, .size = left->size};
        ZSTD_outBuffer out = {.dst = target, .size = room, .pos = *got};
        size_t more = ZSTD_decompressStream(unpacker->codecs->zstd_reader, &out, &in);
        if (ZSTD_isError(more)) return zstd_err(more);
        bool stuck = in.pos == 0 && out.pos == *got;
        take(unpacker, in.pos);
        unpacker->unpacked_bytes += out.pos - *got;
        *got = out.pos;
        if (more == 0) {
            if (unpacker->frame_end != UINT64_MAX && unpacker->unpacked_bytes != unpacker->frame_end) return ERR_CORRUPT;
            unpacker->whole = true;
        } else if (stuck) return ERR_CORRUPT; /* the input ends within a frame */
    }
    return *got > allowed ? ERR_LIMIT : ERR_NONE;
}

static enum err zstd_pack(struct codecs *codecs, int level, uint32_t flags, struct span plain, struct slab **out) {
    if (!codecs->zstd_writer && !(codecs->zstd_writer = ZSTD_createCCtx_advanced(zstd_memory(codecs)))) return ERR_NO_MEMORY;
    size_t bound = ZSTD_compressBound(plain.size);
    if (ZSTD_isError(bound)) return ERR_LIMIT;
    if (!slab_reserve(codecs->pool, out, bound)) return ERR_NO_MEMORY;
    ZSTD_CCtx_reset(codecs->zstd_writer, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(codecs->zstd_writer, ZSTD_c_compressionLevel, level);
    size_t made = ZSTD_compress2(codecs->zstd_writer, (*out)->bytes + (*out)->used, bound, plain.data, plain.size);
    if (ZSTD_isError(made)) return ERR_NO_MEMORY; /* the bound is zstd's promise: only memory is left */
    (*out)->used += (uint32_t)made;
    return ERR_NONE;
}

/*                          name      levels              default  */
static const struct codec table[COMPRESSION_COUNT] = {
    [COMPRESSION_NONE]   = {"none",   0,       0,         0,       none_open,   none_read,   none_pack},
    [COMPRESSION_GZIP]   = {"gzip",   1,       9,        -1,       gzip_open,   gzip_read,   gzip_pack},
    [COMPRESSION_SNAPPY] = {"snappy", 0,       0,         0,       snappy_open, snappy_read, snappy_pack},
    [COMPRESSION_LZ4]    = {"lz4",    1,       17,        9,       lz4_open,    lz4_read,    lz4_pack},
    [COMPRESSION_ZSTD]   = {"zstd",   -131072, 22,        3,       zstd_open,   zstd_read,   zstd_pack},
};

/* ---- The doors */

enum err unpacker_open(struct unpacker *unpacker, struct codecs *codecs, enum compression codec, struct span packed, uint32_t flags,
                       const struct unpack_limits *limits) {
    *unpacker = (struct unpacker){.codec = codec, .left = packed, .limits = *limits, .packed_bytes = packed.size};
    if (codec >= COMPRESSION_COUNT) return ERR_UNSUPPORTED;
    assert(!codecs->in_use);
    codecs->in_use = true;
    unpacker->codecs = codecs;
    return table[codec].open(unpacker, flags);
}

enum err unpacker_read(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got) {
    assert(room > 0);
    *got = 0;
    if (block_is_waiting(unpacker)) {
        block_hand_out(unpacker, target, room, got);
        return ERR_NONE;
    }
    if (unpacker->ended) return ERR_NONE;
    return table[unpacker->codec].read(unpacker, target, room, got);
}

void unpacker_close(struct unpacker *unpacker) {
    slab_drop(unpacker->block);
    unpacker->block = NULL;
    if (unpacker->codecs) unpacker->codecs->in_use = false;
    unpacker->codecs = NULL;
}

enum err unpack(struct codecs *codecs, enum compression codec, struct span packed, uint32_t flags, const struct unpack_limits *limits,
                struct slab **out) {
    struct unpacker unpacker;
    struct slab *slab = NULL;
    enum err err = unpacker_open(&unpacker, codecs, codec, packed, flags, limits);
    /* Text shrinks to about a quarter; a guess that is too small costs a copy. */
    size_t room = codec == COMPRESSION_NONE ? packed.size + 1 : packed.size < KIB(256) ? 4 * packed.size + 1024 : packed.size;
    while (!err) {
        if (!slab_reserve(codecs->pool, &slab, room)) {
            err = ERR_NO_MEMORY;
            break;
        }
        size_t got;
        err = unpacker_read(&unpacker, slab->bytes + slab->used, slab->capacity - slab->used, &got);
        if (err || got == 0) break;
        slab->used += (uint32_t)got;
        room = 1; /* doubles when it is full */
    }
    unpacker_close(&unpacker);
    if (err) slab_drop(slab);
    else *out = slab;
    return err;
}

enum err pack(struct codecs *codecs, enum compression codec, int32_t level, uint32_t flags, struct span plain, struct slab **out) {
    if (codec >= COMPRESSION_COUNT) return ERR_UNSUPPORTED;
    const struct codec *row = &table[codec];
    if (level == COMPRESSION_LEVEL_DEFAULT) level = row->level_default;
    if (codec != COMPRESSION_NONE && codec != COMPRESSION_SNAPPY && !compression_level_is_valid(codec, level)) return ERR_INVALID;
    return row->pack(codecs, level, flags, plain, out);
}
