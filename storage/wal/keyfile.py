"""``wal/<id>.key``: what completing one open recording takes; gone once it is sealed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from storage.age import FILE_KEY_BYTES, PAYLOAD_NONCE_BYTES
from storage.container import AudioFormat, Encoding
from storage.durable import destroy_together, write_together
from storage.errors import FileFault, FileMissing, WalError
from storage.files import Files
from storage.tags import RecordingId

WAL_DIRECTORY: Final = "wal"
SECRET_BYTES: Final = 32
_KEY_FILE_VERSION: Final = 2
_KEY_NAME: Final = re.compile(r"([0-9a-f]{32})\.key\Z")
_MAX_KEY_FILE_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class RecordingKeys:
    """What completes one open recording; secret, gone once it is sealed.

    Attributes:
        recording: Whose.
        body: Path of its body, without suffix.
        audio: Format of its samples.
        header_bytes: Length of the WAV header at the start of the plaintext.
        header_sha256: Hash of each age header in the key store, by purpose, which recovery checks.
        file_key: age file key, 16 bytes.
        nonce: Payload nonce of the body, 16 bytes.
        secret: Secret of its log records, 32 bytes.
    """

    recording: RecordingId
    body: str
    audio: AudioFormat
    header_bytes: int
    header_sha256: Mapping[str, str]
    file_key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    secret: bytes = field(repr=False)


def write_keys(files: Files, keys: Sequence[RecordingKeys]) -> dict[RecordingId, FileFault]:
    """Store the keys of recordings that are about to be opened; durable on return, but for faults.

    Args:
        files: The data directory.
        keys: What to store.

    Returns:
        What went wrong, by recording: part of its key file may be on disk.
    """
    paths = {_key_path(each.recording): each for each in keys}
    try:
        files.make_directory(WAL_DIRECTORY)
    except FileFault as err:
        return {each.recording: err for each in keys}
    faults = write_together(files, {path: _encode(each) for path, each in paths.items()})
    return {paths[path].recording: fault for path, fault in faults.items()}


def _encode(keys: RecordingKeys) -> bytes:
    text = json.dumps(
        {
            "v": _KEY_FILE_VERSION,
            "recording": keys.recording.text,
            "body": keys.body,
            "encoding": keys.audio.encoding.name,
            "rate_hz": keys.audio.rate_hz,
            "channels": keys.audio.channels,
            "header_bytes": keys.header_bytes,
            "header_sha256": dict(keys.header_sha256),
            "file_key": keys.file_key.hex(),
            "nonce": keys.nonce.hex(),
            "secret": keys.secret.hex(),
        }
    ).encode()
    return text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"


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
        raise WalError(
            f"{_key_path(recording)} is of version {values['v']} for {values['recording']}, not "
            f"{_KEY_FILE_VERSION}: let the version that wrote it complete what was open, then upgrade"
        )
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


def destroy_keys(files: Files, recording: RecordingId) -> None:
    """Destroy the keys of a recording that is sealed or discarded; may be repeated.

    Raises:
        FileFault: They may still be there; repeat.
    """
    for fault in destroy_keys_together(files, [recording]).values():
        raise fault


def destroy_keys_together(files: Files, recordings: Iterable[RecordingId]) -> dict[RecordingId, FileFault]:
    """Destroy the keys of recordings that are sealed or discarded; may be repeated.

    Returns:
        What went wrong, by recording: its keys may still be there, repeat.
    """
    paths = {_key_path(recording): recording for recording in recordings}
    try:
        files.make_directory(WAL_DIRECTORY)
    except FileFault as err:
        return dict.fromkeys(paths.values(), err)
    return {paths[path]: fault for path, fault in destroy_together(files, paths).items()}


def keyed_recordings(files: Files) -> tuple[RecordingId, ...]:
    """Recordings that have a key file: open ones, and what a crash left."""
    matches = map(_KEY_NAME.match, files.names(WAL_DIRECTORY))
    return tuple(RecordingId(match[1]) for match in matches if match)


def _key_path(recording: RecordingId) -> str:
    return f"{WAL_DIRECTORY}/{recording}.key"
