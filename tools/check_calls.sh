#!/usr/bin/env bash
# No way past the seam: the objects above io/ may not call the outside world by themselves.
# Reads the undefined symbols of the library's objects in a build folder (default: build) against the list below.
# Exit status 1 when a folder calls what only io/ (or, for memory, base/pool.c) may.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
world='clock_.*|gettimeofday|time|times|nanosleep|usleep|sleep|alarm|setitimer|timer_(create|settime|gettime|delete)|timerfd_.*|eventfd'
world+='|open|openat|creat|close|dup[23]?|pipe2?|read|write|pread|pwrite|preadv2?|pwritev2?|readv|writev|lseek|fsync|fdatasync|sync|syncfs|sync_file_range'
world+='|rename|renameat2?|link|linkat|symlink|symlinkat|readlink|readlinkat|unlink|unlinkat|remove|mkdir|mkdirat|rmdir|opendir|fdopendir|readdir|closedir|chdir'
world+='|stat|fstat|lstat|fstatat|statx|statvfs|fstatvfs|access|chmod|fchmod|truncate|ftruncate|fallocate|posix_f.*|flock|fcntl|ioctl|mmap|munmap|msync|madvise'
world+='|socket|socketpair|bind|listen|accept4?|connect|shutdown|send|recv|sendto|recvfrom|sendmsg|recvmsg|sendfile|splice|[gs]etsockopt|getaddrinfo|gethostname'
world+='|poll|ppoll|epoll_.*|select|pselect|io_uring_.*|syscall|pthread_.*|sem_.*|signal|sigaction|kill|raise|fork|vfork|exec.*|posix_spawn.*|system|popen|dlopen'
world+='|rand|rand_r|random|srand|srandom|[delmnj]rand48|getrandom|getentropy|arc4random.*|RAND_.*|getenv|secure_getenv|setenv|getpid|exit|_exit'
world+='|fopen|fdopen|freopen|fclose|fread|fwrite|fgets|fputs|fputc|putc|puts|putchar|printf|fprintf|dprintf|vprintf|vfprintf|perror|tmpfile|mkstemp'
forbidden="^(_*($world)(64)?(_chk)?|__(open|openat)(64)?_2)\$"
memory='^_*(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|memalign|free|strdup|strndup|v?asprintf(_chk)?)$'
json='^json_'
# Who may: the seam itself, the threads of the shards, and what runs outside of shards (tools, main, HTTP's thread). A failed assertion
# may say so before it aborts; what reads JSON lives with the memory that jansson takes.
calls_allowed='^src_(io|cli|server)_|^src_console_(document|http|process)\.c|^src_shard_shard\.c|^src_base_assert\.c'
memory_allowed='^src_(io|cli|server)_|^src_base_pool\.c|^src_shard_|^src_base_assert\.c|^src_wire_json\.c'
json_allowed='^src_(cli|server)_|^src_wire_json\.c|^src_log_checkpoint\.c|^src_quorum_state_file\.c' # Kafka's files in JSON
count=0 bad=0
hold() { # WHO WHAT: prints what this object calls of WHAT, unless it is one of WHO
  [[ $name =~ $1 ]] && return 0
  local s
  while read -r s; do [ -z "$s" ] || { echo "$name calls $s"; bad=$((bad + 1)); }; done < <(grep -E "$2" <<<"$symbols" || true)
}
for object in "$build"/libmoldau.a.p/*.o; do
  [ -f "$object" ] || continue
  name=${object##*/}
  count=$((count + 1))
  symbols=$(nm -u "$object" | awk '{print $2}' | sed 's/@.*//')
  hold "$calls_allowed" "$forbidden"
  hold "$memory_allowed" "$memory"
  hold "$json_allowed" "$json"
done
echo "calls: $count objects, $bad wrong"
[ "$bad" -eq 0 ] && [ "$count" -gt 0 ]
