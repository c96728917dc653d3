"""recproxy as a target: a complete installation in a directory of its own, for one run.

Keys come from ``recproxy keys generate``, the announcement is one word, spoken once and
kept for later runs. Everything else is as shipped: every call is announced, forked,
encrypted and written through the log, unless the target says otherwise.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml

PURPOSE: Final = "bench"
_G711_STEREO: Final = 8000  # frames a second


class ProxyError(Exception):
    """recproxy cannot be set up."""


@dataclass(frozen=True, slots=True)
class Held:
    """Calls that a target has held, for it to be asked about their recordings.

    Attributes:
        lines: What its first program said.
        calls: How many.
        begun: When the window began.
        least_s: Seconds that each recording must have.
    """

    lines: Sequence[str]
    calls: int
    begun: datetime
    least_s: float


@dataclass(frozen=True, slots=True)
class Proxy:
    """How recproxy is configured.

    Attributes:
        command: How it is run.
        directory: For keys, configuration and data; exists, empty.
        prompts: Where the spoken announcement is kept from run to run.
        calls: Calls that it must hold at once.
        recording: Whether calls are recorded, or only passed on.
        media: Further keys of ``media`` in the configuration.
    """

    command: tuple[str, ...]
    directory: Path
    prompts: Path
    calls: int
    recording: bool = True
    media: Mapping[str, Any] | None = None

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "recproxy.yaml"

    @property
    def data(self) -> Path:
        """What the daemon writes."""
        return self.directory / "data"

    @property
    def identity(self) -> Path:
        """The key that opens the recordings."""
        return self.directory / "keys" / "identity.txt"

    def install(self) -> None:
        """Make keys and write both configuration files.

        Raises:
            ProxyError: ``recproxy keys generate`` failed.
        """
        self.prompts.mkdir(parents=True, exist_ok=True)
        self.run("keys", "generate", "--out", str(self.directory / "keys"))
        self.config.write_text(yaml.safe_dump(self._configuration(), sort_keys=False), encoding="utf-8")
        policy = yaml.safe_dump(self._policy(), sort_keys=False, allow_unicode=True)
        (self.directory / "policy.yaml").write_text(policy, encoding="utf-8")

    def run(self, *arguments: str) -> str:
        """Run a command of recproxy; returns what it said.

        Raises:
            ProxyError: It failed.
        """
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ProxyError(
                f"recproxy {' '.join(arguments[:2])} ended with {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    def fault(self, held: Held) -> str:
        """What is wrong with the recordings of a run, by the daemon's log; empty if nothing."""
        events = list(_events(held.lines))
        sealed = [said for said in events if said["event"] == "recording.sealed"]
        if len(sealed) != held.calls:
            return f"{len(sealed)} of {held.calls} recordings sealed"
        late = [said for said in events if said["event"] == "recording.opened" and _at(said) > held.begun]
        if late:  # their work was put off until nobody measured it
            return f"{len(late)} recordings were opened after the window began"
        if short := [said for said in sealed if said["frames"] < held.least_s * _G711_STEREO]:
            return f"{len(short)} recordings are shorter than {held.least_s:.0f} s"
        if dropped := sum(said.get("ring_dropped", 0) for said in sealed):
            return f"{dropped} packets did not reach the recorder"
        if lost := sum(said.get(f"{leg}_{what}", 0) for said in sealed for leg in _LEGS for what in _MISSING):
            return f"{lost} packets are missing in the recordings"
        try:
            self.run(
                *("recordings", "verify", str(sealed[0]["recording"])),
                *("--config", str(self.config), "--identity", str(self.identity)),
            )
        except ProxyError as err:
            return str(err)
        return ""

    def _configuration(self) -> dict[str, Any]:
        keys = self.directory / "keys"
        return {
            "node": "bench",
            "policy": str(self.directory / "policy.yaml"),
            "sip": {
                "listen": [{"transport": "udp", "address": "127.0.0.1", "port": 5060}],
                "max_calls": min(4096, self.calls + 64),
                "drain": "PT1S",
            },
            "trunks": {
                "carrier": {
                    "peers": ["127.0.0.2"],
                    "targets": "sip:127.0.0.2:5060;transport=udp",
                    "direction": "inbound",
                    "forward_to": "pbx",
                },
                "pbx": {
                    "peers": ["127.0.0.3"],
                    "targets": "sip:127.0.0.3:5060;transport=udp",
                    "direction": "outbound",
                    "forward_to": "carrier",
                },
            },
            "media": {"address": "127.0.0.1", "ports": "20000-59999", **(self.media or {})},
            "storage": {
                "directory": str(self.data),
                "recipients": str(keys / "recipients.txt"),
                "audit_key": str(keys / "audit.key"),
            },
            "announcer": {"directory": str(self.prompts)},
        }

    def _policy(self) -> dict[str, Any]:
        order = {"entitled_party": "Bench", "authorised_by": "Bench", "authorised_on": "2026-01-01"}
        return {
            "controller": {
                "name": "Bench",
                "contact": "bench@example.org",
                "privacy_url": "https://example.org/bench",
            },
            "languages": ["nl"],
            "jurisdictions": {"default": "NL", "unknown": "default"},
            "lines": {"all": {"match": "*" if self.recording else "+999*", **order}},
            "exempt": {},
            "roles": {"bench": {"users": [os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name]}},
            "prompts": {"short": {"text": "Opname."}},
            "key_groups": {"bench": {}},
            "purposes": {PURPOSE: _PURPOSE},
        }


_PURPOSE: Final[Mapping[str, Any]] = {
    "kind": "other",
    "title": {"nl": "Meting"},
    "description": {"nl": "Gesprekken van de belastinggenerator."},
    "basis": {"caller": "contract", "staff": "contract"},
    "dpia": {"not_required": "nobody speaks"},
    "staff": {"works_council": {"none": "nobody works here"}, "notice_ref": "none"},
    "selection": {"mode": "all"},
    "scope": {"lines": ["all"], "directions": ["inbound", "outbound"]},
    "announce": {
        "prompts": {"nl": "short"},
        "staff": "announcement",
        "speak_term": False,
        "on_new_party": "replay",
    },
    "choice": {"mode": "none"},
    "retention": {"keep": "P1D", "rationale": {"nl": "Tot de meting voorbij is."}},
    "access": {"copy": "full", "index": "number", "counterparty_voice": "include", "sla": "P1D"},
    "pause": {"on_hold": True},
    "special_categories": "none",
    "derived": {"transcript": "off", "analytics": "off"},
    "playback": {"roles": ["bench"], "four_eyes": False},
    "recipients": [],
    "transfers": [],
    "failure": {"recorder_down": "block_call"},
    "storage": {"location": "NL", "key_group": "bench"},
    "evidence": {"tombstone_keep": "P1D"},
}
_LEGS: Final = ("caller", "callee")
_MISSING: Final = ("lost", "late")


def _at(said: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(said["ts"]))


def _events(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("{"):
            yield json.loads(line)
