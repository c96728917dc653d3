"""Loss, duplicates and order, against a model that remembers everything."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtp.timeline.ledger import SequenceLedger


def numbers(*values: int) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    return np.array([value & 0xFFFF for value in values], np.uint16)


class Model:
    """Unbounded sequence numbers, and a set of those that came."""

    def __init__(self) -> None:
        self.came: set[int] = set()

    def enter(self, value: int) -> tuple[bool, bool]:
        fresh = value not in self.came
        behind = bool(self.came) and value < max(self.came)
        self.came.add(value)
        return fresh, behind

    @property
    def lost(self) -> int:
        return max(self.came) - min(self.came) + 1 - len(self.came) if self.came else 0


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.tuples(st.booleans(), st.integers(-40, 60), st.integers(1, 64)), max_size=60),
)
def test_the_ledger_counts_as_the_model_does(base: int, steps: list[tuple[bool, int, int]]) -> None:
    ledger, model = SequenceLedger(), Model()
    highest = base
    fresh, behind = ledger.enter(numbers(base))
    assert ([bool(fresh[0])], [bool(behind[0])]) == ([True], [False])
    model.enter(base)
    for run, step, count in steps:
        if run:
            ledger.advance(count)
            for value in range(highest + 1, highest + 1 + count):
                model.enter(value)
            highest += count
            continue
        values = [highest + step, highest + step, highest - count, highest + step + 1]
        told = [model.enter(value) for value in values]
        fresh, behind = ledger.enter(numbers(*values))
        assert list(zip(fresh.tolist(), behind.tolist(), strict=True)) == told
        highest = max(highest, *values)
    assert ledger.lost == model.lost


def test_a_restart_keeps_what_was_lost_and_counts_no_jump() -> None:
    ledger = SequenceLedger()
    ledger.enter(numbers(10, 12, 13))
    assert ledger.lost == 1
    ledger.restart()
    fresh, _ = ledger.enter(numbers(12, 13, 15))
    assert fresh.all()
    assert ledger.lost == 2


def test_a_step_too_large_to_be_loss_begins_anew() -> None:
    ledger = SequenceLedger()
    fresh, behind = ledger.enter(numbers(1, 2, 30_000, 30_001, 30_003, 5))
    assert fresh.all()
    assert not behind.any()
    assert ledger.lost == 1
    ledger.enter(numbers(5 + 4000))
    assert ledger.lost == 1 + 3999
