#!/usr/bin/env bash
# Why a part of `./dev test` failed, out of its output: at most LINES lines, each of at most 240 characters.
# It knows cmocka's, pytest's, the sanitizers', the simulator's and the compiler's way of telling, and that of the scripts here;
# of any other output, and where nothing of the kind is found, it takes the end.
# usage: tools/why.sh LOG STATUS LINES
set -euo pipefail
log=$1 status=$2 lines=$3
# shellcheck disable=SC2016 # awk's dollars, not the shell's
tr -d '\000' <"$log" | LC_ALL=C awk -v status="$status" -v max="$lines" '
function add(text) {
  sub(/\r$/, "", text)
  gsub(/\033\[[0-9;]*[A-Za-z]/, "", text)
  if (text ~ /^[ \t]*$/ || text in told) return
  told[text] = 1
  why[++count] = cut(text)
}
function cut(text) { return (length(text) > 240) ? substr(text, 1, 237) "..." : text }
{ line = $0 }
# cmocka: what is wrong and where come before the name; at its end the names once more
line ~ /^\[ RUN +\] /     { test = substr(line, 14); running = test; wrong = place = ""; next }
line ~ /^\[ +OK +\] /     { running = ""; next }
line ~ /^\[ +ERROR +\] /  { sub(/^\[ +ERROR +\] (--- )?/, "", line); if (line !~ /has failed$|^Test failed|^$/) wrong = wrong (wrong == "" ? "" : ", ") line; next }
line ~ /^\[ +LINE +\] /   { sub(/^\[ +LINE +\] (--- )?/, "", line); sub(/: error:.*/, "", line); sub(/^.*\/src\//, "src/", line); place = line; next }
line ~ /^\[ +FAILED +\] / { sub(/^\[ +FAILED +\] /, "", line); if (line == running) add(line ": " wrong (place == "" ? "" : " (" place ")")); running = ""; next }
line ~ /^\[[= ]/          { next }
line ~ /^FAILED: [^ ]+ *$/ { next } # of ninja, of a file
# pytest (its summary), the matrix, shell scripts
line ~ /^(FAILED|ERROR|NOT RUN)[: ]/ || line ~ /^WRONG: / { add(line); next }
line ~ /^!+ .*(KeyboardInterrupt|Interrupted).* !+$/      { stopped = 1; add(line); next }
stopped && line ~ /^[^ ].*\.py:[0-9]+: KeyboardInterrupt/ { add(line); next }
line ~ /Timeout \([0-9:.]+\)!$/                            { slow = 1; next } # of a test: faulthandler tells where it stands
slow && line ~ /^  File ".*\/test_[a-z_]*\.py", line/     { slow = 0; add("too slow: " line); next }
# sanitizers, panics, the simulator
line ~ /: (Address|Leak|Thread|UndefinedBehavior)Sanitizer[: ]/ || line ~ /: runtime error: / || line ~ /panic: / { add((running == "" ? "" : running ": ") line); frames = 2; next }
frames > 0 && line !~ /libsanitizer/ && line ~ /^ +#[0-9]+ .*\/(src|test)\//           { frames--; sub(/^ +#[0-9]+ +(0x[0-9a-f]+ )?/, "", line); add("  " line); next }
line ~ /^seed [0-9]+ of .*: / || line ~ /^again: /        { add(line); next }
# compilers, linkers, package managers, ./dev itself
line ~ /:[0-9]+:[0-9]+: (fatal )?error: / || line ~ /: undefined reference to / || line ~ /: multiple definition of / || line ~ /^(E|dev|ERROR|error)(\[E[0-9]+\])?: / || line ~ /: ERROR: / { add(line); next }
line ~ /^[0-9]+ passed, [0-9]+ failed$/ || line ~ /^the node.s files are in / || line ~ /^[=_-]+ .* [=_-]+$/ { next }
{ gsub(/[ \t]+$/, "", line); if (line != "") last[++ends] = line }
END {
  if (status == 124 || status == 137) { printed++; print "it did not end within its time and was stopped" (running == "" ? "" : ", in " running) }
  else if (status > 128) { printed++; print "it was ended by signal " status - 128 (running == "" ? "" : ", in " running) }
  else if (running != "" && count == 0) { printed++; print "it ended in the middle of " running }
  for (i = 1; i <= count && printed < max; i++) {
    if (printed == max - 1 && i < count) { print "and " count - i + 1 " lines of the kind more"; printed++ }
    else { print why[i]; printed++ }
  }
  if (!printed && !count && !ends) print "it said nothing and ended with status " status
  if (count == 0) # nothing that is known: its end
    for (i = ends - (max - printed) + 1; i <= ends; i++) if (i > 0) print cut(last[i])
}'
