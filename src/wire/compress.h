/* wire/compress.h - gzip, snappy, lz4 and zstd as Kafka's clients write them, behind one table; unpacking is streamed and
 * bounded.
 *
 * The payload of a compressed batch:
 *   gzip    RFC 1952 members, one after the other
 *   snappy  "\x82SNAPPY\0", int32 version, int32 lowest compatible version, then blocks of int32 size and a snappy block
 *           (Java's stream); or one bare snappy block (librdkafka's): both are read, the first is written
 *   lz4     one LZ4 frame of independent blocks, at most 64 KiB each when written; a frame of linked blocks is refused, as
 *           no Java consumer could read it. In message formats 0 and 1 the header's checksum covers the magic, too
 *           (Kafka's old mistake): with COMPRESS_OLD_LZ4 it is not looked at, and written so
 *   zstd    frames (RFC 8878)
 * Bytes from elsewhere never cost more than the limits say: output is counted while it is made, and no buffer is taken
 * that the input could not fill.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

enum compression {
    COMPRESSION_NONE,
    COMPRESSION_GZIP,
    COMPRESSION_SNAPPY,
    COMPRESSION_LZ4,
    COMPRESSION_ZSTD,
    COMPRESSION_COUNT
};
const char *compression_name(enum compression codec);                           /* "none", "gzip", ... */
must_use bool compression_parse(struct span name, enum compression *out);       /* by that name, as in configs */

/* Levels as in Kafka's compression.{gzip,lz4,zstd}.level; snappy has none. */
enum { COMPRESSION_LEVEL_DEFAULT = INT32_MIN };
bool compression_level_is_valid(enum compression codec, int32_t level);

struct unpack_limits {
    uint64_t bytes_max;  /* no more than this comes out                                                    */
    uint64_t ratio_max;  /* and no more than this times the input's size, counted once ... 0: no such bound */
    uint64_t ratio_from; /* ... more than this has come out                                                */
};
#define UNPACK_LIMITS_DEFAULT ((struct unpack_limits){.bytes_max = MIB(64), .ratio_max = 1000, .ratio_from = MIB(1)})

/* The working memory of the codecs, of one shard (or one offload job at a time): made when first needed, within the pool's
 * budget, and kept for the next use. */
struct codecs {
    struct pool *pool;   /* borrows */
    void *inflater;      /* owns: zlib's state for reading  */
    void *zstd_reader;   /* owns                            */
    void *zstd_writer;   /* owns                            */
    uint8_t *window;     /* owns: WINDOW_BYTES through which compressed records are looked at */
    bool in_use;         /* by an unpacker                  */
};
enum { WINDOW_BYTES = 64 * 1024 };
/* The window, made when first asked for. NULL: over budget. */
must_use uint8_t *codecs_window(struct codecs *codecs);
void codecs_init(struct codecs *codecs, struct pool *pool);
void codecs_destroy(struct codecs *codecs);

/* ---- Unpack. ERR_CORRUPT: not what the codec says; ERR_LIMIT: beyond the limits; ERR_NO_MEMORY: over budget. */

enum { COMPRESS_OLD_LZ4 = 1 /* flag: the frame is of message formats 0 and 1 */ };

/* All of it, into a slab of its own (at least 1 byte of capacity, `used` says how many). The caller gets its count. */
must_use enum err unpack(struct codecs *codecs, enum compression codec, struct span packed, uint32_t flags,
                         const struct unpack_limits *limits, struct slab **out);

/* Piece by piece, for one who needs no copy of the whole. One at a time for each codecs. */
struct unpacker {
    struct codecs *codecs;         /* borrows */
    enum compression codec;
    struct span left;              /* input that was not taken yet */
    struct unpack_limits limits;
    uint64_t packed_bytes;         /* of the whole input    */
    uint64_t unpacked_bytes;       /* what came out so far  */
    bool ended;
    struct slab *block;            /* owns: a decoded block that did not fit the caller's room ... */
    uint32_t block_at;             /* ... and how much of it was handed out                        */
    uint32_t block_bytes_max;      /* lz4: of the frame                                            */
    bool block_checksums;          /* lz4: of the frame                                            */
    uint64_t frame_end;            /* zstd: unpacked_bytes at the frame's end; UINT64_MAX: unknown */
    bool whole;                    /* snappy: one bare block; zstd: between two frames             */
};
must_use enum err unpacker_open(struct unpacker *unpacker, struct codecs *codecs, enum compression codec, struct span packed,
                                uint32_t flags, const struct unpack_limits *limits);
/* Fills target as far as there is something; *got 0 means the end. */
must_use enum err unpacker_read(struct unpacker *unpacker, uint8_t *target, size_t room, size_t *got);
void unpacker_close(struct unpacker *unpacker); /* after any answer of unpacker_open; again is fine */

/* ---- Pack. */

/* Appends what packing gives to *out, growing it within the pool's budget (the slab must have one count only; NULL: makes
 * one). ERR_NO_MEMORY leaves *out as it was, perhaps larger. */
must_use enum err pack(struct codecs *codecs, enum compression codec, int32_t level, uint32_t flags, struct span plain,
                       struct slab **out);
/* Makes room for `bytes` more behind `used`. False: over budget, or beyond 4 GiB; the slab is as it was. */
must_use bool slab_reserve(struct pool *pool, struct slab **slab, size_t bytes);
