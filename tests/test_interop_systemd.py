"""The units under a real systemd: ready, watchdog, credentials, reload, stop with a call that is up."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sdp_bodies
from daemon import Daemon, Settings
from loopback import Addresses
from rig import NUMBER
from rtp_peer import RtpPeer
from softphone import Softphone
from systemd_machine import SOURCES, Machine, obstacle

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not (SOURCES / "etc").exists(), reason="runs where the units are"),
    pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
]
UNIT = "recproxy.service"
CREDENTIALS = """\
[Service]
LoadCredential=audit.key:/etc/recproxy-keys/audit.key
LoadCredential=index.key:/etc/recproxy-keys/index.key
"""
DROP_IN = f"{CREDENTIALS}WatchdogSec=12\n"
HERE = Addresses.in_network("127.0.7")


RUN = """\
#!/bin/sh
export PYTHONPATH=/opt/recproxy/sources:/opt/recproxy/packages LD_LIBRARY_PATH=/opt/recproxy/python/lib
exec /opt/recproxy/python/bin/python3 -m recproxy "$@"
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("systemd")
    with Machine(directory) as booted:
        _install(booted)
        _configure(booted, directory / "rig")
        booted.systemctl("daemon-reload")
        yield booted


def _install(machine: Machine) -> None:
    """As docs/install.md says, but that the program is this tree's."""
    program = machine.root / "opt/recproxy/bin/recproxy"
    program.write_text(RUN)
    program.chmod(0o755)
    home = ("--system", "--home-dir", "/var/lib/recproxy", "--shell", "/usr/sbin/nologin")
    machine.run("useradd", *home, "recproxy", check=False)  # who has it installed has the user
    for unit in ("recproxy", "recproxy-retention"):
        place = machine.root / f"etc/systemd/system/{unit}.service.d"
        place.mkdir(parents=True)
        (place / "test.conf").write_text(
            DROP_IN if unit == "recproxy" else DROP_IN.replace("WatchdogSec=12\n", "")
        )
        shutil.copy(SOURCES / "etc" / f"{unit}.service", place.parent)


def _configure(machine: Machine, directory: Path) -> None:
    """A configuration whose keys lie where only root reads them."""
    etc, keys = machine.root / "etc/recproxy", machine.root / "etc/recproxy-keys"
    etc.mkdir(mode=0o700)
    keys.mkdir(mode=0o700)
    daemon = Daemon(directory, HERE, Path("/var/lib/recproxy/announcements"), Settings())
    written = daemon.config.read_text().replace(str(daemon.data), "/var/lib/recproxy")
    for name in ("audit.key", "index.key"):
        written = written.replace(str(directory / name), f"${{CREDENTIALS_DIRECTORY}}/{name}")
        shutil.copy(directory / name, keys / name)
    written = written.replace(str(directory), "/etc/recproxy")
    (etc / "recproxy.yaml").write_text(
        written + "cdr: {directory: /var/lib/recproxy-cdr}\nsubjects: {directory: /var/lib/recproxy-cases}\n"
    )
    for name in ("policy.yaml", "recipients.txt"):
        shutil.copy(directory / name, etc / name)
    (etc / "tokens").touch()
    machine.run("sh", "-euc", "chmod 0600 /etc/recproxy/*; chown -R recproxy:recproxy /etc/recproxy")


def _said(machine: Machine, unit: str = UNIT) -> list[dict[str, Any]]:
    return [json.loads(line) for line in machine.journal(unit) if line.startswith("{")]


def _running(machine: Machine) -> str:
    """Start the daemon if it is not up; returns its process. Tests come in any order."""
    machine.systemctl("start", UNIT)
    process = machine.property(UNIT, "MainPID")
    assert int(process) > 1, "kill takes 0 for whoever asks"
    return process


def _events(machine: Machine, unit: str = UNIT) -> list[str]:
    return [str(one["event"]) for one in _said(machine, unit)]


def test_start_waits_until_it_is_ready_and_its_keys_come_as_credentials(machine: Machine) -> None:
    process = _running(machine)
    assert machine.property(UNIT, "ActiveState") == "active"
    assert machine.property(UNIT, "Type") == "notify"
    assert "daemon.ready" in _events(machine), "systemctl start came back when it was ready"
    user = machine.run("stat", "-c", "%U", f"/proc/{process}")
    assert user == "recproxy"
    assert machine.run("ls", "/etc/recproxy").split() == [
        "policy.yaml",
        "recipients.txt",
        "recproxy.yaml",
        "tokens",
    ]
    modes = machine.run("stat", "-c", "%a %U", "/var/lib/recproxy", "/var/lib/recproxy-cdr").split("\n")
    assert modes == ["700 recproxy"] * 2


def test_a_reload_is_taken_over_or_refused_as_a_whole(machine: Machine) -> None:
    before = _running(machine)
    config = machine.root / "etc/recproxy/recproxy.yaml"
    text = config.read_text()
    config.write_text(text.replace("drain: PT1S", "drain: PT2S"))
    machine.systemctl("reload", UNIT)
    machine.until(lambda: "config.loaded" in _events(machine))
    config.write_text(text.replace("drain: PT1S", "drain: soon"))
    machine.systemctl("reload", UNIT)
    machine.until(lambda: "config.rejected" in _events(machine))
    config.write_text(text)
    assert (machine.property(UNIT, "MainPID"), machine.property(UNIT, "ActiveState")) == (before, "active")


def test_retention_runs_beside_it_and_may_write_what_expires(machine: Machine) -> None:
    _running(machine)
    old = machine.root / "var/lib/recproxy-cdr/2025-01-01.jsonl"
    old.write_text("{}\n")
    machine.run("chown", "recproxy:recproxy", "/var/lib/recproxy-cdr/2025-01-01.jsonl")
    machine.systemctl("start", "recproxy-retention.service")
    assert machine.property("recproxy-retention.service", "ActiveState") == "active"
    machine.until(lambda: "retention.swept" in _events(machine, "recproxy-retention.service"))
    machine.until(lambda: not old.exists())
    events = _events(machine, "recproxy-retention.service")
    assert not [event for event in events if event.endswith(".failed")], machine.journal(
        "recproxy-retention.service"
    )
    machine.systemctl("stop", "recproxy-retention.service")
    assert machine.property("recproxy-retention.service", "Result") == "success"


def test_a_daemon_that_hangs_is_started_anew(machine: Machine) -> None:
    before = _running(machine)
    ready = _events(machine).count("daemon.ready")
    machine.run("kill", "-STOP", before)
    machine.until(lambda: _events(machine).count("daemon.ready") == ready + 1, within_s=90)
    machine.until(lambda: machine.property(UNIT, "ActiveState") == "active")
    assert machine.property(UNIT, "NRestarts") == "1"
    assert machine.property(UNIT, "MainPID") != before


def test_a_stop_lets_a_call_end_and_seals_its_recording(machine: Machine, tmp_path: Path) -> None:
    _running(machine)
    before = len(_events(machine))
    with contextlib.ExitStack() as stack:
        with machine.network():
            caller = stack.enter_context(Softphone(HERE.caller))
            callee = stack.enter_context(Softphone(HERE.callee))
            left, right = RtpPeer(HERE.caller), RtpPeer(HERE.callee)
        stack.enter_context(left)
        stack.enter_context(right)
        dialog = caller.invite(NUMBER, (HERE.daemon, 5060), sdp_bodies.audio(left.address, left.port))
        incoming = callee.next_call()
        incoming.answer(sdp_bodies.audio(right.address, right.port))
        dialog.wait_answer()
        machine.until(lambda: "recording.opened" in _events(machine)[before:])
        stopping = threading.Thread(target=machine.systemctl, args=("stop", UNIT))
        stopping.start()
        assert dialog.wait_ended().method == "BYE", "after sip.drain it is ended"
        stopping.join(60)
    events = _events(machine)[before:]
    assert events.index("daemon.draining") < events.index("recording.sealed") < events.index("daemon.stopped")
    shown = {name: machine.property(UNIT, name) for name in ("ActiveState", "Result", "ExecMainStatus")}
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    records = machine.root / "var/lib/recproxy-cdr"
    assert sum(len(path.read_text().splitlines()) for path in records.glob("20*.jsonl")) == 1
