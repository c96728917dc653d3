"""G.711: µ-law and A-law, by tables that are built from the definition (ITU-T G.711).

A sample is one byte on the wire and 16 bits, left-aligned, in linear form: the 14-bit (µ-law) and
13-bit (A-law) values of the recommendation, times 4 and times 8.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "ALAW_SILENCE",
    "ALAW_TO_LINEAR",
    "ALAW_TO_MULAW",
    "MULAW_SILENCE",
    "MULAW_TO_ALAW",
    "MULAW_TO_LINEAR",
    "alaw_decode",
    "alaw_encode",
    "mulaw_decode",
    "mulaw_encode",
]

MULAW_SILENCE: Final = 0xFF
"""Positive zero in µ-law."""
ALAW_SILENCE: Final = 0xD5
"""The smallest positive value in A-law, which has no zero."""

_BIAS: Final = 33 << 2
_MULAW_CLIP: Final = 32_635
_ALAW_EVEN_BITS: Final = 0x55


def _mulaw_to_linear() -> npt.NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + _BIAS) << ((code >> 4) & 7)) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_to_linear() -> npt.NDArray[np.int16]:
    code = np.arange(256, dtype=np.int32) ^ _ALAW_EVEN_BITS
    segment = (code >> 4) & 7
    step = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment == 0, step, (step + 0x100) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _segment_of(magnitude: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Give the position of the highest bit set, counted from bit 7; 0 below it."""
    segment = np.zeros(magnitude.shape, np.int32)
    for bit in range(8, 15):
        segment[magnitude >= (1 << bit)] = bit - 7
    return segment


def _linear_to_mulaw() -> npt.NDArray[np.uint8]:
    linear = np.arange(-32_768, 32_768, dtype=np.int32)
    magnitude = np.minimum(np.abs(linear), _MULAW_CLIP) + _BIAS
    segment = _segment_of(magnitude)
    code = (segment << 4) | ((magnitude >> (segment + 3)) & 0x0F)
    code = np.where(linear < 0, code | 0x80, code)
    return np.roll((~code & 0xFF).astype(np.uint8), -32_768)


def _linear_to_alaw() -> npt.NDArray[np.uint8]:
    linear = np.arange(-32_768, 32_768, dtype=np.int32)
    magnitude = np.where(linear < 0, ~linear, linear)
    segment = _segment_of(magnitude)
    code = (segment << 4) | ((magnitude >> (np.maximum(segment, 1) + 3)) & 0x0F)
    code = np.where(linear < 0, code, code | 0x80)
    return np.roll((code ^ _ALAW_EVEN_BITS).astype(np.uint8), -32_768)


def _frozen(table: npt.NDArray[np.generic]) -> None:
    table.flags.writeable = False


MULAW_TO_LINEAR: Final = _mulaw_to_linear()
ALAW_TO_LINEAR: Final = _alaw_to_linear()
_LINEAR_TO_MULAW: Final = _linear_to_mulaw()
_LINEAR_TO_ALAW: Final = _linear_to_alaw()
MULAW_TO_ALAW: Final = _LINEAR_TO_ALAW[MULAW_TO_LINEAR.view(np.uint16)]
ALAW_TO_MULAW: Final = _LINEAR_TO_MULAW[ALAW_TO_LINEAR.view(np.uint16)]
for _table in (
    MULAW_TO_LINEAR,
    ALAW_TO_LINEAR,
    _LINEAR_TO_MULAW,
    _LINEAR_TO_ALAW,
    MULAW_TO_ALAW,
    ALAW_TO_MULAW,
):
    _frozen(_table)


def mulaw_decode(payload: bytes | npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """Decode µ-law.

    Args:
        payload: One byte a sample.

    Returns:
        As many samples, -32124..32124.
    """
    return MULAW_TO_LINEAR[_octets(payload)]


def alaw_decode(payload: bytes | npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """Decode A-law.

    Args:
        payload: One byte a sample.

    Returns:
        As many samples, -32256..32256.
    """
    return ALAW_TO_LINEAR[_octets(payload)]


def mulaw_encode(pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """Encode to µ-law; values beyond its range are clipped.

    Args:
        pcm: Samples, any shape.

    Returns:
        One byte a sample, same shape.
    """
    return _LINEAR_TO_MULAW[pcm.view(np.uint16)]


def alaw_encode(pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """Encode to A-law.

    Args:
        pcm: Samples, any shape.

    Returns:
        One byte a sample, same shape.
    """
    return _LINEAR_TO_ALAW[pcm.view(np.uint16)]


def _octets(payload: bytes | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(payload, np.uint8) if isinstance(payload, bytes) else payload
