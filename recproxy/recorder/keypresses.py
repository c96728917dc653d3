"""Keys that parties press while they are listened to, recorded or not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from recproxy.call.events import DigitPressed, Event, LegName
from recproxy.recorder.jobs import Listen
from recproxy.recorder.streams import by_stream
from rtp import DigitDetector, ForkBatch, Side, may_hold_events

__all__ = ["Keypresses"]

_LEGS: Final = {Side.CALLER: LegName.CALLER, Side.CALLEE: LegName.CALLEE}
_MOST_DIGITS: Final = 32
"""Keys told at a time: more than a hand can press, so a flood of events stays within bounds."""


class Keypresses:
    """Finds them in what the engine forks, and tells their calls."""

    def __init__(self, post: Callable[[str, Event], None]) -> None:
        """Begin with nobody to listen to.

        Args:
            post: Takes events, any thread.
        """
        self._post = post
        self._heard: dict[int, tuple[str, DigitDetector]] = {}  # by stream

    def listen(self, job: Listen) -> None:
        """Listen to a stream, by other payload types, or no longer."""
        heard = self._heard.get(job.stream)
        if not job.payload_types:
            self._heard.pop(job.stream, None)
        elif heard is None:
            self._heard[job.stream] = job.call, DigitDetector(job.payload_types)
        else:
            heard[1].agree(job.payload_types)

    def tell(self, batch: ForkBatch) -> None:
        """Tell the keys of all calls that are listened to."""
        for stream, records in by_stream(batch.records[may_hold_events(batch.records)]):
            heard = self._heard.get(stream)
            if heard is not None:
                call, detector = heard
                for side, digit in islice(detector.hear(records, batch.data), _MOST_DIGITS):
                    self._post(call, DigitPressed(_LEGS[side], digit))
