/* Waiting by what is waited for.
 *
 * A line is ordered by the offsets that are required, so an event looks at its front only. Those that wait for bytes are
 * ordered by the place at which it makes sense to look at them again. A Fetch of one partition is looked at once, when it
 * has enough. One of several shares what it lacks among them: unless one of the shares is reached, the sum cannot be;
 * when one is, what is still lacking is shared out anew, so that it is looked at a number of times that grows with the
 * logarithm of what it waits for, and not with the number of appends.
 * New waiters mostly belong at the end of their list, and are put in from there.
 */
#include "replica/replica.h"

void purgatory_init(struct purgatory *purgatory, struct pool *pool, uint32_t waiting_max) {
    *purgatory = (struct purgatory){.waiting_max = waiting_max};
    heap_init(&purgatory->deadlines, pool);
    list_init(&purgatory->woken);
}

void purgatory_destroy(struct purgatory *purgatory) {
    assert(purgatory->waiting == 0);
    heap_destroy(&purgatory->deadlines);
}

void purgatory_place_init(struct purgatory_place *place, struct purgatory *purgatory) {
    place->purgatory = purgatory;
    for (int i = 0; i < LINES; i++) {
        list_init(&place->lines[i]);
        place->reached[i] = -1;
    }
    for (int i = 0; i < BOUNDS; i++) {
        list_init(&place->watches[i]);
        place->bounds[i] = replica_offset_only(-1);
    }
}

/* ---- What there is */

static const uint64_t ENOUGH = UINT64_MAX; /* of whatever is wanted: it is worth a read */

static uint64_t bytes_of(const struct fetch_watch *watch) {
    struct replica_offset bound = watch->place->bounds[watch->bound];
    if (bound.offset <= watch->from.offset) return 0;
    if (bound.segment_base < 0 || bound.segment_base != watch->from.segment_base) return ENOUGH;
    if (bound.position < watch->from.position) return ENOUGH; /* the segment was written anew meanwhile */
    uint64_t bytes = bound.position - watch->from.position;
    return bytes < watch->bytes_max ? bytes : watch->bytes_max;
}

uint64_t purgatory_fetch_bytes(const struct fetch_wait *wait) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < wait->count; i++) {
        uint64_t bytes = bytes_of(&wait->watches[i]);
        if (bytes == ENOUGH) return ENOUGH;
        sum += bytes;
    }
    return sum;
}

static void note_bytes(struct purgatory_waiter *waiter) {
    if (!waiter->is_fetch) return;
    struct fetch_wait *wait = container_of(waiter, struct fetch_wait, waiter);
    wait->bytes = purgatory_fetch_bytes(wait);
}

/* ---- In and out */

static bool enter(struct purgatory *purgatory, struct purgatory_waiter *waiter, bool is_fetch, time_ms deadline_ms) {
    waiter->deadline = (struct heap_node){0};
    waiter->outcome = PURGATORY_WAITING;
    waiter->is_fetch = is_fetch;
    list_init(&waiter->woken);
    if (purgatory->waiting >= purgatory->waiting_max || !heap_insert(&purgatory->deadlines, &waiter->deadline, deadline_ms)) return false;
    purgatory->waiting++;
    return true;
}

static void leave_lists(struct purgatory_waiter *waiter) {
    if (!waiter->is_fetch) {
        list_remove(&container_of(waiter, struct offset_wait, waiter)->line);
        return;
    }
    struct fetch_wait *wait = container_of(waiter, struct fetch_wait, waiter);
    for (uint32_t i = 0; i < wait->count; i++) list_remove(&wait->watches[i].node);
}

static void wake(struct purgatory *purgatory, struct purgatory_waiter *waiter, enum purgatory_outcome outcome) {
    assert(waiter->outcome == PURGATORY_WAITING);
    note_bytes(waiter);
    leave_lists(waiter);
    heap_remove(&purgatory->deadlines, &waiter->deadline);
    waiter->outcome = outcome;
    list_push(&purgatory->woken, &waiter->woken);
}

struct purgatory_waiter *purgatory_take(struct purgatory *purgatory) {
    struct list *node = list_pop(&purgatory->woken);
    if (!node) return NULL;
    assert(purgatory->waiting > 0);
    purgatory->waiting--;
    return LIST_ITEM(node, struct purgatory_waiter, woken);
}

/* Waiting, woken and not taken, or neither. */
static void cancel(struct purgatory *purgatory, struct purgatory_waiter *waiter) {
    bool is_woken = !list_is_empty(&waiter->woken);
    if (waiter->outcome != PURGATORY_WAITING && !is_woken) return;
    if (!is_woken) {
        note_bytes(waiter);
        leave_lists(waiter);
    }
    heap_remove(&purgatory->deadlines, &waiter->deadline);
    list_remove(&waiter->woken);
    waiter->outcome = PURGATORY_CHANGED;
    assert(purgatory->waiting > 0);
    purgatory->waiting--;
}

void purgatory_cancel_offset(struct purgatory *purgatory, struct offset_wait *wait) { cancel(purgatory, &wait->waiter); }
void purgatory_cancel_fetch(struct purgatory *purgatory, struct fetch_wait *wait) { cancel(purgatory, &wait->waiter); }

/* ---- For an offset */

bool purgatory_wait_offset(struct purgatory_place *place, enum purgatory_line line, struct offset_wait *wait, time_ms deadline_ms) {
    list_init(&wait->line);
    if (!enter(place->purgatory, &wait->waiter, false, deadline_ms)) return false;
    if (wait->required <= place->reached[line]) {
        wake(place->purgatory, &wait->waiter, PURGATORY_REACHED);
        return true;
    }
    struct list *after = place->lines[line].prev;
    while (after != &place->lines[line] && LIST_ITEM(after, struct offset_wait, line)->required > wait->required) after = after->prev;
    list_insert_after(after, &wait->line);
    return true;
}

void purgatory_offset_moved(struct purgatory_place *place, enum purgatory_line line, log_offset offset) {
    struct list *head = &place->lines[line];
    place->reached[line] = offset;
    while (!list_is_empty(head)) {
        struct offset_wait *wait = LIST_ITEM(head->next, struct offset_wait, line);
        if (wait->required > offset) break;
        wake(place->purgatory, &wait->waiter, PURGATORY_REACHED);
    }
}

/* ---- For bytes */

static bool is_before(const struct fetch_watch *a, const struct fetch_watch *b) {
    return a->from.segment_base != b->from.segment_base ? a->from.segment_base < b->from.segment_base : a->wake_at < b->wake_at;
}

/* To be looked at again when so many more bytes are there. What is over its maximum counts no further, until the log
 * rolls. */
static void arm(struct fetch_watch *watch, uint64_t bytes, uint64_t more) {
    watch->wake_at = bytes < watch->bytes_max ? watch->from.position + bytes + more : UINT64_MAX;
    list_remove(&watch->node);
    struct list *head = &watch->place->watches[watch->bound], *after = head->prev;
    while (after != head && is_before(watch, LIST_ITEM(after, struct fetch_watch, node))) after = after->prev;
    list_insert_after(after, &watch->node);
}

static void look(struct purgatory *purgatory, struct fetch_wait *wait) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < wait->count; i++) {
        uint64_t bytes = bytes_of(&wait->watches[i]);
        if (bytes == ENOUGH || (sum += bytes) >= wait->bytes_min) {
            wake(purgatory, &wait->waiter, PURGATORY_REACHED);
            return;
        }
    }
    uint64_t share = (wait->bytes_min - sum + wait->count - 1) / wait->count;
    for (uint32_t i = 0; i < wait->count; i++) arm(&wait->watches[i], bytes_of(&wait->watches[i]), share);
}

bool purgatory_wait_fetch(struct purgatory *purgatory, struct fetch_wait *wait, time_ms deadline_ms) {
    assert(wait->count > 0);
    for (uint32_t i = 0; i < wait->count; i++) {
        wait->watches[i].wait = wait;
        list_init(&wait->watches[i].node);
    }
    if (!enter(purgatory, &wait->waiter, true, deadline_ms)) return false;
    look(purgatory, wait);
    return true;
}

void purgatory_bound_moved(struct purgatory_place *place, enum purgatory_bound bound, struct replica_offset at) {
    struct list *head = &place->watches[bound];
    place->bounds[bound] = at;
    if (at.segment_base < 0) {
        /* Where it lies is not known (only after a start): whoever has something to read is woken. */
        LIST_EACH_SAFE(node, head) {
            struct fetch_watch *watch = LIST_ITEM(node, struct fetch_watch, node);
            if (bytes_of(watch) == 0) continue;
            struct fetch_wait *wait = watch->wait;
            /* Another watch of the same Fetch may be the next one in this list, and goes with it. */
            while (node_next != head && LIST_ITEM(node_next, struct fetch_watch, node)->wait == wait) node_next = node_next->next;
            wake(place->purgatory, &wait->waiter, PURGATORY_REACHED);
        }
        return;
    }
    while (!list_is_empty(head)) {
        struct fetch_watch *watch = LIST_ITEM(head->next, struct fetch_watch, node);
        bool is_passed = watch->from.segment_base < at.segment_base || (watch->from.segment_base == at.segment_base && watch->wake_at <= at.position);
        if (!is_passed) break;
        if (at.offset <= watch->from.offset) {
            /* It reads past the bound, from a segment that is not known: nothing to tell it, and it must not stay in
             * front of the others. */
            assert(watch->from.segment_base < at.segment_base);
            watch->from.segment_base = at.segment_base;
            watch->from.position = at.position;
            arm(watch, 0, 1);
            continue;
        }
        look(place->purgatory, watch->wait);
    }
}

/* ---- Otherwise */

void purgatory_place_changed(struct purgatory_place *place) {
    for (int i = 0; i < LINES; i++)
        while (!list_is_empty(&place->lines[i]))
            wake(place->purgatory, &LIST_ITEM(place->lines[i].next, struct offset_wait, line)->waiter, PURGATORY_CHANGED);
    for (int i = 0; i < BOUNDS; i++)
        while (!list_is_empty(&place->watches[i]))
            wake(place->purgatory, &LIST_ITEM(place->watches[i].next, struct fetch_watch, node)->wait->waiter, PURGATORY_CHANGED);
}

void purgatory_time(struct purgatory *purgatory, time_ms now_ms) {
    for (struct heap_node *node; (node = heap_first(&purgatory->deadlines)) && node->key <= now_ms;)
        wake(purgatory, container_of(node, struct purgatory_waiter, deadline), PURGATORY_TIMEOUT);
}

time_ms purgatory_deadline(const struct purgatory *purgatory) {
    const struct heap_node *node = heap_first(&purgatory->deadlines);
    return node ? node->key : INT64_MAX;
}
