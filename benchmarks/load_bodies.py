"""Hostile bodies and requests: made by Hypothesis from the request's schema, then mutated by kinds that each have a name."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.load_wire import Address, post

BODY_LIMIT = 64 * 1024
Make = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Case:
    """One thing to send.

    Attributes:
        kind: what was done to it.
        sent: the bytes.
        answers: how many answers are owed; 0 where the framing is broken, so that any number may come before the close.
    """

    kind: str
    sent: bytes
    answers: int = 1


def hypothesis_bodies(examples: int) -> list[bytes]:
    """Bodies of requests as the schema allows them, and with some fields replaced by any JSON; the same each time."""
    found: list[bytes] = []

    @settings(
        max_examples=examples,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_REQUESTS)
    def collect(request: Any) -> None:
        found.append(json.dumps(request, ensure_ascii=len(found) % 2 == 0).encode("utf-8", "surrogatepass"))

    collect()
    return found


def cases(
    address: Address,
    path: str,
    bodies: Sequence[bytes],
    *,
    number: int,
    seed: int = 1,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Case]:
    """This many cases, kinds in turn so that each is met equally often; the same for the same seed.

    Args:
        address: of the server.
        path: of the endpoint.
        bodies: to mutate (`hypothesis_bodies`, and some that the server bids on).
        number: of cases.
        seed: of the choices.
        headers: sent with every well-framed request, such as the token.
    """
    rng = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    framed = [*BODIES, *(["plain"] * 2)]
    kinds = framed + list(WIRE)
    for at in range(number):
        kind, body = kinds[at % len(kinds)], rng.choice(bodies)
        if kind in WIRE:
            yield WIRE[kind](rng, address, path, body, dict(headers or {}))
            continue
        mutated = BODIES[kind](rng, body) if kind in BODIES else body
        yield Case(kind, post(address, path, mutated, {**(headers or {}), **_HEADERS.get(kind, {})}))


# What Hypothesis makes: each field as the schema has it, or, now and then, any JSON at all.
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def _mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 40).flatmap(lambda die: _ANY if die == 40 else right)


_NAME = st.integers(0, 200_000).map(str) | st.text(min_size=1, max_size=64)
_MONEY = _mostly(st.integers(1, 10**12)) | st.sampled_from([1, 10**12, 1, 10**12, 0, 10**12 + 1, 2**64, 1.0])
_CANDIDATE = st.fixed_dictionaries(
    {"id": _mostly(_NAME)},
    optional={
        "hotel_id": _mostly(st.text(max_size=64)),
        "check_in": _mostly(st.dates().map(str) | st.sampled_from(["0000-00-00", "9999-12-31", "2026-02-30", ""])),
        "los_nights": _mostly(st.integers(-1, 61)),
        "price_micros": _mostly(_MONEY),
        "rival_price_micros": _mostly(_MONEY),
        "default_date": _mostly(st.booleans()),
        "value_micros": _mostly(_MONEY),
    },
)
_USER = st.fixed_dictionaries(
    {}, optional={name: _mostly(st.text(max_size=12)) for name in ("partner", "market", "device", "country")}
)
_REQUESTS = st.fixed_dictionaries(
    {"key": _mostly(_NAME), "candidates": _mostly(st.lists(_mostly(_CANDIDATE), min_size=1, max_size=4))},
    optional={"user": _mostly(_USER)},
)


def _in_number(text: str) -> Make:
    """Put this literal where a number, or the first string, stands."""

    def make(_: random.Random, _body: bytes) -> bytes:
        return b'{"key":"k","candidates":[{"id":"1","value_micros":%b},{"id":"2","los_nights":%b}],"user":{}}' % (
            text.encode(),
            text.encode(),
        )

    return make


def _padded(size: int) -> Make:
    def make(_: random.Random, _body: bytes) -> bytes:
        head = b'{"key":"k","candidates":[{"id":"1"}]'
        return b"{}"[:size] if size < len(head) + 1 else head + b" " * (size - len(head) - 1) + b"}"

    return make


def _flip(rng: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut_out(rng: random.Random, body: bytes) -> bytes:
    a, b = sorted((rng.randrange(len(body)), rng.randrange(len(body))))
    return body[:a] + body[b:]


def _doubled(rng: random.Random, body: bytes) -> bytes:
    a, b = sorted((rng.randrange(len(body)), rng.randrange(len(body))))
    return body[:b] + body[a:b] * rng.randint(1, 20) + body[b:]


_VALID = b'{"key":"k","candidates":[{"id":"1","value_micros":1000000}]}'
_BOMB = gzip.compress(b" " * 20_000_000, 9, mtime=0)
BODIES: Final[Mapping[str, Make]] = {
    "nan": _in_number("NaN"),
    "infinity": _in_number("Infinity"),
    "minus infinity": _in_number("-Infinity"),
    "1e400": _in_number("1e400"),
    "minus zero": _in_number("-0"),
    "minus zero float": _in_number("-0.0"),
    "integer beyond 64 bits": _in_number("18446744073709551616"),
    "integer of 5000 digits": _in_number("9" * 5000),
    "float of 5000 digits": _in_number("0." + "9" * 5000 + "e5"),
    "octal": _in_number("0777"),
    "duplicate keys": lambda _rng, body: b'{"key":"a","key":"b","candidates":[{"id":"1","id":"2"}],' + body[1:],
    "deep arrays": lambda rng, _body: b"[" * (depth := rng.choice([100, 1_000, 10_000])) + b"]" * depth,
    "deep in a field": lambda rng, _body: (
        b'{"key":"k","candidates":' + b"[" * (depth := rng.choice([1_000, 10_000])) + b"]" * depth + b"}"
    ),
    "deep in an unknown field": lambda rng, _body: (
        b'{"x":' + b'{"a":' * (depth := rng.choice([1_000, 10_000])) + b"1" + b"}" * depth + b"}"
    ),
    "deep and open": lambda _rng, _body: b'{"candidates":[' * 4_000,
    "lone surrogate": lambda _rng, _body: b'{"key":"\\ud800","candidates":[{"id":"\\udfff"}]}',
    "raw surrogate": lambda _rng, _body: b'{"key":"\xed\xa0\x80","candidates":[{"id":"1"}]}',
    "nul in a name": lambda _rng, _body: b'{"key":"a\\u0000b","candidates":[{"id":"\\u0000","hotel_id":"\\n"}]}',
    "raw nul": lambda _rng, body: body.replace(b'"', b'"\x00', 1),
    "byte order mark": lambda _rng, body: b"\xef\xbb\xbf" + body,
    "utf-16": lambda _rng, _body: _VALID.decode().encode("utf-16"),
    "latin-1": lambda _rng, _body: '{"key":"é","candidates":[{"id":"ü"}]}'.encode("latin-1"),
    "gzip said": lambda _rng, body: gzip.compress(body, 1, mtime=0),
    "gzip not said": lambda _rng, body: gzip.compress(body, 1, mtime=0),
    "gzip said but plain": lambda _rng, _body: _VALID,
    "bomb": lambda _rng, _body: _BOMB,
    "form": lambda _rng, _body: b"key=k&candidates=1",
    "0 bytes": _padded(0),
    "1 byte": _padded(1),
    "limit less 1": _padded(BODY_LIMIT - 1),
    "limit": _padded(BODY_LIMIT),
    "limit and 1": _padded(BODY_LIMIT + 1),
    "a megabyte": _padded(2**20),
    "truncated": lambda rng, body: body[: rng.randrange(len(body))],
    "bits flipped": _flip,
    "piece cut out": _cut_out,
    "piece repeated": _doubled,
    "random bytes": lambda rng, _body: rng.randbytes(rng.randint(1, 400)),
    "51 candidates": lambda _rng, _body: (
        b'{"key":"k","candidates":[' + b",".join(b'{"id":"%d"}' % at for at in range(51)) + b"]}"
    ),
    "50 unknown candidates": lambda rng, _body: (
        b'{"key":"k","candidates":['
        + b",".join(b'{"id":"no-%d","value_micros":1}' % rng.randrange(10**9) for _ in range(50))
        + b"]}"
    ),
    "one candidate 50 times": lambda _rng, _body: (
        b'{"key":"k","candidates":[' + b",".join([b'{"id":"1","value_micros":1000000}'] * 50) + b"]}"
    ),
    "null": lambda _rng, _body: b"null",
    "long strings": lambda rng, _body: (
        b'{"key":"%b","candidates":[{"id":"1"}]}' % (b"k" * rng.choice([64, 65, 50_000]))
    ),
    "many keys": lambda _rng, _body: b"{" + b",".join(b'"k%d":1' % at for at in range(5_000)) + b"}",
    "comment": lambda _rng, body: b"/* */" + body,
    "two values": lambda _rng, body: body + body,
}
"""Mutations of the body alone; the request around it is well-framed and owes one answer."""
_HEADERS: Final[Mapping[str, Mapping[str, str]]] = {
    "utf-16": {"Content-Type": "application/json; charset=utf-16"},
    "latin-1": {"Content-Type": "application/json; charset=iso-8859-1"},
    "gzip said": {"Content-Encoding": "gzip"},
    "gzip said but plain": {"Content-Encoding": "gzip"},
    "bomb": {"Content-Encoding": "gzip"},
    "form": {"Content-Type": "application/x-www-form-urlencoded"},
}

Wire = Callable[[random.Random, Address, str, bytes, dict[str, str]], Case]


def _chunked(kind: str, pieces: Callable[[random.Random, bytes], bytes], answers: int) -> Wire:
    def make(rng: random.Random, address: Address, path: str, body: bytes, headers: dict[str, str]) -> Case:
        head = post(address, path, b"", headers).replace(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n")
        return Case(kind, head + pieces(rng, body), answers)

    return make


def _chunks(rng: random.Random, body: bytes) -> bytes:
    out, at = [], 0
    while at < len(body):
        size = rng.randint(1, 2_000)
        piece = body[at : at + size]
        out.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        at += size
    return b"".join(out) + b"0\r\n\r\n"


def _length(kind: str, said: Callable[[int], str], answers: int = 0) -> Wire:
    """A request that says this of its length."""

    def make(_: random.Random, address: Address, path: str, body: bytes, headers: dict[str, str]) -> Case:
        return Case(kind, post(address, path, body, {**headers, "Content-Length": said(len(body))}), answers)

    return make


def _raw(kind: str, change: Callable[[random.Random, bytes], bytes], answers: int = 0) -> Wire:
    """A well-formed request, changed as bytes."""

    def make(rng: random.Random, address: Address, path: str, body: bytes, headers: dict[str, str]) -> Case:
        return Case(kind, change(rng, post(address, path, body, headers)), answers)

    return make


def _pipelined(rng: random.Random, address: Address, path: str, body: bytes, headers: dict[str, str]) -> Case:
    number = rng.randint(2, 16)
    bodies = [body if at % 2 else _VALID for at in range(number)]
    return Case("pipelined", b"".join(post(address, path, each, headers) for each in bodies), number)


def _no_token(rng: random.Random, address: Address, path: str, body: bytes, headers: dict[str, str]) -> Case:
    told = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    if rng.random() < 0.5:
        told["Authorization"] = "Bearer " + "x" * rng.choice([0, 1, 40, 4_000])
    return Case("no token", post(address, path, body, told))


WIRE: Final[Mapping[str, Wire]] = {
    "pipelined": _pipelined,
    "no token": _no_token,
    "chunked": _chunked("chunked", _chunks, 1),
    "chunked beyond the limit": _chunked(
        "chunked beyond the limit", lambda rng, _body: _chunks(rng, b" " * (BODY_LIMIT + 1)), 0
    ),
    "chunk size no number": _chunked("chunk size no number", lambda _rng, body: b"zz\r\n" + body, 0),
    "chunk size negative": _chunked("chunk size negative", lambda _rng, body: b"-5\r\n" + body, 0),
    "chunk size huge": _chunked("chunk size huge", lambda _rng, body: b"f" * 20 + b"\r\n" + body, 0),
    "chunks without an end": _chunked("chunks without an end", lambda rng, body: _chunks(rng, body)[:-5], 0),
    "longer than said": _length("longer than said", lambda size: str(max(0, size - 3))),
    "shorter than said": _length("shorter than said", lambda size: str(size + 7)),
    "length negative": _length("length negative", lambda _size: "-1"),
    "length no number": _length("length no number", lambda size: f"{size}x"),
    "length of 30 digits": _length("length of 30 digits", lambda _size: "9" * 30),
    "length of two": _raw("length of two", lambda _rng, sent: sent.replace(b"\r\n", b"\r\nContent-Length: 3\r\n", 1)),
    "length and chunks": _raw(
        "length and chunks", lambda _rng, sent: sent.replace(b"\r\n", b"\r\nTransfer-Encoding: chunked\r\n", 1)
    ),
    "no length": _raw(
        "no length",
        lambda _rng, sent: b"\r\n".join(line for line in sent.split(b"\r\n") if b"Content-Length" not in line),
    ),
    "coding unknown": _raw(
        "coding unknown", lambda _rng, sent: sent.replace(b"\r\n", b"\r\nTransfer-Encoding: brotli\r\n", 1)
    ),
    "header of 100 kB": _raw(
        "header of 100 kB", lambda _rng, sent: sent.replace(b"\r\n", b"\r\nX-Long: " + b"x" * 100_000 + b"\r\n", 1)
    ),
    "2000 headers": _raw(
        "2000 headers",
        lambda _rng, sent: sent.replace(b"\r\n", b"\r\n" + b"".join(b"X-%d: 1\r\n" % at for at in range(2_000)), 1),
    ),
    "bare line feeds": _raw("bare line feeds", lambda _rng, sent: sent.replace(b"\r\n", b"\n")),
    "nul in the path": _raw("nul in the path", lambda _rng, sent: sent.replace(b" HTTP", b"\x00 HTTP", 1)),
    "long path": _raw("long path", lambda _rng, sent: sent.replace(b" HTTP", b"?" + b"x" * 20_000 + b" HTTP", 1)),
    "path not there": _raw("path not there", lambda _rng, sent: sent.replace(b" HTTP", b"/../no HTTP", 1), 1),
    "method unknown": _raw("method unknown", lambda _rng, sent: sent.replace(b"POST", b"BREW", 1)),
    "method not allowed": _raw("method not allowed", lambda _rng, sent: sent.replace(b"POST", b"DELETE", 1), 1),
    "version unknown": _raw("version unknown", lambda _rng, sent: sent.replace(b"HTTP/1.1", b"HTTP/7.7", 1)),
    "http/1.0": _raw("http/1.0", lambda _rng, sent: sent.replace(b"HTTP/1.1", b"HTTP/1.0", 1)),
    "http/2 preface": _raw("http/2 preface", lambda _rng, _sent: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)),
    "upgrade": _raw(
        "upgrade",
        lambda _rng, sent: sent.replace(b"\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 1),
    ),
    "expects 100": _raw("expects 100", lambda _rng, sent: sent.replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1), 1),
    "request cut off": _raw("request cut off", lambda rng, sent: sent[: rng.randrange(len(sent))]),
    "request flipped": _raw("request flipped", _flip),
    "noise": _raw("noise", lambda rng, _sent: rng.randbytes(rng.randint(1, 2_000))),
    "nothing": _raw("nothing", lambda _rng, _sent: b"\r\n"),
}
"""Requests that are wrong, or unusual, as bytes on the wire. Where the framing is broken no answer is owed: the client closes
its side, and a 4xx or a close is right."""
