"""SRTP in the machine: each leg by itself, in recorded calls alone."""

import itertools
from datetime import UTC, datetime

import pytest
from call_values import PLAN

from recproxy.call.commands import (
    AnswerCaller,
    AnswerReoffer,
    Command,
    ConnectMedia,
    EndLeg,
    InviteCallee,
    ProgressCaller,
    SdpToSend,
    SendReoffer,
    StreamKeys,
    StreamSecurity,
)
from recproxy.call.events import (
    SRTP_KEY_BYTES,
    SRTP_SECRET_BYTES,
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    CallFacts,
    Codec,
    CryptoOffer,
    InviteReceived,
    LegName,
    LocalMedia,
    MediaAllocated,
    MediaDirection,
    PromptFailed,
    ReofferAnswered,
    ReofferReceived,
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
from storage.tags import Direction

_bodies = itertools.count(1)  # no two bodies are alike: nothing is a mere refresh
CALLER, CALLEE = LegName.CALLER, LegName.CALLEE
AES, GCM = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"
FACTS = CallFacts(
    "carrier", Direction.INBOUND, "1", "2", False, False, "cid", datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
)
NEAR = LocalMedia("127.0.0.1", 20000, bytes(k % 241 for k in range(SRTP_SECRET_BYTES)))
FAR = LocalMedia("127.0.0.1", 20002, bytes(k % 239 for k in range(SRTP_SECRET_BYTES)))


class Always:
    """A policy of one decision."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def decide(self, question: CallQuestion) -> Decision:
        assert question.trunk == "carrier"
        return self._decision

    def newcomer(self, number: str, *, outside: bool) -> Newcomer:
        return Newcomer(None, outside)


def crypto(suite: str, tag: int = 1, fill: int = 1) -> CryptoOffer:
    return CryptoOffer(tag, suite, bytes([fill]) * SRTP_KEY_BYTES[suite])


def sdp(*offers: CryptoOffer, protocol: str = "", port: int = 4000) -> Sdp:
    name = protocol or ("RTP/SAVP" if offers else "RTP/AVP")
    facts = StreamFacts(
        "audio", name, "192.0.2.1", port, None, MediaDirection.SENDRECV, 20, (Codec(0, "PCMU", 8000),), offers
    )
    return Sdp(str(next(_bodies)).encode(), (facts,))


def invited(
    offer: Sdp, secure: bool | None = None, decision: Decision | None = None
) -> tuple[CallMachine, list[Command]]:
    machine = CallMachine(Always(decision or Record(PLAN)), Limits())
    machine.receive(InviteReceived(FACTS, offer), 0.0)
    return machine, machine.receive(MediaAllocated((NEAR,), (FAR,), secure), 0.0)


def up(offer: Sdp, answer: Sdp, secure: bool | None = None) -> CallMachine:
    machine, _ = invited(offer, secure)
    machine.receive(CalleeAnswered(answer, "cid-b"), 0.0)
    machine.receive(CallerConfirmed(), 0.0)
    return machine


def all_ours(local: LocalMedia) -> tuple[CryptoOffer, ...]:
    return tuple(CryptoOffer(tag, suite, local.key(suite)) for tag, suite in enumerate(SRTP_KEY_BYTES, 1))


def the(kind: type[Command], commands: list[Command]) -> Command:
    (found,) = [command for command in commands if isinstance(command, kind)]
    return found


def sent(commands: list[Command]) -> SdpToSend:
    (found,) = [c.offer for c in commands if isinstance(c, InviteCallee | SendReoffer) and c.offer] + [
        c.sdp for c in commands if isinstance(c, AnswerCaller | AnswerReoffer | ProgressCaller) and c.sdp
    ]
    return found


def connected(commands: list[Command], leg: LegName) -> tuple[StreamKeys | None, ...]:
    (found,) = [c.keys for c in commands if isinstance(c, ConnectMedia) and c.leg is leg]
    return found


@pytest.mark.parametrize(
    ("offer", "wish", "protocol"),
    [
        (sdp(crypto(GCM, 3)), None, "RTP/SAVP"),
        (sdp(crypto(GCM, 3)), True, "RTP/SAVP"),
        (sdp(crypto(GCM, 3)), False, "RTP/AVP"),
        (sdp(crypto(GCM, 3), protocol="RTP/SAVPF"), False, "RTP/AVPF"),
        (sdp(), None, "RTP/AVP"),
        (sdp(), True, "RTP/SAVP"),
        (sdp(protocol="RTP/AVPF"), True, "RTP/SAVPF"),
        (sdp(), False, "RTP/AVP"),
    ],
)
def test_the_offer_to_the_callee_is_secured_as_its_trunk_wishes(
    offer: Sdp, wish: bool | None, protocol: str
) -> None:
    _, commands = invited(offer, wish)
    ours = all_ours(FAR) if "SAVP" in protocol else ()
    assert sent(commands).security == (StreamSecurity(protocol, ours),)


def test_each_leg_has_keys_of_its_own_and_the_answer_takes_the_callers_tag() -> None:
    machine, commands = invited(sdp(crypto(GCM, 3, fill=5), crypto(AES, 4, fill=6)))
    assert connected(commands, CALLER) == (StreamKeys(GCM, bytes([5]) * 28, NEAR.key(GCM)),)
    commands = machine.receive(CalleeAnswered(sdp(crypto(AES, 1, fill=7)), "cid-b"), 0.0)
    assert connected(commands, CALLEE) == (StreamKeys(AES, bytes([7]) * 30, FAR.key(AES)),)
    assert sent(commands).security == (StreamSecurity("RTP/SAVP", (CryptoOffer(3, GCM, NEAR.key(GCM)),)),)


def test_plain_and_secure_legs_meet() -> None:
    machine, _ = invited(sdp(crypto(AES, 9)), secure=False)
    commands = machine.receive(CalleeAnswered(sdp(), "cid-b"), 0.0)
    assert connected(commands, CALLEE) == (None,)
    assert sent(commands).security == (StreamSecurity("RTP/SAVP", (CryptoOffer(9, AES, NEAR.key(AES)),)),)
    machine, commands = invited(sdp(), secure=True)
    assert connected(commands, CALLER) == (None,)
    commands = machine.receive(CalleeAnswered(sdp(crypto(AES)), "cid-b"), 0.0)
    assert sent(commands).security == (StreamSecurity("RTP/AVP"),)


def test_early_media_is_secured_too() -> None:
    machine, _ = invited(sdp(crypto(AES, 2)))
    commands = machine.receive(CalleeProgress(183, "Session Progress", sdp(crypto(AES))), 0.0)
    assert connected(commands, CALLEE) == (StreamKeys(AES, bytes([1]) * 30, FAR.key(AES)),)
    assert sent(commands).security[0] == StreamSecurity("RTP/SAVP", (CryptoOffer(2, AES, NEAR.key(AES)),))
    machine, _ = invited(sdp(crypto(AES, 2)))
    commands = machine.receive(CalleeProgress(183, "Session Progress", sdp()), 0.0)
    assert commands == [ProgressCaller(183, "Session Progress", None)]


@pytest.mark.parametrize(
    "answer", [sdp(), sdp(protocol="RTP/SAVP"), sdp(crypto(AES, 2)), sdp(crypto(GCM, 1))]
)
def test_a_callee_that_takes_none_of_our_keys_ends_the_call(answer: Sdp) -> None:
    machine, _ = invited(sdp(crypto(AES)))
    ends = [c for c in machine.receive(CalleeAnswered(answer, "cid-b"), 0.0) if isinstance(c, EndLeg)]
    assert {(end.leg, end.code) for end in ends} == {(CALLER, 502), (CALLEE, 502)}


def test_a_call_that_no_purpose_applies_to_keeps_its_keys_untouched() -> None:
    machine, commands = invited(sdp(crypto(AES)), True, Pass(PassReason.NO_RULE))
    assert sent(commands).security == ()
    assert connected(commands, CALLER) == ()
    commands = machine.receive(CalleeAnswered(sdp(crypto(GCM, 8)), "cid-b"), 0.0)
    assert sent(commands).security == ()


def test_keys_that_cannot_be_had_leave_the_call_unrecorded_and_untouched() -> None:
    for protocol in ("RTP/SAVP", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"):
        machine, commands = invited(sdp(protocol=protocol), True)
        assert sent(commands).security == ()
        assert machine.notice.name == "FAILED"


def test_a_new_key_comes_with_a_re_offer() -> None:
    machine = up(sdp(crypto(AES, 1)), sdp(crypto(AES)))
    commands = machine.receive(ReofferReceived(CALLER, sdp(crypto(GCM, 5, fill=9))), 1.0)
    assert sent(commands).security == (StreamSecurity("RTP/SAVP", all_ours(FAR)),)
    commands = machine.receive(ReofferAnswered(CALLEE, 200, "OK", sdp(crypto(AES, fill=8))), 1.0)
    assert connected(commands, CALLER) == (StreamKeys(GCM, bytes([9]) * 28, NEAR.key(GCM)),)
    assert connected(commands, CALLEE) == (StreamKeys(AES, bytes([8]) * 30, FAR.key(AES)),)
    assert sent(commands).security == (StreamSecurity("RTP/SAVP", (CryptoOffer(5, GCM, NEAR.key(GCM)),)),)


def test_a_re_offer_of_the_callee_goes_on_in_the_way_of_the_caller() -> None:
    machine = up(sdp(crypto(AES, 1)), sdp(), secure=False)
    commands = machine.receive(ReofferReceived(CALLEE, sdp()), 1.0)
    assert sent(commands).security == (StreamSecurity("RTP/SAVP", all_ours(NEAR)),)
    commands = machine.receive(ReofferAnswered(CALLER, 200, "OK", sdp(crypto(AES))), 1.0)
    assert sent(commands).security == (StreamSecurity("RTP/AVP"),)


def test_a_leg_that_is_secure_does_not_become_plain() -> None:
    machine = up(sdp(crypto(AES, 1)), sdp(crypto(AES)))
    assert machine.receive(ReofferReceived(CALLER, sdp()), 1.0) == [
        AnswerReoffer(CALLER, 488, "Not Acceptable Here", None)
    ]


def test_a_re_offer_answered_without_a_key_ends_the_call() -> None:
    machine = up(sdp(crypto(AES, 1)), sdp(crypto(AES)))
    machine.receive(ReofferReceived(CALLER, sdp(crypto(AES))), 1.0)
    commands = machine.receive(ReofferAnswered(CALLEE, 200, "OK", sdp()), 1.0)
    assert the(AnswerReoffer, commands) == AnswerReoffer(CALLER, 488, "Not Acceptable Here", None)
    assert [c.code for c in commands if isinstance(c, EndLeg)] == [502, 502]


def test_a_call_whose_announcement_failed_is_still_opened_and_sealed_by_us() -> None:
    machine = up(sdp(crypto(AES, 1)), sdp(), secure=False)
    machine.receive(PromptFailed("broken"), 0.5)
    assert machine.notice.name == "FAILED"
    commands = machine.receive(ReofferReceived(CALLER, sdp(crypto(AES, 1))), 1.0)
    assert sent(commands).security == (StreamSecurity("RTP/AVP"),), "the callee never had the caller's key"


def test_no_command_shows_a_key() -> None:
    _, commands = invited(sdp(crypto(GCM, 3, fill=5)), True)
    for secret in (bytes([5]) * 28, *(FAR.key(suite) for suite in SRTP_KEY_BYTES)):
        assert repr(secret)[2:-1] not in repr(commands)
