"""Record batches (version 2) byte by byte, and back: for what no producer would make."""
import gzip
import struct
import time

TABLE = []
for i in range(256):
    crc = i
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    TABLE.append(crc)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def zigzag(value):
    value = value << 1 ^ value >> 63
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def sized(data):
    return zigzag(-1) if data is None else zigzag(len(data)) + data


def now_ms():
    return int(time.time() * 1000)


def batch(values, timestamp=None, keys=None, timestamps=None, producer=(-1, -1, -1), codec=0, attributes=0, base=0):
    """One batch of these values; `timestamps` for each, or one for all. codec 0 none, 1 gzip."""
    timestamps = timestamps or [now_ms() if timestamp is None else timestamp] * len(values)
    records = b""
    for i, value in enumerate(values):
        body = b"\0" + zigzag(timestamps[i] - timestamps[0]) + zigzag(i) + sized(keys[i] if keys else None) + sized(value) + zigzag(0)
        records += zigzag(len(body)) + body
    if codec == 1:
        records = gzip.compress(records)
    tail = struct.pack(">hiqqqhii", codec | attributes, len(values) - 1, timestamps[0], max(timestamps), *producer, len(values)) + records
    return struct.pack(">qiibI", base, len(tail) + 9, -1, 2, crc32c(tail)) + tail


def batches(data):
    """The headers of whole batches, and their bytes of records."""
    out, at = [], 0
    while at + 12 <= len(data):
        base, size = struct.unpack_from(">qi", data, at)
        if at + 12 + size > len(data):
            break
        names = ("epoch", "magic", "crc", "attributes", "delta", "first_ms", "max_ms", "producer", "producer_epoch", "sequence", "count")
        header = dict(zip(names, struct.unpack_from(">ibIhiqqqhii", data, at + 12)), base=base)
        header["records"] = data[at + 61:at + 12 + size]
        assert crc32c(data[at + 21:at + 12 + size]) == header["crc"]
        out.append(header)
        at += 12 + size
    return out


def records(header):
    """(offset, timestamp, key, value) of a batch's records; uncompressed or gzip."""
    data = header["records"]
    if header["attributes"] & 7 == 1:
        data = gzip.decompress(data)
    assert header["attributes"] & 7 in (0, 1)
    at, out = 0, []

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value >> 1 ^ -(value & 1)

    def bytes_():
        nonlocal at
        size = varint()
        if size < 0:
            return None
        at += size
        return data[at - size:at]

    for _ in range(header["count"]):
        end = varint() + at
        at += 1
        timestamp, offset, key, value = varint(), varint(), bytes_(), bytes_()
        out.append((header["base"] + offset, header["first_ms"] + timestamp, key, value))
        at = end
    return out
