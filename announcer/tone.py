"""The tone that tells a party something without words: it is recorded, or no longer."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from announcer.encode import PCM_HZ, EncodedPrompt, encode

__all__ = ["TONE_HZ", "TONE_S", "tone", "tone_samples"]

TONE_HZ: Final = 1_400
"""The pitch that recording warning tones have (47 CFR 64.501 and what telephones made of it)."""
TONE_S: Final = 0.2
_LEVEL_DBFS: Final = -20.0
_RAMP_S: Final = 0.005


def tone_samples() -> npt.NDArray[np.int16]:
    """Make the tone.

    Returns:
        Mono samples at `PCM_HZ`, 0.2 s of 1400 Hz at -20 dBFS that begins and ends softly.
    """
    seconds = np.arange(round(PCM_HZ * TONE_S)) / PCM_HZ
    ramp = np.clip(np.minimum(seconds, seconds[-1] - seconds) / _RAMP_S, 0.0, 1.0)
    peak = float(np.iinfo(np.int16).max * np.sqrt(2.0) * 10 ** (_LEVEL_DBFS / 20))
    wave: npt.NDArray[np.float64] = peak * ramp * np.sin(2 * np.pi * TONE_HZ * seconds)
    return np.round(wave).astype(np.int16)


@lru_cache(maxsize=64)
def tone(codec: str, ptime_ms: int = 20) -> EncodedPrompt:
    """Give the tone in a codec.

    Args:
        codec: As `encode` takes it.
        ptime_ms: Time of a frame.

    Returns:
        The payloads; made once for each codec and frame length.

    Raises:
        PromptError: There is no such encoder, or no such frame length.
    """
    return encode(tone_samples(), codec, ptime_ms)
