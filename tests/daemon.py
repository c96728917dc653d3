"""recproxy itself, as a process with a complete configuration in a directory of its own.

    rig/
      recproxy.yaml  policy.yaml  recipients.txt  audit.key  index.key    what an operator writes
      identity.txt                                             what the operator keeps elsewhere
      data/                                                    what the daemon writes

The daemon is ready when it says ``daemon.ready``; everything else that the tests
wait for is an event of its log too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from closing import Closing
from loopback import Addresses
from policies import one_line, one_purpose, policy_text, whole
from processes import Process, ProcessError

SIP_PORT = 5060
FIRST_PORT = 20000


@dataclass(frozen=True, slots=True)
class Purpose:
    """One purpose of the test policy.

    Attributes:
        retention: ISO 8601 duration.
        text: What the announcement says; short, so that tests are.
        file: Audio file to play instead of ``text``.
        on_failure: ``continue_unrecorded`` or ``block_call``.
        language: Language of the announcement.
        match: Numbers of its line; of the callee if the call comes in.
        more: Further keys of the purpose, as ``policies.one_purpose`` takes them.
    """

    retention: str = "P30D"
    text: str = "Opname."
    file: str = ""
    on_failure: str = "continue_unrecorded"
    language: str = "nl"
    match: tuple[str, ...] = ("*",)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a test may want otherwise.

    Attributes:
        purposes: By name; each has a line of its own.
        max_calls: Calls at once.
        ports: Number of UDP ports for media.
        latch: Of both trunks.
        callee: Where the callee listens, None for its address and the usual port.
        sip_transport: Transport towards the callee.
        retention_interval: Time between two sweeps.
        drain: Time that calls have to end after SIGTERM.
        listen: Further sockets for SIP.
        media: Further addresses for media.
        api: Sockets of the HTTP API.
        more: Further sections of recproxy.yaml.
    """

    purposes: Mapping[str, Purpose] = field(default_factory=lambda: {"training": Purpose()})
    max_calls: int = 50
    ports: int = 1000
    latch: str = "address"
    callee: tuple[str, int] | None = None
    sip_transport: str = "udp"
    retention_interval: str = "PT1H"
    drain: str = "PT1S"
    listen: tuple[Mapping[str, Any], ...] = ()
    media: tuple[str, ...] = ()
    api: tuple[Mapping[str, Any], ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the daemon's log.

    Attributes:
        index: Its place among the lines.
        at_ns: When the test read it, CLOCK_MONOTONIC.
        event: Its name.
        fields: All of it.
    """

    index: int
    at_ns: int
    event: str
    fields: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    @property
    def recording(self) -> str:
        """Id of the recording it tells of; empty if of none."""
        return str(self.fields.get("recording", ""))


class Daemon(Closing):
    """A configured recproxy; started, stopped and killed as often as a test likes."""

    def __init__(self, directory: Path, addresses: Addresses, prompts: Path, settings: Settings) -> None:
        self.directory: Path = directory
        self.addresses: Addresses = addresses
        self.settings: Settings = settings
        self.data: Path = directory / "data"
        self.identity: Path = directory / "identity.txt"
        self.config: Path = directory / "recproxy.yaml"
        self.policy: Path = directory / "policy.yaml"
        self.sip: tuple[str, int] = (addresses.daemon, SIP_PORT)
        self.logs: list[str] = []
        self._prompts = prompts
        self._process: Process | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._make_keys()
        self.write(settings)

    # ---- configuration ---------------------------------------------------
    def write(self, settings: Settings) -> None:
        """Write both configuration files."""
        self.settings = settings
        self.config.write_text(yaml.safe_dump(self._recproxy_yaml(settings), sort_keys=False))
        self.policy.write_text(policy_text(self._policy_yaml(settings)))

    def change(self, **changes: Any) -> None:
        """Write the configuration anew with some settings changed."""
        self.write(replace(self.settings, **changes))

    # ---- life ------------------------------------------------------------
    def start(self, *, within_s: float = 60.0) -> Said:
        """Start it and wait until it is ready; returns its ``daemon.ready``.

        Raises:
            ProcessError: It did not get ready.
        """
        self.launch()
        return self.wait("daemon.ready", within_s=within_s)

    def launch(self, *, descriptors: int = 0) -> Process:
        """Start it without waiting, with so many descriptors at most (0: as many as we may)."""
        self.close()
        limit = ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []
        self._process = Process(
            [*limit, *recproxy(), "run", "--config", str(self.config)],
            name="recproxy",
            environment={**os.environ, "PYTHONUNBUFFERED": "1"},
            merge_stderr=False,
        )
        return self._process

    def stop(self, *, within_s: float = 30.0) -> int:
        """Ask it to stop (SIGTERM) and wait; returns its exit status.

        Raises:
            ProcessError: It did not stop.
        """
        process = self._running()
        process.signal(signal.SIGTERM)
        status = process.wait(within_s=within_s)
        self._keep_log()
        return status

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self._running().kill()
        self._keep_log()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._running().signal(number)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    # ---- what it says ----------------------------------------------------
    def said(self, event: str = "", start: int = 0) -> list[Said]:
        """Events so far from line ``start`` on, all or those of one name."""
        process = self._running()
        found = []
        for index, line in enumerate(process.lines[start:], start):
            fields = _fields(line)
            if fields and (not event or fields.get("event") == event):
                found.append(Said(index, process.said_ns(index), str(fields.get("event", "")), fields))
        return found

    def wait(self, event: str, *, within_s: float = 30.0, start: int = 0, **fields: Any) -> Said:
        """Wait for an event with these fields, from line ``start`` on.

        Raises:
            ProcessError: It did not come.
        """

        def wanted(line: str) -> bool:
            said = _fields(line)
            return said.get("event") == event and all(said.get(key) == value for key, value in fields.items())

        what = event + "".join(f" {key}={value}" for key, value in fields.items())
        process = self._running()
        index = process.wait_line(wanted, what=what, within_s=within_s, start=start)
        return Said(index, process.said_ns(index), event, _fields(process.lines[index]))

    @property
    def mark(self) -> int:
        """Number of lines so far: pass it as ``start`` to look only at what comes."""
        return len(self._running().lines)

    @property
    def everything_said(self) -> str:
        """All output of all its lives, both streams."""
        now = [] if self._process is None else [*self._process.lines, *self._process.errors]
        return "\n".join([*self.logs, *now])

    def audited(self) -> list[dict[str, Any]]:
        """Lines of the audit chain; one that is being written is not there yet."""
        written, _, _ = (self.data / "audit" / "chain.jsonl").read_text().rpartition("\n")
        return [json.loads(line) for line in written.splitlines()]

    # ---- the command line ------------------------------------------------
    def cli(
        self, *arguments: str, check: bool = True, within_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run ``recproxy`` with this configuration.

        Raises:
            ProcessError: It failed though ``check`` asks it not to.
        """
        done = subprocess.run(
            [*recproxy(), *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=within_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode != 0:
            raise ProcessError(
                f"recproxy {' '.join(arguments)} failed ({done.returncode})\n{done.stdout}{done.stderr}"
            )
        return done

    def export(self, recording: str, to: Path) -> Path:
        """Export a recording as the operator would, with the identity file."""
        use = json.loads(self.cli("recordings", "show", recording, "--json").stdout)["purpose"]
        self.cli(
            *("recordings", "export", recording, "--use", use),
            *("--identity", str(self.identity), "--output", str(to)),
        )
        return to

    # ---- what it wrote ---------------------------------------------------
    def key(self, recording: str) -> Path:
        """Where the age header of a recording of one purpose is."""
        found = list((self.data / "keys").glob(f"{recording}.*"))
        assert len(found) <= 1, f"{len(found)} headers of {recording}"
        return found[0] if found else self.data / "keys" / recording

    def bodies(self) -> list[Path]:
        """Bodies of recordings, finished or not."""
        return sorted(p for p in (self.data / "recordings").rglob("*") if p.is_file())

    def body(self, recording: str) -> Path:
        """The body of one recording.

        Raises:
            FileNotFoundError: There is none.
        """
        for path in self.bodies():
            if path.name == f"{recording}.age":
                return path
        raise FileNotFoundError(f"no body of {recording} under {self.data / 'recordings'}")

    def open_with_age(self, recording: str) -> bytes:
        """Header and body through the stock age binary."""
        return age_decrypt(
            self.key(recording).read_bytes() + self.body(recording).read_bytes(), self.identity
        )

    def files(self) -> list[Path]:
        """Every file under the data directory."""
        return sorted(p for p in self.data.rglob("*") if p.is_file())

    # ---- end -------------------------------------------------------------
    def close(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            self._process.close()

    # ---- parts -----------------------------------------------------------
    def _running(self) -> Process:
        if self._process is None:
            raise ProcessError("recproxy was not started")
        return self._process

    def _keep_log(self) -> None:
        process = self._running()
        self.logs += [*process.lines, *process.errors]

    def _make_keys(self) -> None:
        """Make identity.txt, recipients.txt, audit.key and index.key as an operator does."""
        done = subprocess.run(
            [*recproxy(), "keys", "generate", "--out", str(self.directory)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ProcessError(
                f"recproxy keys generate failed ({done.returncode})\n{done.stdout}{done.stderr}"
            )

    def _recproxy_yaml(self, settings: Settings) -> dict[str, Any]:
        here = self.addresses
        callee = settings.callee or (here.callee, SIP_PORT)
        server = f"[{callee[0]}]" if ":" in callee[0] else callee[0]
        return {
            "version": 1,
            "node": "rig",
            "policy": str(self.policy),
            "sip": {
                "listen": [
                    *(
                        {"transport": name, "address": here.daemon, "port": SIP_PORT}
                        for name in ("udp", "tcp")
                    ),
                    *(dict(more) for more in settings.listen),
                ],
                "max_calls": settings.max_calls,
                "drain": settings.drain,
            },
            "trunks": {
                "carrier": {
                    "peers": [here.caller],
                    "targets": f"sip:{here.caller}:{SIP_PORT};transport=udp",
                    "direction": "inbound",
                    "forward_to": "pbx",
                    "latch": settings.latch,
                },
                "pbx": {
                    "peers": [callee[0]],
                    "targets": f"sip:{server}:{callee[1]};transport={settings.sip_transport}",
                    "direction": "outbound",
                    "forward_to": "carrier",
                    "latch": settings.latch,
                },
            },
            "media": {
                "address": [here.daemon, *settings.media],
                "ports": f"{FIRST_PORT}-{FIRST_PORT + settings.ports - 1}",
            },
            "storage": {
                "directory": str(self.data),
                "recipients": str(self.directory / "recipients.txt"),
                "audit_key": str(self.directory / "audit.key"),
                "index_key": str(self.directory / "index.key"),
            },
            "announcer": {"directory": str(self._prompts)},
            "retention": {"interval": settings.retention_interval},
            "api": {"listen": [dict(one) for one in settings.api], "tokens": str(self.directory / "tokens")},
            "log": {"level": "info", "format": "json"},
            **settings.more,
        }

    @staticmethod
    def _policy_yaml(settings: Settings) -> dict[str, Any]:
        purposes, prompts, lines = {}, {}, {}
        for name, purpose in settings.purposes.items():
            prompts[name] = {"file": purpose.file} if purpose.file else {"text": purpose.text}
            lines[name] = one_line(*purpose.match)
            purposes[name] = one_purpose(
                title={"nl": name, "en": name},
                description={"nl": f"Proef {name}.", "en": f"Test {name}."},
                scope={"lines": [name], "directions": ["inbound", "outbound"]},
                announce__prompts={purpose.language: name},
                retention__keep=purpose.retention,
                failure__recorder_down=purpose.on_failure,
                **purpose.more,
            )
        languages = list(dict.fromkeys(purpose.language for purpose in settings.purposes.values()))
        return whole(purposes, languages=languages, lines=lines, prompts=prompts)


def _fields(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    fields: dict[str, Any] = json.loads(line)
    return fields


def recproxy() -> list[str]:
    """How the program under test is run: with the interpreter that runs the tests.

    ``RECPROXY_COMMAND`` names another one, such as an installed package's.
    """
    return os.environ.get("RECPROXY_COMMAND", f"{sys.executable} -m recproxy").split()


def age_decrypt(sealed: bytes, identity: Path) -> bytes:
    """Open an age file with the stock age binary.

    Raises:
        ProcessError: age refuses it; the message is its own.
    """
    done = subprocess.run(["age", "-d", "-i", str(identity)], input=sealed, capture_output=True, check=False)
    if done.returncode != 0:
        raise ProcessError(f"age -d: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def eventually(true: Any, *, within_s: float, what: str) -> None:
    """Look until ``true()`` holds, for facts that no event tells (a file that goes away).

    Raises:
        AssertionError: It never did.
    """
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.02)
