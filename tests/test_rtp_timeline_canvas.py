"""The canvas: a backlog takes memory while it lasts, and no sample of it is lost by that."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtp.timeline.canvas import Canvas
from rtp.timeline.formats import Encoding, TimelineFormat

G711 = TimelineFormat(Encoding.MULAW, 8000)
FIRST_ROOM = 8000 * 640 // 1000


def test_a_backlog_gives_its_memory_back() -> None:
    canvas = Canvas(G711)
    assert canvas.room == FIRST_ROOM
    sound = np.arange(10 * 8000, dtype=np.uint32).astype(np.uint8)
    assert canvas.append(0, 0, sound)
    assert canvas.room >= len(sound)
    out, _ = canvas.take(len(sound) - 100)
    assert out[0::2] == sound[:-100].tobytes()
    assert canvas.room == FIRST_ROOM
    out, _ = canvas.take(len(sound))
    assert out[0::2] == sound[-100:].tobytes()


@given(
    st.lists(st.tuples(st.integers(1, 40_000), st.integers(0, 40_000)), min_size=1, max_size=12),
    st.integers(0, 255),
)
def test_what_is_placed_is_given_out_however_it_grows_and_shrinks(
    steps: list[tuple[int, int]], seed: int
) -> None:
    canvas = Canvas(G711)
    placed = np.zeros(0, np.uint8)
    given_out = b""
    for length, taking in steps:
        piece = (np.arange(length, dtype=np.uint32) * 7 + seed).astype(np.uint8)
        if not canvas.append(1, len(placed), piece):
            break  # no room for it: more than 20 s wait
        placed = np.concatenate([placed, piece])
        until = min(canvas.taken + taking, len(placed))
        out, silence = canvas.take(until)
        given_out += out
        assert silence[1] == 0
        assert canvas.room <= max(4 * max(FIRST_ROOM, len(placed) - until), 20 * 8000)
    out, _ = canvas.take(len(placed))
    assert (given_out + out)[1::2] == placed.tobytes()
