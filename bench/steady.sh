#!/usr/bin/env bash
# A driver as it is, but on a machine that has been up for a while: after `format` the page cache fills all memory.
#   bench/steady.sh DRIVER COMMAND
# Without it each broker of a comparison begins with as much free memory as the one before it happened to leave, and on a
# virtual machine that gives free memory back to its host a page fetched anew costs more than the write into it. STEADY_FILE
# is a file of holes as large as the memory; to read it costs no disk.
set -euo pipefail
driver=$1
shift
"$driver" "$@"
if [ "${1:-}" = format ]; then
  truncate -s "$(awk '/^MemTotal/ {print $2}' /proc/meminfo)K" "${STEADY_FILE:?}"
  cat "$STEADY_FILE" > /dev/null
fi
