#!/usr/bin/env bash
# Shows that why.sh finds the reason in each kind of output that a part of `./dev test` may leave, keeps to its number of
# lines, and that a long line is cut: outputs as those programs write them, and what is to be said of each.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0
says() { # NAME STATUS LINES EXPECTED: of the output on standard input
  local said
  cat >"$folder/log"
  said=$(tools/why.sh "$folder/log" "$2" "$3")
  if [ "$said" = "$4" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); printf '%s: said\n%s\nand not\n%s\n' "$1" "$said" "$4"; fi
}
says cmocka 1 5 'second: 0x1 != 0x2 (src/log/x_test.c:6)' <<'LOG'
[==========] Running 2 test(s).
[ RUN      ] first
[       OK ] first
[ RUN      ] second
[  ERROR   ] --- 0x1 != 0x2
[   LINE   ] --- ../src/log/x_test.c:6: error: Failure!
[  FAILED  ] second
[==========] 2 test(s) run.
[  PASSED  ] 1 test(s).
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] second

 1 FAILED TEST(S)
1 passed, 1 failed
LOG
says "too late" 124 5 'it did not end within its time and was stopped, in second' <<'LOG'
[ RUN      ] first
[       OK ] first
[ RUN      ] second
LOG
says panic 134 5 'it was ended by signal 6, in first
first: moldau: panic: ../src/log/log.c:7: end >= start; while appending' <<'LOG'
[ RUN      ] first
moldau: panic: ../src/log/log.c:7: end >= start; while appending
LOG
says sanitizer 1 5 'first: ==19==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000071 at pc 0x56145f3b3587
  in log_close ../src/log/log.c:12
  in log_test ../src/log/log_test.c:32
first: SUMMARY: AddressSanitizer: heap-use-after-free ../src/log/log.c:12 in log_close' <<'LOG'
[ RUN      ] first
==19==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000071 at pc 0x56145f3b3587
READ of size 1 at 0x602000000071 thread T0
    #0 0x7fd in __interceptor_free ../../../../src/libsanitizer/asan/asan_malloc_linux.cpp:52
    #1 0x561 in log_close ../src/log/log.c:12
    #2 0x562 in log_test ../src/log/log_test.c:32
    #3 0x563 in main ../test/test_main.c:32
SUMMARY: AddressSanitizer: heap-use-after-free ../src/log/log.c:12 in log_close
LOG
says pytest 1 3 'FAILED test_a.py::test_one - AssertionError: 1 != 2
FAILED test_a.py::test_two - ValueError: no
and 2 lines of the kind more' <<'LOG'
..FF.                                                                    [100%]
=================================== FAILURES ===================================
___________________________________ test_one ___________________________________
E       assert 1 == 2
=========================== short test summary info ============================
FAILED test_a.py::test_one - AssertionError: 1 != 2
FAILED test_a.py::test_two - ValueError: no
ERROR test_a.py::test_three - OSError
FAILED test_a.py::test_four - ValueError: no
3 failed, 3 passed in 0.10s
3 passed, 3 failed
LOG
says "pytest, too late" 124 5 'it did not end within its time and was stopped
too slow:   File "/m/test/clients/test_a.py", line 12 in test_waits
!!!!!!!!!!!!!!!!!!!!!!!!!!!!! KeyboardInterrupt !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
/m/test/clients/conftest_shared.py:90: KeyboardInterrupt' <<'LOG'
..Timeout (0:05:00)!
Thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/subprocess.py", line 264 in wait
  File "/m/test/clients/test_a.py", line 12 in test_waits
!!!!!!!!!!!!!!!!!!!!!!!!!!!!! KeyboardInterrupt !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
/m/test/clients/conftest_shared.py:90: KeyboardInterrupt
(to show a full traceback on KeyboardInterrupt use --full-trace)
2 passed in 900.10s
LOG
says simulator 1 5 'seed 17 of node: an acknowledged record is gone
again: moldau-sim --what node --seed 17 --events 10000' <<'LOG'

seed 17 of node: an acknowledged record is gone
  settings: shards=2
      1.000000 s  1  crash
again: moldau-sim --what node --seed 17 --events 10000
node: 10000 events
59 passed, 1 failed
LOG
says compiler 1 5 "../src/log/log.c:12:5: error: 'x' undeclared
dev: the build in build failed" <<'LOG'
FAILED: libmoldau.a.p/src_log_log.c.o
gcc -Ilibmoldau.a.p -c ../src/log/log.c
../src/log/log.c: In function 'f':
../src/log/log.c:12:5: error: 'x' undeclared
dev: the build in build failed
LOG
says "a client of the matrix" 1 5 'FAILED kafka-python groups: the group did not get there' <<'LOG'
kafka-python groups: failed (60.0 s): the group did not get there
FAILED kafka-python groups: the group did not get there
1 refused because it is not served yet
375 passed, 1 failed
LOG
says "a script that is not known" 1 3 'two
three
four' <<'LOG'
one
two
three
four
0 passed, 1 failed
LOG
long=$(printf 'x%.0s' $(seq 500))
says "a long line" 1 1 "FAILED: a ${long:0:227}..." <<<"FAILED: a $long"
says "nothing at all" 1 3 'it said nothing and ended with status 1' </dev/null
says "nothing said" 139 3 'it was ended by signal 11' </dev/null
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
