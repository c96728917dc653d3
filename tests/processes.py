"""Processes of a test: started by argv, read line by line, ended by their own pid."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from closing import Closing


class ProcessError(AssertionError):
    """A process of the test failed, ended early, or did not say what was waited for."""


def resident_kib(pid: int) -> int:
    """Memory that a process holds, from /proc."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


class Process(Closing):
    """A running program whose output is collected. A context manager: leaving it ends it."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        merge_stderr: bool = True,
    ) -> None:
        self.name: str = name
        self.argv: tuple[str, ...] = tuple(argv)
        self._said = threading.Condition()
        self._lines: list[str] = []
        self._times: list[int] = []
        self._errors: list[str] = []
        self._process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge_stderr else subprocess.PIPE,
            cwd=directory,
            env=None if environment is None else dict(environment),
            text=True,
            errors="replace",
        )
        self._readers = [threading.Thread(target=self._read, name=f"out {name}", daemon=True)]
        if not merge_stderr:
            self._readers.append(threading.Thread(target=self._read_errors, name=f"err {name}", daemon=True))
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.poll()

    @property
    def lines(self) -> list[str]:
        """What it said so far, without line ends."""
        with self._said:
            return list(self._lines)

    @property
    def errors(self) -> list[str]:
        """What it said on stderr so far, if that is kept apart."""
        with self._said:
            return list(self._errors)

    def said_ns(self, index: int) -> int:
        """When line ``index`` was read, CLOCK_MONOTONIC."""
        with self._said:
            return self._times[index]

    def wait_line(
        self, wanted: Callable[[str], bool], *, what: str, within_s: float = 30.0, start: int = 0
    ) -> int:
        """Wait for a line from index ``start`` on; returns its index.

        Raises:
            ProcessError: The process ended, or the time did.
        """
        deadline = time.monotonic() + within_s
        with self._said:
            at = start
            while True:
                while at < len(self._lines):
                    if wanted(self._lines[at]):
                        return at
                    at += 1
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ProcessError(f"{self.name} did not say {what} within {within_s:g} s{self._tail()}")
                if not self._readers[0].is_alive() and at >= len(self._lines):
                    raise ProcessError(
                        f"{self.name} ended ({self._process.wait()}) before it said {what}{self._tail()}"
                    )
                self._said.wait(min(left, 0.5))

    def wait(self, *, within_s: float = 60.0) -> int:
        """Wait until it ends by itself; returns its exit status.

        Raises:
            ProcessError: It still runs.
        """
        try:
            status = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} still runs after {within_s:g} s{self._tail()}") from None
        for reader in self._readers:
            reader.join()
        return status

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a power cut would (SIGKILL)."""
        self._process.kill()
        self.wait()

    def close(self) -> None:
        """End it if it runs, and free what it held."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _tail(self) -> str:
        return "".join(f"\n    {line}" for line in [*self._lines[-15:], *self._errors[-15:]])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._said:
                self._lines.append(line.rstrip("\n"))
                self._times.append(time.monotonic_ns())
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._said:
                self._errors.append(line.rstrip("\n"))


def race(script: str, *arguments: str) -> list[list[int]]:
    """Run a script in two processes that begin together; returns the numbers that each printed.

    Args:
        script: Python. It says ``ready``, waits for a line, does its work, and prints its numbers.
        arguments: Its ``sys.argv``, before the directory of the tests.

    Raises:
        AssertionError: One was not ready, or failed.
    """
    tests = str(Path(__file__).parent)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments, tests],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    told = [one.communicate()[0].split() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    return [[int(number) for number in each] for each in told]
