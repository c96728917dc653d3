import itertools
import threading
import time

import numpy as np
import pytest
from parties import Call, eventually, pool, rtp, starved_relay, udp

from rtp._binding import ffi
from rtp.endpoints import Side
from rtp.errors import RelayError
from rtp.fork import FORK_DTYPE, Fork, ForkBatch, ring_bytes_for
from rtp.packet import Extension, RtpPacket, serialise
from rtp.relay import IoChoice, Relay


def _send_through(call: Call, side: Side, data: bytes) -> None:
    """Send, and wait until the relay is done with it."""
    before = call.relay.stats(call.stream)[side]
    call.send(side, data)
    call.receive(side.other)
    eventually(
        lambda: call.relay.stats(call.stream)[side],
        lambda now: now.received + now.rtcp_received > before.received + before.rtcp_received,
    )


def test_the_record_has_the_layout_of_the_native_one() -> None:
    assert ffi.sizeof("struct relay_record") == FORK_DTYPE.itemsize
    assert FORK_DTYPE.fields is not None
    for name, (dtype, offset, *_) in FORK_DTYPE.fields.items():
        assert ffi.offsetof("struct relay_record", name) == offset
        assert ffi.sizeof(ffi.typeof("struct relay_record").fields[_index(name)][1].type) == dtype.itemsize


def _index(name: str) -> int:
    return [field for field, _ in ffi.typeof("struct relay_record").fields].index(name)


def test_a_packet_is_taken_apart(call: Call) -> None:
    packet = RtpPacket(
        payload_type=96,
        sequence=65535,
        timestamp=0xFFFF_FFFE,
        ssrc=0xDEAD_BEEF,
        payload=b"speech",
        marker=True,
        csrcs=(1, 2),
        extension=Extension(0xBEDE, b"abcd"),
        padding=7,
    )
    before = call.relay.start_fork(call.stream)
    _send_through(call, Side.CALLEE, serialise(packet))
    after = call.relay.now_ns()
    batch = Fork(call.relay).drain()
    assert batch.dropped == 0
    assert batch.payload(0) == b"speech"
    (record,) = batch.records
    assert before <= record["arrival_ns"] <= after
    assert {name: int(record[name]) for name in FORK_DTYPE.names or () if name != "arrival_ns"} == {
        "stream": call.stream,
        "timestamp": 0xFFFF_FFFE,
        "ssrc": 0xDEAD_BEEF,
        "offset": 0,
        "sequence": 65535,
        "length": 6,
        "side": Side.CALLEE,
        "payload_type": 96,
        "marker": 1,
        "event_only": 0,
    }


def test_an_empty_payload_is_a_record_too(call: Call) -> None:
    call.relay.start_fork(call.stream)
    _send_through(call, Side.CALLER, rtp(1, b""))
    batch = Fork(call.relay).drain()
    assert batch.records["length"].tolist() == [0]
    assert batch.payload(0) == b""


def test_both_sides_in_the_order_they_arrived(call: Call) -> None:
    call.relay.start_fork(call.stream)
    sides = [Side.CALLER, Side.CALLEE, Side.CALLEE, Side.CALLER, Side.CALLEE]
    for sequence, side in enumerate(sides):
        _send_through(call, side, rtp(sequence, bytes([sequence]) * (sequence + 1)))
    batch = Fork(call.relay).drain()
    assert batch.records["side"].tolist() == sides
    assert batch.records["sequence"].tolist() == list(range(5))
    assert [batch.payload(k) for k in range(5)] == [bytes([k]) * (k + 1) for k in range(5)]
    assert np.all(np.diff(batch.records["arrival_ns"]) > 0)


def test_only_rtp_of_the_party_is_forked(call: Call) -> None:
    call.relay.start_fork(call.stream)
    for data in (b"\x00\x00t38", bytes.fromhex("80c9000100000001"), b"\x8f\x00" + bytes(12), rtp(7)):
        _send_through(call, Side.CALLER, data)
    with udp("127.0.0.1") as stranger:
        call.send(Side.CALLER, rtp(8), stranger)
        call.counted(Side.CALLER, "foreign", 1)
    assert Fork(call.relay).drain().records["sequence"].tolist() == [7]


def test_nothing_is_forked_before_the_guard_has_passed(call: Call) -> None:
    from_ns = call.relay.start_fork(call.stream, guard_ns=10**15)
    _send_through(call, Side.CALLER, rtp(1))
    assert from_ns > call.relay.now_ns()
    assert len(Fork(call.relay).drain().records) == 0
    assert call.relay.start_fork(call.stream) < from_ns
    _send_through(call, Side.CALLER, rtp(2))
    assert Fork(call.relay).drain().records["sequence"].tolist() == [2]


def test_a_second_start_with_a_guard_leaves_out_what_comes_before_it(call: Call) -> None:
    call.relay.start_fork(call.stream)
    call.relay.start_fork(call.stream, guard_ns=10**15)
    _send_through(call, Side.CALLER, rtp(1))
    assert len(Fork(call.relay).drain().records) == 0


def test_a_negative_guard_is_refused(call: Call) -> None:
    with pytest.raises(RelayError, match="guard of -1 ns: an argument is out of range"):
        call.relay.start_fork(call.stream, guard_ns=-1)


def test_stop_without_start_forks_nothing(call: Call) -> None:
    assert call.relay.stop_fork(call.stream) <= call.relay.now_ns()
    _send_through(call, Side.CALLER, rtp(1))
    assert len(Fork(call.relay).drain().records) == 0


def test_a_second_stop_keeps_the_first_instant(call: Call) -> None:
    call.relay.start_fork(call.stream)
    until_ns = call.relay.stop_fork(call.stream)
    assert call.relay.stop_fork(call.stream) == until_ns


def _pass(sent: list[tuple[int, int]], count: int) -> None:
    target = len(sent) + count
    eventually(lambda: len(sent), lambda now: now > target)


def test_the_borders_are_exact(call: Call) -> None:
    """What left the telephone before the start, or after the stop, is in no batch.

    The other way round: all that left after the start had returned and before the stop was
    called is there, once.
    """
    sent: list[tuple[int, int]] = []  # monotonic, before and after each send
    stop = threading.Event()

    def talk() -> None:
        for sequence in itertools.count():
            before = time.monotonic_ns()
            call.send(Side.CALLER, rtp(sequence))
            sent.append((before, time.monotonic_ns()))
            call.receive(Side.CALLEE)  # in step: nothing is lost in a full socket
            if stop.is_set():
                return

    fork = Fork(call.relay)
    windows = []
    batches: list[ForkBatch] = []
    talker = threading.Thread(target=talk)
    talker.start()
    try:
        for _ in range(5):
            _pass(sent, 100)
            from_ns = call.relay.start_fork(call.stream)
            _pass(sent, 200)
            until_ns = call.relay.stop_fork(call.stream)
            windows.append((from_ns, until_ns))
            # what was under way at the stop has to pass the relay before the next start
            seen = len(sent)
            eventually(
                lambda: call.relay.stats(call.stream).caller.received,
                lambda count, seen=seen: count > seen,  # type: ignore[misc]
            )
            batches.append(fork.drain())
    finally:
        stop.set()
        talker.join()
    for (from_ns, until_ns), batch in zip(windows, batches, strict=True):
        arrivals = batch.records["arrival_ns"]
        assert from_ns <= arrivals.min()
        assert arrivals.max() < until_ns
        forked = batch.records["sequence"].tolist()
        assert forked == list(range(forked[0], forked[0] + len(forked)))
        clock_error_ns = 50_000  # of turning the stamp of the kernel into monotonic time: only ever older
        for sequence, (before, after) in enumerate(sent):
            if after < from_ns or before >= until_ns + clock_error_ns:
                assert sequence not in forked
            if before >= from_ns + clock_error_ns and after < until_ns:
                assert sequence in forked
    assert call.relay.stats(call.stream).caller.fork_dropped == 0


def test_what_waits_in_the_socket_counts_by_its_arrival(call: Call) -> None:
    """Packets pile up in the socket, and are read long after the start or stop they came before."""
    with starved_relay():
        for sequence in range(100):
            call.send(Side.CALLER, rtp(sequence))
        call.relay.start_fork(call.stream)
        for sequence in range(100, 200):
            call.send(Side.CALLER, rtp(sequence))
        call.relay.stop_fork(call.stream)
        for sequence in range(200, 300):
            call.send(Side.CALLER, rtp(sequence))
    call.counted(Side.CALLER, "received", 300)
    assert Fork(call.relay).drain().records["sequence"].tolist() == list(range(100, 200))


def test_a_full_ring_drops_counts_and_never_delays(io: IoChoice) -> None:
    with Relay(ring_bytes=1 << 16, io=io) as relay:
        call = Call(relay, pool())
        fork = Fork(relay)
        relay.start_fork(call.stream)
        for sequence in range(1000):
            call.send(Side.CALLER, rtp(sequence))
            assert call.receive(Side.CALLEE) == rtp(sequence)
        call.counted(Side.CALLER, "received", 1000)
        eventually(lambda: relay.stats(call.stream).caller, lambda now: now.forked + now.fork_dropped == 1000)
        stats = relay.stats(call.stream).caller
        assert stats.forked == 65536 // 160
        batch = fork.drain()
        assert batch.dropped == stats.fork_dropped == 1000 - stats.forked
        assert batch.records["sequence"].tolist() == list(range(stats.forked))
        _send_through(call, Side.CALLER, rtp(5000))
        after = fork.drain()
        assert after.dropped == 0
        assert after.records["sequence"].tolist() == [5000]
        call.close()


def test_tiny_packets_fill_the_record_table_first(io: IoChoice) -> None:
    with Relay(ring_bytes=1 << 16, io=io) as relay:
        call = Call(relay, pool())
        relay.start_fork(call.stream)
        for sequence in range(600):
            call.send(Side.CALLER, rtp(sequence, b"x"))
            call.receive(Side.CALLEE)
        call.counted(Side.CALLER, "fork_dropped", 600 - 65536 // 128)
        call.close()


def test_payloads_survive_the_end_of_the_ring(io: IoChoice) -> None:
    with Relay(ring_bytes=1 << 16, io=io) as relay:
        call = Call(relay, pool())
        fork = Fork(relay)
        relay.start_fork(call.stream)
        rng = np.random.default_rng(7)
        for turn in range(60):
            payloads = [rng.bytes(int(size)) for size in rng.integers(0, 1400, 20)]
            for sequence, payload in enumerate(payloads):
                call.send(Side.CALLER, rtp(turn * 20 + sequence, payload))
                call.receive(Side.CALLEE)
            call.counted(Side.CALLER, "forked", 20 * (turn + 1))
            batch = fork.drain()
            assert [batch.payload(k) for k in range(len(batch.records))] == payloads
        call.close()


def test_a_batch_is_bounded_and_the_rest_waits(call: Call) -> None:
    fork = Fork(call.relay)
    call.relay.start_fork(call.stream)
    for sequence in range(200):
        _send_through(call, Side.CALLER, rtp(sequence))
    sizes = []
    sequences: list[int] = []
    while len((batch := fork.drain(max_bytes=9216)).records):
        sizes.append(len(batch.data))
        sequences += batch.records["sequence"].tolist()
    assert sequences == list(range(200))
    assert sizes == [9120, 9120, 9120, 4640]
    with pytest.raises(RelayError, match="max_bytes is 9215, must be 9216 or more"):
        fork.drain(max_bytes=9215)


def test_streams_of_several_threads_come_in_one_order(io: IoChoice) -> None:
    with Relay(threads=3, ring_bytes=1 << 20, io=io) as relay:
        ports = pool()
        calls = [Call(relay, ports) for _ in range(6)]
        for call in calls:
            relay.start_fork(call.stream)
        for sequence in range(50):
            for call in calls:
                _send_through(call, Side.CALLER, rtp(sequence, bytes([sequence, calls.index(call)])))
        batch = Fork(relay).drain()
        assert np.all(np.diff(batch.records["arrival_ns"]) > 0)
        assert batch.records["stream"].tolist() == [call.stream for call in calls] * 50
        expected = [bytes([sequence, index]) for sequence in range(50) for index in range(6)]
        assert [batch.payload(k) for k in range(300)] == expected
        for call in calls:
            call.close()


def test_the_fork_of_a_closed_relay_says_so(io: IoChoice) -> None:
    with Relay(ring_bytes=1 << 16, io=io) as relay:
        fork = Fork(relay)
        assert len(fork.drain().records) == 0
    with pytest.raises(RelayError, match="the relay is closed"):
        fork.drain()


@pytest.mark.parametrize(
    ("calls", "threads", "size"),
    [(1, 1, 1 << 16), (100, 1, 1 << 23), (2000, 1, 1 << 27), (2000, 4, 1 << 25), (10**6, 1, 1 << 30)],
)
def test_the_ring_grows_with_the_calls(calls: int, threads: int, size: int) -> None:
    assert ring_bytes_for(calls, threads=threads) == size
    assert size == 1 << 30 or size / (-(-calls // threads) * 16000) >= 4
