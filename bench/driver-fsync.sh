#!/usr/bin/env bash
export DURABILITY=fsync BASE_PORT=$((${BASE_PORT:-19092} + 500))
exec "$(dirname "$0")/driver.sh" "$@"
