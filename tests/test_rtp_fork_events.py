"""Keys are heard while nothing is recorded, and no speech is."""

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parties import Call, eventually, pool, rtp

from rtp.endpoints import Side
from rtp.errors import RelayError
from rtp.fork import Fork
from rtp.packet import RtpPacket, parse, serialise
from rtp.relay import IoChoice, Relay

EVENT = 101


@pytest.fixture
def call(io: IoChoice) -> Iterator[Call]:
    with Relay(ring_bytes=1 << 20, io=io) as relay, contextlib.closing(Call(relay, pool())) as made:
        yield made


def _packet(sequence: int, payload: bytes, payload_type: int = EVENT) -> bytes:
    return serialise(RtpPacket(payload_type, sequence, 160, 1, payload))


def _key(event: int) -> bytes:
    return bytes([event, 10, 0, 160])


def _send(call: Call, side: Side, *packets: bytes) -> None:
    """Send, and wait until the relay is done with them."""
    before = call.relay.stats(call.stream)[side].received
    for data in packets:
        call.send(side, data)
    eventually(lambda: call.relay.stats(call.stream)[side].received - before, len(packets).__eq__)


def test_nothing_is_copied_unless_asked_for(call: Call) -> None:
    _send(call, Side.CALLER, _packet(1, _key(5)), rtp(2))
    assert len(Fork(call.relay).drain().records) == 0


def test_keys_reach_us_outside_of_the_window_and_are_marked(call: Call) -> None:
    call.relay.set_events(call.stream, Side.CALLER, {EVENT})
    _send(call, Side.CALLER, _packet(1, _key(5)))
    call.relay.start_fork(call.stream)
    _send(call, Side.CALLER, _packet(2, _key(6)), _packet(3, bytes(160), 0))
    call.relay.stop_fork(call.stream)
    _send(call, Side.CALLER, _packet(4, _key(7)), _packet(5, bytes(160), 0))
    batch = Fork(call.relay).drain()
    assert batch.records["sequence"].tolist() == [1, 2, 3, 4]
    assert batch.records["event_only"].tolist() == [1, 0, 0, 1]
    assert [batch.payload(k)[:1] for k in range(4)] == [b"\x05", b"\x06", b"\x00", b"\x07"]
    stats = call.relay.stats(call.stream).caller
    assert (stats.forked, stats.events, stats.relayed) == (2, 2, 5)


def test_keys_are_heard_behind_a_shut_gate_and_in_the_guard_time(call: Call) -> None:
    call.relay.set_gate(call.stream, False)
    call.relay.set_events(call.stream, Side.CALLEE, {0, EVENT, 127})
    call.relay.start_fork(call.stream, guard_ns=10**15)
    _send(call, Side.CALLEE, *(_packet(k, _key(11), kind) for k, kind in enumerate((0, 96, EVENT, 127))))
    batch = Fork(call.relay).drain()
    assert batch.records["payload_type"].tolist() == [0, EVENT, 127]
    assert set(batch.records["side"].tolist()) == {Side.CALLEE}


def test_the_set_is_of_one_party_and_a_later_one_replaces_it(call: Call) -> None:
    call.relay.set_events(call.stream, Side.CALLER, {96})
    _send(call, Side.CALLEE, _packet(1, _key(1), 96))
    call.relay.set_events(call.stream, Side.CALLER, {EVENT})
    _send(call, Side.CALLER, _packet(2, _key(1), 96), _packet(3, _key(1)))
    call.relay.set_events(call.stream, Side.CALLER, ())
    _send(call, Side.CALLER, _packet(4, _key(1)))
    assert Fork(call.relay).drain().records["sequence"].tolist() == [3]


def test_a_new_stream_hears_nothing_of_the_keys_that_an_old_one_asked_for(io: IoChoice) -> None:
    with Relay(ring_bytes=1 << 20, io=io) as relay:
        for _ in range(2):
            with contextlib.closing(Call(relay, pool())) as call:
                _send(call, Side.CALLER, _packet(1, _key(1)))
                assert len(Fork(relay).drain().records) == 0
                relay.set_events(call.stream, Side.CALLER, {EVENT})
                relay.remove_stream(call.stream)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    packets=st.lists(
        st.tuples(st.sampled_from([0, 8, EVENT]), st.binary(max_size=24) | st.binary(min_size=4, max_size=4)),
        min_size=1,
        max_size=20,
    ),
    speech=st.binary(min_size=160, max_size=160),
)
def test_no_speech_enters_the_ring_outside_of_the_window(
    call: Call, packets: list[tuple[int, bytes]], speech: bytes
) -> None:
    """Whatever is sent under the payload type of keys, what we get are keys."""
    call.relay.set_events(call.stream, Side.CALLER, {EVENT})
    packets = [*packets, (EVENT, speech), (0, speech)]
    _send(call, Side.CALLER, *(_packet(k, payload, kind) for k, (kind, payload) in enumerate(packets)))
    batch = Fork(call.relay).drain()
    # By number: two packets of one microsecond may change places by their stamps.
    copied = {int(record["sequence"]): batch.payload(k) for k, record in enumerate(batch.records)}
    assert copied == {
        k: payload
        for k, (kind, payload) in enumerate(packets)
        if kind == EVENT and len(payload) == 4 and payload[0] <= 16
    }
    assert int(batch.records["length"].sum()) == len(batch.data)


def test_keys_are_relayed_untouched(call: Call) -> None:
    call.relay.set_events(call.stream, Side.CALLER, {EVENT})
    _send(call, Side.CALLER, _packet(9, _key(3)))
    assert parse(call.receive(Side.CALLEE)).payload == _key(3)


@pytest.mark.parametrize("payload_type", [-1, 128])
def test_a_payload_type_out_of_range_is_refused(call: Call, payload_type: int) -> None:
    with pytest.raises(RelayError, match=f"payload type {payload_type} is not within 0 to 127"):
        call.relay.set_events(call.stream, Side.CALLER, {EVENT, payload_type})
