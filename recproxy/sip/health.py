"""Whether a server answers: up, suspect or down, by what it answered and what it did not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["ANSWERS_UP", "MISSES_DOWN", "Change", "Health", "State"]

MISSES_DOWN: Final = 2  # one lost datagram takes no server out
ANSWERS_UP: Final = 2


class State(Enum):
    """Of a server."""

    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"


class Change(Enum):
    """What the event log says of a server."""

    UP = "target.up"
    DOWN = "target.down"


@dataclass(slots=True)
class Health:
    """One server. All times are monotonic seconds.

    Attributes:
        state: What is thought of it.
        misses: Requests without an answer since the last answer.
        answers: Answers since it went down.
        avoided_until: It asked not to be called before (Retry-After).
        resting_until: It failed, nothing asks it how it is, and others are tried before.
    """

    state: State = State.UP
    misses: int = 0
    answers: int = 0
    avoided_until: float = 0.0
    resting_until: float = 0.0

    def answered(self) -> Change | None:
        """It sent a response, of whatever kind."""
        self.misses = 0
        self.resting_until = 0.0
        if self.state is State.DOWN:
            self.answers += 1
            if self.answers < ANSWERS_UP:
                return None
            self.state = State.UP
            return Change.UP
        self.state = State.UP
        return None

    def missed(self) -> Change | None:
        """It did not answer a request in time, or could not be reached."""
        self.answers = 0
        self.misses += 1
        if self.state is State.DOWN:
            return None
        if self.misses < MISSES_DOWN:
            self.state = State.SUSPECT
            return None
        self.state = State.DOWN
        return Change.DOWN

    def avoid(self, until: float) -> None:
        """It asked to be left alone."""
        self.avoided_until = max(self.avoided_until, until)

    def rest(self, until: float) -> None:
        """Try others before it for a while."""
        self.resting_until = max(self.resting_until, until)

    @property
    def unsettled(self) -> bool:
        """Whether the next answer, or its absence, may change what is thought of it."""
        return self.state is State.SUSPECT or (self.state is State.DOWN and self.answers > 0)
