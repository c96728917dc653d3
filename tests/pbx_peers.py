"""Asterisk and Kamailio of Debian sid, as processes of a test.

They live in a root of their own, which ``bench/setup.sh`` makes. Each process has a
mount namespace in which the test's directory is ``/pbx``, and ends by its own pid.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from closing import Closing
from peers import bound
from processes import Process, ProcessError

_ENTER = """\
mount --bind /proc "$1/proc" && mount --bind /dev "$1/dev" && mount --bind "$2" "$1/pbx" || exit 1
root=$1; shift 2; exec chroot "$root" "$@"
"""
# Everything written goes to the run directory.
_ASTERISK_CONF = """\
[directories]
astetcdir => /pbx
astdbdir => /pbx/run
astspooldir => /pbx/run
astrundir => /pbx/run
astlogdir => /pbx/run
[options]
verbose = 4
nocolor = yes
"""
_LOGGER_CONF = "[general]\n[logfiles]\nconsole => notice,warning,error,verbose\n"
_MODULES_CONF = "[modules]\nautoload=yes\n" + "".join(
    f"noload={name}.so\n"
    for name in (
        "chan_iax2",
        "chan_unistim",
        "chan_motif",
        "chan_console",
        "pbx_dundi",
        "res_xmpp",
        "res_snmp",
    )
)
_RTP_CONF = "[general]\nrtpstart=10000\nrtpend=10999\n"
_MUSIC_CONF = "[default]\nmode=files\ndirectory=/pbx/music\n"


def peers_root() -> Path:
    """Where the peers are installed; skips the test if they are not, or cannot be entered."""
    cache = os.environ.get("RECPROXY_CACHE") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recproxy"
    )
    root = Path(os.environ.get("RECPROXY_BENCH_PEERS") or Path(cache) / "bench" / "peers")
    if os.geteuid() != 0:
        pytest.skip("only root may enter the root that holds Asterisk and Kamailio")
    if not (root / ".bench-ready").exists():
        pytest.skip(f"Asterisk and Kamailio are not installed in {root}: make pbx does that")
    (root / "pbx").mkdir(exist_ok=True)
    return root


class Resident(Closing):
    """A program of the root of the peers, with its files in a directory of the test. A context manager."""

    def __init__(self, name: str, directory: Path, files: Mapping[str, str | bytes], *argv: str) -> None:
        self.directory: Path = directory
        self._root = peers_root()
        (directory / "run").mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            to = directory / path
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(content.encode() if isinstance(content, str) else content)
        entering = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, name]
        self.process: Process = Process([*entering, str(self._root), str(directory), *argv], name=name)

    def inside(self, *argv: str, within_s: float = 20.0) -> str:
        """Run a command where the program lives; returns what it says.

        Raises:
            ProcessError: It failed.
        """
        enter = ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", "chroot", str(self._root)]
        done = subprocess.run(
            [*enter, *argv],
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise ProcessError(f"{' '.join(argv)} failed ({done.returncode})\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def mark(self) -> int:
        """Number of lines said so far."""
        return len(self.process.lines)

    def wait_said(self, *words: str, start: int = 0, within_s: float = 30.0) -> str:
        """Wait for a line with all these words, from line ``start`` on.

        Raises:
            ProcessError: It did not come.
        """
        index = self.process.wait_line(
            lambda line: all(word in line for word in words),
            what=" … ".join(words),
            start=start,
            within_s=within_s,
        )
        return self.process.lines[index]

    def close(self) -> None:
        """End it."""
        self.process.close()


class Asterisk(Resident):
    """An Asterisk with the given configuration files; sounds and music lie under ``/pbx`` too."""

    def __init__(self, directory: Path, files: Mapping[str, str | bytes]) -> None:
        own = {
            "asterisk.conf": _ASTERISK_CONF,
            "logger.conf": _LOGGER_CONF,
            "modules.conf": _MODULES_CONF,
            "rtp.conf": _RTP_CONF,
            "musiconhold.conf": _MUSIC_CONF,
        }
        super().__init__(
            "asterisk", directory, own | dict(files), "asterisk", "-f", "-C", "/pbx/asterisk.conf"
        )

    def wait_ready(self) -> None:
        """Wait until calls can come.

        Raises:
            ProcessError: It ended before, or took too long.
        """
        self.wait_said("Asterisk Ready", within_s=60)
        self.command("pjsip set logger on")

    def command(self, line: str) -> str:
        """Give a line to its command line; returns the answer."""
        return self.inside("asterisk", "-C", "/pbx/asterisk.conf", "-rx", line)

    def channels(self) -> int:
        """How many channels are up."""
        return len([line for line in self.command("core show channels concise").splitlines() if "!" in line])


class Kamailio(Resident):
    """A Kamailio with a configuration file at ``/pbx/kamailio.cfg``."""

    def __init__(self, directory: Path, files: Mapping[str, str | bytes], at: tuple[str, int]) -> None:
        argv = ("kamailio", "-DD", "-E", "-m", "32", "-M", "8", "-f", "/pbx/kamailio.cfg", "-Y", "/pbx/run")
        super().__init__("kamailio", directory, files, *argv)
        self.at: tuple[str, int] = at

    def wait_ready(self, *, within_s: float = 30.0) -> None:
        """Wait until it can be called.

        Raises:
            ProcessError: It ended, or did not bind its port.
        """
        deadline = time.monotonic() + within_s
        while not bound(*self.at):
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise ProcessError("kamailio does not listen\n" + "\n".join(self.process.lines[-15:]))
            time.sleep(0.02)
