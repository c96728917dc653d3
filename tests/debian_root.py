"""A clean Debian 12 of a test's own, and commands in it; what they mount ends with them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1] / "tools" / "deb"

# Of a root directory, then shared directories up to --, a user and a command. All exec: one process.
_ENTER = """
root=$1; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    mkdir -p "$root$1"
    mount --bind "$1" "$root$1"
    [ "$2" = root ] || chroot "$root" chown -R "$2" "$1"
    shift 2
done
shift
user=$1; shift
exec chroot --userspec="$user" "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class DebianRoot:
    """A root directory.

    Attributes:
        path: Of it.
    """

    path: Path

    @classmethod
    def make(cls, at: Path) -> DebianRoot:
        """Copy the cached one, which is made first if it is not there."""
        cached = _last_line([str(TOOLS / "root.sh")])
        subprocess.run(["cp", "-a", "--reflink=auto", cached, str(at)], check=True)
        return cls(at)

    def argv(
        self,
        *command: str,
        user: str = "root",
        shared: Mapping[Path, str] | None = None,
        network: bool = True,
    ) -> list[str]:
        """How a command is run in it.

        Args:
            *command: Name and words.
            user: Who runs it.
            shared: Directories of this machine that are at the same place there, by whom they belong to.
            network: Whether it may talk to anybody.
        """
        places = [word for path, owner in (shared or {}).items() for word in (str(path), owner)]
        namespaces = ["--mount", "--propagation", "private", *([] if network else ["--net"])]
        enter = ["sh", "-euc", _ENTER, "enter", str(self.path), *places, "--", user, *command]
        return ["unshare", *namespaces, *enter]

    def run(
        self, *command: str, user: str = "root", network: bool = False, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end, without a network.

        Raises:
            AssertionError: It failed though ``check`` asks it not to.
        """
        done = subprocess.run(
            self.argv(*command, user=user, network=network),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **environment},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done

    def remove(self) -> None:
        """Delete it; nothing is mounted in it outside its commands."""
        shutil.rmtree(self.path)


def obstacle() -> str:
    """Why no Debian root can be made here; empty if it can."""
    if os.geteuid() != 0:
        return "a Debian root can only be made by root"
    if shutil.which("debootstrap") is None:
        return "debootstrap is not here"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this machine lets nobody make a mount namespace"


def build_package(python: str, directory: Path) -> Path:
    """Build the Debian package; returns where it is."""
    return Path(_last_line([str(TOOLS / "build.sh"), python, str(directory)]))


def _last_line(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv[0]}\n{done.stdout}{done.stderr}"
    return done.stdout.splitlines()[-1]
