"""A clock that nobody keeps: said, and nothing recorded by it where the configuration says so."""

from __future__ import annotations

from recproxy.call.commands import AuditNote, Note
from recproxy.clock import ClockWatch, is_synchronised


class Probe:
    """A clock that is as the test says."""

    def __init__(self) -> None:
        self.synced = True

    def __call__(self) -> bool:
        return self.synced


def test_a_clock_that_is_not_synchronised_is_as_a_recorder_that_is_down() -> None:
    probe = Probe()
    said: list[Note | AuditNote] = []
    watch = ClockWatch(probe, said.append, said.append, needed=True)
    watch.look()
    assert (watch.fault(), said) == (None, [])
    probe.synced = False
    watch.look()
    watch.look()
    assert watch.fault() == "the clock is not synchronised"
    assert said == [Note("clock.unsynced"), AuditNote("clock.unsynced")]
    probe.synced = True
    watch.look()
    assert watch.fault() is None
    assert said[2:] == [Note("clock.synced"), AuditNote("clock.synced")]


def test_it_is_said_and_nothing_else_where_any_clock_will_do() -> None:
    probe = Probe()
    said: list[Note | AuditNote] = []
    watch = ClockWatch(probe, said.append, said.append, needed=False)
    probe.synced = False
    watch.look()
    assert watch.fault() is None
    assert len(said) == 2


def test_the_kernel_answers() -> None:
    assert is_synchronised() in {True, False}
