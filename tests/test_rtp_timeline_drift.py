"""An hour of clocks that run apart, and what jitter may and may not do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from rtp_streams import MS, PCMU, SECOND, START, channels

from rtp.codecs import CodecSpec
from rtp.endpoints import Side
from rtp.fork import FORK_DTYPE
from rtp.sorting import sort_batch
from rtp.timeline import Encoding, Timeline, TimelineFormat

PACKETS = 50 * 600
SIZE = 160
MARK = 0x00
IDS = 100
SILENCE = 0xFF


def sent(
    rng: np.random.Generator, side: int, ppm: float, jitter_ms: float, count: int
) -> npt.NDArray[np.void]:
    """Records of a sender whose clock is `ppm` slow, behind a network of 30 ms plus jitter."""
    n = np.arange(count, dtype=np.int64)
    records = np.zeros(count, FORK_DTYPE)
    spoken_ns = (n * 20 * MS * (1 + ppm * 1e-6)).astype(np.int64)
    delay_ns = (30 * MS + rng.uniform(0, jitter_ms * MS, count)).astype(np.int64)
    records["arrival_ns"] = START + spoken_ns + delay_ns
    records["sequence"] = (n + 60_000) & 0xFFFF
    records["timestamp"] = (n * SIZE + 0xFFFF_0000) & 0xFFFFFFFF
    records["ssrc"] = 10 + side
    records["side"] = side
    records["length"] = SIZE
    records["payload_type"] = PCMU
    # Each payload is a mark and then its number, so that its place can be read off the recording.
    records["offset"] = (n % IDS) * SIZE
    return records


def payloads() -> npt.NDArray[np.uint8]:
    data = np.repeat(np.arange(1, IDS + 1, dtype=np.uint8), SIZE)
    data[::SIZE] = MARK
    return data


def hour(
    ppm: tuple[float, float], jitter_ms: float, count: int, *, ranked: bool = True
) -> tuple[Timeline, bytes]:
    rng = np.random.default_rng(20)
    records = np.concatenate([sent(rng, side, ppm[side], jitter_ms, count) for side in (0, 1)])
    records = records.astype(FORK_DTYPE)  # concatenate leaves out the padding
    records = records[np.argsort(records["arrival_ns"], kind="stable")]
    data = payloads()
    timeline = Timeline(TimelineFormat(Encoding.MULAW, 8000), {PCMU: CodecSpec("PCMU", 8000)}, START)
    end = int(records["arrival_ns"][-1])
    edges = np.arange(START, end + 250 * MS, 250 * MS)
    cuts = np.searchsorted(records["arrival_ns"], edges, side="right")
    out = []
    for moment, start, stop in zip(edges[1:].tolist(), cuts[:-1], cuts[1:], strict=True):
        if ranked:
            batch = sort_batch(records[start:stop], data)
            for run in batch.runs:
                timeline.push_run(run, batch)
        else:
            timeline.push(records[start:stop], data)
        out.append(timeline.take(moment))
    last = int(edges[-1])
    out.append(timeline.finish(last))
    frames = b"".join(out)
    assert len(frames) == 2 * ((last - START) * 8000 // SECOND)
    return timeline, frames


def strayed_ms(channel: npt.NDArray[np.uint8], ppm: float) -> npt.NDArray[np.float64]:
    """How far each packet lies from the moment its audio would be heard without jitter."""
    places = np.flatnonzero(channel[:-1] == MARK)
    ids = channel[places + 1].astype(np.int64) - 1
    at_ms = places / 8
    # Numbers repeat every 2 s: take the packet of that number that was spoken nearest.
    number = np.rint((at_ms / 20 - ids) / IDS) * IDS + ids
    return at_ms - 30 - number * 20 * (1 + ppm * 1e-6)


@pytest.mark.parametrize(
    ("ppm", "jitter_ms", "minutes"),
    [((100.0, -100.0), 40, 60), ((-100.0, 100.0), 0, 20), ((100.0, 0.0), 40, 20)],
)
def test_the_sides_stay_within_20_ms_through_an_hour_of_100_ppm(
    ppm: tuple[float, float], jitter_ms: float, minutes: int
) -> None:
    count = minutes * 60 * 50
    timeline, frames = hour(ppm, jitter_ms, count)
    strayed = [strayed_ms(channel, side_ppm) for channel, side_ppm in zip(channels(frames), ppm, strict=True)]
    for side, side_ppm, off in zip(Side, ppm, strayed, strict=True):
        assert len(off) > 0.999 * count
        assert np.abs(off[10_000:]).max() <= 10
        facts = timeline.facts(side)
        assert facts.lost == facts.late == facts.reanchored == 0
        assert (facts.drift_shifts > minutes // 2) == bool(side_ppm)
        # A fast clock sends 360 ms too much in an hour; that is what has to go.
        surplus = minutes * 60 * 8000 * max(-side_ppm, 0) * 1e-6
        assert abs(facts.overlapped_samples - surplus) <= 8 * 20
    both = min(map(len, strayed))
    assert np.abs(strayed[0][:both] - strayed[1][:both]).max() <= 20


@pytest.mark.parametrize("jitter_ms", [0, 60])
def test_jitter_alone_moves_nothing(jitter_ms: float) -> None:
    timeline, frames = hour((0.0, 0.0), jitter_ms, PACKETS)
    for side, channel in zip(Side, channels(frames), strict=True):
        facts = timeline.facts(side)
        assert (facts.drift_shifts, facts.lost, facts.late, facts.overlapped_samples) == (0, 0, 0, 0)
        placed = channel[channel != SILENCE]
        expected = np.resize(payloads(), PACKETS * SIZE)
        np.testing.assert_array_equal(placed, expected)
        first = int(np.flatnonzero(channel == MARK)[0])
        assert (channel[first : first + len(placed)] != SILENCE).all()


def test_drift_is_made_good_in_runs_as_it_is_packet_by_packet() -> None:
    timeline, out = hour((400, -400), 4, 50 * 60)
    one_by_one, same = hour((400, -400), 4, 50 * 60, ranked=False)
    assert out == same
    for side in Side:
        assert timeline.facts(side) == one_by_one.facts(side)
        assert timeline.facts(side).drift_shifts > 0
