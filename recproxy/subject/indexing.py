"""Which recordings a telephone number may find, and under which tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
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

    def tokens(
        self, purposes: Collection[str], numbers: Iterable[str], started: datetime
    ) -> NumberTokens | None:
        """Make the tokens of a new recording.

        Args:
            purposes: Its purposes; one that the policy does not know (any more), or whose
                ``access.index`` is ``none``, does not make it findable.
            numbers: Of its parties, as signalled; empty if withheld.
            started: Its start (aware).

        Returns:
            The tokens, and the purposes that they are kept for; None if the recording must not
            be found by number.

        Raises:
            StorageError: The key of the month cannot be read or made.
        """
        policy = self._policy()
        if policy is not self._read:
            self._read, self._indexed = policy, _indexed(policy)
        findable = tuple(purpose for purpose in purposes if purpose in self._indexed)
        if not findable:
            return None
        canonical = policy.numbering.canonical
        made = self._index.tokens([canonical(number) if number else "" for number in numbers], started)
        return replace(made, purposes=findable)


def _indexed(policy: Policy) -> frozenset[str]:
    sheet = Sheet(policy, Language.EN)
    return frozenset(purpose.name for purpose in sheet.purposes if purpose.value("access.index") != _NONE)
