"""The tone: what it sounds like, and that it ends where it should."""

from __future__ import annotations

import numpy as np
import pytest

from announcer import PCM_HZ, tone
from announcer.tone import TONE_HZ, TONE_S, tone_samples
from rtp.codecs import mulaw_decode


def test_it_has_its_pitch_its_level_and_soft_ends() -> None:
    samples = tone_samples().astype(np.float64) / np.iinfo(np.int16).max
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * PCM_HZ / len(samples) == pytest.approx(TONE_HZ, abs=5)
    assert 20 * np.log10(np.sqrt((samples**2).mean())) == pytest.approx(-20, abs=0.5)
    assert samples[0] == 0
    assert np.abs(samples[-3:]).max() < 0.01


@pytest.mark.parametrize(("codec", "ptime_ms"), [("PCMU", 20), ("PCMA", 30), ("G722", 20), ("OPUS", 20)])
def test_it_is_as_long_in_every_codec(codec: str, ptime_ms: int) -> None:
    encoded = tone(codec, ptime_ms)
    assert TONE_S * 1000 <= encoded.duration_ms < TONE_S * 1000 + 2 * ptime_ms
    assert tone(codec, ptime_ms) is encoded


def test_it_is_heard_in_g711() -> None:
    heard = mulaw_decode(np.frombuffer(tone("PCMU").frames, np.uint8)).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(heard))
    assert spectrum.argmax() * 8000 / len(heard) == pytest.approx(TONE_HZ, abs=5)
