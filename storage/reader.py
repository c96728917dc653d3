"""Reading recordings: verify with a reason, decrypt, salvage what a fault left.

Needs the recipients' identities for anything but the hash; so it runs where the
identities are, not in the daemon. Plaintext leaves as an iterator of bytes; this
module never writes any to disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from storage.age import (
    AgeError,
    ChunkAuthenticationError,
    HeaderError,
    HeaderMacError,
    Identity,
    NoMatchError,
    PayloadDecryptor,
    TrailingDataError,
    TruncatedPayloadError,
    open_header,
)
from storage.bodies import Bodies
from storage.catalogue import Catalogue, CatalogueRow, DerivedFile, State
from storage.container import ContainerError, StreamHeader, decode_header
from storage.errors import (
    BodyMissing,
    KeyDestroyed,
    KeyUnavailable,
    RecordingDamaged,
    RecordingNotFound,
    TruncatedRecording,
)
from storage.files import Files
from storage.keys import KeyStore
from storage.objects import Objects
from storage.openbody import SEALED_SUFFIX
from storage.tags import Parties, RecordingId
from storage.writer import open_parties

_HEADER_SEARCH_BYTES = 1 << 16


class VerifyFault(Enum):
    """Why a recording does not verify."""

    NOT_SEALED = "not sealed"
    KEY_DESTROYED = "key destroyed"
    KEY_MISSING = "key missing"
    KEY_DAMAGED = "key damaged"
    NO_IDENTITY = "no matching identity"
    BODY_MISSING = "body missing"
    TRUNCATED = "truncated"
    ALTERED = "altered"
    TRAILING = "trailing bytes"
    HASH = "hash differs"
    CONTENT = "unexpected content"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of verifying one recording.

    Attributes:
        recording: Which.
        fault: None if it is sound.
        reason: One sentence for a person; says what was checked if it is sound.
        decrypted: True if every chunk was opened; False if only lengths and the
            hash of the ciphertext could be checked.
    """

    recording: RecordingId
    fault: VerifyFault | None
    reason: str
    decrypted: bool

    @property
    def sound(self) -> bool:
        """True if nothing is wrong."""
        return self.fault is None


@dataclass(frozen=True, slots=True)
class Plaintext:
    """An opened recording.

    Attributes:
        header: Format, id and facts, as sealed with the audio.
        frames: Pieces of sample frames, each whole frames. Consume it to its end:
            only then it is known that nothing was cut.
    """

    header: StreamHeader
    frames: Iterator[bytes]


class Reader:
    """Reads the recordings of a data directory.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        objects: Where sealed bodies may be instead; None if they are all in the data directory.
    """

    def __init__(self, files: Files, catalogue: Catalogue, objects: Objects | None = None) -> None:
        self._catalogue = catalogue
        self._keys = KeyStore(files)
        self._bodies = Bodies(files, objects)

    def verify(self, recording: RecordingId, identities: Sequence[Identity] = ()) -> Verdict:
        """Check a recording and say what is wrong with it.

        Args:
            recording: Which.
            identities: With them every chunk is opened; without, only the hash
                of the ciphertext and the presence of the key are checked.

        Returns:
            The verdict; a fault is an answer, not an exception.

        Raises:
            RecordingNotFound: Neither a row nor a tombstone.
            FileFault: A file cannot be read.
        """
        try:
            row = self._row(recording)
            if row.state is not State.SEALED:
                return Verdict(recording, VerifyFault.NOT_SEALED, f"it is {row.state.value}", decrypted=False)
            for term in row.tags.terms:
                self._header(row, term.purpose)
            opened = self._check_chunks(row, identities) if identities else "key present"
            self._check_hash(row)
            opened += self._check_derived(row, identities)
        except _FAULTS as err:
            return Verdict(recording, _fault(err), str(err), decrypted=bool(identities))
        return Verdict(recording, None, f"hash matches, {opened}", decrypted=bool(identities))

    def wav(self, recording: RecordingId, identities: Sequence[Identity]) -> Iterator[bytes]:
        """Decrypt a sealed recording to the bytes of its WAV stream.

        Args:
            recording: Which.
            identities: Of a recipient.

        Yields:
            Authentic pieces, in order.

        Raises:
            KeyDestroyed: It is shredded.
            KeyUnavailable: No header, or no identity opens it.
            TruncatedRecording: Its end is missing (raised after the last good piece).
            RecordingDamaged: A chunk was altered or moved (likewise).
            FileFault: A file cannot be read.
        """
        row = self._row(recording)
        if row.state is not State.SEALED:
            raise TruncatedRecording(f"recording {recording} is {row.state.value}, not sealed: salvage it")
        yield from self._pieces(row, self._file_key(row, identities))

    def open(self, recording: RecordingId, identities: Sequence[Identity]) -> Plaintext:
        """Decrypt a sealed recording to its format and frames.

        Args:
            recording: Which.
            identities: Of a recipient.

        Returns:
            Header and an iterator of frames, which raises as ``wav`` does.

        Raises:
            StorageError: See ``wav``.
        """
        return _plaintext(self.wav(recording, identities))

    def salvage(self, recording: RecordingId, identities: Sequence[Identity]) -> Iterator[bytes]:
        """Decrypt as many whole chunks as are sound, of a recording in any state.

        Args:
            recording: Which.
            identities: Of a recipient.

        Yields:
            Pieces of the WAV stream; it simply ends where the first fault is.

        Raises:
            KeyUnavailable: No header, or no identity opens it.
            BodyMissing: There is no body.
            FileFault: A file cannot be read.
        """
        row = self._row(recording)
        try:
            yield from self._pieces(row, self._file_key(row, identities))
        except BodyMissing:
            raise
        except RecordingDamaged:
            return

    def parties(self, recording: RecordingId, identities: Sequence[Identity]) -> Parties:
        """Decrypt who called whom.

        Args:
            recording: Which.
            identities: Of a recipient.

        Returns:
            The parties in full.

        Raises:
            KeyUnavailable: No header, or no identity opens it.
            RecordingDamaged: They were altered.
        """
        row = self._row(recording)
        return open_parties(row.parties, self._file_key(row, identities))

    def derived(self, file: DerivedFile, identities: Sequence[Identity]) -> bytes:
        """Decrypt what was made from a recording, such as its transcript.

        Args:
            file: From the catalogue; sealed.
            identities: Of a recipient.

        Returns:
            Its plaintext, authentic and whole.

        Raises:
            StorageError: See ``wav``.
        """
        row = self._row(file.recording)
        return b"".join(self._pieces(file, self._open_header(row, file.slot, identities)))

    def _check_derived(self, row: CatalogueRow, identities: Sequence[Identity]) -> str:
        """Check what was made from a recording; says what was found sound."""
        said = ""
        for file in self._catalogue.derived.of(row.tags.recording):
            if file.state is State.SEALED:
                self._header(row, file.slot)
                if identities:
                    self.derived(file, identities)
                self._check_hash(file)
                said += f"; its {file.kind.value} too"
        return said

    def _row(self, recording: RecordingId) -> CatalogueRow:
        try:
            return self._catalogue.get(recording)
        except RecordingNotFound:
            tombstone = self._catalogue.tombstone(recording)
            if tombstone is None:
                raise
            raise KeyDestroyed(
                f"recording {recording} was {tombstone.state.value} on "
                f"{tombstone.gone_at:%Y-%m-%d} ({tombstone.cause}); it cannot be opened any more"
            ) from None

    def _file_key(self, row: CatalogueRow, identities: Sequence[Identity]) -> bytes:
        """By the header of any purpose that has not ended and that an identity opens."""
        *others, last = (term.purpose for term in row.tags.terms)
        for purpose in others:
            try:
                return self._open_header(row, purpose, identities)
            except _NoIdentityError:
                continue
        return self._open_header(row, last, identities)

    def _open_header(self, row: CatalogueRow, purpose: str, identities: Sequence[Identity]) -> bytes:
        recording = row.tags.recording
        try:
            return open_header(self._header(row, purpose), identities)
        except KeyUnavailable:
            if row.state is State.SHREDDING:
                raise KeyDestroyed(f"recording {recording} is being shredded: its key is gone") from None
            raise
        except NoMatchError as err:
            raise _NoIdentityError(f"recording {recording}: {err}") from err
        except (HeaderError, HeaderMacError) as err:
            raise _KeyDamagedError(f"the key of recording {recording} is damaged: {err}") from err

    def _header(self, row: CatalogueRow, purpose: str) -> bytes:
        """A header, which the key store of another node may have."""
        try:
            return self._keys.get(row.tags.recording, purpose)
        except KeyUnavailable as err:
            if self._catalogue.owns(row):
                raise
            raise KeyUnavailable(
                f"the key of recording {row.tags.recording} is in the key store of node {row.tags.node}: "
                "do it there"
            ) from err

    def _pieces(self, row: CatalogueRow | DerivedFile, file_key: bytes) -> Iterator[bytes]:
        path = self._bodies.find(row.body)
        if path is None:
            raise BodyMissing(f"the body {row.body}{SEALED_SUFFIX} is missing")
        decryptor = PayloadDecryptor(file_key)
        try:
            for sealed in self._bodies.pieces(path):
                if piece := decryptor.feed(sealed):
                    yield piece
            if piece := decryptor.finish():
                yield piece
        except TruncatedPayloadError as err:
            raise TruncatedRecording(f"{path}: {err}") from err
        except ChunkAuthenticationError as err:
            raise self._chunk_error(row, path, err) from err
        except TrailingDataError as err:
            raise _TrailingError(f"{path}: {err}") from err
        except AgeError as err:
            raise RecordingDamaged(f"{path}: {err}") from err

    def _chunk_error(
        self, row: CatalogueRow | DerivedFile, path: str, err: ChunkAuthenticationError
    ) -> RecordingDamaged:
        """A cut inside a chunk looks like an altered one; the catalogue knows the length."""
        size = self._bodies.size(path)
        if size < row.size_bytes:
            return TruncatedRecording(f"{path} has {size} bytes, it was sealed with {row.size_bytes}: {err}")
        return RecordingDamaged(f"{path}: {err}")

    def _check_chunks(self, row: CatalogueRow, identities: Sequence[Identity]) -> str:
        plaintext = _plaintext(self._pieces(row, self._file_key(row, identities)))
        size = sum(len(piece) for piece in plaintext.frames)
        frames = size // plaintext.header.audio.frame_bytes
        if plaintext.header.info.recording_id != row.tags.recording.text:
            raise _ContentError(f"the body is that of recording {plaintext.header.info.recording_id}")
        if row.facts is not None and frames != row.facts.frames:
            raise _ContentError(f"{frames} frames, the catalogue says {row.facts.frames}")
        return f"every chunk authenticates, {frames} frames"

    def _check_hash(self, row: CatalogueRow | DerivedFile) -> None:
        path = self._bodies.find(row.body)
        if path is None:
            raise BodyMissing(f"the body {row.body}{SEALED_SUFFIX} is missing")
        digest, size = hashlib.sha256(), 0
        for piece in self._bodies.pieces(path):
            digest.update(piece)
            size += len(piece)
        if size < row.size_bytes:
            raise TruncatedRecording(f"{path} has {size} bytes, it was sealed with {row.size_bytes}")
        if size > row.size_bytes:
            raise _TrailingError(f"{path} has {size} bytes, it was sealed with {row.size_bytes}")
        if digest.hexdigest() != row.sha256:
            raise _HashError(f"{path} is not the file that was sealed: its SHA-256 differs")


class _NoIdentityError(KeyUnavailable):
    """The header is for other recipients."""


class _KeyDamagedError(KeyUnavailable):
    """The header was altered."""


class _TrailingError(RecordingDamaged):
    """Bytes follow the final chunk."""


class _HashError(RecordingDamaged):
    """The ciphertext is not what was sealed."""


class _ContentError(RecordingDamaged):
    """It decrypts, but to something else."""


_FAULTS = (RecordingDamaged, KeyUnavailable, ContainerError)


def _fault(err: BaseException) -> VerifyFault:
    match err:
        case KeyDestroyed():
            return VerifyFault.KEY_DESTROYED
        case _NoIdentityError():
            return VerifyFault.NO_IDENTITY
        case _KeyDamagedError():
            return VerifyFault.KEY_DAMAGED
        case KeyUnavailable():
            return VerifyFault.KEY_MISSING
        case BodyMissing():
            return VerifyFault.BODY_MISSING
        case TruncatedRecording():
            return VerifyFault.TRUNCATED
        case _TrailingError():
            return VerifyFault.TRAILING
        case _HashError():
            return VerifyFault.HASH
        case _ContentError() | ContainerError():
            return VerifyFault.CONTENT
        case _:
            return VerifyFault.ALTERED


def _plaintext(pieces: Iterator[bytes]) -> Plaintext:
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= _HEADER_SEARCH_BYTES:
            break
    header = decode_header(start)
    return Plaintext(header, _frames(start[header.data_offset :], pieces, header.audio.frame_bytes))


def _frames(first: bytes, pieces: Iterator[bytes], frame_bytes: int) -> Iterator[bytes]:
    rest = first
    for piece in pieces:
        whole = len(rest) - len(rest) % frame_bytes
        if whole:
            yield rest[:whole]
        rest = rest[whole:] + piece
    whole = len(rest) - len(rest) % frame_bytes
    if whole:
        yield rest[:whole]
