"""Loudness of speech, and bringing it to one level."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["PEAK_DBFS", "TARGET_DBFS", "loudness", "normalised", "without_tail"]

TARGET_DBFS: Final = -22.0
"""Level of the spoken parts: a little above the -26 dB of nominal telephone speech, as a prompt
has to be understood at once."""
PEAK_DBFS: Final = -2.0
"""No sample gets louder; a peaky recording is made less loud instead of being limited."""

_TAIL_DBFS: Final = -55.0
_TAIL_S: Final = 0.12

_FULL_SCALE: Final = 32_768.0
_BLOCK_S: Final = 0.4
_STEP_S: Final = 0.1
_ABSOLUTE_GATE_DBFS: Final = -70.0
_RELATIVE_GATE_DB: Final = 10.0


def loudness(pcm: npt.NDArray[np.int16], rate_hz: int) -> float:
    """Measure the level of the spoken parts.

    Gated as in ITU-R BS.1770-4 (blocks of 400 ms that overlap by 75 %, an absolute gate, then one
    10 dB below the mean of the rest), without its K-weighting, which is made for wide-band sound.

    Args:
        pcm: Mono samples.
        rate_hz: Their rate.

    Returns:
        RMS level in dB below full scale; -inf if there is nothing above the absolute gate.
    """
    block, step = int(_BLOCK_S * rate_hz), int(_STEP_S * rate_hz)
    sums = np.concatenate(([0.0], np.cumsum((pcm / _FULL_SCALE) ** 2)))
    starts = np.arange(0, max(len(pcm) - block, 0) + 1, step)
    stops = np.minimum(starts + block, len(pcm))
    power = (sums[stops] - sums[starts]) / max(min(block, len(pcm)), 1)
    loud = power[power > 10 ** (_ABSOLUTE_GATE_DBFS / 10)]
    if len(loud) == 0:
        return -math.inf
    loud = loud[loud > loud.mean() * 10 ** (-_RELATIVE_GATE_DB / 10)]
    return 10 * math.log10(float(loud.mean()))


def normalised(pcm: npt.NDArray[np.int16], rate_hz: int) -> npt.NDArray[np.int16]:
    """Bring speech to `TARGET_DBFS`, or as near to it as `PEAK_DBFS` allows.

    Args:
        pcm: Mono samples, not silent.
        rate_hz: Their rate.

    Returns:
        As many samples.
    """
    level = loudness(pcm, rate_hz)
    peak = int(np.abs(pcm.astype(np.int32)).max(initial=0))
    if math.isinf(level) or peak == 0:
        return pcm
    gain = min(10 ** ((TARGET_DBFS - level) / 20), 10 ** (PEAK_DBFS / 20) * (_FULL_SCALE - 1) / peak)
    louder: npt.NDArray[np.int16] = np.rint(pcm * gain).astype(np.int16)
    return louder


def without_tail(pcm: npt.NDArray[np.int16], rate_hz: int) -> npt.NDArray[np.int16]:
    """Cut silence off the end, but for 120 ms: both parties wait for the last frame.

    Args:
        pcm: Mono samples.
        rate_hz: Their rate.

    Returns:
        The samples up to a little after the last one above -55 dB of full scale.
    """
    heard = np.flatnonzero(np.abs(pcm.astype(np.int32)) > 10 ** (_TAIL_DBFS / 20) * _FULL_SCALE)
    end = int(heard[-1]) + 1 + int(_TAIL_S * rate_hz) if len(heard) else len(pcm)
    return pcm[:end]
