#include "base/pattern.h"
#include <string.h>

/* Backtracking: what is left of the pattern, and behind it what comes after the groups that are open. */
enum { UNBOUNDED = INT32_MAX };

struct run {
    const uint8_t *end; /* of the text */
    uint32_t steps, depth;
};
struct piece {
    const uint8_t *from, *upto;   /* the atom                        */
    const uint8_t *rest;          /* behind its quantifier           */
    int32_t min, max;
    bool is_group;                /* from and upto are what is in it */
};
/* What follows when a group's branch has matched. */
struct after {
    const struct piece *piece;    /* the group, perhaps once more ...                             */
    const uint8_t *branch_end;    /* ... then the rest of the branch it stands in, up to here ... */
    const uint8_t *at;            /* (where this round began)                                     */
    int32_t count;                /* (rounds so far)                                              */
    const struct after *next;     /* ... and then this; NULL: the end                             */
};

static bool branch(struct run *run, const uint8_t *from, const uint8_t *upto, const uint8_t *text, const struct after *after);

/* Behind the class that begins at `at`; NULL: it does not end. */
static const uint8_t *class_end(const uint8_t *at, const uint8_t *upto) {
    at++;
    if (at < upto && *at == '^') at++;
    if (at < upto && *at == ']') at++;
    for (; at < upto && *at != ']'; at++)
        if (*at == '\\') at++;
    return at < upto ? at + 1 : NULL;
}

static const uint8_t *group_end(const uint8_t *at, const uint8_t *upto) {
    uint32_t open = 0;
    while (at < upto) {
        if (*at == '[') {
            if (!(at = class_end(at, upto))) return NULL;
            continue;
        }
        if (*at == '\\') at++;
        else if (*at == '(') open++;
        else if (*at == ')' && --open == 0) return at + 1;
        at++;
    }
    return NULL;
}

static const uint8_t *number(const uint8_t *at, const uint8_t *upto, int32_t *out) {
    int32_t n = 0;
    const uint8_t *from = at;
    for (; at < upto && *at >= '0' && *at <= '9' && n < 100000; at++) n = n * 10 + (*at - '0');
    if (at > from) *out = n;
    return at;
}

static bool quantifier(struct piece *piece, const uint8_t *at, const uint8_t *upto) {
    piece->min = piece->max = 1;
    if (at < upto && (*at == '*' || *at == '+' || *at == '?')) {
        piece->min = *at == '+';
        piece->max = *at == '?' ? 1 : UNBOUNDED;
        at++;
    } else if (at < upto && *at == '{') {
        piece->min = -1;
        at = number(at + 1, upto, &piece->min);
        if (piece->min < 0) return false;
        piece->max = piece->min;
        if (at < upto && *at == ',') {
            piece->max = UNBOUNDED;
            at = number(at + 1, upto, &piece->max);
        }
        if (at == upto || *at != '}') return false;
        at++;
    } else {
        piece->rest = at;
        return true;
    }
    if (at < upto && (*at == '?' || *at == '+')) at++;
    piece->rest = at;
    return true;
}

/* The first atom of what is left; false: nothing that is understood. */
static bool first_piece(const uint8_t *from, const uint8_t *upto, struct piece *out) {
    *out = (struct piece){.from = from, .upto = from + 1};
    if (*from == '\\') out->upto = from + 2;
    else if (*from == '[') out->upto = class_end(from, upto);
    else if (*from == '(') out->upto = group_end(from, upto);
    else if (*from == ')' || *from == '*' || *from == '+' || *from == '?') return false;
    if (!out->upto || out->upto > upto) return false;
    const uint8_t *behind = out->upto;
    if (*from == '(') {
        out->is_group = true;
        out->from++;
        out->upto--;
        if (out->from < out->upto && *out->from == '?') {
            if (out->upto - out->from < 2 || out->from[1] != ':') return false;
            out->from += 2;
        }
    }
    return quantifier(out, behind, upto);
}

static bool is_word(uint8_t c) { return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

static bool escape_takes(uint8_t letter, uint8_t c) {
    switch (letter) {
    case 'd': return c >= '0' && c <= '9';
    case 'D': return c < '0' || c > '9';
    case 'w': return is_word(c);
    case 'W': return !is_word(c);
    case 's': return c == ' ' || (c >= '\t' && c <= '\r');
    case 'S': return c != ' ' && (c < '\t' || c > '\r');
    case 't': return c == '\t';
    case 'n': return c == '\n';
    default: return c == letter && !is_word(letter); /* an escaped letter that is not known means nothing here */
    }
}

static bool class_takes(const uint8_t *at, const uint8_t *upto, uint8_t c) {
    bool negated = at + 1 < upto && at[1] == '^', found = false;
    upto--; /* the bracket */
    for (at += negated ? 2 : 1; at < upto; at++) {
        if (*at == '\\' && at + 1 < upto) {
            found |= escape_takes(*++at, c);
        } else if (at + 2 < upto && at[1] == '-') {
            found |= c >= at[0] && c <= at[2];
            at += 2;
        } else {
            found |= c == *at;
        }
    }
    return found != negated;
}

static bool takes(const struct piece *piece, uint8_t c) {
    switch (*piece->from) {
    case '.': return c != '\n';
    case '[': return class_takes(piece->from, piece->upto, c);
    case '\\': return escape_takes(piece->from[1], c);
    default: return c == *piece->from;
    }
}

/* The rest of the pattern where single characters are repeated: the longest first. */
static bool repeat_one(struct run *run, const struct piece *piece, const uint8_t *upto, const uint8_t *text, const struct after *after) {
    int64_t n = 0;
    while (n < piece->max && text + n < run->end && takes(piece, text[n])) n++;
    for (; n >= piece->min; n--)
        if (branch(run, piece->rest, upto, text + n, after)) return true;
    return false;
}

/* Each alternative of a text that holds some. */
static bool alternatives(struct run *run, const uint8_t *from, const uint8_t *upto, const uint8_t *text, const struct after *after) {
    const uint8_t *at = from;
    for (;;) {
        if (at == upto || *at == '|') {
            if (branch(run, from, at, text, after)) return true;
            if (at == upto) return false;
            from = ++at;
        } else if (*at == '[' || *at == '(') {
            at = *at == '[' ? class_end(at, upto) : group_end(at, upto);
            if (!at) return false;
        } else {
            at += *at == '\\' && at + 1 < upto ? 2 : 1;
        }
    }
}

static bool repeat_group(struct run *run, const struct piece *piece, int32_t count, const uint8_t *upto, const uint8_t *text, const struct after *after) {
    if (count < piece->max) {
        struct after again = {.piece = piece, .branch_end = upto, .at = text, .count = count + 1, .next = after};
        if (alternatives(run, piece->from, piece->upto, text, &again)) return true;
    }
    return count >= piece->min && branch(run, piece->rest, upto, text, after);
}

static bool go_on(struct run *run, const uint8_t *text, const struct after *after) {
    if (!after) return text == run->end;
    /* A round that took nothing would go on for ever. */
    if (text == after->at) return branch(run, after->piece->rest, after->branch_end, text, after->next);
    return repeat_group(run, after->piece, after->count, after->branch_end, text, after->next);
}

static bool step(struct run *run, const uint8_t *from, const uint8_t *upto, const uint8_t *text, const struct after *after) {
    struct piece piece;
    for (; from < upto; from = piece.rest) {
        if (++run->steps > PATTERN_STEPS_MAX || !first_piece(from, upto, &piece)) return false;
        if (piece.is_group) return repeat_group(run, &piece, 0, upto, text, after);
        if (piece.min != 1 || piece.max != 1) return repeat_one(run, &piece, upto, text, after);
        if (text == run->end || !takes(&piece, *text)) return false;
        text++;
    }
    return go_on(run, text, after);
}

static bool branch(struct run *run, const uint8_t *from, const uint8_t *upto, const uint8_t *text, const struct after *after) {
    if (run->depth == PATTERN_DEPTH_MAX || ++run->steps > PATTERN_STEPS_MAX) return false;
    run->depth++;
    bool matches = step(run, from, upto, text, after);
    run->depth--;
    return matches;
}

bool pattern_matches(struct span pattern, struct span text) {
    static const uint8_t nothing[1];
    const uint8_t *from = pattern.size ? pattern.data : nothing, *upto = from + pattern.size;
    const uint8_t *begin = text.size ? text.data : nothing;
    struct run run = {.end = begin + text.size};
    if (from < upto && *from == '^') from++;
    if (from < upto && upto[-1] == '$' && (upto - from < 2 || upto[-2] != '\\')) upto--;
    return alternatives(&run, from, upto, begin, NULL);
}
