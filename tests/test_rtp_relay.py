import os
import socket

import pytest
from parties import (
    CALLER_ADDRESS,
    RELAY_ADDRESS,
    STRANGER_ADDRESS,
    Call,
    eventually,
    pool,
    receive_stamped,
    rtp,
    starved_relay,
    udp,
)

from rtp.endpoints import Latch, Remote, Side
from rtp.relay import IoChoice, Relay
from rtp.stats import SideStats

_T38 = bytes.fromhex("000006c0018000000000")
_STUN = bytes.fromhex("000100002112a442") + bytes(12)
_RTCP_MULTIPLEXED = bytes.fromhex("80c90001 00000001")
_BROKEN = b"\x8f\x00" + bytes(12)


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
    address, port = endpoint.getsockname()
    relay.set_remote(stream, Side.CALLER, Remote(address, port, None), Latch.EXACT)
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


def test_packets_carry_the_dscp_mark(io: IoChoice) -> None:
    with Relay(dscp=46, io=io) as relay:
        call = Call(relay, pool())
        callee = call.phones[Side.CALLEE]
        callee.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        call.send(Side.CALLER, rtp(1))
        _, control, _, _ = callee.recvmsg(2048, 128)
        marks = {value[0] for level, kind, value in control if (level, kind) == (0, socket.IP_TOS)}
        assert marks == {46 << 2}
        call.close()


def test_what_the_kernel_lost_is_counted(call: Call) -> None:
    sent = 6000
    with starved_relay():
        for sequence in range(sent):
            call.send(Side.CALLER, rtp(sequence))
    eventually(lambda: call.relay.stats(call.stream).caller.relayed, bool)
    lost = 0
    while not lost:  # the kernel tells of the loss with the next packet that it takes
        call.send(Side.CALLER, rtp(sent))
        sent += 1
        lost = call.relay.stats(call.stream).caller.socket_dropped
    stats = eventually(
        lambda: call.relay.stats(call.stream).caller, lambda now: now.received + now.socket_dropped >= sent
    )
    assert stats.received + stats.socket_dropped == sent
    assert stats.send_errors == 0


def test_the_relay_adds_little_delay(call: Call) -> None:
    delays = []
    for sequence in range(200):
        call.send(Side.CALLER, rtp(sequence))
        _, arrived_ns = receive_stamped(call.phones[Side.CALLEE])
        delays.append(arrived_ns - call.relay.stats(call.stream).caller.last_packet_ns)
    delays.sort()
    assert delays[0] > 0
    assert delays[len(delays) // 2] < 5_000_000
