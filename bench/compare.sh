#!/usr/bin/env bash
# Moldau beside Apache Kafka, in both modes of durability, with a folder that holds a side-by-side benchmark.
#   bench/compare.sh COMPARE_DIR [OPTION...]     options go to its compare.sh; without any: --reps 3 --warm 1 --scale 0.6
# COMPARE_DIR holds compare.sh, apache-kafka.sh and native-broker.sh: drivers that know install, format, start, stop, kill,
# pids, bootstrap and name.
#   MOLDAU       the program; else a release is built in build/release
#   BENCH_WORK   scratch folder for data and downloads, on the disk that is to be measured
#   STEADY=0     not to fill the page cache before each broker (see steady.sh)
#   BASE_PORT    Apache listens on BASE_PORT + 10, Moldau on BASE_PORT + 510 and + 1010; 19092
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
compare=$(realpath "${1:?usage: bench/compare.sh COMPARE_DIR [OPTION...]}")
shift
[ $# -gt 0 ] || set -- --reps 3 --warm 1 --scale 0.6
if [ -z "${MOLDAU:-}" ]; then
  MOLDAU=$here/../build/release/moldau
  [ -f "$here/../build/release/build.ninja" ] || meson setup "$here/../build/release" "$here/.." --buildtype=release -Db_lto=true -Dtests=false >&2
  ninja -C "$here/../build/release" moldau >&2
fi
MOLDAU=$(realpath "$MOLDAU")
export MOLDAU COMPARE_DIR=$compare BASE_PORT=${BASE_PORT:-19092}
drivers=("$compare/apache-kafka.sh" "$here/driver-fsync.sh" "$here/driver-page-cache.sh")
if [ "${STEADY:-1}" != 0 ]; then
  scratch=$(mktemp -d "${BENCH_WORK:-${TMPDIR:-/tmp}}/steady.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  export STEADY_FILE=$scratch/holes
  for i in "${!drivers[@]}"; do
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$here/steady.sh" "${drivers[i]}" > "$scratch/driver-$i.sh"
    chmod +x "$scratch/driver-$i.sh"
    drivers[i]=$scratch/driver-$i.sh
  done
fi
"$compare/compare.sh" "$@" "${drivers[@]}"
