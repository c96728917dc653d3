"""Recorded calls whose parties speak SRTP with keys in the SDP, against a model of the RFCs."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable

import pytest
import sdp_bodies
import yaml
from listening import unmistakable
from rig import CALLER_NUMBER, NUMBER, Call, Rig, compare
from rtp_peer import FRAME_SAMPLES, Heard, RtpPeer, Talk, packet
from srtp_model import SrtpModel

from rtp.endpoints import SrtpKey, SrtpSuite

pytestmark = pytest.mark.interop

_CRYPTO = re.compile(r"a=crypto:([0-9]+) (\S+) inline:(\S+)")
_LEFT_SSRC, _RIGHT_SSRC = 0x11110001, 0x22220001


def keys_of(body: bytes) -> dict[int, SrtpKey]:
    """The a=crypto lines of a body, by tag."""
    return {
        int(tag): SrtpKey(SrtpSuite[suite], base64.b64decode(key))
        for tag, suite, key in _CRYPTO.findall(body.decode())
    }


def key(suite: SrtpSuite, seed: int) -> SrtpKey:
    return SrtpKey(suite, bytes((seed + 7 * k) % 256 for k in range(suite.key_bytes)))


def secured(body: bytes, tag: int, ours: SrtpKey) -> bytes:
    """A body of ``sdp_bodies`` as SRTP with one key."""
    line = f"a=crypto:{tag} {ours.suite.name} inline:{base64.b64encode(ours.key).decode()}\r\n"
    return body.replace(b"RTP/AVP", b"RTP/SAVP") + line.encode()


def talk(peer: RtpPeer, to: tuple[str, int], sends: SrtpModel | None, seed: int, ssrc: int) -> Talk:
    """Speak, sealed if ``sends`` is given; the sequence number turns within half a second."""
    audio = unmistakable(20.0, seed)
    made = Talk(audio, [(frame,) for frame in range(len(audio) // FRAME_SAMPLES)])

    def send(index: int, payload: bytes) -> None:
        sequence = 65_520 + index
        plain = packet(payload, sequence=sequence, timestamp=index * FRAME_SAMPLES, ssrc=ssrc)
        peer.send(plain if sends is None else sends.seal(plain, sequence >> 16), to)

    made._thread = threading.Thread(target=made.run, args=(send,), daemon=True)
    made._thread.start()
    return made


def opened(heard: list[Heard], hears: SrtpModel, ssrc: int) -> list[bytes]:
    """Payloads of one source in order of arrival; each must be authentic."""
    payloads = []
    first = None
    for one in heard:
        if len(one.data) > 12 and one.ssrc == ssrc:
            first = one.sequence if first is None else first
            payloads.append(hears.open(one.data, int(one.sequence < first))[12:])
    return payloads


@pytest.mark.parametrize("callee_secure", [True, False])
def test_srtp_call_is_announced_relayed_and_recorded(
    make_rig: Callable[..., Rig], callee_secure: bool
) -> None:
    rig = make_rig()
    if not callee_secure:
        document = yaml.safe_load(rig.daemon.config.read_text())
        document["trunks"]["pbx"]["media"] = "rtp"
        rig.daemon.config.write_text(yaml.safe_dump(document))
    rig.daemon.start()
    left, right = rig.peer(rig.lease.addresses.caller), rig.peer(rig.lease.addresses.callee)
    caller_key = key(SrtpSuite.AEAD_AES_128_GCM, 1)
    callee_key = key(SrtpSuite.AES_CM_128_HMAC_SHA1_80, 2)
    offer = secured(sdp_bodies.audio(left.address, left.port), 7, caller_key)
    dialog = rig.caller.invite(NUMBER, rig.daemon.sip, offer, caller=CALLER_NUMBER)
    incoming = rig.callee.next_call()
    offered = keys_of(incoming.remote_sdp)
    assert base64.b64encode(caller_key.key) not in incoming.remote_sdp, "the caller's key stays with us"
    answer = sdp_bodies.audio(right.address, right.port)
    if callee_secure:
        assert sdp_bodies.read(incoming.remote_sdp)[0].protocol == "RTP/SAVP"
        assert [one.suite for one in offered.values()] == [
            SrtpSuite.AES_CM_128_HMAC_SHA1_80,
            SrtpSuite.AEAD_AES_256_GCM,
            SrtpSuite.AEAD_AES_128_GCM,
            SrtpSuite.AES_CM_128_HMAC_SHA1_32,
        ]
        incoming.answer(secured(answer, 1, callee_key))
    else:
        assert sdp_bodies.read(incoming.remote_sdp)[0].protocol == "RTP/AVP"
        assert offered == {}
        incoming.answer(answer)
    dialog.wait_answer()
    answered = rig.daemon.wait("call.answered")
    assert sdp_bodies.read(dialog.remote_sdp)[0].protocol == "RTP/SAVP"
    ours = keys_of(dialog.remote_sdp)
    assert list(ours) == [7], "the tag that was offered"
    assert ours[7].suite is caller_key.suite
    assert ours[7].key != caller_key.key
    left_talk = talk(left, sdp_bodies.media_target(dialog.remote_sdp), SrtpModel(caller_key), 2, _LEFT_SSRC)
    right_talk = talk(
        right,
        sdp_bodies.media_target(incoming.remote_sdp),
        SrtpModel(callee_key) if callee_secure else None,
        3,
        _RIGHT_SSRC,
    )
    call = Call(str(answered["call_ref"]), dialog, incoming, left, right, left_talk, right_talk)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.5)
    call.hang_up()
    rig.sealed(call)

    hears = SrtpModel(ours[7])
    (prompt_ssrc,) = {one.ssrc for one in left.heard if len(one.data) > 12} - {_RIGHT_SSRC}
    assert len(opened(left.heard, hears, prompt_ssrc)) > 10, "the announcement came sealed and whole"
    relayed = opened(left.heard, hears, _RIGHT_SSRC)
    assert b"".join(relayed) in right_talk.sent
    if callee_secure:
        heard = opened(right.heard, SrtpModel(offered[1]), _LEFT_SSRC)
        assert b"".join(heard) in left_talk.sent
    found = compare(call, rig.wave(recording))
    assert sum(run.samples for run in found.left) > 8_000
    assert sum(run.samples for run in found.right) > 8_000
    for secret in (caller_key.key, callee_key.key, ours[7].key):
        for form in (base64.b64encode(secret).decode(), secret.hex()):
            assert form not in rig.daemon.everything_said, "no key in the log"


def test_keys_by_dtls_are_not_ours_to_open_and_the_call_goes_on_unrecorded(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    rig.daemon.start()
    left, right = rig.peer(rig.lease.addresses.caller), rig.peer(rig.lease.addresses.callee)
    fingerprint = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\na=setup:actpass\r\n"
    offer = sdp_bodies.audio(left.address, left.port, more=fingerprint).replace(
        b"RTP/AVP", b"UDP/TLS/RTP/SAVP"
    )
    dialog = rig.caller.invite(NUMBER, rig.daemon.sip, offer)
    incoming = rig.callee.next_call()
    assert fingerprint.encode() in incoming.remote_sdp
    incoming.answer(
        sdp_bodies.audio(right.address, right.port, more=fingerprint).replace(b"RTP/AVP", b"UDP/TLS/RTP/SAVP")
    )
    dialog.wait_answer()
    dialog.bye()
    incoming.wait_ended()
    ended = rig.daemon.wait("call.ended")
    assert (ended.recording, ended["notice"]) == ("", "failed")
