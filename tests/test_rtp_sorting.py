"""Sorting a batch by stream and side: the engine against a model that does it packet by packet."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp._binding import ffi
from rtp.errors import RelayError
from rtp.fork import FORK_DTYPE
from rtp.runs import Run
from rtp.sorting import RUN_DTYPE, sort_batch

BYTE_NS = 125_000

_RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "stream": st.sampled_from([1, 2, (7 << 32) + 1]),
            "side": st.integers(0, 1),
            "gap": st.integers(0, 3),
            "late_ns": st.integers(0, 5_000_000),
            "length": st.sampled_from([4, 4, 4, 4, 0, 7]),
            "lost": st.sampled_from([0, 0, 0, 0, 0, 1]),
            "jump": st.sampled_from([0, 0, 0, 0, 0, 160]),
            "ssrc": st.sampled_from([9, 9, 9, 9, 9, 8]),
            "payload_type": st.sampled_from([0, 0, 0, 0, 0, 8]),
            "event_only": st.sampled_from([0, 0, 0, 0, 0, 1]),
        }
    ),
    max_size=40,
)


def records_of(drawn: list[dict[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Packets of several streams; near their wraps, so that both counters pass them."""
    records = np.zeros(len(drawn), FORK_DTYPE)
    sequences: dict[tuple[int, int], tuple[int, int]] = {}
    offset = 0
    for record, packet in zip(records, drawn, strict=True):
        key = packet["stream"], packet["side"]
        sequence, timestamp = sequences.get(key, (0xFFFE, 0xFFFFFFF8))
        sequence, timestamp = sequence + packet["lost"], timestamp + packet["jump"]
        offset += packet["gap"]  # of packets that are of no concern here
        for name in ("stream", "side", "length", "ssrc", "payload_type", "event_only"):
            record[name] = packet[name]
        record["sequence"], record["timestamp"] = sequence & 0xFFFF, timestamp & 0xFFFFFFFF
        record["offset"] = offset
        record["arrival_ns"] = 10**12 + offset * BYTE_NS + packet["late_ns"]
        offset += packet["length"]
        sequences[key] = sequence + 1, timestamp + packet["length"]
    return records, np.arange(offset, dtype=np.uint32).astype(np.uint8)


def model(records: np.ndarray) -> list[tuple[list[int], dict[str, int]]]:
    """Which records are one side's, and what is told of them, as relay_api.h says it."""
    sides: dict[tuple[int, int], list[int]] = {}
    for at, record in enumerate(records):
        if not record["event_only"]:
            sides.setdefault((int(record["stream"]), int(record["side"])), []).append(at)
    told = []
    for (stream, side), places in sides.items():
        rows = [{name: int(records[at][name]) for name in FORK_DTYPE.names or ()} for at in places]
        first = rows[0]
        even = first["length"] > 0 and all(
            all(row[name] == first[name] for name in ("ssrc", "payload_type", "length"))
            and row["sequence"] == (first["sequence"] + n) % (1 << 16)
            and row["timestamp"] == (first["timestamp"] + n * first["length"]) % (1 << 32)
            for n, row in enumerate(rows)
        )
        levels = [row["arrival_ns"] - n * first["length"] * BYTE_NS for n, row in enumerate(rows)]
        facts = {
            "stream": stream,
            "side": side,
            "packets": len(rows),
            "bytes": sum(row["length"] for row in rows),
            "even": int(even),
            "first_ns": first["arrival_ns"],
            "last_ns": rows[-1]["arrival_ns"],
            "least_ns": min(levels),
            "most_ns": max(levels),
        }
        told.append((places, facts))
    return told


@given(_RECORDS)
def test_a_batch_is_sorted_as_the_model_sorts_it(drawn: list[dict[str, int]]) -> None:
    records, data = records_of(drawn)
    batch = sort_batch(records, data)
    told = model(records)
    assert len(batch.runs) == len(told)
    offset = 0
    for run, (places, facts) in zip(batch.runs, told, strict=True):
        assert {name: getattr(run, name) for name in facts} == facts
        assert run.offset == offset
        sorted_ = batch.records_of(run)
        for place, record in zip(places, sorted_, strict=True):
            start, length = int(records[place]["offset"]), int(record["length"])
            assert record["offset"] == offset
            assert (batch.data[offset : offset + length] == data[start : start + length]).all()
            offset += length
            for name in set(FORK_DTYPE.names or ()) - {"offset"}:
                assert record[name] == records[place][name]
        arrivals = sorted_["arrival_ns"].tolist()
        steps = [later - sooner for sooner, later in pairwise(arrivals)]
        swings = batch.swings[run.first : run.first + run.packets]
        assert swings == [0, *(abs(step - run.length * BYTE_NS) for step in steps)]
        if run.even:
            for name in ("ssrc", "payload_type", "length", "sequence", "timestamp"):
                assert getattr(run, name) == sorted_[0][name]


@given(st.integers(2, 12), st.data())
def test_a_run_in_two_is_two_runs(count: int, data: st.DataObject) -> None:
    steady = {"stream": 1, "side": 0, "gap": 0, "length": 4, "lost": 0, "jump": 0, "ssrc": 9}
    late = data.draw(st.lists(st.integers(0, 5_000_000), min_size=count, max_size=count))
    drawn = [{**steady, "payload_type": 0, "event_only": 0, "late_ns": ns} for ns in late]
    records, payloads = records_of(drawn)
    batch = sort_batch(records, payloads)
    at = data.draw(st.integers(1, count - 1))
    head, rest = batch.parted(batch.runs[0], at)
    assert head == sort_batch(records[:at], payloads).runs[0]
    (alone,) = sort_batch(records[at:], payloads).runs
    assert rest == alone._replace(first=at, offset=4 * at)


def test_what_lies_outside_of_the_payloads_is_refused() -> None:
    records, data = records_of([])
    assert sort_batch(records, data).runs == []
    records = np.zeros(2, FORK_DTYPE)
    records["length"] = 8
    for first, second in ((0, 1), (0, 9), (1 << 31, 0)):
        records["offset"] = first, second
        with pytest.raises(RelayError, match="outside"):
            sort_batch(records, np.zeros(15, np.uint8))


def test_the_run_has_the_layout_of_the_native_one() -> None:
    assert ffi.sizeof("struct relay_run") == RUN_DTYPE.itemsize
    assert [name for name, _ in ffi.typeof("struct relay_run").fields] == list(Run._fields)
    for name, field in ffi.typeof("struct relay_run").fields:
        assert RUN_DTYPE.fields is not None
        dtype, offset, *_ = RUN_DTYPE.fields[name]
        assert (field.offset, ffi.sizeof(field.type)) == (offset, dtype.itemsize)


def test_records_of_another_layout_are_refused() -> None:
    packed = np.concatenate([np.zeros(1, FORK_DTYPE), np.zeros(1, FORK_DTYPE)])  # numpy drops the padding
    with pytest.raises(ValueError, match="not those of the fork"):
        sort_batch(packed, np.zeros(0, np.uint8))
