"""Malformed SIP and SDP by the thousand against the daemon, while a call is recorded."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator

import pytest
import sdp_bodies
from rig import NUMBER, Rig

pytestmark = pytest.mark.interop

COUNT = 3000
BRANCH = "z9hG4bK"

# What RFC 4475 describes, section by section, written anew. {0} is our address, {1} a serial number.
HEAD = "INVITE sip:{n}@{d} SIP/2.0\r\nVia: SIP/2.0/UDP {0}:5070;branch=z9hG4bK{1}\r\n"
REST = (
    "From: <sip:a@{0}>;tag={1}\r\nTo: <sip:b@{d}>\r\nCall-ID: t{1}@{0}\r\n"
    "Max-Forwards: 70\r\nContact: <sip:a@{0}:5070>\r\n"
)
CSEQ = "CSeq: 1 INVITE\r\n"
TORTURE = {
    "3.1.2.1 separators in Via": HEAD.replace("branch", ";;,;,branch") + REST + CSEQ + "\r\n",
    "3.1.2.2 Content-Length larger than the message": HEAD + REST + CSEQ + "Content-Length: 9999\r\n\r\nv=0",
    "3.1.2.3 negative Content-Length": HEAD + REST + CSEQ + "Content-Length: -999\r\n\r\n",
    "3.1.2.4 numbers": HEAD + REST.replace("70", "300") + "CSeq: 36893488147419103232 INVITE\r\n\r\n",
    "3.1.2.6 unterminated quote": HEAD + REST.replace("To: <", 'To: "Mr. J. <') + CSEQ + "\r\n",
    "3.1.2.7 URI in angle brackets": HEAD.replace("sip:{n}@{d}", "<sip:{n}@{d}>") + REST + CSEQ + "\r\n",
    "3.1.2.8 spaces in the URI": HEAD.replace("{n}@{d}", "{n}@{d}; lr") + REST + CSEQ + "\r\n",
    "3.1.2.16 another version": HEAD.replace("SIP/2.0\r", "SIP/7.0\r") + REST + CSEQ + "\r\n",
    "3.1.2.17 method and CSeq differ": HEAD + REST + "CSeq: 8 OPTIONS\r\n\r\n",
    "3.3.1 what is required is missing": HEAD + CSEQ + "\r\n",
    "3.3.2 a scheme that nobody knows": HEAD.replace("sip:{n}", "nobody:{n}") + REST + CSEQ + "\r\n",
    "3.3.8 fields twice": HEAD + REST + REST + "CSeq: 5 INVITE\r\nCSeq: 6 INVITE\r\n\r\n",
    "3.3.15 unknown body": HEAD + REST + CSEQ + "Content-Type: application/x\r\n\r\nxyz",
}  # fmt: skip


def _filled(text: str, source: str, serial: int, daemon: str) -> bytes:
    for mark, value in (("{0}", source), ("{1}", str(serial)), ("{n}", NUMBER), ("{d}", daemon)):
        text = text.replace(mark, value)
    return text.encode()


def _mutated(chance: random.Random, source: str, daemon: str) -> Iterator[bytes]:
    offer = sdp_bodies.audio(source, 6000)
    whole = HEAD + REST + CSEQ + "Content-Type: application/sdp\r\n" + f"Content-Length: {len(offer)}\r\n\r\n"
    for serial in range(COUNT):
        data = bytearray(_filled(whole, source, serial, daemon) + offer)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randint(1, 40)]
                case 2:
                    data[at:at] = data[at : at + chance.randint(1, 200)] * chance.randint(1, 20)
                case _:
                    data[at:at] = chance.choice(
                        [b"\r\n", b"\0", b'"', b"<", b"%00", b",", b";", b"a=crypto:1 "]
                    )
        yield bytes(data[:60_000])


def test_torture_and_mutations_end_no_call_and_lose_no_packet(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    here = rig.lease.addresses
    rig.daemon.start()
    call = rig.dial(seconds=60)
    rig.recorded(call)
    rig.talk_on(call, 1)
    chance = random.Random(4475)
    for source in (here.caller, here.foreign):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((source, 5070))
            for serial, text in enumerate(TORTURE.values()):
                sock.sendto(_filled(text, source, 100_000 + serial, here.daemon), rig.daemon.sip)
            for turn, data in enumerate(_mutated(chance, source, here.daemon)):
                sock.sendto(data, rig.daemon.sip)
                if turn % 50 == 0:
                    # An answer to this says that what came before was read.
                    assert rig.caller.options(rig.daemon.sip).code in {200, 503}
    assert rig.daemon.alive
    strangers = [message for message in rig.callee.received if f"@{here.foreign}" in message.one("from")]
    assert strangers == []
    rig.talk_on(call, 1)
    call.hang_up()
    sealed = rig.sealed(call)
    lost = [sealed[key] for key in ("caller_lost", "callee_lost", "ring_dropped")]
    assert lost == [0, 0, 0]
    assert rig.daemon.alive
