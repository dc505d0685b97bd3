"""Kafka's messages for the differential tester: tables, encoding and decoding come from Moldau's own library (wire.c)."""
import ctypes
import json
import pathlib
import struct
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[3]
_library = ctypes.CDLL(str(ROOT / "build" / "test" / "libmoldau-diff.so"))
for _name in ("diff_schema", "diff_encode", "diff_decode"):
    getattr(_library, _name).restype = ctypes.c_int64
_library.diff_crc32c.restype = ctypes.c_uint32
_memory = ctypes.create_string_buffer(32 << 20)


class Api:
    def __init__(self, row):
        self.key, self.name, self.min, self.max = row["key"], row["name"], row["min"], row["max"]
        self.flexible_request, self.flexible_response = row["flexible"]
        self.on_broker, self.request, self.response = row["broker"], row["request"], row["response"]


def _apis():
    size = _library.diff_schema(_memory, ctypes.c_size_t(len(_memory)))
    return [Api(row) for row in json.loads(ctypes.string_at(_memory, size))]


APIS = {api.name: api for api in _apis()}
BY_KEY = {api.key: api for api in APIS.values()}
ZERO_ID = "AAAAAAAAAAAAAAAAAAAAAA"


class Malformed(Exception):
    pass


def complete(struct_of, version, value):
    """The struct with what `value` leaves out at its default, and without what this version lacks."""
    out, bit = {}, 1 << version
    for field in struct_of["fields"]:
        name = field["name"]
        if not field["versions"] & bit:
            continue
        nullable = bool(field["nullable"] & bit)
        if name in value:
            given = value[name]
        elif field["tagged"]:
            continue
        elif field["type"] == "struct":
            given = {}
        else:
            given = field["default"]
            if given is None and not nullable:
                given = [] if field["type"] == "array" else ""
        if given is not None and field["type"] in ("struct", "pointer"):
            given = complete(field["of"], version, given)
        elif given is not None and field["type"] == "array" and field["of"]:
            given = [complete(field["of"], version, item) for item in given]
        out[name] = given
    return out


def _convert(api, version, is_response, text):
    size = _library.diff_encode(api.key, version, is_response, text.encode(), _memory, ctypes.c_size_t(len(_memory)))
    if size < 0:
        raise Malformed(f"{api.name} {version}: {_memory.value.decode(errors='replace')}: {text[:300]}")
    return ctypes.string_at(_memory, size)


def encode(api, version, body):
    return _convert(api, version, 0, json.dumps(complete(api.request, version, body)))


def decode(api, version, payload, is_response=1):
    size = _library.diff_decode(api.key, version, is_response, payload, ctypes.c_size_t(len(payload)), _memory, ctypes.c_size_t(len(_memory)))
    if size < 0:
        raise Malformed(f"{api.name} {version}: {_memory.value.decode(errors='replace')}: {payload[:200].hex()}")
    return json.loads(ctypes.string_at(_memory, size))


def frame(key, version, correlation, client, payload, flexible, tags=b"\0"):
    """A request's bytes, its size in front."""
    name = b"\xff\xff" if client is None else struct.pack(">h", len(client.encode())) + client.encode()
    head = struct.pack(">hhi", key, version, correlation) + name + (tags if flexible else b"")
    return struct.pack(">i", len(head) + len(payload)) + head + payload


# ---- record batches
def crc32c(data):
    return _library.diff_crc32c(data, ctypes.c_size_t(len(data)))


def varint(number, bits=32):
    number = ((number << 1) ^ (number >> (bits - 1))) & ((1 << bits) - 1)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def record(delta, key, value, timestamp_delta=0, headers=()):
    def sized(part):
        return varint(-1) if part is None else varint(len(part)) + part
    body = b"\0" + varint(timestamp_delta, 64) + varint(delta) + sized(key) + sized(value) + varint(len(headers))
    for name, content in headers:
        body += sized(name) + sized(content)
    return varint(len(body)) + body


def pack(codec, data):
    """What a client's compressor makes. Only gzip compresses; the others store the bytes as they are."""
    if codec == 1:
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        return packer.compress(data) + packer.flush()
    if codec == 2:  # Java's stream of snappy blocks, one block of one literal
        length, n = bytearray(), len(data)
        while n > 0x7F:
            length.append(n & 0x7F | 0x80)
            n >>= 7
        length.append(n)
        block = bytes(length) + (bytes([62 << 2]) + struct.pack("<I", len(data) - 1)[:3] + data if data else b"")
        if data:
            block = bytes(length) + bytes([62 << 2]) + struct.pack("<I", len(data) - 1)[:3] + data
        return b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1) + struct.pack(">i", len(block)) + block
    if codec == 3:  # a frame of independent blocks of at most 64 KiB, not compressed
        out = struct.pack("<I", 0x184D2204) + b"\x60\x40"
        out += bytes([xxh32(b"\x60\x40") >> 8 & 0xFF])
        for at in range(0, len(data), 65536):
            part = data[at:at + 65536]
            out += struct.pack("<I", len(part) | 0x80000000) + part
        return out + b"\0\0\0\0"
    if codec == 4:  # one frame of raw blocks
        out = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data))
        parts = [data[at:at + 65536] for at in range(0, len(data), 65536)] or [b""]
        for i, part in enumerate(parts):
            out += struct.pack("<I", len(part) << 3 | (i == len(parts) - 1))[:3] + part
        return out
    return data


def xxh32(data):
    """For inputs under 16 bytes, which is all that a frame's header needs."""
    mask, p2, p3, p4, p5 = 0xFFFFFFFF, 2246822519, 3266489917, 668265263, 374761393
    h = p5 + len(data) & mask
    for byte in data:
        h = h + byte * p5 & mask
        h = (h << 11 | h >> 21) & mask
        h = h * 2654435761 & mask
    h ^= h >> 15
    h = h * p2 & mask
    h ^= h >> 13
    h = h * p3 & mask
    return h ^ h >> 16


def batch(records, *, codec=0, attributes=0, base_offset=0, leader_epoch=-1, magic=2, crc=None, last_delta=None, base_time=0,
          max_time=None, producer=(-1, -1, -1), count=None, length=None, payload=None):
    """A batch of format 2. `records`: (key, value, timestamp delta, headers). Whatever is named is written as it is named."""
    plain = b"".join(record(i, *r) for i, r in enumerate(records))
    stored = pack(codec, plain) if payload is None else payload
    deltas = [r[2] if len(r) > 2 else 0 for r in records] or [0]
    body = struct.pack(">hiqqqhii", attributes | codec, len(records) - 1 if last_delta is None else last_delta, base_time,
                       base_time + max(deltas) if max_time is None else max_time, producer[0], producer[1], producer[2],
                       len(records) if count is None else count) + stored
    checksum = crc32c(body) if crc is None else crc
    size = 4 + 1 + 4 + len(body) if length is None else length
    return struct.pack(">qiibI", base_offset, size, leader_epoch, magic, checksum) + body


def batches(data):
    """The batches in a fetched run of bytes: header fields and payload. A partial one at the end is left out."""
    out, at = [], 0
    while at + 61 <= len(data):
        base, length, epoch, magic, crc = struct.unpack_from(">qiibI", data, at)
        if magic != 2 or length < 49 or at + 12 + length > len(data):
            break
        attributes, last, base_time, max_time, pid, pepoch, sequence, count = struct.unpack_from(">hiqqqhii", data, at + 21)
        out.append(dict(baseOffset=base, leaderEpoch=epoch, magic=magic, attributes=attributes, lastOffsetDelta=last, baseTime=base_time,
                        maxTime=max_time, producerId=pid, producerEpoch=pepoch, baseSequence=sequence, count=count, length=length,
                        crcIsRight=crc32c(data[at + 21:at + 12 + length]) == crc, payload=data[at + 61:at + 12 + length].hex()))
        at += 12 + length
    return out
