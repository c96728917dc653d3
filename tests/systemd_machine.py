"""This machine once more, under a layer in memory and in namespaces, with systemd as process 1."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SOURCES: Final = Path(__file__).resolve().parents[1]
# The interpreter may lie in a home, which the units do not see.
_PARTS: Final = (sys.base_prefix, sysconfig.get_paths()["platlib"], SOURCES)
_JOURNAL: Final = ("journalctl", "--no-pager", "-o", "cat", "-n", "40")
_CLONE_NEWNET: Final = 0x40000000

# Of a directory, a control group that is made, an interpreter, its packages and our sources. The root is
# this machine's own, under a layer in memory: whatever is written ends with it. All exec: the last process
# is systemd.
_BOOT = """
echo $$ >"$2/cgroup.procs"
exec unshare --cgroup --mount --propagation private --pid --fork --kill-child --uts --ipc --net \\
    sh -euc '
work=$1; python=$3; packages=$4; sources=$5
ip link set lo up
hostname rig
mount -t tmpfs -o mode=755 tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
cd "$work/root"
rm -rf etc/systemd/system/*.wants etc/recproxy
mkdir -p opt/recproxy/bin opt/recproxy/python opt/recproxy/packages opt/recproxy/sources
mount --rbind "$python" opt/recproxy/python
mount --rbind "$packages" opt/recproxy/packages
mount --rbind "$sources" opt/recproxy/sources
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
    touch dev/$node
    mount --bind /dev/$node dev/$node
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
ln -s /proc/self/fd dev/fd
mkdir -p before
pivot_root . before
umount --lazy /before
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \\
    /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no
' boot "$@"
"""


class Machine:
    """A booted machine; a context."""

    def __init__(self, directory: Path) -> None:
        self._work = directory / "machine"
        self._work.mkdir()
        self._log = directory / "systemd.log"
        self._group = _control_groups() / f"recproxy-test-{os.getpid()}"
        self._starter: subprocess.Popen[bytes] | None = None
        self.init = 0

    def __enter__(self) -> Self:
        self._group.mkdir()
        with self._log.open("wb") as log:
            self._starter = subprocess.Popen(
                ["sh", "-euc", _BOOT, "boot", *map(str, (self._work, self._group, *_PARTS))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.init = self._child_of(self._starter)
        self.until(lambda: self.systemctl("is-system-running", check=False) in {"running", "degraded"})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._starter is not None:
            self._starter.kill()  # --kill-child: its child, process 1 in there, and so all others
            self._starter.wait(30)
            deadline = time.monotonic() + 30
            while self._group.exists() and time.monotonic() < deadline:
                for group in sorted(self._group.rglob("*/"), reverse=True):
                    with contextlib.suppress(OSError):
                        group.rmdir()
                with contextlib.suppress(OSError):
                    self._group.rmdir()
                time.sleep(0.05)

    @property
    def root(self) -> Path:
        """Its file system, seen from here."""
        return Path(f"/proc/{self.init}/root")

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in it; returns what it said.

        Raises:
            AssertionError: It failed though ``check`` asks it not to.
        """
        done = subprocess.run(
            ["nsenter", "--target", str(self.init), "--all", "--root", "--wd=/", *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        if check:
            said = f"{' '.join(command)}\n{done.stdout}{done.stderr}"
            assert done.returncode == 0, f"{said}\n{self.said()}\n{self.run(*_JOURNAL, check=False)}"
        return done.stdout.strip()

    def systemctl(self, *words: str, check: bool = True) -> str:
        """Run systemctl."""
        return self.run("systemctl", *words, check=check)

    def property(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", "-p", name, unit)

    def journal(self, unit: str) -> list[str]:
        """What a unit has said, line by line."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit, check=False).splitlines()

    def said(self) -> str:
        """What systemd itself said, at its end."""
        return self._log.read_text(errors="replace")[-4000:]

    def until(self, true: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Look until ``true()`` holds.

        Raises:
            AssertionError: It never did.
        """
        deadline = time.monotonic() + within_s
        while not true():
            assert self._starter is not None
            assert self._starter.poll() is None, f"systemd ended\n{self.said()}"
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that this thread makes in the context are in its network."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            Path("/proc/thread-self/ns/net").open("rb") as ours,
            Path(f"/proc/{self.init}/ns/net").open("rb") as theirs,
        ):
            if libc.setns(theirs.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if libc.setns(ours.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")

    def _child_of(self, starter: subprocess.Popen[bytes]) -> int:
        """Process 1 in there: it is sh until it has become systemd."""
        children = Path(f"/proc/{starter.pid}/task/{starter.pid}/children")
        deadline = time.monotonic() + 30
        while True:
            assert starter.poll() is None, f"it did not boot\n{self.said()}"
            assert time.monotonic() < deadline, self.said()
            for child in children.read_text().split():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                        return int(child)
            time.sleep(0.05)


def _control_groups() -> Path:
    """Where the unified hierarchy is, alone or beside the older ones."""
    mixed = Path("/sys/fs/cgroup/unified")
    return mixed if mixed.is_dir() else Path("/sys/fs/cgroup")


def obstacle() -> str:
    """Why systemd cannot be process 1 of namespaces here; empty if it can."""
    if os.geteuid() != 0:
        return "namespaces and control groups are root's to make"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not here"
    for need in (["unshare", "--mount", "--pid", "--fork", "--cgroup", "true"], ["nsenter", "--version"]):
        if shutil.which(need[0]) is None or subprocess.run(need, capture_output=True, check=False).returncode:
            return f"{need[0]} does not work here"
    return "" if os.access(_control_groups(), os.W_OK) else "control groups cannot be made here"
