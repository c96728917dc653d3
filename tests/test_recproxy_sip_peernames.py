"""Peers that call themselves by a name, and a name server that says nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from loopback import Lease
from name_server import NameServer
from sdp_bodies import AMR_WB, audio
from sip_bench import Bench, Dialog, bench
from sip_message import SipMessage

from recproxy.call.events import CallerConfirmed

pytestmark = pytest.mark.interop

NAMED = "<sip:peer@phone.example:5060>"
TURN_S = 1.0  # of which a turn takes a few milliseconds, and waiting for a name server 5 s


@contextmanager
def _named() -> Iterator[tuple[Bench, NameServer]]:
    with Lease.take() as lease:
        place = lease.addresses.daemon.rpartition(".")[0] + ".53"
        zone = {("phone.example", "A"): (lease.addresses.caller,)}
        with NameServer(place, zone) as server, bench(lease=lease, nameservers=(place,)) as stage:
            yield stage, server


def _renamed(message: SipMessage, name: str, value: str) -> SipMessage:
    lines = tuple((n, value if n == name else v) for n, v in message.headers)
    return replace(message, headers=lines)


def _call(stage: Bench) -> tuple[Dialog, Dialog]:
    """A call of a peer whose Contact is a name."""
    a = Dialog.calling(stage.caller)
    offer = audio(stage.caller.address, 4000, codecs=(AMR_WB,))
    stage.caller.send(_renamed(a.request("INVITE", offer), "Contact", NAMED))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 200, "OK", audio(stage.callee.address, 5000, codecs=(AMR_WB,))))
    stage.receive(stage.callee, "ACK")
    a.learn(stage.receive(stage.caller, "200"))
    stage.caller.send(_renamed(a.request("ACK"), "Contact", NAMED))
    stage.until(lambda: bool(stage.mirror.seen(CallerConfirmed)), "the ACK")
    return a, b


def test_a_request_to_a_named_peer_finds_it() -> None:
    with _named() as (stage, server):
        a, b = _call(stage)
        stage.callee.send(b.request("BYE"))
        stage.receive(stage.callee, "200")
        bye = stage.receive(stage.caller, "BYE")
        assert bye.uri == NAMED.strip("<>")
        stage.caller.send(a.response(bye, 200, "OK"))
        stage.quiet()
        assert ("phone.example", "A") in server.asked


def test_a_name_server_that_never_answers_keeps_no_call_waiting() -> None:
    with _named() as (stage, server):
        server.silent = True
        _, b = _call(stage)
        stage.callee.send(b.request("BYE"))
        stage.receive(stage.callee, "200")
        stage.until(lambda: ("phone.example", "A") in server.asked, "the question")
        slowest = 0.0
        for _ in range(5):
            begun = time.monotonic()
            stage.callee.send(Dialog.calling(stage.callee).request("OPTIONS"))
            assert stage.receive(stage.callee, "200").method == "OPTIONS"
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < TURN_S
        stage.later(6)
        stage.quiet()
        assert not [m for m in stage.caller.inbox if m.start.startswith("BYE")]
