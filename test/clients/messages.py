"""Any request of any version, made from the message tables of src/wire/idl: for what no client library sends.

    connection = Connection(port)
    answer = connection.ask("DeleteRecords", 2, Topics=[{"Name": "t", "Partitions": [{"PartitionIndex": 0, "Offset": 5}]}])
    answer["Topics"][0]["Partitions"][0]["ErrorCode"]

Fields are given and answered under Kafka's names; what is not given has its default.
"""
import pathlib
import re
import socket
import struct
import uuid

IDL = pathlib.Path(__file__).resolve().parents[2] / "src" / "wire" / "idl"
FIXED = {"bool": "?", "int8": "b", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "float64": "d"}


def parse_range(text):
    low, _, high = text.partition("-")
    return (int(low[:-1]), 1 << 15) if text.endswith("+") else (int(low), int(high or low))


def within(versions, version):
    return versions is not None and versions[0] <= version <= versions[1]


class Field:
    def __init__(self, words, structs):
        self.name, self.type = words[0], words[1]
        self.versions = parse_range(words[2])
        self.tag, self.nullable, self.default, self.compact, self.fields, self.structs = None, None, None, True, [], structs
        rest = words[3:]
        while rest:
            word = rest.pop(0)
            if word == "tag":
                self.tag = int(rest.pop(0))
            elif word == "nullable":
                self.nullable = parse_range(rest.pop(0)) if rest and re.match(r"^\d", rest[0]) else (0, 1 << 15)
            elif word == "default":
                self.default = rest.pop(0)
            elif word == "noncompact":
                self.compact = False

    def element(self):
        return self.type.removeprefix("[]")

    def inner(self):
        return self.fields or self.structs[self.element()].fields

    def default_value(self):
        if self.default == "null":
            return None
        if self.type.startswith("[]"):
            return []
        if self.type in FIXED:
            return {None: 0, "true": True, "false": False}.get(self.default) if self.default in (None, "true", "false") else float(self.default) if self.type == "float64" else int(self.default, 0)
        if self.type == "uuid":
            return uuid.UUID(int=0)
        if self.type == "string":
            return (self.default or "").strip('"')
        if self.type in ("bytes", "records"):
            return b"" if self.type == "bytes" else None
        return {}


class Message:
    def __init__(self):
        self.fields = []


APIS = {}


def load():
    for path in sorted(IDL.glob("*.idl")):
        api, stack, structs = None, [], {}
        for line in path.read_text().splitlines():
            text = line.split("#")[0].rstrip()
            if not text.strip():
                continue
            indent, words = len(text) - len(text.lstrip()), text.split()
            if indent == 0 and words[0] not in ("request", "response"):
                api = None
                if words[0] == "api" and "versions" in words:
                    flexible = parse_range(words[words.index("flexible") + 1]) if "flexible" in words else None
                    api = {"key": int(words[1]), "versions": parse_range(words[4]), "flexible": flexible, "request": Message(), "response": Message()}
                    APIS[words[2]] = api
                continue
            if api is None:
                continue
            if indent == 0:
                structs = {}
                stack = [(0, api[words[0]])]
                continue
            while stack[-1][0] >= indent:
                stack.pop()
            if words[0] == "struct":
                field = Message()
                structs[words[1]] = field
            else:
                field = Field(words, structs)
                stack[-1][1].fields.append(field)
            stack.append((indent, field))


load()


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def encode_field(field, version, flexible, value):
    flexible = flexible and field.compact
    kind = field.type
    if kind in FIXED:
        return struct.pack(">" + FIXED[kind], value)
    if kind == "uuid":
        return value.bytes
    if kind == "string":
        data = None if value is None else value if isinstance(value, bytes) else value.encode()
        return (varint(0) if data is None else varint(len(data) + 1) + data) if flexible else struct.pack(">h", -1) if data is None else struct.pack(">h", len(data)) + data
    if kind in ("bytes", "records"):
        return (varint(0) if value is None else varint(len(value) + 1) + value) if flexible else struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    if kind.startswith("[]"):
        if value is None:
            return varint(0) if flexible else struct.pack(">i", -1)
        out = varint(len(value) + 1) if flexible else struct.pack(">i", len(value))
        return out + b"".join(encode_element(field, version, flexible, item) for item in value)
    out = b""
    if within(field.nullable, version):
        if value is None:
            return b"\xff"
        out = b"\x01"
    return out + encode_struct(field.inner(), version, flexible, value)


def encode_element(field, version, flexible, value):
    element = field.element()
    if element in FIXED or element in ("uuid", "string", "bytes"):
        return encode_field(Field([field.name, element, "0+"], {}), version, flexible, value)
    return encode_struct(field.inner(), version, flexible, value)


def encode_struct(fields, version, flexible, values):
    out, tags = b"", []
    unknown = set(values) - {field.name for field in fields}
    assert not unknown, unknown
    for field in fields:
        if not within(field.versions, version):
            continue
        if field.tag is not None:
            if field.name in values:
                data = encode_field(field, version, flexible, values[field.name])
                tags.append((field.tag, data))
            continue
        out += encode_field(field, version, flexible, values.get(field.name, field.default_value()))
    if flexible:
        out += varint(len(tags)) + b"".join(varint(tag) + varint(len(data)) + data for tag, data in sorted(tags))
    return out


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        assert count >= 0 and self.at + count <= len(self.data), "the answer is too short"
        self.at += count
        return self.data[self.at - count:self.at]

    def varint(self):
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def fixed(self, code):
        return struct.unpack(">" + code, self.take(struct.calcsize(">" + code)))[0]


def decode_field(field, version, flexible, reader):
    flexible = flexible and field.compact
    kind = field.type
    if kind in FIXED:
        return reader.fixed(FIXED[kind])
    if kind == "uuid":
        return uuid.UUID(bytes=reader.take(16))
    if kind == "string":
        size = reader.varint() - 1 if flexible else reader.fixed("h")
        return None if size < 0 else reader.take(size).decode(errors="replace")
    if kind in ("bytes", "records"):
        size = reader.varint() - 1 if flexible else reader.fixed("i")
        return None if size < 0 else reader.take(size)
    if kind.startswith("[]"):
        count = reader.varint() - 1 if flexible else reader.fixed("i")
        return None if count < 0 else [decode_element(field, version, flexible, reader) for _ in range(count)]
    if within(field.nullable, version) and reader.fixed("b") < 0:
        return None
    return decode_struct(field.inner(), version, flexible, reader)


def decode_element(field, version, flexible, reader):
    element = field.element()
    if element in FIXED or element in ("uuid", "string", "bytes"):
        return decode_field(Field([field.name, element, "0+"], {}), version, flexible, reader)
    return decode_struct(field.inner(), version, flexible, reader)


def decode_struct(fields, version, flexible, reader):
    out = {}
    for field in fields:
        if not within(field.versions, version):
            continue
        if field.tag is not None:
            out[field.name] = field.default_value()
        else:
            out[field.name] = decode_field(field, version, flexible, reader)
    if flexible:
        tagged = {field.tag: field for field in fields if field.tag is not None and within(field.versions, version)}
        for _ in range(reader.varint()):
            tag, size = reader.varint(), reader.varint()
            data = Reader(reader.take(size))
            if tag in tagged:
                out[tagged[tag].name] = decode_field(tagged[tag], version, flexible, data)
    return out


class Connection:
    """One connection; a request, then its answer."""

    def __init__(self, port, client="test"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.client = client
        self.correlation = 0

    def close(self):
        self.socket.close()

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def ask(self, name, version, **values):
        api = APIS[name]
        flexible = within(api["flexible"], version)
        self.correlation += 1
        client = self.client.encode()
        header = struct.pack(">hhih", api["key"], version, self.correlation, len(client)) + client + (b"\0" if flexible else b"")
        frame = header + encode_struct(api["request"].fields, version, flexible, values)
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        reader = Reader(self.exactly(struct.unpack(">i", self.exactly(4))[0]))
        assert reader.fixed("i") == self.correlation
        if flexible and api["key"] != 18:
            assert reader.varint() == 0
        answer = decode_struct(api["response"].fields, version, flexible, reader)
        assert reader.at == len(reader.data), "bytes behind the answer"
        return answer
