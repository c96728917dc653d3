"""Silence in place of a voice: on one channel, from when to when, and nothing else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import AudioFormat, Encoding
from storage.errors import ExportError
from storage.muting import CALLEE, CALLER, Mute, muted

RATE = 8_000


@pytest.mark.parametrize("encoding", list(Encoding))
def test_one_channel_is_silent_and_the_other_untouched(encoding: Encoding) -> None:
    audio = AudioFormat(encoding, RATE)
    wide = encoding.sample_bytes
    block = bytes(range(1, 2 * wide + 1)) * 80
    made = muted(block, 0, audio, [Mute(CALLEE)])
    quiet = audio.silence(1)[:wide]
    for frame in range(80):
        at = frame * 2 * wide
        assert made[at : at + wide] == block[at : at + wide]
        assert made[at + wide : at + 2 * wide] == quiet


@given(
    st.integers(0, 300),
    st.integers(1, 300),
    st.lists(st.integers(1, 90), min_size=1, max_size=8),
    st.sampled_from([CALLER, CALLEE]),
)
def test_a_span_is_the_same_however_the_blocks_are_cut(
    start: int, length: int, cuts: list[int], channel: int
) -> None:
    audio = AudioFormat(Encoding.ULAW, RATE)
    mute = Mute(channel, start / RATE, (start + length) / RATE)
    whole = bytes([1, 2]) * 400
    pieces, at = [], 0
    for cut in [*cuts, 400]:
        piece = whole[2 * at : 2 * (at + cut)]
        pieces.append(muted(piece, at, audio, [mute]))
        at += len(piece) // 2
    made = b"".join(pieces)
    assert made == muted(whole, 0, audio, [mute])
    silent = [frame for frame in range(400) if made[2 * frame + channel] == 0xFF]
    assert silent == list(
        range(math.floor(mute.start_s * RATE), min(math.ceil((mute.end_s or 0) * RATE), 400))
    )
    assert made[1 - channel :: 2] == whole[1 - channel :: 2]


@pytest.mark.parametrize("words", [(2,), (0, -1.0), (0, 5.0, 5.0), (1, 5.0, 4.0)])
def test_what_makes_no_sense_is_refused(words: tuple[int, ...]) -> None:
    with pytest.raises(ExportError):
        Mute(*words)
