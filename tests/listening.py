"""Finding what was sent in what was recorded, sample by sample."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8000
ULAW_SILENCE = 0xFF
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Match:
    """One unbroken run of a sent stream inside a recorded channel.

    Attributes:
        recorded: Index of its first sample in the channel.
        sent: Index of that sample in what was sent.
        samples: Length of the run.
    """

    recorded: int
    sent: int
    samples: int


def unmistakable(seconds: float, seed: int) -> bytes:
    """G.711 bytes in which every 8-byte window is unique: any recorded run has one place only.

    Neither µ-law silence (0xFF, 0x7F) nor A-law silence (0xD5, 0x55) occurs, so
    silence put in by the recorder is told from audio.
    """
    allowed = np.array([b for b in range(256) if b not in {0xFF, 0x7F, 0xD5, 0x55}], dtype=np.uint8)
    generator = np.random.default_rng(seed)
    return allowed[generator.integers(0, len(allowed), int(seconds * RATE_HZ))].tobytes()


def find_runs(channel: bytes, sent: bytes, silence: int = ULAW_SILENCE) -> list[Match]:
    """Every maximal run of ``sent`` in ``channel``, in order.

    Raises:
        AssertionError: A sample of the channel is neither silence nor part of ``sent``.
    """
    runs: list[Match] = []
    at = 0
    while at < len(channel):
        if channel[at] == silence:
            rest = np.frombuffer(channel, np.uint8)[at:]
            audio = np.flatnonzero(rest != silence)
            at = len(channel) if not len(audio) else at + int(audio[0])
            continue
        place = sent.find(channel[at : at + 16])
        assert place >= 0, f"sample {at} of the channel was never sent: {channel[at : at + 16].hex()}"
        length = min(len(channel) - at, len(sent) - place)
        here = np.frombuffer(channel, np.uint8)[at : at + length]
        there = np.frombuffer(sent, np.uint8)[place : place + length]
        differs = np.flatnonzero(here != there)
        length = int(differs[0]) if len(differs) else length
        runs.append(Match(at, place, length))
        at += length
    return runs


def align(channel: bytes, sent: bytes) -> Match:
    """Where natural speech lies in a channel: the longest run around its most distinct 64 bytes.

    Raises:
        AssertionError: They are nowhere in ``sent``.
    """
    recorded, spoken = np.frombuffer(channel, np.uint8), np.frombuffer(sent, np.uint8)
    places = range(0, len(channel) - 64, 160)
    at = max(places, key=lambda place: len(set(channel[place : place + 64])), default=0)
    place = sent.find(channel[at : at + 64])
    assert place >= 0, "the most distinct part of the channel was never sent"
    back, ahead = min(at, place), min(len(channel) - at, len(sent) - place)
    before = np.flatnonzero(recorded[at - back : at] != spoken[place - back : place])
    after = np.flatnonzero(recorded[at : at + ahead] != spoken[place : place + ahead])
    first = at - back + (int(before[-1]) + 1 if len(before) else 0)
    last = at + (int(after[0]) if len(after) else ahead)
    return Match(first, place - (at - first), last - first)


@dataclass(frozen=True, slots=True)
class RiffWave:
    """A WAV as far as the tests look: format code, rate, channels, and the raw data.

    Attributes:
        code: 1 PCM, 6 A-law, 7 µ-law.
        rate_hz: Sample rate.
        channels: Number of channels.
        sample_bytes: Bytes per sample of one channel.
        data: Interleaved bytes.
    """

    code: int
    rate_hz: int
    channels: int
    sample_bytes: int
    data: bytes

    def channel(self, index: int) -> bytes:
        """The bytes of one channel."""
        width = self.sample_bytes
        whole = len(self.data) - len(self.data) % (width * self.channels)
        frames = np.frombuffer(self.data[:whole], np.uint8).reshape(-1, self.channels, width)
        return frames[:, index, :].tobytes()

    @property
    def frames(self) -> int:
        """Samples per channel."""
        return len(self.data) // (self.sample_bytes * self.channels)


def read_wave(source: Path | bytes) -> RiffWave:
    """Read a RIFF WAVE, streaming sizes included (0xFFFFFFFF means: to the end).

    Raises:
        ValueError: It is not a WAV with ``fmt`` and ``data``.
    """
    blob = source if isinstance(source, bytes) else source.read_bytes()
    if blob[:4] != b"RIFF" or blob[8:12] != b"WAVE":
        raise ValueError(f"not a RIFF WAVE: {blob[:16]!r}")
    at, form = 12, b""
    while at + 8 <= len(blob):
        name, size = blob[at : at + 4], int.from_bytes(blob[at + 4 : at + 8], "little")
        start = at + 8
        if name == b"fmt ":
            form = blob[start : start + size]
        if name == b"data" and form:
            data = blob[start:] if size >= 0xFFFFFFF0 else blob[start : start + size]
            return RiffWave(
                code=int.from_bytes(form[0:2], "little"),
                channels=int.from_bytes(form[2:4], "little"),
                rate_hz=int.from_bytes(form[4:8], "little"),
                sample_bytes=int.from_bytes(form[14:16], "little") // 8,
                data=data,
            )
        at = start + size + (size & 1)
    raise ValueError("the WAV has no data chunk after a fmt chunk")


def ulaw_to_pcm(data: bytes) -> NDArray[np.int16]:
    """Expand µ-law (ITU-T G.711), written apart from the program's own tables."""
    value = ~np.frombuffer(data, np.uint8)
    exponent = (value >> 4) & 7
    magnitude = ((((value & 15).astype(np.int32) << 3) + 0x84) << exponent) - 0x84
    return np.where(value & 0x80, -magnitude, magnitude).astype(np.int16)


def pcm_to_ulaw(samples: NDArray[np.int16]) -> bytes:
    """Compress to µ-law by the nearest of its 256 values, written apart from the program's tables."""
    codes = np.arange(256, dtype=np.uint8)
    values = ulaw_to_pcm(codes.tobytes()).astype(np.int32)
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    middles = (ranked[1:] + ranked[:-1]) / 2
    return codes[order][np.searchsorted(middles, samples.astype(np.int32))].tobytes()


def pcm_wave(samples: NDArray[np.int16], rate_hz: int) -> bytes:
    """Write mono PCM as a WAV, for synthetic test inputs."""
    blob = io.BytesIO()
    with wave.open(blob, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(samples.astype("<i2").tobytes())
    return blob.getvalue()
