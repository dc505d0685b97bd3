#!/usr/bin/env bash
# Tests against Apache Kafka itself: its Java clients, its command-line tools, its readers of log files, its node.
# `./dev interop [pytest options]` calls this; the jars go to build/interop.
# `./dev interop diff [options]`: the differential tester instead (diff/main.py says which options).
set -euo pipefail
cd "$(dirname "$0")/../.."
copy=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies
for part in server tools server-3.9 shell; do
  [ -f build/interop/$part/.complete ] && continue
  mkdir -p build/interop/$part
  mvn -B -q -f test/interop/$part.pom.xml $copy -DincludeScope=runtime -DoutputDirectory="$PWD/build/interop/$part"
  touch build/interop/$part/.complete
done
if [ "${1:-}" = diff ]; then
  shift
  exec python3 -B test/interop/diff/main.py "$@"
fi
exec build/venv/bin/pytest -q -p no:cacheprovider test/interop "$@"
