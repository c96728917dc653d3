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

_UNSUPPORTED: Final = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}
_PIECE: Final = 1 << 20


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
        self._draft: Path | None = None
        self.stream: BinaryIO = os.fdopen(self._open(), "w+b")

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
            draft = self._draft or self._name(self._draft_name())
            self._draft = draft
            draft.replace(self.target)
            self._draft = None
        else:
            self._name(self.target)
        directory = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

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
        try:
            return os.open(self.target.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as err:
            if err.errno not in _UNSUPPORTED or not self.target.parent.is_dir():
                err.filename = str(self.target.parent)
                raise
        # A file system without nameless files: a name that nobody guesses.
        self._draft = self._draft_name()
        return os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _draft_name(self) -> Path:
        return self.target.with_name(f".{self.target.name[:80]}.{secrets.token_hex(8)}")

    def _name(self, name: Path) -> Path:
        """Give the file a name that must be free."""
        source = self._draft or Path(f"/proc/self/fd/{self.stream.fileno()}")
        try:
            os.link(source, name, follow_symlinks=self._draft is None)
        except FileExistsError as err:
            raise self._taken() from err
        return name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        if self._draft is not None:
            self._draft.unlink(missing_ok=True)
