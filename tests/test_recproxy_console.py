"""The sources of the web console: what may not stand in them, and what must fit the API."""

from __future__ import annotations

import re
from pathlib import Path

from recproxy.api.access import ROLES

SOURCE = Path(__file__).parent.parent / "recproxy" / "console" / "src"
SCRIPTS = {path.relative_to(SOURCE).as_posix(): path.read_text() for path in SOURCE.rglob("*.ts")}
EVERYTHING = "\n".join(SCRIPTS.values())


def test_no_text_becomes_markup_or_code_and_nothing_is_stored() -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|"
        r"localStorage|sessionStorage|indexedDB|document\.cookie|postMessage|https?://(?!www\.w3\.org/)"
    )
    found = {name: re.findall(forbidden, script) for name, script in SCRIPTS.items()}
    assert {name: words for name, words in found.items() if words} == {}
    page = (SOURCE / "index.html").read_text()
    assert re.findall(r"\son\w+=|style=|<script(?![^>]*\bsrc=)|https?:", page) == []


def test_only_one_module_talks_to_the_server_and_only_one_knows_identities() -> None:
    assert [name for name, script in SCRIPTS.items() if re.search(r"\bfetch\(", script)] == ["service.ts"]
    assert [name for name, script in SCRIPTS.items() if "age-encryption" in script] == ["identity.ts"]
    assert "service" not in SCRIPTS["identity.ts"]


def test_operations_are_those_of_the_api() -> None:
    asked = set(re.findall(r'(?:may\(|operation: )"([a-z.]+)"', EVERYTHING))
    assert asked
    assert asked <= set(ROLES)


def test_each_text_is_used() -> None:
    keys = re.findall(r'^  "([a-z_.0-9]+)": \[', SCRIPTS["texts.ts"], re.MULTILINE)
    groups = {
        "state",
        "direction",
        "reason",
        "holds.state",
        "calls",
        "side",
        "open.error",
        "nav",
        "pause",
        "requests",
    }
    rest = "\n".join(script for name, script in SCRIPTS.items() if name != "texts.ts")
    unused = [key for key in keys if f'"{key}"' not in rest and key.rpartition(".")[0] not in groups]
    assert unused == ["app.title"]  # said by texts.ts itself
