"""The page is what the stored results make, and no driver and no cell is missing."""
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import page  # noqa: E402
import titles  # noqa: E402
from clients import CLIENTS  # noqa: E402

EVERY = {
    "java-4", "java-3", "librdkafka-c", "confluent-kafka-python", "confluent-kafka-go", "kafka-javascript", "kafka-python", "aiokafka", "franz-go", "sarama",
    "kafka-go", "kafkajs", "rskafka",
}


def test_the_page_is_made_of_the_results():
    """Made anew of results.json the page is the one that is kept: neither is edited alone."""
    assert page.PAGE.read_text() == page.render(page.load())


def test_every_client_has_a_driver():
    """The list of clients is whole, their folders hold what they are built of, ./dev installs each one's language, and no result is kept of a
    client or a cell that there is not."""
    assert {c.id for c in CLIENTS} == EVERY
    dev = (HERE.parents[1] / "dev").read_text()
    named = re.search(r"^matrix_languages\(\).*?for language in ([a-z ]+); do$", dev, re.M | re.S)[1].split()
    assert set(named) == {c.language for c in CLIENTS}
    for client in CLIENTS:
        for name in client.sources:
            assert (HERE / client.folder / name).is_file(), (client.id, name)
    for rows in page.load()["brokers"].values():
        for id, row in rows.items():
            assert id in EVERY and set(row) <= set(titles.TITLES), id


def test_the_cells_are_those_of_the_contract():
    """README.md tells every capability that a cell asks a driver for (java-reads asks the Java driver, by `read`)."""
    told = set(re.findall(r"`([a-z0-9-]+)`", (HERE / "README.md").read_text()))
    assert set(titles.TITLES) - {"java-reads"} <= told
    text = (HERE / "cells.py").read_text()
    assert list(titles.TITLES) == ["none", "gzip", "snappy", "lz4", "zstd"] + re.findall(r'^    "([a-z-]+)": ', text[text.index("CELLS = {"):], re.M)


def test_nothing_failed_or_was_left_out_unsaid():
    """Whatever is not `passed` carries its reason."""
    for rows in page.load()["brokers"].values():
        for row in rows.values():
            for cell in row.values():
                assert cell["state"] in ("passed", "refused", "failed", "lacks", "not run")
                assert cell["state"] == "passed" or cell["why"]


def test_no_addresses_in_lock_files():
    """Lock files say what is installed, by version and checksum, not from where."""
    for path in HERE.rglob("package-lock.json"):
        assert not [1 for entry in json.loads(path.read_text())["packages"].values() if "resolved" in entry], path
