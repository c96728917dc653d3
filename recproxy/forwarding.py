"""The event log to a system log besides: from a thread of its own, that nobody waits for.

Each line is one message (RFC 5424): the facility is ``daemon``, the severity that of the event, MSGID
its name. What a log that does not take them costs is counted and told, on standard output.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from recproxy.eventlog import EventLog, LogConfig
from recproxy.logevents import LogLevel
from recproxy.syslog import SyslogChannel, SyslogMessage, SyslogTarget

__all__ = ["Forwarder", "forwarded"]

_DAEMON: Final = 3 << 3  # facility "system daemons" (RFC 5424 section 6.2.1)
_SEVERITIES: Final = {
    LogLevel.DEBUG: 7,
    LogLevel.INFO: 6,
    LogLevel.WARNING: 4,
    LogLevel.ERROR: 3,
}
_MOST_WAITING: Final = 10_000
_PAUSE_S: Final = 1.0  # after a failure, before the next try
_FAREWELL_S: Final = 3.0  # for what still waits at the end


@dataclass(frozen=True, slots=True)
class _Line:
    level: LogLevel
    event: str
    text: str
    at: datetime


class Forwarder:
    """Sends lines on, in order; ``put`` from any thread."""

    def __init__(
        self,
        target: SyslogTarget,
        node: str,
        told: Callable[[str, int], None],
        *,
        most_waiting: int = _MOST_WAITING,
        pause_s: float = _PAUSE_S,
    ) -> None:
        """Start the thread.

        Args:
            target: Where to.
            node: Name of this machine.
            told: Called from the thread when sending begins to fail, with why and 0, and when it
                works again, with nothing and the number of lines that were lost meanwhile.
            most_waiting: Lines that wait while they cannot be sent; what is beyond that is lost.
            pause_s: Seconds after a failure before the next try.
        """
        self._channel = SyslogChannel(target)
        self._node = node
        self._told = told
        self._pause_s = pause_s
        self._queue: queue.Queue[_Line | None] = queue.Queue(most_waiting)
        self._lost = 0
        self._counting = threading.Lock()
        self._failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="syslog", daemon=True)
        self._thread.start()

    def put(self, level: LogLevel, event: str, text: str) -> None:
        """Take a line; at once. Any thread."""
        try:
            self._queue.put_nowait(_Line(level, event, text, datetime.now(UTC)))
        except queue.Full:
            with self._counting:
                self._lost += 1

    def close(self) -> None:
        """Send what waits, for some seconds at most, and end the thread."""
        self._closing.set()
        with suppress(queue.Full):
            self._queue.put(None, timeout=_FAREWELL_S)
        self._thread.join(_FAREWELL_S)
        self._channel.close()

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            while not self._sent(line):
                if self._closing.wait(self._pause_s):
                    return

    def _sent(self, line: _Line) -> bool:
        message = SyslogMessage(
            line.at,
            self._node,
            line.event,
            line.text,
            priority=_DAEMON | _SEVERITIES[line.level],
            process=str(os.getpid()),
        )
        try:
            self._channel.send(message)
        except OSError as err:
            if not self._failing:
                self._failing = True
                self._told(err.strerror or str(err), 0)
            return False
        if self._failing:
            self._failing = False
            with self._counting:
                lost, self._lost = self._lost, 0
            self._told("", lost)
        return True


@contextmanager
def forwarded(log: EventLog, config: LogConfig, node: str) -> Iterator[None]:
    """Send the lines of ``log`` to the system log that is configured, if one is, while in the context."""
    if config.syslog is None:
        yield
        return

    def told(why: str, lost: int) -> None:
        if why:
            log.emit("syslog.failed", why=why)
        else:
            log.emit("syslog.recovered", count=lost)

    forwarder = Forwarder(config.syslog, node, told)
    log.forward_to(forwarder.put)
    try:
        yield
    finally:
        log.forward_to(None)
        forwarder.close()
