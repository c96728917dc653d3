"""Audio of both channels that is placed but not yet given out."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.timeline.formats import TimelineFormat

__all__ = ["Canvas"]

_FIRST_ROOM_MS: Final = 640
_SHRINK_AT: Final = 4  # times what is needed: the memory of a backlog is given back once it is over
_MOST_ROOM_MS: Final = 20_000
"""Room between what was taken and the newest sample; what lies beyond is dropped and counted."""


class Canvas:
    """Two channels of samples around the present.

    The first sample written to a place stays; a second one is refused. What lies between the spans
    that were written is made silence when it is given out.

    Attributes:
        taken: Frames given out so far.
    """

    __slots__ = ("_ends", "_first", "_format", "_most", "_samples", "_silent", "_spans", "taken")

    def __init__(self, audio: TimelineFormat) -> None:
        """Start at frame 0.

        Args:
            audio: Format of the samples.
        """
        self._first = audio.rate_hz * _FIRST_ROOM_MS // 1000
        self.taken = 0
        self._format = audio
        self._silent = audio.silent_sample
        self._most = audio.rate_hz * _MOST_ROOM_MS // 1000
        self._samples = np.empty((self._first, 2), audio.dtype)
        # Of each channel, in order, none beside another: first frame, and the one after the last.
        self._spans: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        self._ends = [0, 0]

    def end(self, channel: int) -> int:
        """Give the frame after the last one written on a channel."""
        return self._ends[channel]

    def append(self, channel: int, frame: int, samples: npt.NDArray[np.generic]) -> bool:
        """Write one unbroken piece after everything that was written on the channel.

        Args:
            channel: 0 or 1.
            frame: Where it starts.
            samples: In the format's sample type.

        Returns:
            False, with nothing written, if it would not lie beyond the channel's end, or beyond
            what was taken, or has no room.
        """
        column = frame - self.taken
        if column < 0 or frame < self._ends[channel]:
            return False
        stop = column + len(samples)
        if stop > len(self._samples) and not self._grow(stop):
            return False
        self._samples[column:stop, channel] = samples
        self._ends[channel] = end = self.taken + stop
        spans = self._spans[channel]
        if spans and spans[-1][1] == frame:
            spans[-1] = (spans[-1][0], end)
        elif stop > column:
            spans.append((frame, end))
        return True

    def scatter(
        self,
        channel: int,
        frames: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        samples: npt.NDArray[np.generic],
        floor: int,
    ) -> tuple[int, int]:
        """Write pieces anywhere; where two want one place, the earlier in the array gets it.

        Args:
            channel: 0 or 1.
            frames: Where each piece starts.
            lengths: Samples of each piece.
            samples: Samples of all pieces, one after the other.
            floor: Nothing is written before this frame.

        Returns:
            Samples written, and pieces that had no room.
        """
        low = max(floor - self.taken, 0)
        columns = frames - self.taken
        roomy = columns + lengths <= self._most
        crowded = len(roomy) - int(np.count_nonzero(roomy))
        ends = np.cumsum(lengths)
        targets = np.repeat(columns - (ends - lengths), lengths) + np.arange(len(samples))
        open_ = targets >= low
        if crowded:
            open_ &= np.repeat(roomy, lengths)
        targets, samples = targets[open_], samples[open_]
        if len(targets) == 0:
            return 0, crowded
        top = int(targets.max()) + 1
        self._grow(top)
        filled = self._filled(channel, max(top, self._ends[channel] - self.taken))
        free = ~filled[targets]
        # Reversed, because of several assignments to one place numpy keeps the last.
        targets, samples = targets[free][::-1], samples[free][::-1]
        before = int(np.count_nonzero(filled))
        self._samples[targets, channel] = samples
        filled[targets] = True
        self._ends[channel] = max(self._ends[channel], self.taken + top)
        edges = np.flatnonzero(np.diff(filled, prepend=False, append=False)) + self.taken
        self._spans[channel][:] = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        return int(np.count_nonzero(filled)) - before, crowded

    def erase(self, channel: int, frame: int) -> None:
        """Take back everything on a channel from a frame on that was not given out.

        Args:
            channel: 0 or 1.
            frame: The first to be erased.
        """
        first = max(frame, self.taken)
        self._spans[channel][:] = [
            (start, min(end, first)) for start, end in self._spans[channel] if start < first
        ]
        self._ends[channel] = min(self._ends[channel], first)

    def take(self, until: int) -> tuple[bytes, tuple[int, int]]:
        """Give out all frames before one, silence where nothing was written.

        Args:
            until: The frame to stop before; at least `taken`.

        Returns:
            Interleaved samples, and how many on each channel are silence for want of audio.
        """
        count = until - self.taken
        used = max(max(self._ends) - self.taken, 0)
        here = min(count, used)
        silence = (self._complete(0, until, here), self._complete(1, until, here))
        out = self._samples[:here].tobytes()
        if count > here:
            out += np.full(2 * (count - here), self._silent, self._format.dtype).tobytes()
        rest = used - here
        if here:
            self._samples[:rest] = self._samples[here:used]
        self.taken = until
        if len(self._samples) > _SHRINK_AT * max(self._first, rest):
            self._resize(max(self._first, 2 * rest), rest)
        return out, silence

    @property
    def room(self) -> int:
        """Frames that it holds memory for."""
        return len(self._samples)

    def _filled(self, channel: int, room: int) -> npt.NDArray[np.bool_]:
        """Tell for each frame of a channel whether it was written."""
        filled = np.zeros(room, np.bool_)
        for start, end in self._spans[channel]:
            filled[start - self.taken : end - self.taken] = True
        return filled

    def _complete(self, channel: int, until: int, here: int) -> int:
        """Fill the gaps of a channel with silence up to a column, and give up its spans before a frame.

        Args:
            channel: 0 or 1.
            until: That frame.
            here: That column; nothing was written between it and the frame.

        Returns:
            Samples before the frame that were not written.
        """
        spans = self._spans[channel]
        if len(spans) == 1 and spans[0][0] <= self.taken and spans[0][1] >= until:
            spans[:] = [(until, spans[0][1])] if spans[0][1] > until else []
            return 0
        column = written = 0
        later: list[tuple[int, int]] = []
        for start, end in spans:
            if start < until:
                stop = min(end, until)
                self._samples[column : start - self.taken, channel] = self._silent
                column = stop - self.taken
                written += stop - start
            if end > until:
                later.append((max(start, until), end))
        self._samples[column:here, channel] = self._silent
        spans[:] = later
        return until - self.taken - written

    def _grow(self, room: int) -> bool:
        if room > self._most:
            return False
        have = len(self._samples)
        if room > have:
            self._resize(min(room + room // 4, self._most), have)
        return True

    def _resize(self, room: int, used: int) -> None:
        """Hold memory for ``room`` frames, of which ``used`` are kept."""
        samples = np.empty((room, 2), self._format.dtype)
        samples[:used] = self._samples[:used]
        self._samples = samples
