"""A forked call as a machine: nothing recorded without evidence of the announcement, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from call_values import DTMF, FACTS, NOW, PCMU
from call_values import PLAN as ORDINARY
from hypothesis import given
from hypothesis import strategies as st
from siprec_client import offer

from recproxy.call.commands import (
    AllocateMedia,
    AnswerFork,
    AnswerReoffer,
    AuditNote,
    Command,
    ConnectMedia,
    DiscardRecording,
    EndLeg,
    Note,
    OpenRecording,
    PauseRecording,
    PlayPrompt,
    PlayTone,
    ReleaseMedia,
    ResumeRecording,
    SealRecording,
    SetGate,
    SwapSides,
)
from recproxy.call.events import (
    SRTP_SECRET_BYTES,
    CallerConfirmed,
    DigitPressed,
    DrainExpired,
    Event,
    ForkChanged,
    ForkInvited,
    ForkNotice,
    ForkSides,
    InviteReceived,
    LegEnded,
    LegFault,
    LegName,
    LocalMedia,
    MediaAllocated,
    MediaUnavailable,
    PauseAsked,
    RecordingFailed,
    RecordingOpened,
    ReofferConfirmed,
    ResumeAsked,
)
from recproxy.call.forked import ForkedCall
from recproxy.call.machine import Limits
from recproxy.call.states import CallerLeg, Choice, ForkTold, Recording
from recproxy.errors import IllegalEvent
from recproxy.policy import (
    Audience,
    CallQuestion,
    ChoiceMode,
    ChoicePlan,
    Decision,
    ForkAnnouncement,
    Newcomer,
    Pass,
    PassReason,
    PausePlan,
    Record,
    RecordPlan,
)
from recproxy.sip import sdp
from storage.tags import Direction

CALLER, CALLEE = LegName.CALLER, LegName.CALLEE
ASSERTED = ForkAnnouncement(declared=False, prompts=frozenset({"training"}))
DECLARED = ForkAnnouncement(declared=True, prompts=frozenset({"training"}), ref="DOC-1", sha256="ab" * 32)
PLAN = replace(ORDINARY, fork=ASSERTED)
TOLD = ForkNotice(
    True, "training", "nl", (CALLER, CALLEE), "completed;prompt=training;language=nl;heard-by=both"
)
PENDING = ForkNotice(False, "", "", (), "pending")
OFFER = sdp.parse(offer("192.0.2.9", (4000, 4002)))
SIDES = ForkSides(0, 1)
LOCAL = MediaAllocated(
    (LocalMedia("192.0.2.1", 20000, bytes(SRTP_SECRET_BYTES)),),
    (LocalMedia("192.0.2.1", 20002, bytes(SRTP_SECRET_BYTES)),),
)
HUNG_UP = LegEnded(CALLER, 200, "", by_us=False)
GONE = LegEnded(CALLER, 200, "", by_us=True)


class Answers:
    """A policy that says the same of every call, or of calls in one direction."""

    def __init__(self, decision: Decision, *, only: Direction | None = None) -> None:
        self.decision = decision
        self.only = only
        self.asked: list[CallQuestion] = []

    def decide(self, question: CallQuestion) -> Decision:
        self.asked.append(question)
        if self.only is not None and question.direction is not self.only:
            return Pass(PassReason.NO_RULE)
        return self.decision

    def newcomer(self, number: str, *, outside: bool) -> Newcomer:
        raise AssertionError("nobody joins a fork")


def machine(plan: RecordPlan = PLAN, *, fault: str | None = None) -> ForkedCall:
    return ForkedCall(Answers(Record(plan)), Limits(), recorder_fault=lambda _purpose: fault)


def invite(notice: ForkNotice | None = TOLD, body: bytes = b"", sides: ForkSides = SIDES) -> ForkInvited:
    return ForkInvited(FACTS, sdp.parse(body) if body else OFFER, sides, notice)


def run(call: ForkedCall, *events: Event, now: float = 0.0) -> list[Command]:
    return [command for event in events for command in call.receive(event, now)]


def of(commands: Sequence[Command], *kinds: type) -> list[Command]:
    return [command for command in commands if isinstance(command, kinds)]


def opened(call: ForkedCall) -> ForkedCall:
    run(call, invite(), LOCAL, CallerConfirmed(), RecordingOpened("a" * 32))
    assert call.recording is Recording.ON
    return call


def test_a_fork_with_evidence_is_answered_and_recorded_from_its_ack_on() -> None:
    call = machine()
    first = run(call, invite())
    assert of(first, AllocateMedia) == [AllocateMedia("carrier", 1)]
    (told,) = of(first, AuditNote)
    assert isinstance(told, AuditNote)
    assert told.event == "announce.asserted"
    assert dict(told.fields)["by"] == "src"
    assert dict(told.fields)["evidence"] == "asserted"
    second = run(call, LOCAL)
    connected = of(second, ConnectMedia)
    assert [
        (c.leg, c.streams[0].port) for c in connected if isinstance(c, ConnectMedia) and c.streams[0]
    ] == [
        (CALLER, 4000),
        (CALLEE, 4002),
    ]
    (answer,) = of(second, AnswerFork)
    assert isinstance(answer, AnswerFork)
    assert not answer.again
    assert [stream.local.rtp_port for stream in answer.streams if stream] == [20000, 20002]
    assert of(second, OpenRecording) == [], "not before the ACK"
    (opening,) = of(run(call, CallerConfirmed()), OpenRecording)
    assert isinstance(opening, OpenRecording)
    assert opening.notice.prompt == "src:training"
    assert opening.notice.heard_by == (CALLER, CALLEE)
    assert opening.codecs == (PCMU,)
    assert opening.stream == 0
    run(call, RecordingOpened("a" * 32))
    last = run(call, HUNG_UP)
    assert of(last, SealRecording, ReleaseMedia) == [SealRecording("hangup"), ReleaseMedia()]
    assert call.ended


def test_nothing_ever_goes_to_the_client() -> None:
    call = machine(replace(PLAN, choice=ChoicePlan(ChoiceMode.OPT_OUT, refuse=("9",))))
    every = run(
        call, invite(), LOCAL, CallerConfirmed(), RecordingOpened("a" * 32), DigitPressed(CALLER, "9")
    )
    assert of(every, SetGate, PlayPrompt, PlayTone) == []


def test_without_a_word_of_an_announcement_the_fork_is_refused_and_nothing_is_opened() -> None:
    call = machine()
    commands = run(call, invite(None))
    assert of(commands, EndLeg) == [EndLeg(CALLER, 403, "No Evidence Of The Announcement")]
    assert of(commands, AllocateMedia, OpenRecording, AnswerFork) == []
    assert call.told is ForkTold.FAILED
    (failed,) = of(commands, AuditNote)
    assert isinstance(failed, AuditNote)
    assert failed.event == "announce.failed"
    assert of(run(call, GONE), ReleaseMedia) == []
    assert call.ended


@pytest.mark.parametrize(
    ("notice", "plan", "why"),
    [
        (TOLD, replace(PLAN, fork=None), "names nobody"),
        (replace(TOLD, prompt="sales"), PLAN, "names no announcement"),
        (replace(TOLD, prompt=""), PLAN, "names no announcement"),
        (replace(TOLD, prompt="sales"), replace(PLAN, fork=DECLARED), "names no announcement"),
        (replace(TOLD, heard_by=(CALLER,)), PLAN, "not heard by callee"),
        (
            replace(TOLD, heard_by=(CALLEE,)),
            replace(PLAN, audience=Audience.OUTSIDE),
            "not heard by caller",
        ),
    ],
    ids=range(6),
)
def test_what_the_policy_does_not_take_for_evidence_is_refused(
    notice: ForkNotice, plan: RecordPlan, why: str
) -> None:
    commands = run(machine(plan), invite(notice))
    assert [c.code for c in of(commands, EndLeg) if isinstance(c, EndLeg)] == [403]
    (note,) = [c for c in of(commands, Note) if isinstance(c, Note) and c.event == "notice.failed"]
    assert isinstance(note, Note)
    assert why in str(dict(note.fields)["why"])


def test_who_must_hear_it_may_be_the_outside_party_alone() -> None:
    call = machine(replace(PLAN, audience=Audience.OUTSIDE))
    run(call, invite(replace(TOLD, heard_by=(CALLER,))))
    assert call.told is ForkTold.COMPLETED
    everybody = machine()
    (told,) = of(run(everybody, invite(replace(TOLD, heard_by=()))), AuditNote)
    assert isinstance(told, AuditNote)
    assert dict(told.fields)["heard_by"] == "caller,callee", "no word of it: everybody who must"


def test_a_declaration_in_the_policy_is_evidence_and_the_audit_says_which() -> None:
    call = machine(replace(PLAN, fork=DECLARED))
    commands = run(call, invite(None), LOCAL, CallerConfirmed())
    (told,) = of(commands, AuditNote)
    assert isinstance(told, AuditNote)
    fields = dict(told.fields)
    assert (fields["evidence"], fields["ref"], fields["evidence_sha256"]) == ("declared", "DOC-1", "ab" * 32)
    (opening,) = of(commands, OpenRecording)
    assert isinstance(opening, OpenRecording)
    assert opening.notice.sha256 == "ab" * 32


def test_an_announcement_that_is_still_to_come_is_waited_for() -> None:
    call = machine()
    before = run(call, invite(PENDING), LOCAL, CallerConfirmed())
    assert of(before, OpenRecording) == []
    assert call.told is ForkTold.DUE
    after = run(call, ForkChanged(None, SIDES, TOLD), now=7.0)
    (opening,) = of(after, OpenRecording)
    assert isinstance(opening, OpenRecording)
    assert opening.notice.completed == NOW + timedelta(seconds=7)
    assert of(run(call, ForkChanged(None, SIDES, TOLD)), OpenRecording) == [], "once"


def test_a_client_that_never_says_so_is_never_recorded() -> None:
    call = machine(replace(PLAN, fork=DECLARED))
    commands = run(call, invite(PENDING), LOCAL, CallerConfirmed(), ForkChanged(OFFER, SIDES, None), HUNG_UP)
    assert of(commands, OpenRecording) == []
    late = machine()
    ended = run(
        late, invite(PENDING), LOCAL, CallerConfirmed(), ForkChanged(None, SIDES, replace(TOLD, prompt="x"))
    )
    assert of(ended, OpenRecording) == []
    assert of(ended, EndLeg) == [EndLeg(CALLER, 403, "No Evidence Of The Announcement")]


def test_an_exempt_call_is_refused_as_a_fork_and_leaves_nothing() -> None:
    call = ForkedCall(Answers(Pass(PassReason.EMERGENCY)), Limits())
    commands = run(call, invite())
    assert of(commands, EndLeg) == [EndLeg(CALLER, 403, "Not To Be Recorded")]
    assert of(commands, AuditNote, AllocateMedia) == []


def test_the_direction_is_the_one_that_a_purpose_is_for() -> None:
    policy = Answers(Record(PLAN), only=Direction.OUTBOUND)
    call = ForkedCall(policy, Limits())
    commands = run(call, invite(), LOCAL, CallerConfirmed())
    assert [question.direction for question in policy.asked] == [Direction.INBOUND, Direction.OUTBOUND]
    (opening,) = of(commands, OpenRecording)
    assert isinstance(opening, OpenRecording)
    assert opening.facts.direction is Direction.OUTBOUND
    exempt = Answers(Pass(PassReason.CONFIDENTIAL))
    run(ForkedCall(exempt, Limits()), invite())
    assert len(exempt.asked) == 1, "an exemption is not asked away"


@pytest.mark.parametrize(
    ("fault", "body", "code"),
    [
        ("disk full", b"", 503),
        (None, offer("192.0.2.9", (4000, 4002), codecs=(("97", "AMR-WB/16000"),)), 488),
        (None, offer("192.0.2.9", (0, 0)), 488),
    ],
)
def test_what_cannot_be_recorded_is_refused(fault: str | None, body: bytes, code: int) -> None:
    commands = run(machine(fault=fault), invite(body=body))
    assert [c.code for c in of(commands, EndLeg) if isinstance(c, EndLeg)] == [code]
    assert of(commands, AllocateMedia) == []


def test_a_pause_of_the_client_is_silence_until_it_goes_on() -> None:
    call = opened(machine())
    paused = sdp.parse(offer("192.0.2.9", (4000, 4002), directions=("inactive", "inactive"), version=2))
    commands = run(call, ForkChanged(paused, SIDES, None))
    assert of(commands, PauseRecording) == [PauseRecording()]
    (answer,) = of(commands, AnswerFork)
    assert isinstance(answer, AnswerFork)
    assert answer.again
    assert [stream.active for stream in answer.streams if stream] == [False, False]
    again = run(call, ForkChanged(OFFER, SIDES, None))
    assert of(again, ResumeRecording) == [ResumeRecording((PCMU,))]
    assert call.recording is Recording.ON
    refresh = run(call, ForkChanged(OFFER, SIDES, None))
    assert of(refresh, ResumeRecording, PauseRecording) == []


def test_a_fork_that_begins_paused_records_silence_first() -> None:
    call = machine()
    body = offer("192.0.2.9", (4000, 4002), directions=("inactive", "inactive"))
    commands = run(call, invite(body=body), LOCAL, CallerConfirmed())
    assert of(commands, OpenRecording, PauseRecording)[1:] == [PauseRecording()]
    run(call, RecordingOpened("a" * 32))
    assert call.recording is Recording.PAUSED


def test_when_the_labels_change_sides_so_do_the_ports() -> None:
    call = opened(machine())
    commands = run(call, ForkChanged(OFFER, ForkSides(1, 0), None))
    (answer,) = of(commands, AnswerFork)
    assert isinstance(answer, AnswerFork)
    assert [stream.local.rtp_port for stream in answer.streams if stream] == [20002, 20000]
    assert [
        (c.leg, c.streams[0].port)
        for c in of(commands, ConnectMedia)
        if isinstance(c, ConnectMedia) and c.streams[0]
    ] == [(CALLER, 4002), (CALLEE, 4000)]


def test_metadata_alone_moves_both_voices_and_moves_them_back() -> None:
    call = opened(machine())
    turned = ForkChanged(None, ForkSides(1, 0), None)
    assert run(call, turned) == [SwapSides(swapped=True)]
    assert run(call, turned) == []
    assert run(call, ForkChanged(None, ForkSides(0, None), None)) == [], "a voice that has no section"
    assert run(call, ForkChanged(None, SIDES, None)) == [SwapSides(swapped=False)]
    run(call, turned)
    offered = run(call, ForkChanged(OFFER, ForkSides(1, 0), None))
    assert of(offered, SwapSides) == [SwapSides(swapped=False)], "the answer sends each to its own ports"
    assert run(call, turned) == []


def test_other_codecs_are_recorded_from_then_on_and_unknown_ones_are_refused() -> None:
    call = opened(machine())
    alaw = sdp.parse(offer("192.0.2.9", (4000, 4002), codecs=(("8", "PCMA/8000"),), version=2))
    commands = run(call, ForkChanged(alaw, SIDES, None))
    (went_on,) = of(commands, ResumeRecording)
    assert isinstance(went_on, ResumeRecording)
    assert [codec.name for codec in went_on.codecs] == ["PCMA"]
    amr = sdp.parse(offer("192.0.2.9", (4000, 4002), codecs=(("97", "AMR-WB/16000"),), version=3))
    assert run(call, ForkChanged(amr, SIDES, None)) == [
        AnswerReoffer(CALLER, 488, "Not Acceptable Here", None)
    ]
    assert call.recording is Recording.ON


def test_a_change_before_the_ack_has_to_wait() -> None:
    call = machine()
    run(call, invite(), LOCAL)
    assert run(call, ForkChanged(OFFER, SIDES, None)) == [AnswerReoffer(CALLER, 491, "Request Pending", None)]
    assert run(call, ForkChanged(None, SIDES, None)) == []


def test_a_no_by_key_destroys_the_recording_and_ends_the_fork() -> None:
    call = opened(machine(replace(PLAN, choice=ChoicePlan(ChoiceMode.OPT_OUT, refuse=("9",)))))
    commands = run(call, DigitPressed(CALLER, "9"))
    assert of(commands, DiscardRecording, EndLeg) == [
        DiscardRecording("opt_out"),
        EndLeg(CALLER, 403, "Recording Refused"),
    ]
    assert call.choice is Choice.REFUSED
    assert run(call, DigitPressed(CALLER, "9")) == []
    assert call.recording is Recording.DISCARDED


def test_an_opt_in_needs_its_yes_in_time() -> None:
    plan = replace(PLAN, choice=ChoicePlan(ChoiceMode.OPT_IN, accept=("1",), window_s=10.0))
    silent = machine(plan)
    assert of(run(silent, invite(), LOCAL, CallerConfirmed()), OpenRecording) == []
    assert silent.deadline() == 10.0
    late = silent.expire(10.0)
    assert of(late, OpenRecording) == []
    assert of(late, EndLeg) == [EndLeg(CALLER, 403, "Recording Refused")]
    agreed = machine(plan)
    run(agreed, invite(), LOCAL, CallerConfirmed())
    assert len(of(run(agreed, DigitPressed(CALLER, "1")), OpenRecording)) == 1


def test_staff_and_the_operator_pause() -> None:
    call = opened(machine(replace(PLAN, pause=PausePlan(("*1",), 60.0, api=True))))
    run(call, DigitPressed(CALLEE, "*"))
    assert of(run(call, DigitPressed(CALLEE, "1")), PauseRecording) == [PauseRecording()]
    assert call.deadline() == 60.0
    assert len(of(call.expire(60.0), ResumeRecording)) == 1
    assert of(run(call, PauseAsked()), PauseRecording) == [PauseRecording()]
    assert len(of(run(call, ResumeAsked()), ResumeRecording)) == 1


def test_a_recorder_that_fails_ends_the_fork_so_that_the_client_knows() -> None:
    call = opened(machine())
    commands = run(call, RecordingFailed("disk"))
    assert of(commands, EndLeg) == [EndLeg(CALLER, 503, "Recording Not Possible")]
    assert call.recording is Recording.ABORTED
    assert run(call, RecordingFailed("again")) == []


def test_every_way_to_end_seals_and_releases_once() -> None:
    for last in (HUNG_UP, LegFault(CALLER, "x"), DrainExpired()):
        call = opened(machine())
        commands = run(call, last, GONE, HUNG_UP)
        assert len(of(commands, SealRecording)) == 1
        assert of(commands, ReleaseMedia) == [ReleaseMedia()]
        assert call.ended
        assert call.deadline() is None
        assert run(call, HUNG_UP) == []


def test_an_end_that_is_never_reported_is_given_up_on() -> None:
    call = opened(machine())
    run(call, DrainExpired(), now=5.0)
    assert call.deadline() == 45.0
    assert call.expire(44.0) == []
    commands = call.expire(45.0)
    assert of(commands, ReleaseMedia) == [ReleaseMedia()]
    assert call.ended
    assert call.expire(99.0) == []


def test_without_ports_the_client_may_come_again() -> None:
    call = machine()
    run(call, invite())
    (end,) = of(run(call, MediaUnavailable("none")), EndLeg)
    assert end == EndLeg(CALLER, 503, "Media Ports Exhausted", 10)


def test_events_of_other_calls_are_faults_of_ours() -> None:
    call = machine()
    with pytest.raises(IllegalEvent):
        call.receive(InviteReceived(FACTS, OFFER), 0.0)
    with pytest.raises(IllegalEvent):
        call.receive(LOCAL, 0.0)
    run(call, invite())
    with pytest.raises(IllegalEvent):
        call.receive(invite(), 0.0)
    assert call.receive(ReofferConfirmed(CALLER, None), 0.0) == []


_EVENTS: list[Event] = [
    invite(),
    invite(None),
    invite(PENDING),
    LOCAL,
    MediaUnavailable("x"),
    CallerConfirmed(),
    ForkChanged(OFFER, SIDES, None),
    ForkChanged(None, SIDES, TOLD),
    ForkChanged(None, SIDES, replace(TOLD, prompt="x")),
    ForkChanged(None, ForkSides(1, 0), None),
    ForkChanged(sdp.parse(offer("192.0.2.9", (4000, 4002), directions=("inactive",) * 2)), SIDES, PENDING),
    RecordingOpened("a" * 32),
    RecordingFailed("x"),
    DigitPressed(CALLER, "9"),
    DigitPressed(CALLER, "1"),
    DigitPressed(CALLEE, "7"),
    PauseAsked(),
    ResumeAsked(),
    DrainExpired(),
    HUNG_UP,
    GONE,
]
_PLANS = [
    PLAN,
    replace(PLAN, fork=DECLARED),
    replace(PLAN, fork=None),
    replace(
        PLAN, choice=ChoicePlan(ChoiceMode.OPT_OUT, refuse=("9",)), pause=PausePlan(("7",), 60.0, api=True)
    ),
    replace(PLAN, choice=ChoicePlan(ChoiceMode.OPT_IN, accept=("1",))),
]


@given(st.sampled_from(_PLANS), st.lists(st.integers(0, len(_EVENTS)), max_size=25))
def test_no_order_of_events_records_without_evidence(plan: RecordPlan, order: list[int]) -> None:
    call = machine(plan)
    evidence = said_yes = False
    opens = seals = 0
    ended_with = 0
    for now, at in enumerate(order):
        try:
            commands = (
                call.expire(now * 20.0) if at == len(_EVENTS) else call.receive(_EVENTS[at], now * 20.0)
            )
        except IllegalEvent:
            continue
        for command in commands:
            if isinstance(command, AuditNote) and command.event == "announce.asserted":
                evidence = True
            if isinstance(command, AuditNote) and command.event == "choice.opt_in":
                said_yes = True
            if isinstance(command, OpenRecording):
                opens += 1
                assert evidence
                assert plan.fork is not None
                assert said_yes or plan.choice.mode is not ChoiceMode.OPT_IN
                assert call.dialog is CallerLeg.CONFIRMED
            if isinstance(command, SealRecording | DiscardRecording):
                seals += 1
            ended_with += isinstance(command, ReleaseMedia)
            assert not isinstance(command, SetGate | PlayPrompt | PlayTone)
    assert opens <= 1
    assert ended_with <= 1
    if call.ended:
        assert seals == opens
        assert call.recording in {Recording.OFF, Recording.SEALED, Recording.ABORTED, Recording.DISCARDED}


def test_telephone_events_are_companions_and_never_the_only_codec() -> None:
    body = offer("192.0.2.9", (4000, 4002), codecs=(("0", "PCMU/8000"), ("101", "telephone-event/8000")))
    (opening,) = of(run(machine(), invite(body=body), LOCAL, CallerConfirmed()), OpenRecording)
    assert isinstance(opening, OpenRecording)
    assert opening.codecs == (PCMU, DTMF)
    only = offer("192.0.2.9", (4000, 4002), codecs=(("101", "telephone-event/8000"),))
    assert len(of(run(machine(), invite(body=only)), EndLeg)) == 1
