"""Which recordings a telephone number may find, and under which tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from recproxy.notices import Language, Sheet
from recproxy.policy import Policy
from storage.numberindex import NumberIndex
from storage.tags import NumberTokens

__all__ = ["NumberIndexer"]

_NONE: Final = "none"


class NumberIndexer:
    """Makes the tokens of a recording as the policy allows it; for the thread that records.

    Args:
        index: Makes tokens.
        policy: Gives the policy in force.
    """

    def __init__(self, index: NumberIndex, policy: Callable[[], Policy]) -> None:
        self._index = index
        self._policy = policy
        self._read: Policy | None = None
        self._indexed: frozenset[str] = frozenset()

    def tokens(self, purpose: str, numbers: Iterable[str], started: datetime) -> NumberTokens | None:
        """Make the tokens of a new recording.

        Args:
            purpose: Its purpose; one that the policy does not know (any more), or whose
                ``access.index`` is ``none``, is not indexed.
            numbers: Of its parties, as signalled; empty if withheld.
            started: Its start (aware).

        Returns:
            The tokens; None if the recording must not be found by number.

        Raises:
            StorageError: The key of the month cannot be read or made.
        """
        policy = self._policy()
        if policy is not self._read:
            self._read, self._indexed = policy, _indexed(policy)
        if purpose not in self._indexed:
            return None
        canonical = policy.numbering.canonical
        return self._index.tokens([canonical(number) if number else "" for number in numbers], started)


def _indexed(policy: Policy) -> frozenset[str]:
    sheet = Sheet(policy, Language.EN)
    return frozenset(purpose.name for purpose in sheet.purposes if purpose.value("access.index") != _NONE)
