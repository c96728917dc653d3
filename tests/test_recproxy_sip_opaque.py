"""SDP passes the SIP stack unread: only addresses and ports differ, both ways."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sip_bench import Bench, Dialog, bench

pytestmark = pytest.mark.interop

HEAD = "v=0\r\no=- 7 1 IN IP4 {a}\r\ns=-\r\nc=IN IP4 {a}\r\nt=0 0\r\n"
KEY = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:32"
ODD = {
    "AMR-WB only": HEAD + "m=audio {p} RTP/AVP 96\r\na=rtpmap:96 AMR-WB/16000\r\na=fmtp:96 octet-align=1\r\n",
    "EVS": HEAD
    + "m=audio {p} RTP/AVP 112\r\na=rtpmap:112 EVS/16000/1\r\na=fmtp:112 br=5.9-24.4;bw=nb-swb\r\n",
    "T.38": HEAD + "m=image {p} udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n",
    "SAVP": HEAD + f"m=audio {{p}} RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n",
    "many keys": HEAD
    + "m=audio {p} RTP/SAVP 0\r\n"
    + "".join(f"a=crypto:{n} AES_CM_128_HMAC_SHA1_80 {KEY}\r\n" for n in range(1, 41)),
    "DTLS": HEAD + "m=audio {p} UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=setup:actpass\r\n",
    "audio and video": HEAD
    + "m=audio {p} RTP/AVP 0 8\r\nb=AS:80\r\nm=video {q} RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n",
    "two audio": HEAD + "m=audio {p} RTP/AVP 0\r\na=label:1\r\nm=audio {q} RTP/AVP 8\r\na=label:2\r\n",
    "chat": HEAD + "m=audio {p} RTP/AVP 9\r\nm=message {q} TCP/MSRP *\r\na=accept-types:text/plain\r\n",
    "own connection": "v=0\r\no=x 1 1 IN IP4 {a}\r\ns=Sales call\r\ni=x\r\nb=CT:10\r\nt=0 0\r\na=tool:x\r\n"
    "m=audio {p} RTP/AVP 18\r\nc=IN IP4 {a}\r\na=fmtp:18 annexb=no\r\na=unknown:kept \t as it is\r\n",
    "held": HEAD + "m=audio {p} RTP/AVP 0\r\na=sendonly\r\n",
    "inactive": HEAD + "m=audio {p} RTP/AVP 0\r\na=inactive\r\n",
    "long": HEAD
    + "m=audio {p} RTP/AVP 0\r\n"
    + "".join(f"a=x-line:{n:04d} {'y' * 60}\r\n" for n in range(62)),
}


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as opened:
        yield opened
        assert opened.endpoint.counters()["bodies_lost"] == 0


def _body(name: str, address: str, port: int) -> bytes:
    return ODD[name].format(a=address, p=port, q=port + 10).encode()


def _expected(name: str, address: str) -> bytes:
    return ODD[name].format(a=address, p=20000, q=20002).encode()


@pytest.mark.parametrize("name", ODD)
def test_an_odd_offer_and_answer_pass_byte_by_byte(stage: Bench, name: str) -> None:
    ours = stage.lease.addresses.daemon
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _body(name, stage.caller.address, 4000)))
    invite = stage.receive(stage.callee, "INVITE")
    assert invite.body == _expected(name, ours)
    assert invite.one("content-type") == "application/sdp"
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 183, "Session Progress", _body(name, stage.callee.address, 5000)))
    assert stage.receive(stage.caller, "183").body == _expected(name, ours)
    stage.callee.send(b.response(invite, 200, "OK", _body(name, stage.callee.address, 5100)))
    ok = stage.receive(stage.caller, "200")
    assert ok.body == _expected(name, ours)
    stage.receive(stage.callee, "ACK")
    a.learn(ok)
    stage.caller.send(a.request("ACK"))
    stage.hang_up(a)


def test_the_sdp_part_of_a_multipart_body_passes(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    sdp = _body("EVS", stage.caller.address, 4000)
    mixed = b"--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n"
    request = a.request("INVITE")
    headers = (*request.headers, ("Content-Type", 'multipart/mixed;boundary="b1"'))
    stage.caller.send(type(request)(request.start, headers, mixed + sdp + b"\r\n--b1--\r\n"))
    invite = stage.receive(stage.callee, "INVITE")
    assert invite.body.rstrip() == _expected("EVS", stage.lease.addresses.daemon).rstrip()
    assert invite.one("content-type") == "application/sdp"


def test_retransmissions_are_the_same_bytes(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _body("EVS", stage.caller.address, 4000)))
    invite = stage.receive(stage.callee, "INVITE")
    stage.receive(stage.callee, "INVITE")  # nobody answered the first
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 200, "OK", _body("EVS", stage.callee.address, 5000)))
    stage.receive(stage.caller, "200")
    stage.receive(stage.caller, "200")  # nobody acknowledged the first
    for raw in (stage.callee.raw, stage.caller.raw):
        longest = [data for data in raw if re.match(rb"INVITE|SIP/2.0 200", data)]
        assert len(longest) >= 2
        assert len(set(longest)) == 1


def test_no_placeholder_reaches_the_wire(stage: Bench) -> None:
    a, _ = stage.establish(_body("EVS", stage.caller.address, 4000), _body("EVS", stage.callee.address, 5000))
    stage.hang_up(a)
    for data in (*stage.caller.raw, *stage.callee.raw):
        assert b"recproxy-0" not in data
        assert b"X-Recproxy" not in data


GARBAGE = (b"garbage", b"v=0\r\nm=audio 99999 RTP/AVP 0\r\n", b"v=0\r\n" * 900, b"\xff" * 300)


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_in_early_media_counts_as_none(stage: Bench, body: bytes) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _body("EVS", stage.caller.address, 4000)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 183, "Session Progress", body))
    assert stage.receive(stage.caller, "183").body == b""
    stage.callee.send(b.response(invite, 200, "OK", _body("EVS", stage.callee.address, 5000)))
    assert stage.receive(stage.caller, "200").body == _expected("EVS", stage.lease.addresses.daemon)


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_in_an_answer_ends_the_call(stage: Bench, body: bytes) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _body("EVS", stage.caller.address, 4000)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 200, "OK", body))
    stage.receive(stage.callee, "ACK")
    bye = stage.receive(stage.callee, "BYE")
    stage.callee.send(b.response(bye, 200))
    assert stage.receive(stage.caller, "500")
    stage.caller.send(a.request("ACK"))
    stage.quiet()
