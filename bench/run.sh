#!/usr/bin/env bash
# What one node costs on this machine: its start, its memory and its CPU when nobody asks for anything.
#   bench/run.sh PROGRAM [STARTS]     (./dev bench builds a release and calls this)
set -euo pipefail
cd "$(dirname "$0")"
program=$(realpath "${1:?usage: bench/run.sh PROGRAM [STARTS]}")
exec python3 node.py "$program" --starts "${2:-9}"
