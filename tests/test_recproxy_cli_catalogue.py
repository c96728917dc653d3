"""``recproxy catalogue rebuild``: a lost catalogue from the chain, the headers and the bodies."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, recproxy
from faulty_files import Crash
from recorded import Shelf, Take, copy_of, make_shelf, record

from recproxy.cli.archive import open_archive
from storage import CatalogueRow, LegalBasis, OsFiles, PurposeTerm, State, Tombstone, read_events

NOW = datetime.now(UTC).replace(microsecond=0)
YOUNG = NOW - timedelta(days=1)
LATER = PurposeTerm("orders", LegalBasis.CONTRACT, NOW + timedelta(days=90))
GONE = PurposeTerm("quality", LegalBasis.CONSENT, NOW - timedelta(hours=1))
DUE = Take(1, NOW - timedelta(days=3), kept=timedelta(days=2))
SEALED = Take(2, YOUNG)
SEVERAL = Take(3, YOUNG, further=(LATER, GONE))
BROKEN, NEVER, OPEN = Take(4, YOUNG, end="abort"), Take(5, YOUNG, end="discard"), Take(6, YOUNG, end="leave")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """One that was shredded, one that was discarded, one of which a purpose has ended, one that stands."""
    made = make_shelf(tmp_path_factory.mktemp("pristine") / "shelf")
    record(made, DUE, SEALED, SEVERAL, NEVER)
    assert recproxy("retention", "--once", "-c", made.config).code == 0
    return made


@pytest.fixture
def shelf(pristine: Shelf, tmp_path: Path) -> Shelf:
    return copy_of(pristine, tmp_path / "shelf")


def _lose(shelf: Shelf) -> None:
    for path in shelf.data.glob("catalogue.sqlite*"):
        path.unlink()


def _rebuild(shelf: Shelf, *options: str) -> Done:
    return recproxy("catalogue", "rebuild", "-c", shelf.config, *options)


def _document(done: Done) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.out)
    return found


def _known(shelf: Shelf) -> tuple[list[CatalogueRow], list[Tombstone]]:
    """All that the catalogue says, but for what the chain does not tell, or the next sweep finds out."""
    with open_archive(shelf.config) as archive:
        rows = [
            replace(
                row,
                parties=b"",
                facts=row.facts
                and replace(
                    row.facts, caller=None, callee=None, pauses=0, paused=timedelta(0), dropped_packets=0
                ),
            )
            for row in archive.catalogue.select()
        ]
        stones = [
            replace(
                stone,
                state=State.SHREDDED if stone.state is State.SHRED_COMPLETE else stone.state,
                gone_at=NOW,
                key_group="",
                key_id="",
                out_of_backups=None,
                complete_at=None,
            )
            for stone in archive.catalogue.tombstones()
        ]
    return (
        sorted(rows, key=lambda row: row.tags.recording.text),
        sorted(stones, key=lambda stone: (stone.recording.text, stone.purpose)),
    )


def test_a_lost_catalogue_is_made_again_row_by_row(shelf: Shelf) -> None:
    record(shelf, BROKEN, OPEN)
    before = _known(shelf)
    assert {row.state for row in before[0]} == {State.SEALED, State.ABORTED, State.OPEN}
    assert {stone.state for stone in before[1]} == {State.SHREDDED, State.DISCARDED}
    _lose(shelf)
    done = _rebuild(shelf)
    assert (done.code, done.err) == (0, "")
    assert "✓ recordings entered: 4 (1 open, 2 sealed, 1 aborted)" in done.out
    assert "✓ tombstones entered: 3" in done.out
    assert _known(shelf) == before
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0
    told = [line for line in read_events(OsFiles(shelf.data)) if line["event"] == "catalogue.rebuilt"]
    assert [(line["rows"], line["tombstones"]) for line in told] == [(4, 3)]

    again = _document(_rebuild(shelf, "--json"))
    assert (again["rows"], again["tombstones"]) == (0, 0)
    assert _known(shelf) == before


def test_what_was_rebuilt_opens_and_is_shredded_on_its_day_and_not_before(shelf: Shelf) -> None:
    late = Take(7, NOW - timedelta(days=3), kept=timedelta(days=2))
    record(shelf, late)
    _lose(shelf)
    assert _rebuild(shelf).code == 0
    opens = ("-c", shelf.config, "-i", shelf.identity, "--use", "training")
    wave = recproxy("recordings", "export", SEALED.id, *opens, "-o", "-")
    assert wave.code == 0, wave.err
    assert SEALED.audio in wave.raw
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    rows, stones = _known(shelf)
    assert {row.tags.recording.text for row in rows} == {one.id for one in (SEALED, SEVERAL)}
    assert late.id in {stone.recording.text for stone in stones}
    assert not shelf.key(late.id).exists()


def test_who_called_is_lost_and_said_to_be(shelf: Shelf) -> None:
    _lose(shelf)
    assert _rebuild(shelf).code == 0
    done = recproxy(
        "recordings", "show", SEALED.id, "-c", shelf.config, "-i", shelf.identity, "--use", "training"
    )
    assert done.code == 1
    assert "who called whom was lost with the catalogue" in done.err


def test_a_copy_that_was_put_back_is_completed_and_its_rows_stay(shelf: Shelf, tmp_path: Path) -> None:
    old = copy_of(shelf, tmp_path / "old")
    record(shelf, Take(7, YOUNG))
    before = _known(shelf)
    _lose(shelf)
    for path in old.data.glob("catalogue.sqlite*"):
        path.rename(shelf.data / path.name)
    found = _document(_rebuild(shelf, "--json"))
    assert (found["rows"], found["tombstones"], found["findings"]) == (1, 0, [])
    assert _known(shelf) == before
    with open_archive(shelf.config) as archive:
        parties = {row.tags.recording.text: bool(row.parties) for row in archive.catalogue.select()}
    assert parties[SEALED.id]
    assert not parties[Take(7).id]


def test_a_dry_run_makes_nothing(shelf: Shelf) -> None:
    record(shelf, BROKEN, OPEN)
    _lose(shelf)
    lines = (shelf.data / "audit" / "chain.jsonl").read_bytes()
    found = _document(_rebuild(shelf, "--dry-run", "--json"))
    assert (found["dry_run"], found["rows"], found["tombstones"]) == (True, 4, 3)
    assert found["states"] == {"open": 1, "sealed": 2, "aborted": 1}
    assert not (shelf.data / "catalogue.sqlite").exists()
    assert (shelf.data / "audit" / "chain.jsonl").read_bytes() == lines


def test_a_chain_that_was_touched_makes_no_row(shelf: Shelf) -> None:
    _lose(shelf)
    chain = shelf.data / "audit" / "chain.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b'"direction":"inbound"', b'"direction":"Inbound"', 1))
    done = _rebuild(shelf)
    assert done.code == 20
    with open_archive(shelf.config) as archive:
        assert not archive.catalogue.ids()


def test_files_that_do_not_fit_are_named(shelf: Shelf, tmp_path: Path) -> None:
    copied = copy_of(shelf, tmp_path / "copied")
    late = Take(7, NOW - timedelta(days=3), kept=timedelta(days=2))
    record(shelf, late)
    back = (shelf.key(late.id), shelf.key(late.id).read_bytes())
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    _lose(shelf)
    back[0].write_bytes(back[1])
    shelf.key(SEALED.id).unlink()
    body = shelf.body(SEVERAL.id)
    body.write_bytes(body.read_bytes()[:-1])
    stranger = shelf.data / "keys" / f"{'f' * 32}.training"
    stranger.write_bytes(copied.key(SEALED.id).read_bytes())
    done = _rebuild(shelf, "--json")
    assert done.code == 3
    assert {one["id"]: one["reason"] for one in _document(done)["findings"]} == {
        late.id: "a key of it is here, but the chain saw it go: a backup was put back",
        SEALED.id: "its key for training is missing: it opens for that purpose no more",
        SEVERAL.id: f"its body has {body.stat().st_size} bytes, {body.stat().st_size + 1} were sealed",
        "f"
        * 32: "a key of it is here, and its purpose and expiry are unknown: the chain does not tell of it",
    }
    assert "docs/operate.md" in done.err


def test_a_line_of_an_earlier_version_does_not_tell_enough_and_is_left_out(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = Take(8, YOUNG)
    with monkeypatch.context() as patch:
        patch.setattr(
            "storage.writer.opening.opening_fields",
            lambda tags, *_: {"rec": tags.recording.text, "purpose": tags.purpose, "outcome": "opened"},
        )
        record(shelf, early)
    _lose(shelf)
    done = _rebuild(shelf, "--json")
    assert done.code == 3
    (found,) = _document(done)["findings"]
    assert found["id"] == early.id
    assert "does not tell how recording" in found["reason"]
    with open_archive(shelf.config) as archive:
        assert early.id not in {one.text for one in archive.catalogue.ids()}


@pytest.mark.parametrize("crashed", [False, True])
def test_a_hold_stands_again_and_keeps_what_is_due(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, crashed: bool
) -> None:
    due = Take(7, NOW - timedelta(days=3), kept=timedelta(days=2))
    record(shelf, due)
    until = (NOW + timedelta(days=30)).date()
    words = ("--reason", "claim", "--case", "case 12", "--until", until, "--json")
    monkeypatch.setenv("SUDO_USER", "anna")
    asked = json.loads(recproxy("hold", "request", due.id, "-c", shelf.config, *words).out)
    monkeypatch.setenv("SUDO_USER", "bert")
    assert recproxy("hold", "approve", asked["id"], "-c", shelf.config).code == 0
    before = json.loads(recproxy("hold", "list", "-c", shelf.config, "--json").out)
    _lose(shelf)
    if crashed:
        with monkeypatch.context() as patch:
            patch.setattr("storage.catalogue.HoldRegister.add", _crash)
            with pytest.raises(Crash):
                _rebuild(shelf)
    assert "(case 12) entered: recordings 1" in _rebuild(shelf).out
    after = json.loads(recproxy("hold", "list", "-c", shelf.config, "--json").out)
    for one in (*before, *after):
        one.pop("requested_at")  # of the row and of its line: milliseconds apart
        one.pop("approved_at")
    assert after == before
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    assert shelf.key(due.id).exists()


def _crash(*_: object) -> None:
    raise Crash


def test_a_shredding_that_broke_off_is_gone_on_with(shelf: Shelf) -> None:
    late = Take(7, NOW - timedelta(days=3), kept=timedelta(days=2))
    record(shelf, late)
    with open_archive(shelf.config) as archive, archive.audit("rig") as audit:
        audit.append("shred.started", {"rec": late.id, "purpose": "training", "reason": "expiry", "run": ""})
    shelf.key(late.id).unlink()
    _lose(shelf)
    done = _rebuild(shelf)
    assert (done.code, done.err) == (0, "")
    assert "1 shredding" in done.out
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    assert late.id in {stone.recording.text for stone in _known(shelf)[1]}
