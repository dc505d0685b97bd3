"""moldau config: says what a file means without starting anything; prints the reference of all keys."""
import socket

import pytest

from conftest_shared import MOLDAU, ROOT, run

FILE = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{listen}:9092,CONTROLLER://127.0.0.1:9093
{advertise}
log.dirs=/nowhere/data
"""


def check(tmp_path, *words, listen="127.0.0.1", advertise="", more=""):
    file = tmp_path / "server.properties"
    file.write_text(FILE.format(listen=listen, advertise=advertise) + more)
    return run(MOLDAU, "config", "check", file, *words, check=False)


def leads_somewhere(name):
    try:
        return bool(socket.getaddrinfo(name, None))
    except OSError:
        return False


def test_reference_is_current():
    """docs/config.md is what the program prints: after a change of the table, print it again."""
    assert run(MOLDAU, "config", "doc").stdout == (ROOT / "docs" / "config.md").read_text()


def test_who_may_read_metrics(tmp_path):
    """Said with where they are served, unless that is the loopback; nothing where they are not."""
    assert "Metrics:" not in check(tmp_path).stdout
    assert "Metrics: http://127.0.0.1:9404/metrics\n" in check(tmp_path, more="moldau.http.listener=localhost:9404\n").stdout
    assert "Metrics: http://[2001:db8::1]:80/metrics; whoever reaches it" in check(tmp_path, more="moldau.http.listener=[2001:db8::1]:80\n").stdout
    assert "Metrics: http://0.0.0.0:9404/metrics; whoever reaches it" in check(tmp_path, more="moldau.http.listener=:9404\n").stdout


def test_a_good_file(tmp_path):
    """Nothing is wrong, nothing is started: the data directory does not come into being."""
    done = check(tmp_path)
    assert done.returncode == 0
    assert "The node would start.\n" in done.stdout
    assert "problem" not in done.stdout and "Without effect" not in done.stdout
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("line,sentence", [
    ("num.partitions=many", 'num.partitions is "many"'),
    ("log.segment.bytes=10", 'log.segment.bytes is "10"'),
    ("compression.type=brotli", 'compression.type is "brotli"'),
    ("node.id=-5", "node.id"),
    ("authorizer.class.name=a.B", "authorizer.class.name"),
    ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "clients cannot connect to every address at once"),
    ("inter.broker.listener.name=INSIDE", "inter.broker.listener.name=INSIDE: is not in listeners"),
    ("listeners=PLAINTEXT://:9092,CONTROLLER://:9092", "two listeners have the same port"),
    ("replica.fetch.wait.max.ms=30001", "replica.fetch.wait.max.ms is 30001"),
])
def test_wrong_values(tmp_path, line, sentence):
    """One sentence that names the key, exit status 1; the server says the same sentence instead of starting."""
    done = check(tmp_path, more=line + "\n")
    assert done.returncode == 1
    assert sentence in done.stdout and "would not start" in done.stdout
    started = run(MOLDAU, "server", tmp_path / "server.properties", check=False)
    assert started.returncode == 1
    assert sentence in started.stderr
    assert "ready" not in started.stdout


def test_what_has_no_effect(tmp_path):
    """Unknown keys with the nearest one, topics' keys, keys of the JVM."""
    done = check(tmp_path, more="log.retension.hours=5\nretention.ms=5\nmetric.reporters=a.B\nmy.plugin.key=1\n")
    assert done.returncode == 0
    for line in ("was log.retention.hours meant?", "for all topics it is log.retention.ms", "metric.reporters has no effect here", "my.plugin.key is not a key"):
        assert line in done.stdout


def test_listens_for_the_network_and_tells_loopback(tmp_path):
    """The mistake that everybody makes once: it is called a problem, and who suffers is told."""
    done = check(tmp_path, "--client", "192.0.2.7", "--client", "127.0.0.1", listen="", advertise="advertised.listeners=PLAINTEXT://localhost:9092")
    assert done.returncode == 0
    assert "told to connect to localhost:9092" in done.stdout
    assert "problem: it listens for the network and tells clients to go to loopback" in done.stdout
    assert "clients may not reach it" in done.stdout
    other, own = done.stdout.split("A client at 192.0.2.7, another machine")[1].split("A client at 127.0.0.1, which is this machine")
    assert "looks for the node on itself: it fails" in other
    assert "is told localhost:9092, and reaches it" in own


def test_listens_by_name_and_tells_its_own(tmp_path):
    """A host may be a name that leads to this machine; who listens everywhere tells this machine's name, as in Kafka."""
    named = check(tmp_path, listen=socket.gethostname()) if leads_somewhere(socket.gethostname()) else check(tmp_path, listen="localhost")
    assert named.returncode == 0, named.stdout
    everywhere = check(tmp_path, listen="").stdout
    name = socket.gethostname() if leads_somewhere(socket.gethostname()) else "localhost"
    assert f"told to connect to {name.split('.')[0]}" in everywhere


def test_what_files_of_others_hold(tmp_path):
    """A key that is there twice is told with its lines; continued lines, escapes, blanks and tabs are read as Java reads them; addresses of
    IPv6 are told in brackets; what went with ZooKeeper is told as that."""
    done = check(tmp_path, listen="[::1]", more="num.partitions=2\nnum.partitions : \\\n   \\u0033 \nzookeeper.connect=localhost:2181\nbroker.rack\t=\tr\\u00e4\n")
    assert done.returncode == 0, done.stdout
    assert "num.partitions is there twice, in lines 8 and " in done.stdout
    assert "told to connect to [::1]:9092." in done.stdout
    assert "zookeeper.connect is of the time of ZooKeeper" in done.stdout


def test_advertises_what_is_not_here(tmp_path):
    """An address of somebody else, and a name that leads nowhere."""
    elsewhere = check(tmp_path, listen="0.0.0.0", advertise="advertised.listeners=PLAINTEXT://192.0.2.1:19092").stdout
    assert "told to connect to 192.0.2.1:19092" in elsewhere and "not an address of this machine" in elsewhere and "leads to 9092 here" in elsewhere
    nowhere = check(tmp_path, listen="0.0.0.0", advertise="advertised.listeners=PLAINTEXT://no-such-host.invalid:9092").stdout
    assert "no-such-host.invalid leads nowhere" in nowhere


def test_usage(tmp_path):
    assert run(MOLDAU, "config", check=False).returncode == 1
    assert run(MOLDAU, "config", "--help").returncode == 0
    assert run(MOLDAU, "config", "check", tmp_path / "missing", check=False).returncode == 1


PROVIDERS = "org.apache.kafka.common.config.provider."


def test_values_from_elsewhere(tmp_path, monkeypatch):
    """From a file, a directory and the environment, in parts of a value, too; what is not there stays as it is written; an unknown
    provider's text, and one without a class, too. A format reads them, and makes the folders above its own."""
    (tmp_path / "more.properties").write_text("rack=r1\nparts=7\n")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "id").write_text("5")
    monkeypatch.setenv("MOLDAU_TEST_DATA", str(tmp_path / "data"))
    more = f"""config.providers=file,dir,env,none
config.providers.file.class={PROVIDERS}FileConfigProvider
config.providers.file.param.allowed.paths={tmp_path}
config.providers.dir.class={PROVIDERS}DirectoryConfigProvider
config.providers.env.class={PROVIDERS}EnvVarConfigProvider
num.partitions=${{file:{tmp_path}/more.properties:parts}}
node.id=${{dir:{tmp_path}/dir:id}}
controller.quorum.voters=${{dir:{tmp_path}/dir:id}}@localhost:9093
log.dirs=${{env:MOLDAU_TEST_DATA}}/logs
broker.rack=a${{file:{tmp_path}/more.properties:rack}}b${{none:x}}${{other:x:y}}${{env:MOLDAU_TEST_NOT_SET}}
"""
    done = check(tmp_path, more=more)
    assert done.returncode == 0, done.stdout
    assert "Without effect" not in done.stdout
    assert f"Node 5; data in {tmp_path}/data/logs" in done.stdout
    done = check(tmp_path, more=more + "num.partitions=x${file:%s/more.properties:rack}y${none:x}${other:x:y}${env:MOLDAU_TEST_NOT_SET}z\n" % tmp_path)
    assert 'num.partitions is "xr1y${none:x}${other:x:y}${env:MOLDAU_TEST_NOT_SET}z"' in done.stdout
    check(tmp_path, more=more)
    run(MOLDAU, "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", tmp_path / "server.properties")
    assert "node.id=5" in (tmp_path / "data" / "logs" / "meta.properties").read_text()


@pytest.mark.parametrize("more,sentence", [
    ("config.providers=v\nconfig.providers.v.class=com.example.Vault\n", "com.example.Vault: a Java class that cannot be run here"),
    (f"config.providers=f\nconfig.providers.f.class={PROVIDERS}FileConfigProvider\nbroker.rack=${{f:/no/such:x}}\n", "/no/such: No such file"),
    (f"config.providers=f\nconfig.providers.f.class={PROVIDERS}FileConfigProvider\nconfig.providers.f.param.allowed.paths=/no/such\n",
     "/no/such: allowed.paths wants absolute paths that exist"),
])
def test_providers_that_cannot_be(tmp_path, more, sentence):
    """The start stops with a sentence where Kafka's does: an unknown class, a file that is not there, a path that does not exist."""
    done = check(tmp_path, more=more)
    assert done.returncode == 1 and sentence in done.stdout


def test_the_former_name_of_the_id(tmp_path):
    """broker.id alone is node.id."""
    done = check(tmp_path)
    text = (tmp_path / "server.properties").read_text().replace("node.id=1", "broker.id=1")
    (tmp_path / "server.properties").write_text(text)
    assert "\nNode 1; " in run(MOLDAU, "config", "check", tmp_path / "server.properties").stdout
