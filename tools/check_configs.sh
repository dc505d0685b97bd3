#!/usr/bin/env bash
# Every key of src/meta/config.tbl has its effect, or says that it has none (NO_EFFECT) or none yet (NOT_SERVED): a broker's key is
# read somewhere as KEY_..., or stands behind a topic's that is; a topic's is read as a field of struct topic_config.
# What only checks or tells values (meta/config*, broker/handle_configs.c) and tests do not count. Exit status 1: a key is read nowhere.
set -euo pipefail
cd "$(dirname "$0")/.."
table=${1:-src/meta/config.tbl}
sources=$(find src -name '*.[ch]' ! -name '*_test.c' ! -name '*_fuzz.c' ! -path 'src/meta/config*' ! -path src/broker/handle_configs.c)
read_as() { grep -ohE "$1" $sources | sed -E "s/$1/\\1/" | sort -u; }
awk -F'[(,] *' -v keys="$(read_as 'KEY_([a-z0-9_]+)')" -v fields="$(read_as 'config[.>-]+([a-z0-9_]+)')" '
  BEGIN { split(keys, a, "\n"); for (i in a) key[a[i]] = 1; split(fields, b, "\n"); for (i in b) field[b[i]] = 1 }
  /^CONFIG_(BROKER|TOPIC|GROUP)\(/ {
    count++
    name = $3; gsub(/"/, "", name)
    told = /NO_EFFECT|NOT_SERVED/
    if ($1 == "CONFIG_BROKER") { if (!told && !key[$2]) unread[name] = 1 }
    else if ($1 == "CONFIG_TOPIC" && field[$2]) { line = $0; while (match(line, /"[^"]*"/)) { last = substr(line, RSTART + 1, RLENGTH - 2); line = substr(line, RSTART + RLENGTH) }
      n = split(last, names, ","); for (i = 1; i <= n; i++) { sub(/\*.*/, "", names[i]); behind[names[i]] = 1 } }
    else if (!told) unread[$1 " " name] = 1
  }
  /^CONFIG_BROKER\(/ && /NOT_SERVED/ && key[$2] && !/"(early\.start\.listeners|.*\.policy\.class\.name|client\.quota\.callback\.class|group\.[a-z]+\.assignors|replica\.lag\.time\.max\.ms|controller\.quorum\.[a-z.]+\.ms)"/ {
    print "read, and said not to be served: " $3; bad++ # but for those that are read to be refused, and what is handed to machines whose peers are not there yet
  }
  END {
    unread["broker.id"] = 0 # another name of node.id
    for (name in unread) if (unread[name] && !behind[name]) { print "read nowhere: " name; bad++ }
    print "configs: " count " keys, " bad + 0 " read nowhere"
    exit bad > 0 || count == 0
  }' "$table"
