"""Key pairs that change with the day or month: their names, their public halves, their end.

A key group may have a key pair for each epoch. The recorder holds the public halves,
``<group>/<epoch>.recipient``; the private ones, ``<group>/<epoch>.identity``, are made and
kept elsewhere. Once no recording is wrapped to an epoch any more, its private half is
destroyed: every stray copy of those headers, in whatever backup, is then noise.

Epochs are days (``2026-12-01``) or months (``2026-12``) in UTC, by the start of a recording.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final

from storage.age import AgeError, Random, Recipient, X25519Identity, encrypt, parse_recipients
from storage.age.scrypt import PassphraseRecipient
from storage.durable import destroy, write_new
from storage.errors import FileMissing, KeyFileError, KeyUnavailable
from storage.files import Files

__all__ = [
    "EpochLength",
    "EpochPair",
    "EpochShelf",
    "destroy_identity",
    "end_of",
    "epoch_of",
    "following",
    "length_of",
    "make_pair",
]

_DAY: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-[0-9]{2}\Z")
_MONTH: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])\Z")
_GROUP: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
_MOST_BYTES: Final = 1 << 16
_PUBLIC: Final = ".recipient"
_PRIVATE: Final = ".identity"
_RETIRED: Final = ".retired"
_DECEMBER: Final = 12


class EpochLength(Enum):
    """For how long one key pair is used."""

    DAY = "day"
    MONTH = "month"


def epoch_of(instant: datetime, length: EpochLength) -> str:
    """The epoch that an instant (aware) is in."""
    moved = instant.astimezone(UTC)
    return f"{moved:%Y-%m-%d}" if length is EpochLength.DAY else f"{moved:%Y-%m}"


def length_of(epoch: str) -> EpochLength:
    """Whether an epoch is a day or a month.

    Raises:
        KeyFileError: It is neither.
    """
    if _MONTH.match(epoch):
        return EpochLength.MONTH
    try:
        if _DAY.match(epoch) and date.fromisoformat(epoch):
            return EpochLength.DAY
    except ValueError:
        pass
    raise KeyFileError(f"{epoch!r} is no epoch: give a day such as 2026-12-01 or a month such as 2026-12")


def end_of(epoch: str) -> datetime:
    """The instant (UTC) at which an epoch is over.

    Raises:
        KeyFileError: It is no epoch.
    """
    return _start(_next(epoch))


def following(epoch: str, count: int) -> tuple[str, ...]:
    """An epoch and those after it, ``count`` in all.

    Raises:
        KeyFileError: It is no epoch.
    """
    length_of(epoch)
    found = []
    for _ in range(count):
        found.append(epoch)
        epoch = _next(epoch)
    return tuple(found)


def _next(epoch: str) -> str:
    if length_of(epoch) is EpochLength.DAY:
        return (date.fromisoformat(epoch) + timedelta(days=1)).isoformat()
    year, month = map(int, epoch.split("-"))
    return f"{year + 1:04}-01" if month == _DECEMBER else f"{year:04}-{month + 1:02}"


def _start(epoch: str) -> datetime:
    day = epoch if length_of(epoch) is EpochLength.DAY else f"{epoch}-01"
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)


@dataclass(frozen=True, slots=True)
class EpochPair:
    """A key pair that was made.

    Attributes:
        key_group: Of which group.
        epoch: Of which epoch.
        private: Path of the private half; stays with whoever made it.
        public: Path of the public half; belongs on the recorder.
        recipient: The public half itself.
    """

    key_group: str
    epoch: str
    private: str
    public: str
    recipient: str


def make_pair(
    files: Files,
    key_group: str,
    epoch: str,
    passphrase: str = "",
    random: Random = secrets.token_bytes,
) -> EpochPair:
    """Make the key pair of one epoch; neither file may exist. Never on the recorder.

    Args:
        files: The directory to write in.
        key_group: Of which group.
        epoch: Of which epoch.
        passphrase: Encrypts the private half (age, scrypt); it must be random. Empty for none.
        random: Source of randomness.

    Raises:
        KeyFileError: Group or epoch is none.
        FilePresent: A key of that name exists; nothing was overwritten.
        FileFault: A file cannot be written.
    """
    _check(key_group, epoch)
    identity = X25519Identity.generate(random)
    recipient = str(identity.recipient)
    secret = f"# {key_group} {epoch}\n# public key: {recipient}\n{identity.secret_text()}\n".encode()
    if passphrase:
        secret = encrypt(secret, [PassphraseRecipient(passphrase)], random)
    files.make_directory(key_group)
    private, public = _path(key_group, epoch, _PRIVATE), _path(key_group, epoch, _PUBLIC)
    write_new(files, private, secret)
    write_new(files, public, f"{recipient}\n".encode())
    return EpochPair(key_group, epoch, private, public, recipient)


def destroy_identity(files: Files, key_group: str, epoch: str) -> bool:
    """Overwrite, sync and unlink the private half of an epoch; may be repeated.

    Args:
        files: The directory that ``make_pair`` wrote in.
        key_group: Of which group.
        epoch: Of which epoch.

    Returns:
        False if there was none.

    Raises:
        KeyFileError: Group or epoch is none, or the file is still there.
        FileFault: It may still be readable; repeat.
    """
    _check(key_group, epoch)
    path = _path(key_group, epoch, _PRIVATE)
    files.make_directory(key_group)
    there = destroy(files, path)
    if files.size(path) is not None:
        raise KeyFileError(f"{path} is still there after it was removed")
    return there


class EpochShelf:
    """The public halves on a recorder.

    Args:
        files: The directory that ``storage.epochs`` names.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def recipients(self, key_group: str, epoch: str) -> tuple[Recipient, ...]:
        """The public half of an epoch.

        Raises:
            KeyUnavailable: There is none.
            KeyFileError: It is no recipient.
            FileFault: It cannot be read.
        """
        path = _path(key_group, epoch, _PUBLIC)
        try:
            text = self._files.read(path, 0, _MOST_BYTES).decode()
        except FileMissing as err:
            raise KeyUnavailable(
                f"key group {key_group} has no key for {epoch} ({path}): make it with "
                '"recproxy keys epochs make" where the private keys are, and put its .recipient here'
            ) from err
        except UnicodeDecodeError as err:
            raise KeyFileError(f"{path}: is not text: give what age-keygen -y prints") from err
        try:
            return parse_recipients(text, path)
        except AgeError as err:
            raise KeyFileError(str(err)) from err

    def installed(self, key_group: str) -> tuple[str, ...]:
        """Epochs of a group that can be used, oldest first."""
        return self._with_suffix(key_group, _PUBLIC)

    def retired(self, key_group: str) -> tuple[str, ...]:
        """Epochs of a group that are used no more and whose private half is to be destroyed."""
        return self._with_suffix(key_group, _RETIRED)

    def misplaced(self, key_group: str) -> tuple[str, ...]:
        """Private halves that lie here, where they must not be; sorted epochs."""
        return self._with_suffix(key_group, _PRIVATE)

    def retire(self, key_group: str, epoch: str) -> tuple[Recipient, ...]:
        """Take the public half of an epoch out of use; may be repeated.

        Returns:
            It.

        Raises:
            KeyUnavailable: There is none.
            FileFault: Repeat.
        """
        public, retired = _path(key_group, epoch, _PUBLIC), _path(key_group, epoch, _RETIRED)
        if self._files.size(public) is not None:
            found = self.recipients(key_group, epoch)
            self._files.rename(public, retired)
            self._files.sync_directory(key_group)
            return found
        try:
            return parse_recipients(self._files.read(retired, 0, _MOST_BYTES).decode(), retired)
        except FileMissing as err:
            raise KeyUnavailable(f"key group {key_group} has no key for {epoch}") from err
        except AgeError as err:
            raise KeyFileError(str(err)) from err

    def forget(self, key_group: str, epoch: str) -> None:
        """Remove the public half of an epoch whose private half is destroyed; may be repeated."""
        path = _path(key_group, epoch, _RETIRED)
        if self._files.size(path) is not None:
            self._files.unlink(path)
            self._files.sync_directory(key_group)

    def covered_until(self, key_group: str, length: EpochLength, now: datetime) -> datetime:
        """When the keys run out: the end of the last epoch from ``now`` on without a gap.

        Returns:
            ``now`` itself if there is none for the epoch that it is in.
        """
        there = set(self.installed(key_group))
        epoch, until = epoch_of(now, length), now
        while epoch in there:
            until, epoch = end_of(epoch), _next(epoch)
        return until

    def _with_suffix(self, key_group: str, suffix: str) -> tuple[str, ...]:
        names = (name.removesuffix(suffix) for name in self._files.names(key_group) if name.endswith(suffix))
        return tuple(sorted(name for name in names if _DAY.match(name) or _MONTH.match(name)))


def recipient_texts(recipients: Sequence[Recipient]) -> str:
    """Recipients as one text, for the audit chain."""
    return " ".join(map(str, recipients))


def _path(key_group: str, epoch: str, suffix: str) -> str:
    return f"{key_group}/{epoch}{suffix}"


def _check(key_group: str, epoch: str) -> None:
    if not _GROUP.match(key_group):
        raise KeyFileError(f"{key_group!r} is no key group: lower-case letters, digits, - and _")
    length_of(epoch)
