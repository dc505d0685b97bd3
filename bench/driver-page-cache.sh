#!/usr/bin/env bash
export DURABILITY=page-cache BASE_PORT=$((${BASE_PORT:-19092} + 1000))
exec "$(dirname "$0")/driver.sh" "$@"
