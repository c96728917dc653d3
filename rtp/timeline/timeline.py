"""Both sides of a call on one sample clock."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rtp.codecs import CodecSpec
from rtp.endpoints import Side
from rtp.runs import Run, SortedBatch
from rtp.timeline.canvas import Canvas
from rtp.timeline.facts import TimelineFacts
from rtp.timeline.formats import TimelineFormat
from rtp.timeline.lane import Lane

__all__ = ["Timeline"]

_MS_NS = 1_000_000


class Timeline:
    """Turns the forked packets of one call into a recording's frames.

    Pure: it reads no clock, and its output depends on the packets and on nothing else, however
    they are batched, as long as a packet is pushed before frames later than its arrival are taken.

    *Where a sample lies.* A stream begins where the packet of its first 60 ms that came soonest,
    measured by the timestamps, arrived (at most `reorder_ms` - 60 ms before its first packet);
    from there on timestamps rule. What was lost, late or never sent (DTX, comfort noise, keys) is
    silence of the right length. A new SSRC, another clock rate, timestamps that disagree with
    arrival by more than 1 s, and a full second of late packets each begin anew; a stall of the
    network does not.

    *Clock drift.* Each side is held within `max_drift_ms` of its first delay, so the sides stay
    within twice that of each other; a correction inserts or cuts about half of it, and is counted.
    Jitter alone corrects nothing.

    One thread at a time.
    """

    def __init__(
        self,
        audio: TimelineFormat,
        codecs: Mapping[int, CodecSpec],
        start_ns: int,
        *,
        reorder_ms: int = 120,
        max_drift_ms: int = 10,
    ) -> None:
        """Start a recording.

        Args:
            audio: Format of the frames, as from `choose_format`.
            codecs: What each payload type stands for, for both sides.
            start_ns: Start, on the clock of the packets' arrivals. Nothing that arrived before
                is kept.
            reorder_ms: How long a packet may be late; also how far `take` stays behind. At
                least 60.
            max_drift_ms: How far a side's clock may stray.

        Raises:
            ValueError: A number is out of range.
        """
        if reorder_ms < 60 or max_drift_ms < 1:  # noqa: PLR2004  (the trial of a stream's start)
            raise ValueError(
                f"reorder_ms {reorder_ms} must be 60 or more, max_drift_ms {max_drift_ms} 1 or more"
            )
        self._audio = audio
        self._start_ns = start_ns
        self._reorder_ns = reorder_ms * _MS_NS
        self._canvas = Canvas(audio)
        self._caller, self._callee = (
            Lane(
                side,
                audio,
                self._canvas,
                codecs,
                reorder_ns=self._reorder_ns,
                max_drift_ns=max_drift_ms * _MS_NS,
            )
            for side in (Side.CALLER, Side.CALLEE)
        )

    def push(self, records: npt.NDArray[np.void], data: npt.NDArray[np.uint8]) -> None:
        """Place packets of this call.

        Args:
            records: Records of `rtp.fork` of both sides, sorted by arrival.
            data: The batch's payloads, one contiguous array. Nothing of both is kept by reference.
        """
        is_callee = records["side"].astype(np.bool_)
        self._caller.push(records.take((~is_callee).nonzero()[0]), data, self._start_ns)
        self._callee.push(records.take(is_callee.nonzero()[0]), data, self._start_ns)

    def push_run(self, run: Run, batch: SortedBatch) -> None:
        """Place packets of one side: as `push` does, sooner if they are a run.

        Args:
            run: One of this call's.
            batch: It belongs to this one, of which nothing is kept by reference.
        """
        lane = self._callee if run.side else self._caller
        lane.push_run(run, batch, self._start_ns)

    def take(self, now_ns: int) -> bytes:
        """Give out what became final: everything older than `reorder_ms`.

        Args:
            now_ns: The time, on the clock of the arrivals.

        Returns:
            Whole frames, caller first in each, that follow the ones given before; empty if none
            became final.
        """
        elapsed_ns = now_ns - self._start_ns
        until = max(self._audio.frames_at(elapsed_ns - self._reorder_ns), self._canvas.taken)
        self._caller.ready(elapsed_ns, until)
        self._callee.ready(elapsed_ns, until)
        return self._given(until)

    def finish(self, end_ns: int) -> bytes:
        """Give out the rest; the recording then has exactly the frames of its time.

        Args:
            end_ns: End of the recording, on the clock of the arrivals.

        Returns:
            The last frames. What would lie after the end is dropped.
        """
        until = max(self._audio.frames_at(end_ns - self._start_ns), self._canvas.taken)
        self._caller.finish(until)
        self._callee.finish(until)
        return self._given(until)

    def pause(self, at_ns: int) -> None:
        """Keep nothing that arrives from now on; the frames are silent meanwhile.

        Args:
            at_ns: When, on the clock of the arrivals.
        """
        self._caller.pause(at_ns - self._start_ns)
        self._callee.pause(at_ns - self._start_ns)

    def resume(self, at_ns: int, codecs: Mapping[int, CodecSpec] | None = None) -> None:
        """Keep audio again.

        Args:
            at_ns: When, on the clock of the arrivals.
            codecs: What payload types stand for from now on, if that was agreed anew.
        """
        self._caller.resume(at_ns - self._start_ns)
        self._callee.resume(at_ns - self._start_ns)
        if codecs is not None:
            self.agree(codecs)

    def agree(self, codecs: Mapping[int, CodecSpec], side: Side | None = None) -> None:
        """Take note of newly agreed payload types; the format of the recording stays.

        Args:
            codecs: What payload types stand for; those not named keep their meaning.
            side: Whose packets, if the sides number them differently; None for both.
        """
        if side is not Side.CALLEE:
            self._caller.agree(codecs)
        if side is not Side.CALLER:
            self._callee.agree(codecs)

    def facts(self, side: Side) -> TimelineFacts:
        """Give the counts of one channel so far.

        Args:
            side: Which.

        Returns:
            The counts; `silence_samples` covers the frames given out.
        """
        return (self._caller if side == Side.CALLER else self._callee).facts()

    def _given(self, until: int) -> bytes:
        frames, (caller_silence, callee_silence) = self._canvas.take(until)
        self._caller.silence(caller_silence)
        self._callee.silence(callee_silence)
        return frames
