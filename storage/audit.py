"""The audit chain: one signed JSON line for each event, each bound to the one before.

``audit/chain.jsonl`` holds the lines; a line's ``prev`` is the SHA-256 of the
whole line before it, its ``sig`` an Ed25519 signature over the line without
``sig``. ``audit/head.json`` is a signed statement of the newest line, so that a
cut tail is found. Several processes share one chain: each append holds a file
lock and continues whatever stands at the end.

The head may lag behind the chain (it is written by ``flush``), never run ahead:
a chain longer than its head is sound, a shorter one was cut. Whoever can write
both files and holds the signing key can forge; whoever lacks the key can at most
put back an old pair of both files, which only a copy of the head kept elsewhere
reveals (see THREATS.md).

No personal data enters: callers give random references only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storage.errors import AuditChainBroken, AuditError, ChainFault
from storage.files import Files, OpenFile, replace

AuditValue = str | int | float | bool
"""What a field of an event may hold."""

AUDIT_DIRECTORY: Final = "audit"
CHAIN_PATH: Final = "audit/chain.jsonl"
HEAD_PATH: Final = "audit/head.json"
LOCK_PATH: Final = "audit/lock"
FIRST_PREV: Final = "0" * 64

_VERSION: Final = 1
_OWN_KEYS: Final = frozenset({"v", "seq", "ts", "node", "event", "key", "prev", "sig"})
_EVENT: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_MAX_TEXT: Final = 512
_MAX_LINE_BYTES: Final = 1 << 16
_READ_BYTES: Final = 1 << 20


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
        size_bytes: Length of the chain with that line, all of it durable.
    """

    last: AuditEntry
    size_bytes: int


class AuditLog:
    """Appends to the chain; one object per process, used by one thread.

    Args:
        files: The data directory.
        key: Signs each line and the head.
        node: Name of this recording node, in each line.
        clock: Gives the current instant (aware).
        actor: Who acts, unless an event says otherwise, e.g. ``daemon``.
    """

    def __init__(
        self,
        files: Files,
        key: Ed25519PrivateKey,
        node: str,
        clock: Callable[[], datetime],
        actor: str = "daemon",
    ) -> None:
        self._files = files
        self._key = key
        self._public = key.public_key()
        self._key_id = fingerprint(self._public)
        self._node = node
        self._clock = clock
        self._actor = actor
        self._handle: OpenFile | None = None
        self._size_bytes = -1
        self._last = AuditEntry(0, FIRST_PREV)
        self._unsynced = False
        self._doubtful = True
        self._head: ChainHead | None = None

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The key that verifies the chain."""
        return self._public

    def append(
        self, event: str, fields: Mapping[str, AuditValue] | None = None, *, durable: bool = True
    ) -> AuditEntry:
        """Append one event.

        Args:
            event: ``noun.past_participle``, as in law.md 3.9.
            fields: Further fields, flat; ``rec``, ``call``, ``purpose``,
                ``policy``, ``outcome``, ``reason`` and ``actor`` by convention.
                Never a phone number, name, key or audio.
            durable: Sync the line before returning; otherwise ``flush`` does.

        Returns:
            Number and hash of the line.

        Raises:
            AuditError: The event or a field is malformed.
            AuditChainBroken: The end of the chain does not fit its head: it was
                cut or edited; nothing is appended to it.
            FileFault: The line may be torn; the next append mends that.
        """
        body = self._body(event, fields or {})
        self._files.make_directory(AUDIT_DIRECTORY)
        with self._files.lock(LOCK_PATH):
            handle = self._at_end()
            entry = self._write(handle, event, body)
            if durable:
                self._sync(handle)
        return entry

    def flush(self) -> None:
        """Make all lines durable and write the signed head if it is behind.

        Raises:
            AuditChainBroken: See ``append``.
            FileFault: Repeat; the chain itself is unharmed.
        """
        if not self._unsynced and self._head is not None and self._head.last == self._last:
            return
        self._files.make_directory(AUDIT_DIRECTORY)
        with self._files.lock(LOCK_PATH):
            handle = self._at_end()
            self._sync(handle)
            head = ChainHead(self._last, self._size_bytes)
            replace(self._files, HEAD_PATH, _encode_head(self._key, head))
            self._head = head

    def close(self) -> None:
        """Flush and release the file.

        Raises:
            FileFault: See ``flush``.
        """
        try:
            self.flush()
        finally:
            self._drop_handle()

    def _body(self, event: str, fields: Mapping[str, AuditValue]) -> dict[str, AuditValue]:
        if not _EVENT.match(event):
            raise AuditError(f"audit event {event!r} is not lower-case words joined by dots")
        body: dict[str, AuditValue] = {"actor": self._actor}
        for name, value in fields.items():
            if name in _OWN_KEYS or not _FIELD.match(name):
                raise AuditError(f"audit field {name!r} of {event} is reserved or not a lower-case name")
            if isinstance(value, str) and len(value) > _MAX_TEXT:
                raise AuditError(f"audit field {name!r} of {event} is longer than {_MAX_TEXT} characters")
            body[name] = value
        return body

    def _write(self, handle: OpenFile, event: str, body: Mapping[str, AuditValue]) -> AuditEntry:
        stamp = self._clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, AuditValue] = {
            "v": _VERSION,
            "seq": self._last.seq + 1,
            "ts": stamp,
            "node": self._node,
            "event": event,
            **body,
            "key": self._key_id,
            "prev": self._last.sha256,
        }
        signature = self._key.sign(_canonical(line))
        data = _canonical({**line, "sig": base64.b64encode(signature).decode()}) + b"\n"
        if len(data) > _MAX_LINE_BYTES:
            raise AuditError(f"audit event {event} makes a line of {len(data)} bytes")
        try:
            handle.write(data)
        except BaseException:
            self._drop_handle()
            raise
        self._size_bytes += len(data)
        self._last = AuditEntry(self._last.seq + 1, hashlib.sha256(data).hexdigest())
        self._unsynced = True
        return self._last

    def _sync(self, handle: OpenFile) -> None:
        try:
            handle.sync()
        except BaseException:
            self._doubtful = True
            self._drop_handle()
            raise
        self._unsynced = False

    def _at_end(self) -> OpenFile:
        """Handle behind the last whole line; reads what other processes appended."""
        if self._handle is not None and self._files.size(CHAIN_PATH) == self._size_bytes:
            return self._handle
        self._drop_handle()
        size = self._files.size(CHAIN_PATH)
        head = read_head(self._files, self._public)
        known = max(self._last.seq, head.last.seq if head is not None else 0)
        if size is None:
            if known:
                raise AuditChainBroken(1, ChainFault.CUT_TAIL, f"{CHAIN_PATH} is missing")
            handle = self._files.create(CHAIN_PATH)
            self._files.sync_directory(AUDIT_DIRECTORY)
            self._adopt(handle, 0, AuditEntry(0, FIRST_PREV))
            return handle
        if self._doubtful:
            last, end = self._sound_end(head)
        else:
            last_line, end = _last_line(self._files, size)
            last = _entry(last_line, self._public) if last_line else AuditEntry(0, FIRST_PREV)
        if last.seq < known:
            raise AuditChainBroken(
                last.seq + 1, ChainFault.CUT_TAIL, f"the chain ends at line {last.seq}, it had {known}"
            )
        self._write_again(head, end)
        handle = self._files.reopen(CHAIN_PATH, end)
        self._adopt(handle, end, last)
        self._unsynced = True
        self._head = head
        if end < size:
            self._write(
                handle, "chain.torn_tail_cut", {"actor": self._actor, "bytes": size - end, "after": last.seq}
            )
        return handle

    def _sound_end(self, head: ChainHead | None) -> tuple[AuditEntry, int]:
        """Last sound line and the offset behind it, read from the head on.

        What is behind the head may never have been synced; after a power loss it may
        have holes. It ends at the first line that does not follow.
        """
        last, end = (head.last, head.size_bytes) if head is not None else (AuditEntry(0, FIRST_PREV), 0)
        if head is not None:
            self._check_head(head)
        for raw in _lines(self._files, end):
            line = _parsed(raw)
            if (
                line is None
                or line.get("seq") != last.seq + 1
                or line.get("prev") != last.sha256
                or not _signed_by(self._public, line, raw)
            ):
                break
            last, end = AuditEntry(last.seq + 1, hashlib.sha256(raw).hexdigest()), end + len(raw)
        return last, end

    def _check_head(self, head: ChainHead) -> None:
        seq = head.last.seq
        if (self._files.size(CHAIN_PATH) or 0) < head.size_bytes:
            raise AuditChainBroken(
                seq, ChainFault.CUT_TAIL, f"the chain is shorter than its head says ({seq})"
            )
        raw, end = _last_line(self._files, head.size_bytes)
        if seq and (end != head.size_bytes or hashlib.sha256(raw).hexdigest() != head.last.sha256):
            raise AuditChainBroken(seq, ChainFault.EDIT, "not the line that its signed head names")

    def _write_again(self, head: ChainHead | None, end: int) -> None:
        """Make the lines since the head dirty again: a sync of them may have failed.

        After a failed sync the kernel may call pages clean that never reached the
        disk; a later sync would then say yes without having written them.
        """
        start = head.size_bytes if head is not None else 0
        if self._doubtful and end > start:
            self._files.patch(CHAIN_PATH, start, self._files.read(CHAIN_PATH, start, end - start))
        self._doubtful = False

    def _adopt(self, handle: OpenFile, size_bytes: int, last: AuditEntry) -> None:
        self._handle = handle
        self._size_bytes = size_bytes
        self._last = last

    def _drop_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
        self._handle = None
        self._size_bytes = -1


@dataclass(frozen=True, slots=True)
class ChainReport:
    """A chain that verified.

    Attributes:
        lines: How many.
        last_sha256: Hash of the last line; copy it to a safe place.
        head_seq: Number of the line that the signed head names; at most ``lines``.
        first_ts: Instant of the first line as written, empty if there is none.
        last_ts: Instant of the last line.
    """

    lines: int
    last_sha256: str
    head_seq: int
    first_ts: str
    last_ts: str


def verify_chain(files: Files, public_key: Ed25519PublicKey) -> ChainReport:
    """Check every line, their order and the end of the chain.

    Args:
        files: The data directory.
        public_key: Of the key that signed it.

    Returns:
        What was found sound.

    Raises:
        AuditChainBroken: Names the first line at fault and the fault.
        FileFault: A file cannot be read.
    """
    head = read_head(files, public_key)
    expected = AuditEntry(0, FIRST_PREV)
    first_ts = last_ts = ""
    at_head = FIRST_PREV
    number = 0
    for number, raw in enumerate(_lines(files), start=1):
        line = _parse(raw, number)
        _check_line(files, public_key, line, raw, number, expected)
        expected = AuditEntry(number, hashlib.sha256(raw).hexdigest())
        last_ts = str(line.get("ts", ""))
        first_ts = first_ts or last_ts
        if head is not None and number == head.last.seq:
            at_head = expected.sha256
    if head is None:
        if number:
            raise AuditChainBroken(number, ChainFault.BAD_HEAD, f"{HEAD_PATH} is missing")
        return ChainReport(0, FIRST_PREV, 0, "", "")
    if number < head.last.seq:
        raise AuditChainBroken(
            number + 1,
            ChainFault.CUT_TAIL,
            f"the chain ends at line {number}, its signed head names line {head.last.seq}",
        )
    if at_head != head.last.sha256:
        raise AuditChainBroken(head.last.seq, ChainFault.EDIT, "not the line that its signed head names")
    return ChainReport(number, expected.sha256, head.last.seq, first_ts, last_ts)


def read_events(files: Files) -> Iterator[Mapping[str, AuditValue]]:
    """Yield every line as a mapping, oldest first; nothing is verified.

    Raises:
        AuditChainBroken: A line is no JSON object.
    """
    for number, raw in enumerate(_lines(files), start=1):
        yield _parse(raw, number)


def read_head(files: Files, public_key: Ed25519PublicKey) -> ChainHead | None:
    """Read the signed head; None if there is none.

    Raises:
        AuditChainBroken: It is malformed or its signature does not fit.
    """
    if files.size(HEAD_PATH) is None:
        return None
    try:
        head = json.loads(files.read(HEAD_PATH, 0, _MAX_LINE_BYTES))
        signature = base64.b64decode(head.pop("sig"), validate=True)
        found = ChainHead(AuditEntry(int(head["seq"]), str(head["sha256"])), int(head["bytes"]))
        public_key.verify(signature, _canonical(head))
    except (ValueError, KeyError, AttributeError, TypeError, InvalidSignature) as err:
        raise AuditChainBroken(
            0, ChainFault.BAD_HEAD, f"{HEAD_PATH} is malformed or not signed by this key"
        ) from err
    return found


def fingerprint(public_key: Ed25519PublicKey) -> str:
    """First 16 hex digits of the SHA-256 of the raw public key."""
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def _check_line(
    files: Files,
    public_key: Ed25519PublicKey,
    line: Mapping[str, AuditValue],
    raw: bytes,
    number: int,
    expected: AuditEntry,
) -> None:
    if not _signed_by(public_key, line, raw):
        chained = _prev_of_next(files, number) == hashlib.sha256(raw).hexdigest()
        if chained or line.get("key") != fingerprint(public_key):
            raise AuditChainBroken(number, ChainFault.BAD_SIGNATURE, "not signed by the key of this chain")
        raise AuditChainBroken(number, ChainFault.EDIT, "the text does not fit its signature")
    seq = line.get("seq")
    if seq != number:
        later = any(
            _parse(other, place).get("seq") == number
            for place, other in enumerate(_lines(files), start=1)
            if place > number
        )
        if later or (isinstance(seq, int) and seq < number):
            raise AuditChainBroken(number, ChainFault.REORDER, f"here stands event {seq}")
        raise AuditChainBroken(number, ChainFault.GAP, f"event {number} is missing, here stands {seq}")
    if line.get("prev") != expected.sha256:
        raise AuditChainBroken(number, ChainFault.EDIT, "the line before is not the one this one follows")


def _signed_by(public_key: Ed25519PublicKey, line: Mapping[str, AuditValue], raw: bytes) -> bool:
    unsigned = {name: value for name, value in line.items() if name != "sig"}
    if _canonical(dict(line)) + b"\n" != raw:
        return False
    try:
        public_key.verify(base64.b64decode(str(line.get("sig", "")), validate=True), _canonical(unsigned))
    except (ValueError, InvalidSignature):
        return False
    return True


def _prev_of_next(files: Files, number: int) -> object:
    for place, raw in enumerate(_lines(files), start=1):
        if place == number + 1:
            try:
                return _parse(raw, place).get("prev")
            except AuditChainBroken:
                return None
    return None


def _parse(raw: bytes, number: int) -> dict[str, AuditValue]:
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


def _parsed(raw: bytes) -> dict[str, AuditValue] | None:
    try:
        return _parse(raw, 0)
    except AuditChainBroken:
        return None


def _lines(files: Files, offset: int = 0) -> Iterator[bytes]:
    """Yield raw lines with their newline; the last may lack it."""
    if files.size(CHAIN_PATH) is None:
        return
    rest = b""
    while piece := files.read(CHAIN_PATH, offset, _READ_BYTES):
        offset += len(piece)
        *whole, rest = (rest + piece).split(b"\n")
        for text in whole:
            yield text + b"\n"
    if rest:
        yield rest


def _last_line(files: Files, size_bytes: int) -> tuple[bytes, int]:
    """Last whole line and the offset behind it."""
    start = max(0, size_bytes - 2 * _MAX_LINE_BYTES)
    tail = files.read(CHAIN_PATH, start, size_bytes - start)
    end = tail.rfind(b"\n") + 1
    begin = tail.rfind(b"\n", 0, end - 1) + 1 if end else 0
    return tail[begin:end], start + end if end else 0


def _entry(raw: bytes, public_key: Ed25519PublicKey) -> AuditEntry:
    line = _parse(raw, 0)
    seq = line.get("seq")
    if not isinstance(seq, int) or not _signed_by(public_key, line, raw):
        raise AuditChainBroken(
            seq if isinstance(seq, int) else 0,
            ChainFault.BAD_SIGNATURE,
            "the last line is not signed by this key; nothing is appended to it",
        )
    return AuditEntry(seq, hashlib.sha256(raw).hexdigest())


def _canonical(line: Mapping[str, AuditValue]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode()


def _encode_head(key: Ed25519PrivateKey, head: ChainHead) -> bytes:
    body: dict[str, AuditValue] = {
        "v": _VERSION,
        "seq": head.last.seq,
        "bytes": head.size_bytes,
        "sha256": head.last.sha256,
    }
    return _canonical({**body, "sig": base64.b64encode(key.sign(_canonical(body))).decode()}) + b"\n"
