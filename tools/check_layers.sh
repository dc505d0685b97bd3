#!/usr/bin/env bash
# Holds every #include of the source against LAYERS: arrows point down, outsiders use doors, pure files stay pure.
# Prints each wrong include; ends with a count. Exit status 1 when there was one.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck disable=SC2016 # awk's dollars, not the shell's
find src -name '*.[ch]' | LC_ALL=C sort | xargs awk '
BEGIN {
  while ((getline line < "LAYERS") > 0) {
    n = split(line, word, " ")
    if (word[1] == "layer") {
      level++
      for (i = 2; i <= n; i++)
        if (split(word[i], pair, ">") == 2) allowed[pair[1] "/" pair[2]] = 1
        else rank[word[i]] = level
    } else if (word[1] == "beside") for (i = 2; i <= n; i++) beside[word[i]] = 1
    else if (word[1] == "open") for (i = 2; i <= n; i++) open_[word[i]] = 1
    else if (word[1] == "pure") for (i = 2; i <= n; i++) pure[word[i]] = 1
  }
}
function is_pure(path,   p, pattern) {
  split(path, p, "/")
  if (p[1] in pure) return 1
  for (pattern in pure)
    if (pattern ~ /\*$/ && index(path, substr(pattern, 1, length(pattern) - 1)) == 1) return 1
  return 0
}
function wrong(why) { printf "%s:%d: %s: %s\n", FILENAME, FNR, $0, why; bad++ }
FNR == 1 {
  files++; mine = FILENAME; sub(/^src\//, "", mine); split(mine, part, "/"); folder = part[1]
  test = (FILENAME ~ /(_(test|fuzz)\.c|_rig\.h)$/)
  if (!(folder in rank) && !(folder in beside)) wrong("the folder is not in LAYERS")
}
/^#include </ && is_pure(mine) && !test && /<(time|unistd|fcntl|stdio|stdlib|pthread|sys\/.*)\.h>/ { wrong("a pure file has no business with it") }
/^#include "/ {
  split($0, quoted, "\""); split(quoted[2], target, "/"); to = target[1]
  if (!index(quoted[2], "/")) { if (!(test && quoted[2] ~ /^(test|fuzz|vectors)\.h$/)) wrong("includes name their folder"); next }
  if (to == folder || folder in beside) next
  if (test && to in beside) next                        # tests may stand on the simulator
  if (to in beside) { wrong("nothing includes " to); next }
  if (!(to in rank)) { wrong("the folder is not in LAYERS"); next }
  if (rank[to] > rank[folder] && !test) wrong("points up")
  if (rank[to] == rank[folder] && !((folder "/" to) in allowed) && !test) wrong("points to a neighbour")
  door = (target[2] == to ".h" || to in open_)
  if (!door && !test) wrong("goes past the door " to "/" to ".h")
  if (is_pure(mine) && !test && to != "base" && to != "wire" && to != "meta") wrong("a pure file includes only base, wire and meta")
}
END { printf "layers: %d files, %d wrong\n", files, bad + 0; exit bad > 0 }'
