"""Reminders of due answers, the end of answers that wait, and the monthly figures."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from simulated_files import SimulatedFiles

from recproxy.eventlog import EventLog, LogConfig
from recproxy.subject.cases import (
    Answer,
    Case,
    CaseState,
    CaseStore,
    Extension,
    KeptBundle,
    RequestKind,
    bundle_name,
    new_id,
)
from recproxy.subject.reminders import ReminderBook, Step, Told, reminder
from recproxy.subject.statistics import monthly
from recproxy.subject.upkeep import CaseUpkeep
from storage import AuditLog, read_events
from storage.durable import write_new

DAY = timedelta(days=1)
DUE = date(2026, 12, 24)
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def case(**changes: Any) -> Case:
    made = Case(
        id=new_id(),
        kind=RequestKind.ACCESS,
        state=CaseState.OPEN,
        received=date(2026, 11, 24),
        due=DUE,
        opened_at=NOON,
        opened_by="user:anna",
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("left", "step"),
    [
        (15, None),
        (14, Step.WITHIN_14),
        (8, Step.WITHIN_14),
        (7, Step.WITHIN_7),
        (2, Step.WITHIN_7),
        (1, Step.WITHIN_1),
        (0, Step.WITHIN_1),
        (-1, Step.OVERDUE),
        (-400, Step.OVERDUE),
    ],
)
def test_the_step_of_a_day(left: int, step: Step | None) -> None:
    said = reminder(case(), None, DUE - left * DAY)
    assert (said and said.step) == step
    assert reminder(case(state=CaseState.CLOSED), None, DUE - left * DAY) is None


@given(st.lists(st.integers(min_value=0, max_value=40), min_size=1, max_size=60))
def test_each_step_is_said_once_and_overdue_once_a_day(offsets: list[int]) -> None:
    said: list[Told] = []
    last: Told | None = None
    for offset in sorted(offsets):
        for _ in range(2):  # two sweeps a day
            told = reminder(case(), last, DUE - 20 * DAY + offset * DAY)
            if told is not None:
                said.append(told)
                last = told
    before = [told.step for told in said if told.step is not Step.OVERDUE]
    assert len(before) == len(set(before))
    late = [told.on for told in said if told.step is Step.OVERDUE]
    assert late == sorted({DUE - 20 * DAY + one * DAY for one in offsets if one > 20})


def test_an_extension_begins_anew() -> None:
    told = reminder(case(), None, DUE)
    assert told is not None
    longer = case(due=DUE + 61 * DAY)
    assert reminder(longer, told, DUE) is None
    assert reminder(longer, told, DUE + 61 * DAY) == Told(
        step=Step.WITHIN_1, due=DUE + 61 * DAY, on=DUE + 61 * DAY
    )


@dataclass
class Desk:
    """Cases in a directory that is not there, and who looks after them."""

    disk: SimulatedFiles
    data: SimulatedFiles
    written: io.StringIO

    @property
    def store(self) -> CaseStore:
        return CaseStore(self.disk)

    def run(self, now: datetime) -> list[str]:
        """What one look says."""
        self.written.seek(0)
        self.written.truncate()
        log = EventLog(self.written, LogConfig(), lambda: now, strict=True)
        audit = AuditLog(self.data, Ed25519PrivateKey.from_private_bytes(b"7" * 32), "node", lambda: now)
        CaseUpkeep(self.store, ReminderBook(self.disk), audit, log).run(now)
        audit.close()
        return [json.loads(line)["event"] for line in self.written.getvalue().splitlines()]


@pytest.fixture
def desk() -> Desk:
    return Desk(SimulatedFiles(), SimulatedFiles(), io.StringIO())


def test_a_case_is_reminded_of_in_log_and_chain_and_is_not_touched(desk: Desk) -> None:
    mine = case()
    desk.store.save(mine)
    desk.store.save(case(state=CaseState.CLOSED, due=DUE - 30 * DAY))
    due = datetime(2026, 12, 24, 12, tzinfo=UTC)
    assert desk.run(due - 15 * DAY) == []
    assert desk.run(due - 14 * DAY) == ["case.due_soon"]
    assert desk.run(due - 14 * DAY + timedelta(hours=2)) == []
    assert desk.run(due - 3 * DAY) == ["case.due_soon"]
    assert desk.run(due) == ["case.due_soon"]
    assert desk.run(due + DAY) == ["case.overdue"]
    assert json.loads(desk.written.getvalue())["days"] == 1
    assert desk.run(due + DAY) == []
    assert desk.run(due + 2 * DAY) == ["case.overdue"]
    assert desk.store.find(mine.id) == mine
    chain = list(read_events(desk.data))
    assert [line["outcome"] for line in chain] == [
        "within_14_days",
        "within_7_days",
        "within_1_day",
        "overdue",
        "overdue",
    ]
    assert {line["dsr"] for line in chain} == {mine.id}


def test_an_answer_that_waited_too_long_is_destroyed_once(desk: Desk) -> None:
    kept = KeptBundle(sha256="a" * 64, made_at=NOON, until=NOON + 30 * DAY)
    mine = case(bundle=kept, due=DUE + 365 * DAY)
    desk.store.save(mine)
    write_new(desk.disk, bundle_name(mine.id), b"sealed")
    assert desk.run(NOON + 30 * DAY - timedelta(seconds=1)) == []
    assert desk.disk.size(bundle_name(mine.id)) == 6
    assert desk.run(NOON + 30 * DAY) == ["case.bundle_destroyed"]
    assert desk.disk.size(bundle_name(mine.id)) is None
    assert desk.run(NOON + 31 * DAY) == []
    assert [line["event"] for line in read_events(desk.data)] == ["dsr.bundle_destroyed"]


@pytest.mark.parametrize("name", ["reminders", f"{'b' * 12}.json"])
def test_a_damaged_file_is_told_and_stops_nothing_else(desk: Desk, name: str) -> None:
    write_new(desk.disk, name, b"{")
    assert desk.run(NOON) == ["case.failed"]


def test_monthly_figures_count_by_month_and_kind() -> None:
    day = date(2026, 11, 3)

    def closed(days: int, answer: Answer, **more: Any) -> Case:
        at = datetime(2026, 11, 3, 12, tzinfo=UTC) + days * DAY
        return case(
            received=day, due=day + 30 * DAY, state=CaseState.CLOSED, closed_at=at, answer=answer, **more
        )

    erase = case(kind=RequestKind.ERASE, received=date(2026, 10, 30))
    found = monthly(
        [
            closed(2, Answer.DELIVERED),
            closed(10, Answer.REFUSED, extended=Extension.NUMBER),
            closed(40, Answer.DROPPED),
            case(received=day),
            erase,
        ]
    )
    assert [(one.month, one.kind) for one in found] == [
        ("2026-10", RequestKind.ERASE),
        ("2026-11", RequestKind.ACCESS),
    ]
    access = found[1]
    assert (access.received, access.open, access.delivered, access.refused, access.dropped) == (4, 1, 1, 1, 1)
    assert (access.extended, access.late, access.median_days) == (1, 1, 10)
    assert found[0].median_days is None
