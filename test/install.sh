#!/usr/bin/env bash
# What `meson install` puts into a folder is this list and nothing else, and it is whole: links lead to something, the
# program there is of this version, the pages are what the program makes, and the unit names paths that are there.
# Besides: what a build needs is the same in ./dev and in the Debian package.
# usage: test/install.sh BUILD-FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 passed=0 failed=0
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
good() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "$*"; }
hold() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >/dev/null 2>&1; then good; else bad "$what"; fi
}
DESTDIR=$root meson install -C "$build" --no-rebuild --quiet >/dev/null
prefix=$(meson introspect --buildoptions "$build" | python3 -c 'import json, sys; print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
p=$root$prefix

mapfile -t tools < <(sed -nE 's/^TOOL\([a-z0-9_]+, "([^"]+)".*/\1/p' src/cli/cli.tbl)
mapfile -t scripts < <(echo kafka-server-start.sh; sed -nE 's/^TOOL\([a-z0-9_]+, "[^"]+", "([^"]+)".*/\1/p' src/cli/cli.tbl)
{
  echo bin/moldau
  echo etc/moldau/server.properties
  echo lib/systemd/system/moldau.service
  echo lib/sysusers.d/moldau.conf
  echo share/bash-completion/completions/moldau
  echo share/zsh/site-functions/_moldau
  printf 'share/doc/moldau/%s\n' ARCHITECTURE.md README.md config.md
  echo share/man/man1/moldau.1
  printf 'share/man/man1/moldau-%s.1\n' "${tools[@]}"
  printf 'bin/%s\n' "${scripts[@]}"
  printf 'share/man/man1/%s.1\n' "${scripts[@]}"
  printf 'share/bash-completion/completions/%s\n' "${scripts[@]}"
} | sort >"$root/expected"
(cd "$p" && find . ! -type d | sed 's|^\./||') | sort >"$root/found"
if diff "$root/expected" "$root/found"; then good; else bad "the list above is not what was installed"; fi
hold "too few files to be all of it" [ "$(wc -l <"$root/found")" -ge 80 ]

while read -r link; do hold "$link leads nowhere" test -e "$p/$link"; done < <(cd "$p" && find . -type l)
hold "the program does not start" "$p/bin/moldau" --version
hold "kafka-topics.sh is not the tool" sh -c "'$p/bin/kafka-topics.sh' --help | grep -q -- --create"
if [ "$("$p/bin/moldau" completion bash)" = "$(cat "$p/share/bash-completion/completions/moldau")" ]; then good; else bad "bash's completion is another program's"; fi
if [ "$("$p/bin/moldau" completion zsh)" = "$(cat "$p/share/zsh/site-functions/_moldau")" ]; then good; else bad "zsh's completion is another program's"; fi
"$p/bin/moldau" man "$root" && hold "a manual page is another program's" cmp "$root/moldau-topics.1" "$p/share/man/man1/moldau-topics.1"
hold "the configuration that is installed stops the start" "$p/bin/moldau" config check "$p/etc/moldau/server.properties"
hold "the unit starts another program" grep -qx "ExecStart=$prefix/bin/moldau server $prefix/etc/moldau/server.properties" "$p/lib/systemd/system/moldau.service"
hold "the unit does not wait for readiness" grep -qx "Type=notify" "$p/lib/systemd/system/moldau.service"
if grep -q '@' <(grep -v '^System' "$p/lib/systemd/system/moldau.service"); then bad "the unit has something that was not filled in"; else good; fi
# bash, as it completes: the same table.
offered=$(bash -c ". '$p/share/bash-completion/completions/moldau'; COMP_WORDS=(kafka-topics.sh --de); COMP_CWORD=1; _moldau; echo \${COMPREPLY[*]}")
hold "bash completes kafka-topics.sh --de to: $offered" [ "$offered" = "--delete --delete-config --describe" ]

for package in $(sed -nE '/^packages_build=\(/,/\)/p' dev | tr -d '()' | tr ' ' '\n' | grep -- '-dev$' | grep -v libc6-dev); do
  hold "packaging/debian/control does not build with $package" grep -q "^ $package" packaging/debian/control
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
