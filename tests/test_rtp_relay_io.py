"""How the relay reads and sends: what is chosen, what is refused, and that both batch alike."""

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from parties import RELAY_ADDRESS, Call, eventually, pair, pool, rtp, starved_relay, udp

from rtp.endpoints import Side
from rtp.errors import RelayError
from rtp.fork import Fork
from rtp.relay import IoChoice, Relay

# Installs a seccomp filter that answers io_uring_setup(2), number 425 on every architecture, with
# an error, as containers and hardened services do; then runs the rest.
_FORBIDDING = """
import ctypes, sys
from rtp.errors import RelayError
from rtp.relay import Relay

class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                ("k", ctypes.c_uint32)]

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction))]

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
instructions = (Instruction * 4)(
    Instruction(LOAD, 0, 0, 0),
    Instruction(EQUAL, 0, 1, 425),
    Instruction(RETURN, 0, 0, 0x00050000 | int(sys.argv[1])),
    Instruction(RETURN, 0, 0, 0x7FFF0000),
)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
program = Program(4, instructions)
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0  # PR_SET_SECCOMP, filter
with Relay(ring_bytes=1 << 16) as relay:
    print(relay.io)
try:
    Relay(ring_bytes=1 << 16, io="io_uring")
except RelayError as error:
    print(error)
"""


def test_the_relay_says_how_it_reads_and_sends(io: IoChoice) -> None:
    with Relay(ring_bytes=1 << 16, io=io) as relay:
        assert relay.io == io


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (errno.EPERM, "sysctl kernel.io_uring_disabled or a seccomp filter of the service forbids it"),
        (errno.ENOSYS, "Linux 6.12 or newer is needed"),
        (errno.EINVAL, "Linux 6.12 or newer is needed"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_without_io_uring_epoll_is_taken_and_the_wish_for_it_refused(code: int, why: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _FORBIDDING, str(code)], capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "epoll",
        f"relay io: io_uring cannot be had: {why}; allow it, or choose epoll or auto",
    ]


def test_memory_that_holds_speech_is_told(io: IoChoice) -> None:
    with Relay(ring_bytes=1 << 16, io=io) as one, Relay(threads=2, ring_bytes=1 << 16, io=io) as two:
        assert one.memory_bytes > 1 << 16
        assert two.memory_bytes == 2 * one.memory_bytes


@pytest.mark.parametrize("count", [100, 600, 1200])
def test_what_piled_up_passes_whole_and_in_order(io: IoChoice, count: int) -> None:
    """More than a batch, than the buffers, and than one socket may have of a turn."""
    with Relay(ring_bytes=1 << 20, io=io) as relay:
        call = Call(relay, pool())
        relay.start_fork(call.stream)
        with starved_relay():
            for sequence in range(count):
                call.send(Side.CALLER, rtp(sequence, sequence.to_bytes(2, "big")))
        stats = eventually(
            lambda: relay.stats(call.stream).caller, lambda now: now.received + now.socket_dropped >= count
        )
        assert stats.received == count
        assert [call.receive(Side.CALLEE) for _ in range(count)] == [
            rtp(sequence, sequence.to_bytes(2, "big")) for sequence in range(count)
        ]
        assert Fork(relay).drain().records["sequence"].tolist() == list(range(count))
        call.close()


def test_a_flood_from_a_stranger_does_not_starve_the_others(io: IoChoice) -> None:
    stop = threading.Event()
    with Relay(ring_bytes=1 << 16, io=io) as relay:
        ports = pool()
        flooded, call = Call(relay, ports), Call(relay, ports)
        target = (RELAY_ADDRESS, flooded.ports[Side.CALLER].rtp_port)

        def flood() -> None:
            with udp("127.0.0.1") as stranger:
                while not stop.is_set():
                    stranger.sendto(b"", target)
                    stranger.sendto(rtp(1), target)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for sequence in range(200):
                call.send(Side.CALLER, rtp(sequence))
                assert call.receive(Side.CALLEE) == rtp(sequence)
        finally:
            stop.set()
            thread.join()
        assert relay.stats(flooded.stream).caller.foreign > 0
        assert relay.stats(flooded.stream).caller.received == 0
        flooded.close()
        call.close()


def test_a_removed_stream_gives_its_ports_back_while_packets_fly(io: IoChoice) -> None:
    stop = threading.Event()

    def bombard() -> None:
        with udp("127.0.0.1") as stranger:
            while not stop.is_set():
                for port in range(42000, 42004):
                    stranger.sendto(rtp(1), (RELAY_ADDRESS, port))

    thread = threading.Thread(target=bombard)
    with Relay(ring_bytes=1 << 16, io=io) as relay:
        thread.start()
        try:
            for _ in range(300):
                stream = relay.add_stream(pair(42000), pair(42002))
                relay.remove_stream(stream)
                for port in range(42000, 42004):
                    udp(RELAY_ADDRESS, port).close()
        finally:
            stop.set()
            thread.join()


def test_a_closed_relay_gives_its_ports_back(io: IoChoice) -> None:
    for _ in range(50):
        with Relay(threads=2, ring_bytes=1 << 16, io=io) as relay:
            for first in range(42000, 42040, 4):
                relay.add_stream(pair(first), pair(first + 2))
        for port in range(42000, 42040):
            udp(RELAY_ADDRESS, port).close()


def test_io_uring_has_no_threads_of_its_own(io: IoChoice) -> None:
    """Every request is done at once or waits armed: none is handed to a worker of the kernel."""
    with Relay(ring_bytes=1 << 16, io=io) as relay:
        call = Call(relay, pool())
        for sequence in range(100):
            call.send(Side.CALLER, rtp(sequence))
            call.receive(Side.CALLEE)
        names = {(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()}
        assert not [name for name in names if name.startswith("iou-")]
        call.close()


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(RelayError, match="relay io: 'kqueue'"):
        Relay(io="kqueue")  # type: ignore[arg-type]
