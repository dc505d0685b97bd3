#!/usr/bin/env bash
# The Debian package in a bare root: made by debootstrap from this machine's first mirror, the package installed by apt with
# all that it needs, the node started with the configuration as it comes, asked, stopped, and the package removed and
# purged without a trace. There is no systemd running in a root like this: the node is started as the unit would start it,
# and a socket of ours hears what the manager would hear.
# As root. usage: test/deb.sh PACKAGE.deb [ROOT]    (ROOT: a bare root that is there already, and stays)
set -euo pipefail
package=$(readlink -f "$1") passed=0 failed=0
sources=/etc/apt/sources.list.d/debian.sources
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
if [ $# -gt 1 ]; then root=$(readlink -f "$2") keep=1; else root=$(mktemp -d) keep= && chmod 755 "$root"; fi # the node is not root there

stop() {
  [ -z "${listener:-}" ] || kill "$listener" 2>/dev/null || true
  for mounted in dev/pts dev proc; do ! mountpoint -q "$root/$mounted" || umount "$root/$mounted"; done
  [ -n "$keep" ] || rm -rf --one-file-system "$root"
}
trap stop EXIT
good() { passed=$((passed + 1)); echo "good: $*"; }
bad() { failed=$((failed + 1)); echo "BAD: $*"; }
hold() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >/tmp/moldau-deb.$$ 2>&1; then good "$what"; else bad "$what"; tail -n 20 /tmp/moldau-deb.$$; fi
  rm -f /tmp/moldau-deb.$$
}
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }

if [ ! -e "$root/usr/bin/dpkg" ]; then
  debootstrap --variant=minbase "$codename" "$root" "$(awk '/^URIs:/ { print $2; exit }' "$sources")" >"$root.log" 2>&1 || { tail "$root.log"; exit 1; }
  rm -f "$root.log"
fi
# How this machine reaches its mirror is how the root does.
rm -f "$root/etc/apt/sources.list"
for each in /etc/apt/apt.conf.d "$sources" /etc/resolv.conf /etc/hosts /etc/ssl/certs /usr/local/share/ca-certificates; do
  [ ! -e "$each" ] || { mkdir -p "$root${each%/*}" && cp -rL "$each" "$root${each%/*}/" 2>/dev/null; } || true
done
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
mountpoint -q "$root/dev" || mount --bind /dev "$root/dev"
rm -rf "$root"/tmp/* # of an earlier run
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # nothing is started by itself here
chmod +x "$root/usr/sbin/policy-rc.d"

inside apt-get update -qq >/dev/null 2>&1 || true
inside dpkg --get-selections >"$root/tmp/before"
find "$root/etc" "$root/var/lib" -path "$root/var/lib/apt" -prune -o -path "$root/var/lib/dpkg" -prune -o -print | sort >"$root/tmp/files-before"
cp "$package" "$root/tmp/moldau.deb"
hold "apt installs it" inside apt-get install -y -qq --no-install-recommends /tmp/moldau.deb
hold "the user is there, without a shell" inside sh -c 'getent passwd moldau | grep -q nologin'
# shellcheck disable=SC2016 # these run inside, with the dollars that are there
hold "the data are the user's alone" inside sh -c '[ "$(stat -c "%U:%G %a" /var/lib/moldau)" = "moldau:moldau 750" ]'
hold "the directory is formatted" inside test -s /var/lib/moldau/meta.properties
hold "the service is enabled" inside test -L /etc/systemd/system/multi-user.target.wants/moldau.service
# shellcheck disable=SC2016
hold "the unit is sound" inside sh -c 'command -v systemd-analyze >/dev/null && out=$(systemd-analyze verify --man=no moldau.service 2>&1) && [ -z "$out" ] || { echo "$out"; false; }'
hold "manual pages are there under both names" inside sh -c 'ls /usr/share/man/man1/moldau-topics.1.gz /usr/share/man/man1/kafka-topics.sh.1.gz || grep -q "path-exclude.*man" -r /etc/dpkg'

# The node as the unit starts it: its user, its command, its socket. In a network of its own, whose ports are free.
cat >"$root/tmp/run" <<'END'
set -eu
start=$(sed -n 's/^ExecStart=//p' /lib/systemd/system/moldau.service)
cd /
runuser -u moldau -- env NOTIFY_SOCKET=/tmp/notify WATCHDOG_USEC=500000 $start >/tmp/node.log 2>&1 &
for i in $(seq 600); do grep -q '^READY=1' /tmp/told 2>/dev/null && break; sleep 0.1; done
grep -q '^READY=1' /tmp/told
echo "hello from a package" | kafka-console-producer.sh --bootstrap-server localhost:9092 --topic greetings
kafka-console-consumer.sh --bootstrap-server localhost:9092 --topic greetings --from-beginning --max-messages 1 --timeout-ms 20000
kafka-topics.sh --bootstrap-server localhost:9092 --describe --topic greetings
kill -TERM $(for p in /proc/[0-9]*; do [ "$(readlink $p/exe 2>/dev/null)" = /usr/bin/moldau ] && [ "$(tr '\0' ' ' <$p/cmdline | cut -d' ' -f2)" = server ] && echo ${p#/proc/}; done)
wait
END
python3 - "$root/tmp/notify" "$root/tmp/told" <<'END' &
import os, socket, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
with open(sys.argv[2], "w", buffering=1) as out:
    while True:
        out.write(manager.recv(4096).decode() + "\n")
END
listener=$!
for _ in $(seq 100); do [ -S "$root/tmp/notify" ] && break; sleep 0.1; done
hold "the node starts as packaged, serves, and stops" unshare --net --pid --fork --mount sh -c "
  ip link set lo up && mount -t proc proc '$root/proc' && chroot '$root' env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh /tmp/run >'$root/tmp/out' 2>&1 || { cat '$root/tmp/out' '$root/tmp/node.log'; false; }"
hold "what was written came back" grep -qx "hello from a package" "$root/tmp/out"
hold "readiness was told once" sh -c "[ \$(grep -c '^READY=1' '$root/tmp/told') = 1 ]"
hold "signs of life were told" grep -q '^WATCHDOG=1' "$root/tmp/told"
hold "the stop was told" grep -q '^STOPPING=1' "$root/tmp/told"
hold "it was a clean stop" test -e "$root/var/lib/moldau/.kafka_cleanshutdown"

hold "installing again changes no data" inside sh -c 'cat /var/lib/moldau/meta.properties >/tmp/meta && apt-get install -y -qq --reinstall /tmp/moldau.deb && cmp /tmp/meta /var/lib/moldau/meta.properties'
hold "removing leaves the data" inside sh -c 'apt-get remove -y -qq moldau && test -s /var/lib/moldau/meta.properties && ! test -e /usr/bin/kafka-topics.sh'
hold "purging takes them and the configuration" inside sh -c 'apt-get purge -y -qq moldau && ! test -e /var/lib/moldau && ! test -e /etc/moldau'
hold "nothing of the package is left" inside sh -c '! find / -xdev -name "*moldau*" -not -path "/proc/*" -not -path "/tmp/*" -not -path "/var/cache/apt/*" -not -path "/var/log/*" | grep .'
hold "dpkg knows it no more" inside sh -c '! dpkg -s moldau'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
