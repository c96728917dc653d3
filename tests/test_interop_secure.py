"""baresip behind SIP over TLS and SRTP: recorded, and opened by the age binary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sdp_bodies
import yaml
from certificates import Authority
from daemon import Settings
from listening import pcm_wave, ulaw_to_pcm
from peers import Baresip
from rig import Rig

pytestmark = pytest.mark.interop


def test_baresip_over_tls_and_srtp_is_recorded(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(160_000) / 8000)).astype(np.int16)
    (tmp_path / "tone.wav").write_bytes(pcm_wave(tone, 8000))
    authority = Authority(tmp_path)
    issued = authority.issue(Baresip.address)
    both = tmp_path / "both.pem"
    both.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
    with Baresip(directory=tmp_path / "baresip", speech=tmp_path / "tone.wav", certificate=both) as callee:
        callee.wait_ready()
        rig = make_rig(Settings(callee=(callee.address, callee.port + 1), sip_transport="tls"))
        _secure(rig, authority)
        rig.daemon.start()
        ear = rig.peer(rig.lease.addresses.caller)
        call = rig.caller.invite("baresip", rig.daemon.sip, sdp_bodies.audio(ear.address, ear.port))
        call.wait_answer()
        recording = rig.daemon.wait("recording.opened").recording
        ear.wait_count(len(ear.heard) + 100)
        call.bye()
        rig.daemon.wait("recording.sealed")
    assert rig.daemon.open_with_age(recording)[:4] == b"RIFF"
    wave = rig.wave(recording)
    spectrum = np.abs(np.fft.rfft(ulaw_to_pcm(wave.channel(1))[4000:12000].astype(float)))
    assert int(np.argmax(spectrum[1:])) + 1 == pytest.approx(440, abs=2), "the callee's tone is on the right"


def _secure(rig: Rig, authority: Authority) -> None:
    """A socket for TLS, and SRTP towards the callee."""
    ours = authority.issue(rig.lease.addresses.daemon)
    document = yaml.safe_load(rig.daemon.config.read_text())
    tls = {"certificate": str(ours.certificate), "key": str(ours.key), "ca": str(authority.path)}
    document["sip"]["listen"].append(
        {"transport": "tls", "address": rig.lease.addresses.daemon, "port": 5061, "tls": tls}
    )
    document["trunks"]["pbx"]["media"] = "srtp"
    rig.daemon.config.write_text(yaml.safe_dump(document))
