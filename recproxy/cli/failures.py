"""From an exception to one line for the operator and an exit code.

Nothing but what an operator can cause or mend is described here; anything else
is a defect of recproxy and keeps its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import click

from recproxy.errors import (
    AlreadyRunning,
    ConfigError,
    NoCatalogue,
    NoIdentity,
    RecproxyError,
    UsageError,
    VerificationFailed,
)

__all__ = ["FAILED", "INTERRUPTED", "Failure", "describe"]

FAILED: Final = 1
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Failure:
    """What the operator is told.

    Attributes:
        problems: One line each.
        hint: The mend; empty if the problems say it.
        exit_code: Of the process.
    """

    problems: tuple[str, ...]
    hint: str
    exit_code: int


def describe(err: Exception) -> Failure | None:
    """Describe an error.

    Args:
        err: What a command ended with.

    Returns:
        What to tell, or None if it is a defect of recproxy.
    """
    match err:
        case click.Abort():
            return Failure(("interrupted",), "", INTERRUPTED)
        case click.UsageError():
            return Failure((_sentence(err.format_message()),), _usage_hint(err), UsageError.exit_code)
        case click.ClickException():
            return Failure((_sentence(err.format_message()),), "", FAILED)
        case ConfigError():
            return Failure(err.problems, err.hint, err.exit_code)
        case RecproxyError():
            code = err.exit_code if err.exit_code != FAILED else _storage_code(err.__cause__)
            return Failure((str(err),), err.hint, code)
        case OSError():
            where = f"{err.filename}: " if err.filename is not None else ""
            return Failure((f"{where}{err.strerror or err}",), "", FAILED)
        case _ if _is_storage_error(err):
            return Failure((str(err),), _storage_hint(err), _storage_code(err))
        case _:
            return None


def _sentence(message: str) -> str:
    """A message of click in the form of ours: lower case, no full stop."""
    line = " ".join(message.split())
    return (line[:1].lower() + line[1:]).rstrip(".")


def _usage_hint(err: click.UsageError) -> str:
    return f'see "{err.ctx.command_path} --help"' if err.ctx is not None else ""


def _names(err: BaseException) -> Iterator[str]:
    """Names of the storage errors that an exception is one of.

    By name, since importing the storage package costs more than most commands that fail.
    """
    for kind in type(err).__mro__:
        if kind.__module__.partition(".")[0] == "storage":
            yield kind.__name__


def _is_storage_error(err: BaseException) -> bool:
    return "StorageError" in _names(err)


# The first that fits counts, the special before the general.
_STORAGE_CODES: Final = (
    ("StoreLocked", AlreadyRunning.exit_code),
    ("KeyFileError", ConfigError.exit_code),
    ("AuditChainBroken", VerificationFailed.exit_code),
    ("RecordingDamaged", VerificationFailed.exit_code),
    ("KeyDestroyed", FAILED),
    ("KeyUnavailable", VerificationFailed.exit_code),
    ("RecordingNotFound", FAILED),
    ("AmbiguousId", FAILED),
    ("ForeignRecording", FAILED),
    ("CatalogueError", NoCatalogue.exit_code),
)


def _storage_code(err: BaseException | None) -> int:
    if err is None:
        return FAILED
    names = set(_names(err))
    if "KeyUnavailable" in names and err.__cause__ is not None and "NoMatchError" in _names(err.__cause__):
        return NoIdentity.exit_code
    return next((code for name, code in _STORAGE_CODES if name in names), FAILED)


def _storage_hint(err: BaseException) -> str:
    if getattr(err, "code", None) in {errno.EACCES, errno.EPERM}:
        return "run it as the user that recproxy runs as"
    if "RecordingNotFound" in _names(err):
        return 'see "recproxy recordings list"'
    return ""
