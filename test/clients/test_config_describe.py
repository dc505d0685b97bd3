"""DescribeConfigs beside what Apache Kafka 4.4.0 answered on the same file: test/configs/described.properties, describe.tsv."""
import subprocess
import time

import pytest

from conftest_shared import MOLDAU, ROOT, free_port, run
from messages import Connection

GOLDEN = ROOT / "test" / "configs"


@pytest.fixture
def described(tmp_path):
    """What the golden lines are about, with this node's ports and directory; and a connection to the node."""
    port, quorum = free_port(), free_port()
    fill = lambda text: text.replace("PORT", str(port)).replace("QUORUM", str(quorum)).replace("DIR", str(tmp_path))
    file = tmp_path / "server.properties"
    file.write_text(fill((GOLDEN / "described.properties").read_text()))
    run(MOLDAU, "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", file)
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([MOLDAU, "server", file], stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while b"ready" not in (tmp_path / "log").read_bytes():
        assert time.monotonic() < deadline and process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.02)
    connection = Connection(port)
    yield fill((GOLDEN / "describe.tsv").read_text()).splitlines(), connection
    connection.close()
    process.terminate()
    process.wait(20)


def line(resource, key):
    null = lambda value: "\\0" if value is None else value
    synonyms = ";".join(f'{one["Name"]}={null(one["Value"])}@{one["Source"]}' for one in key["Synonyms"])
    name = resource["ResourceName"] and ("node" if resource["ResourceType"] == 4 else "x")
    return "\t".join(str(field) for field in (resource["ResourceType"], name, resource["ErrorCode"], key["Name"], null(key["Value"]), key["ConfigSource"],
                                              key["ReadOnly"], key["IsSensitive"], key["ConfigType"], synonyms, bool(key["Documentation"])))


def test_all_is_told_as_apache_tells_it(described):
    """A broker, all brokers, a topic, a group and a subscription: each key with value, source, type, synonyms, whether it is
    read-only, sensitive and documented. Besides there are only Moldau's own."""
    golden, connection = described
    assert connection.ask("CreateTopics", 7, Topics=[{"Name": "plain", "NumPartitions": 1, "ReplicationFactor": 1, "Assignments": [], "Configs": []}],
                          timeoutMs=10000)["Topics"][0]["ErrorCode"] == 0
    answer = connection.ask("DescribeConfigs", 4, IncludeSynonyms=True, IncludeDocumentation=True, Resources=[
        {"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": None} for kind, name in ((4, "1"), (4, ""), (2, "plain"), (32, "g"), (16, "m"))])
    told = [line(resource, key) for resource in answer["Results"] for key in resource["Configs"] if not key["Name"].startswith(("moldau.", "io.backend"))]
    assert sorted(told) == sorted(golden)
