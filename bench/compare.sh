#!/usr/bin/env bash
# Moldau beside Apache Kafka, in both modes of durability, with a folder that holds a side-by-side benchmark.
#   bench/compare.sh COMPARE_DIR [OPTION...]     options go to its compare.sh; without any: --reps 3 --warm 1 --scale 0.6
# COMPARE_DIR holds compare.sh, apache-kafka.sh and native-broker.sh: drivers that know install, format, start, stop, kill,
# pids, bootstrap and name.
#   MOLDAU       the program; else a release is built in build/release
#   BENCH_WORK   scratch folder for data and downloads, on the disk that is to be measured
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
exec "$compare/compare.sh" "$@" "$compare/apache-kafka.sh" "$here/driver-fsync.sh" "$here/driver-page-cache.sh"
