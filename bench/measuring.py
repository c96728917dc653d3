"""One measurement: a target started, loaded, read off, ended; its row."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from accounting import Snapshot, Used, between, dropped, memory_kb, snapshot, thread_count
from launching import Running
from proxy import Held
from results import Conditions, Disturbance, MediaRow, SetupRow
from targets import CALLEE, CALLEE_RTP, CALLER, CALLER_RTP, RELAY_BASE, Installed, Site, Target

_SETUP_CALLS: Final = 2000  # at once, that a target must hold when set-ups are measured
_SECONDS_AROUND: Final = 1.0  # of a recording that the window need not fill


class GeneratorError(Exception):
    """The generator ended without a result."""


@dataclass(frozen=True, slots=True)
class Rig:
    """What all measurements of a batch share.

    Attributes:
        batch: Name of the batch.
        machine: What the measurements are true of.
        load: The compiled generator.
        relay: The compiled bare relay.
        peers: Root of the peers' own Debian.
        configurations: The peers' configuration files.
        cache: For logs, scratch directories and announcements.
        recproxy: How recproxy is run.
        generator_core: Core of the generator.
        target_core: Core of the target.
        quantum_us: The generator sends in steps of this size.
        settle_s: From the last answer to the window; announcements must be over by then.
    """

    batch: str
    machine: str
    load: Path
    relay: Path
    peers: Path
    configurations: Path
    cache: Path
    recproxy: tuple[str, ...]
    generator_core: int
    target_core: int
    quantum_us: int
    settle_s: float

    @property
    def logs(self) -> Path:
        """Where the targets' output goes."""
        return self.cache / "logs"


@dataclass(frozen=True, slots=True)
class Load:
    """What the generator does.

    Attributes:
        calls: Calls at once.
        window_s: Seconds measured.
        series: What the row is for.
        ramp: Calls set up a second.
        frame_ms: Milliseconds of audio in a packet.
    """

    calls: int
    window_s: float
    series: str = "cost"
    ramp: int = 50
    frame_ms: int = 20


def measure_media(rig: Rig, target: Target, load: Load, round_number: int) -> MediaRow:
    """Hold calls with media and read off what that costs.

    Raises:
        LaunchError: The target did not start or did not stay.
        GeneratorError: The generator broke off.
    """
    arguments = [
        *("--mode", target.route.value, "--n", str(load.calls), "--rate", str(load.ramp)),
        *("--settle", str(rig.settle_s), "--window", str(load.window_s), "--frame-ms", str(load.frame_ms)),
        *("--quantum", str(rig.quantum_us), "--relay-base", str(RELAY_BASE)),
        *("--uac-rtp", str(CALLER_RTP), "--uas-rtp", str(CALLEE_RTP)),
    ]
    date = _now()
    with _installed(rig, target, load.calls) as (installed, running):
        idle_kb = memory_kb(running.pids)
        window = _Window(rig, running)
        with _generator(rig, arguments) as generator:
            found = window.watch(generator)
        running.check()
        running.stop()
        lines = running.output(0) if installed.programs else []
        fault = installed.fault(Held(lines, load.calls, window.begun, load.window_s - _SECONDS_AROUND))
        files = _files(installed.recordings)
    used = window.used
    return MediaRow(
        target=target.name,
        series=load.series,
        calls=load.calls,
        round=round_number,
        date=date,
        conditions=_conditions(rig, load.window_s, load.frame_ms),
        disturbance=Disturbance(
            foreign_core_pct=_pct(used.foreign_core, used.seconds),
            foreign_machine_pct=_pct(used.foreign_machine, used.seconds),
            steal_pct=_pct(used.stolen, used.seconds),
            generator_pct=_pct(found["generator_cpu_s"], found["window_s"]),
            late_us_p99=found["late_us_p99"],
            generator_drops=window.generator_drops,
            send_errors=found["send_errors"],
        ),
        cpu_pct=_pct(used.target, used.seconds),
        cpu_by={name: _pct(spent, used.seconds) for name, spent in used.target_by.items()},
        kernel_pct=_pct(used.kernel, used.seconds),
        threads=window.threads,
        pss_idle_kb=idle_kb,
        pss_busy_kb=window.busy_kb,
        answered=found["answered"],
        failed=found["failed"],
        last_failure=found["last_failure"],
        sent=found["sent"],
        received=found["received"],
        dead_streams=found["dead_streams"],
        bypassed=found["bypassed"],
        altered=found["altered"],
        alien=found["window_alien"],
        crosstalk=found["crosstalk"],
        delay_us_p50=found["delay_us_p50"],
        delay_us_p99=found["delay_us_p99"],
        delay_us_p999=found["delay_us_p999"],
        recorded_files=files[0],
        recorded_bytes=files[1],
        recording_fault=fault,
    )


def measure_setup(
    rig: Rig, target: Target, rate: int, seconds: float, hold_ms: int, round_number: int
) -> SetupRow:
    """Set calls up and end them at a steady rate.

    Raises:
        LaunchError: The target did not start or did not stay.
        GeneratorError: The generator broke off.
    """
    arguments = ["--mode", "setup", "--rate", str(rate), "--window", str(seconds), "--hold", str(hold_ms)]
    date = _now()
    with _installed(rig, target, _SETUP_CALLS) as (_, running):
        before, own = snapshot(running.pids, [os.getpid()]), _children_s()
        with _generator(rig, arguments) as generator:
            found = _result(generator, lambda _event: None)
            generator.wait()
        own = _children_s() - own
        used = between(before, snapshot(running.pids, [os.getpid()]), rig.target_core)
        running.check()
    return SetupRow(
        target=target.name,
        rate=rate,
        round=round_number,
        date=date,
        conditions=_conditions(rig, seconds, 0),
        disturbance=Disturbance(
            foreign_core_pct=_pct(used.foreign_core, used.seconds),
            foreign_machine_pct=_pct(max(0.0, used.foreign_machine - own), used.seconds),
            steal_pct=_pct(used.stolen, used.seconds),
            generator_pct=_pct(own, used.seconds),
        ),
        made=found["calls"],
        answered=found["answered"],
        failed=found["failed"],
        last_failure=found["last_failure"],
        repeated=found["repeated_invites"] + found["repeated_answers"] + found["repeated_byes"],
        setup_us_p50=found["setup_us_p50"],
        setup_us_p99=found["setup_us_p99"],
        cpu_s=used.target,
        wall_s=used.seconds,
    )


# ---------------------------------------------------------------- parts


class _Window:
    """Reads the machine off when the generator says that its window begins and ends."""

    def __init__(self, rig: Rig, running: Running) -> None:
        self._rig = rig
        self._running = running
        self._before: Snapshot | None = None
        self._after: Snapshot | None = None
        self.begun = datetime.now(UTC)
        self.generator_drops = 0
        self.busy_kb = 0
        self.threads = 0

    @property
    def used(self) -> Used:
        """What happened inside it."""
        if self._before is None or self._after is None:
            raise GeneratorError("the generator never opened or closed its window")
        return between(self._before, self._after, self._rig.target_core)

    def watch(self, generator: subprocess.Popen[str]) -> dict[str, Any]:
        """Follow the generator to its end; returns its result."""
        drops = 0

        def on(event: str) -> None:
            nonlocal drops
            pids = self._running.pids
            ours = [generator.pid, os.getpid()]
            if event == "window_start":
                self.begun, drops = datetime.now(UTC), dropped([CALLER, CALLEE])
                self._before = snapshot(pids, ours)
            elif event == "window_end":
                self._after = snapshot(pids, ours)
                self.generator_drops = dropped([CALLER, CALLEE]) - drops
                self.busy_kb, self.threads = memory_kb(pids), thread_count(pids)

        return _result(generator, on)


@contextmanager
def _installed(rig: Rig, target: Target, calls: int) -> Iterator[tuple[Installed, Running]]:
    """The target, running; what it wrote is gone afterwards."""
    rig.logs.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=rig.cache))
    site = Site(rig.peers, rig.configurations, scratch, rig.cache / "prompts", rig.relay, rig.recproxy)
    try:
        installed = target.install(site, calls)
        os.sync()  # what the run before it wrote is not written back in this one
        with Running(installed.programs, rig.target_core, rig.logs) as running:
            yield installed, running
    finally:
        shutil.rmtree(scratch)
        shutil.rmtree(rig.peers / "bench", ignore_errors=True)


@contextmanager
def _generator(rig: Rig, arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    argv = [
        *("taskset", "-c", str(rig.generator_core), str(rig.load), "--sut", "127.0.0.1:5060"),
        *("--uac", f"{CALLER}:5060", "--uas", f"{CALLEE}:5060", *arguments),
    ]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as generator:
        try:
            yield generator
        finally:
            if generator.poll() is None:
                generator.terminate()


def _result(generator: subprocess.Popen[str], on: Callable[[str], None]) -> dict[str, Any]:
    if generator.stdout is None:
        raise GeneratorError("the generator has no output")
    for line in generator.stdout:
        kind, _, rest = line.strip().partition(" ")
        if kind == "EVENT":
            on(rest.partition(" ")[0])
        elif kind == "RESULT":
            found: dict[str, Any] = json.loads(rest)
            return found
    raise GeneratorError(f"the generator ended with {generator.wait()} and no result")


def _files(directory: Path | None) -> tuple[int, int]:
    if directory is None or not directory.is_dir():
        return 0, 0
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _conditions(rig: Rig, window_s: float, frame_ms: int) -> Conditions:
    return Conditions(
        batch=rig.batch,
        machine=rig.machine,
        window_s=window_s,
        quantum_us=rig.quantum_us,
        frame_ms=frame_ms,
        settle_s=rig.settle_s,
    )


def _pct(spent: float, seconds: float) -> float:
    return round(100 * spent / max(seconds, 1e-9), 4)


def _children_s() -> float:
    """CPU seconds of children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
