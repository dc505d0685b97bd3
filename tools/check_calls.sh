#!/usr/bin/env bash
# No way past the seam: the objects above io/ may not call the outside world by themselves.
# Reads the undefined symbols of the library's objects in a build folder (default: build) against the list below.
# Exit status 1 when a folder calls what only io/ (or, for memory, base/pool.c) may.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
forbidden='^(clock_gettime|gettimeofday|time|nanosleep|usleep|sleep|open|openat|creat|read|write|pread|pwrite|preadv|pwritev|preadv2|pwritev2|readv|writev|fsync|fdatasync|syncfs|rename|renameat|unlink|unlinkat|mkdir|rmdir|opendir|readdir|stat|fstat|lstat|ftruncate|fallocate|socket|bind|listen|accept|accept4|connect|send|recv|sendto|recvfrom|sendmsg|recvmsg|sendfile|getaddrinfo|poll|epoll_wait|select|mmap|munmap|rand|random|srand|getrandom|getenv|fopen|fopen64|pthread_create|pthread_mutex_lock|syscall|io_uring_.*)(64)?$'
memory='^(malloc|calloc|realloc|free|strdup|strndup|asprintf)$'
# Who may: the seam itself, the threads of the shards, and what runs outside of shards (tools, main).
calls_allowed='^src_(io|cli|server)_|^src_shard_shard\.c'
memory_allowed='^src_(io|cli|server)_|^src_base_pool\.c|^src_shard_|^src_base_assert|_idlc|^src_wire_json'
count=0 bad=0
for object in "$build"/libmoldau.a.p/*.o; do
  name=${object##*/}
  count=$((count + 1))
  symbols=$(nm -u "$object" | awk '{print $2}' | sed 's/@.*//')
  if ! [[ $name =~ $calls_allowed ]]; then
    while read -r s; do [ -z "$s" ] || { echo "$name calls $s"; bad=$((bad + 1)); }; done < <(grep -E "$forbidden" <<<"$symbols" || true)
  fi
  if ! [[ $name =~ $memory_allowed ]]; then
    while read -r s; do [ -z "$s" ] || { echo "$name calls $s"; bad=$((bad + 1)); }; done < <(grep -E "$memory" <<<"$symbols" || true)
  fi
done
echo "calls: $count objects, $bad wrong"
[ "$bad" -eq 0 ] && [ "$count" -gt 0 ]
