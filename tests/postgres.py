"""A PostgreSQL server of a test: Debian's, a process of its own on a Unix socket of its own.

It runs as an unprivileged user (it refuses to be root), asks for a password, and is
reached by nobody through the network.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from processes import Process
from psycopg import sql

ROLE = "recproxy"
PASSWORD = "swordfish of the tests"  # noqa: S105 - of a server that lives as long as a test
_UNPRIVILEGED = "nobody"


def programs() -> Path:
    """Where the server's programs are; skips the test if they are nowhere."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        pytest.skip("PostgreSQL is not installed: make dev does that")
    return Path(on_path).resolve().parent


@dataclass(slots=True)
class Postgres:
    """A running server.

    Attributes:
        socket: Directory of its Unix socket.
        argv: How it is run.
        process: It, while it runs.
    """

    socket: Path
    argv: tuple[str, ...]
    process: Process | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def start(self) -> None:
        """Start it and wait until it can be used."""
        self.process = Process(self.argv, name="postgres", directory=self.socket)
        self.process.wait_line(
            lambda line: "ready to accept connections" in line, what="that it is ready", within_s=60
        )

    def stop(self) -> None:
        """End it at once; what was committed is there when it starts again."""
        if self.process is not None:
            self.process.signal(signal.SIGQUIT)
            self.process.wait(within_s=30)
            self.process.close()
            self.process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing of it runs, though the kernel still takes connections and words for it."""
        with self.freezing() as freeze:
            freeze()
            yield

    @contextlib.contextmanager
    def freezing(self) -> Iterator[Callable[[], None]]:
        """The same, from the call of what this gives; it runs again at the end."""
        frozen: list[int] = []

        def freeze() -> None:
            assert self.process is not None
            postmaster = self.process.pid
            children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
            for pid in (postmaster, *map(int, children)):  # its children are in groups of their own
                os.kill(pid, signal.SIGSTOP)
                frozen.append(pid)

        try:
            yield freeze
        finally:
            for pid in frozen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database, without the password."""
        return f"postgresql+psycopg://{ROLE}@/{database}?host={self.socket}"

    def database(self) -> str:
        """Make an empty database; returns its URL."""
        name = f"catalogue_{next(self._numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self.url(name)

    def connect(self, database: str) -> psycopg.Connection:
        """A connection of the test's own; every statement commits by itself."""
        return psycopg.connect(
            host=str(self.socket), user=ROLE, password=PASSWORD, dbname=database, autocommit=True
        )


def _as_unprivileged(*argv: str) -> list[str]:
    """Run it as a user that it accepts; it ends with the process that runs the tests, however that ends."""
    ends_with_us = ["setpriv", "--pdeathsig=QUIT"]
    if os.geteuid() != 0:
        return [*ends_with_us, "--", *argv]
    group = subprocess.run(
        ["id", "-g", _UNPRIVILEGED], capture_output=True, text=True, check=True
    ).stdout.strip()
    return [*ends_with_us, f"--reuid={_UNPRIVILEGED}", f"--regid={group}", "--clear-groups", "--", *argv]


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server; it and all that it holds are gone afterwards."""
    bin_directory = programs()
    # Not below the directory of the test, which is closed to other users; and a socket's path is short.
    home = Path(tempfile.mkdtemp(prefix="recproxy-pg-", dir="/tmp"))
    try:
        (home / "password").write_text(PASSWORD + "\n")
        if os.geteuid() == 0:
            for path in (home, home / "password"):
                shutil.chown(path, _UNPRIVILEGED)
        data = home / "data"
        made = subprocess.run(
            _as_unprivileged(
                *(str(bin_directory / "initdb"), "--pgdata", str(data), "--username", ROLE),
                *("--pwfile", str(home / "password"), "--auth=scram-sha-256"),
                *("--no-locale", "--encoding=UTF8", "--no-sync"),
            ),
            capture_output=True,
            text=True,
            check=False,
            cwd=home,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        # Without fsync: nothing here outlives the machine, and what survives kill -9 is in the page cache.
        settings = ("listen_addresses=", f"unix_socket_directories={home}", "fsync=off", "max_connections=60")
        server = Postgres(
            home,
            tuple(
                _as_unprivileged(
                    *(str(bin_directory / "postgres"), "-D", str(data)),
                    *itertools.chain.from_iterable(("-c", setting) for setting in settings),
                )
            ),
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home)
