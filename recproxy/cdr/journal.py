"""The files of call detail records: one a day and form, appended to, whole lines or nothing.

``2026-12-01.jsonl`` and ``2026-12-01.csv`` lie side by side, by the day (UTC) on which a call
ended. A file is opened anew for each batch, so that one that was renamed or emptied meanwhile, by
logrotate or by hand, is no trouble. What a fault or a crash left of a line is cut before the next
is written; a reader takes whole lines only.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Final

from recproxy.cdr.detail import CallDetail, csv_head
from storage import Files

__all__ = ["Flaw", "Form", "Journal", "days", "read_details"]

_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.(?:jsonl|csv)(?!\w)")
_HERE: Final = "."
_TAIL_BYTES: Final = 1 << 16  # longer than any line


class Form(Enum):
    """How records are written."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is no record in a file of them.

    Attributes:
        file: Its name.
        line: From 1.
        why: What is wrong.
    """

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}"


class Journal:
    """Appends records. One thread.

    Args:
        files: The directory of the records.
        sync: Whether each batch is on the disk when ``append`` returns; else when the system likes.
    """

    def __init__(self, files: Files, *, sync: bool = True) -> None:
        self._files = files
        self._sync = sync
        self._whole: dict[str, int] = {}  # size up to which a file is known to be whole
        self._dirty: set[str] = set()  # what is behind that is a part of ours

    def append(self, form: Form, day: date, details: Sequence[CallDetail]) -> Flaw | None:
        """Add records to the file of a day.

        Args:
            form: Which of its files.
            day: On which the calls ended (UTC).
            details: In order.

        Returns:
            The end of a line that was found and cut, which a crash left; None if there was none.

        Raises:
            FileFault: None of them count as written; they may be given again.
        """
        name = f"{day.isoformat()}.{form.value}"
        size = self._files.size(name)
        whole, torn = (0, 0) if size is None else self._whole_part(name, size)
        lines = [one.json_line() if form is Form.JSONL else one.csv_line() for one in details]
        if form is Form.CSV and not whole:
            lines.insert(0, csv_head())
        data = b"".join(lines)
        self._whole[name] = whole
        self._dirty.add(name)
        handle = self._files.create(name) if size is None else self._files.reopen(name, whole)
        try:
            handle.write(data)
            if self._sync:
                handle.sync()
        finally:
            handle.close()
        if size is None and self._sync:
            self._files.sync_directory(_HERE)
        self._whole[name] = whole + len(data)
        self._dirty.discard(name)
        return Flaw(name, 0, f"an unfinished line of {torn} bytes was cut") if torn else None

    def _whole_part(self, name: str, size: int) -> tuple[int, int]:
        """Length of a file up to its last line feed, and of what somebody else left behind that."""
        known = self._whole.get(name)
        if known is not None and (size == known or (size > known and name in self._dirty)):
            return known, 0
        start = max(0, size - _TAIL_BYTES)
        tail = self._files.read(name, start, size - start)
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        return size - torn, torn


def days(files: Files) -> dict[date, list[str]]:
    """Every file that holds records of a day, copies that were rotated away included, oldest day first."""
    found: dict[date, list[str]] = {}
    for name in files.names(_HERE):
        day = _day(name)
        if day is not None:
            found.setdefault(day, []).append(name)
    return dict(sorted(found.items()))


def read_details(
    files: Files, since: datetime | None = None, until: datetime | None = None
) -> Iterator[CallDetail | Flaw]:
    """Read records of calls by when they started, in the order in which calls ended.

    Args:
        files: The directory of the records.
        since: Only calls that started then or later.
        until: Only calls that started before.

    Yields:
        Records, and what is no record in between.

    Raises:
        FileFault: A file cannot be read.
    """
    for day, names in days(files).items():
        if since is not None and day < since.astimezone(UTC).date():
            continue  # who ended before that day cannot have started later
        plain = [name for name in (f"{day}.{form.value}" for form in Form) if name in names]
        for found in _read(files, plain[0]) if plain else ():
            if isinstance(found, Flaw) or (
                (since is None or found.started >= since) and (until is None or found.started < until)
            ):
                yield found


def _read(files: Files, name: str) -> Iterator[CallDetail | Flaw]:
    data = files.read(name)
    lines = data.split(b"\n")
    torn = lines.pop()
    head: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            if name.endswith(Form.JSONL.value):
                yield CallDetail.of_json(line)
            elif number == 1:
                head = _cells(line)
            else:
                yield CallDetail.of_csv(head, _cells(line))
        except ValueError as err:  # UnicodeDecodeError is one
            yield Flaw(name, number, f"no record: {err}")
    if torn:
        yield Flaw(name, len(lines) + 1, f"an unfinished line of {len(torn)} bytes, left out")


def _cells(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode().rstrip("\r")], strict=True), [])
    except csv.Error as err:
        raise ValueError(str(err)) from err


def _day(name: str) -> date | None:
    found = _NAME.match(name)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None
