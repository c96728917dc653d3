"""Change of sample rate by a polyphase low-pass filter, block by block or at once."""

from __future__ import annotations

import functools
import math
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Resampler", "resample"]

_REACH: Final = 16
"""Filter half-length, in periods of the lower of the two rates."""
_BLOCK: Final = 16_384
"""Samples converted at a time."""
_KAISER_BETA: Final = 8.0
"""Stop band near -80 dB."""
_PASS_BAND: Final = 0.94
"""Cut-off as a part of the lower Nyquist rate."""


@functools.cache
def _bank(up: int, down: int) -> tuple[npt.NDArray[np.float32], int]:
    """Give the filter of every output phase, and how many inputs it looks back and ahead.

    Row p serves the outputs that fall p/up input periods after an input. A row has 2 * reach + 1
    taps for the inputs from `reach` before to `reach` after.
    """
    slower = max(1.0, down / up)
    reach = math.ceil(_REACH * slower)
    offsets = np.arange(-reach, reach + 1)
    rows = []
    for phase in range(up):
        distance = offsets - phase / up
        inside = np.clip(1.0 - (distance / (reach + 1)) ** 2, 0.0, None)
        row = np.sinc(distance * _PASS_BAND / slower) * np.i0(_KAISER_BETA * np.sqrt(inside))
        rows.append(row / row.sum())
    return np.array(rows, np.float32), reach


class Resampler:
    """Turns a run of blocks at one rate into blocks at another, without seams.

    The output lags the audio by `delay_samples` (2 ms for telephone rates), so that nothing has to
    wait for the next block. The number of outputs is exact: after n inputs, ceil(n * out / in).
    """

    __slots__ = ("_bank", "_down", "_history", "_position", "_reach", "_up")

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        """Start with silence behind.

        Args:
            rate_in_hz: Rate of the blocks given.
            rate_out_hz: Rate of the blocks returned.
        """
        divisor = math.gcd(rate_in_hz, rate_out_hz)
        self._up = rate_out_hz // divisor
        self._down = rate_in_hz // divisor
        self._bank, self._reach = _bank(self._up, self._down)
        self._history = np.zeros(2 * self._reach, np.float32)
        self._position = 0

    @property
    def delay_samples(self) -> int:
        """Lag of the output, in input samples."""
        return self._reach

    def reset(self) -> None:
        """Forget what went before: the next block follows a gap."""
        self._history[:] = 0
        self._position = 0

    def process(self, block: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """Convert the next block.

        Args:
            block: Samples that follow the last block without a gap.

        Returns:
            The outputs that fall within the block.
        """
        if self._up == self._down or not len(block):
            return block
        joined = np.concatenate((self._history, block.astype(np.float32)))
        first = -(-self._position * self._up // self._down)
        self._position += len(block)
        last = -(-self._position * self._up // self._down)
        out = np.empty(last - first, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(joined, 2 * self._reach + 1)
        origin = self._position - len(block)
        for number in range(min(self._up, len(out))):
            step = (first + number) * self._down
            rows = windows[step // self._up - origin :: self._down]
            places = out[number :: self._up]
            np.einsum("ij,j->i", rows[: len(places)], self._bank[step % self._up], out=places)
        self._history = joined[len(block) :]
        samples: npt.NDArray[np.int16] = np.clip(np.rint(out), -32_768, 32_767).astype(np.int16)
        return samples


def resample(pcm: npt.NDArray[np.int16], rate_in_hz: int, rate_out_hz: int) -> npt.NDArray[np.int16]:
    """Convert a whole piece of audio, without lag.

    Args:
        pcm: Samples at rate_in_hz.
        rate_in_hz: Rate given.
        rate_out_hz: Rate wanted.

    Returns:
        ceil(n * out / in) samples, aligned with the input.
    """
    if rate_in_hz == rate_out_hz:
        return pcm
    converter = Resampler(rate_in_hz, rate_out_hz)
    lag = converter.delay_samples
    # Lead with zeros so that the lag becomes a whole number of outputs, then cut it off.
    down = rate_in_hz // math.gcd(rate_in_hz, rate_out_hz)
    lead = -lag % down
    padded = np.concatenate((np.zeros(lead, np.int16), pcm, np.zeros(lag, np.int16)))
    wanted = -(-len(pcm) * rate_out_hz // rate_in_hz)
    skip = (lead + lag) * rate_out_hz // rate_in_hz
    blocks = [converter.process(padded[at : at + _BLOCK]) for at in range(0, len(padded), _BLOCK)]
    return np.concatenate(blocks)[skip : skip + wanted]
