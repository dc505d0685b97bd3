#!/usr/bin/env bash
# One Moldau node for the side-by-side benchmark: COMPARE_DIR's native-broker.sh with what is Moldau's filled in.
# From the environment: MOLDAU (the program), COMPARE_DIR, DURABILITY (fsync, page-cache), BASE_PORT.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export DURABILITY=${DURABILITY:-fsync}
export BROKER_NAME=moldau-$DURABILITY BROKER_CONF=$here/moldau.properties.in
export BROKER_FORMAT="${MOLDAU:?} format -t AAAAAAAAAAAAAAAAAAAAAQ -c \$CONF" BROKER_START="$MOLDAU server \$CONF"
exec "${COMPARE_DIR:?}/native-broker.sh" "$@"
