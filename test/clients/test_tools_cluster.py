"""kafka-features.sh, kafka-metadata-quorum.sh, kafka-cluster.sh and kafka-broker-api-versions.sh against a node; what is made of the
table of tools."""
import re
import subprocess

import pytest

from conftest_shared import MOLDAU, TOOLS, run


def tool(name, *words, **more):
    return run(TOOLS / f"kafka-{name}.sh", *words, **more)


def to(node):
    return ["--bootstrap-server", node.address]


def test_features(node):
    rows = [re.split(r" {2,}", line) for line in tool("features", *to(node), "describe").stdout.splitlines()]
    names = [row[0].removeprefix("Feature: ") for row in rows]
    assert names == sorted(names) and {"metadata.version", "group.version", "kraft.version"} <= set(names)
    metadata = rows[names.index("metadata.version")]
    assert metadata[1:4] == ["SupportedMinVersion: 3.3-IV3", "SupportedMaxVersion: 4.4-IV2", "FinalizedVersionLevel: 4.4-IV2"]
    assert re.fullmatch(r"Epoch: \d+", metadata[4])
    assert run(MOLDAU, "features", "describe", *to(node), "--node-id", "1").stdout.splitlines()[0].startswith("Feature: eligible")
    mapping = tool("features", "version-mapping", "--release-version", "3.9").stdout
    assert mapping == tool("storage", "version-mapping", "--release-version", "3.9").stdout


@pytest.mark.parametrize("words, said", [
    (["upgrade"], "You must specify at least one feature to upgrade"), (["disable"], "You must specify at least one feature to disable"),
    (["upgrade", "--feature", "x"], "Can't parse feature=level string x: equals sign not found."),
    (["upgrade", "--feature", "x=y"], "Can't parse feature=level string x=y: unable to parse y as a short."),
    (["upgrade", "--feature", "x=1", "--feature", "x=2"], "Feature x was specified more than once."),
    (["upgrade", "--release-version", "4.0", "--feature", "x=1"], "Can not specify `release-version` with other feature flags."),
    (["upgrade", "--release-version", "9.9"], "Unknown metadata.version '9.9'. Supported metadata.version are: 3.3-IV3, "),
    (["version-mapping", "--release-version", "9.9"], "Unknown metadata.version '9.9'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, "),
])
def test_features_that_cannot_be_asked_for(node, words, said):
    done = tool("features", *to(node), *words, check=False)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith(said)


def test_the_quorum(node):
    lines = dict(line.split(":", 1) for line in tool("metadata-quorum", *to(node), "describe", "--status").stdout.splitlines())
    assert list(lines) == ["ClusterId", "LeaderId", "LeaderEpoch", "HighWatermark", "MaxFollowerLag", "MaxFollowerLagTimeMs", "CurrentVoters", "CurrentObservers"]
    assert lines["LeaderId"].strip() == "1" and lines["MaxFollowerLag"].strip() == "0" and lines["CurrentObservers"].strip() == "[]"
    assert re.fullmatch(r'\[\{"id": 1(, "directoryId": "[\w-]{22}")?, "endpoints": \["CONTROLLER://localhost:\d+"\]\}\]', lines["CurrentVoters"].strip())
    head, row = tool("metadata-quorum", *to(node), "describe", "--replication").stdout.splitlines()
    assert [cell.strip() for cell in head.split("\t")] == ["NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status", ""]
    cells = [cell.strip() for cell in row.split("\t")]
    assert (cells[0], cells[3], cells[6]) == ("1", "0", "Leader") and int(cells[2]) > 0
    assert " ms ago" in tool("metadata-quorum", *to(node), "describe", "--replication", "--human-readable").stdout


@pytest.mark.parametrize("words, said", [
    (["describe"], "One of --status or --replication must be specified with describe sub-command"),
    (["describe", "--status", "--human-readable"], "The option --human-readable is only supported along with --replication"),
    (["add-controller"], "You must supply the configuration file of the controller you are adding when using add-controller."),
    (["remove-controller", "--controller-id", "-1", "--controller-directory-id", "AAAAAAAAAAAAAAAAAAAAAQ"], "Invalid negative --controller-id: -1"),
    (["frob"], "kafka-metadata-quorum: error: invalid choice: 'frob' (choose from 'describe', 'add-controller', 'remove-controller')"),
])
def test_quorums_that_cannot_be_asked_for(node, words, said):
    done = tool("metadata-quorum", *to(node), *words, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said + "\n")


def test_controllers_come_and_go_on_paper(node, tmp_path):
    config = tmp_path / "server.properties"
    config.write_text(f"process.roles=controller\nnode.id=3\nlog.dirs={tmp_path}/data\nlisteners=CONTROLLER://:9095\ncontroller.listener.names=CONTROLLER\n"
                      "controller.quorum.bootstrap.servers=localhost:9095\n")
    tool("storage", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config, "--no-initial-controllers")
    id = re.search("directory.id=(\\S+)", (tmp_path / "data" / "meta.properties").read_text()).group(1)
    dry = tool("metadata-quorum", *to(node), "--command-config", config, "add-controller", "--dry-run").stdout
    assert dry == f"DRY RUN of adding controller 3 with directory id {id} and endpoints: CONTROLLER://localhost:9095\n"
    dry = tool("metadata-quorum", *to(node), "remove-controller", "-i", "3", "-d", id, "--dry-run").stdout
    assert dry == f"DRY RUN of removing  KRaft controller 3 with directory id {id}\n"


def test_the_cluster(node):
    id = tool("cluster", "cluster-id", *to(node)).stdout
    assert re.fullmatch(r"Cluster ID: [\w-]{22}\n", id)
    head, row = tool("cluster", "list-endpoints", *to(node)).stdout.splitlines()
    assert head.split() == ["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"] and row.split() == ["1", "localhost", str(node.port), "null", "unfenced", "broker"]
    wrong = tool("cluster", "cluster-id", check=False)
    assert wrong.returncode == 1 and wrong.stderr.endswith("error: one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required\n")


def test_versions_of_apis(node):
    lines = tool("broker-api-versions", *to(node)).stdout.splitlines()
    assert lines[0] == f"localhost:{node.port} (id: 1 rack: null isFenced: false) -> (" and lines[-1] == ")"
    assert "\tProduce(0): 0 to 13 [usable: 13]," in lines and not lines[-2].endswith(",")
    assert all(re.fullmatch(r"\t\w+\(\d+\): (UNSUPPORTED|\d+( to \d+)? \[usable: \d+\]),?", line) for line in lines[1:-1])


# ---- what is made of the table


def complete(*words):
    script = 'eval "$("$0" completion bash)"; COMP_WORDS=("${@}"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _moldau; echo "${COMPREPLY[*]}"'
    return subprocess.run(["bash", "-c", script, str(MOLDAU), *words], capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes():
    assert complete("moldau", "consumer-g") == ["consumer-groups"]
    assert complete("/usr/bin/kafka-consumer-groups.sh", "--to-e") == ["--to-earliest"]
    assert complete("kafka-features.sh", "--bootstrap-server", "x", "up") == ["upgrade"]
    assert complete("moldau", "features", "--bootstrap-server", "x", "describe", "--n") == ["--node-id"]
    assert complete("kafka-storage.sh", "format", "--clu") == ["--cluster-id"]


def test_manual_pages(tmp_path):
    run(MOLDAU, "man", tmp_path)
    pages = {path.name: path.read_text() for path in tmp_path.iterdir()}
    for verb in ("topics", "consumer-groups", "configs", "features"):
        assert f".TP\n.BR moldau\\-{verb}".replace("consumer-groups", "consumer\\-groups") in pages["moldau.1"] and f"moldau-{verb}.1" in pages
    page = pages["moldau-features.1"]
    assert page.startswith(".TH MOLDAU\\-FEATURES 1\n") and ".SH VERB upgrade\n" in page and "\\-\\-dry\\-run" in page
    for text in pages.values():
        assert not re.search("^\\.(?!TH|SH|TP|BR|B |br)", text, re.M)  # no help text is taken for a request
