"""Several early dialogs, and refreshes of a dialog that leave the other leg alone (RFC 4028)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sdp_bodies import AMR_WB, OPUS, audio
from sip_bench import Bench, Dialog, bench
from sip_message import SipMessage

from recproxy.call.events import ReofferReceived

pytestmark = pytest.mark.interop


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as opened:
        yield opened
        assert opened.endpoint.counters()["bodies_lost"] == 0


def _offer(stage: Bench) -> bytes:
    return audio(stage.caller.address, 4000, codecs=(AMR_WB, OPUS))


def _answer(stage: Bench, version: int = 1) -> bytes:
    return audio(stage.callee.address, 5000, codecs=(OPUS,), version=version)


def _ours(stage: Bench, body: bytes) -> bytes:
    here = stage.lease.addresses.daemon.encode()
    return body.replace(stage.callee.address.encode(), here).replace(b"m=audio 5000", b"m=audio 20000")


def _rung(stage: Bench, more: tuple[tuple[str, str], ...] = ()) -> tuple[Dialog, SipMessage, Dialog]:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage), more))
    invite = stage.receive(stage.callee, "INVITE")
    return a, invite, Dialog.called(stage.callee, invite)


def _answered(stage: Bench, a: Dialog, b: Dialog, invite: SipMessage, body: bytes) -> None:
    stage.callee.send(b.response(invite, 200, "OK", body))
    stage.receive(stage.callee, "ACK")
    ok = stage.receive(stage.caller, "200")
    assert ok.method == "INVITE"
    a.learn(ok)
    stage.caller.send(a.request("ACK"))
    stage.hang_up(a)


def test_of_several_early_dialogs_the_one_that_answers_stands(stage: Bench) -> None:
    a, invite, first = _rung(stage)
    second = Dialog.called(stage.callee, invite)
    stage.callee.send(first.response(invite, 183, "Session Progress", _answer(stage)))
    assert stage.receive(stage.caller, "183").body == _ours(stage, _answer(stage))
    stage.callee.send(second.response(invite, 183, "Session Progress", _answer(stage, version=2)))
    assert stage.receive(stage.caller, "183").body == _ours(stage, _answer(stage, version=2))
    _answered(stage, a, second, invite, _answer(stage, version=2))


def test_a_refresh_that_says_what_stands_is_answered_alike(stage: Bench) -> None:
    a, b = stage.establish(
        _offer(stage), _answer(stage), (("Supported", "timer"), ("Session-Expires", "1800"))
    )
    stage.caller.send(
        a.request("UPDATE", more=(("Supported", "timer"), ("Session-Expires", "1800;refresher=uac")))
    )
    ok = stage.receive(stage.caller, "200")
    assert ok.method == "UPDATE"
    assert ok.one("session-expires").startswith("1800")
    assert not [m for m in stage.callee.inbox if m.start.startswith(("UPDATE", "INVITE"))], (
        "the other leg rests"
    )
    assert not stage.mirror.seen(ReofferReceived)
    assert b.call_id != a.call_id
    stage.hang_up(a)
