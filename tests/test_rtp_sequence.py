import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.sequence import SEQUENCE_BITS, TIMESTAMP_BITS, Extender, distance, extend, unwrap

_BITS = st.sampled_from((SEQUENCE_BITS, TIMESTAMP_BITS))


@pytest.mark.parametrize(
    ("value", "reference", "bits", "extended"),
    [
        (0, 65535, 16, 65536),
        (65535, 65536, 16, 65535),
        (65535, 0, 16, -1),
        (32767, 0, 16, 32767),
        (32768, 0, 16, -32768),
        (5, 0xFFFF_FFF0, 32, 0x1_0000_0005),
        (7, 10 * 65536 + 3, 16, 10 * 65536 + 7),
    ],
)
def test_the_nearest_value_is_taken(value: int, reference: int, bits: int, extended: int) -> None:
    assert extend(value, reference, bits) == extended


@given(st.integers(-(1 << 60), 1 << 60), st.data(), _BITS)
def test_extension_undoes_the_wrap(true: int, data: st.DataObject, bits: int) -> None:
    reference = true + data.draw(st.integers(-(1 << (bits - 1)) + 1, 1 << (bits - 1)))
    assert extend(true % (1 << bits), reference, bits) == true
    assert distance(true, reference, bits) == true - reference


@given(
    st.integers(0, 1 << 40),
    st.lists(st.integers(-3000, 3000), max_size=50),
    _BITS,
)
def test_many_at_once_as_one_by_one(start: int, steps: list[int], bits: int) -> None:
    true = start + np.cumsum(np.array(steps, np.int64))
    wrapped = (true % (1 << bits)).astype(np.uint32)
    assert unwrap(wrapped, start, bits).tolist() == true.tolist()


@given(st.integers(0, 65535), st.lists(st.integers(-100, 300), min_size=1, max_size=2000))
def test_extender_follows_an_unbounded_counter(start: int, steps: list[int]) -> None:
    extender = Extender(SEQUENCE_BITS)
    true = start
    assert extender.extend(start) == start
    highest = start
    for step in steps:
        true = highest + step
        assert extender.extend(true % 65536) == true
        highest = max(highest, true)
        assert extender.highest == highest


def test_a_stray_old_packet_does_not_pull_the_count_back() -> None:
    extender = Extender(SEQUENCE_BITS)
    assert [extender.extend(value) for value in (65530, 5, 65000, 6)] == [65530, 65541, 65000, 65542]
