"""Passwords at the door: a call with one, without, with a wrong one, and an emergency."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from digest_client import authorization
from sdp_bodies import OPUS, audio
from sip_bench import Bench, Dialog, bench

from recproxy.call.events import InviteReceived
from recproxy.sip.endpoint import DigestUsers

pytestmark = pytest.mark.interop
USERS = DigestUsers("a.example", {"pbx": "open sesame"})


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as opened:
        office, carrier = opened.base.trunks
        opened.endpoint.apply(opened.settings(trunks=(replace(office, users=USERS), carrier)))
        yield opened


def _offer(stage: Bench) -> bytes:
    return audio(stage.caller.address, 4000, codecs=(OPUS,))


def _dial(stage: Bench, number: str = "0201234567", more: tuple[tuple[str, str], ...] = ()) -> Dialog:
    dialog = Dialog.calling(stage.caller, number)
    stage.caller.send(dialog.request("INVITE", _offer(stage), more))
    return dialog


@pytest.mark.parametrize("which", [0, 1])
def test_a_call_passes_with_the_password(stage: Bench, which: int) -> None:
    first = _dial(stage)
    challenge = stage.receive(stage.caller, "407").all("proxy-authenticate")
    assert len(challenge) == 2
    assert stage.endpoint.counters()["challenged"] == 1
    assert stage.endpoint.active == 0
    value = authorization(challenge[which], first.target)
    stage.caller.send(first.request("INVITE", _offer(stage), (("Proxy-Authorization", value),)))
    invite = stage.receive(stage.callee, "INVITE")
    assert not invite.one("proxy-authorization")
    stage.callee.send(Dialog.called(stage.callee, invite).response(invite, 486, "Busy Here"))
    stage.receive(stage.caller, "486")


def test_a_wrong_password_is_challenged_again_and_then_shut_out(stage: Bench) -> None:
    _dial(stage)
    challenge = stage.receive(stage.caller, "407").one("proxy-authenticate")
    for count in range(1, 11):
        dialog = Dialog.calling(stage.caller)
        value = authorization(challenge, dialog.target, spoken="guess", count=count)
        stage.caller.send(dialog.request("INVITE", _offer(stage), (("Proxy-Authorization", value),)))
        answer = stage.receive(stage.caller, "407")
        stage.caller.send(dialog.request("ACK"))
        assert "stale" not in answer.one("proxy-authenticate")
    stage.until(lambda: any(note.event == "peer.locked" for note in stage.told), "the lock-out")
    _dial(stage)
    stage.receive(stage.caller, "403")
    assert stage.endpoint.counters()["locked_out"] == 1
    assert not stage.mirror.seen(InviteReceived)


@pytest.mark.parametrize("number", ["112", "911"])
def test_an_emergency_call_needs_no_password(stage: Bench, number: str) -> None:
    _dial(stage, number)
    stage.receive(stage.callee, "INVITE")


def test_a_short_number_that_is_no_emergency_needs_one(stage: Bench) -> None:
    _dial(stage, "1234")
    assert len(stage.receive(stage.caller, "407").all("proxy-authenticate")) == 2
    assert stage.endpoint.counters()["challenged"] == 0


def test_the_other_trunk_needs_none(stage: Bench) -> None:
    dialog = Dialog.calling(stage.callee)
    stage.callee.send(dialog.request("INVITE", audio(stage.callee.address, 4000, codecs=(OPUS,))))
    stage.receive(stage.caller, "INVITE")
