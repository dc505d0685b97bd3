/* raft/voters.h - who votes: ids, directory ids, listeners and the range of kraft.version of each; and which set of
 * voters (and which kraft.version) holds at which offset of the log.
 *
 * A set is a value of fixed size: texts (names, hosts) lie packed at its end. The history is what was read from the
 * latest records of the log or its snapshot, committed or not: a record counts from the moment it is appended, and is
 * rolled back when the log is truncated.
 */
#pragma once
#include "base/err.h"
#include "base/text.h"

enum {
    RAFT_VOTERS_MAX = 32,
    RAFT_LISTENERS_MAX = 4,       /* of one voter */
    RAFT_VOTERS_TEXT_MAX = 8192,  /* names and hosts of a whole set */
    RAFT_LISTENERS_TEXT_MAX = 640,/* of one node */
    RAFT_HISTORY_MAX = 8,         /* older sets are forgotten: they lie below the high watermark */
};

/* A replica is one directory of one node. Zero directory: not known, matches any. */
struct raft_key {
    int32_t id;
    struct uuid directory;
};
#define RAFT_NO_KEY ((struct raft_key){.id = -1})

/* Borrowed. */
struct raft_listener {
    struct span name, host;
    uint16_t port;
};

/* A node's listeners, held. */
struct raft_listeners {
    uint16_t count, text_size;
    struct { uint16_t name_at, name_size, host_at, host_size, port; } at[RAFT_LISTENERS_MAX];
    char text[RAFT_LISTENERS_TEXT_MAX];
};
must_use bool raft_listeners_add(struct raft_listeners *to, struct raft_listener listener); /* false: no room */
struct raft_listener raft_listeners_at(const struct raft_listeners *of, uint32_t index);
/* False: none of that name. */
bool raft_listeners_find(const struct raft_listeners *of, struct span name, struct raft_listener *out);
bool raft_listeners_equal(const struct raft_listeners *a, const struct raft_listeners *b);

struct raft_voter {
    struct raft_key key;
    int16_t kraft_min, kraft_max; /* of kraft.version */
    uint16_t count;               /* listeners */
    struct { uint16_t name_at, name_size, host_at, host_size, port; } at[RAFT_LISTENERS_MAX];
};
struct raft_voters {
    uint16_t count, text_size;
    struct raft_voter voters[RAFT_VOTERS_MAX];
    char text[RAFT_VOTERS_TEXT_MAX];
};
/* False: no room, or the id is there already. Ids stay in ascending order. */
must_use bool raft_voters_add(struct raft_voters *to, struct raft_key key, int16_t kraft_min, int16_t kraft_max,
                              const struct raft_listener *listeners, uint32_t count);
must_use bool raft_voters_add_node(struct raft_voters *to, struct raft_key key, int16_t kraft_min, int16_t kraft_max,
                                   const struct raft_listeners *listeners);
void raft_voters_remove(struct raft_voters *from, int32_t id); /* not there: fine */
int raft_voters_index(const struct raft_voters *set, int32_t id); /* -1: not there */
/* By id and, where the set knows it, directory id. */
bool raft_voters_has(const struct raft_voters *set, struct raft_key key);
struct raft_listener raft_voters_listener(const struct raft_voters *set, uint32_t voter, uint32_t listener);
bool raft_voters_find_listener(const struct raft_voters *set, int32_t id, struct span name, struct raft_listener *out);
void raft_voters_listeners(const struct raft_voters *set, uint32_t voter, struct raft_listeners *out);
bool raft_voters_equal(const struct raft_voters *a, const struct raft_voters *b);
/* `id@host:port,...` (static) or `id@host:port:directoryId,...` (initial controllers). ERR_INVALID: not of that form,
 * host 0.0.0.0, an id twice. The listeners get `name`. */
must_use enum err raft_voters_parse(struct span text, struct span name, bool directories, struct raft_voters *out);
void raft_voters_text(const struct raft_voters *set, struct text *out);

/* What the control records of the log said, newest last. Offset -1: from the bootstrap snapshot or configured. */
struct raft_voters_history {
    uint32_t count;       /* the i-th is items[order[i]], read at offsets[i] */
    log_offset offsets[RAFT_HISTORY_MAX];
    uint8_t order[RAFT_HISTORY_MAX];
    struct raft_voters items[RAFT_HISTORY_MAX];
    uint32_t versions_count;
    log_offset version_offsets[RAFT_HISTORY_MAX];
    int16_t versions[RAFT_HISTORY_MAX];
};
void raft_history_add_voters(struct raft_voters_history *history, log_offset offset, const struct raft_voters *set);
void raft_history_add_version(struct raft_voters_history *history, log_offset offset, int16_t version);
void raft_history_truncate(struct raft_voters_history *history, log_offset end); /* forgets offsets >= end */
void raft_history_clear(struct raft_voters_history *history);                    /* before a snapshot is loaded */
/* NULL: no record of voters before `end` (INT64_MAX: the latest). */
const struct raft_voters *raft_history_voters(const struct raft_voters_history *history, log_offset end, log_offset *offset);
int16_t raft_history_version(const struct raft_voters_history *history, log_offset end);
