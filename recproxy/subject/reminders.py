"""When it must be said that an answer is due: 14, 7 and 1 days before, and each day after.

What was said is kept in one file that retention alone writes, so that it never undoes
what a person does with a case meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import Enum
from typing import Final

import msgspec

from recproxy.subject.cases import Case, CaseError, CaseState
from recproxy.subject.due import days_left
from storage.durable import replace
from storage.files import Files

__all__ = ["ReminderBook", "Step", "Told", "reminder"]

_PATH: Final = "reminders"
_MAX_BYTES: Final = 4 << 20


class Step(Enum):
    """What there is to say of a due day."""

    WITHIN_14 = "within_14_days"
    WITHIN_7 = "within_7_days"
    WITHIN_1 = "within_1_day"
    OVERDUE = "overdue"


_WITHIN: Final = ((1, Step.WITHIN_1), (7, Step.WITHIN_7), (14, Step.WITHIN_14))


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The last reminder of one case.

    Attributes:
        step: What was said.
        due: Of which due day; an extension makes a new one.
        on: The day on which it was said.
    """

    step: Step
    due: date
    on: date


def reminder(case: Case, last: Told | None, today: date) -> Told | None:
    """Tell what is to be said of a case today.

    Args:
        case: The case.
        last: What was said last, None if nothing was.
        today: The day.

    Returns:
        Each step once, the nearest alone where days were missed; of an overdue case
        once a day. None if nothing is to be said.
    """
    if case.state is CaseState.CLOSED:
        return None
    left = days_left(case.due, today)
    step = Step.OVERDUE if left < 0 else next((step for days, step in _WITHIN if left <= days), None)
    if step is None:
        return None
    said = last is not None and last.due == case.due and last.step is step
    if said and (step is not Step.OVERDUE or (last is not None and last.on >= today)):
        return None
    return Told(step=step, due=case.due, on=today)


class ReminderBook:
    """What was said of which case.

    Args:
        files: The directory of cases.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def read(self) -> Mapping[str, Told]:
        """What was said last, by the id of the case.

        Raises:
            CaseError: The file is damaged.
            StorageError: It cannot be read.
        """
        if self._files.size(_PATH) is None:
            return {}
        try:
            return msgspec.json.decode(self._files.read(_PATH, 0, _MAX_BYTES), type=dict[str, Told])
        except msgspec.MsgspecError as err:
            raise CaseError(
                f"{_PATH} in the directory of cases is damaged: {err}", hint="delete it: it is made anew"
            ) from err

    def write(self, told: Mapping[str, Told]) -> None:
        """Write down what was said.

        Raises:
            StorageError: It cannot be written; the old text stands.
        """
        replace(self._files, _PATH, msgspec.json.encode(dict(told)) + b"\n")
