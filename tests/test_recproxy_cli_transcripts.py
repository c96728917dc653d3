"""What commands print, word for word, as in ``tests/cli/*.txt``.

In a transcript ``$ recproxy …`` is a command, ``? 20`` its exit code if that is
not 0, and what follows its output: standard output, then standard error.
``<shelf>`` stands for the directory of the test; hashes, sizes of this build and
instants of this run are given by their kind. To write them anew, delete the
output and run the test: it prints what it got.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from command_line import recproxy
from recorded import START, Shelf, Take, copy_of, make_shelf, record

TRANSCRIPTS = Path(__file__).parent / "cli"
NAMES = sorted(path.stem for path in TRANSCRIPTS.glob("*.txt"))
# What differs from run to run, with what stands for it.
VARYING = (
    (re.compile(r"\bage1[02-9ac-hj-np-z]{58}\b"), "<recipient>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<sha256>"),
    (re.compile(r"(?m)(?<=^key {13}main )[0-9a-f]{16}$"), "<key>"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a transcript."""

    command: str
    said: str


def _steps(text: str) -> Iterator[Step]:
    for part in re.split(r"^(?=\$ )", text, flags=re.MULTILINE):
        if part.startswith("$ "):
            command, _, said = part[2:].partition("\n")
            yield Step(command, said)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    made = make_shelf(tmp_path_factory.mktemp("pristine") / "shelf")
    record(
        made,
        Take(1),
        Take(2, started=START + timedelta(hours=1), purpose="agreements", seconds=65),
        Take(3, started=START - timedelta(days=1), end="abort"),
        Take(4, end="discard"),
    )
    return made


@pytest.fixture
def shelf(pristine: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = copy_of(pristine, tmp_path / "shelf")
    monkeypatch.chdir(made.root)
    return made


def _said(command: str, shelf: Shelf) -> str:
    program, *words = shlex.split(command)
    assert program == "recproxy"
    done = recproxy(*words)
    said = (f"? {done.code}\n" if done.code else "") + done.out + done.err
    for varying, kind in VARYING:
        said = varying.sub(kind, said)
    return said.replace(str(shelf.root), "<shelf>")


@pytest.mark.parametrize("name", NAMES)
def test_transcript(name: str, shelf: Shelf) -> None:
    steps = list(_steps((TRANSCRIPTS / f"{name}.txt").read_text()))
    got = [Step(step.command, _said(step.command, shelf)) for step in steps]
    print("".join(f"$ {step.command}\n{step.said}" for step in got))
    assert got == steps


def test_there_are_transcripts() -> None:
    assert {"recordings", "errors", "keys", "policy", "audit"} <= set(NAMES)
