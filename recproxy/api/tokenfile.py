"""The tokens file: read anew when it changes, so that a token can be taken back at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final

from recproxy.api.tokens import Token, parse_tokens
from recproxy.errors import ConfigError

__all__ = ["TokenFile", "add_line"]

_LONGEST_BYTES: Final = 1 << 20


class TokenFile:
    """Safe from any thread.

    Args:
        path: Of the file.
        failed: Told, once for each change, why it cannot be read; then nobody is let in.
    """

    def __init__(self, path: Path, failed: Callable[[str], None]) -> None:
        self._path = path
        self._failed = failed
        self._lock = Lock()
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def check(self) -> None:
        """Read it for the first time.

        Raises:
            ConfigError: It cannot be read, is open to others, or holds something else.
        """
        with self._lock:
            self._tokens, self._seen = self._read(), _stamp(self._path)

    def tokens(self) -> tuple[Token, ...]:
        """All that are let in at this moment; none if the file is wrong."""
        with self._lock:
            try:
                stamp: tuple[int, int, int] | None = _stamp(self._path)
            except OSError:
                stamp = None
            if stamp != self._seen:
                self._seen = stamp
                try:
                    self._tokens = self._read()
                except ConfigError as err:
                    self._tokens = ()
                    self._failed(str(err))
            return self._tokens

    def _read(self) -> tuple[Token, ...]:
        try:
            with self._path.open(encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                lines = file.read(_LONGEST_BYTES).splitlines()
            if mode & 0o077:
                raise ConfigError(f"api.tokens: {self._path}: others may use it; chmod 600 {self._path}")
            return parse_tokens(lines)
        except OSError as err:
            raise ConfigError(
                f'api.tokens: {self._path}: {err.strerror}; make it with "recproxy api token"'
            ) from err
        except ValueError as err:
            raise ConfigError(f"api.tokens: {self._path}: {err}") from err


def add_line(path: Path, line: str) -> None:
    """Append a line; the file is made, mode 0600, if it is not there. Durable on return.

    Raises:
        OSError: It cannot be written.
    """
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
