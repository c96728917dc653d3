"""What systemd is told, and that nobody pays when it cannot be told."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from recproxy.sdnotify import ServiceManager


@pytest.fixture
def failures() -> list[str]:
    return []


@contextlib.contextmanager
def manager_at(address: str) -> Iterator[socket.socket]:
    """A service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        end.settimeout(20)
        yield end


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_each_message_is_one_datagram(tmp_path: Path, failures: list[str], kind: str) -> None:
    name = f"recproxy-test-{os.getpid()}"
    bound, shown = (
        (str(tmp_path / "notify"), str(tmp_path / "notify")) if kind == "path" else (f"\0{name}", f"@{name}")
    )
    with manager_at(bound) as end:
        manager = ServiceManager({"NOTIFY_SOCKET": shown}, failures.append)
        manager.ready()
        manager.watchdog()
        manager.stopping()
        assert [end.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]
    assert failures == []


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_a_service_manager_nothing_is_done(environment: dict[str, str], failures: list[str]) -> None:
    manager = ServiceManager(environment, failures.append)
    manager.ready()
    manager.watchdog()
    manager.stopping()
    assert failures == []


def test_a_manager_that_is_gone_is_said_once_until_it_is_back(tmp_path: Path, failures: list[str]) -> None:
    place = tmp_path / "notify"
    manager = ServiceManager({"NOTIFY_SOCKET": str(place)}, failures.append)
    manager.ready()
    manager.watchdog()
    assert failures == ["READY=1 could not be sent to NOTIFY_SOCKET: No such file or directory"]
    with manager_at(str(place)) as end:
        manager.watchdog()
        assert end.recv(100) == b"WATCHDOG=1"
    manager.watchdog()
    manager.watchdog()
    assert failures[1:] == ["WATCHDOG=1 could not be sent to NOTIFY_SOCKET: Connection refused"]


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path, failures: list[str]) -> None:
    place = str(tmp_path / "notify")
    with manager_at(place):
        manager = ServiceManager({"NOTIFY_SOCKET": place}, failures.append)

        def fill() -> None:
            for _ in range(100_000):  # far more than net.unix.max_dgram_qlen
                if failures:
                    return
                manager.watchdog()

        filler = threading.Thread(target=fill, daemon=True)
        filler.start()
        filler.join(20)
        assert not filler.is_alive(), "the sender waits for a reader"
        assert failures == ["WATCHDOG=1 could not be sent to NOTIFY_SOCKET: timed out"]
