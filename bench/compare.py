"""recproxy and its peers, compared in one run, in one table.

    compare.py everything              what docs/performance.md shows; 25 minutes at most
    compare.py media --targets relay-c,recproxy --calls 50,100 --rounds 3
    compare.py setup --targets recproxy,asterisk --rates 100,300,600
    compare.py flat                    cost of a call from 50 to 2,000 calls
    compare.py load --calls 400        one target, many calls: loss and delay
    compare.py export                  speed of ``recordings export``
    compare.py table                   of what was measured last; --into writes it into a document
    compare.py list                    the targets

Everything happens on the loopback of a network namespace that ends with this program; so
it needs root, and ``bench/setup.sh`` to have installed the peers. The generator has one
core, the target another. Rounds are interleaved: every target once, then again.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from accounting import machine
from export_speed import archive, measure_export
from launching import LaunchError, NotOfferedError
from measuring import GeneratorError, Load, Rig, measure_media, measure_setup
from proxy import ProxyError
from results import (
    MediaRow,
    ResultsError,
    Row,
    SetupRow,
    decode,
    encode,
)
from table import report
from targets import TARGETS, Target, UnknownTargetError, chosen
from verdicts import (
    Limits,
    faults,
    last_batch,
    refusals,
    saturated,
    summarise,
)

HERE: Final = Path(__file__).resolve().parent
CONTEST: Final = "relay-c,recproxy,recproxy-uring,rtpengine-pcap,asterisk-mix"
_SHARE_OF_MEDIA: Final = 0.7
_BEGIN: Final = "<!-- bench: begin -->"
_END: Final = "<!-- bench: end -->"
_NAMESPACE: Final = "RECPROXY_BENCH_NAMESPACE"
_BROKEN: Final = (LaunchError, GeneratorError, ProxyError, OSError)


def default_cache() -> Path:
    """The bench's part of the cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("RECPROXY_CACHE") or f"{base}/recproxy") / "bench"


@dataclass(slots=True)
class Batch:
    """A run of the bench: measures, writes rows down, repeats what was disturbed.

    Attributes:
        rig: Where.
        file: Where rows go.
        limits: Beyond which a row does not count.
        deadline: CLOCK_MONOTONIC after which nothing new is begun.
        repeats: How often a disturbed measurement is tried again.
        ramp: Calls set up a second before they are held.
    """

    rig: Rig
    file: Path
    limits: Limits
    deadline: float
    repeats: int = 1
    ramp: int = 50

    def rows(self) -> list[Row]:
        """What this batch has measured."""
        return last_batch(read(self.file))

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.deadline

    def take(self, what: str, measure: Callable[[], Row]) -> Row | None:
        """Measure until it counts, or often enough; None if it could not be measured."""
        row: Row | None = None
        for _ in range(1 + self.repeats):
            if self.over:
                say(f"{what}: no time left")
                return row
            try:
                row = measure()
            except NotOfferedError as err:
                say(f"{what}: {err}")
                return None
            except _BROKEN as err:
                say(f"{what}: {err}")
                continue
            self.keep(row)
            refused = refusals(row, self.limits)
            say(f"{what}: {_outcome(row, refused)}")
            if not refused:
                break
        return row

    def keep(self, row: Row) -> None:
        """Write a row down."""
        with self.file.open("ab") as out:
            out.write(encode(row))


def say(line: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _outcome(row: Row, refused: Sequence[str]) -> str:
    if refused:
        return f"refused: {'; '.join(refused)}"
    if failed := faults(row):
        return f"failed: {'; '.join(failed)}"
    match row:
        case MediaRow():
            lost = f", {row.lost} lost" if row.lost else ""
            return f"{row.cost:.4f} % of a core a call, p99 {row.delay_us_p99:.0f} us{lost}"
        case SetupRow():
            return f"{row.cpu_ms_per_call:.2f} ms of CPU a call"
        case _:
            return f"{row.speed:.0f} × real time"


def read(file: Path) -> list[Row]:
    """Rows of a file of results; none if there is no such file."""
    if not file.exists():
        return []
    return decode(file.read_bytes().splitlines(), str(file))


# ---------------------------------------------------------------- the measurements


def media(
    batch: Batch, targets: Sequence[Target], calls: Sequence[int], rounds: int, window_s: float
) -> None:
    """Cost of calls at once; a target that is saturated is spared more calls."""
    spared: set[str] = set()
    for number in range(1, rounds + 1):
        for count in sorted(calls):
            turn = number % max(1, len(targets))  # no target always follows the same other
            for target in [*targets[turn:], *targets[:turn]]:
                if target.name in spared:
                    continue
                what = f"round {number}, {count} calls, {target.name}"
                load = Load(count, window_s, ramp=batch.ramp)
                row = batch.take(what, partial(measure_media, batch.rig, target, load, number))
                if row is None and not batch.over:
                    spared.add(target.name)  # it does not start here
                elif isinstance(row, MediaRow) and not refusals(row, batch.limits) and saturated(row):
                    spared |= {target.name} if count < max(calls) else set()


def flat(batch: Batch, target: Target, calls: Sequence[int], rounds: int, window_s: float) -> None:
    """Cost of a call with few and with many calls; 160 ms of audio a packet, for the generator's sake."""
    for number in range(1, rounds + 1):
        for count in sorted(calls):
            load = Load(count, window_s, series="flat", ramp=batch.ramp, frame_ms=160)
            what = f"flat, round {number}, {count} calls, {target.name}"
            batch.take(what, partial(measure_media, batch.rig, target, load, number))


def load(batch: Batch, target: Target, calls: int, rounds: int, window_s: float) -> None:
    """Loss and delay with many calls."""
    for number in range(1, rounds + 1):
        many = Load(calls, window_s, series="load", ramp=batch.ramp)
        what = f"load, round {number}, {calls} calls, {target.name}"
        batch.take(what, partial(measure_media, batch.rig, target, many, number))


def calls_for(rows: Sequence[Row], limits: Limits, target: str, share_pct: float, most: int) -> int | None:
    """Calls that take this share of a core, by what the target was measured to cost."""
    found = [s for s in summarise(rows, limits) if s.target == target and s.cost is not None]
    if not found:
        return None
    cost = max(found, key=lambda summary: summary.calls).cost
    return None if cost is None or cost.median <= 0 else min(most, round(share_pct / cost.median / 10) * 10)


def setup(batch: Batch, targets: Sequence[Target], rates: Sequence[int], seconds: float) -> None:
    """Ever more calls a second, until one fails."""
    for target in targets:
        for rate in sorted(rates):
            what = f"{rate} calls a second, {target.name}"
            row = batch.take(what, partial(measure_setup, batch.rig, target, rate, seconds, 200, 1))
            if row is None or (not refusals(row, batch.limits) and faults(row)):
                break


def export(batch: Batch, audio_s: int, formats: tuple[str, ...], rounds: int) -> None:
    """Speed of the export of a long recording."""
    try:
        with archive(batch.rig, audio_s) as proxy:
            for number in range(1, rounds + 1):
                for kind in formats:
                    what = f"round {number}, export to {kind}"
                    batch.take(what, partial(measure_export, batch.rig, proxy, audio_s, kind, number))
    except _BROKEN as err:
        say(f"export: {err}")


def everything(batch: Batch, options: argparse.Namespace) -> None:
    """All that docs/performance.md shows, in the order of its worth."""
    proxy, start, end = TARGETS["recproxy"], time.monotonic(), batch.deadline
    batch.deadline = start + _SHARE_OF_MEDIA * (end - start)  # repeats must not take all the time
    media(batch, chosen(options.targets), options.calls, options.rounds, options.window)
    batch.deadline = end
    setup(batch, chosen("recproxy,asterisk"), options.rates, 5)
    export(batch, 3600, ("wav", "flac"), 3)
    if count := calls_for(batch.rows(), batch.limits, proxy.name, 60, options.most):
        load(batch, proxy, count, options.rounds, options.window)
    flat(batch, proxy, (50, 2000), options.rounds, options.window)


# ---------------------------------------------------------------- around them


def _programs() -> tuple[Path, Path]:
    def built(name: str) -> Path:
        done = subprocess.run([HERE / "build.sh", name], stdout=subprocess.PIPE, text=True, check=True)
        return Path(done.stdout.strip())

    return built("load"), built("relay")


def enter_namespace() -> None:
    """Go on in network and mount namespaces of our own, with nothing but loopback."""
    if os.environ.get(_NAMESPACE) != "entered":
        os.environ[_NAMESPACE] = "entered"
        argv = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv]
        os.execvp(argv[0], argv)  # noqa: S606 - a fixed argv
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _mount(peers: Path) -> None:
    """What the peers need in their root; gone with the namespace."""
    for name in ("proc", "dev"):
        subprocess.run(["mount", "--bind", f"/{name}", str(peers / name)], check=True)


def _versions(peers: Path) -> list[str]:
    """Packages of the peers with their versions."""
    if not (peers / "bin").exists():
        return []
    names = ("asterisk", "rtpengine-daemon", "kamailio")
    argv = ["chroot", str(peers), "dpkg-query", "-W", "-f", "${Package} ${Version}\n", *names]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


def into(document: str, text: str) -> str:
    """A document with what stands between its marks replaced.

    Raises:
        ResultsError: It has no marks.
    """
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ResultsError(f"the document has no lines {_BEGIN} and {_END} to write between")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One bench at a time."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another bench runs: waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _batch(options: argparse.Namespace) -> Batch:
    built = _programs()
    peers = Path(os.environ.get("RECPROXY_BENCH_PEERS") or options.cache / "peers")
    if (peers / "bin").exists():
        _mount(peers)
    rig = Rig(
        batch=datetime.now(UTC).isoformat(timespec="seconds"),
        machine="; ".join([machine(), *_versions(peers)]),
        load=built[0],
        relay=built[1],
        peers=peers,
        configurations=HERE / "peers",
        cache=options.cache,
        recproxy=tuple(shlex.split(options.recproxy)),
        generator_core=options.generator_core,
        target_core=options.target_core,
        quantum_us=options.quantum,
        settle_s=options.settle,
    )
    deadline = time.monotonic() + options.minutes * 60
    return Batch(rig, options.file, Limits(), deadline, options.repeats, options.ramp)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cache = default_cache()
    commands = ("everything", "media", "setup", "flat", "load", "export", "table", "list")
    parser.add_argument("command", choices=commands)
    parser.add_argument("--targets", default=CONTEST, help="names, separated by commas")
    parser.add_argument("--calls", type=_numbers, default=[50, 100, 200], help="calls at once")
    parser.add_argument("--rates", type=_numbers, default=[100, 200, 300, 400, 600], help="set-ups a second")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of everything")
    parser.add_argument("--window", type=float, default=10, help="seconds measured")
    parser.add_argument("--settle", type=float, default=3, help="seconds from the last answer to the window")
    parser.add_argument("--ramp", type=int, default=50, help="calls set up a second before they are held")
    parser.add_argument("--quantum", type=int, default=250, help="us; the generator sends in such steps")
    parser.add_argument("--most", type=int, default=450, help="calls that the generator can hold")
    parser.add_argument("--minutes", type=float, default=23, help="after which nothing new is begun")
    parser.add_argument("--repeats", type=int, default=1, help="more tries of what was disturbed")
    parser.add_argument("--generator-core", type=int, default=0)
    parser.add_argument("--target-core", type=int, default=1)
    parser.add_argument("--recproxy", default=f"{sys.executable} -m recproxy", help="how recproxy is run")
    parser.add_argument("--cache", type=Path, default=cache, help="for everything that is written")
    parser.add_argument("--into", type=Path, help="document whose table is replaced by what was measured")
    parser.add_argument("--file", type=Path, help="results; default: results.jsonl in the cache")
    options = parser.parse_args(argv)
    options.file = options.file or options.cache / "results.jsonl"
    return options


def _measure(options: argparse.Namespace) -> None:
    batch = _batch(options)
    targets = chosen(options.targets)
    match options.command:
        case "everything":
            everything(batch, options)
        case "media":
            media(batch, targets, options.calls, options.rounds, options.window)
        case "setup":
            setup(batch, targets, options.rates, 5)
        case "flat":
            flat(batch, targets[0], options.calls, options.rounds, options.window)
        case "load":
            load(batch, targets[0], max(options.calls), options.rounds, options.window)
        case _:
            export(batch, 3600, ("wav", "flac"), options.rounds)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(130)  # the targets are ended on the way out


def main(argv: Sequence[str]) -> int:
    """Run the bench; returns the exit code."""
    options = _options(argv)
    if options.command == "list":
        width = max(len(name) for name in TARGETS)
        print("\n".join(f"{target.name:{width}}  {target.what}" for target in TARGETS.values()))
        return 0
    if options.command != "table":
        if os.geteuid() != 0:
            print("bench: error: a network namespace needs root", file=sys.stderr)
            return 1
        enter_namespace()
        signal.signal(signal.SIGTERM, _stop)
        os.sched_setaffinity(0, {options.generator_core})
        with _alone(options.cache):
            _measure(options)
    rows = last_batch(read(options.file))
    if not rows:
        print(f"bench: error: nothing was measured into {options.file}", file=sys.stderr)
        return 1
    shown = f"{rows[0].conditions.batch}, {rows[0].conditions.machine}\n\n{report(rows, Limits())}"
    if options.into is not None:
        document = options.into.read_text(encoding="utf-8")
        options.into.write_text(into(document, shown), encoding="utf-8")
    print(shown)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except (ResultsError, UnknownTargetError) as err:
        raise SystemExit(f"bench: error: {err}") from err
