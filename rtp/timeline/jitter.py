"""Interarrival jitter of one stream (RFC 3550 section 6.4.1, appendix A.8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["Jitter"]

_GAIN: Final = 1 / 16
_MS: Final = 1e6  # nanoseconds


class Jitter:
    """The running estimate, and the highest value that it had."""

    __slots__ = ("_estimate_ns", "_last_ns", "_peak_ns")

    def __init__(self) -> None:
        """Start with no packet."""
        self._estimate_ns = 0.0
        self._last_ns: int | None = None
        self._peak_ns = 0.0

    @property
    def peak_ms(self) -> float:
        """The highest value so far, in milliseconds."""
        return round(self._peak_ns / _MS, 3)

    def begin(self) -> None:
        """Compare the next packet with none before: another stream, another clock, or a pause."""
        self._last_ns = None

    def observe(self, lateness_ns: Iterable[int]) -> None:
        """Take packets in order of arrival.

        Args:
            lateness_ns: Of each, arrival less the time that its timestamp stands for, from an
                origin that is the same for all packets since `begin`. The difference of two
                neighbours is the D of the RFC.
        """
        estimate, last, peak = self._estimate_ns, self._last_ns, self._peak_ns
        for lateness in lateness_ns:
            if last is not None:
                estimate += (abs(lateness - last) - estimate) * _GAIN
                peak = max(peak, estimate)
            last = lateness
        self._estimate_ns, self._last_ns, self._peak_ns = estimate, last, peak

    def observe_run(self, first_ns: int, swings_ns: Sequence[int], last_ns: int) -> None:
        """Take packets of which the differences are known; as `observe` does with their lateness.

        Args:
            first_ns: Lateness of the first one.
            swings_ns: Of each packet after it, by how much its lateness differs from the one before.
            last_ns: Lateness of the last one.
        """
        estimate, peak = self._estimate_ns, self._peak_ns
        if self._last_ns is not None:
            estimate += (abs(first_ns - self._last_ns) - estimate) * _GAIN
            peak = max(peak, estimate)
        for swing in swings_ns:
            estimate += (swing - estimate) * _GAIN
            if estimate > peak:  # noqa: PLR1730  (for each packet of each call: max() costs as much as the rest)
                peak = estimate
        self._estimate_ns, self._last_ns, self._peak_ns = estimate, last_ns, peak
