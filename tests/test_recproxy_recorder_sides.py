"""Voices that change places in a stream, against a model that looks at one packet at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recproxy.recorder.sides import Sides
from rtp.fork import FORK_DTYPE

STREAMS = (1, 2)
_TURN = st.tuples(st.just("turn"), st.sampled_from(STREAMS), st.booleans())
_PACKETS = st.tuples(
    st.just("packets"),
    st.lists(st.tuples(st.sampled_from(STREAMS), st.integers(0, 1)), max_size=6),
    st.booleans(),
)


@given(st.lists(_TURN | _PACKETS, max_size=20), st.integers(1, 700_000_000))
def test_each_packet_has_the_side_of_the_voice_that_spoke_then(
    happenings: list[tuple[str, int, bool]] | list[tuple[str, list[tuple[int, int]], bool]], step_ns: int
) -> None:
    sides, swapped, now = Sides(), dict.fromkeys(STREAMS, False), 0
    for kind, what, flag in happenings:
        now += step_ns
        if kind == "turn":
            assert isinstance(what, int)
            sides.swap(what, now, swapped=flag)
            swapped[what] = flag
            continue
        assert isinstance(what, list)
        records = np.zeros(len(what), FORK_DTYPE)
        expected = []
        for record, (stream, side) in zip(records, what, strict=True):
            record["stream"], record["side"], record["arrival_ns"] = stream, side, now
            expected.append(side ^ swapped[stream])
        sides.settle(records)
        assert records["side"].tolist() == expected
    late = np.zeros(1, FORK_DTYPE)
    late["arrival_ns"] = now + 2_000_000_000
    sides.settle(late)
    assert len(sides) == sum(swapped.values()), "nothing is remembered of a stream whose voices are back"


def test_a_packet_from_before_keeps_its_side() -> None:
    sides = Sides()
    sides.swap(1, 100, swapped=True)
    sides.swap(1, 200, swapped=False)
    records = np.zeros(4, FORK_DTYPE)
    records["stream"], records["arrival_ns"] = (1, 1, 2, 1), (99, 100, 150, 200)
    sides.settle(records)
    assert records["side"].tolist() == [0, 1, 0, 0]
