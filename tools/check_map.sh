#!/usr/bin/env bash
# The pages that lead through the source name what there is: every file in backticks exists, and every function, type or constant
# in backticks is a word of the source. Files are named from the top, from src/ or by their own name alone. Exit status 1: one
# is not there. x.c and its kin stand for any file.
set -euo pipefail
cd "$(dirname "$0")/.."
pages=("${@:-ARCHITECTURE.md}")
words=$(mktemp)
trap 'rm -f "$words"' EXIT
git ls-files -z src test tools bench dev | xargs -0 cat | grep -aoE '[A-Za-z_][A-Za-z0-9_]*' | LC_ALL=C sort -u >"$words"
git ls-files | awk '
  FILENAME != "-" && FILENAME == words { word[$0] = 1; next }
  FILENAME == "-" { file[$0] = 1; file[substr($0, 5)] = index($0, "src/") == 1 || file[substr($0, 5)]; n = split($0, part, "/"); file[part[n]] = 1; next }
  {
    line = $0
    while (match(line, /`[^`]+`/)) {
      name = substr(line, RSTART + 1, RLENGTH - 2); line = substr(line, RSTART + RLENGTH)
      if (name ~ /^x[._]/) continue
      if (name ~ /^[A-Za-z0-9_.\/-]+\.(c|h|py|tbl|idl|sh|md)$/) { if (!file[name]) missing("file") }
      else if (name ~ /^[A-Za-z_][A-Za-z0-9_]*$/ && !(name in word)) missing("word")
    }
  }
  function missing(what) { printf "%s:%d: no such %s: %s\n", FILENAME, FNR, what, name; bad++ }
  END { printf "map: %d wrong\n", bad + 0; exit bad > 0 }' words="$words" "$words" - "${pages[@]}"
