"""Strangers and a peer gone wild against the daemon, while a call is recorded."""

from __future__ import annotations

import json
import os
import re
import socket

import pytest
import sdp_bodies
from processes import resident_kib
from rig import NUMBER, Call, Rig

pytestmark = pytest.mark.interop

FLOOD = 4_000
AT_ONCE = 100
GROWTH_MOST_KIB = 20 * 1024
PREMIUM = "+31906123456"


def request(
    method: str, source: str, port: int, serial: int, uri: str, more: str = "", *, body: bytes = b""
) -> bytes:
    kind = "Content-Type: application/sdp\r\n" if body else ""
    head = (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {source}:{port};branch=z9hG4bKh{serial}\r\n"
        f"From: <sip:100@{source}>;tag={serial}\r\nTo: <{uri}>\r\nCall-ID: h{serial}@{source}\r\n"
        f"CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <sip:100@{source}:{port}>\r\n{more}{kind}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def udp(address: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((address, port))
    return opened


def flood(rig: Rig, source: str, port: int, methods: tuple[str, ...], first: int) -> None:
    daemon = rig.lease.addresses.daemon
    offer = sdp_bodies.audio(source, 6000)
    with udp(source, port) as sock:
        for serial in range(first, first + FLOOD):
            method = methods[serial % len(methods)]
            body = offer if method == "INVITE" else b""
            data = request(method, source, port, serial, f"sip:{serial}@{daemon}", body=body)
            sock.sendto(os.urandom(200) if method == "garbage" else data, rig.daemon.sip)
            if serial % AT_ONCE == 0:
                # An answer to this says that what came before was read.
                assert rig.caller.options(rig.daemon.sip).code in {200, 503}


def test_a_flood_changes_nothing_for_a_call_and_memory_stays(standing: tuple[Rig, Call]) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    before = len(rig.callee.received)
    everything = ("INVITE", "OPTIONS", "REGISTER", "garbage", "SUBSCRIBE", "BYE")
    flood(rig, here.foreign, 5070, everything, 0)
    flood(rig, here.caller, 5071, everything[1:], 100_000)
    warm = resident_kib(rig.daemon.pid)
    for turn in range(1, 4):
        flood(rig, here.foreign, 5070, everything, turn * 10_000)
    flood(rig, here.caller, 5071, everything[1:], 200_000)
    grown = resident_kib(rig.daemon.pid) - warm
    print(f"grown by {grown} KiB")
    assert grown < GROWTH_MOST_KIB
    assert len(rig.callee.received) == before


def test_half_messages_over_tcp_hold_nobody_up(standing: tuple[Rig, Call]) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    opened = []
    try:
        for source in (here.foreign, here.caller):
            for serial in range(100):
                sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                sock.bind((source, 0))
                sock.settimeout(5)
                opened.append(sock)
                try:
                    sock.connect(rig.daemon.sip)
                    whole = request(
                        "INVITE", source, 5070, serial, f"sip:{NUMBER}@{here.daemon}", body=b"v=0"
                    )
                    sock.sendall(whole[: 1 + serial * 3])
                except OSError:
                    continue  # it shut the door on us
        assert rig.caller.options(rig.daemon.sip).code == 200
    finally:
        for sock in opened:
            sock.close()


def test_toll_fraud_reaches_nobody(standing: tuple[Rig, Call]) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    before = len(rig.callee.received)
    at_callee = f"{here.callee}:5060"
    uris = (
        f"sip:{PREMIUM}@{here.daemon}",
        f"sip:{PREMIUM}@{at_callee}",
        f"sip:{PREMIUM}@{here.daemon};maddr={here.callee}",
        f"sip:{PREMIUM}%40{at_callee}@{here.daemon}",
        f"tel:{PREMIUM}",
        f"sips:{PREMIUM}@{here.daemon}",
        f"sip:{PREMIUM}@{here.daemon};transport=tcp;user=phone",
    )
    routes = ("", f"Route: <sip:{here.daemon};lr>, <sip:{at_callee};lr>\r\n")
    with udp(here.foreign, 5070) as sock:
        sock.settimeout(10)
        serial = 0
        for method in ("INVITE", "REFER", "REGISTER", "MESSAGE"):
            for uri in uris:
                for route in routes:
                    serial += 1
                    more = f"{route}P-Asserted-Identity: <sip:{NUMBER}@{here.callee}>\r\n"
                    sock.sendto(request(method, here.foreign, 5070, serial, uri, more), rig.daemon.sip)
                    answer = sock.recv(65_535)
                    assert answer.startswith(b"SIP/2.0 4"), answer[:40]
    assert len(rig.callee.received) == before


def test_a_peer_names_no_next_hop_and_injects_nothing(standing: tuple[Rig, Call]) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    more = (
        f"Route: <sip:{here.daemon}:5060;lr>\r\n"
        'X-Quoted: "%s%n\\" <sip:x@y> ; X-Evil: 1\r\n'
        "X-Folded: one\r\n X-Evil: 2\r\n"
        "Subject: %0d%0aX-Evil: 4 {}${jndi:ldap://x}\r\n"
        f'P-Asserted-Identity: "%0d%0aX-Evil: 5" <sip:+31612345678@{here.caller}>\r\n'
    )
    uri = f"sip:{NUMBER}@{here.daemon};maddr={here.foreign}"
    offer = sdp_bodies.audio(here.caller, 6000)
    with udp(here.foreign, 5060) as elsewhere, udp(here.caller, 5070) as sock:
        elsewhere.setblocking(False)
        sock.sendto(request("INVITE", here.caller, 5070, 7, uri, more, body=offer), rig.daemon.sip)
        taken = rig.callee.next_call()
        taken.reject(486, "Busy Here")
        sock.settimeout(10)
        control = "X-Control: a\x0bX-Evil: 3\r\n"
        sock.sendto(request("INVITE", here.caller, 5070, 8, uri, control, body=offer), rig.daemon.sip)
        while b"h8@" not in (refused := sock.recv(65_535)) or refused.startswith(b"SIP/2.0 1"):
            pass  # still of the call before
        assert refused.startswith(b"SIP/2.0 400 ")
        assert b'Warning: 399 recproxy "header X-Control: a control character"' in refused
        with pytest.raises(BlockingIOError):
            elsewhere.recv(65_535)
    assert "maddr" not in taken.invite.start
    names = {name.lower() for name, _ in taken.invite.headers}
    assert not names & {"x-evil", "route"}
    assert not [value for _, value in taken.invite.headers if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", value)]
    for line in rig.daemon.everything_said.splitlines():
        assert isinstance(json.loads(line), dict)
