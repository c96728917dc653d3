"""Interarrival jitter against the C of RFC 3550 appendix A.8, and through the timeline."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtp_streams import MS, SECOND, START, delayed, recorded, talk

from rtp.codecs import CodecSpec
from rtp.endpoints import Side
from rtp.timeline import Encoding, Timeline, TimelineFormat
from rtp.timeline.jitter import Jitter


def appendix_a8(transits: list[int]) -> float:
    """The highest value of: d = |transit - s->transit|; s->jitter += (1./16.) * (d - s->jitter)."""
    jitter = peak = 0.0
    for before, now in pairwise(transits):
        jitter += (1.0 / 16.0) * (abs(now - before) - jitter)
        peak = max(peak, jitter)
    return peak


@given(st.lists(st.integers(-(10**9), 10**9), max_size=60), st.data())
def test_the_estimate_is_that_of_the_rfc_however_it_is_fed(transits: list[int], data: st.DataObject) -> None:
    jitter = Jitter()
    rest = transits
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        jitter.observe(rest[:size])
        rest = rest[size:]
    assert jitter.peak_ms == pytest.approx(appendix_a8(transits) / 1e6, abs=0.001)


def test_a_steady_stream_has_none_and_a_restart_is_none() -> None:
    jitter = Jitter()
    jitter.observe([5_000_000] * 50)
    jitter.begin()
    jitter.observe([900_000_000] * 50)
    assert jitter.peak_ms == 0.0


def test_alternate_lateness_converges_to_its_size() -> None:
    jitter = Jitter()
    jitter.observe(np.tile([0, 8_000_000], 200).tolist())
    assert jitter.peak_ms == pytest.approx(8.0, abs=0.01)


@pytest.mark.parametrize("step_ns", [20 * MS, 250 * MS])
def test_the_timeline_tells_it_of_each_side(step_ns: int) -> None:
    """Alternate delays of 0 and 6 ms: towards 6 ms, on the fast way and on the other."""
    rng = np.random.default_rng(1)
    packets = delayed(talk(rng, 300), [6 * MS * (n % 2) for n in range(300)])
    made = Timeline(TimelineFormat(Encoding.MULAW, 8000), {0: CodecSpec("PCMU", 8000)}, START)
    recorded(made, packets, 7 * SECOND, step_ns)
    caller, callee = made.facts(Side.CALLER), made.facts(Side.CALLEE)
    assert caller.jitter_ms == pytest.approx(6.0, abs=0.1)
    assert callee.jitter_ms == 0.0


def test_a_pause_is_no_jitter() -> None:
    rng = np.random.default_rng(1)
    first = talk(rng, 50)
    after = talk(rng, 50, first_ns=3 * SECOND + 7 * MS, sequence=50, timestamp=8000)
    made = Timeline(TimelineFormat(Encoding.MULAW, 8000), {0: CodecSpec("PCMU", 8000)}, START)
    recorded(made, [*first, *after], 5 * SECOND)
    assert made.facts(Side.CALLER).jitter_ms < 1.0
