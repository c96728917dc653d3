"""The key ceremony, the troubleshooting and the upgrade page: what they say is run, or exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from recorded import Shelf, Take, make_shelf, record

from recproxy.logevents import EVENTS

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "docs").exists():
    pytest.skip("runs where the documents are", allow_module_level=True)

CEREMONY = (ROOT / "docs" / "key-ceremony.md").read_text()
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text()
# What would take away what later steps need, or is no command of ours.
NOT_RUN = ("rm ", "systemctl ")
SPOKEN = "correct horse battery staple\n"


def _steps() -> Iterator[tuple[str, list[str]]]:
    """Each section with its commands."""
    for section in CEREMONY.split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        yield heading, re.findall(r"^ {4}[$#] (.*)$", text, flags=re.MULTILINE)


def _wrapper(directory: Path, config: Path) -> None:
    """A ``recproxy`` that finds the configuration of the test, and a ``sudo`` that changes nobody."""
    directory.mkdir()
    ours = f"{shlex.quote(sys.executable)} -m recproxy"
    run = f'case "$1" in keys) exec {ours} "$@";; *) exec {ours} "$@" --config {config};; esac'
    for name, body in (("recproxy", run), ("sudo", 'shift 2; exec "$@"')):
        (directory / name).write_text(f"#!/bin/sh\n{body}\n")
        (directory / name).chmod(0o755)


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("ssss-split") is None, reason="ssss is not here")
def test_every_step_of_the_key_ceremony_works(tmp_path: Path) -> None:
    etc, desk, programs = (tmp_path / name for name in ("etc", "desk", "bin"))
    _wrapper(programs, etc / "recproxy.yaml")
    desk.mkdir()
    etc.mkdir(mode=0o700)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    ran = 0
    for heading, commands in _steps():
        if heading.startswith("5."):
            _put_up(etc, tmp_path / "shelf")
        script = []
        for command in commands:
            if command.startswith(NOT_RUN):
                continue
            ran += 1
            here = command.replace("/etc/recproxy", str(etc)).replace("/var/lib/recproxy", str(etc / "data"))
            here = here.replace("-o recproxy -g recproxy ", "")
            if here.startswith("age -p"):  # it asks at the terminal, so it gets one
                here = f"script -qec {shlex.quote(here)} /dev/null"
            script.append(f"{here} || true" if here.endswith("recproxy doctor") else here)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-xc", "\n".join(script)],
            cwd=desk,
            env=environment,
            input=SPOKEN * 2,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{heading}\n{done.stdout}{done.stderr}"
    assert ran >= 20
    assert (desk / "daily.age").read_bytes().startswith(b"age-encryption.org/v1\n-> scrypt ")
    assert len((desk / "shares.txt").read_text().splitlines()) == 3
    assert "AGE-SECRET-KEY" not in "".join(path.read_text() for path in etc.glob("*.txt"))
    _opens_with_the_new_identity_alone(etc, desk)


def _put_up(etc: Path, spare: Path) -> None:
    """The rest of a configuration beside the keys that step 4 made, and a call that was recorded."""
    made = make_shelf(spare)
    for name in ("recproxy.yaml", "policy.yaml"):
        shutil.copy(made.root / name, etc / name)
    record(Shelf(etc, etc / "none"), Take(1))


def _opens_with_the_new_identity_alone(etc: Path, desk: Path) -> None:
    """After the rotation a new recording is for the new recipient, and not for the old one."""
    shelf = Shelf(etc, desk / "daily-2.txt")
    take = Take(2)
    record(shelf, take)
    sealed = shelf.key(take.id).read_bytes() + shelf.body(take.id).read_bytes()
    for identity, code in (("daily-2.txt", 0), ("safe.txt", 0), ("daily.txt", 1)):
        done = subprocess.run(
            ["age", "-d", "-i", str(desk / identity)], input=sealed, capture_output=True, check=False
        )
        assert done.returncode == code, identity


def test_every_event_that_troubleshooting_names_is_declared() -> None:
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", TROUBLE)) - {"cdr.directory"}
    known = {name for name in named if name in EVENTS}
    keys = {name for name in named - known if not re.fullmatch(r"(sip|media|cdr)\.[a-z_]+", name)}
    assert len(known) > 20
    assert keys == set(), "neither an event nor a key of the configuration"


def test_every_row_of_troubleshooting_has_a_mend() -> None:
    rows = re.findall(r"^\| (?!symptom|---)(.+) \|$", TROUBLE, flags=re.MULTILINE)
    assert len(rows) > 30
    for row in rows:
        cells = [cell.strip() for cell in row.split(" | ")]
        assert len(cells) == 3, row
        assert all(cells), row
