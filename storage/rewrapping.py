"""Wrapping the file key of a recording to longer-lived recipients, before its epoch's key is destroyed.

A hold or a tag keeps a recording beyond the others of its epoch; its header is then the
only thing that needs the epoch's private key. The new header is written, synced and read
back before the old one is overwritten; a crash leaves the one or the other in force, and
rewrapping again does what is left. The body is not touched: the file key stays the same.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from storage.age import AgeError, Identity, Random, Recipient, open_header, seal_header
from storage.audit import AuditLog
from storage.catalogue import Catalogue, State, Wrap
from storage.errors import KeyUnavailable, RecordingNotFound
from storage.files import Files
from storage.keys import KeyStore
from storage.shred import LOCK_PATH
from storage.tags import RecordingId

__all__ = ["Rewrapped", "Rewrapper"]


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """One header that is wrapped to other recipients now.

    Attributes:
        purpose: For which purpose.
        key_group: Of its keys.
        epoch: To whose key pair it was wrapped before.
        sha256: Hash of the new header.
    """

    purpose: str
    key_group: str
    epoch: str
    sha256: str


class Rewrapper:
    """Wraps headers anew.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        audit: Its audit chain.
        recipients: The longer-lived ones.
        random: Source of randomness.
    """

    def __init__(
        self,
        files: Files,
        catalogue: Catalogue,
        audit: AuditLog,
        recipients: Sequence[Recipient],
        random: Random = secrets.token_bytes,
    ) -> None:
        self._files = files
        self._catalogue = catalogue
        self._audit = audit
        self._recipients = tuple(recipients)
        self._random = random
        self._keys = KeyStore(files)

    def rewrap(self, recording: RecordingId, identities: Sequence[Identity]) -> tuple[Rewrapped, ...]:
        """Wrap every header of a recording that is wrapped to an epoch anew. May be repeated.

        Args:
            recording: Which; sealed or aborted.
            identities: Of its epochs.

        Returns:
            What was wrapped anew, also what an earlier try had begun; nothing if none was left.

        Raises:
            RecordingNotFound: There is no such recording (any more), or it is being made or shredded.
            ForeignRecording: Another node has its headers.
            KeyUnavailable: A header is missing, or no identity opens it; it stays as it was.
            StorageError: A file, the chain or the catalogue cannot be written; repeat.
        """
        with self._files.lock(LOCK_PATH):
            row = self._catalogue.get(recording)
            self._catalogue.check_own(row)
            if row.state not in {State.SEALED, State.ABORTED}:
                raise RecordingNotFound(f"recording {recording} is {row.state.value}: its key cannot change")
            living = {term.purpose for term in row.tags.terms}
            living |= {file.slot for file in self._catalogue.derived.of(recording)}
            wraps = [wrap for wrap in self._catalogue.wraps.of(recording).values() if wrap.epoch]
            return tuple(self._one(recording, wrap, identities) for wrap in wraps if wrap.purpose in living)

    def _one(self, recording: RecordingId, wrap: Wrap, identities: Sequence[Identity]) -> Rewrapped:
        purpose = wrap.purpose
        self._keys.settle(recording, purpose)
        header = self._keys.get(recording, purpose)
        found = hashlib.sha256(header).hexdigest()
        if found != self._catalogue.wraps.pending(recording, purpose):
            header = self._wrapped(recording, purpose, header, identities)
            found = hashlib.sha256(header).hexdigest()
            self._catalogue.wraps.announce(recording, purpose, found)
            self._keys.exchange(recording, purpose, header)
        self._audit.append(
            "key.rewrapped",
            {
                "rec": recording.text,
                "purpose": purpose,
                "key_group": wrap.key_group,
                "epoch": wrap.epoch,
                "key_id": found[:16],
                "outcome": "rewrapped",
            },
        )
        self._catalogue.wraps.confirm(recording, purpose, found)
        return Rewrapped(purpose, wrap.key_group, wrap.epoch, found)

    def _wrapped(
        self, recording: RecordingId, purpose: str, header: bytes, identities: Sequence[Identity]
    ) -> bytes:
        try:
            file_key = open_header(header, identities)
        except AgeError as err:
            raise KeyUnavailable(f"recording {recording}, key for {purpose}: {err}") from err
        return seal_header(file_key, self._recipients, self._random)
