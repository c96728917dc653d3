"""``recproxy audit verify``: the chain itself, and the catalogue held against it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import Done, recproxy
from recorded import Shelf, Take, copy_of, make_shelf, record

from recproxy.cli.archive import open_archive
from recproxy.cli.cross_check import cross_check
from storage import OsFiles, State, generate_signing_key, read_events

FIRST, SECOND, BROKEN, NEVER = Take(1), Take(2), Take(3, end="abort"), Take(4, end="discard")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    made = make_shelf(tmp_path_factory.mktemp("pristine") / "shelf")
    record(made, FIRST, SECOND, BROKEN, NEVER)
    return made


@pytest.fixture
def shelf(pristine: Shelf, tmp_path: Path) -> Shelf:
    return copy_of(pristine, tmp_path / "shelf")


def _verify(shelf: Shelf, *options: object) -> Done:
    return recproxy("audit", "verify", "-c", shelf.config, *options)


def _document(done: Done) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.out)
    return found


def _chain(shelf: Shelf) -> Path:
    return shelf.data / "audit" / "chain.jsonl"


def test_a_chain_that_was_left_alone(shelf: Shelf) -> None:
    lines = len(_chain(shelf).read_bytes().splitlines())
    done = _verify(shelf)
    assert (done.code, done.err) == (0, "")
    assert f"✓ {lines} lines" in done.out
    found = _document(_verify(shelf, "--json"))
    assert (found["sound"], found["lines"], found["discrepancies"]) == (True, lines, [])


def test_the_public_key_alone_verifies_it(shelf: Shelf, tmp_path: Path) -> None:
    public = tmp_path / "kept-elsewhere.pub"
    public.write_bytes((shelf.root / "audit.pub").read_bytes())
    assert _verify(shelf, "--public-key", public).code == 0
    generate_signing_key(OsFiles(tmp_path), "foreign")
    done = _verify(shelf, "--public-key", tmp_path / "foreign.pub")
    assert done.code == 20
    assert _verify(shelf, "--public-key", tmp_path / "none.pub").code == 1


def test_a_line_that_was_seen_before_must_still_be_there(shelf: Shelf, tmp_path: Path) -> None:
    seen = _document(_verify(shelf, "--json"))["sha256"]
    assert _verify(shelf, "--seen", seen).code == 0
    other = make_shelf(tmp_path / "other")
    record(other, *(Take(number) for number in range(5, 12)))
    done = _verify(other, "--seen", seen)
    assert done.code == 20
    assert "was seen before" in done.err
    lines = _chain(other).read_bytes().splitlines(keepends=True)
    for line in lines:
        assert _verify(other, "--seen", hashlib.sha256(line).hexdigest()).code == 0


def _edit(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b'"training"', b'"trainings"') for line in lines]


def _drop(lines: list[bytes]) -> list[bytes]:
    return lines[:1] + lines[2:]


def _swap(lines: list[bytes]) -> list[bytes]:
    return [lines[1], lines[0], *lines[2:]]


def _cut(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


@pytest.mark.parametrize(
    ("tamper", "fault", "line"),
    [(_edit, "edit", 1), (_drop, "gap", 2), (_swap, "reorder", 1), (_cut, "cut tail", None)],
)
def test_a_chain_that_was_touched_is_refused_with_line_and_fault(
    shelf: Shelf, tamper: Callable[[list[bytes]], list[bytes]], fault: str, line: int | None
) -> None:
    chain = _chain(shelf)
    lines = chain.read_bytes().splitlines(keepends=True)
    chain.write_bytes(b"".join(tamper(lines)))
    done = _verify(shelf)
    assert done.code == 20
    assert fault in done.err
    done = _verify(shelf, "--json")
    assert done.code == 20
    found = _document(done)
    assert (found["sound"], found["fault"]) == (False, fault)
    assert found["line"] == (line or len(lines))


def _change(shelf: Shelf, statement: str, *values: object) -> None:
    with sqlite3.connect(shelf.data / "catalogue.sqlite") as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("delete from recordings where id = ?", "has neither row nor tombstone"),
        (
            "update recordings set expiry = '2031-01-01 00:00:00.000000' where id = ?",
            "was to be kept until 2026-12-02",
        ),
        ("update recordings set sha256 = hex(zeroblob(32)) where id = ?", "another hash"),
    ],
)
def test_a_catalogue_that_was_touched_is_found_out(shelf: Shelf, statement: str, said: str) -> None:
    _change(shelf, statement, SECOND.id)
    done = _verify(shelf)
    assert done.code == 20
    assert said in done.err
    assert f"✗ {SECOND.id}" in done.out
    found = _document(_verify(shelf, "--json"))
    assert found["sound"] is False
    assert [one["id"] for one in found["discrepancies"]] == [SECOND.id]


def test_a_foreign_row_is_found_out(shelf: Shelf, tmp_path: Path) -> None:
    other = make_shelf(tmp_path / "other")
    record(other, Take(9))
    _verify(other)
    with sqlite3.connect(other.data / "catalogue.sqlite") as connection:
        connection.execute("update recordings set id = ?", ("9" * 32,))
    connection.close()
    found = _document(_verify(other, "--json"))
    assert {one["id"] for one in found["discrepancies"]} == {Take(9).id, "9" * 32}


def test_a_call_that_is_just_being_recorded_is_no_contradiction() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    line = {"event": "rec.started", "rec": "a" * 32, "ts": (now - timedelta(seconds=1)).isoformat()}
    assert cross_check(lambda: [line], lambda: ((), ()), now) == ()
    later = now + timedelta(minutes=2)
    (found,) = cross_check(lambda: [line], lambda: ((), ()), later)
    assert "neither row nor tombstone" in found.reason


def test_an_opening_that_broke_off_is_no_contradiction(tmp_path: Path) -> None:
    """A crash between the row and the line of the chain; the next start erases it."""
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, Take(1), Take(2, end="leave"))
    with open_archive(shelf.config) as archive:
        lines = [line for line in read_events(archive.files) if line.get("rec") != Take(2).id]
        rows = archive.catalogue.select()
    assert {row.state for row in rows} == {State.SEALED, State.OPEN}
    assert cross_check(lambda: lines, lambda: (rows, ()), datetime(2027, 1, 1, tzinfo=UTC)) == ()
    erased = {"event": "rec.discarded", "rec": Take(2).id, "ts": "2026-11-24T12:00:00Z"}
    stones: Any = (_stone(Take(2).id),)
    sealed = [row for row in rows if row.state is State.SEALED]
    now = datetime(2027, 1, 1, tzinfo=UTC)
    assert cross_check(lambda: [*lines, erased], lambda: (sealed, stones), now) == ()


def test_what_settles_while_it_is_looked_at_is_no_contradiction() -> None:
    started = {"event": "rec.started", "rec": "c" * 32, "ts": "2026-11-24T12:00:00Z"}
    gone = {"event": "shred.started", "rec": "c" * 32, "ts": "2026-11-24T12:00:01Z"}
    stones: Any = (_stone("c" * 32),)
    readings = iter([[started], [started, gone]])
    assert cross_check(lambda: next(readings), lambda: ((), stones), datetime(2027, 1, 1, tzinfo=UTC)) == ()


def _stone(identity: str) -> Any:
    """What the comparison looks at of a tombstone."""
    return SimpleNamespace(recording=SimpleNamespace(text=identity))


def test_a_tombstone_that_the_chain_never_saw_is_found_out() -> None:
    started = {"event": "rec.started", "rec": "b" * 32, "ts": "2026-11-24T12:00:00Z"}
    stones: Any = (_stone("b" * 32),)
    (found,) = cross_check(lambda: [started], lambda: ((), stones), datetime(2027, 1, 1, tzinfo=UTC))
    assert "never saw it go" in found.reason
