#!/usr/bin/env bash
# Plants one mistake after the other in a copy of the sources and shows that the tests see it.
#
#     tools/mutate.sh [NAME...]      NAME: of a file in test/mutations, without .patch; default: all
#
# A mutation is a patch; lines before it say what it is and who must catch it:
#
#     what: acknowledge before sync
#     caught by: sim node 1-20       these seeds of a world, up to the first that fails
#     caught by: unit log PART       test/test-log, tests whose name has PART
#
# Every catcher must pass without mutations first, and fail with its own. A patch that does not apply any more or does not
# build is a failure. MUTATE_DIR (default build/mutate) keeps the copy and its build for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly here=$PWD dir=${MUTATE_DIR:-$PWD/build/mutate}
readonly tree=$dir/tree out=$dir/out jobs=${JOBS:-$(nproc)}
passed=0 failed=0

field() { sed -n "s/^$2: *//p" "$1" | head -n 1; } # FILE NAME

copy_tree() { # only what changed gets a new time, so that a build that is there is used
  mkdir -p "$tree" "$out"
  git ls-files -z | while IFS= read -r -d '' file; do
    [ -f "$file" ] || continue
    cmp -s "$file" "$tree/$file" 2>/dev/null && continue
    mkdir -p "$tree/$(dirname "$file")"
    cp -p "$file" "$tree/$file" && touch "$tree/$file"
  done
  [ -f "$tree/build/build.ninja" ] || meson setup "$tree/build" "$tree" -Dtests=true >"$out/setup.log" 2>&1 || { cat "$out/setup.log"; exit 2; }
}

target_of() { # sim WORLD SEEDS | unit FOLDER PART
  case $1 in sim) echo src/sim/moldau-sim ;; unit) echo "test/test-$2" ;; *) return 1 ;; esac
}

run() { # LOG sim WORLD SEEDS | LOG unit FOLDER PART
  local log=$1
  shift
  case $1 in
    sim) (cd "$tree" && timeout 900 build/src/sim/moldau-sim --what "$2" --seeds "$3" --first) >"$log" 2>&1 ;;
    unit) (cd "$tree" && timeout 900 "build/test/test-$2" "${3:-}") >"$log" 2>&1 ;;
  esac
}

build() { ninja -C "$tree/build" -j "$jobs" "$1" >"$out/build.log" 2>&1; }

who() { # LOG: which seed or test saw it, and how
  grep -aoE -m1 '^seed [0-9]+ of [a-z0-9]+: .*' "$1" | cut -c1-110 ||
    grep -aoE -m1 '^\[  FAILED  \] [a-z0-9_]+' "$1" | sed 's/.*\] //' || tail -n 1 "$1" | cut -c1-110
}

row() { # passed|failed NAME CATCHER SEEN
  printf '%-34s | %-24s | %s\n' "$2" "$3" "$4"
  if [ "$1" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

names=("$@")
[ ${#names[@]} -gt 0 ] || for patch in test/mutations/*.patch; do name=${patch##*/}; names+=("${name%.patch}"); done
copy_tree
printf '%-34s | %-24s | %s\n' mutation "caught by" "seed or test"
declare -A sound
for name in "${names[@]}"; do # without mutations
  catcher=$(field "test/mutations/$name.patch" 'caught by')
  [ -n "$catcher" ] || { row failed "$name" "" "test/mutations/$name.patch does not say who catches it"; continue; }
  [ -z "${sound[$catcher]:-}" ] || continue
  # shellcheck disable=SC2086 # the words of the catcher
  if ! build "$(target_of $catcher)"; then row failed "(none)" "$catcher" "does not build: $out/build.log"; sound[$catcher]=no
  elif run "$out/none.log" $catcher; then sound[$catcher]=yes
  else row failed "(none)" "$catcher" "fails without a mutation: $(who "$out/none.log")"; sound[$catcher]=no; fi
done
for name in "${names[@]}"; do
  patch=$here/test/mutations/$name.patch
  catcher=$(field "$patch" 'caught by')
  [ "${sound[$catcher]:-no}" = yes ] || { row failed "$name" "$catcher" "its catcher is not sound"; continue; }
  if ! patch -d "$tree" -p1 --dry-run --force <"$patch" >"$out/patch.log" 2>&1; then
    row failed "$name" "$catcher" "the patch does not apply any more"
    continue
  fi
  patch -d "$tree" -p1 --force --no-backup-if-mismatch <"$patch" >"$out/patch.log"
  # shellcheck disable=SC2086
  if ! build "$(target_of $catcher)"; then row failed "$name" "$catcher" "does not build: $(grep -m1 error "$out/build.log")"
  elif run "$out/$name.log" $catcher; then row failed "$name" "$catcher" "not seen"
  else row passed "$name" "$catcher" "$(who "$out/$name.log")"; fi
  patch -d "$tree" -p1 -R --force --no-backup-if-mismatch <"$patch" >"$out/patch.log"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
