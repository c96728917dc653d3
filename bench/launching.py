"""Programs under test: started on one core, waited for by what they say or answer, ended by id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

from accounting import descendants

_LOOK_S: Final = 0.05
_END_S: Final = 120.0  # recordings are sealed, however slow the disk is


class LaunchError(Exception):
    """A program did not start, or ended early."""


class NotOfferedError(LaunchError):
    """A program says that it does not have what the target needs."""


@dataclass(frozen=True, slots=True)
class Says:
    """Ready when a line of its output contains this."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswersUdp:
    """Ready when a datagram to this port of 127.0.0.1 is answered."""

    port: int
    question: bytes


@dataclass(frozen=True, slots=True)
class Succeeds:
    """Ready when this command succeeds."""

    argv: tuple[str, ...]


Ready: TypeAlias = Says | AnswersUdp | Succeeds


def answers_options(address: str) -> AnswersUdp:
    """Ready when it answers SIP OPTIONS on port 5060; asked from ``address``."""
    question = (
        "OPTIONS sip:127.0.0.1:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {address}:5060;branch=z9hG4bKready;rport\r\nMax-Forwards: 70\r\n"
        f"From: <sip:bench@{address}>;tag=ready\r\nTo: <sip:127.0.0.1>\r\nCall-ID: ready@{address}\r\n"
        f"CSeq: 1 OPTIONS\r\nContact: <sip:bench@{address}:5060>\r\nContent-Length: 0\r\n\r\n"
    )
    return AnswersUdp(5060, question.encode())


@dataclass(frozen=True, slots=True)
class Program:
    """One program of a target.

    Attributes:
        name: For messages and the name of its log.
        argv: How it is started.
        ready: When it is.
        not_offered: If its output contains one of these when it ends early, it is not at fault.
    """

    name: str
    argv: tuple[str, ...]
    ready: Ready
    not_offered: tuple[str, ...] = ()


class Running:
    """Programs of a target while they run. A context manager: leaving it ends them.

    Args:
        programs: Started in this order, each when the one before is ready.
        core: That all of them are bound to.
        logs: Directory for their output.
        within_s: Time for each to get ready.

    Raises:
        LaunchError: One did not get ready; those that run have been ended.
        NotOfferedError: One does not offer what is asked of it.
    """

    def __init__(self, programs: Sequence[Program], core: int, logs: Path, within_s: float = 60.0) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[Path] = []
        try:
            for program in programs:
                self._start(program, core, logs, within_s)
        except BaseException:
            self.stop()
            raise

    @property
    def pids(self) -> list[int]:
        """All processes of all programs."""
        return descendants([process.pid for process in self._processes])

    def output(self, index: int) -> list[str]:
        """What a program has said."""
        return self._logs[index].read_text(encoding="utf-8", errors="replace").splitlines()

    def check(self) -> None:
        """See that all still run.

        Raises:
            LaunchError: One has ended.
        """
        for process, log in zip(self._processes, self._logs, strict=True):
            if process.poll() is not None:
                raise LaunchError(f"{log.stem} ended with {process.returncode}{_tail(log)}")

    def stop(self) -> None:
        """Ask them to end, last one first; after a while make them."""
        pids = self.pids
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _END_S
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        for process in self._processes:
            process.wait()
        for pid in pids:  # children that outlived their parents
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, program: Program, core: int, logs: Path, within_s: float) -> None:
        log = logs / f"{program.name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["taskset", "-c", str(core), *program.argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        self._logs.append(log)
        is_ready = _test(program.ready, log)
        deadline = time.monotonic() + within_s
        while not is_ready():
            if process.poll() is not None:
                said = log.read_text(encoding="utf-8", errors="replace")
                for missing in program.not_offered:
                    if missing in said:
                        raise NotOfferedError(f"{program.name} does not offer this: {missing}")
                raise LaunchError(f"{program.name} ended with {process.returncode}{_tail(log)}")
            if time.monotonic() > deadline:
                raise LaunchError(f"{program.name} was not ready within {within_s:.0f} s{_tail(log)}")
            time.sleep(_LOOK_S)


def _test(ready: Ready, log: Path) -> Callable[[], bool]:
    match ready:
        case Says():
            return lambda: ready.text.encode() in log.read_bytes()
        case AnswersUdp():
            return lambda: _answers(ready)
        case Succeeds():
            return lambda: subprocess.run(ready.argv, capture_output=True, check=False).returncode == 0


def _answers(ready: AnswersUdp) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind(("127.0.0.2", 0))
        asking.settimeout(0.2)
        try:
            asking.sendto(ready.question, ("127.0.0.1", ready.port))
            return bool(asking.recv(4096))
        except OSError:
            return False


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
    return "".join(f"\n    {line}" for line in lines)
