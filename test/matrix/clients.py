"""The clients of the matrix: where each driver lies, what it needs, how it is built and called.

`tools` are programs that have to be there (./dev installs a language's). A build command runs in the driver's folder; {out} is
the client's own folder under build/matrix.
"""
import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Client:
    id: str
    name: str  # as the page says it
    language: str
    folder: str
    sources: tuple  # what the build is made of: built again when one of them has changed
    tools: tuple
    build: tuple
    command: tuple


def python(id, name, file):
    return Client(id, name, "python", "python", ("requirements.txt",), ("python3",), (), ("{venv}/bin/python", "-B", f"{HERE}/python/{file}"))


def go(id, name):
    return Client(id, name, "go", "go", ("go.mod", "go.sum", "rule/rule.go", f"{id}/main.go"), ("go",), (f"go build -mod=readonly -trimpath -o {{out}}/driver ./{id}",), ("{out}/driver",))


def node(id, name, more=""):
    # The modules are installed beside the build, by the lock file; headers are those of the Node that runs them.
    build = (f"cp {id}/package.json {id}/package-lock.json {{out}}/",
             f"cd {{out}} && export npm_config_nodedir=$(node -p 'require(\"path\").resolve(process.execPath, \"../..\")') && {more}npm ci --no-audit --no-fund")
    return Client(id, name, "node", "node", (f"{id}/package.json", f"{id}/package-lock.json"), ("node", "npm", "make", "g++"), build,
                  ("env", "MATRIX_MODULES={out}/node_modules", "node", f"{HERE}/node/{id}/main.js"))


def java(id, name, version):
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
    build = (f"rm -rf {{out}}/lib; mvn -B -q -f pom.xml -Dclients.version={version} {copy} -DincludeScope=runtime -DoutputDirectory={{out}}/lib",
             "javac -nowarn -d {out}/classes -cp '{out}/lib/*' Driver.java")
    # as a small program: neither the large heap nor the optimizing compiler is worth its start
    command = ("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", "{out}/classes:{out}/lib/*", "Driver")
    return Client(id, name, "java", "java", ("pom.xml", "Driver.java"), ("java", "javac", "mvn"), build, command)


CLIENTS = [
    java("java-4", "Apache Kafka's Java clients 4", "4.4.0"),
    java("java-3", "Apache Kafka's Java clients 3", "3.9.2"),
    Client("librdkafka-c", "librdkafka (C)", "c", "librdkafka-c", ("driver.c",), ("gcc",), ("gcc -std=gnu17 -O1 driver.c -o {out}/driver -lrdkafka -lpthread",), ("{out}/driver",)),
    python("confluent-kafka-python", "confluent-kafka (Python)", "confluent.py"),
    python("kafka-python", "kafka-python", "kafka_python.py"),
    python("aiokafka", "aiokafka", "aiokafka_driver.py"),
    # built here, of the package alone: linked statically, librdkafka's own configure would fetch its libraries' sources
    node("kafka-javascript", "@confluentinc/kafka-javascript (Node)", "CKJS_LINKING=dynamic npm_config_build_from_source=true "),
    node("kafkajs", "kafkajs (Node)"),
    go("confluent-kafka-go", "confluent-kafka-go (Go)"),
    go("franz-go", "franz-go (Go)"),
    go("sarama", "sarama (Go)"),
    go("kafka-go", "segmentio kafka-go (Go)"),
    Client("rskafka", "rskafka (Rust)", "rust", "rskafka", ("Cargo.toml", "versions.lock", "src/main.rs"), ("cargo",), (
        "mkdir -p {out}/src; cp Cargo.toml {out}/; cp src/main.rs {out}/src/; cd {out}; rm -f Cargo.lock; cargo generate-lockfile -q",
        # cargo has named the registry that it takes crates from; what it takes is what versions.lock says
        "cd {out}; from=$(grep -m1 '^source = ' Cargo.lock); sed \"/^checksum = /i $from\" {here}/versions.lock >Cargo.lock; cargo build -q --locked --target-dir {out}/target",
    ), ("{out}/target/debug/matrix-rskafka",)),
]
