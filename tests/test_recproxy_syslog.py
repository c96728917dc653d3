"""Lines for a system log, and the chain's head in it after each sweep."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import recproxy
from recorded import Take, make_shelf, record

from recproxy.syslog import SyslogMessage, SyslogTarget, SyslogTransport, encode, parse_target, send

MESSAGE = SyslogMessage(datetime(2026, 11, 24, 12, tzinfo=UTC), "rig one", "chain.head", "seq=1")
LINE = b"<110>1 2026-11-24T12:00:00.000Z rig_one recproxy - chain.head - seq=1"


def test_a_message_is_as_the_rfc_wants_it() -> None:
    assert encode(MESSAGE) == LINE


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("/dev/log", SyslogTarget(SyslogTransport.LOCAL, "/dev/log")),
        ("udp://log.example", SyslogTarget(SyslogTransport.UDP, "log.example", 514)),
        ("tcp://[::1]:6514", SyslogTarget(SyslogTransport.TCP, "::1", 6514)),
    ],
)
def test_targets(text: str, target: SyslogTarget) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["", "log.example", "udp://", "udp://a:0", "tcp://a:99999", "http://a"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ValueError, match="/dev/log"):
        parse_target(text)


def _local(directory: Path) -> tuple[str, Callable[[], bytes], socket.socket]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(directory / "log"))
    return str(directory / "log"), lambda: listener.recv(9000), listener


def _udp(_directory: Path) -> tuple[str, Callable[[], bytes], socket.socket]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    return f"udp://127.0.0.1:{listener.getsockname()[1]}", lambda: listener.recv(9000), listener


def _tcp(_directory: Path) -> tuple[str, Callable[[], bytes], socket.socket]:
    listener = socket.create_server(("127.0.0.1", 0))

    def read() -> bytes:
        stream, _ = listener.accept()
        with stream, stream.makefile("rb") as whole:
            counted, _, line = whole.read().partition(b" ")
            assert int(counted) == len(line)
            return line

    return f"tcp://127.0.0.1:{listener.getsockname()[1]}", read, listener


@pytest.mark.parametrize("listen", [_local, _udp, _tcp])
def test_the_head_of_the_chain_is_told_after_each_sweep(
    tmp_path: Path, listen: Callable[[Path], tuple[str, Callable[[], bytes], socket.socket]]
) -> None:
    target, read, listener = listen(tmp_path)
    with listener:
        send(parse_target(target), MESSAGE)
        assert read() == LINE
        shelf = make_shelf(tmp_path / "shelf")
        record(shelf, Take(1, datetime.now(UTC) - timedelta(days=1)))
        shelf.config.write_text(f"{shelf.config.read_text()}audit: {{syslog: '{target}'}}\n")
        assert recproxy("retention", "--once", "-c", shelf.config).code == 0
        told = re.search(rb"chain.head - seq=([0-9]+) sha256=([0-9a-f]{64})$", read())
    assert told is not None
    seen = recproxy("audit", "verify", "-c", shelf.config, "--seen", told[2].decode())
    assert seen.code == 0, seen.err


def test_a_log_that_is_not_there_does_not_stop_the_sweep(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, Take(1, datetime.now(UTC) - timedelta(days=1)))
    shelf.config.write_text(f"{shelf.config.read_text()}audit: {{syslog: {tmp_path}/none}}\n")
    done = recproxy("retention", "--once", "-c", shelf.config)
    assert done.code == 0
    assert '"audit.failed"' in done.out
    assert '"what":"syslog"' in done.out
