"""Policies for tests: one that is right, and changes to it."""

from __future__ import annotations

import copy
import os
import pwd
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import yaml

from announcer.texts import BUILT_IN
from recproxy import policy
from recproxy.policy import Policy, Surroundings

TODAY: Final = date(2026, 11, 24)
KEY: Final = "5a" * 32  # of samples and of confidential numbers
FOR_EVER: Final = "2999-01-01"
OPERATOR: Final = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
"""Who runs the tests, as recproxy sees it."""


def one_line(*match: str, **more: Any) -> dict[str, Any]:
    """A line that somebody ordered to be recorded."""
    return {
        "match": list(match),
        "entitled_party": "Proef BV",
        "authorised_by": "directie",
        "authorised_on": "2026-01-01",
        **more,
    }


def one_purpose(**changes: Any) -> dict[str, Any]:
    """A purpose without fault; ``retention__keep`` changes that key, None takes one out."""
    made: dict[str, Any] = {
        "kind": "other",
        "title": {"nl": "Training", "en": "Training"},
        "description": {"nl": "Om te proberen.", "en": "To try."},
        "basis": {"caller": "legitimate_interest", "staff": "legitimate_interest"},
        "balancing": {
            "ref": "LIA-1",
            "sha256": "0" * 64,
            "date": "2026-01-01",
            "review_by": FOR_EVER,
            "interest": "Goed werk",
            "necessity": "Niets milders helpt",
            "alternatives": ["aantekening"],
            "impact": "Gering",
            "safeguards": ["korte termijn"],
            "outcome": "proceed",
            "approved_by": "FG",
        },
        "dpia": {"ref": "DPIA-1", "date": "2026-01-01"},
        "staff": {"works_council": {"ref": "OR-1", "date": "2026-01-01"}, "notice_ref": "STAFF-1"},
        "selection": {"mode": "all"},
        "scope": {"lines": ["all"], "directions": ["inbound", "outbound"]},
        "announce": {
            "prompts": {"nl": "training"},
            "staff": "announcement",
            "speak_term": False,
            "on_new_party": "replay",
        },
        "choice": {"mode": "none"},
        "retention": {"keep": "P30D", "rationale": {"nl": "Zo lang duurt het."}},
        "access": {"copy": "full", "index": "number", "counterparty_voice": "include", "sla": "P14D"},
        "pause": {"on_hold": True},
        "special_categories": "none",
        "derived": {"transcript": "off", "analytics": "off"},
        "playback": {"roles": ["coach"], "four_eyes": False},
        "recipients": [],
        "transfers": [],
        "failure": {"recorder_down": "continue_unrecorded"},
        "storage": {"location": "NL", "key_group": "main"},
        "evidence": {"tombstone_keep": "P365D"},
    }
    return changed(made, **changes)


def whole(purposes: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A whole policy without fault: all calls are for ``training``, unless told otherwise."""
    made: dict[str, Any] = {
        "version": 1,
        "controller": {
            "name": "Proef BV",
            "contact": "privacy@example.org",
            "privacy_url": "https://example.org/bellen",
        },
        "languages": ["nl"],
        "jurisdictions": {"default": "NL", "unknown": "default"},
        "lines": {"all": one_line("*")},
        "exempt": {},
        "roles": {"coach": {"users": ["coach1", "recproxy", OPERATOR]}, "legal": {"users": ["bert"]}},
        "key_groups": {"main": {}},
        "purposes": dict(purposes) if purposes is not None else {"training": one_purpose()},
    }
    return changed(made, **changes)


def changed(made: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A document with some keys set (``a__b``), or taken out (None)."""
    for path, value in changes.items():
        *way, last = path.split("__")
        part = made
        for step in way:
            part = part.setdefault(step, {})
        if value is None:
            part.pop(last, None)
        else:
            part[last] = copy.deepcopy(value)
    return made


def policy_text(document: Mapping[str, Any]) -> str:
    """A document as YAML."""
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True)


def examined(document: Mapping[str, Any] | str, **around: Any) -> policy.Report:
    """What an examination of a document finds; ``files`` by name are what it may read."""
    files: Mapping[str, bytes] = around.pop("files", {"sample.key": KEY.encode()})

    def attached(name: str, *, secret: bool = False) -> bytes:
        if name not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[name]

    text = document if isinstance(document, str) else policy_text(document)
    surroundings = Surroundings(**{"today": TODAY, "built_in": BUILT_IN, **around})
    return policy.examine([policy.Source("policy.yaml", text)], surroundings, attached)


def parsed(document: Mapping[str, Any] | str, **around: Any) -> Policy:
    """The policy that a document is; its problems fail the test."""
    report = examined(document, **around)
    assert report.policy is not None, "\n".join(map(str, report.problems))
    return report.policy
