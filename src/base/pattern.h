/* base/pattern.h - does a text match a regular expression, as a whole?
 *
 * The part of Java's syntax that people write into configurations: literals, `.`, classes with ranges, `\d \w \s` and
 * their opposites, groups, alternatives, `* + ? {m,n}` (greedy or not makes no difference to a whole match), `^` and `$`
 * at the ends. No references back and no looking around: a pattern with such matches nothing.
 *
 * Nothing is allocated. The work is bounded: what takes more steps than PATTERN_STEPS_MAX does not match.
 */
#pragma once
#include "base/buf.h"

enum { PATTERN_STEPS_MAX = 200000, PATTERN_DEPTH_MAX = 200 };
bool pattern_matches(struct span pattern, struct span text);
