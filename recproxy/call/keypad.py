"""Key sequences that the parties press, and what they ask for. Pure.

A sequence is recognised as its last key arrives; keys that belong to none are
dropped. What was pressed is never shown: only the decision leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

#: Between two keys of one sequence, in seconds; what was pressed before counts no more.
LONGEST_GAP_S: Final = 3.0
#: What a key sequence may consist of; A to D (RFC 4733 section 3.2) are on no telephone.
KEYS: Final = frozenset("0123456789*#")


class Party(Enum):
    """Whose keys count."""

    OUTSIDE = "outside"
    STAFF = "staff"


class KeyAction(Enum):
    """What a key sequence asks for."""

    ACCEPT = "accept"  # yes, record (opt-in)
    REFUSE = "refuse"  # no, do not, or no longer (opt-out)
    PAUSE = "pause"  # stop listening while something is said or typed that must not be kept; again: go on
    START = "start"  # from here on it is to be recorded (manual start)
    LANGUAGE = "language"  # say it in another one
    STOP = "stop"  # up to here it was to be recorded


@dataclass(frozen=True, slots=True)
class Wish:
    """What a party asked for by a key sequence.

    Attributes:
        action: What.
        purposes: Of which purposes; empty if of none in particular.
        language: Which one; empty if it is not about that.
    """

    action: KeyAction
    purposes: tuple[str, ...] = ()
    language: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """One sequence of one party.

    Attributes:
        party: Who may press it.
        keys: One to eight of ``0-9*#``.
        wish: What it asks for.

    Raises:
        ValueError: The keys are none, too many, or not on a telephone.
    """

    party: Party
    keys: str
    wish: Wish

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= _LONGEST or not KEYS.issuperset(self.keys):
            raise ValueError(f"{self.keys!r} is no sequence of 1 to {_LONGEST} of the keys 0-9*#")


_LONGEST: Final = 8


@dataclass(slots=True)
class _Pressed:
    keys: str = field(default="", repr=False)  # never shown
    at: float = 0.0


class Keypad:
    """The keys of one call, by party."""

    def __init__(self, bindings: Iterable[Binding]) -> None:
        """Prepare for these sequences.

        Args:
            bindings: Of one party, no sequence twice; the longest that ends with a key wins.
        """
        self._bindings = sorted(bindings, key=lambda binding: len(binding.keys), reverse=True)
        self._pressed = {party: _Pressed() for party in Party}

    def press(self, party: Party, key: str, now: float) -> Wish | None:
        """Take one key; tell what the sequence that it completes asks for.

        Args:
            party: Who pressed it.
            key: One key; what is not on a telephone ends the sequence.
            now: Monotonic seconds.

        Returns:
            The wish; None if no sequence is complete.
        """
        pressed = self._pressed[party]
        before = pressed.keys if now - pressed.at <= LONGEST_GAP_S else ""
        pressed.keys = (before + key)[-_LONGEST:] if key in KEYS else ""
        pressed.at = now
        for binding in self._bindings:
            if binding.party is party and pressed.keys.endswith(binding.keys):
                pressed.keys = ""
                return binding.wish
        return None
