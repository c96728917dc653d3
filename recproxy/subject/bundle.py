"""The bundle a person gets: an encrypted tar archive, with a signed list of what is in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from recproxy.policy import Numbering
from recproxy.subject.finding import is_caller
from storage import CatalogueRow, Direction, NoticeProof, Parties
from storage.age import Encryptor, Recipient
from storage.audit import fingerprint

__all__ = ["Bundle", "call_facts", "new_passphrase"]

_ALPHABET: Final = "abcdefghjkmnpqrstvwxyz23456789"
_GROUPS, _GROUP = 6, 4
_NOTE: Final = "Confidential: for the person who asked. Publishing a recording may be unlawful."


class Bundle:
    """Writes the archive while it is made; used as a context, ``close`` ends it.

    Args:
        write: Takes the encrypted bytes.
        recipient: Who opens it: a key of the person's own, or a passphrase that is told
            by another way than the file.
        made_at: Stands in the archive (aware).
    """

    def __init__(self, write: Callable[[bytes], object], recipient: Recipient, made_at: datetime) -> None:
        self._sink = _Sealing(write, recipient)
        self._made_at = made_at
        self._tar = tarfile.open(fileobj=self._sink, mode="w|")  # noqa: SIM115 - closed by `close`
        self._files: list[dict[str, object]] = []

    def add(self, name: str, content: bytes) -> str:
        """Add a file.

        Returns:
            Its SHA-256.
        """
        digest = hashlib.sha256(content).hexdigest()
        self._put(name, content)
        self._files.append({"name": name, "bytes": len(content), "sha256": digest})
        return digest

    def add_json(self, name: str, value: Any) -> str:  # noqa: ANN401 - any JSON
        """Add a JSON document; returns its SHA-256."""
        return self.add(name, json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")

    def close(self, case: str, key: Ed25519PrivateKey) -> None:
        """Add the signed list of all files, and end the archive.

        Args:
            case: Id of the case.
            key: Signs; its public part is added too.
        """
        manifest = {
            "case": case,
            "made_at": self._made_at.isoformat(timespec="seconds"),
            "note": _NOTE,
            "signed_with": fingerprint(key.public_key()),
            "files": self._files,
        }
        text = json.dumps(manifest, indent=2).encode() + b"\n"
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._put("manifest.json", text)
        self._put("manifest.json.sig", base64.b64encode(key.sign(text)) + b"\n")
        self._put("audit.pub", public)
        self._tar.close()
        self._sink.finish()

    def _put(self, name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        entry.mode = 0o600
        entry.mtime = int(self._made_at.timestamp())
        self._tar.addfile(entry, io.BytesIO(content))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._sink.drop()


class _Sealing(io.RawIOBase):
    def __init__(self, write: Callable[[bytes], object], recipient: Recipient) -> None:
        self._write = write
        self._encryptor = Encryptor([recipient])
        self._dropped = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - a buffer
        if not self._dropped:
            self._write(self._encryptor.feed(bytes(data)))
        return len(data)

    def finish(self) -> None:
        self._write(self._encryptor.finish())

    def drop(self) -> None:
        """Write no more: what is there has no end and does not open."""
        self._dropped = True


def new_passphrase() -> str:
    """A random passphrase of about 117 bits, in groups that can be read out."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))


def call_facts(
    row: CatalogueRow, parties: Parties, number: str, numbering: Numbering, notes: Sequence[str]
) -> Mapping[str, object]:
    """What a person is told of one call; never the number of another private person.

    Args:
        row: The recording.
        parties: Who called whom.
        number: Of the person, as E.164.
        numbering: How numbers compare.
        notes: Holds and restrictions, as kinds.

    Returns:
        A JSON object.
    """
    tags, facts = row.tags, row.facts
    called = is_caller(parties, number, numbering)
    outside_is_caller = tags.direction is Direction.INBOUND
    own_line = parties.callee if outside_is_caller else parties.caller
    return {
        "recording": tags.recording.text,
        "call": tags.call,  # ours, random; recordings in sequence of one call have the same
        "audio": f"audio/{tags.recording.text}.wav",
        "your_number": number,
        "you_are": "caller, left channel" if called else "called party, right channel",
        "line": own_line if called == outside_is_caller else "withheld: the number of another person",
        "started": tags.started.isoformat(timespec="seconds"),
        "ended": None if facts is None else facts.ended.isoformat(timespec="seconds"),
        "direction": tags.direction.value,
        "purpose": tags.purpose,
        "legal_basis": tags.legal_basis.value,
        "kept_until": tags.kept_until.isoformat(timespec="seconds"),
        "purposes": [
            {
                "purpose": term.purpose,
                "legal_basis": term.legal_basis.value,
                "kept_until": term.expiry.isoformat(timespec="seconds"),
                "announcement": _told(tags.notice_of(term)),
            }
            for term in tags.terms
        ],
        "policy_sha256": tags.policy_version,
        "paused_s": None if facts is None else facts.paused.total_seconds(),
        "announcement": _told(tags.notice),
        "kept_longer_by": list(notes),
    }


def _told(notice: NoticeProof) -> Mapping[str, object]:
    return {
        "name": notice.prompt,
        "sha256": notice.sha256,
        "language": notice.language,
        "heard_by": list(notice.heard_by),
        "completed": notice.completed.isoformat(timespec="seconds"),
    }
