#!/usr/bin/env bash
# Shows that the shards of a node share nothing unsynchronized: a node built with ThreadSanitizer, three shards, is driven by
# kcat from several sides for some seconds, its metrics are scraped meanwhile, and it is stopped. It fails on a report of the
# sanitizer, on a record lost, and on a stop that is not clean.
#   test/threads.sh MOLDAU [SECONDS]
set -euo pipefail
program=$1 seconds=${2:-10}
folder=$(mktemp -d)
node=
trap '[ -z "$node" ] || kill -9 "$node" 2>/dev/null || true; rm -rf "$folder"' EXIT
# Below the ephemeral range: whoever connects somewhere could be given the port in the meantime.
port=$(cd "$(dirname "$0")/clients" && python3 -B -c 'import conftest_shared; print(conftest_shared.free_port())')
TSAN_OPTIONS="halt_on_error=0 exitcode=66" "$program" dev --dir "$folder/data" --port "$port" --override moldau.shards=3 \
  --override num.partitions=6 >"$folder/log" 2>&1 &
node=$!
for _ in $(seq 300); do grep -aq ready "$folder/log" && break; kill -0 "$node" 2>/dev/null || break; sleep 0.1; done
passed=0 failed=0
ok() { if [ "$2" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $1"; fi; } # NAME STATUS
grep -aq ready "$folder/log" && status=0 || status=1
ok "the node starts" "$status"

producer() { # NAME: rounds of 200 records, each acknowledged by all; counts what was
  local end=$((SECONDS + seconds)) round=0
  while [ $SECONDS -lt $end ]; do
    seq -f "$1-$round-%g" 200 | timeout 30 kcat -q -b "127.0.0.1:$port" -P -t "t$1" -X acks=all || return 1
    round=$((round + 1))
    echo $((round * 200)) >"$folder/sent$1"
  done
}
member() { # NAME: consumes in a group, once there is something
  while [ ! -f "$folder/sent1" ] || [ ! -f "$folder/sent2" ]; do sleep 0.1; done
  timeout "$seconds" kcat -q -b "127.0.0.1:$port" -G "g$1" t1 t2 >/dev/null || [ $? -eq 124 ]
}
scraper() { # scrapes as fast as it may, until the others are through
  local url end=$((SECONDS + seconds)) round=0
  url=$(grep -aoE 'http://[0-9.:]+/metrics' "$folder/log" | head -n 1)
  while [ $SECONDS -lt $end ]; do
    python3 -c 'import sys, urllib.request; [urllib.request.urlopen(sys.argv[1] + path, timeout=30).read() for path in ("/metrics", "/health/ready", "/health/live")]' "${url%/metrics}" || return 1
    round=$((round + 1))
  done
  [ $round -gt 2 ]
}
lister() { # asks for all there is, which is so much that an offload thread answers (broker/apart.h)
  local end=$((SECONDS + seconds)) round=0
  while [ $SECONDS -lt $end ]; do
    [ "$(timeout 30 kcat -q -b "127.0.0.1:$port" -L | grep -c 'partition ')" -ge 600 ] || return 1
    round=$((round + 1))
  done
  [ $round -gt 2 ]
}
timeout 60 "$program" topics --bootstrap-server "127.0.0.1:$port" --create --topic many --partitions 600 >/dev/null && status=0 || status=1
ok "a topic of many partitions is made" "$status"
workers=()
for n in 1 2 3; do producer "$n" & workers+=($!); done
for n in 1 1 2; do member "$n" & workers+=($!); done
scraper & workers+=($!)
lister & workers+=($!)
for worker in "${workers[@]}"; do wait "$worker" && status=0 || status=1; ok "a client serves its time" "$status"; done
for n in 1 2 3; do
  got=$(timeout 60 kcat -q -b "127.0.0.1:$port" -C -t "t$n" -o beginning -e 2>/dev/null | sort -u | wc -l)
  [ "$got" -gt 0 ] && [ "$got" = "$(cat "$folder/sent$n" 2>/dev/null)" ] && status=0 || status=1
  ok "t$n: every record acknowledged is there ($got)" "$status"
done
kill -TERM "$node" 2>/dev/null && wait "$node" && status=0 || status=$?
node=
ok "the node stops cleanly ($status)" "$status"
reports=$(grep -ac "WARNING: ThreadSanitizer" "$folder/log" || true)
ok "no report of the sanitizer ($reports)" "$reports"
[ $failed -eq 0 ] || head -n 200 "$folder/log"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
