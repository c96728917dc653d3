"""The event log in a system log: every line, in order, and nobody waits for a log that does not listen."""

from __future__ import annotations

import contextlib
import io
import json
import queue
import re
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recproxy.eventlog import EventLog, LogConfig
from recproxy.forwarding import Forwarder, forwarded
from recproxy.logevents import LogLevel
from recproxy.syslog import parse_target

AT = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
HEAD = re.compile(rb"<(\d+)>1 2\d{3}-\S+Z rig recproxy \d+ (\S+) - (.*)\Z")


class Listener:
    """A system log: its messages, as they come."""

    def __init__(self, transport: str, directory: Path, port: int = 0) -> None:
        self.messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._tcp = transport == "tcp"
        self._stream: socket.socket | None = None
        if transport == "local":
            path = directory / "log"
            path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(str(path))
            self.target = str(path)
        elif self._tcp:
            self._socket = socket.create_server(("127.0.0.1", port))
            self.target = f"tcp://127.0.0.1:{self._socket.getsockname()[1]}"
        else:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(("127.0.0.1", port))
            self.target = f"udp://127.0.0.1:{self._socket.getsockname()[1]}"
        self.port = 0 if transport == "local" else self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def next(self) -> tuple[int, str, str]:
        """Priority, MSGID and text of the next one."""
        found = HEAD.match(self.messages.get(timeout=20))
        assert found is not None
        return int(found[1]), found[2].decode(), found[3].decode()

    def close(self) -> None:
        for one in (self._stream, self._socket):
            if one is not None:
                with contextlib.suppress(OSError):  # not connected: it wakes who reads all the same
                    one.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(20)

    def _listen(self) -> None:
        try:
            while True:
                if not self._tcp:
                    data = self._socket.recv(65536)
                    if not data:
                        return
                    self.messages.put(data)
                    continue
                stream, _ = self._socket.accept()
                self._stream = stream
                with stream, stream.makefile("rb") as whole:
                    while size := _size(whole):
                        self.messages.put(whole.read(size))
        except OSError:
            return


def _size(stream: io.BufferedReader) -> int:
    digits = b""
    while (one := stream.read(1)) not in {b" ", b""}:
        digits += one
    return int(digits) if digits else 0


@pytest.mark.parametrize("transport", ["local", "udp", "tcp"])
def test_every_line_is_sent_on_with_its_severity(tmp_path: Path, transport: str) -> None:
    listener = Listener(transport, tmp_path)
    out = io.StringIO()
    config = LogConfig(syslog=parse_target(listener.target))
    log = EventLog(out, config, lambda: AT, strict=True)
    with forwarded(log, config, "rig"):
        log.emit("daemon.started", node="rig", pid=1)
        log.emit("call.offered", call_ref="c1", caller="+31612345678")
        with log.gathered():
            log.emit("call.refused", call_ref="c1", code=404)
        log.emit("leg.failed", what="x")
        log.emit("sip.logged", what="below the level")
    log.emit("daemon.stopped")
    got = [listener.next() for _ in range(4)]
    assert [(priority, kind) for priority, kind, _ in got] == [
        (30, "daemon.started"),
        (30, "call.offered"),
        (28, "call.refused"),
        (27, "leg.failed"),
    ]
    lines = out.getvalue().splitlines()
    assert [text for _, _, text in got] == lines[:4], "word for word as on standard output"
    assert json.loads(got[1][2])["caller"] == "+3161•••••78"
    assert listener.messages.empty()
    listener.close()


@pytest.mark.parametrize("transport", ["local", "tcp"])
def test_a_log_that_comes_back_gets_what_waited(tmp_path: Path, transport: str) -> None:
    first = Listener(transport, tmp_path)
    told: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    forwarder = Forwarder(
        parse_target(first.target), "rig", lambda why, lost: told.put((why, lost)), pause_s=0.01
    )
    forwarder.put(LogLevel.INFO, "a.b", "one")
    assert first.next()[2] == "one"
    first.close()
    number = 0
    why = ""
    while not why:  # over TCP what is sent before the other end says that it is gone is lost
        number += 1
        forwarder.put(LogLevel.INFO, "a.b", f"gone {number}")
        try:
            why, lost = told.get(timeout=0.2)
        except queue.Empty:
            continue
        assert lost == 0
    forwarder.put(LogLevel.ERROR, "a.b", "last")
    second = Listener(transport, tmp_path, first.port)
    assert told.get(timeout=20) == ("", 0)
    got = second.next()
    while got[2] != "last":
        got = second.next()
    assert got[0] == 27
    forwarder.close()
    second.close()


def test_what_a_log_that_stays_away_costs_is_counted_and_nobody_waits(tmp_path: Path) -> None:
    told: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    target = parse_target(str(tmp_path / "log"))
    forwarder = Forwarder(
        target, "rig", lambda why, lost: told.put((why, lost)), most_waiting=2, pause_s=0.01
    )
    forwarder.put(LogLevel.INFO, "a.b", "0")
    assert told.get(timeout=20)[0]
    for number in range(1, 10):
        forwarder.put(LogLevel.INFO, "a.b", str(number))
    listener = Listener("local", tmp_path)
    assert told.get(timeout=20) == ("", 7)
    assert [listener.next()[2] for _ in range(3)] == ["0", "1", "2"]
    forwarder.close()
    listener.close()


def test_without_a_target_nothing_is_started() -> None:
    before = threading.active_count()
    with forwarded(EventLog(io.StringIO(), LogConfig(), lambda: AT), LogConfig(), "rig"):
        assert threading.active_count() == before


def test_the_end_does_not_wait_for_a_log_that_is_not_there(tmp_path: Path) -> None:
    out = io.StringIO()
    config = LogConfig(syslog=parse_target(str(tmp_path / "log")))
    log = EventLog(out, config, lambda: AT, strict=True)
    with forwarded(log, config, "rig"):
        log.emit("daemon.started", node="rig", pid=1)
    said = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert "daemon.started" in said
