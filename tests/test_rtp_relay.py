import itertools
import os
import resource
import socket
import threading
from collections.abc import Iterator

import pytest
from parties import (
    CALLEE_ADDRESS,
    CALLER_ADDRESS,
    RELAY_ADDRESS,
    STRANGER_ADDRESS,
    Call,
    eventually,
    pair,
    pool,
    receive_stamped,
    rtp,
    udp,
)

from rtp.endpoints import Latch, Remote, Side
from rtp.errors import RelayError
from rtp.ports import PortPool
from rtp.relay import Relay
from rtp.stats import SideStats

_T38 = bytes.fromhex("000006c0018000000000")
_STUN = bytes.fromhex("000100002112a442") + bytes(12)
_RTCP_MULTIPLEXED = bytes.fromhex("80c90001 00000001")
_BROKEN = b"\x8f\x00" + bytes(12)


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay(ring_bytes=1 << 20) as opened:
        yield opened


@pytest.fixture
def call(relay: Relay) -> Iterator[Call]:
    made = Call(relay, pool())
    yield made
    made.close()


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    "data",
    [rtp(1), _T38, _STUN, _RTCP_MULTIPLEXED, _BROKEN, b"\x00", b"", b"\x80" * 1472, os.urandom(9216)],
    ids=["rtp", "t38", "stun", "rtcp-mux", "broken", "one", "empty", "mtu", "jumbo"],
)
def test_bytes_pass_untouched(call: Call, side: Side, data: bytes) -> None:
    call.send(side, data)
    assert call.receive(side.other) == data


def test_packets_leave_from_the_port_facing_the_party(call: Call) -> None:
    call.send(Side.CALLER, rtp(1))
    _, source = call.phones[Side.CALLEE].recvfrom(2048)
    assert source == (RELAY_ADDRESS, call.ports[Side.CALLEE].rtp_port)


@pytest.mark.parametrize("side", Side)
def test_rtcp_passes_between_its_own_ports(call: Call, side: Side) -> None:
    call.send_rtcp(side, _RTCP_MULTIPLEXED)
    data, source = call.rtcp_phones[side.other].recvfrom(2048)
    assert data == _RTCP_MULTIPLEXED
    assert source == (RELAY_ADDRESS, call.ports[side.other].rtcp_port)
    call.counted(side, "rtcp_relayed", 1)
    assert call.relay.stats(call.stream)[side].received == 0


def test_each_kind_is_counted(call: Call) -> None:
    for data in (rtp(1, ssrc=77), rtp(2, ssrc=77), _T38, _BROKEN, _RTCP_MULTIPLEXED):
        call.send(Side.CALLER, data)
        call.receive(Side.CALLEE)
    call.counted(Side.CALLER, "rtcp_relayed", 1)
    stats = call.relay.stats(call.stream)
    assert stats.callee == SideStats(*(0,) * 16)
    caller = stats.caller
    assert caller.last_packet_ns > 0
    assert caller == SideStats(
        received=4,
        received_bytes=172 + 172 + len(_T38) + len(_BROKEN),
        relayed=4,
        foreign=0,
        malformed=1,
        opaque=1,
        gated=0,
        unroutable=0,
        send_errors=0,
        forked=0,
        fork_dropped=0,
        socket_dropped=0,
        rtcp_received=1,
        rtcp_relayed=1,
        last_packet_ns=caller.last_packet_ns,
        ssrc=77,
    )


def test_a_datagram_longer_than_a_jumbo_frame_is_dropped_and_counted(call: Call) -> None:
    call.send(Side.CALLER, bytes(9217))
    call.send(Side.CALLER, rtp(1))
    assert call.receive(Side.CALLEE) == rtp(1)
    call.counted(Side.CALLER, "malformed", 1)


def test_the_shut_gate_lets_nothing_through(call: Call) -> None:
    call.relay.set_gate(call.stream, False)
    for side in Side:
        call.send(side, rtp(1))
        call.send_rtcp(side, _RTCP_MULTIPLEXED)
        call.counted(side, "gated", 2)
    call.relay.set_gate(call.stream, True)
    for side in Side:
        call.send(side, rtp(2))
        call.send_rtcp(side, _RTCP_MULTIPLEXED + bytes(4))
        assert call.receive(side.other) == rtp(2)
        assert call.rtcp_phones[side.other].recv(2048) == _RTCP_MULTIPLEXED + bytes(4)


def test_the_gate_of_a_new_stream_is_shut(relay: Relay) -> None:
    ports = pool()
    stream = relay.add_stream(ports.allocate(), ports.allocate())
    endpoint = udp(CALLER_ADDRESS)
    relay.set_remote(stream, Side.CALLER, Remote(*endpoint.getsockname(), None), Latch.EXACT)
    relay.start_fork(stream)
    with endpoint:
        endpoint.sendto(rtp(1), (RELAY_ADDRESS, 20000))
        eventually(lambda: relay.stats(stream).caller.gated, lambda gated: gated == 1)


@pytest.mark.parametrize("latch", Latch)
def test_a_stranger_is_neither_heard_nor_answered(relay: Relay, latch: Latch) -> None:
    call = Call(relay, pool(), latch=latch)
    call.send(Side.CALLER, rtp(1))  # latches, where the mode does
    assert call.receive(Side.CALLEE) == rtp(1)
    with udp(STRANGER_ADDRESS) as stranger, udp(STRANGER_ADDRESS) as rtcp_stranger:
        for sequence in range(5):
            call.send(Side.CALLER, rtp(sequence + 100), stranger)
            call.send_rtcp(Side.CALLER, _RTCP_MULTIPLEXED, rtcp_stranger)
        call.counted(Side.CALLER, "foreign", 10)
        call.send(Side.CALLER, rtp(2))
        assert call.receive(Side.CALLEE) == rtp(2)
        call.send(Side.CALLEE, rtp(3))
        assert call.receive(Side.CALLER) == rtp(3)
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.recv(2048)
    call.close()


def test_exact_refuses_another_port_of_the_same_host(call: Call) -> None:
    with udp(CALLER_ADDRESS) as other:
        call.send(Side.CALLER, rtp(1), other)
        call.counted(Side.CALLER, "foreign", 1)
    call.send(Side.CALLER, rtp(2))
    assert call.receive(Side.CALLEE) == rtp(2)


def test_address_takes_the_first_port_until_the_signalled_one_appears(relay: Relay) -> None:
    call = Call(relay, pool(), latch=Latch.ADDRESS)
    with udp(CALLER_ADDRESS) as first, udp(CALLER_ADDRESS) as second:
        call.send(Side.CALLER, rtp(1), first)
        assert call.receive(Side.CALLEE) == rtp(1)
        call.send(Side.CALLER, rtp(2), second)
        call.counted(Side.CALLER, "foreign", 1)
        call.send(Side.CALLEE, rtp(3))  # media still goes where the SDP said
        assert call.receive(Side.CALLER) == rtp(3)
        call.send(Side.CALLER, rtp(4))
        assert call.receive(Side.CALLEE) == rtp(4)
        call.send(Side.CALLER, rtp(5), first)
        call.counted(Side.CALLER, "foreign", 2)
        call.send(Side.CALLER, rtp(6))
        assert call.receive(Side.CALLEE) == rtp(6)
    call.close()


def test_any_takes_the_first_source_and_answers_it(relay: Relay) -> None:
    call = Call(relay, pool(), latch=Latch.ANY)
    with udp(STRANGER_ADDRESS) as behind_nat, udp(STRANGER_ADDRESS) as rtcp_behind_nat:
        call.send_rtcp(Side.CALLER, _RTCP_MULTIPLEXED, rtcp_behind_nat)
        call.counted(Side.CALLER, "foreign", 1)  # RTP has to come first
        call.send(Side.CALLER, rtp(1), behind_nat)
        assert call.receive(Side.CALLEE) == rtp(1)
        call.send(Side.CALLEE, rtp(2))
        assert behind_nat.recv(2048) == rtp(2)
        call.send_rtcp(Side.CALLER, _RTCP_MULTIPLEXED, rtcp_behind_nat)
        assert call.rtcp_phones[Side.CALLEE].recv(2048) == _RTCP_MULTIPLEXED
        call.send_rtcp(Side.CALLEE, _RTCP_MULTIPLEXED)
        assert rtcp_behind_nat.recv(2048) == _RTCP_MULTIPLEXED
        call.send(Side.CALLER, rtp(3))  # now even the signalled source is a stranger
        call.counted(Side.CALLER, "foreign", 2)
    call.close()


def test_a_new_remote_latches_anew(relay: Relay) -> None:
    call = Call(relay, pool(), latch=Latch.ANY)
    call.send(Side.CALLER, rtp(1))
    assert call.receive(Side.CALLEE) == rtp(1)
    with udp(STRANGER_ADDRESS) as moved:
        relay.set_remote(call.stream, Side.CALLER, call.remote(Side.CALLER), Latch.ANY)
        call.send(Side.CALLER, rtp(2), moved)
        assert call.receive(Side.CALLEE) == rtp(2)
        call.send(Side.CALLEE, rtp(3))
        assert moved.recv(2048) == rtp(3)
    call.close()


def test_a_party_without_remote_neither_sends_nor_receives(call: Call) -> None:
    call.relay.set_remote(call.stream, Side.CALLEE, None, Latch.ADDRESS)
    call.send(Side.CALLER, rtp(1))
    call.counted(Side.CALLER, "unroutable", 1)
    call.send(Side.CALLEE, rtp(2))
    call.counted(Side.CALLEE, "foreign", 1)
    call.relay.set_remote(call.stream, Side.CALLEE, call.remote(Side.CALLEE), Latch.ADDRESS)
    call.send(Side.CALLER, rtp(3))
    assert call.receive(Side.CALLEE) == rtp(3)


def test_a_party_without_rtcp_port_is_sent_none(call: Call) -> None:
    address, port = call.phones[Side.CALLEE].getsockname()
    call.relay.set_remote(call.stream, Side.CALLEE, Remote(address, port, None), Latch.ADDRESS)
    call.send_rtcp(Side.CALLER, _RTCP_MULTIPLEXED)
    call.counted(Side.CALLER, "unroutable", 1)


def test_a_refused_send_is_counted_and_the_rest_goes_on(call: Call) -> None:
    # Without SO_BROADCAST the system refuses this target.
    call.relay.set_remote(call.stream, Side.CALLEE, Remote("255.255.255.255", 9, None), Latch.EXACT)
    for sequence in range(20):
        call.send(Side.CALLER, rtp(sequence))
    call.counted(Side.CALLER, "send_errors", 20)
    assert call.relay.stats(call.stream).caller.relayed == 0
    call.relay.set_remote(call.stream, Side.CALLEE, call.remote(Side.CALLEE), Latch.EXACT)
    call.send(Side.CALLER, rtp(99))
    assert call.receive(Side.CALLEE) == rtp(99)


def test_packets_carry_the_dscp_mark() -> None:
    with Relay(dscp=46) as relay:
        call = Call(relay, pool())
        callee = call.phones[Side.CALLEE]
        callee.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        call.send(Side.CALLER, rtp(1))
        _, control, _, _ = callee.recvmsg(2048, 128)
        marks = {value[0] for level, kind, value in control if (level, kind) == (0, socket.IP_TOS)}
        assert marks == {46 << 2}
        call.close()


def test_ipv6_relays_too(relay: Relay) -> None:
    caller, callee = (socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in Side)
    with caller, callee:
        for phone in (caller, callee):
            phone.bind(("::1", 0))
            phone.settimeout(20)
        free = next(port for port in itertools.count(41000, 4) if _is_free(port))
        stream = relay.add_stream(pair(free, "::1"), pair(free + 2, "::1"))
        for side, phone in ((Side.CALLER, caller), (Side.CALLEE, callee)):
            relay.set_remote(stream, side, Remote("::1", phone.getsockname()[1], None), Latch.EXACT)
        relay.set_gate(stream, True)
        caller.sendto(rtp(1), ("::1", free))
        assert callee.recv(2048) == rtp(1)
        with pytest.raises(RelayError, match="'127.0.0.1' is not a numeric address of the family"):
            relay.set_remote(stream, Side.CALLER, Remote("127.0.0.1", 4000, None), Latch.EXACT)


def _is_free(first: int) -> bool:
    for port in range(first, first + 4):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("::1", port))
            except OSError:
                return False
    return True


def test_the_relay_adds_little_delay(call: Call) -> None:
    delays = []
    for sequence in range(200):
        call.send(Side.CALLER, rtp(sequence))
        _, arrived_ns = receive_stamped(call.phones[Side.CALLEE])
        delays.append(arrived_ns - call.relay.stats(call.stream).caller.last_packet_ns)
    delays.sort()
    assert delays[0] > 0
    assert delays[len(delays) // 2] < 5_000_000


# -------------------------------------------------------------------- streams


def test_a_taken_port_is_named_with_the_mend_and_nothing_stays_open(relay: Relay) -> None:
    before = _descriptors()
    with udp(RELAY_ADDRESS, 42003):
        with pytest.raises(RelayError, match=rf"RTP port {RELAY_ADDRESS}:42003 is in use: .*port range"):
            relay.add_stream(pair(42000), pair(42002))
        assert _descriptors() == before + 1
    relay.add_stream(pair(42000), pair(42002))


def test_an_address_that_is_not_ours_is_named(relay: Relay) -> None:
    with pytest.raises(RelayError, match=r"192\.0\.2\.1:42000: this machine does not have that address"):
        relay.add_stream(pair(42000, "192.0.2.1"), pair(42002))


def test_a_host_name_is_refused(relay: Relay) -> None:
    with pytest.raises(RelayError, match="'localhost' or .* is not a numeric IP address"):
        relay.add_stream(pair(42000, "localhost"), pair(42002))
    stream = relay.add_stream(pair(42000), pair(42002))
    with pytest.raises(RelayError, match="remote of the callee: 'localhost' is not a numeric address"):
        relay.set_remote(stream, Side.CALLEE, Remote("localhost", 4000, None), Latch.ADDRESS)


def test_an_odd_port_is_refused(relay: Relay) -> None:
    with pytest.raises(RelayError, match="42001 must be even"):
        relay.add_stream(pair(42001), pair(42004))


@pytest.mark.parametrize(("rtp_port", "rtcp_port"), [(0, None), (65536, None), (4000, 0), (4000, 65536)])
def test_an_impossible_remote_port_is_refused(call: Call, rtp_port: int, rtcp_port: int | None) -> None:
    with pytest.raises(RelayError, match="remote of the caller: port .* is not within 1 to 65535"):
        call.relay.set_remote(
            call.stream, Side.CALLER, Remote("127.0.0.1", rtp_port, rtcp_port), Latch.ADDRESS
        )


def test_running_out_of_descriptors_is_said(relay: Relay) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors() + 2, limits[1]))
    try:
        with pytest.raises(RelayError, match="no descriptor left: raise LimitNOFILE"):
            relay.add_stream(pair(42000), pair(42002))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    relay.add_stream(pair(42000), pair(42002))


def test_a_removed_stream_is_unknown_and_its_number_not_used_again(relay: Relay) -> None:
    stream = relay.add_stream(pair(42000), pair(42002))
    relay.remove_stream(stream)
    again = relay.add_stream(pair(42000), pair(42002))
    assert again != stream
    for use in (
        relay.stats,
        relay.remove_stream,
        relay.start_fork,
        relay.stop_fork,
        lambda number: relay.set_gate(number, True),
        lambda number: relay.set_remote(number, Side.CALLER, None, Latch.ANY),
    ):
        for unknown in (stream, 0, 1 << 60):
            with pytest.raises(RelayError, match=f"stream {unknown}"):
                use(unknown)
    relay.stats(again)


def test_removal_returns_the_final_counters_and_frees_the_ports(call: Call) -> None:
    call.send(Side.CALLER, rtp(1))
    call.receive(Side.CALLEE)
    call.counted(Side.CALLER, "relayed", 1)
    assert call.relay.remove_stream(call.stream).caller.relayed == 1
    with udp(RELAY_ADDRESS, call.ports[Side.CALLER].rtp_port):
        pass


def test_four_thousand_streams_leave_no_descriptor_behind() -> None:
    count = 4096
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 4 * count + 1000:
        pytest.skip(f"the hard limit of descriptors is {limits[1]}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    before = _descriptors()
    ports = PortPool(RELAY_ADDRESS, 10000, 39999)
    try:
        with Relay(threads=2, ring_bytes=1 << 16) as relay:
            opened = _descriptors()
            for _ in range(2):
                pairs = [(ports.allocate(), ports.allocate()) for _ in range(count)]
                streams = [relay.add_stream(*both) for both in pairs]
                assert len(set(streams)) == count
                assert _descriptors() == opened + 4 * count
                for stream in streams[: count // 2]:
                    relay.remove_stream(stream)
                assert _descriptors() == opened + 2 * count
                for stream in streams[count // 2 :]:
                    relay.remove_stream(stream)
                assert _descriptors() == opened
                for both in pairs:
                    ports.release(both[0])
                    ports.release(both[1])
            relay.add_stream(ports.allocate(), ports.allocate())
        assert _descriptors() == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_streams_come_and_go_while_packets_fly() -> None:
    stop = threading.Event()

    def bombard(address: str) -> None:
        with udp(address, 4000) as phone:
            for sequence in itertools.count():
                for port in range(42000, 42008):
                    phone.sendto(rtp(sequence), (RELAY_ADDRESS, port))
                if stop.is_set():
                    return

    relayed = 0
    with Relay(threads=2, ring_bytes=1 << 16) as relay:
        threads = [threading.Thread(target=bombard, args=(it,)) for it in (CALLER_ADDRESS, CALLEE_ADDRESS)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(400):
                first = 42000 + 4 * (turn % 2)
                stream = relay.add_stream(pair(first), pair(first + 2))
                relay.set_remote(stream, Side.CALLER, Remote(CALLER_ADDRESS, 4000, 4000), Latch.ADDRESS)
                relay.set_remote(stream, Side.CALLEE, Remote(CALLEE_ADDRESS, 4000, 4000), Latch.ANY)
                relay.set_gate(stream, True)
                relay.start_fork(stream)
                if turn % 50 == 0:
                    eventually(lambda: relay.stats(stream).caller.relayed, bool)  # noqa: B023
                relayed += relay.remove_stream(stream).caller.relayed
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert relayed > 0


# --------------------------------------------------------------------- engine


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "relay threads: 0, must be 1 to 64"),
        ({"threads": 65}, "relay threads: 65"),
        ({"ring_bytes": 65535}, "relay ring: 65535 bytes"),
        ({"ring_bytes": (1 << 30) + 1}, "relay ring"),
        ({"dscp": 64}, "relay dscp: 64, must be 0 to 63"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        Relay(**options)


def test_a_closed_relay_says_so() -> None:
    relay = Relay(ring_bytes=1 << 16)
    relay.close()
    relay.close()
    with pytest.raises(RelayError, match="the relay is closed"):
        relay.add_stream(pair(42000), pair(42002))
    with pytest.raises(RelayError, match="the relay is closed"):
        relay.poll_playbacks()


def test_a_forgotten_relay_warns_and_is_closed() -> None:
    before = _descriptors()
    relay = Relay(ring_bytes=1 << 16)
    with pytest.warns(ResourceWarning, match="a relay was not closed"):
        del relay
    assert _descriptors() == before


def test_threads_of_the_engine_take_no_signals() -> None:
    def engine_masks() -> dict[str, int]:
        masks = {}
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/status", encoding="ascii") as status:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
            if fields["Name"].startswith("rtp-"):
                masks[f"{fields['Name']} {task}"] = int(fields["SigBlk"], 16)
        return masks

    with Relay(threads=2, ring_bytes=1 << 16):
        masks = engine_masks()
    assert sorted(name.split()[0] for name in masks) == ["rtp-relay", "rtp-relay", "rtp-ticker"]
    sigterm, sigint = 1 << 14, 1 << 1
    assert all(mask & sigterm and mask & sigint for mask in masks.values())
    assert not engine_masks()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) - 1
