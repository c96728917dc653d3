"""The file of an export: nobody else's to read, and not there until it is whole.

The audio is written to a file without a name (O_TMPFILE, open(2)), which gets
its name at the end. Whatever ends an export early, kill -9 and power loss
included, leaves no piece of decrypted audio behind.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from recproxy.errors import RecproxyError, UsageError

__all__ = ["PrivateFile"]

# What open(2) says of O_TMPFILE where kernel or file system do not know it.
_UNKNOWN: Final = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}
_PIECE: Final = 1 << 20
_MODE: Final = 0o600


class PrivateFile:
    """A new file, mode 0600; used as a context. Without ``publish`` nothing remains of it.

    Attributes:
        target: The name that it gets.
        stream: Where to write; can seek.
    """

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        """Check the name and open a file without one.

        Args:
            target: The name that it will get.
            overwrite: Whether a file of that name may be replaced.

        Raises:
            RecproxyError: The name is taken, or is no file's.
            OSError: No file can be made there.
        """
        self.target = target.absolute()
        self._overwrite = overwrite
        self._check()
        self._draft = ""
        self._directory = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.stream: BinaryIO = os.fdopen(self._open(), "w+b")
        except OSError:
            os.close(self._directory)
            raise

    def sha256(self) -> str:
        """Hash of what was written; the position moves to the end."""
        digest = hashlib.sha256()
        self.stream.flush()
        self.stream.seek(0)
        while piece := self.stream.read(_PIECE):
            digest.update(piece)
        return digest.hexdigest()

    def publish(self) -> None:
        """Make it durable and give it its name.

        Raises:
            RecproxyError: The name was taken meanwhile.
            OSError: It cannot be synced or named.
        """
        self.stream.flush()
        os.fsync(self.stream.fileno())
        if self._overwrite:
            if not self._draft:
                draft = self._draft_name()
                self._link(draft)
                self._draft = draft
            os.replace(self._draft, self.target.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            self._draft = ""
        else:
            self._link(self.target.name)
        os.fsync(self._directory)

    def _check(self) -> None:
        try:
            mode = self.target.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISREG(mode):
            raise UsageError(f"{self.target} is not a regular file", hint='"-o -" writes to standard output')
        if not self._overwrite:
            raise self._taken()

    def _taken(self) -> RecproxyError:
        return RecproxyError(f"{self.target} exists", hint="choose another name, or --force to replace it")

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(".", flags | os.O_TMPFILE, _MODE, dir_fd=self._directory)
        except OSError as err:
            if err.errno not in _UNKNOWN:
                raise OSError(err.errno, err.strerror, str(self.target.parent)) from err
        # No nameless files there: one with a name that nobody guesses.
        self._draft = self._draft_name()
        return os.open(
            self._draft, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE, dir_fd=self._directory
        )

    def _draft_name(self) -> str:
        return f".{self.target.name[:80]}.{secrets.token_hex(8)}"

    def _link(self, name: str) -> None:
        """Give the file a name that must be free."""
        nameless = not self._draft
        source = f"/proc/self/fd/{self.stream.fileno()}" if nameless else self._draft
        try:
            os.link(
                source,
                name,
                src_dir_fd=self._directory,
                dst_dir_fd=self._directory,
                follow_symlinks=nameless,
            )
        except FileExistsError as err:
            raise self._taken() from err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        if self._draft:
            os.unlink(self._draft, dir_fd=self._directory)
        os.close(self._directory)
