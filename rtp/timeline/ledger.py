"""Which sequence numbers of a stream came: loss, duplicates, order (RFC 3550 A.1 and A.3)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.sequence import SEQUENCE_BITS, unwrap

__all__ = ["SequenceLedger"]

_REMEMBERED: Final = 256
"""Sequence numbers back to which a duplicate is recognised; over 2 s at 10 ms a packet."""
_RESTART: Final = 5_000
"""A step this large is a stream that began anew, not loss (RFC 3550 A.1 takes 3,000)."""
_NEVER: Final = -(1 << 62)


class SequenceLedger:
    """Accounts for one stream's sequence numbers."""

    __slots__ = ("_base", "_folded", "_run_first", "_run_last", "_seen", "_unique", "highest")

    def __init__(self) -> None:
        """Start with no packet seen."""
        self.highest: int | None = None
        self._base = 0
        self._unique = 0
        self._folded = 0
        self._seen = np.full(_REMEMBERED, _NEVER, np.int64)
        # Numbers of the last unbroken run, known to have come without being marked one by one.
        self._run_first = 0
        self._run_last = -1

    @property
    def lost(self) -> int:
        """Packets that should have come and did not, so far."""
        if self.highest is None:
            return self._folded
        return self._folded + max(0, self.highest - self._base + 1 - self._unique)

    def restart(self) -> None:
        """Close the account: the next number counts as the first of a new stream."""
        self._folded = self.lost
        self.highest = None
        self._seen[:] = _NEVER
        self._run_first, self._run_last = 0, -1

    def advance(self, count: int) -> None:
        """Account for packets that follow the highest number without a gap.

        Args:
            count: How many; the first was seen to be the one after `highest`.
        """
        highest = self.highest
        assert highest is not None  # noqa: S101  (the caller compared with it)
        if self._run_last != highest:
            self._mark_run()
            self._run_first = highest + 1
        self.highest = self._run_last = highest + count
        self._unique += count

    def enter(self, sequence: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Account for packets in any order.

        Args:
            sequence: Numbers as received, in order of arrival; fewer than 5,000.

        Returns:
            Which packets are no duplicates, and which came after a higher number.
        """
        fresh = np.zeros(len(sequence), np.bool_)
        behind = np.zeros(len(sequence), np.bool_)
        wrapped = sequence.astype(np.int64)
        at = 0
        while at < len(wrapped):
            if self.highest is None:
                self._base = int(wrapped[at])
                self.highest = self._base - 1
                self._unique = 0
            numbers = unwrap(wrapped[at:], self.highest, SEQUENCE_BITS)
            before = np.maximum.accumulate(np.concatenate(([self.highest], numbers)))[:-1]
            wild = np.flatnonzero(np.abs(numbers - before) > _RESTART)
            end = int(wild[0]) if len(wild) else len(numbers)
            if end == 0:
                self.restart()
                continue
            fresh[at : at + end], behind[at : at + end] = self._enter_near(numbers[:end])
            at += end
        return fresh, behind

    def _enter_near(
        self, numbers: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        slots = numbers % _REMEMBERED
        known = self._seen[slots] == numbers
        known |= (numbers >= self._run_first) & (numbers <= self._run_last)
        fresh = np.zeros(len(numbers), np.bool_)
        fresh[np.unique(numbers, return_index=True)[1]] = True
        fresh &= ~known
        before = np.maximum.accumulate(np.concatenate(([self.highest or 0], numbers)))
        # Nobody remembers whether these came before; they come too late in any case.
        ancient = numbers <= before[:-1] - _REMEMBERED
        self._unique += int(np.count_nonzero(fresh & ~ancient))
        self._base = min(self._base, int(numbers.min()))
        self.highest = int(before[-1])
        np.maximum.at(self._seen, slots, numbers)
        return fresh | ancient, numbers < before[:-1]

    def _mark_run(self) -> None:
        """Mark the last run number by number, before another takes its place."""
        numbers = np.arange(max(self._run_first, self._run_last - _REMEMBERED + 1), self._run_last + 1)
        slots = numbers % _REMEMBERED
        self._seen[slots] = np.maximum(self._seen[slots], numbers)
