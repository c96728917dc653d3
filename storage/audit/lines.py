"""The lines of the audit chain and its head: written, parsed, signed, checked one by one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storage.errors import AuditChainBroken, ChainFault
from storage.files import Files

AuditValue = str | int | float | bool
"""What a field of an event may hold."""

AUDIT_DIRECTORY: Final = "audit"
CHAIN_PATH: Final = "audit/chain.jsonl"
HEAD_PATH: Final = "audit/head.json"
LOCK_PATH: Final = "audit/lock"
FIRST_PREV: Final = "0" * 64
VERSION: Final = 1
MAX_LINE_BYTES: Final = 1 << 16
_READ_BYTES: Final = 1 << 20
_TAIL_BYTES: Final = 4 * MAX_LINE_BYTES


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line as it was appended.

    Attributes:
        seq: Its number; the first is 1.
        sha256: Hash of the whole line, 64 hex digits; the next line's ``prev``.
    """

    seq: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The signed statement of how far the chain had got.

    Attributes:
        last: The newest line then.
        size_bytes: Length of the chain with that line, all of it durable; from the very first line,
            removed or not.
    """

    last: AuditEntry
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Base:
    """On what a chain goes on whose front was removed: the first line of its file, which is no event.

    Lengths in heads and pages count from the very first line, removed or not.

    Attributes:
        last: The newest line that was removed.
        until: When that was written.
        removed_bytes: Length of all that was removed.
        line_bytes: Length of the base itself in the file.
    """

    last: AuditEntry
    until: str
    removed_bytes: int
    line_bytes: int

    def in_file(self, length: int) -> int:
        """The place in the file of a length that counts from the very first line."""
        return length - self.removed_bytes + self.line_bytes

    def from_start(self, place: int) -> int:
        """A place in the file, counted from the very first line."""
        return place + self.removed_bytes - self.line_bytes


def read_base(files: Files, public_key: Ed25519PublicKey | None = None) -> Base:
    """Read on what the chain goes on; that of a whole chain is empty.

    Args:
        files: The data directory.
        public_key: Of the key that must have signed it; None to believe it.

    Raises:
        AuditChainBroken: It is malformed, or its signature does not fit.
    """
    whole = Base(AuditEntry(0, FIRST_PREV), "", 0, 0)
    if files.size(CHAIN_PATH) is None:
        return whole
    raw = files.read(CHAIN_PATH, 0, MAX_LINE_BYTES)
    raw = raw[: raw.find(b"\n") + 1]
    line = parse_or_none(raw) or {}
    if "base" not in line:
        return whole
    if public_key is not None and not signed_by(public_key, line, raw):
        raise AuditChainBroken(1, ChainFault.BAD_SIGNATURE, "its base is not signed by the key of this chain")
    try:
        last = AuditEntry(int(line["base"]), str(line["sha256"]))
        return Base(last, str(line["until"]), int(line["removed"]), len(raw))
    except (KeyError, ValueError) as err:
        raise AuditChainBroken(1, ChainFault.MALFORMED, "its base is malformed") from err


def encode_base(key: Ed25519PrivateKey, last: AuditEntry, until: str, removed_bytes: int) -> bytes:
    """Write and sign a base."""
    body: dict[str, AuditValue] = {
        "v": VERSION,
        "base": last.seq,
        "sha256": last.sha256,
        "until": until,
        "removed": removed_bytes,
    }
    return canonical({**body, "sig": base64.b64encode(key.sign(canonical(body))).decode()}) + b"\n"


def read_events(files: Files) -> Iterator[Mapping[str, AuditValue]]:
    """Yield every line as a mapping, oldest first; nothing is verified.

    Raises:
        AuditChainBroken: A line is no JSON object.
    """
    for _, line in read_entries(files):
        yield line


def read_entries(files: Files) -> Iterator[tuple[AuditEntry, Mapping[str, AuditValue]]]:
    """Yield the number and hash of every line, and the line as a mapping, oldest first; nothing is verified.

    Raises:
        AuditChainBroken: A line is no JSON object.
    """
    for number, raw in enumerate(lines(files), start=read_base(files).last.seq + 1):
        yield AuditEntry(number, hashlib.sha256(raw).hexdigest()), parse(raw, number)


def read_head(files: Files, public_key: Ed25519PublicKey) -> ChainHead | None:
    """Read the signed head; None if there is none.

    Raises:
        AuditChainBroken: It is malformed or its signature does not fit.
    """
    if files.size(HEAD_PATH) is None:
        return None
    try:
        head = json.loads(files.read(HEAD_PATH, 0, MAX_LINE_BYTES))
        signature = base64.b64decode(head.pop("sig"), validate=True)
        found = ChainHead(AuditEntry(int(head["seq"]), str(head["sha256"])), int(head["bytes"]))
        public_key.verify(signature, canonical(head))
    except (ValueError, KeyError, AttributeError, TypeError, InvalidSignature) as err:
        raise AuditChainBroken(
            0, ChainFault.BAD_HEAD, f"{HEAD_PATH} is malformed or not signed by this key"
        ) from err
    return found


def fingerprint(public_key: Ed25519PublicKey) -> str:
    """First 16 hex digits of the SHA-256 of the raw public key."""
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def signed_by(public_key: Ed25519PublicKey, line: Mapping[str, AuditValue], raw: bytes) -> bool:
    """Tell whether a line is written canonically and signed by this key."""
    unsigned = {name: value for name, value in line.items() if name != "sig"}
    if canonical(dict(line)) + b"\n" != raw:
        return False
    try:
        public_key.verify(base64.b64decode(str(line.get("sig", "")), validate=True), canonical(unsigned))
    except (ValueError, InvalidSignature):
        return False
    return True


def parse(raw: bytes, number: int) -> dict[str, AuditValue]:
    """Read one line.

    Raises:
        AuditChainBroken: It is torn or no JSON object.
    """
    if not raw.endswith(b"\n"):
        raise AuditChainBroken(
            number, ChainFault.TORN_LINE, "the last line is not whole; the next append cuts it"
        )
    try:
        line = json.loads(raw.decode())
    except ValueError as err:
        raise AuditChainBroken(number, ChainFault.MALFORMED, "not JSON") from err
    if not isinstance(line, dict):
        raise AuditChainBroken(number, ChainFault.MALFORMED, "not a JSON object")
    return line


def parse_or_none(raw: bytes) -> dict[str, AuditValue] | None:
    """Read one line; None if it is torn or no JSON object."""
    try:
        return parse(raw, 0)
    except AuditChainBroken:
        return None


def lines(files: Files, offset: int = 0) -> Iterator[bytes]:
    """Yield raw lines with their newline, from an offset in the file or the base on; the last may lack it."""
    if files.size(CHAIN_PATH) is None:
        return
    offset = max(offset, read_base(files).line_bytes)
    rest = b""
    while piece := files.read(CHAIN_PATH, offset, _READ_BYTES):
        offset += len(piece)
        *whole, rest = (rest + piece).split(b"\n")
        for text in whole:
            yield text + b"\n"
    if rest:
        yield rest


def last_line(files: Files, size_bytes: int) -> tuple[bytes, int]:
    """Last whole line and the offset behind it."""
    start = max(0, size_bytes - 2 * MAX_LINE_BYTES)
    tail = files.read(CHAIN_PATH, start, size_bytes - start)
    end = tail.rfind(b"\n") + 1
    begin = tail.rfind(b"\n", 0, end - 1) + 1 if end else 0
    return tail[begin:end], start + end if end else 0


def entry_of(raw: bytes, public_key: Ed25519PublicKey) -> AuditEntry:
    """Number and hash of the last line.

    Raises:
        AuditChainBroken: It is not signed by this key.
    """
    line = parse(raw, 0)
    seq = line.get("seq")
    if not isinstance(seq, int) or not signed_by(public_key, line, raw):
        raise AuditChainBroken(
            seq if isinstance(seq, int) else 0,
            ChainFault.BAD_SIGNATURE,
            "the last line is not signed by this key; nothing is appended to it",
        )
    return AuditEntry(seq, hashlib.sha256(raw).hexdigest())


@dataclass(frozen=True, slots=True)
class TailPage:
    """Some lines of the chain, not verified.

    Attributes:
        lines: Newest first.
        older: Where the next older page ends, for ``read_tail``; None if there is none.
    """

    lines: tuple[Mapping[str, AuditValue], ...]
    older: int | None


def read_tail(files: Files, before: int | None, most: int) -> TailPage:
    """Read whole lines from the end of the chain backwards; nothing is verified.

    Args:
        files: The data directory.
        before: Only lines that end at or before this length from the very first line; None for all.
        most: At most so many; fewer if they are long.

    Raises:
        AuditChainBroken: A line is no JSON object.
        FileFault: The chain cannot be read.
    """
    size = files.size(CHAIN_PATH) or 0
    base = read_base(files)
    floor = base.line_bytes
    end = size if before is None else max(floor, min(base.in_file(before), size))
    start = max(floor, end - _TAIL_BYTES)
    data = files.read(CHAIN_PATH, start, end - start) if end > start else b""
    whole = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    offset = start + len(data[: data.rfind(b"\n") + 1])
    if start > floor and whole:
        whole = whole[1:]  # its beginning is not here
    found: list[Mapping[str, AuditValue]] = []
    for raw in reversed(whole[-most:]):
        found.append(parse(raw, 0))
        offset -= len(raw)
    return TailPage(tuple(found), base.from_start(offset) if found and offset > floor else None)


def canonical(line: Mapping[str, AuditValue]) -> bytes:
    """The bytes that are signed and stored."""
    return json.dumps(line, separators=(",", ":")).encode()


def encode_head(key: Ed25519PrivateKey, head: ChainHead) -> bytes:
    """Write and sign a head."""
    body: dict[str, AuditValue] = {
        "v": VERSION,
        "seq": head.last.seq,
        "bytes": head.size_bytes,
        "sha256": head.last.sha256,
    }
    return canonical({**body, "sig": base64.b64encode(key.sign(canonical(body))).decode()}) + b"\n"
