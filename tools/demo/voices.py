"""Recognisable speech for both parties: espeak-ng, brought to G.711 as a telephone would."""

from __future__ import annotations

import subprocess

import listening
import numpy as np

CALLER_TEXT = (
    "Good morning, this is Anna calling. I would like to change the date of my appointment. "
    "Is next Thursday at ten possible? That would suit me very well. Thank you for your help."
)
CALLEE_TEXT = (
    "Goedemorgen, u spreekt met Willem van de planning. Ik kijk even in de agenda. "
    "Donderdag om tien uur is nog vrij. Ik noteer het voor u. Tot donderdag dan."
)


def speak(text: str, *, voice: str, pitch: int, seconds: float, seed: int) -> bytes:
    """Say ``text`` and return µ-law of exactly ``seconds``, with a faint noise floor.

    The noise makes every stretch of a pause unlike every other, so that a
    recording can be laid on what was sent without doubt.
    """
    spoken = subprocess.run(
        ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", "155", "--stdin", "--stdout"],
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    narrow = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", "pipe:0", "-ar", "8000", "-ac", "1", "-f", "s16le", "pipe:1"],
        input=spoken.stdout,
        capture_output=True,
        check=True,
    )
    samples = np.frombuffer(narrow.stdout, "<i2").astype(np.float64) * 0.8
    whole = np.zeros(round(seconds * listening.RATE_HZ))
    whole[: min(len(samples), len(whole))] = samples[: len(whole)]
    noise = np.random.default_rng(seed).normal(0, 40, len(whole))
    return listening.pcm_to_ulaw(np.clip(whole + noise, -32768, 32767).astype(np.int16))
