"""The event log: events of a closed list, one JSON line each.

It is telemetry, not evidence (that is the audit chain in ``storage``). The list,
``recproxy.logevents``, is the privacy control: an event or a key that is not declared
there does not reach the log, and what a declared key may hold is known. Telephone numbers in
free text are masked, whoever wrote them there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from threading import Lock
from typing import Any, Final, TextIO, TypeAlias

import msgspec
import structlog

from recproxy.logevents import EVENTS, KEYS, Kind, LogLevel
from recproxy.masking import clean_text, clipped, mask_number
from recproxy.syslog import SyslogTarget

__all__ = [
    "EventLog",
    "LogConfig",
    "LogFormat",
    "UndeclaredEvent",
    "Value",
]

Value: TypeAlias = str | int | float | bool
Now: TypeAlias = Callable[[], datetime]
_Entry: TypeAlias = MutableMapping[str, Any]
_Processor: TypeAlias = Callable[[Any, str, _Entry], Any]

_MOST_GATHERED: Final = 256  # lines that wait for a flush


class LogFormat(Enum):
    """How a line of the event log looks."""

    JSON = "json"
    CONSOLE = "console"


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The event log, on standard output.

    Attributes:
        level: Least serious event that is written.
        format: One JSON object a line, or lines for people.
        syslog: Where each line goes besides; None for nowhere.
    """

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.JSON
    syslog: SyslogTarget | None = None


class UndeclaredEvent(Exception):  # noqa: N818 - our own bug, named for what it is
    """An event or a key that is not in ``recproxy.logevents`` was about to be logged."""


class EventLog:
    """Writes events; safe to use from any thread.

    Each line is written at once, in the order of its time, except inside ``gathered``.

    Attributes:
        left_out: How often what was left out: undeclared events and keys, and lines that
            the stream did not take.
    """

    def __init__(self, stream: TextIO, config: LogConfig, now: Now, *, strict: bool = False) -> None:
        """Prepare a log.

        Args:
            stream: Where lines go.
            config: Level and format.
            now: Wall clock: aware, UTC.
            strict: Raise on what is not declared, instead of leaving it out; for tests.
        """
        self._strict = strict
        self._bound: dict[str, Value] = {}
        self._least = _RANK[config.level]
        self.left_out: dict[str, int] = {}
        self._lines = _Lines(stream, now, _RENDERERS[config.format], self._count)

    @classmethod
    def to_stdout(cls, config: LogConfig, *, now: Now | None = None, strict: bool = False) -> EventLog:
        """A log on standard output, by the system's clock if none is given."""
        return cls(sys.stdout, config, now or _utcnow, strict=strict)

    def bind(self, **fields: Value) -> EventLog:
        """A log that adds these fields to each of its events; it counts and writes as this one."""
        bound = object.__new__(EventLog)
        bound.__dict__.update(self.__dict__)
        bound._bound = {**self._bound, **fields}
        return bound

    def emit(self, event: str, **fields: Value) -> None:
        """Write one event.

        Args:
            event: A name in ``EVENTS``.
            **fields: Its keys; empty texts are left out.

        Raises:
            UndeclaredEvent: Event, key or kind of value is not declared, and the log is
                strict.
        """
        declared = EVENTS.get(event)
        if declared is None:
            self._refuse(event, "event is not declared")
            return
        if _RANK[declared.level] < self._least:
            return
        keys = declared.keys
        entry: _Entry = {"level": declared.level.value}
        for key, value in ({**self._bound, **fields} if self._bound else fields).items():
            if key not in keys:
                if key in fields:
                    self._refuse(f"{event} {key}", "key is not declared for this event")
                continue
            clean = _CLEANERS[key](value)
            if clean is None:
                self._refuse(f"{event} {key}", f"{type(value).__name__} is not {KEYS[key].name.lower()}")
            elif clean != "":
                entry[key] = clean
        self._lines.put(event, entry, at_once=declared.level is LogLevel.ERROR)

    def forward_to(self, sink: Callable[[LogLevel, str, str], None] | None) -> None:
        """From now on hand each line to ``sink`` too, with its level and event; it must return at once."""
        self._lines.sink = sink

    def use_level(self, level: LogLevel) -> None:
        """Write events from this level on; logs that were bound before keep theirs."""
        self._least = _RANK[level]

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Keep lines until ``flush``, so that many share one system call; for a busy loop.

        An error, and many lines, are written without waiting for it, after all that came
        before. At the end, however it comes about, everything is written and each line is
        again written at once. Only the death of the process inside loses what waits.
        """
        self._lines.gather(gathering=True)
        try:
            yield
        finally:
            self._lines.gather(gathering=False)

    def flush(self) -> None:
        """Write the lines that were gathered."""
        self._lines.flush()

    def _refuse(self, what: str, why: str) -> None:
        if self._strict:
            raise UndeclaredEvent(f"{what}: {why}; see recproxy.logevents")
        self._count(what)

    def _count(self, what: str, times: int = 1) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + times


class _Lines:
    """The lines on their way to the stream, in the order of their times; any thread."""

    def __init__(
        self, stream: TextIO, now: Now, render: _Processor, lost: Callable[[str, int], None]
    ) -> None:
        self._stream = stream
        self._stamp, self._render = _stamp(now), render
        self._lost = lost
        self._lock = Lock()
        self._gathering = False
        self._waiting: list[str] = []
        self.sink: Callable[[LogLevel, str, str], None] | None = None

    def put(self, event: str, entry: _Entry, *, at_once: bool) -> None:
        """Stamp an entry and write it, now or later."""
        with self._lock:
            line = self._render(None, "msg", self._stamp(None, "msg", {**entry, "event": event}))
            self._waiting.append(f"{line}\n")
            if self.sink is not None:
                self.sink(LogLevel(entry["level"]), event, self._waiting[-1].rstrip("\n"))
            if at_once or not self._gathering or len(self._waiting) >= _MOST_GATHERED:
                self._write()

    def gather(self, *, gathering: bool) -> None:
        """From now on keep lines, or write each; what waits is written."""
        with self._lock:
            self._gathering = gathering
            self._write()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        text = "".join(waiting)
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError as err:  # a terminal that lacks a character of ours
                self._stream.write(text.encode(err.encoding, "backslashreplace").decode(err.encoding))
            self._stream.flush()
        except OSError as err:
            # A full disk or a closed pipe behind the log must not end a call.
            self._lost(f"line not written: {err.strerror}", len(waiting))


def _word(value: Value) -> str | None:
    return clipped(value) if isinstance(value, str) else None


def _count(value: Value) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Value) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Value) -> str | None:
    return clean_text(value) if isinstance(value, str) else None


def _phone(value: Value) -> str | None:
    return mask_number(value) if isinstance(value, str) else None


_RANK: Final = {level: rank for rank, level in enumerate(LogLevel)}
# The value as it may be written, None if it is of another kind.
_OF_KIND: Final[Mapping[Kind, Callable[[Value], Value | None]]] = {
    Kind.WORD: _word,
    Kind.COUNT: _count,
    Kind.NUMBER: _number,
    Kind.TEXT: _text,
    Kind.PHONE: _phone,
}
_CLEANERS: Final = {key: _OF_KIND[kind] for key, kind in KEYS.items()}
_quickly: Final = msgspec.json.Encoder().encode
_to_ascii: Final = json.JSONEncoder(separators=(",", ":")).encode


def _stamp(now: Now) -> _Processor:
    """RFC 3339, UTC, milliseconds; first in the line."""

    def stamp(_logger: object, _method: str, entry: _Entry) -> _Entry:
        at = now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"ts": at, "level": entry.pop("level"), "event": entry.pop("event"), **entry}

    return stamp


def _json(entry: _Entry) -> str:
    """One object in ASCII, which every terminal and every collector takes."""
    try:
        return _quickly(entry).decode("ascii")
    except UnicodeError:  # a character of more than seven bits, or half of one
        return _to_ascii(entry)


def _for_people(_logger: object, _method: str, entry: _Entry) -> str:
    fields = " ".join(f"{key}={value}" for key, value in entry.items() if key not in {"ts", "level", "event"})
    return f"{entry['ts']} {entry['level']:<7} {entry['event']:<20} {fields}".rstrip()


_RENDERERS: Final[Mapping[LogFormat, _Processor]] = {
    LogFormat.JSON: structlog.processors.JSONRenderer(serializer=lambda entry, **_: _json(entry)),
    LogFormat.CONSOLE: _for_people,
}


def _utcnow() -> datetime:
    return datetime.now(UTC)
