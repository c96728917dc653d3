"""The driver: the order of things, and what one call's fault does to the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from call_values import FACTS, NOW, PLAN, Journal, ManualClock

from recproxy.call.commands import (
    AllocateMedia,
    AnswerCaller,
    AuditNote,
    Command,
    ConnectMedia,
    EndLeg,
    InviteCallee,
    MediaCommand,
    NameRecording,
    Note,
    OpenRecording,
    PlayPrompt,
    ReleaseMedia,
    SealRecording,
    SetGate,
    SipCommand,
    StopPrompt,
)
from recproxy.call.driver import Driver, Ports
from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    Codec,
    Event,
    InviteReceived,
    LegEnded,
    LegFault,
    LegName,
    LocalMedia,
    MediaAllocated,
    MediaDirection,
    PromptCompleted,
    PromptStarted,
    RecordingFailed,
    RecordingOpened,
    Sdp,
    StreamFacts,
)
from recproxy.call.machine import CallMachine, Limits
from recproxy.policy import (
    CallQuestion,
    Decision,
    Newcomer,
    Pass,
    PassReason,
    Record,
)

CALLER, CALLEE = LegName.CALLER, LegName.CALLEE
STREAM = StreamFacts(
    "audio", "RTP/AVP", "192.0.2.1", 4000, None, MediaDirection.SENDRECV, 20, (Codec(0, "PCMU", 8000),)
)
SDP = Sdp(b"v=0", (STREAM,))
INVITE = InviteReceived(FACTS, SDP)
HEARD = PromptCompleted(NOW + timedelta(seconds=3), "training", "ab" * 32, "nl", (CALLER, CALLEE))
LIMITS = Limits()


class Outside(Journal):
    """All ports: keeps the commands of all calls in one order, and fails where a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, Command]] = []
        self.forgotten: list[str] = []
        self.why_not: str | None = None
        self.breaks: Callable[[str, object], bool] = lambda _call, _what: False
        self.driver: Driver | None = None

    def execute(self, call: str, command: SipCommand | MediaCommand) -> None:
        self._do(call, command)
        if isinstance(command, AllocateMedia) and self.driver is not None:
            local = (LocalMedia("127.0.0.1", 20000),)
            self.driver.post(call, MediaAllocated(local, local))

    def forget(self, call: str) -> None:
        self.forgotten.append(call)
        if self.breaks(call, "forget"):
            raise RuntimeError("forget failed")

    def fault(self, purpose: str = "") -> str | None:
        return self.why_not

    def note(self, call: str, note: Note) -> None:
        self._do(call, note)
        super().note(call, note)

    def audit(self, call: str, note: AuditNote) -> None:
        self._do(call, note)
        super().audit(call, note)

    def _do(self, call: str, command: Command) -> None:
        if self.breaks(call, command):
            raise RuntimeError(f"{type(command).__name__} failed")
        self.done.append((call, command))

    def commands(self, call: str) -> list[Command]:
        """What was done for a call, but for notes."""
        return [command for owner, command in self.done if owner == call and not _is_note(command)]

    def kinds(self, call: str) -> list[type[Command]]:
        return [type(command) for command in self.commands(call)]


def _is_note(command: Command) -> bool:
    return isinstance(command, Note | AuditNote)


class FixedPolicy:
    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    def decide(self, question: CallQuestion) -> Decision:
        assert question.trunk == "carrier"
        return self.decision

    def newcomer(self, number: str, *, outside: bool) -> Newcomer:
        return Newcomer(None, outside)


class Bench:
    """A driver with its outside."""

    def __init__(self, decision: Decision | None = None) -> None:
        self.clock = ManualClock()
        self.policy = FixedPolicy(decision or Record(PLAN))
        self.outside = Outside()
        self.driver = Driver(lambda: self.policy, LIMITS, self.clock.monotonic)
        self.outside.driver = self.driver
        self.driver.connect(Ports(self.outside, self.outside, self.outside))

    def happen(self, call: str, *events: Event) -> None:
        for event in events:
            self.driver.post(call, event)
            self.driver.pump()

    def talking(self, call: str) -> None:
        self.happen(call, INVITE, CalleeAnswered(SDP, "cid-b"), CallerConfirmed())

    def recording(self, call: str) -> None:
        self.talking(call)
        self.happen(call, PromptStarted(NOW), HEARD, RecordingOpened("ab" * 16))

    def hang_up(self, call: str) -> None:
        self.happen(call, LegEnded(CALLER, 200, "", by_us=False), LegEnded(CALLEE, 200, "", by_us=True))

    def confused(self) -> list[str]:
        return [str(fields["what"]) for fields in self.outside.noted("call.confused")]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_commands_are_carried_out_in_the_order_the_machine_gives_them(bench: Bench) -> None:
    bench.recording("c1")
    bench.hang_up("c1")
    assert bench.outside.kinds("c1") == [
        AllocateMedia,
        ConnectMedia,
        InviteCallee,
        ConnectMedia,
        SetGate,
        AnswerCaller,
        PlayPrompt,
        SetGate,
        OpenRecording,
        NameRecording,
        SealRecording,
        EndLeg,
        ReleaseMedia,
    ]
    assert [c.opened for c in bench.outside.commands("c1") if isinstance(c, SetGate)] == [False, True]
    assert bench.outside.forgotten == ["c1"]
    assert bench.driver.active == 0


def test_what_a_port_posts_meanwhile_is_treated_in_the_same_pump(bench: Bench) -> None:
    bench.driver.post("c1", INVITE)
    assert bench.driver.pump() == 2, "the INVITE and the ports that it asked for"
    assert InviteCallee in bench.outside.kinds("c1")


def test_events_of_a_call_that_has_ended_are_ignored(bench: Bench) -> None:
    bench.recording("c1")
    bench.hang_up("c1")
    before = len(bench.outside.done)
    bench.happen("c1", RecordingFailed("late"), LegFault(CALLER, "late"), CallerConfirmed(), HEARD)
    assert len(bench.outside.done) == before
    assert bench.driver.active == 0


def test_events_of_a_call_that_never_was_are_ignored(bench: Bench) -> None:
    bench.happen("c1", CallerConfirmed(), LegEnded(CALLER, 200, "", by_us=False))
    assert bench.outside.done == []
    assert bench.outside.forgotten == []


def test_nothing_can_be_done_before_the_ports_are_named() -> None:
    driver = Driver(lambda: FixedPolicy(Record(PLAN)), LIMITS, lambda: 0.0)
    driver.post("c1", INVITE)
    with pytest.raises(RuntimeError, match="ports"):
        driver.pump()


def test_a_call_keeps_the_policy_it_began_with(bench: Bench) -> None:
    bench.happen("c1", INVITE)
    bench.policy = FixedPolicy(Pass(PassReason.NO_RULE))
    bench.happen("c1", CalleeAnswered(SDP, "cid-b"), CallerConfirmed())
    bench.talking("c2")
    assert PlayPrompt in bench.outside.kinds("c1")
    assert PlayPrompt not in bench.outside.kinds("c2")


def test_a_recorder_that_cannot_record_is_known_before_a_call_is_announced(bench: Bench) -> None:
    bench.outside.why_not = "no disk"
    bench.talking("c1")
    assert PlayPrompt not in bench.outside.kinds("c1")
    assert bench.outside.noted("notice.failed")[0]["why"] == "no disk"


# ------------------------------------------------------------------ faults
@pytest.mark.parametrize(
    "kind", [AllocateMedia, ConnectMedia, InviteCallee, AnswerCaller, SetGate, PlayPrompt, OpenRecording]
)
def test_a_port_that_raises_ends_that_call_and_no_other(bench: Bench, kind: type[Command]) -> None:
    bench.outside.breaks = lambda call, command: call == "bad" and isinstance(command, kind)
    bench.recording("good")
    bench.recording("bad")
    ends = [command for command in bench.outside.commands("bad") if isinstance(command, EndLeg)]
    assert {end.leg for end in ends} >= {CALLER}
    assert kind.__name__ in bench.confused()
    bench.happen("bad", LegEnded(CALLER, 200, "", by_us=True), LegEnded(CALLEE, 200, "", by_us=True))
    assert bench.outside.forgotten == ["bad"]
    assert ReleaseMedia in bench.outside.kinds("bad")
    assert EndLeg not in bench.outside.kinds("good")
    bench.hang_up("good")
    assert bench.outside.kinds("good")[-1] is ReleaseMedia


def test_a_recording_is_sealed_when_its_call_ends_by_a_fault(bench: Bench) -> None:
    bench.recording("c1")
    bench.outside.breaks = lambda _call, command: isinstance(command, EndLeg)
    bench.happen("c1", LegFault(CALLER, "callback"))
    assert bench.outside.kinds("c1")[-2:] == [SealRecording, ReleaseMedia]


def test_a_leg_that_cannot_be_ended_counts_as_ended(bench: Bench) -> None:
    bench.talking("c1")
    bench.outside.breaks = lambda _call, command: isinstance(command, EndLeg)
    bench.happen("c1", LegEnded(CALLER, 200, "", by_us=False))
    assert bench.driver.active == 0
    assert bench.outside.forgotten == ["c1"]
    assert ReleaseMedia in bench.outside.kinds("c1")


def test_ports_that_cannot_be_released_do_not_keep_the_call(bench: Bench) -> None:
    bench.talking("c1")
    bench.outside.breaks = lambda _call, command: isinstance(command, ReleaseMedia)
    bench.hang_up("c1")
    assert bench.driver.active == 0
    assert bench.outside.forgotten == ["c1"]
    assert bench.confused() == ["ReleaseMedia"]


def test_a_call_that_cannot_be_forgotten_is_over_all_the_same(bench: Bench) -> None:
    bench.talking("c1")
    bench.talking("c2")
    bench.outside.breaks = lambda call, what: (call, what) == ("c1", "forget")
    bench.hang_up("c1")
    bench.hang_up("c2")
    assert bench.driver.active == 0
    assert bench.confused() == ["forget"]


def test_a_log_that_fails_stops_nothing(bench: Bench) -> None:
    bench.outside.breaks = lambda call, command: call == "bad" and isinstance(command, Note)
    bench.talking("good")
    bench.happen("bad", INVITE)
    bench.happen("bad", LegEnded(CALLER, 487, "", by_us=False), LegEnded(CALLEE, 487, "", by_us=True))
    assert bench.driver.unreported > 0
    assert bench.driver.active == 1
    bench.hang_up("good")
    assert bench.driver.active == 0


def test_an_event_that_cannot_be_ends_that_call_only(bench: Bench) -> None:
    bench.talking("c1")
    bench.talking("c2")
    bench.happen("c1", INVITE)
    assert bench.confused() == ["InviteReceived"]
    assert bench.outside.noted("call.confused")[0]["why"] == "a second INVITE for one call"
    assert {c.leg for c in bench.outside.commands("c1") if isinstance(c, EndLeg)} == {CALLER, CALLEE}
    assert EndLeg not in bench.outside.kinds("c2")


def test_a_policy_that_fails_refuses_that_call_only(bench: Bench) -> None:
    def fail(question: CallQuestion) -> Decision:
        raise ZeroDivisionError("a bug")

    bench.talking("good")
    bench.policy.decide = fail  # type: ignore[method-assign]
    bench.happen("bad", INVITE)
    assert bench.outside.kinds("bad") == [EndLeg]
    bench.happen("bad", LegEnded(CALLER, 480, "", by_us=True))
    assert bench.driver.active == 1
    bench.hang_up("good")
    assert bench.driver.active == 0


def test_a_machine_that_fails_for_good_is_taken_down_with_its_recording(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.recording("bad")
    bench.talking("good")
    receive = CallMachine.receive
    broken = bench.driver._calls["bad"]

    def fail(machine: CallMachine, event: Event, now: float) -> list[Command]:
        if machine is broken:
            raise ZeroDivisionError("a bug")
        return receive(machine, event, now)

    monkeypatch.setattr(CallMachine, "receive", fail)
    bench.happen("bad", CallerConfirmed())
    assert bench.outside.kinds("bad")[-3:] == [StopPrompt, SealRecording, ReleaseMedia]
    assert bench.outside.forgotten == ["bad"], "which hangs both legs up"
    assert bench.confused() == ["CallerConfirmed", "DrainExpired"]
    bench.hang_up("good")
    assert bench.driver.active == 0


def test_a_deadline_that_fails_ends_that_call_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.happen("c1", INVITE)
    monkeypatch.setattr(CallMachine, "expire", lambda _machine, _now: 1 // 0)
    bench.clock.pass_ms(LIMITS.setup_s * 1000)
    bench.driver.pump()
    assert bench.confused() == ["deadline"]
    assert {c.leg for c in bench.outside.commands("c1") if isinstance(c, EndLeg)} == {CALLER, CALLEE}


# ------------------------------------------------------------------ time
def test_a_callee_that_never_answers_is_given_up_at_the_deadline_and_not_before(bench: Bench) -> None:
    bench.happen("c1", INVITE, CalleeProgress(180, "Ringing", None))
    bench.clock.pass_ms(LIMITS.setup_s * 1000 - 1)
    bench.driver.pump()
    assert EndLeg not in bench.outside.kinds("c1")
    bench.clock.pass_ms(1)
    assert bench.driver.pump() == 0, "no event was needed"
    assert {c.code for c in bench.outside.commands("c1") if isinstance(c, EndLeg)} == {408}


def test_a_long_wait_is_remembered_among_many_short_calls(bench: Bench) -> None:
    bench.happen("waits", INVITE, CalleeProgress(180, "Ringing", None))
    for number in range(1000):
        bench.happen(f"c{number}", INVITE)
        bench.hang_up(f"c{number}")
    assert bench.driver.active == 1
    bench.clock.pass_ms(LIMITS.setup_s * 1000 - 1)
    bench.driver.pump()
    assert EndLeg not in bench.outside.kinds("waits")
    bench.clock.pass_ms(1)
    bench.driver.pump()
    assert {c.code for c in bench.outside.commands("waits") if isinstance(c, EndLeg)} == {408}


def test_a_deadline_that_changed_nothing_comes_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.happen("c1", INVITE)
    with monkeypatch.context() as broken:
        broken.setattr(CallMachine, "expire", lambda _machine, _now: 1 // 0)
        broken.setattr(CallMachine, "receive", lambda _machine, _event, _now: [])
        bench.clock.pass_ms(LIMITS.setup_s * 1000)
        bench.driver.pump()
    assert bench.confused() == ["deadline"]
    bench.driver.pump()
    assert {c.code for c in bench.outside.commands("c1") if isinstance(c, EndLeg)} == {408}


def test_a_prompt_that_never_ends_is_given_up(bench: Bench) -> None:
    bench.talking("c1")
    bench.clock.pass_ms(LIMITS.prompt_s * 1000)
    bench.driver.pump()
    assert bench.outside.kinds("c1")[-2:] == [StopPrompt, SetGate]
    assert OpenRecording not in bench.outside.kinds("c1")


def test_legs_that_never_report_their_end_are_given_up(bench: Bench) -> None:
    bench.talking("c1")
    bench.driver.drain()
    bench.driver.pump()
    assert bench.driver.active == 1
    bench.clock.pass_ms(LIMITS.ending_s * 1000)
    bench.driver.pump()
    assert bench.driver.active == 0
    assert bench.outside.forgotten == ["c1"]


def test_a_drain_ends_every_call_and_seals_every_recording(bench: Bench) -> None:
    bench.recording("c1")
    bench.talking("c2")
    bench.happen("c3", INVITE)
    bench.driver.drain()
    bench.driver.pump()
    for call in ("c1", "c2", "c3"):
        assert {c.leg for c in bench.outside.commands(call) if isinstance(c, EndLeg)} == {CALLER, CALLEE}
    assert SealRecording in bench.outside.kinds("c1")
    for call in ("c1", "c2", "c3"):
        bench.happen(call, LegEnded(CALLER, 200, "", by_us=True), LegEnded(CALLEE, 200, "", by_us=True))
    assert bench.driver.active == 0
    assert sorted(bench.outside.forgotten) == ["c1", "c2", "c3"]


def test_events_may_be_posted_from_any_thread(bench: Bench) -> None:
    threads = [
        threading.Thread(target=bench.driver.post, args=(f"c{number}", INVITE)) for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.driver.pump()
    assert bench.driver.active == 20
