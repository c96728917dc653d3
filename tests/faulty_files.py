"""``Files`` with a fault at one chosen operation, and the counter that chooses it.

Every operation that changes or reads the disk is one rung. ``Fault.CRASH`` ends
the process: it is a ``BaseException`` and every later operation raises it again,
so that nothing after it can have an effect.
"""

from __future__ import annotations

import errno
import os
from contextlib import AbstractContextManager
from enum import Enum

from simulated_files import SimulatedFile

from storage.errors import DiskFull, FileFault
from storage.files import Files, OpenFile


class Fault(Enum):
    ENOSPC = "disk full"
    EIO = "i/o error"
    SHORT = "short write"
    CRASH = "crash"


class Crash(BaseException):
    """The process is gone."""


class FaultPlan:
    """Counts operations and says which one fails.

    With ``sticky`` every operation from the chosen one on fails, as on a full
    disk; a crash is always so.
    """

    def __init__(
        self, fail_at: int | None = None, fault: Fault = Fault.CRASH, *, sticky: bool = False
    ) -> None:
        self.fail_at = fail_at
        self.fault = fault
        self.sticky = sticky or fault is Fault.CRASH
        self.operations = 0
        self.fired: str | None = None

    def strikes(self, operation: str, path: str) -> bool:
        """Count one operation; true if it must fail."""
        number = self.operations
        self.operations += 1
        if self.fail_at is None or number < self.fail_at or (number > self.fail_at and not self.sticky):
            return False
        if self.fired is None:
            self.fired = f"operation {number}: {operation} {path}"
        if self.fault is Fault.CRASH:
            raise Crash(self.fired)
        return True

    def error(self, operation: str, path: str) -> FileFault:
        if self.fault is Fault.EIO:
            return FileFault(operation, path, errno.EIO, os.strerror(errno.EIO))
        return DiskFull(operation, path, errno.ENOSPC, os.strerror(errno.ENOSPC))

    def step(self, operation: str, path: str) -> None:
        if self.strikes(operation, path):
            raise self.error(operation, path)


class FaultyFile:
    def __init__(self, inner: OpenFile, path: str, plan: FaultPlan) -> None:
        self._inner = inner
        self._path = path
        self._plan = plan

    def write(self, data: bytes) -> None:
        try:
            strikes = self._plan.strikes("write", self._path)
        except Crash:
            if self._plan.operations - 1 == self._plan.fail_at:
                self._inner.write(data[: len(data) // 3])  # the kernel got a part of it
            raise
        if strikes:
            if self._plan.fault is Fault.SHORT:
                self._inner.write(data[: len(data) // 2])
            raise self._plan.error("write", self._path)
        self._inner.write(data)

    def sync(self) -> None:
        if self._plan.strikes("fsync", self._path):
            if isinstance(self._inner, SimulatedFile) and self._plan.fault is Fault.EIO:
                self._inner.lose_unsynced()
            raise self._plan.error("fsync", self._path)
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


class FaultyFiles:
    """``Files`` over another one, with the faults of a plan."""

    def __init__(self, inner: Files, plan: FaultPlan) -> None:
        self._inner = inner
        self._plan = plan

    def make_directory(self, path: str) -> None:
        self._plan.step("mkdir", path)
        self._inner.make_directory(path)

    def create(self, path: str) -> OpenFile:
        self._plan.step("create", path)
        return FaultyFile(self._inner.create(path), path, self._plan)

    def reopen(self, path: str, size_bytes: int) -> OpenFile:
        self._plan.step("reopen", path)
        return FaultyFile(self._inner.reopen(path, size_bytes), path, self._plan)

    def read(self, path: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        if self._plan.fault in {Fault.EIO, Fault.CRASH}:
            self._plan.step("read", path)
        return self._inner.read(path, offset, size_bytes)

    def size(self, path: str) -> int | None:
        return self._inner.size(path)

    def names(self, path: str) -> tuple[str, ...]:
        return self._inner.names(path)

    def rename(self, source: str, target: str) -> None:
        self._plan.step("rename", source)
        self._inner.rename(source, target)

    def unlink(self, path: str) -> None:
        if self._plan.fault is not Fault.ENOSPC:  # removing needs no space
            self._plan.step("unlink", path)
        self._inner.unlink(path)

    def overwrite(self, path: str) -> None:
        self._plan.step("overwrite", path)
        self._inner.overwrite(path)

    def patch(self, path: str, offset: int, data: bytes) -> None:
        self._plan.step("patch", path)
        self._inner.patch(path, offset, data)

    def sync_directory(self, path: str) -> None:
        self._plan.step("fsync directory", path)
        self._inner.sync_directory(path)

    def lock(self, path: str, *, wait: bool = True) -> AbstractContextManager[None]:
        return self._inner.lock(path, wait=wait)

    def free_bytes(self) -> int:
        return self._inner.free_bytes()
