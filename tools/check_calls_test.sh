#!/usr/bin/env bash
# Shows that check_calls.sh sees what it is for: objects with one wrong call each, named as the library's are, must fail it
# and be named; the same calls in a folder that may make them must pass.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/libmoldau.a.p"
passed=0 failed=0
try() { # OBJECT CALL pass|fail [FLAG...]: an object of that name that calls CALL
  local object=$folder/libmoldau.a.p/$1 call=$2 wanted=$3 got=pass said
  shift 3
  echo "extern long $call(); long planted(long x) { return $call(x); }" | ${CC:-gcc} -w -O1 -fno-builtin -xc "$@" -c - -o "$object"
  said=$(tools/check_calls.sh "$folder" 2>&1) || got=fail
  [ $got = pass ] || grep -q "${object##*/} calls $call" <<<"$said" || got="fail without a word on it"
  if [ "$got" = "$wanted" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "${object##*/}, $call: $got, not $wanted"; fi
  rm -f "$object"
}
for call in clock_gettime pwrite open64 __read_chk fdatasync socket epoll_wait io_uring_submit pthread_mutex_lock getrandom fopen printf malloc free json_loadb; do
  try src_broker_request.c.o $call fail
  try src_log_append.c.o $call fail
  case $call in json_*) ;; *) try src_io_io_files.c.o $call pass ;; esac
  try src_cli_dump.c.o $call pass
done
try src_shard_mailbox.c.o pthread_create fail
try src_shard_shard.c.o pthread_create pass
try src_wire_json.c.o json_loadb pass
try src_wire_json.c.o open fail
for call in memcpy snprintf vsnprintf qsort abort; do try src_raft_leader.c.o $call pass; done
tools/check_calls.sh "$folder" >/dev/null && { failed=$((failed + 1)); echo "no objects at all passed"; } || passed=$((passed + 1))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
