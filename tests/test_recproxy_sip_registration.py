"""Registration with a carrier, and its challenges."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdp_bodies import AMR_WB, audio
from sip_bench import Bench, Dialog, bench
from sip_message import SipMessage

from recproxy.sip.registration import Credentials, News, Registration
from recproxy.sip.targets import Target

USER, PASSWORD, REALM, NONCE = "31305550100", "correct horse", "carrier.example", "b7c9"


def _no(_below: int) -> int:
    return 0


# ------------------------------------------------------------ without network
def test_pauses_grow_after_failures_up_to_half_an_hour() -> None:
    state, now, pauses = Registration(), 0.0, []
    for _ in range(10):
        assert state.due(now)
        assert not state.due(now), "one at a time"
        assert state.answered(403, 0, now, _no) is News.FAILED
        assert state.due_at is not None
        pauses.append(state.due_at - now)
        now = state.due_at
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]
    assert state.answered(200, 600, now, _no) is News.COMPLETED
    assert state.answered(200, 600, now, _no) is None, "renewed"
    assert state.answered(503, 0, now, _no) is News.FAILED
    assert state.due_at == now + 10


@given(st.lists(st.sampled_from([200, 401, 403, 408, 503])), st.integers(0, 999))
def test_after_its_end_nothing_is_sent(codes: list[int], drawn: int) -> None:
    state = Registration()
    for code in codes:
        state.answered(code, 600, 0.0, lambda _: drawn)
    state.end()
    for code in codes:
        state.answered(code, 600, 0.0, lambda _: drawn)
        assert not state.due(1e9)
        assert not state.standing


def test_the_password_is_not_shown() -> None:
    assert PASSWORD not in repr(Credentials(Target("192.0.2.1"), USER, PASSWORD))


# --------------------------------------------------------------- the registrar
@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as opened:
        yield opened


def _start(stage: Bench, expires_s: int = 600) -> SipMessage:
    target = Target(stage.callee.address, 5060)
    stage.trunk("carrier", credentials=Credentials(target, USER, PASSWORD, expires_s))
    return stage.receive(stage.callee, "REGISTER")


def _challenge(stage: Bench, request: SipMessage, code: int, algorithm: str) -> None:
    name = "WWW-Authenticate" if code == 401 else "Proxy-Authenticate"
    value = f'Digest realm="{REALM}", nonce="{NONCE}", qop="auth", algorithm={algorithm}'
    stage.callee.send(Dialog.called(stage.callee, request).response(request, code, more=((name, value),)))


def _proved(request: SipMessage, header: str) -> bool:
    """RFC 7616 section 3.4.1."""
    parts = {k: a or b for k, a, b in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]*))', request.one(header))}
    digest = hashlib.sha256 if parts.get("algorithm") == "SHA-256" else hashlib.md5

    def h(text: str) -> str:
        return digest(text.encode()).hexdigest()

    ha1, ha2 = h(f"{USER}:{REALM}:{PASSWORD}"), h(f"{request.method}:{parts['uri']}")
    wanted = h(f"{ha1}:{NONCE}:{parts['nc']}:{parts['cnonce']}:auth:{ha2}")
    return (parts["username"], parts["response"]) == (USER, wanted)


def _accept(stage: Bench, request: SipMessage, expires_s: int) -> None:
    contact = request.one("contact").partition(";expires")[0]
    more = (("Contact", f"{contact};expires={expires_s}"), ("Expires", str(expires_s)))
    answer = Dialog.called(stage.callee, request).response(request, 200, "OK", more=more)
    kept = tuple(pair for pair in answer.headers if "peer@" not in pair[1])
    stage.callee.send(SipMessage(answer.start, kept))


def _told(stage: Bench, count: int) -> list[tuple[str, dict[str, object]]]:
    stage.until(lambda: len(stage.told) >= count, "what became of the registration")
    return [(note.event, dict(note.fields)) for note in stage.told]


@pytest.mark.interop
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_carrier_that_asks_who_we_are_is_told_and_told_again_at_the_end(
    stage: Bench, algorithm: str
) -> None:
    first = _start(stage)
    assert first.uri.startswith(f"sip:{stage.callee.address}")
    assert f"sip:{USER}@{stage.callee.address}" in first.one("to")
    assert f"sip:{USER}@{stage.lease.addresses.daemon}" in first.one("contact")
    _challenge(stage, first, 401, algorithm)
    second = stage.receive(stage.callee, "REGISTER")
    assert _proved(second, "authorization")
    assert PASSWORD.encode() not in b"".join(stage.callee.raw)
    _accept(stage, second, 600)
    assert _told(stage, 1) == [("registration.completed", {"trunk": "carrier", "seconds": 600})]
    stage.endpoint.drain()
    last = stage.receive(stage.callee, "REGISTER")
    assert last.one("expires") == "0"
    _accept(stage, last, 0)
    assert _told(stage, 2)[1:] == [("registration.ended", {"trunk": "carrier"})]


@pytest.mark.interop
def test_a_wrong_password_is_told_and_tried_again_later(stage: Bench) -> None:
    request = _start(stage)
    stage.callee.send(Dialog.called(stage.callee, request).response(request, 403, "Forbidden"))
    assert _told(stage, 1) == [
        ("registration.failed", {"trunk": "carrier", "code": 403, "reason": "Forbidden"})
    ]
    for _ in range(20):
        stage.turn()
    assert stage.callee.inbox == []
    stage.later(13)
    again = stage.receive(stage.callee, "REGISTER")
    _accept(stage, again, 600)
    assert _told(stage, 2)[1][0] == "registration.completed"


@pytest.mark.interop
@pytest.mark.parametrize("code", [401, 407])
def test_a_challenge_of_a_call_is_answered_for_that_trunk(stage: Bench, code: int) -> None:
    _accept(stage, _start(stage), 600)
    _told(stage, 1)
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", audio(stage.caller.address, 4000, codecs=(AMR_WB,))))
    invite = stage.receive(stage.callee, "INVITE")
    _challenge(stage, invite, code, "MD5")
    stage.receive(stage.callee, "ACK")
    proved = stage.receive(stage.callee, "INVITE")
    assert _proved(proved, "authorization" if code == 401 else "proxy-authorization")
    assert b"AMR-WB" in proved.body
    stage.callee.send(Dialog.called(stage.callee, proved).response(proved, 486, "Busy Here"))
    assert stage.receive(stage.caller, "486")
    stage.caller.send(a.request("ACK"))
    stage.quiet()
