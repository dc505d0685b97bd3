#!/usr/bin/env python3
"""Lines of the decoders that a fuzz target's inputs reach: `./dev fuzz-coverage [NAME...] [--missed]`.

Usage: fuzz_coverage.py BUILD FUZZ_BUILD [--missed] NAME...
BUILD is made by clang with -fprofile-instr-generate -fcoverage-mapping. Each target's runner goes once over its seeds, what
is kept in test/fuzz/NAME and what libFuzzer found in FUZZ_BUILD/corpus-NAME; then lines of DECODERS are counted.
"""
import os
import re
import subprocess
import sys

# Target -> its decoder: files, or file:regex for those functions of a file that read what comes from outside.
CODEC = ["wire/codec.c:^(read_|skip_|wire_decode|wire_init|wire_array|wire_element)"]
DECODERS = {
    "batch": ["wire/batch.c"],
    "batch-old": ["wire/batch_old.c"],
    "cli-text": ["cli/args.c:^(args_|find|give|read)", "cli/record_text.c"],
    "compress": ["wire/compress.c:unpack|_open|_read|_block|block_|room_left|take|zstd_whole|xxh32"],
    "group": ["group/group.c:^(decode|apply|turn_into|forget|record_|group_apply)", "group/offsets.c:apply", "group/members.c:apply|set_protocols|member_new"],
    "log-files": ["log/checkpoint.c:parse|line|number|field|property|unescape", "log/index_txn.c:check|search|bytes_before|decode", "log/producer.c:snapshot|load_entry"],
    "metadata-log": ["meta/delta.c"],
    "node": ["broker/dispatch.c", "broker/request.c", "net/stream.c"],
    "properties": ["meta/config_file.c", "meta/config.c:parse|valid|list|check|range|type|one_of|throttled|repeats"],
    "quorum-files": ["quorum/state_file.c:parse|read_", "quorum/snapshot_file.c:parse|reader|read_control|digits", "quorum/records.c:parse", "raft/voters.c:parse"],
    "recover": ["log/recover.c", "log/recover_walk.c", "log/recover_end.c", "log/cut.c", "log/listing.c", "log/scan.c"],
    "verify": ["log/verify.c"],
    "wire-header": CODEC + ["wire/header.c:request_header"],
    "wire-records_coord": CODEC + ["wire/record_frame.c:_open$"],
    "wire-records_data": CODEC + ["wire/record_frame.c:_open$"],
    "wire-records_meta": CODEC + ["wire/record_frame.c:_open$"],
}


def decoders_of(name):
    return DECODERS.get(name) or (CODEC if name.startswith("wire-") else [])


def lines_of(lcov):
    """{file: ({line: count}, [(first line, function)])} of what llvm-cov says in lcov's form."""
    files, lines, functions = {}, None, None
    for row in lcov.splitlines():
        kind, _, rest = row.partition(":")
        if kind == "SF":
            lines, functions = {}, []
            files[rest] = (lines, functions)
        elif kind == "FN":
            first, _, function = rest.partition(",")
            functions.append((int(first), function.rpartition(":")[2]))
        elif kind == "DA":
            line, count = rest.split(",")[:2]
            lines[int(line)] = int(count)
    return files


def chosen(lines, functions, pattern):
    """The lines of the functions that the pattern finds; of all, if there is none."""
    functions.sort()
    if not pattern:
        return lines
    wanted = {}
    for i, (first, function) in enumerate(functions):
        last = functions[i + 1][0] if i + 1 < len(functions) else max(lines) + 1
        if re.search(pattern, function):
            wanted.update({line: count for line, count in lines.items() if first <= line < last})
    return wanted


together = {}  # decoder -> {line: count} over all targets that reach it


def measure(build, fuzz_build, name, missed):
    runner = f"{build}/test/fuzz-{name}-run"
    raw, merged = f"{build}/fuzz-{name}.profraw", f"{build}/fuzz-{name}.profdata"
    corpus = f"{fuzz_build}/corpus-{name}"
    run = subprocess.run([runner, "--runs", "0"] + ([corpus] if os.path.isdir(corpus) else []), capture_output=True, text=True,
                         env=dict(os.environ, LLVM_PROFILE_FILE=os.path.abspath(raw)))
    if run.returncode:
        print(run.stderr, file=sys.stderr)
        return False
    inputs = re.search(r"(\d+) inputs", run.stdout)[1]
    subprocess.run(["llvm-profdata-14", "merge", "-sparse", raw, "-o", merged], check=True)
    os.remove(raw)
    lcov = subprocess.run(["llvm-cov-14", "export", "-format=lcov", runner, f"-instr-profile={merged}"], check=True, capture_output=True, text=True).stdout
    files = lines_of(lcov)
    for decoder in decoders_of(name):
        path, _, pattern = decoder.partition(":")
        full = next((f for f in files if f.endswith("/src/" + path)), None)
        lines = chosen(*files[full], pattern) if full else {}
        if not lines:
            print(f"{name:20} {path}: nothing of it is in the target", file=sys.stderr)
            return False
        reach = together.setdefault(decoder, {})
        for line, count in lines.items():
            reach[line] = reach.get(line, 0) + count
        reached = sum(1 for count in lines.values() if count)
        print(f"{name:20} {inputs:>7} inputs  {path:22} {reached:5} of {len(lines):5} lines {100 * reached / len(lines):6.1f} %")
        if missed:
            text = open(full).read().splitlines()
            for line in sorted(line for line, count in lines.items() if not count):
                print(f"    {path}:{line}: {text[line - 1].strip()}")
    return True


def main():
    build, fuzz_build, *names = sys.argv[1:]
    missed = "--missed" in names
    results = [measure(build, fuzz_build, name, missed) for name in sorted(names) if name != "--missed"]
    for decoder in CODEC:
        lines = together.get(decoder, {})
        if lines:
            reached = sum(1 for count in lines.values() if count)
            print(f"{'wire, all together':34}  {decoder.partition(':')[0]:22} {reached:5} of {len(lines):5} lines {100 * reached / len(lines):6.1f} %")
            for line in sorted(line for line, count in lines.items() if not count and missed):
                print(f"    {decoder.partition(':')[0]}:{line}")
    sys.exit(0 if all(results) else 1)


main()
