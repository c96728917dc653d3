"""Keys: the recipients, the custody of each recording's age header, the signing key.

``keys/<id>.<purpose>`` holds an age header of one recording: its file key, wrapped to
the recipients of one purpose. There is one for each purpose, and no other copy of the
file key. Destroying one ends the use for that purpose; destroying the last is the
cryptographic erase: everything sealed under the file key (the body and the parties) is
then noise, in every backup that lacks the key store.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from storage.age import (
    AgeError,
    Identity,
    Random,
    Recipient,
    X25519Identity,
    parse_identities,
    parse_recipients,
)
from storage.durable import destroy, destroy_together, write_new, write_together
from storage.errors import FileFault, FileMissing, KeyFileError, KeyUnavailable
from storage.files import Files
from storage.places import KEYS_DIRECTORY, header_path
from storage.tags import RecordingId

_HEADER_NAME: Final = re.compile(r"([0-9a-f]{32})\.([a-z][a-z0-9_]{0,62}(?:\.transcript)?)\Z")
_DRAFT: Final = ".new"
"""A header that may be torn; what it is to replace is untouched."""
_READY: Final = ".next"
"""A header that is whole and durable, and in force; what it replaces may be gone already."""
_MAX_HEADER_BYTES: Final = 1 << 20
_MAX_KEY_FILE_BYTES: Final = 1 << 20


class KeyStore:
    """Custody of the age headers, one file each.

    Args:
        files: The data directory.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def put(self, headers: Mapping[RecordingId, Mapping[str, bytes]]) -> dict[RecordingId, FileFault]:
        """Store the headers of new recordings; they are durable on return, but for those with a fault.

        Args:
            headers: The headers of each recording, by purpose.

        Returns:
            What went wrong, by recording: some of its headers may be on disk, whole or in part.
        """
        try:
            self._files.make_directory(KEYS_DIRECTORY)
        except FileFault as err:
            return dict.fromkeys(headers, err)
        owners: dict[str, RecordingId] = {}
        contents: dict[str, bytes] = {}
        for recording, by_purpose in headers.items():
            for purpose, header in by_purpose.items():
                owners[header_path(recording, purpose)] = recording
                contents[header_path(recording, purpose)] = header
        faults = write_together(self._files, contents)
        return {owners[path]: fault for path, fault in faults.items()}

    def get(self, recording: RecordingId, purpose: str) -> bytes:
        """Read a header.

        Args:
            recording: Which.
            purpose: For which of its purposes.

        Returns:
            The bytes as stored; nothing about them is checked.

        Raises:
            KeyUnavailable: It is not there.
            FileFault: It cannot be read.
        """
        path = header_path(recording, purpose)
        if self._files.size(path + _READY) is not None:
            return self._files.read(path + _READY, 0, _MAX_HEADER_BYTES)
        try:
            return self._files.read(path, 0, _MAX_HEADER_BYTES)
        except FileMissing as err:
            raise KeyUnavailable(
                f"the key of recording {recording} for {purpose} is not in the key store ({path})"
            ) from err

    def exists(self, recording: RecordingId, purposes: Iterable[str]) -> bool:
        """Tell whether a header for any of these purposes is there."""
        return any(self._files.size(path) is not None for path in _paths(recording, purposes))

    def destroy(self, recording: RecordingId, purposes: Collection[str]) -> bool:
        """Overwrite, sync, unlink, sync the directory; may be repeated.

        Args:
            recording: Which.
            purposes: The headers for these.

        Returns:
            False if all were gone already.

        Raises:
            FileFault: A key may still be there; repeat.
        """
        present = self.exists(recording, purposes)
        for fault in self.destroy_several({recording: purposes}).values():
            raise fault
        return present

    def destroy_several(self, purposes: Mapping[RecordingId, Iterable[str]]) -> dict[RecordingId, FileFault]:
        """Destroy the headers of recordings together, with one sync of the directory; may be repeated.

        Args:
            purposes: The headers of each recording.

        Returns:
            What went wrong, by recording: a key of it may still be there, repeat.
        """
        owners = {path: one for one, named in purposes.items() for path in _paths(one, named)}
        try:
            self._files.make_directory(KEYS_DIRECTORY)
        except FileFault as err:
            return dict.fromkeys(purposes, err)
        return {owners[path]: fault for path, fault in destroy_together(self._files, owners).items()}

    def exchange(self, recording: RecordingId, purpose: str, header: bytes) -> None:
        """Put a header in the place of another; that one is destroyed once the new one was read back.

        Args:
            recording: Whose.
            purpose: For which purpose.
            header: The new one.

        Raises:
            KeyUnavailable: What was read back is not what was written; the old one is in force.
            FileFault: One of the two is in force; ``settle`` says which, and finishes it.
        """
        self.settle(recording, purpose)
        path = header_path(recording, purpose)
        write_new(self._files, path + _DRAFT, header)
        if self._files.read(path + _DRAFT, 0, _MAX_HEADER_BYTES) != header:
            raise KeyUnavailable(f"{path + _DRAFT} is not what was written: the disk is at fault")
        self._files.rename(path + _DRAFT, path + _READY)
        self._files.sync_directory(KEYS_DIRECTORY)
        self._finish(path)

    def settle(self, recording: RecordingId, purpose: str) -> None:
        """Finish or take back an exchange that was cut short; nothing to do if none was.

        Raises:
            FileFault: Repeat.
        """
        path = header_path(recording, purpose)
        destroy(self._files, path + _DRAFT)
        if self._files.size(path + _READY) is not None:
            self._finish(path)

    def _finish(self, path: str) -> None:
        destroy(self._files, path)
        self._files.rename(path + _READY, path)
        self._files.sync_directory(KEYS_DIRECTORY)

    def headers(self) -> tuple[tuple[RecordingId, str], ...]:
        """Recording and purpose of all headers in the store; foreign names are left out."""
        matches = map(_HEADER_NAME.match, self._files.names(KEYS_DIRECTORY))
        return tuple((RecordingId(match[1]), match[2]) for match in matches if match)


def _paths(recording: RecordingId, purposes: Iterable[str]) -> list[str]:
    """Every name that a header for these purposes may have."""
    return [
        header_path(recording, purpose) + suffix for purpose in purposes for suffix in ("", _DRAFT, _READY)
    ]


@dataclass(frozen=True, slots=True)
class GeneratedKeys:
    """Names of freshly made key files and the public parts, for display.

    Attributes:
        private: Path of the private key file (0600).
        public: Path of the public key file (0600).
        shown: The public key as text: an ``age1…`` recipient or a fingerprint.
    """

    private: str
    public: str
    shown: str


def generate_identity(files: Files, name: str, random: Random = secrets.token_bytes) -> GeneratedKeys:
    """Make an identity and its recipient; neither file may exist.

    The identity opens every recording: it belongs on another machine than the
    recorder, which needs the recipient alone.

    Args:
        files: The directory to write in.
        name: Path without suffix; ``.identity`` and ``.recipient`` are added.
        random: Source of randomness.

    Returns:
        Names and the ``age1…`` recipient.

    Raises:
        FilePresent: A key of that name exists; nothing was overwritten.
        FileFault: A file cannot be written.
    """
    identity = X25519Identity.generate(random)
    recipient = str(identity.recipient)
    private, public = f"{name}.identity", f"{name}.recipient"
    write_new(files, private, f"# public key: {recipient}\n{identity.secret_text()}\n".encode())
    write_new(files, public, f"{recipient}\n".encode())
    return GeneratedKeys(private, public, recipient)


def generate_signing_key(files: Files, name: str) -> GeneratedKeys:
    """Make the Ed25519 key pair of the audit chain; neither file may exist.

    Args:
        files: The directory to write in.
        name: Path without suffix; ``.key`` and ``.pub`` are added.

    Returns:
        Names and the fingerprint that stands in every line of the chain.

    Raises:
        FilePresent: A key of that name exists; nothing was overwritten.
        FileFault: A file cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    private, public = f"{name}.key", f"{name}.pub"
    write_new(files, private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_new(files, public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return GeneratedKeys(private, public, raw.hex())


def load_recipients(files: Files, path: str) -> tuple[Recipient, ...]:
    """Read a recipients file.

    Raises:
        KeyFileError: A line is no recipient, or is a private key; names file and line.
        FileFault: It cannot be read.
    """
    try:
        return parse_recipients(_text(files, path), path)
    except AgeError as err:
        raise KeyFileError(str(err)) from err


def load_identities(files: Files, path: str) -> tuple[Identity, ...]:
    """Read an identity file; never called by the daemon.

    Raises:
        KeyFileError: A line is no identity; names file and line, never shows it.
        FileFault: It cannot be read.
    """
    try:
        return parse_identities(_text(files, path), path)
    except AgeError as err:
        raise KeyFileError(str(err)) from err


def load_signing_key(files: Files, path: str) -> Ed25519PrivateKey:
    """Read the private key that signs the audit chain.

    Raises:
        KeyFileError: The file is no unencrypted Ed25519 key in PEM.
        FileFault: It cannot be read.
    """
    try:
        key = load_pem_private_key(files.read(path, 0, _MAX_KEY_FILE_BYTES), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise KeyFileError(f'{path}: no private key in PEM: make one with "recproxy keys generate"') from err
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: not an Ed25519 key: the audit chain is signed with Ed25519 only")
    return key


def load_verify_key(files: Files, path: str) -> Ed25519PublicKey:
    """Read the public key that verifies the audit chain.

    Raises:
        KeyFileError: The file is no Ed25519 public key in PEM.
        FileFault: It cannot be read.
    """
    try:
        key = load_pem_public_key(files.read(path, 0, _MAX_KEY_FILE_BYTES))
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise KeyFileError(f"{path}: no public key in PEM: give the .pub file of the signing key") from err
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path}: not an Ed25519 key: the audit chain is signed with Ed25519 only")
    return key


def _text(files: Files, path: str) -> str:
    try:
        return files.read(path, 0, _MAX_KEY_FILE_BYTES).decode()
    except UnicodeDecodeError as err:
        raise KeyFileError(
            f"{path}: is not text: give the file that age-keygen writes; one that is itself encrypted "
            'is decrypted first, with "age -d"'
        ) from err
