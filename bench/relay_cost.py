"""CPU time a packet and added delay: the RTP engine against a bare C relay, in one run, on loopback.

The bare relay is a C program of the form `relay N BASE A_IP:BASE B_IP:BASE [plain|copy]` that
binds BASE+2i and BASE+2i+1 on 127.0.0.1 for call i and forwards between A_IP:A_BASE+2i and
B_IP:B_BASE+2i. Each round measures every contestant once, so that noise hits them alike; CPU time
is that of the contestant's whole process, the interpreter and the draining of the fork included;
delay is from before the sending call to the kernel's stamp at the receiver. On a machine that is
busy otherwise, real-time priority (`chrt -r 10`) makes the delays mean something.

    python bench/relay_cost.py --bare path/to/relay.c --calls 100 --seconds 4 --rounds 5
"""

import argparse
import os
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from rtp.endpoints import Latch, Remote, Side
from rtp.fork import Fork
from rtp.ports import PortPool
from rtp.relay import IoChoice, Relay

RELAY, CALLER, CALLEE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
FAR_BASE = 30000
DRAIN_SECONDS = 0.1
HEADER = bytes((0x80, 0, 0, 1)) + bytes(8)
PAYLOAD = struct.Struct("q152x")  # time of sending
STAMP = struct.Struct("@ll")
SO_TIMESTAMPNS = 35

_SPAWN = get_context("spawn")
_FORK = get_context("fork")


@dataclass(frozen=True, slots=True)
class Load:
    """How many calls, for how long, the time between two packets of one party, first port."""

    calls: int
    base: int
    seconds: float
    frame_ms: float


@dataclass(frozen=True, slots=True)
class Run:
    """Microseconds of CPU a packet, share lost, microseconds of delay: median and 99 %."""

    cost: float
    lost: float
    delay: float
    delay_p99: float


def engine(load: Load, io: IoChoice, with_fork: bool, ready: Connection) -> None:
    """Serve the calls until the parent hangs up."""
    ports = PortPool(RELAY, load.base, load.base + 4 * load.calls + 3)
    with Relay(io=io) as relay:
        fork = Fork(relay)
        for index in range(load.calls):
            stream = relay.add_stream(ports.allocate(), ports.allocate())
            for side, address in ((Side.CALLER, CALLER), (Side.CALLEE, CALLEE)):
                port = FAR_BASE + 2 * index
                relay.set_remote(stream, side, Remote(address, port, None), Latch.ADDRESS)
            relay.set_gate(stream, True)
            if with_fork:
                relay.start_fork(stream)
        ready.send("READY")
        while not ready.poll(DRAIN_SECONDS):
            if with_fork:
                fork.drain()


def sink(sockets: list[socket.socket], stop: Connection) -> None:
    """Take what arrives until told to stop, then tell the delays."""
    selector = selectors.DefaultSelector()
    for endpoint in sockets:
        endpoint.setblocking(False)
        selector.register(endpoint, selectors.EVENT_READ)
    selector.register(stop, selectors.EVENT_READ)
    delays: list[float] = []
    while True:
        for key, _ in selector.select():
            if not isinstance(key.fileobj, socket.socket):
                stop.send(delays)
                return
            data, control, _, _ = key.fileobj.recvmsg(2048, socket.CMSG_SPACE(STAMP.size))
            seconds, nanoseconds = STAMP.unpack(control[0][2])
            (sent_ns,) = PAYLOAD.unpack_from(data, len(HEADER))
            delays.append((seconds * 10**9 + nanoseconds - sent_ns) / 1000)


def cpu_ns(pid: int) -> int:
    """CPU time of another process; the clock number is that of clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def measure(pid: int, targets: list[tuple[str, int]], load: Load) -> Run:
    """Send as much as G.711 both ways of each call."""
    calls = len(targets) // 2
    phones = []
    for address in (CALLER, CALLEE):
        for index in range(calls):
            endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            endpoint.bind((address, FAR_BASE + 2 * index))
            endpoint.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            phones.append(endpoint)
    ours, theirs = _FORK.Pipe()
    receiver = _FORK.Process(target=sink, args=(phones, theirs))
    receiver.start()
    # The phones are shared with the sink: it must be up before anything is counted.
    time.sleep(1.0)
    order = [k // 2 + (k % 2) * calls for k in range(2 * calls)]
    pace_ns = int(load.frame_ms * 1e6) // len(order)
    sent, start, used = 0, time.monotonic_ns(), cpu_ns(pid)
    while (now := time.monotonic_ns()) - start < load.seconds * 1e9:
        while sent * pace_ns <= now - start:
            k = order[sent % len(order)]
            phones[k].sendto(HEADER + PAYLOAD.pack(time.time_ns()), targets[k])
            sent += 1
        time.sleep(pace_ns / 1e9)
    time.sleep(0.2)
    used = cpu_ns(pid) - used
    ours.send("stop")
    delays: list[float] = sorted(ours.recv())
    receiver.join()
    for endpoint in phones:
        endpoint.close()
    return Run(
        cost=used / 1000 / sent,
        lost=1 - len(delays) / sent,
        delay=delays[len(delays) // 2],
        delay_p99=delays[len(delays) * 99 // 100],
    )


def run_engine(load: Load, io: IoChoice, *, with_fork: bool) -> Run:
    """Measure the engine in a process of its own."""
    ours, theirs = _SPAWN.Pipe()
    process: BaseProcess = _SPAWN.Process(target=engine, args=(load, io, with_fork, theirs))
    process.start()
    try:
        ours.recv()
        targets = [(RELAY, load.base + 4 * k) for k in range(load.calls)] + [
            (RELAY, load.base + 4 * k + 2) for k in range(load.calls)
        ]
        return measure(process.pid or 0, targets, load)
    finally:
        ours.send("stop")
        process.join()


def run_bare(program: Path, load: Load, mode: str) -> Run:
    """Measure the bare relay."""
    process = subprocess.Popen(
        [program, str(load.calls), str(load.base), f"{CALLER}:{FAR_BASE}", f"{CALLEE}:{FAR_BASE}", mode],
        stdout=subprocess.PIPE,
    )
    try:
        if process.stdout is None or process.stdout.readline().strip() != b"READY":
            raise SystemExit(f"the bare relay did not start on ports {load.base} and up")
        targets = [(RELAY, load.base + 2 * k) for k in range(load.calls)] + [
            (RELAY, load.base + 2 * k + 1) for k in range(load.calls)
        ]
        return measure(process.pid, targets, load)
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bare", type=Path, required=True, help="source of the bare relay")
    parser.add_argument("--base", type=int, default=12000, help="first port of the relays, even")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frame-ms", type=float, default=20.0, help="longer, to try many calls")
    options = parser.parse_args()
    load = Load(options.calls, options.base, options.seconds, options.frame_ms)
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "relay"
        subprocess.run(["gcc", "-O2", "-o", program, options.bare, "-lcrypto"], check=True)
        contestants: dict[str, Callable[[], Run]] = {
            "bare": lambda: run_bare(program, load, "plain"),
            "bare, copy": lambda: run_bare(program, load, "copy"),
            "epoll": lambda: run_engine(load, "epoll", with_fork=False),
            "epoll, fork": lambda: run_engine(load, "epoll", with_fork=True),
            "io_uring": lambda: run_engine(load, "io_uring", with_fork=False),
            "io_uring, fork": lambda: run_engine(load, "io_uring", with_fork=True),
        }
        results: dict[str, list[Run]] = {name: [] for name in contestants}
        for _ in range(options.rounds):
            for name, run in contestants.items():
                results[name].append(run())
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(
        f"{options.calls} calls, {options.rounds} rounds of {options.seconds} s, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    bare = statistics.median(run.cost for run in results["bare"])
    for name, runs in results.items():
        cost = statistics.median(run.cost for run in runs)
        print(
            f"{name:14} {cost:6.2f} us a packet ({min(run.cost for run in runs):.2f} to "
            f"{max(run.cost for run in runs):.2f}), {cost / bare:.2f} of bare, "
            f"delay {statistics.median(run.delay for run in runs):4.0f} us, "
            f"p99 {statistics.median(run.delay_p99 for run in runs):4.0f} us, "
            f"lost at most {max(run.lost for run in runs):.2%}"
        )


if __name__ == "__main__":
    main()
