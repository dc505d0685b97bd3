/* net/stream.h - one connected socket: frames come in, a chain of bytes goes out. Private to net/: conn and peer stand on it.
 *
 * Receiving. While nothing is there, nothing is held: READABLE waits without a buffer. Then a slab is made as large as
 * this connection's frames have been of late, at least a pool chunk, at most 1 MiB; small frames share it. A frame that is
 * larger gets a slab of its own that grows as its bytes arrive, to four times what is there (64 KiB at first), never on
 * the word of its size alone. A slab is shared with whoever took a frame of it; when all its frames are out, the stream
 * lets go of it.
 *
 * Sending. What is given during a turn goes out as one vectored send at its end; while a send is under way the next one
 * collects. A range of a file that is not in memory is read in by a job first.
 */
#pragma once
#include "net/net.h"

struct stream;

enum stream_verdict { STREAM_NEXT, STREAM_HOLD, STREAM_ENDED };

struct stream_owner {
    /* A whole frame. HOLD: it stays, and nothing more is read until stream_resume. ENDED: stream_close was called. */
    enum stream_verdict (*on_frame)(struct stream *stream, struct span frame, struct slab *slab);
    /* May a buffer of `bytes` be taken, beside one of `old_bytes` that is released then? No: held, and starved. NULL: always. */
    bool (*may_buffer)(struct stream *stream, size_t bytes, size_t old_bytes);
    void (*on_buffer_released)(struct stream *stream, size_t bytes); /* NULL: not interested */
    void (*on_received)(struct stream *stream); /* after each receive and its frames */
    void (*on_sent)(struct stream *stream);     /* sent_total has grown */
    /* It cannot go on: stream_close is to be called, now or later. `error`: a negative errno value, 0 when it just ended. */
    void (*on_broken)(struct stream *stream, enum conn_end why, int error);
    /* After stream_close: no operation is under way any more, and all is let go of. */
    void (*on_dead)(struct stream *stream);
    /* On an offload thread: reads a piece of the slice in. NULL: stream_warm. */
    int64_t (*warm)(struct stream *stream, struct io_files files, const struct slice *slice, size_t size);
};

struct stream {
    struct shard *shard;
    struct io_socket *socket;         /* owns, until stream_close */
    const struct stream_owner *owner;
    struct turn_hook hook;            /* sends; after the closing: looks whether all has come back */
    bool closed, dead;

    struct io_op in;
    struct slab *slab;                /* shares; NULL: nothing is there                           */
    uint32_t at;                      /* of the first byte in it that is of no frame given out    */
    uint32_t frame_bytes_max;         /* may be changed between frames                            */
    uint32_t typical;                 /* frame size, of late                                      */
    bool held;
    bool starved;                     /* held because there was no buffer to be had               */
    uint64_t frames, bytes_in;

    struct io_op out;
    struct chain sending;             /* the io's while `out` is pending                          */
    struct chain waiting;
    uint64_t queued_total, sent_total;
    struct io_op warming;
    void *scratch;
    size_t scratch_bytes;
    uint64_t cold_sends;
};

/* Takes the socket, which is connected. Reading begins with stream_resume. */
void stream_init(struct stream *stream, struct shard *shard, struct io_socket *socket, const struct stream_owner *owner, uint32_t frame_bytes_max);
/* Looks at what is there, then waits for more. Not from within on_frame. */
void stream_resume(struct stream *stream);
bool stream_is_partial(const struct stream *stream); /* a frame has begun and is not whole */
/* The nodes live until sent_total has reached what queued_total is after this call, or on_dead. */
void stream_send(struct stream *stream, struct chain *chain);
int64_t stream_warm(struct stream *stream, struct io_files files, const struct slice *slice, size_t size);
void stream_close(struct stream *stream, bool reset);
