"""CPU time a packet: the RTP engine against a bare C relay, in one run, on loopback.

The bare relay is a C program of the form `relay N BASE A_IP:BASE B_IP:BASE [plain|copy]` that
binds BASE+2i and BASE+2i+1 on 127.0.0.1 for call i and forwards between A_IP:A_BASE+2i and
B_IP:B_BASE+2i. Each round measures every contestant once, so that noise hits them alike; CPU time
is that of the contestant's whole process, the interpreter and the draining of the fork included.

    python bench/relay_cost.py --bare path/to/relay.c --calls 100 --seconds 4 --rounds 5
"""

import argparse
import os
import selectors
import socket
import statistics
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
PACKET = bytes((0x80, 0, 0, 1)) + bytes(8) + b"\xd5" * 160

_SPAWN = get_context("spawn")
_FORK = get_context("fork")


@dataclass(frozen=True, slots=True)
class Load:
    """How many calls, for how long, the time between two packets of one party, first port."""

    calls: int
    base: int
    seconds: float
    frame_ms: float


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
    """Count what arrives until told to stop."""
    selector = selectors.DefaultSelector()
    for endpoint in sockets:
        endpoint.setblocking(False)
        selector.register(endpoint, selectors.EVENT_READ)
    selector.register(stop, selectors.EVENT_READ)
    received = 0
    while True:
        for key, _ in selector.select():
            if key.fileobj is stop:
                stop.send(received)
                return
            os.read(key.fd, 2048)
            received += 1


def cpu_ns(pid: int) -> int:
    """CPU time of another process; the clock number is that of clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def measure(pid: int, targets: list[tuple[str, int]], load: Load) -> tuple[float, float]:
    """Send G.711 both ways of each call; microseconds a packet, and the share lost."""
    calls = len(targets) // 2
    phones = []
    for address in (CALLER, CALLEE):
        for index in range(calls):
            endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            endpoint.bind((address, FAR_BASE + 2 * index))
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
            phones[k].sendto(PACKET, targets[k])
            sent += 1
        time.sleep(pace_ns / 1e9)
    time.sleep(0.2)
    used = cpu_ns(pid) - used
    ours.send("stop")
    received = int(ours.recv())
    receiver.join()
    for endpoint in phones:
        endpoint.close()
    return used / 1000 / sent, 1 - received / sent


def run_engine(load: Load, io: IoChoice, *, with_fork: bool) -> tuple[float, float]:
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


def run_bare(program: Path, load: Load, mode: str) -> tuple[float, float]:
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
        contestants: dict[str, Callable[[], tuple[float, float]]] = {
            "bare": lambda: run_bare(program, load, "plain"),
            "bare, copy": lambda: run_bare(program, load, "copy"),
            "epoll": lambda: run_engine(load, "epoll", with_fork=False),
            "epoll, fork": lambda: run_engine(load, "epoll", with_fork=True),
            "io_uring": lambda: run_engine(load, "io_uring", with_fork=False),
            "io_uring, fork": lambda: run_engine(load, "io_uring", with_fork=True),
        }
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for _ in range(options.rounds):
            for name, run in contestants.items():
                results[name].append(run())
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(
        f"{options.calls} calls, {options.rounds} rounds of {options.seconds} s, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    bare = statistics.median(cost for cost, _ in results["bare"])
    for name, runs in results.items():
        costs = sorted(cost for cost, _ in runs)
        lost = max(loss for _, loss in runs)
        print(
            f"{name:14} {statistics.median(costs):6.2f} us a packet ({costs[0]:.2f} to {costs[-1]:.2f}), "
            f"{statistics.median(costs) / bare:.2f} of bare, lost at most {lost:.2%}"
        )


if __name__ == "__main__":
    main()
