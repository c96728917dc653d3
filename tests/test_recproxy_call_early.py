"""Offers and answers that are done before the call is answered (RFC 3262 section 5, RFC 3311, RFC 6337)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from call_values import FACTS

from recproxy.call.commands import (
    AnswerCaller,
    AnswerReoffer,
    Command,
    EndLeg,
    ProgressCaller,
    SdpToSend,
    SendReoffer,
)
from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    Codec,
    EarlyAnswer,
    InviteReceived,
    LegName,
    LocalMedia,
    MediaAllocated,
    MediaDirection,
    ReofferAnswered,
    ReofferReceived,
    Sdp,
    StreamFacts,
)
from recproxy.call.machine import CallMachine, Limits
from recproxy.policy import CallQuestion, Decision, Newcomer, Pass, PassReason

CALLER, CALLEE = LegName.CALLER, LegName.CALLEE
AMR = Codec(97, "AMR-WB", 16000)
ALLOCATED = MediaAllocated((LocalMedia("127.0.0.1", 20000),), (LocalMedia("127.0.0.1", 20002),))


def _sdp(name: str, direction: MediaDirection = MediaDirection.SENDRECV) -> Sdp:
    stream = StreamFacts("audio", "RTP/AVP", "192.0.2.1", 4000, None, direction, 20, (AMR,))
    return Sdp(name.encode(), (stream,))


@dataclass(frozen=True)
class _Passes:
    def decide(self, _question: CallQuestion) -> Decision:
        return Pass(PassReason.NO_RULE)

    def newcomer(self, _number: str, *, outside: bool) -> Newcomer:
        return Newcomer(None, outside)


def _call(offer: Sdp | None) -> CallMachine:
    m = CallMachine(_Passes(), Limits())
    m.receive(InviteReceived(FACTS, offer), 0.0)
    m.receive(ALLOCATED, 0.1)
    return m


def _bodies(commands: list[Command]) -> list[tuple[type[object], bytes]]:
    """What is sent, and from whose body it is made."""
    kinds = (AnswerCaller, AnswerReoffer, ProgressCaller, SendReoffer)
    found: list[tuple[type[object], bytes]] = []
    for command in commands:
        if isinstance(command, kinds):
            sent = command.offer if isinstance(command, SendReoffer) else command.sdp
            found.append((type(command), sent.body if isinstance(sent, SdpToSend) else b""))
    return found


def _early(m: CallMachine, body: str = "answer", *, reliable: bool = True) -> list[Command]:
    return m.receive(CalleeProgress(183, "Session Progress", _sdp(body), reliable), 1.0)


def test_a_reliable_answer_is_passed_on_reliably() -> None:
    for reliable in (False, True):
        commands = _early(_call(_sdp("offer")), reliable=reliable)
        (told,) = [command for command in commands if isinstance(command, ProgressCaller)]
        assert told.reliable is reliable
        assert told.sdp is not None
        assert told.sdp.body == b"answer"


def test_an_offer_of_the_caller_goes_to_the_callee_and_stands_for_the_200() -> None:
    m = _call(_sdp("offer"))
    _early(m)
    assert _bodies(m.receive(ReofferReceived(CALLER, _sdp("offer 2")), 2.0)) == [(SendReoffer, b"offer 2")]
    again = m.receive(ReofferReceived(CALLEE, _sdp("glare")), 2.1)
    assert again == [AnswerReoffer(CALLEE, 491, "Request Pending", None)]
    done = m.receive(ReofferAnswered(CALLEE, 200, "OK", _sdp("answer 2")), 3.0)
    assert _bodies(done) == [(AnswerReoffer, b"answer 2")]
    answered = m.receive(CalleeAnswered(_sdp("stale"), "cid-b"), 4.0)
    assert _bodies(answered) == [(AnswerCaller, b"answer 2")]
    assert m.receive(CallerConfirmed(), 5.0) == []


def test_an_offer_of_the_callee_goes_to_the_caller_and_stands_for_the_200() -> None:
    m = _call(_sdp("offer"))
    _early(m)
    assert _bodies(m.receive(ReofferReceived(CALLEE, _sdp("theirs")), 2.0)) == [(SendReoffer, b"theirs")]
    done = m.receive(ReofferAnswered(CALLER, 200, "OK", _sdp("mine")), 3.0)
    assert _bodies(done) == [(AnswerReoffer, b"mine")]
    assert _bodies(m.receive(CalleeAnswered(None, "cid-b"), 4.0)) == [(AnswerCaller, b"theirs")]


def test_a_refused_early_offer_changes_nothing() -> None:
    m = _call(_sdp("offer"))
    _early(m)
    m.receive(ReofferReceived(CALLER, _sdp("offer 2")), 2.0)
    refused = m.receive(ReofferAnswered(CALLEE, 488, "No", None), 3.0)
    assert refused == [AnswerReoffer(CALLER, 488, "No", None)]
    assert _bodies(m.receive(CalleeAnswered(None, "cid-b"), 4.0)) == [(AnswerCaller, b"answer")]


def test_before_there_is_an_answer_an_offer_is_491() -> None:
    m = _call(_sdp("offer"))
    m.receive(CalleeProgress(180, "Ringing", None), 1.0)
    commands = m.receive(ReofferReceived(CALLER, _sdp("offer 2")), 2.0)
    assert commands == [AnswerReoffer(CALLER, 491, "Request Pending", None)]


def test_a_call_without_an_offer_is_offered_early_only_if_that_is_reliable() -> None:
    commands = _early(_call(None), "theirs", reliable=False)
    assert _bodies(commands) == [(ProgressCaller, b"")]
    m = _call(None)
    assert _bodies(_early(m, "theirs")) == [(ProgressCaller, b"theirs")]
    assert len(m.receive(EarlyAnswer(_sdp("mine")), 2.0)) == 1, "where the caller receives is known"
    assert m.receive(EarlyAnswer(_sdp("mine")), 2.1) == []
    assert _bodies(m.receive(CalleeAnswered(None, "cid-b"), 3.0)) == [(AnswerCaller, b"theirs")]
    assert m.receive(CallerConfirmed(None), 4.0) == [], "the ACK needs no answer any more"


def test_an_answer_in_prack_that_comes_after_the_200_counts_as_well() -> None:
    m = _call(None)
    _early(m, "theirs")
    assert _bodies(m.receive(CalleeAnswered(None, "cid-b"), 2.0)) == [(AnswerCaller, b"theirs")]
    assert len(m.receive(EarlyAnswer(_sdp("mine")), 2.1)) == 1
    assert m.receive(CallerConfirmed(None), 3.0) == []


@pytest.mark.parametrize("sections", [0, 2])
@pytest.mark.parametrize("late", ["no", "prack", "ack"])
def test_an_answer_of_other_sections_than_were_offered_ends_the_call(late: str, sections: int) -> None:
    m = _call(None)
    if late != "ack":
        _early(m, "theirs")
    if late != "no":
        m.receive(CalleeAnswered(_sdp("theirs"), "cid-b"), 2.0)
    wrong = Sdp(b"mine", _sdp("mine").streams * sections)
    commands = m.receive(CallerConfirmed(wrong) if late == "ack" else EarlyAnswer(wrong), 3.0)
    ended = [(command.leg, command.code) for command in commands if isinstance(command, EndLeg)]
    assert ended == [(CALLER, 488), (CALLEE, 488)]
    assert m.receive(EarlyAnswer(_sdp("mine")), 4.0) == []


def test_early_hold_counts_once_the_call_is_up() -> None:
    m = _call(_sdp("offer"))
    _early(m)
    m.receive(ReofferReceived(CALLER, _sdp("held", MediaDirection.SENDONLY)), 2.0)
    m.receive(ReofferAnswered(CALLEE, 200, "OK", _sdp("held 2", MediaDirection.RECVONLY)), 3.0)
    assert m._media.on_hold
