"""baresip behind SIP over TLS and SRTP, as caller and as callee: recorded, and opened by the age binary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sdp_bodies
import yaml
from certificates import Authority, Issued
from daemon import Settings, eventually
from listening import align, find_runs, pcm_to_ulaw, pcm_wave, read_wave, ulaw_to_pcm, unmistakable
from loopback import free_port
from peers import Baresip
from rig import NUMBER, Rig

pytestmark = pytest.mark.interop

TLS_PORT = 5061
CALLER_HZ, CALLEE_HZ = 440, 700
WORTH_BYTES = 3 * 2 * 8000


def _tone(directory: Path, hz: int) -> Path:
    """A WAV of 20 s."""
    tone = (8000 * np.sin(2 * np.pi * hz * np.arange(160_000) / 8000)).astype(np.int16)
    path = directory / f"{hz}.wav"
    path.write_bytes(pcm_wave(tone, 8000))
    return path


def _pitch(ulaw: bytes) -> int:
    """The strongest frequency of the second after the first half."""
    spectrum = np.abs(np.fft.rfft(ulaw_to_pcm(ulaw)[4000:12000].astype(float)))
    return int(np.argmax(spectrum[1:])) + 1


def _size(rig: Rig) -> int:
    return sum(path.stat().st_size for path in rig.daemon.bodies())


def _both(directory: Path, issued: Issued) -> Path:
    """Certificate and key in one file."""
    both = directory / f"both-{issued.key.stem}.pem"
    both.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
    return both


def _heard(by: Baresip) -> bytes:
    """What a baresip was told, as µ-law."""
    heard = read_wave(by.heard)
    assert (heard.code, heard.channels, heard.rate_hz) == (1, 1, 8000)
    return pcm_to_ulaw(np.frombuffer(heard.data, "<i2"))


def test_baresip_over_tls_and_srtp_is_recorded(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    both = _both(tmp_path, authority.issue(Baresip.address))
    with Baresip(directory=tmp_path / "b", speech=_tone(tmp_path, CALLEE_HZ), certificate=both) as callee:
        callee.wait_ready()
        rig = make_rig(Settings(callee=(callee.address, callee.port + 1), sip_transport="tls"))
        _secure(rig, authority, {rig.lease.addresses.daemon: TLS_PORT}, "srtp")
        rig.daemon.start()
        ear = rig.peer(rig.lease.addresses.caller)
        call = rig.caller.invite("baresip", rig.daemon.sip, sdp_bodies.audio(ear.address, ear.port))
        call.wait_answer()
        talk = ear.talk(unmistakable(20.0, 4), sdp_bodies.media_target(call.remote_sdp))
        recording = rig.daemon.wait("recording.opened").recording
        ear.wait_count(len(ear.heard) + 100)
        call.bye()
        rig.daemon.wait("recording.sealed")
        callee.wait_said("session closed")
    assert rig.daemon.open_with_age(recording)[:4] == b"RIFF"
    wave = rig.wave(recording)
    (run,) = find_runs(wave.channel(0), talk.sent)
    assert run.samples > 1.5 * 8000
    assert _pitch(wave.channel(1)) == pytest.approx(CALLEE_HZ, abs=2), "the callee's tone is on the right"
    assert align(_heard(callee), talk.sent).samples > 4000, "and it heard the caller as he spoke"


def test_baresip_calls_by_tls_and_srtp_into_a_plain_leg(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    both = _both(tmp_path, authority.issue(Baresip.address))
    rig = make_rig()
    daemon = rig.lease.addresses.daemon
    _secure(rig, authority, {daemon: TLS_PORT}, "rtp", caller=Baresip.address)
    rig.daemon.start()
    ear = rig.peer(rig.callee.address)
    to = f"sip:{NUMBER}@{daemon}:{TLS_PORT};transport=tls"
    with Baresip(
        directory=tmp_path / "b", speech=_tone(tmp_path, CALLER_HZ), certificate=both, dial=to
    ) as caller:
        callee = rig.callee.next_call()
        (section,) = sdp_bodies.read(callee.remote_sdp)
        assert section.protocol == "RTP/AVP"
        assert b"a=crypto" not in callee.remote_sdp
        callee.answer(sdp_bodies.audio(ear.address, ear.port))
        talk = ear.talk(unmistakable(20.0, 4), sdp_bodies.media_target(callee.remote_sdp))
        recording = rig.daemon.wait("recording.opened").recording
        ear.wait_count(len(ear.heard) + 100)
        callee.bye()
        rig.daemon.wait("recording.sealed")
        caller.wait_said("session closed")
    wave = rig.wave(recording)
    assert _pitch(wave.channel(0)) == pytest.approx(CALLER_HZ, abs=2), "the caller's tone is on the left"
    assert _pitch(b"".join(one.payload for one in ear.heard[-100:])) == pytest.approx(CALLER_HZ, abs=2)
    (run,) = find_runs(wave.channel(1), talk.sent)
    assert run.samples > 1.5 * 8000
    assert align(_heard(caller), talk.sent).samples > 4000


def test_baresip_calls_baresip_with_srtp_on_either_side(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    """One lives at 127.0.0.1, the other at ::1; each has its own keys, and recproxy both."""
    authority = Authority(tmp_path)
    to = {name: _both(tmp_path, authority.issue(name)) for name in ("127.0.0.1", "::1")}
    with Baresip(
        directory=tmp_path / "callee",
        speech=_tone(tmp_path, CALLEE_HZ),
        certificate=to["::1"],
        address="::1",
    ) as callee:
        callee.wait_ready()
        rig = make_rig(Settings(callee=("::1", callee.port + 1), sip_transport="tls", media=("::1",)))
        daemon = rig.lease.addresses.daemon
        _secure(rig, authority, {daemon: TLS_PORT, "::1": free_port()}, "srtp", caller=Baresip.address)
        rig.daemon.start()
        with Baresip(
            directory=tmp_path / "caller",
            speech=_tone(tmp_path, CALLER_HZ),
            certificate=to["127.0.0.1"],
            dial=f"sip:baresip@{daemon}:{TLS_PORT};transport=tls",
        ) as caller:
            opened = rig.daemon.wait("recording.opened")
            eventually(lambda: _size(rig) > WORTH_BYTES, within_s=60, what="three seconds of both")
            caller.close()  # it hangs up before it goes
            rig.daemon.wait("recording.sealed", call_ref=opened["call_ref"])
            callee.wait_said("session closed")
    wave = rig.wave(opened.recording)
    assert _pitch(wave.channel(0)) == pytest.approx(CALLER_HZ, abs=2)
    assert _pitch(wave.channel(1)) == pytest.approx(CALLEE_HZ, abs=2)
    for party, other_hz in ((caller, CALLEE_HZ), (callee, CALLER_HZ)):
        assert _pitch(_heard(party)[-12_000:]) == pytest.approx(other_hz, abs=2)


def _secure(
    rig: Rig, authority: Authority, sockets: dict[str, int], callee_media: str, *, caller: str = ""
) -> None:
    """Sockets for TLS, and what the callee's side speaks; perhaps somebody else calls."""
    document = yaml.safe_load(rig.daemon.config.read_text())
    for address, port in sockets.items():
        ours = authority.issue(address)
        tls = {"certificate": str(ours.certificate), "key": str(ours.key), "ca": str(authority.path)}
        document["sip"]["listen"].append({"transport": "tls", "address": address, "port": port, "tls": tls})
    document["trunks"]["pbx"]["media"] = callee_media
    if caller:
        document["trunks"]["carrier"]["peers"] = [caller]
    rig.daemon.config.write_text(yaml.safe_dump(document))
