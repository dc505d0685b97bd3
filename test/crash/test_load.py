"""The model of load.py sees what it is to see: the same reads with and without a planted mistake."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from load import Load, Wrong  # noqa: E402


class Replayed(Load):
    """Reads what it is given."""

    def __init__(self, records):
        super().__init__("nowhere:0", 1)
        self.records = records

    def read(self, topic, partition, from_, isolation="read_uncommitted"):
        self.low, self.high = 0, len(self.records)
        for offset, value in list(enumerate(self.records))[from_:]:
            yield offset, None, value.encode()


def told(load, offsets):
    for number, offset in enumerate(offsets):
        load.acks["plain", 0][offset] = ("p0", number)


def test_plain_records_in_order():
    """Sent one after the other, one of them twice, because nobody answered: that is as it should be."""
    load = Replayed(["p0:0:", "p0:1:", "p0:1:", "p0:2:"])
    told(load, [0, 2, 3])
    assert load.check_log("plain", 0, False) == 4


def test_plain_records_swapped():
    """The same two records, each where it was told to be, but the later one before the earlier."""
    load = Replayed(["p0:0:", "p0:2:", "p0:1:"])
    told(load, [0, 2, 1])
    with pytest.raises(Wrong, match="p0:1 was acknowledged at 2, and p0:2 before it at 1"):
        load.check_log("plain", 0, False)
