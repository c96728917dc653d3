"""The section ``cdr`` of ``recproxy.yaml``: whether and where call detail records are written."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from recproxy.config.document import Document

__all__ = ["CdrConfig", "CdrFormat", "CdrNumbers", "check_cdr"]

_SHORTEST: Final = timedelta(days=1)
_LONGEST: Final = timedelta(days=3653)


class CdrFormat(Enum):
    """How records are written: an object of JSON a line, CSV (RFC 4180), or both side by side."""

    JSONL = "jsonl"
    CSV = "csv"
    BOTH = "both"


class CdrNumbers(Enum):
    """What records hold of numbers: masked, or besides in full, encrypted to ``storage.recipients``."""

    MASKED = "masked"
    ENCRYPTED = "encrypted"


class CdrConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Call detail records: one a call, answered or not.

    Attributes:
        directory: Holds a file a day; mode 0700, apart from the recordings. None for no records.
        format: Of the files.
        keep: How long a day is kept, from its end; then the retention process destroys it.
        numbers: What they hold of telephone numbers.
        sync: Whether each record is on the disk at once; else when the system likes.
    """

    directory: Path | None = None
    format: CdrFormat = CdrFormat.JSONL
    keep: timedelta = timedelta(days=30)
    numbers: CdrNumbers = CdrNumbers.MASKED
    sync: bool = True


def check_cdr(cdr: CdrConfig, recordings: Path, document: Document) -> None:
    """Note what only shows when the keys are put together.

    Args:
        cdr: The section.
        recordings: ``storage.directory``.
        document: Collects the problems.
    """
    if not _SHORTEST <= cdr.keep <= _LONGEST:
        document.note(("cdr", "keep"), "not from P1D to P3653D")
    if cdr.directory is not None and (cdr.directory == recordings or recordings in cdr.directory.parents):
        document.note(
            ("cdr", "directory"), "lies in storage.directory; give a directory apart from the recordings"
        )
