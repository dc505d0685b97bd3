/* shard/mailbox.h - messages from one shard to one other: a bounded ring with one writer and one reader, no locks.
 *
 * What does not fit waits in a list on the sender's side, in order, and moves in as the reader makes room. Nothing is
 * refused: a message is memory of its sender's, so the list is bounded by what the sender has in flight.
 * Always: messages come out in the order in which they went in; while the list is not empty, nothing overtakes it.
 */
#pragma once
#include "shard/shard.h"
#include <stdatomic.h>

struct mailbox {
    struct message **slots;            /* owns */
    struct pool *pool;
    uint32_t capacity;                 /* a power of two */
    char apart_from_sender[64];        /* each side's words on cache lines of their own */
    _Atomic uint32_t tail;             /* the sender's */
    uint32_t head_seen;
    struct message *overflow, *overflow_last;
    char apart_from_reader[64];
    _Atomic uint32_t head;             /* the reader's */
    uint32_t tail_seen;
    _Atomic bool sender_waits;         /* for room: the reader wakes it when there is some */
};
must_use bool mailbox_init(struct mailbox *box, struct pool *pool, uint32_t capacity); /* false: over budget */
void mailbox_destroy(struct mailbox *box);

/* The sender's. */
void mailbox_push(struct mailbox *box, struct message *message);
/* Moves what waits into the room there is. False: something still waits, and the reader has been told to say when. */
must_use bool mailbox_flush(struct mailbox *box);

/* The reader's. */
struct message *mailbox_pop(struct mailbox *box);  /* NULL: empty */
bool mailbox_is_empty(struct mailbox *box);
/* After popping: true, once, when the sender waits for the room that was made. */
must_use bool mailbox_owes_wake(struct mailbox *box);
