"""IPv6, and a call whose parties are of different families."""

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator

import pytest
from parties import PATIENCE_SECONDS, RELAY_ADDRESS, eventually, rtp

from rtp.endpoints import Latch, PortPair, Remote, Side
from rtp.errors import RelayError
from rtp.fork import Fork
from rtp.relay import IoChoice, PlaybackState, Playout, Relay

_V4, _V6 = RELAY_ADDRESS, "::1"
_RECEIVER_REPORT = bytes.fromhex("80c9000100000001")


class Party:
    """A telephone of one address family, and the ports of the relay that face it."""

    def __init__(self, address: str, stack: contextlib.ExitStack) -> None:
        self.address = address
        self.ports = PortPair(address, _free_port(address))
        self.rtp = stack.enter_context(_socket(address))
        self.rtcp = stack.enter_context(_socket(address))
        self.stranger = stack.enter_context(_socket(address))

    @property
    def remote(self) -> Remote:
        return Remote(self.address, self.rtp.getsockname()[1], self.rtcp.getsockname()[1])

    def send(self, data: bytes, endpoint: socket.socket | None = None) -> None:
        (endpoint or self.rtp).sendto(data, (self.address, self.ports.rtp_port))

    def send_rtcp(self, data: bytes) -> None:
        self.rtcp.sendto(data, (self.address, self.ports.rtcp_port))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _socket(address: str, port: int = 0) -> socket.socket:
    endpoint = socket.socket(_family(address), socket.SOCK_DGRAM)
    endpoint.settimeout(PATIENCE_SECONDS)
    try:
        endpoint.bind((address, port))
    except OSError:
        endpoint.close()
        raise
    return endpoint


# The IPv6 loopback has one address only, so tests that run at once begin at different ports.
_ports = itertools.cycle(range(20000 + os.getpid() % 100 * 200, 20000 + os.getpid() % 100 * 200 + 200, 2))


def _free_port(address: str) -> int:
    for port in itertools.islice(_ports, 100):
        try:
            _socket(address, port).close()
            _socket(address, port + 1).close()
        except OSError:
            continue
        return port
    raise AssertionError(f"no free pair of ports on {address}")


@pytest.fixture(params=[(_V6, _V6), (_V4, _V6), (_V6, _V4)], ids=["6-6", "4-6", "6-4"])
def parties(request: pytest.FixtureRequest) -> Iterator[dict[Side, Party]]:
    try:
        _socket(_V6).close()
    except OSError:
        pytest.skip("this system has no IPv6")
    with contextlib.ExitStack() as stack:
        yield {side: Party(address, stack) for side, address in zip(Side, request.param, strict=True)}


@pytest.fixture
def relay(io: IoChoice) -> Iterator[Relay]:
    with Relay(ring_bytes=1 << 17, io=io) as opened:
        yield opened


def _open(relay: Relay, parties: dict[Side, Party], latch: Latch = Latch.EXACT) -> int:
    stream = relay.add_stream(parties[Side.CALLER].ports, parties[Side.CALLEE].ports)
    for side, party in parties.items():
        relay.set_remote(stream, side, party.remote, latch)
    relay.set_gate(stream, True)
    return stream


def test_rtp_and_rtcp_pass_both_ways_and_are_forked(relay: Relay, parties: dict[Side, Party]) -> None:
    stream = _open(relay, parties)
    relay.start_fork(stream)
    for side, party in parties.items():
        other = parties[side.other]
        party.send(rtp(7, b"speech"))
        data, source = other.rtp.recvfrom(2048)
        assert (data, source[:2]) == (rtp(7, b"speech"), (other.address, other.ports.rtp_port))
        party.send_rtcp(_RECEIVER_REPORT)
        data, source = other.rtcp.recvfrom(2048)
        assert (data, source[:2]) == (_RECEIVER_REPORT, (other.address, other.ports.rtcp_port))
    assert Fork(relay).drain().records["side"].tolist() == [Side.CALLER, Side.CALLEE]


@pytest.mark.parametrize("latch", [Latch.EXACT, Latch.ADDRESS, Latch.ANY])
def test_a_foreign_source_is_neither_relayed_nor_forked(
    relay: Relay, parties: dict[Side, Party], latch: Latch
) -> None:
    stream = _open(relay, parties, latch)
    relay.start_fork(stream)
    for side, party in parties.items():
        party.send(rtp(1))  # what a latch waits for
        parties[side.other].rtp.recv(2048)
        party.send(rtp(2), party.stranger)
        eventually(lambda who=side: relay.stats(stream)[who].foreign, lambda count: count == 1)  # type: ignore[misc]
        party.send(rtp(3))
        assert parties[side.other].rtp.recv(2048) == rtp(3)
    assert sorted(Fork(relay).drain().records["sequence"].tolist()) == [1, 1, 3, 3]


def test_a_party_behind_nat_is_answered_where_it_sends_from(relay: Relay, parties: dict[Side, Party]) -> None:
    stream = _open(relay, parties)
    for side, party in parties.items():
        other = parties[side.other]
        relay.set_remote(stream, side, party.remote, Latch.ANY)
        party.send(rtp(1), party.stranger)
        assert other.rtp.recv(2048) == rtp(1)
        other.send(rtp(2))
        assert party.stranger.recv(2048) == rtp(2)
        relay.set_remote(stream, side, party.remote, Latch.EXACT)


def test_an_announcement_is_heard(relay: Relay, parties: dict[Side, Party]) -> None:
    stream = _open(relay, parties)
    playout = Playout(
        frames=b"one two ",
        lengths=(4, 4),
        payload_type=0,
        frame_ms=1,
        timestamp_step=8,
        ssrc=1,
        sequence=0,
        timestamp=0,
    )
    for side, party in parties.items():
        playback = relay.play(stream, side, playout)
        assert [party.rtp.recv(2048)[12:] for _ in range(2)] == [b"one ", b"two "]
        (event,) = eventually(relay.poll_playbacks, bool)
        assert (event.playback, event.state) == (playback, PlaybackState.COMPLETED)


def test_packets_carry_the_mark(relay: Relay, parties: dict[Side, Party]) -> None:
    _open(relay, parties)
    for side, party in parties.items():
        other = parties[side.other]
        if _family(other.address) == socket.AF_INET6:
            other.rtp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
            wanted = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
        else:
            other.rtp.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            wanted = (socket.IPPROTO_IP, socket.IP_TOS)
        party.send(rtp(1))
        _, control, _, _ = other.rtp.recvmsg(2048, 128)
        assert [value[0] for level, kind, value in control if (level, kind) == wanted] == [46 << 2]


def test_a_remote_of_another_family_than_its_port_is_refused(
    relay: Relay, parties: dict[Side, Party]
) -> None:
    stream = _open(relay, parties)
    for side, party in parties.items():
        wrong = "192.0.2.1" if _family(party.address) == socket.AF_INET6 else "2001:db8::1"
        with pytest.raises(RelayError, match=f"'{wrong}' is not a numeric address of the family"):
            relay.set_remote(stream, side, Remote(wrong, 4000, None), Latch.EXACT)
        party.send(rtp(5))  # what was agreed before stands
        assert parties[side.other].rtp.recv(2048) == rtp(5)


def test_a_port_of_ipv6_leaves_that_of_ipv4_alone(relay: Relay, parties: dict[Side, Party]) -> None:
    _open(relay, parties)
    for party in parties.values():
        if _family(party.address) == socket.AF_INET6:
            _socket(RELAY_ADDRESS, party.ports.rtp_port).close()
