"""The clients of the matrix: where each driver lies, what it needs, how it is built and called.

`tools` are programs that have to be there (./dev installs them from Debian's packages where they are not). A build command
runs in the driver's folder; {out} is the client's own folder under build/matrix.
"""
import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Client:
    id: str
    name: str  # as the page says it
    folder: str
    sources: tuple  # what the build is made of: built again when one of them has changed
    tools: tuple
    build: tuple
    command: tuple


def python(id, name, file):
    return Client(id, name, "python", ("requirements.txt",), ("python3",), (), ("{venv}/bin/python", "-B", f"{HERE}/python/{file}"))


CLIENTS = [
    python("confluent-kafka-python", "confluent-kafka (Python)", "confluent.py"),
    python("kafka-python", "kafka-python", "kafka_python.py"),
    python("aiokafka", "aiokafka", "aiokafka_driver.py"),
]
