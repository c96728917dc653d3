"""Two telephones and a relay between them, on loopback addresses of this process alone."""

import contextlib
import os
import socket
import struct
import time
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

from rtp.endpoints import Latch, PortPair, Remote, Side
from rtp.packet import RtpPacket, serialise
from rtp.ports import PortPool
from rtp.relay import Relay

PATIENCE_SECONDS = 20.0
"""Bound of a wait that fails; no test passes by it."""

# All of 127/8 is ours to bind: tests that run at once keep out of each other's way.
_PREFIX = f"127.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}"
RELAY_ADDRESS = f"{_PREFIX}.1"
CALLER_ADDRESS = f"{_PREFIX}.2"
CALLEE_ADDRESS = f"{_PREFIX}.3"
STRANGER_ADDRESS = f"{_PREFIX}.4"

_T = typing.TypeVar("_T")


def eventually(read: Callable[[], _T], is_met: Callable[[_T], bool]) -> _T:
    """Read until the condition is met; fail if it never is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_met(value := read()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {value!r} after {PATIENCE_SECONDS} s")
        time.sleep(0.001)
    return value


def rtp(sequence: int, payload: bytes = b"\xd5" * 160, *, marker: bool = False, ssrc: int = 1) -> bytes:
    """Make a G.711 packet."""
    return serialise(RtpPacket(0, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, ssrc, payload, marker))


def udp(address: str, port: int = 0) -> socket.socket:
    """Open a socket that waits for PATIENCE_SECONDS and stamps what arrives."""
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.bind((address, port))
    endpoint.settimeout(PATIENCE_SECONDS)
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    endpoint.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return endpoint


_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")


def receive_stamped(endpoint: socket.socket) -> tuple[bytes, int]:
    """Receive one datagram and when the kernel had it, on the monotonic clock."""
    data, control, _, _ = endpoint.recvmsg(65536, socket.CMSG_SPACE(_TIMESPEC.size))
    realtime_ahead_ns = min(_clock_distance_ns() for _ in range(8))
    for level, kind, value in control:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            return data, seconds * 1_000_000_000 + nanoseconds - realtime_ahead_ns
    raise AssertionError("the kernel did not stamp the datagram")


def _clock_distance_ns() -> int:
    before = time.monotonic_ns()
    return time.time_ns() - before


@contextlib.contextmanager
def starved_relay() -> Iterator[None]:
    """Let the one relay thread run only when nobody else wants to, on the sender's processor."""
    processors = os.sched_getaffinity(0)
    processor = {min(processors)}
    tasks = Path("/proc/self/task").iterdir()
    (thread,) = (int(task.name) for task in tasks if (task / "comm").read_text() == "rtp-relay\n")
    os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(thread, processor)
    os.sched_setaffinity(0, processor)
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)
        os.sched_setaffinity(thread, processors)
        os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


class Call:
    """A stream of the relay with both parties known and the gate open."""

    def __init__(self, relay: Relay, pool: PortPool, *, latch: Latch = Latch.EXACT) -> None:
        self.relay = relay
        self.pool = pool
        self.ports = {Side.CALLER: pool.allocate(), Side.CALLEE: pool.allocate()}
        self.phones = {Side.CALLER: udp(CALLER_ADDRESS), Side.CALLEE: udp(CALLEE_ADDRESS)}
        self.rtcp_phones = {Side.CALLER: udp(CALLER_ADDRESS), Side.CALLEE: udp(CALLEE_ADDRESS)}
        self.stream = relay.add_stream(self.ports[Side.CALLER], self.ports[Side.CALLEE])
        for side in Side:
            relay.set_remote(self.stream, side, self.remote(side), latch)
        relay.set_gate(self.stream, True)

    def remote(self, side: Side) -> Remote:
        address, port = self.phones[side].getsockname()
        return Remote(address, port, self.rtcp_phones[side].getsockname()[1])

    def send(self, side: Side, data: bytes, endpoint: socket.socket | None = None) -> None:
        pair = self.ports[side]
        (endpoint or self.phones[side]).sendto(data, (pair.address, pair.rtp_port))

    def send_rtcp(self, side: Side, data: bytes, endpoint: socket.socket | None = None) -> None:
        pair = self.ports[side]
        (endpoint or self.rtcp_phones[side]).sendto(data, (pair.address, pair.rtcp_port))

    def receive(self, side: Side) -> bytes:
        return self.phones[side].recv(65536)

    def counted(self, side: Side, name: str, value: int) -> None:
        """Wait until a counter has reached a value, and hold it to that."""
        reached = eventually(
            lambda: int(getattr(self.relay.stats(self.stream)[side], name)), lambda now: now >= value
        )
        assert reached == value, f"{name} of {side.name}"

    def close(self) -> None:
        for endpoint in (*self.phones.values(), *self.rtcp_phones.values()):
            endpoint.close()


def pool() -> PortPool:
    return PortPool(RELAY_ADDRESS, 20000, 39999)


def pair(port: int, address: str = RELAY_ADDRESS) -> PortPair:
    return PortPair(address, port)
