#include "shard/mailbox.h"

bool mailbox_init(struct mailbox *box, struct pool *pool, uint32_t capacity) {
    assert(capacity && (capacity & (capacity - 1)) == 0);
    *box = (struct mailbox){.pool = pool, .capacity = capacity};
    box->slots = pool_alloc(pool, capacity * sizeof *box->slots);
    return box->slots;
}

void mailbox_destroy(struct mailbox *box) {
    if (box->slots) pool_free(box->pool, box->slots, box->capacity * sizeof *box->slots);
    box->slots = NULL;
}

/* The counts run freely and wrap; their difference is what is in the ring. The other side's count is read anew only
 * when the one seen last says full (or empty), so that its cache line stays where it is. */
static bool ring_put(struct mailbox *box, struct message *message) {
    uint32_t tail = atomic_load_explicit(&box->tail, memory_order_relaxed);
    if (tail - box->head_seen == box->capacity) {
        box->head_seen = atomic_load(&box->head);
        if (tail - box->head_seen == box->capacity) return false;
    }
    box->slots[tail & (box->capacity - 1)] = message;
    atomic_store_explicit(&box->tail, tail + 1, memory_order_release);
    return true;
}

void mailbox_push(struct mailbox *box, struct message *message) {
    message->next = NULL;
    if (!box->overflow && ring_put(box, message)) return;
    if (box->overflow) box->overflow_last->next = message;
    else box->overflow = message;
    box->overflow_last = message;
}

static bool move_overflow(struct mailbox *box) {
    while (box->overflow) {
        struct message *message = box->overflow, *next = message->next; /* once it is in the ring it is the reader's */
        if (!ring_put(box, message)) return false;
        box->overflow = next;
    }
    return true;
}

bool mailbox_flush(struct mailbox *box) {
    if (move_overflow(box)) return true;
    atomic_store(&box->sender_waits, true); /* then look again: room made before this went unannounced */
    return move_overflow(box);
}

bool mailbox_is_empty(struct mailbox *box) {
    uint32_t head = atomic_load_explicit(&box->head, memory_order_relaxed);
    if (head != box->tail_seen) return false;
    box->tail_seen = atomic_load_explicit(&box->tail, memory_order_acquire);
    return head == box->tail_seen;
}

struct message *mailbox_pop(struct mailbox *box) {
    if (mailbox_is_empty(box)) return NULL;
    uint32_t head = atomic_load_explicit(&box->head, memory_order_relaxed);
    struct message *message = box->slots[head & (box->capacity - 1)];
    atomic_store(&box->head, head + 1);
    return message;
}

bool mailbox_owes_wake(struct mailbox *box) {
    return atomic_load(&box->sender_waits) && atomic_exchange(&box->sender_waits, false);
}
