"""Whom a recording is wrapped to: the key pair of its epoch where its key group has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from recproxy.config import FilePath
from recproxy.policy import Policy, PurposeName
from storage import EpochLength, EpochShelf, KeyUnavailable, OsFiles, StorageError
from storage.age import Recipient
from storage.epochs import epoch_of

__all__ = ["SHORT", "EpochKeys", "Wrapping", "epoch_lengths"]

_LONG_LIVED: Final = ""
SHORT: Final = {EpochLength.DAY: timedelta(days=7), EpochLength.MONTH: timedelta(days=31)}
"""With less than this left somebody must make keys."""


@dataclass(frozen=True, slots=True)
class Wrapping:
    """To whom the headers of one recording are wrapped.

    Attributes:
        recipients: By purpose; one that is not here has the long-lived recipients.
        epochs: By purpose its key group and epoch, which is empty for the long-lived recipients.
    """

    recipients: Mapping[str, Sequence[Recipient]] = field(default_factory=dict)
    epochs: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class EpochKeys:
    """Finds the public half of the epoch; any thread.

    Args:
        shelf: Where the public halves are; None if ``storage.epochs`` names no directory.
        policy: Gives the policy in force.
    """

    def __init__(self, shelf: EpochShelf | None, policy: Callable[[], Policy]) -> None:
        self._shelf = shelf
        self._policy = policy
        self._seen: set[tuple[str, str]] = set()

    @classmethod
    def at(cls, directory: FilePath | None, policy: Callable[[], Policy]) -> EpochKeys:
        """The keys in a directory; with None every group that changes its key pair lacks its keys."""
        return cls(None if directory is None else EpochShelf(OsFiles(directory)), policy)

    def wrapping(self, purposes: Iterable[str], started: datetime) -> Wrapping:
        """To whom the headers of a new recording are wrapped.

        Args:
            purposes: Its purposes; of one that the policy has no more the long-lived recipients.
            started: Its start (aware).

        Raises:
            KeyUnavailable: An epoch has no key: the recording must not be made.
            StorageError: A key cannot be read.
        """
        recipients: dict[str, Sequence[Recipient]] = {}
        epochs: dict[str, tuple[str, str]] = {}
        for purpose in purposes:
            named = self._epoch(purpose, started)
            if named is None:
                continue
            epochs[purpose] = named
            if named[1] != _LONG_LIVED:
                recipients[purpose] = self._recipients(*named)
        return Wrapping(recipients, epochs)

    def fault(self, purpose: str, now: datetime) -> str | None:
        """Why nothing can be recorded for a purpose at present; None if it can.

        The disk is asked only for a key that was never seen, so that no call waits for it.

        Args:
            purpose: Which.
            now: The current instant (aware).
        """
        named = self._epoch(purpose, now)
        if named is None or named[1] == _LONG_LIVED or named in self._seen:
            return None
        try:
            self._recipients(*named)
        except StorageError as err:
            return str(err)
        return None

    def covered_until(self, now: datetime) -> Mapping[str, datetime]:
        """When the keys of each group that changes its key pair run out; ``now`` if they have.

        Raises:
            StorageError: The directory cannot be read.
        """
        lengths = epoch_lengths(self._policy())
        if self._shelf is None:
            return dict.fromkeys(lengths, now)
        return {group: self._shelf.covered_until(group, length, now) for group, length in lengths.items()}

    def _epoch(self, purpose: str, moment: datetime) -> tuple[str, str] | None:
        """Key group and epoch of a purpose; None if the policy does not have it any more."""
        policy = self._policy()
        declared = policy.purposes.get(PurposeName(purpose))
        if declared is None:
            return None
        group = declared.storage.key_group
        length = epoch_lengths(policy).get(group)
        return group, _LONG_LIVED if length is None else epoch_of(moment, length)

    def _recipients(self, group: str, epoch: str) -> Sequence[Recipient]:
        if self._shelf is None:
            raise KeyUnavailable(
                f"key group {group} changes its key pair, but storage.epochs names no directory of keys"
            )
        found = self._shelf.recipients(group, epoch)
        self._seen.add((group, epoch))
        return found


def epoch_lengths(policy: Policy) -> Mapping[str, EpochLength]:
    """For how long each key group that has epochs uses one key pair; only groups that a purpose has."""
    used = {purpose.storage.key_group for purpose in policy.purposes.values()}
    lengths = {EpochLength.DAY.value: EpochLength.DAY, EpochLength.MONTH.value: EpochLength.MONTH}
    return {
        name: lengths[group.epoch.value]
        for name, group in policy.file.key_groups.items()
        if name in used and group.epoch.value in lengths
    }
