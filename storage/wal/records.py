"""The records of a log segment: their bytes, and reading them back."""

from __future__ import annotations

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

from storage.catalogue import decode_facts
from storage.files import Files
from storage.tags import RecordingId, SealFacts
from storage.wal.keyfile import WAL_DIRECTORY, RecordingKeys

MAGIC: Final = b"RPWAL\x00\x00\x01"
SALT_BYTES: Final = 16
SEGMENT_HEADER_BYTES: Final = len(MAGIC) + SALT_BYTES
MAX_RECORD_BYTES: Final = 1 << 20
_FRAMING: Final = struct.Struct(">IB16sQ")
_CHECK: Final = struct.Struct(">I")
_RECORD_HEADER_BYTES: Final = _FRAMING.size + _CHECK.size
_TAG_BYTES: Final = 16
_KEY_INFO: Final = b"recproxy write-ahead log v1"
_SEGMENT_NAME: Final = re.compile(r"([0-9a-f]{16})\.wal\Z")


class Kind(IntEnum):
    """What a record holds."""

    DATA = 1
    SEAL = 2


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


class SegmentCiphers:
    """Encrypts the records of one segment, under a key for each recording.

    Args:
        salt: Of the segment.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._ciphers: dict[RecordingId, ChaCha20Poly1305] = {}

    def seal(
        self, keys: RecordingKeys, kind: Kind, offset: int, data: bytes, place: int
    ) -> tuple[bytes, bytes, bytes]:
        """Make one record.

        Args:
            keys: Of the recording.
            kind: What ``data`` is.
            offset: Of the data in the plaintext, or the total length for a seal.
            data: The content.
            place: Offset of the record in the segment; each place is used once.

        Returns:
            The parts of the record, one after the other.
        """
        cipher = self._ciphers.get(keys.recording)
        if cipher is None:
            cipher = _cipher(keys, self._salt)
            self._ciphers[keys.recording] = cipher
        framing = _FRAMING.pack(len(data) + _TAG_BYTES, kind, bytes.fromhex(keys.recording.text), offset)
        sealed = cipher.encrypt(_nonce(place), data, framing)
        return framing, _CHECK.pack(zlib.crc32(framing)), sealed

    def forget(self, recording: RecordingId) -> None:
        """Drop the key of a recording that has ended."""
        self._ciphers.pop(recording, None)


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
        files.unlink(segment_path(number))
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
        for kind, owner, offset, data in _records(files.read(segment_path(number)), keys):
            entry = logged[owner]
            if kind is Kind.DATA:
                entry.pieces.append((offset, data))
            else:
                entry.seal = SealMark(offset, decode_facts(data.decode()))
    return logged


def _records(
    segment: bytes, keys: Mapping[RecordingId, RecordingKeys]
) -> Iterator[tuple[Kind, RecordingId, int, bytes]]:
    if len(segment) < SEGMENT_HEADER_BYTES or not segment.startswith(MAGIC):
        return
    salt = segment[len(MAGIC) : SEGMENT_HEADER_BYTES]
    ciphers: dict[RecordingId, ChaCha20Poly1305] = {}
    place = SEGMENT_HEADER_BYTES
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


def segment_path(number: int) -> str:
    """Path of a segment."""
    return f"{WAL_DIRECTORY}/{number:016x}.wal"
