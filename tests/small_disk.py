"""A small file system of a test's own, and something to fill it with; needs root."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small(directory: Path, size: str) -> Iterator[Path]:
    """A file system of ``size`` at ``directory``; yields where something may be put to fill it."""
    directory.mkdir(parents=True, mode=0o700)
    options = f"size={size},mode=0700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mount is not allowed here")
    try:
        yield directory / "filler"
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def fill(filler: Path) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:
        while out.write(b"\0" * 4096):
            pass
