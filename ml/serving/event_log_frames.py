"""The bytes of the event log: what is kept of a decision, and how records stand in a segment.

A segment is a header, records and, once sealed, a footer. Each is a frame: a mark of four bytes, the length and the CRC-32 of
length and payload, and the payload in MessagePack. A damaged frame costs itself alone: the mark of the next one is searched
for, and what lies between is named as a gap.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct

from ml.core.errors import CorruptArtefact
from ml.serving.messages import Scored

T = TypeVar("T")

FORMAT_VERSION = 1
MAX_PAYLOAD = 16 << 20

_HEADER, _RECORD, _FOOTER = b"\xb1\xd3EH", b"\xb1\xd3ER", b"\xb1\xd3EF"
_MARK = b"\xb1\xd3E"
_FRAME = struct.Struct("<4sII")
_LENGTH = struct.Struct("<I")


class Decided(Protocol):
    """What the log reads of a decision; `ml.serving` has the type that the service hands over."""

    @property
    def trace_id(self) -> str:
        """Names the decision."""

    @property
    def at_us(self) -> int:
        """Instant of the decision, microseconds since 1970, UTC."""

    @property
    def body(self) -> bytes:
        """The request as it came."""

    @property
    def digest(self) -> str:
        """Of the bundle that decided; empty where none did."""

    @property
    def plan(self) -> str:
        """Digest of the plan that it followed; empty where there was none."""

    @property
    def generation(self) -> int:
        """Of the champion then."""

    @property
    def arm(self) -> int:
        """Number of the request's arm."""

    @property
    def arm_name(self) -> str:
        """Its name."""

    @property
    def share(self) -> float:
        """Share of all keys that are of this arm: the propensity."""

    @property
    def step(self) -> int:
        """Of the fallback ladder."""

    @property
    def pacing(self) -> float:
        """Multiplier of every bid."""

    @property
    def scored(self) -> Scored:
        """What was decided, with the features as they were looked up."""

    @property
    def shadow(self) -> bool:
        """Whether it was only tried, and never told."""


class Event(Struct, frozen=True, array_like=True, gc=False):
    """A decision as it is kept; the order of its fields is the format, new ones come last and have a default."""

    trace_id: str
    at_us: int
    body: bytes
    digest: str
    plan: str
    generation: int
    arm: int
    arm_name: str
    share: float
    step: int
    pacing: float
    shadow: bool
    bid_micros: list[int]
    score: list[float]
    reasons: list[int]
    missing: int
    features: bytes


class Header(Struct, frozen=True):
    """Which segment this is: of which writer (`name`, one life of one worker), its number, the records before it."""

    format_version: int
    market: str
    name: str
    number: int
    first: int


class Footer(Struct, frozen=True):
    """What a sealed segment holds: its records, and the SHA-256 of all bytes before the footer."""

    records: int
    sha256: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_event = msgspec.msgpack.Decoder(Event).decode


def encode_event(decided: Decided) -> bytes:
    """The payload of a decision."""
    scored = decided.scored
    return _encode(
        (
            decided.trace_id,
            decided.at_us,
            decided.body,
            decided.digest,
            decided.plan,
            decided.generation,
            decided.arm,
            decided.arm_name,
            decided.share,
            decided.step,
            decided.pacing,
            decided.shadow,
            scored.bid_micros,
            scored.score,
            scored.reasons,
            scored.missing,
            scored.features,
        )
    )


def decode_event(payload: bytes | memoryview) -> Event:
    """The decision of a payload; CorruptArtefact where it is none."""
    try:
        return _decode_event(payload)
    except msgspec.DecodeError as error:
        raise CorruptArtefact(f"a record of the event log cannot be read: {error}") from error


def record(payload: bytes) -> bytes:
    """The frame of a record."""
    return _frame(_RECORD, payload)


def header(market: str, name: str, number: int, first: int) -> bytes:
    """The frame that begins a segment."""
    return _frame(_HEADER, _encode(Header(FORMAT_VERSION, market, name, number, first)))


def footer(records: int, sha256: bytes) -> bytes:
    """The frame that ends a sealed segment."""
    return _frame(_FOOTER, _encode(Footer(records, sha256)))


@dataclass(frozen=True)
class Gap:
    """Bytes of a segment that are no whole frame. `torn`: the last of it, and cut off in the middle of a frame."""

    offset: int
    length: int
    reason: str
    torn: bool = False


@dataclass
class Scan:
    """What lies in a segment.

    Attributes:
        size: bytes.
        header: of the segment; None where it is damaged.
        records: offset and payload of each record that is whole, in order.
        gaps: what is not.
        end: of the last whole frame.
        footer: of a sealed segment.
        sha256: of what stands before the footer, or of all.
    """

    size: int
    header: Header | None = None
    records: list[tuple[int, memoryview]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    end: int = 0
    footer: Footer | None = None
    sha256: bytes = b""

    @property
    def torn_bytes(self) -> int:
        """Length of the end that was cut off in the middle of a frame."""
        return sum(gap.length for gap in self.gaps if gap.torn)

    @property
    def damaged_bytes(self) -> int:
        """Length of the other gaps."""
        return sum(gap.length for gap in self.gaps if not gap.torn)

    @property
    def missing(self) -> int:
        """Records that the footer counts and that are not there."""
        return max(self.footer.records - len(self.records), 0) if self.footer is not None else 0


def scan(data: bytes) -> Scan:
    """Read a segment, whole or not; never raises for what is in it.

    Whatever is not a whole frame with the right checksum is a gap with its reason, up to the next frame that is.
    """
    view = memoryview(data)
    found = Scan(len(data))
    at = 0
    for offset, mark, payload in _frames(data, view):
        if offset > at:
            found.gaps.append(Gap(at, offset - at, _why(data, at, torn=False)))
        at = offset + _FRAME.size + len(payload)
        if mark == _RECORD:
            found.records.append((offset, payload))
            found.footer = None  # a footer that something follows ends nothing
        elif mark == _HEADER:
            found.header = _read(payload, Header)
        else:
            found.footer, found.sha256 = _read(payload, Footer), hashlib.sha256(view[:offset]).digest()
        found.end = at
    if at < len(data):
        torn = _is_torn(data, at)
        found.gaps.append(Gap(at, len(data) - at, _why(data, at, torn=torn), torn))
    if found.footer is None:
        found.sha256 = hashlib.sha256(view[: found.end]).digest()
    return found


def _frame(mark: bytes, payload: bytes) -> bytes:
    length = len(payload)
    return _FRAME.pack(mark, length, zlib.crc32(payload, zlib.crc32(_LENGTH.pack(length)))) + payload


def _frames(data: bytes, view: memoryview) -> Iterator[tuple[int, bytes, memoryview]]:
    """Every whole frame: its offset, mark and payload."""
    at = 0
    while at < len(data):
        payload = _whole(data, view, at)
        if payload is not None:
            yield at, data[at : at + 4], payload
            at += _FRAME.size + len(payload)
            continue
        following = data.find(_MARK, at + 1)
        if following < 0:
            return
        at = following


def _whole(data: bytes, view: memoryview, at: int) -> memoryview | None:
    """The payload of the frame that stands there, if it is whole."""
    if len(data) - at < _FRAME.size:
        return None
    mark, length, crc = _FRAME.unpack_from(data, at)
    begin = at + _FRAME.size
    if mark not in {_HEADER, _RECORD, _FOOTER} or length > MAX_PAYLOAD or begin + length > len(data):
        return None
    payload = view[begin : begin + length]
    return payload if zlib.crc32(payload, zlib.crc32(_LENGTH.pack(length))) == crc else None


def _is_torn(data: bytes, at: int) -> bool:
    """Whether what stands there to the end may be the beginning of a frame."""
    mark = data[at : at + 4]
    if not any(known.startswith(mark) for known in (_HEADER, _RECORD, _FOOTER)):
        return False
    if len(data) - at < _FRAME.size:
        return True
    _, length, _ = _FRAME.unpack_from(data, at)
    return bool(length <= MAX_PAYLOAD and at + _FRAME.size + length > len(data))


def _why(data: bytes, at: int, *, torn: bool) -> str:
    if torn:
        return "the frame is cut off"
    return "length and checksum do not fit" if data[at : at + 3] == _MARK else "no frame begins here"


def _read(payload: memoryview, kind: type[T]) -> T | None:
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except msgspec.DecodeError:
        return None
