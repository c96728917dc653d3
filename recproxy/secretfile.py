"""Passwords in files that the configuration names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from recproxy.errors import ConfigError

__all__ = ["PASSWORD_MAX", "secret_lines"]

PASSWORD_MAX: Final = 256


def secret_lines(key: str, path: Path, wanted: int = 1) -> tuple[str, ...]:
    """The first lines of a file that is its owner's; systemd's credentials are of mode 0440.

    Args:
        key: Of the configuration, for messages.
        path: The file.
        wanted: How many lines.

    Returns:
        The lines, without their ends, each of 1 to ``PASSWORD_MAX`` letters.

    Raises:
        ConfigError: It cannot be read, others may read it, or a line is missing or too long;
            what it holds is never shown.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = tuple(file.readline(PASSWORD_MAX + 2).rstrip("\r\n") for _ in range(wanted))
    except OSError as err:
        raise ConfigError(f"{key}: {path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{key}: {path}: not UTF-8") from err
    if mode & 0o037:
        raise ConfigError(f"{key}: {path}: mode {mode & 0o777:04o} lets others at it; make it 0600")
    for at, line in enumerate(lines):
        if not 1 <= len(line) <= PASSWORD_MAX:
            which = ("first", "second")[at]
            raise ConfigError(
                f"{key}: {path}: its {which} line is no password of 1 to {PASSWORD_MAX} letters"
            )
    return lines
