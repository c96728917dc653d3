"""The write-ahead log: what is not yet a whole chunk of a body.

All open recordings share one append-only segment ``wal/<number>.wal``, so that
one sync serves all calls. A record holds the very plaintext bytes of one body
stream, encrypted under a key of that recording alone: HKDF-SHA256 of its log
secret, salted with 16 random bytes of the segment; the nonce is the record's
offset in the segment. A segment is never reopened for writing and its salt is
new each time, so no (key, nonce) pair is ever used twice, not even when a name
is reused after a power loss.

``wal/<id>.key`` holds what completing a recording takes: file key, payload
nonce, log secret, the format. It is destroyed as soon as the recording is
sealed; from then on neither log nor body can be read on this machine.

When a segment gets long, ``rotate`` writes the unsealed tail of every open
recording to a new one and removes the old one. See FORMAT.md for the bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.age import FILE_KEY_BYTES, PAYLOAD_NONCE_BYTES, Random
from storage.catalogue import decode_facts, encode_facts
from storage.container import AudioFormat, Encoding
from storage.errors import FileFault, FileMissing, WalError
from storage.files import Files, OpenFile, destroy
from storage.tags import RecordingId, SealFacts

WAL_DIRECTORY: Final = "wal"
SECRET_BYTES: Final = 32

_MAGIC: Final = b"RPWAL\x00\x00\x01"
_SALT_BYTES: Final = 16
_SEGMENT_HEADER_BYTES: Final = len(_MAGIC) + _SALT_BYTES
_FRAMING: Final = struct.Struct(">IB16sQ")
_CHECK: Final = struct.Struct(">I")
_RECORD_HEADER_BYTES: Final = _FRAMING.size + _CHECK.size
_MAX_RECORD_BYTES: Final = 1 << 20
_TAG_BYTES: Final = 16
_KEY_INFO: Final = b"recproxy write-ahead log v1"
_KEY_FILE_VERSION: Final = 1
_SEGMENT_NAME: Final = re.compile(r"([0-9a-f]{16})\.wal\Z")
_KEY_NAME: Final = re.compile(r"([0-9a-f]{32})\.key\Z")
_MAX_KEY_FILE_BYTES: Final = 1 << 16


class Kind(IntEnum):
    """What a record holds."""

    DATA = 1
    SEAL = 2


@dataclass(frozen=True, slots=True)
class RecordingKeys:
    """What completes one open recording; secret, gone once it is sealed.

    Attributes:
        recording: Whose.
        body: Path of its body, without suffix.
        audio: Format of its samples.
        header_bytes: Length of the WAV header at the start of the plaintext.
        header_sha256: Hash of its age header in the key store: a header that does
            not match is being destroyed.
        file_key: age file key, 16 bytes.
        nonce: Payload nonce of the body, 16 bytes.
        secret: Secret of its log records, 32 bytes.
    """

    recording: RecordingId
    body: str
    audio: AudioFormat
    header_bytes: int
    header_sha256: str
    file_key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of one open recording that no durable chunk holds.

    Attributes:
        keys: Of the recording.
        offset: Where it starts in the plaintext.
        data: The bytes.
        seal: Set when the recording's length is final.
    """

    keys: RecordingKeys
    offset: int
    data: bytes
    seal: SealMark | None = None


@dataclass(frozen=True, slots=True)
class SealMark:
    """A recording's final length and facts, as logged before its final chunk.

    Attributes:
        total_bytes: Length of the whole plaintext.
        facts: Goes into the catalogue.
    """

    total_bytes: int
    facts: SealFacts


class Wal:
    """Writes the log; one object per daemon, used by one thread.

    Args:
        files: The data directory.
        random: Source of randomness.
        segment_bytes: Length at which ``full`` asks for a rotation.
    """

    def __init__(self, files: Files, random: Random, segment_bytes: int) -> None:
        self._files = files
        self._random = random
        self._segment_bytes = segment_bytes
        self._handle: OpenFile | None = None
        self._current: int | None = None
        self._highest = 0
        self._salt = b""
        self._size_bytes = 0
        self._keep = False
        self._stale: list[int] = []
        self._ciphers: dict[RecordingId, ChaCha20Poly1305] = {}
        self._unsynced = False
        self._failure: WalError | None = None

    @property
    def failure(self) -> WalError | None:
        """Why nothing more can be logged; None if all is well."""
        return self._failure

    @property
    def full(self) -> bool:
        """True if the segment should be rotated."""
        return self._size_bytes > self._segment_bytes

    def append(self, keys: RecordingKeys, offset: int, data: bytes) -> None:
        """Log plaintext of one recording; durable after ``sync``.

        Args:
            keys: Of the recording.
            offset: Where ``data`` starts in its plaintext.
            data: Any length.

        Raises:
            WalError: The log failed now or before; see ``restart``.
        """
        for start in range(0, len(data), _MAX_RECORD_BYTES):
            self._append(keys, Kind.DATA, offset + start, data[start : start + _MAX_RECORD_BYTES])

    def append_seal(self, keys: RecordingKeys, mark: SealMark) -> None:
        """Log that a recording is complete; durable after ``sync``.

        Args:
            keys: Of the recording.
            mark: Its final length and facts.

        Raises:
            WalError: The log failed now or before; see ``restart``.
        """
        self._append(keys, Kind.SEAL, mark.total_bytes, encode_facts(mark.facts).encode())

    def sync(self) -> None:
        """Make everything appended durable: one sync for all recordings.

        Raises:
            WalError: Everything since the last good sync may be lost. The segment
                is never synced again (a second try could say yes without having
                written); only ``restart`` goes on.
        """
        if self._failure is not None:
            raise self._failed_before(self._failure)
        if not self._unsynced or self._handle is None:
            return
        with self._failing():
            self._handle.sync()
        self._unsynced = False

    def rotate(self, tails: Iterable[Tail]) -> None:
        """Begin a new segment with the unsealed tails and remove the old one.

        The bodies must have been synced: what the old segment held of sealed
        chunks is gone afterwards.

        Args:
            tails: One for each open recording.

        Raises:
            WalError: The old segment stands, the log has failed.
        """
        old, keep = self._current, self._keep
        self._leave_segment()
        self._begin_segment()
        for tail in tails:
            self.append(tail.keys, tail.offset, tail.data)
            if tail.seal is not None:
                self.append_seal(tail.keys, tail.seal)
        self.sync()
        if old is not None and not keep:
            self._stale.append(old)
        self.remove_stale()

    def keep_segment(self) -> None:
        """Leave the present segment for recovery: a recording that failed is in it."""
        self._keep = True

    def forget(self, recording: RecordingId) -> None:
        """Drop the key of a recording that is sealed, aborted or discarded."""
        self._ciphers.pop(recording, None)

    def remove_stale(self) -> None:
        """Remove segments that hold nothing of use; a failure is tried again next time."""
        for number in tuple(self._stale):
            try:
                self._files.unlink(_segment_path(number))
                self._files.sync_directory(WAL_DIRECTORY)
            except FileMissing:
                pass
            except FileFault:
                return
            self._stale.remove(number)

    def restart(self) -> None:
        """After a failure: leave the old segment to recovery and go on in a new one."""
        self._leave_segment()
        self._failure = None

    def close(self, *, idle: bool) -> None:
        """Release the segment.

        Args:
            idle: True if every recording is sealed, aborted or discarded: the
                segment is then removed, unless recovery needs it.
        """
        current, keep = self._current, self._keep or self._failure is not None
        self._leave_segment()
        if idle and current is not None and not keep:
            self._stale.append(current)
            self.remove_stale()

    def _append(self, keys: RecordingKeys, kind: Kind, offset: int, data: bytes) -> None:
        if self._failure is not None:
            raise self._failed_before(self._failure)
        if self._handle is None:
            self._begin_segment()
        record = self._encrypt(keys, kind, offset, data)
        with self._failing():
            self._written().write(record)
        self._size_bytes += len(record)
        self._unsynced = True

    def _encrypt(self, keys: RecordingKeys, kind: Kind, offset: int, data: bytes) -> bytes:
        cipher = self._ciphers.get(keys.recording)
        if cipher is None:
            cipher = _cipher(keys, self._salt)
            self._ciphers[keys.recording] = cipher
        framing = _FRAMING.pack(len(data) + _TAG_BYTES, kind, bytes.fromhex(keys.recording.text), offset)
        sealed = cipher.encrypt(_nonce(self._size_bytes), data, framing)
        return framing + _CHECK.pack(zlib.crc32(framing)) + sealed

    def _begin_segment(self) -> None:
        with self._failing():
            self._files.make_directory(WAL_DIRECTORY)
            self._highest = self._current = max((*segment_numbers(self._files), self._highest)) + 1
            self._salt = self._random(_SALT_BYTES)
            self._handle = self._files.create(_segment_path(self._current))
            self._handle.write(_MAGIC + self._salt)
            self._files.sync_directory(WAL_DIRECTORY)
        self._size_bytes = _SEGMENT_HEADER_BYTES
        self._unsynced = True

    def _leave_segment(self) -> None:
        if self._handle is not None:
            self._handle.close()
        self._handle = None
        self._current = None
        self._size_bytes = 0
        self._keep = False
        self._ciphers.clear()
        self._unsynced = False

    def _written(self) -> OpenFile:
        if self._handle is None:
            raise WalError("the log has no segment")
        return self._handle

    def _failing(self) -> _Failing:
        return _Failing(self)

    def fail(self, failure: WalError) -> None:
        """Take note that nothing more can be logged until ``restart``."""
        self._failure = failure

    @staticmethod
    def _failed_before(failure: WalError) -> WalError:
        error = WalError(f"the write-ahead log failed before: {failure}")
        error.__cause__ = failure
        return error


class _Failing:
    """Turns a file fault into a WalError that sticks."""

    def __init__(self, wal: Wal) -> None:
        self._wal = wal

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, FileFault):
            failure = WalError(f"write-ahead log: {err}")
            self._wal.fail(failure)
            raise failure from err


def write_keys(files: Files, keys: RecordingKeys) -> None:
    """Store the keys of a recording that is about to be opened; durable on return.

    Args:
        files: The data directory.
        keys: What to store.

    Raises:
        FileFault: Part of it may be on disk.
    """
    text = json.dumps(
        {
            "v": _KEY_FILE_VERSION,
            "recording": keys.recording.text,
            "body": keys.body,
            "encoding": keys.audio.encoding.name,
            "rate_hz": keys.audio.rate_hz,
            "channels": keys.audio.channels,
            "header_bytes": keys.header_bytes,
            "header_sha256": keys.header_sha256,
            "file_key": keys.file_key.hex(),
            "nonce": keys.nonce.hex(),
            "secret": keys.secret.hex(),
        }
    ).encode()
    files.make_directory(WAL_DIRECTORY)
    handle = files.create(_key_path(keys.recording))
    try:
        handle.write(text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n")
        handle.sync()
    finally:
        handle.close()
    files.sync_directory(WAL_DIRECTORY)


def read_keys(files: Files, recording: RecordingId) -> RecordingKeys | None:
    """Read the keys of an open recording.

    Args:
        files: The data directory.
        recording: Which.

    Returns:
        The keys; None if the file is missing or torn, which it can be only
        before any audio was logged or after it was destroyed.

    Raises:
        FileFault: It cannot be read.
        WalError: It is whole, but of another version or recording.
    """
    try:
        text, _, check = files.read(_key_path(recording), 0, _MAX_KEY_FILE_BYTES).partition(b"\n")
    except FileMissing:
        return None
    if check != hashlib.sha256(text).hexdigest().encode() + b"\n":
        return None
    values = json.loads(text)
    if values["v"] != _KEY_FILE_VERSION or values["recording"] != recording.text:
        raise WalError(f"{_key_path(recording)} is of version {values['v']} for {values['recording']}")
    keys = RecordingKeys(
        recording=recording,
        body=values["body"],
        audio=AudioFormat(Encoding[values["encoding"]], values["rate_hz"], values["channels"]),
        header_bytes=values["header_bytes"],
        header_sha256=values["header_sha256"],
        file_key=bytes.fromhex(values["file_key"]),
        nonce=bytes.fromhex(values["nonce"]),
        secret=bytes.fromhex(values["secret"]),
    )
    if (len(keys.file_key), len(keys.nonce), len(keys.secret)) != (
        FILE_KEY_BYTES,
        PAYLOAD_NONCE_BYTES,
        SECRET_BYTES,
    ):
        raise WalError(f"{_key_path(recording)} holds a key of the wrong length")
    return keys


def destroy_keys(files: Files, recording: RecordingId) -> bool:
    """Destroy the keys of a recording that is sealed or discarded; may be repeated.

    Returns:
        False if they were gone already.

    Raises:
        FileFault: They may still be there; repeat.
    """
    files.make_directory(WAL_DIRECTORY)
    return destroy(files, _key_path(recording))


def keyed_recordings(files: Files) -> tuple[RecordingId, ...]:
    """Recordings that have a key file: open ones, and what a crash left."""
    matches = map(_KEY_NAME.match, files.names(WAL_DIRECTORY))
    return tuple(RecordingId(match[1]) for match in matches if match)


def segment_numbers(files: Files) -> tuple[int, ...]:
    """Numbers of the segments on disk, ascending."""
    matches = map(_SEGMENT_NAME.match, files.names(WAL_DIRECTORY))
    return tuple(int(match[1], 16) for match in matches if match)


def remove_segments(files: Files, numbers: Iterable[int]) -> None:
    """Remove segments that hold nothing of use any more.

    Raises:
        FileFault: Some may be left; repeat.
    """
    files.make_directory(WAL_DIRECTORY)
    for number in numbers:
        files.unlink(_segment_path(number))
    files.sync_directory(WAL_DIRECTORY)


@dataclass(slots=True)
class LoggedRecording:
    """What the log holds of one recording.

    Attributes:
        pieces: Offset and plaintext of each record, in the order of the log.
        seal: The newest seal mark, if there is one.
    """

    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    seal: SealMark | None = None

    def since(self, offset: int) -> bytes:
        """The plaintext from ``offset`` on, as far as it is without a gap."""
        found = bytearray()
        for start, data in sorted(self.pieces, key=lambda piece: piece[0]):
            end = offset + len(found)
            if start > end:
                break
            found += data[end - start :]
        return bytes(found)


def read_log(files: Files, keys: Mapping[RecordingId, RecordingKeys]) -> dict[RecordingId, LoggedRecording]:
    """Read all segments, oldest first.

    A torn end is left out: it was never synced. Records of recordings without
    keys are of no use to anybody and skipped.

    Args:
        files: The data directory.
        keys: Keys of the recordings to read.

    Returns:
        What the log holds of each.

    Raises:
        FileFault: A segment cannot be read.
    """
    logged = {recording: LoggedRecording() for recording in keys}
    for number in segment_numbers(files):
        for kind, owner, offset, data in _records(files.read(_segment_path(number)), keys):
            entry = logged[owner]
            if kind is Kind.DATA:
                entry.pieces.append((offset, data))
            else:
                entry.seal = SealMark(offset, decode_facts(data.decode()))
    return logged


def _records(
    segment: bytes, keys: Mapping[RecordingId, RecordingKeys]
) -> Iterator[tuple[Kind, RecordingId, int, bytes]]:
    if len(segment) < _SEGMENT_HEADER_BYTES or not segment.startswith(_MAGIC):
        return
    salt = segment[len(_MAGIC) : _SEGMENT_HEADER_BYTES]
    ciphers: dict[RecordingId, ChaCha20Poly1305] = {}
    place = _SEGMENT_HEADER_BYTES
    while place + _RECORD_HEADER_BYTES <= len(segment):
        framing = segment[place : place + _FRAMING.size]
        (check,) = _CHECK.unpack_from(segment, place + _FRAMING.size)
        length, kind, raw_id, offset = _FRAMING.unpack(framing)
        end = place + _RECORD_HEADER_BYTES + length
        if check != zlib.crc32(framing) or end > len(segment):
            return
        owner = RecordingId(raw_id.hex())
        if owner in keys:
            cipher = ciphers.get(owner) or _cipher(keys[owner], salt)
            ciphers[owner] = cipher
            try:
                sealed = segment[place + _RECORD_HEADER_BYTES : end]
                yield Kind(kind), owner, offset, cipher.decrypt(_nonce(place), sealed, framing)
            except InvalidTag:
                pass  # a page that never reached the disk; later records may have
        place = end


def _cipher(keys: RecordingKeys, salt: bytes) -> ChaCha20Poly1305:
    info = _KEY_INFO + bytes.fromhex(keys.recording.text)
    return ChaCha20Poly1305(HKDF(SHA256(), 32, salt, info).derive(keys.secret))


def _nonce(place: int) -> bytes:
    return place.to_bytes(12, "big")


def _segment_path(number: int) -> str:
    return f"{WAL_DIRECTORY}/{number:016x}.wal"


def _key_path(recording: RecordingId) -> str:
    return f"{WAL_DIRECTORY}/{recording}.key"
