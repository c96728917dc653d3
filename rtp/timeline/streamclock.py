"""Where the RTP timestamps of one stream lie in time, and how far its clock has drifted."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["StreamClock"]

_SECOND_NS: Final = 1_000_000_000
_WINDOW_NS: Final = 10 * _SECOND_NS
_WINDOW_PACKETS: Final = 250
_HALF: Final = 1 << 31
_WRAP: Final = 1 << 32


class StreamClock:
    """Puts timestamps on the recording's clock.

    A timestamp is due at `anchor + timestamp / clock rate`, where timestamps count from the first
    packet's ("relative") and the anchor is the arrival that the network delayed least. Jitter only
    ever adds delay, so the least (arrival - due) of a window tells drift apart from jitter: over
    two windows of 10 s and 250 packets it hardly moves when only jitter is at work. When it leaves
    its first value by more than half the allowed drift, the anchor moves so that it becomes 0, for
    timestamps not yet seen. The first move thereby also mends what the first packets' own delay
    had put wrong; without drift nothing moves, and every sample stays beside its neighbour.

    Attributes:
        hz: RTP clock rate.
        anchor_ns: When relative timestamp 0 is due.
        anchor_frame: The frame of the recording it falls on.
        newest: Highest relative timestamp seen.
        end: Relative timestamp after the newest packet.
        moved_at: Relative timestamp from which the present anchor holds; None: for all.
    """

    __slots__ = (
        "_baseline_ns",
        "_count",
        "_least_before_ns",
        "_least_ns",
        "_limit_ns",
        "_newest_wrapped",
        "_old_frame",
        "_old_ns",
        "_rate_hz",
        "_window_end_ns",
        "anchor_frame",
        "anchor_ns",
        "end",
        "hz",
        "moved_at",
        "newest",
    )

    def __init__(
        self, *, hz: int, timestamp: int, anchor_ns: int, arrival_ns: int, rate_hz: int, max_drift_ns: int
    ) -> None:
        """Anchor a stream.

        Args:
            hz: RTP clock rate.
            timestamp: The timestamp that becomes relative 0, as received.
            anchor_ns: When it is due, since the start of the recording.
            arrival_ns: When observation of drift begins.
            rate_hz: Frames a second of the recording.
            max_drift_ns: How far the stream's clock may stray from the anchor.
        """
        self.hz = hz
        self.anchor_ns = anchor_ns
        self.anchor_frame = anchor_ns * rate_hz // _SECOND_NS
        self.newest = 0
        self.end = 0
        self.moved_at: int | None = None
        self._newest_wrapped = timestamp
        self._rate_hz = rate_hz
        self._limit_ns = max_drift_ns // 2
        self._old_ns = anchor_ns
        self._old_frame = self.anchor_frame
        self._baseline_ns: int | None = None
        self._least_before_ns = 0
        self._least_ns = 1 << 62
        self._count = 0
        self._window_end_ns = arrival_ns + _WINDOW_NS

    def relative(self, timestamp: int) -> int:
        """Unwrap one timestamp: the nearest to the newest.

        Args:
            timestamp: As received.

        Returns:
            Clock units since relative 0; negative if older than the first packet.
        """
        return self.newest + ((timestamp - self._newest_wrapped + _HALF) % _WRAP) - _HALF

    def relatives(self, timestamps: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """Unwrap many timestamps, each as `relative` does."""
        steps = timestamps - np.uint32(self._newest_wrapped)
        return self.newest + steps.view(np.int32).astype(np.int64)

    def due_ns(self, relative: int) -> int:
        """Tell when a timestamp not older than `moved_at` is due."""
        return self.anchor_ns + relative * _SECOND_NS // self.hz

    def lateness_ns(
        self, relative: npt.NDArray[np.int64], arrival_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Tell how much later than due packets came, by the anchor that held for each."""
        lateness: npt.NDArray[np.int64] = arrival_ns - self.anchor_ns - self.span_ns(relative)
        if self.moved_at is not None:
            lateness += np.where(relative < self.moved_at, self.anchor_ns - self._old_ns, 0)
        return lateness

    def span_ns(self, relative: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Convert clock units to time."""
        if _SECOND_NS % self.hz == 0:
            return relative * (_SECOND_NS // self.hz)
        seconds, rest = np.divmod(relative, self.hz)
        span: npt.NDArray[np.int64] = seconds * _SECOND_NS + rest * _SECOND_NS // self.hz
        return span

    def frames(self, relative: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Tell the frames that timestamps fall on, by the anchor that held for each."""
        span = relative if self.hz == self._rate_hz else relative * self._rate_hz // self.hz
        if self.moved_at is None:
            return span + self.anchor_frame
        return span + np.where(relative < self.moved_at, self._old_frame, self.anchor_frame)

    def saw(self, newest: int, timestamp: int, end: int) -> None:
        """Remember the newest packet.

        Args:
            newest: Its relative timestamp; ignored if older than the newest known.
            timestamp: The same as received.
            end: Relative timestamp after it.
        """
        if newest >= self.newest:
            self.newest = newest
            self._newest_wrapped = timestamp
        self.end = max(self.end, end)

    def window_room(self, arrival_ns: npt.NDArray[np.int64]) -> int:
        """Tell how many of these packets belong to the window that is open, the last included."""
        first_after = int(np.searchsorted(arrival_ns, self._window_end_ns))
        return max(first_after, _WINDOW_PACKETS - 1 - self._count, 0) + 1

    def closes_window(self, arrival_ns: int, count: int) -> bool:
        """Tell whether a packet is the last of the open window, as the `count`-th to be observed."""
        return arrival_ns >= self._window_end_ns and self._count + count >= _WINDOW_PACKETS

    def observe(self, least_ns: int, count: int) -> None:
        """Add to the open window.

        Args:
            least_ns: Least (arrival - due) of the packets.
            count: How many there were.
        """
        self._least_ns = min(self._least_ns, least_ns)
        self._count += count

    def close_window(self, arrival_ns: int) -> bool:
        """Close the window and move the anchor if the stream has drifted.

        Args:
            arrival_ns: Arrival of the window's last packet.

        Returns:
            Whether the anchor moved.
        """
        least = self._least_ns
        moved = False
        self.moved_at = None
        if self._baseline_ns is None:
            self._baseline_ns = least
        else:
            delay = min(least, self._least_before_ns)
            if abs(delay - self._baseline_ns) > self._limit_ns:
                least -= self._move(delay)
                self._baseline_ns = 0
                moved = True
        self._least_before_ns = least
        self._least_ns = 1 << 62
        self._count = 0
        self._window_end_ns = arrival_ns + _WINDOW_NS
        return moved

    def _move(self, late_ns: int) -> int:
        frames = round(late_ns * self._rate_hz / _SECOND_NS)
        by_ns = frames * _SECOND_NS // self._rate_hz
        self._old_ns, self._old_frame = self.anchor_ns, self.anchor_frame
        self.moved_at = self.end
        self.anchor_ns += by_ns
        self.anchor_frame += frames
        return by_ns
