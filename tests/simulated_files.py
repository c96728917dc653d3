"""A file system in memory that can lose power.

It knows what was synced. ``after_power_loss`` gives the disk as it may look after
the next start: what was synced is there, the rest is lost, kept, or torn (any part
of the unsynced writes and name changes may have reached the disk, in any order).
Data whose sync failed never becomes durable by a later sync, as on Linux.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

from storage.durable import parent
from storage.errors import FileMissing, FilePresent, StoreLocked
from storage.files import OpenFile


class Loss(Enum):
    """What becomes of that which was not synced."""

    ALL_LOST = "lost"
    ALL_KEPT = "kept"
    TORN = "torn"


@dataclass(slots=True)
class _Write:
    offset: int
    data: bytes


@dataclass(slots=True)
class _Inode:
    """A file: what a reader sees, what is durable, and the changes in between."""

    current: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[_Write] = field(default_factory=list)
    doomed: list[_Write] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        _put(self.current, offset, data)
        self.unsynced.append(_Write(offset, bytes(data)))

    def sync(self) -> None:
        for change in self.unsynced:
            _put(self.durable, change.offset, change.data)
        self.unsynced.clear()

    def sync_failed(self) -> None:
        """The kernel calls the pages clean though they never reached the disk."""
        self.doomed += self.unsynced
        self.unsynced.clear()

    def truncate(self, size: int) -> None:
        del self.current[size:]
        del self.durable[size:]  # a cut is taken as durable at once: the worst case for us
        for change in self.unsynced:
            change.data = change.data[: max(0, size - change.offset)]

    def after_loss(self, loss: Loss, chance: random.Random) -> bytes:
        if loss is Loss.ALL_KEPT:
            return bytes(self.current)
        disk = bytearray(self.durable)
        if loss is Loss.TORN:
            for change in self.unsynced + self.doomed:
                part = chance.choice((0, len(change.data), chance.randrange(len(change.data) + 1)))
                if part:
                    _put(disk, change.offset, change.data[:part])
        return bytes(disk)


def _put(target: bytearray, offset: int, data: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


@dataclass(frozen=True, slots=True)
class _Entry:
    """One change of a name: it points at an inode, or at nothing."""

    changes: tuple[tuple[str, _Inode | None], ...]


class SimulatedFile:
    def __init__(self, disk: SimulatedFiles, path: str, inode: _Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode
        self._closed = False

    def write(self, data: bytes) -> None:
        assert not self._closed, f"write to closed {self._path}"
        self._inode.write(len(self._inode.current), data)

    def sync(self) -> None:
        assert not self._closed, f"sync of closed {self._path}"
        self._inode.sync()

    def lose_unsynced(self) -> None:
        self._inode.sync_failed()

    def close(self) -> None:
        self._closed = True


class SimulatedFiles:
    """``Files`` in memory."""

    def __init__(self) -> None:
        self._names: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._directories: set[str] = {"."}
        self._unsynced: dict[str, list[_Entry]] = {}
        self._locked: set[str] = set()

    def make_directory(self, path: str) -> None:
        made = ""
        for part in path.split("/"):
            made = f"{made}/{part}" if made else part
            self._directories.add(made)  # made and synced, parent first, as OsFiles does

    def create(self, path: str) -> OpenFile:
        self._need_directory(path)
        if path in self._names:
            raise FilePresent("create", path, errno.EEXIST, os.strerror(errno.EEXIST))
        inode = _Inode()
        self._change(parent(path), (path, inode))
        return SimulatedFile(self, path, inode)

    def reopen(self, path: str, size_bytes: int) -> OpenFile:
        inode = self._find("reopen", path)
        if len(inode.current) != size_bytes:
            inode.truncate(size_bytes)
        return SimulatedFile(self, path, inode)

    def read(self, path: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        end = None if size_bytes is None else offset + size_bytes
        return bytes(self._find("read", path).current[offset:end])

    def size(self, path: str) -> int | None:
        return len(self._names[path].current) if path in self._names else None

    def names(self, path: str) -> tuple[str, ...]:
        start = "" if path == "." else f"{path}/"
        known = [*self._names, *self._directories]
        found = {name[len(start) :].split("/")[0] for name in known if name.startswith(start)}
        return tuple(sorted(found - {"", "."}))

    def rename(self, source: str, target: str) -> None:
        inode = self._find("rename", source)
        assert parent(source) == parent(target)
        self._change(parent(source), (source, None), (target, inode))

    def unlink(self, path: str) -> None:
        self._find("unlink", path)
        self._change(parent(path), (path, None))

    def overwrite(self, path: str) -> None:
        inode = self._find("overwrite", path)
        inode.write(0, bytes(len(inode.current)))
        inode.sync()
        for change in inode.doomed:
            change.data = bytes(len(change.data))

    def patch(self, path: str, offset: int, data: bytes) -> None:
        self._find("patch", path).write(offset, data)

    def sync_directory(self, path: str) -> None:
        if path not in self._directories:
            raise FileMissing("fsync directory", path, errno.ENOENT, os.strerror(errno.ENOENT))
        for entry in self._unsynced.pop(path, []):
            _apply(self._durable_names, entry)

    @contextmanager
    def lock(self, path: str, *, wait: bool = True) -> Iterator[None]:
        if path in self._locked:
            raise StoreLocked(f"{path} is held (wait={wait})")
        self._locked.add(path)
        try:
            yield
        finally:
            self._locked.discard(path)

    def free_bytes(self) -> int:
        return 1 << 40

    # What a test does with it.

    def contents(self) -> dict[str, bytes]:
        """Every file as a reader sees it."""
        return {path: bytes(inode.current) for path, inode in self._names.items()}

    def put(self, path: str, data: bytes) -> None:
        """Give a file other bytes, as an attacker or a bad disk would."""
        self.make_directory(parent(path))
        self._names[path] = self._durable_names[path] = _Inode(bytearray(data), bytearray(data))

    def after_power_loss(self, loss: Loss, chance: random.Random) -> SimulatedFiles:
        """The disk after the next start; this one is unchanged."""
        names = dict(self._durable_names)
        for entries in self._unsynced.values():
            for entry in entries:
                if loss is Loss.ALL_KEPT or (loss is Loss.TORN and chance.random() < 0.5):
                    _apply(names, entry)
        disk = SimulatedFiles()
        disk._directories = set(self._directories)
        copies: dict[int, _Inode] = {}
        for path, inode in names.items():
            if id(inode) not in copies:
                data = inode.after_loss(loss, chance)
                copies[id(inode)] = _Inode(bytearray(data), bytearray(data))
            disk._names[path] = disk._durable_names[path] = copies[id(inode)]
        return disk

    def _find(self, operation: str, path: str) -> _Inode:
        if path not in self._names:
            raise FileMissing(operation, path, errno.ENOENT, os.strerror(errno.ENOENT))
        return self._names[path]

    def _need_directory(self, path: str) -> None:
        if parent(path) not in self._directories:
            raise FileMissing("create", path, errno.ENOENT, os.strerror(errno.ENOENT))

    def _change(self, directory: str, *changes: tuple[str, _Inode | None]) -> None:
        entry = _Entry(changes)
        _apply(self._names, entry)
        self._unsynced.setdefault(directory, []).append(entry)


def _apply(names: dict[str, _Inode], entry: _Entry) -> None:
    for path, inode in entry.changes:
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode
