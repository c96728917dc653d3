"""The only place that opens, syncs, renames or unlinks a file.

All paths are relative to one data directory and use ``/``. Files are 0600 and
directories 0700, whatever the umask; a final symbolic link is never followed
and a file is never overwritten by creating it. Every method of ``Files`` is
one step that can fail or be the last before a crash, so that tests can inject
a fault at each (see ``tests/faulty_files.py``); what takes several steps is
written as functions over it in ``storage.durable``.

Durability: data is safe after ``OpenFile.sync``; a new, renamed or removed name
is safe after ``sync_directory`` of its directory (POSIX fsync(2), NOTES: syncing
a file does not sync the entry in its directory). A failed sync is never retried
on the same handle: the kernel may have dropped the dirty pages and say yes next
time, so the caller must treat all that was written since the last good sync as
lost.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, NoReturn, Protocol

from storage.errors import DiskFull, FileFault, FileMissing, FilePresent, StoreLocked, UnsafeDirectory

_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_READ_PIECE_BYTES: Final = 1 << 20


class OpenFile(Protocol):
    """A file that is being appended to; owned by whoever opened it."""

    def write(self, data: bytes) -> None:
        """Append all of ``data``.

        Raises:
            FileFault: Some of it may have been written (``DiskFull`` and others).
        """

    def sync(self) -> None:
        """Make everything written so far survive a power loss.

        Raises:
            FileFault: Anything since the last good sync may be lost; never retry.
        """

    def close(self) -> None:
        """Release the handle; doing it twice is allowed."""


class Files(Protocol):
    """What the storage package asks of a file system."""

    def make_directory(self, path: str) -> None:
        """Create a directory and its parents, durably; an existing one is fine."""

    def create(self, path: str) -> OpenFile:
        """Create a new file to append to.

        Raises:
            FilePresent: The name is taken.
        """

    def reopen(self, path: str, size_bytes: int) -> OpenFile:
        """Open an existing file, cut it to ``size_bytes`` and append from there.

        Raises:
            FileMissing: There is no such file.
        """

    def read(self, path: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        """Read up to ``size_bytes`` from ``offset``; None reads to the end.

        Raises:
            FileMissing: There is no such file.
        """

    def size(self, path: str) -> int | None:
        """Length of a regular file in bytes, or None if the name does not exist."""

    def names(self, path: str) -> tuple[str, ...]:
        """Sorted names in a directory; empty if it does not exist."""

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, atomically; an existing target is replaced."""

    def unlink(self, path: str) -> None:
        """Remove a name.

        Raises:
            FileMissing: There is no such file.
        """

    def overwrite(self, path: str) -> None:
        """Write zeros over the whole of a file, in place, and sync it.

        Raises:
            FileMissing: There is no such file.
        """

    def patch(self, path: str, offset: int, data: bytes) -> None:
        """Write over bytes in place, without syncing them.

        Raises:
            FileMissing: There is no such file.
        """

    def sync_directory(self, path: str) -> None:
        """Make created, renamed and removed names in a directory survive a power loss."""

    def lock(self, path: str, *, wait: bool = True) -> AbstractContextManager[None]:
        """Hold an exclusive lock while in the context; it dies with the process.

        Raises:
            StoreLocked: ``wait`` is false and another process holds it.
        """

    def free_bytes(self) -> int:
        """Space left for us on the file system of the data directory."""


class OsFiles:
    """``Files`` on a real directory.

    Attributes:
        root: The data directory, absolute.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def prepare(self) -> None:
        """Create the data directory if need be and refuse one that others can enter.

        Raises:
            UnsafeDirectory: It is open to group or others, belongs to another
                user, or is no directory.
            FileFault: It cannot be created.
        """
        try:
            self.root.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            facts = self.root.stat()
        except OSError as err:
            _fail("mkdir", str(self.root), err)
        if facts.st_mode & 0o077:
            raise UnsafeDirectory(
                f"data directory {self.root} has mode {stat.S_IMODE(facts.st_mode):04o}, "
                f"open to others: chmod 700 {self.root}"
            )
        if facts.st_uid != os.geteuid():
            raise UnsafeDirectory(
                f"data directory {self.root} belongs to uid {facts.st_uid}, "
                f"recproxy runs as uid {os.geteuid()}: chown it"
            )
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise UnsafeDirectory(f"data directory {self.root} cannot be written: chmod 700 {self.root}")

    def make_directory(self, path: str) -> None:
        """See ``Files.make_directory``."""
        made = "."
        for part in path.split("/"):
            outer, made = made, f"{made}/{part}"
            try:
                (self.root / made).mkdir(mode=_DIRECTORY_MODE)
            except FileExistsError:
                continue
            except OSError as err:
                _fail("mkdir", path, err)
            self.sync_directory(outer)

    def create(self, path: str) -> OpenFile:
        """See ``Files.create``."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        return _OsFile(path, self._open("create", path, flags))

    def reopen(self, path: str, size_bytes: int) -> OpenFile:
        """See ``Files.reopen``."""
        handle = self._open("reopen", path, os.O_WRONLY | os.O_APPEND)
        try:
            if os.fstat(handle).st_size != size_bytes:
                os.ftruncate(handle, size_bytes)
        except OSError as err:
            os.close(handle)
            _fail("truncate", path, err)
        return _OsFile(path, handle)

    def read(self, path: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        """See ``Files.read``."""
        handle = self._open("read", path, os.O_RDONLY)
        pieces: list[bytes] = []
        left = size_bytes
        try:
            while left is None or left > 0:
                want = _READ_PIECE_BYTES if left is None else min(left, _READ_PIECE_BYTES)
                piece = os.pread(handle, want, offset)
                if not piece:
                    break
                pieces.append(piece)
                offset += len(piece)
                left = None if left is None else left - len(piece)
        except OSError as err:
            _fail("read", path, err)
        finally:
            os.close(handle)
        return b"".join(pieces)

    def size(self, path: str) -> int | None:
        """See ``Files.size``."""
        try:
            facts = (self.root / path).lstat()
        except FileNotFoundError:
            return None
        except OSError as err:
            _fail("stat", path, err)
        if not stat.S_ISREG(facts.st_mode):
            raise UnsafeDirectory(f"{path} in {self.root} is not a regular file: remove it")
        return facts.st_size

    def names(self, path: str) -> tuple[str, ...]:
        """See ``Files.names``."""
        try:
            return tuple(sorted(entry.name for entry in (self.root / path).iterdir()))
        except FileNotFoundError:
            return ()
        except OSError as err:
            _fail("list", path, err)

    def rename(self, source: str, target: str) -> None:
        """See ``Files.rename``."""
        try:
            (self.root / source).rename(self.root / target)
        except OSError as err:
            _fail("rename", source, err)

    def unlink(self, path: str) -> None:
        """See ``Files.unlink``."""
        try:
            (self.root / path).unlink()
        except OSError as err:
            _fail("unlink", path, err)

    def overwrite(self, path: str) -> None:
        """See ``Files.overwrite``."""
        handle = self._open("overwrite", path, os.O_WRONLY)
        try:
            left = os.fstat(handle).st_size
            while left > 0:
                left -= os.write(handle, bytes(min(left, _READ_PIECE_BYTES)))
            os.fsync(handle)
        except OSError as err:
            _fail("overwrite", path, err)
        finally:
            os.close(handle)

    def patch(self, path: str, offset: int, data: bytes) -> None:
        """See ``Files.patch``."""
        handle = self._open("patch", path, os.O_WRONLY)
        left = memoryview(data)
        try:
            while left:
                written = os.pwrite(handle, left, offset)
                left, offset = left[written:], offset + written
        except OSError as err:
            _fail("patch", path, err)
        finally:
            os.close(handle)

    def sync_directory(self, path: str) -> None:
        """See ``Files.sync_directory``."""
        handle = self._open("fsync directory", path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError as err:
            _fail("fsync directory", path, err)
        finally:
            os.close(handle)

    @contextmanager
    def lock(self, path: str, *, wait: bool = True) -> Iterator[None]:
        """See ``Files.lock``."""
        handle = self._open("lock", path, os.O_RDWR | os.O_CREAT)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as err:
                raise StoreLocked(
                    f"{self.root / path} is held by another process: stop it, or use another data directory"
                ) from err
            except OSError as err:
                _fail("lock", path, err)
            yield
        finally:
            os.close(handle)

    def free_bytes(self) -> int:
        """See ``Files.free_bytes``."""
        try:
            facts = os.statvfs(self.root)
        except OSError as err:
            _fail("statvfs", ".", err)
        return facts.f_bavail * facts.f_frsize

    def _open(self, operation: str, path: str, flags: int) -> int:
        try:
            return os.open(self.root / path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
        except OSError as err:
            _fail(operation, path, err)


class _OsFile:
    def __init__(self, path: str, handle: int) -> None:
        self._path = path
        self._handle = handle

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError as err:
            _fail("write", self._path, err)

    def sync(self) -> None:
        try:
            os.fsync(self._handle)
        except OSError as err:
            _fail("fsync", self._path, err)

    def close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


_CLASSES: Final = {
    errno.ENOSPC: DiskFull,
    errno.EDQUOT: DiskFull,
    errno.ENOENT: FileMissing,
    errno.EEXIST: FilePresent,
}


def _fail(operation: str, path: str, err: OSError) -> NoReturn:
    code = err.errno or 0
    message = err.strerror or str(err)
    if code == errno.ELOOP:
        message = "is a symbolic link, which is never followed: remove it"
    raise _CLASSES.get(code, FileFault)(operation, path, code, message) from err
