"""The catalogue: rows only with purpose and expiry, states only forward, look-ups."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from storage_machine import NOW, legal_hold, seal_facts, tags

from storage import (
    CATALOGUE_NAME,
    AmbiguousId,
    AudioFacts,
    Catalogue,
    CatalogueBusy,
    CatalogueError,
    CatalogueRow,
    ChannelFacts,
    HeldRecording,
    HoldError,
    OsFiles,
    RecordingId,
    RecordingNotFound,
    RecordingTags,
    SealFacts,
    State,
    Tombstone,
    sqlite_url,
)
from storage.catalogue import OpenRow, SealedRow, length_bucket, rows
from storage.catalogue.schema import SCHEMA_VERSION

FACTS = AudioFacts("ULAW", 8000, 2)
HASH = "ef" * 32


@pytest.fixture
def catalogue(catalogue_engine: sa.Engine) -> Catalogue:
    return Catalogue(catalogue_engine)


def add(catalogue: Catalogue, what: RecordingTags) -> RecordingId:
    catalogue.insert_open([OpenRow(what, FACTS, f"recordings/x/{what.recording}", b"sealed parties")])
    return what.recording


def sealed(catalogue: Catalogue, number: int, **changes: object) -> RecordingId:
    recording = add(catalogue, replace(tags(number), **changes))  # type: ignore[arg-type]
    catalogue.mark_sealed([SealedRow(recording, seal_facts(), 100, HASH)])
    return recording


def stone(number: int, state: State = State.SHREDDED) -> Tombstone:
    what = tags(number)
    return Tombstone(
        recording=what.recording,
        state=state,
        purpose=what.purpose,
        policy_version=what.policy_version,
        started_on=what.started.date(),
        minutes=1,
        expiry=what.expiry,
        gone_at=NOW,
        cause="expiry",
        size_bytes=100,
        sha256=HASH,
        run="",
        verified=True,
        chain_seq=1,
        chain_sha256=HASH,
    )


def test_a_row_comes_back_as_it_was_given(catalogue: Catalogue) -> None:
    recording = add(catalogue, tags(1))
    row = catalogue.get(recording)
    assert (row.tags, row.state, row.audio, row.parties) == (tags(1), State.OPEN, FACTS, b"sealed parties")
    assert (row.facts, row.size_bytes, row.sha256, row.reason, row.cause) == (None, 0, "", "", "")
    assert catalogue.latest_start() == NOW


def test_an_instant_in_another_zone_is_the_same_instant(catalogue: Catalogue) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    moved = replace(tags(1), expiry=(NOW + timedelta(days=1)).astimezone(zone))
    assert catalogue.get(add(catalogue, moved)).tags.expiry == NOW + timedelta(days=1)


@pytest.mark.parametrize(
    "column", ["purpose", "expiry", "started", "policy_version", "notice_sha256", "parties"]
)
def test_the_schema_refuses_a_row_without(catalogue: Catalogue, column: str) -> None:
    add(catalogue, tags(1))
    with catalogue._engine.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=r"(?i)not.null"):
        connection.execute(sa.text(f"update recordings set {column} = null"))  # noqa: S608


@pytest.mark.parametrize(
    "change", ["expiry = started", "purpose = ''", "state = 'shredded'", "state = 'sealed'"]
)
def test_the_schema_refuses_a_contradiction(catalogue: Catalogue, change: str) -> None:
    add(catalogue, tags(1))
    with catalogue._engine.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=r"(?i)check"):
        connection.execute(sa.text(f"update recordings set {change}"))  # noqa: S608


def test_states_go_forward_only(catalogue: Catalogue) -> None:
    recording = sealed(catalogue, 1)
    for step in (
        lambda: catalogue.mark_sealed([SealedRow(recording, seal_facts(), 1, HASH[::-1])]),
        lambda: catalogue.mark_aborted(recording, "late"),
        lambda: catalogue.bury([stone(1)]),
        lambda: catalogue.bury([stone(1, State.DISCARDED)]),
    ):
        with pytest.raises(CatalogueError, match=r"sealed|cannot become"):
            step()
    catalogue.mark_sealed([SealedRow(recording, seal_facts(), 1, HASH)])  # nobody was told that it was done
    assert catalogue.get(recording).state is State.SEALED
    row = catalogue.claim_for_shredding(recording, "erase")
    assert (row.state, row.cause) == (State.SHREDDING, "erase")
    assert catalogue.claim_for_shredding(recording, "expiry").cause == "erase"
    with pytest.raises(CatalogueError):
        catalogue.mark_sealed([SealedRow(recording, seal_facts(), 1, HASH)])
    assert catalogue.bury([stone(1)])
    assert not catalogue.bury([stone(1)])
    assert catalogue.tombstone(recording) == stone(1)
    with pytest.raises(RecordingNotFound):
        catalogue.get(recording)


def test_an_aborted_recording_can_still_be_sealed_or_discarded(catalogue: Catalogue) -> None:
    for number in (1, 2):
        catalogue.mark_aborted(add(catalogue, tags(number)), "fault")
    catalogue.mark_sealed([SealedRow(tags(1).recording, seal_facts("recovered"), 1, HASH)])
    assert catalogue.get(tags(1).recording).reason == "recovered"
    with pytest.raises(CatalogueError, match="cannot become"):
        catalogue.bury([stone(2, State.DISCARDED)])
    for _ in range(2):
        catalogue.mark_discarding(tags(2).recording, "opt_out")
    for step in (
        lambda: catalogue.mark_sealed([SealedRow(tags(2).recording, seal_facts(), 1, HASH)]),
        lambda: catalogue.mark_aborted(tags(2).recording, "late"),
        lambda: catalogue.claim_for_shredding(tags(2).recording, "erase"),
    ):
        with pytest.raises(CatalogueError, match="discarding"):
            step()
    assert catalogue.get(tags(2).recording).cause == "opt_out"
    assert catalogue.bury([stone(2, State.DISCARDED)])
    assert catalogue.count(State.DISCARDED) == 1


def test_an_open_recording_cannot_be_claimed(catalogue: Catalogue) -> None:
    with pytest.raises(CatalogueError, match="open"):
        catalogue.claim_for_shredding(add(catalogue, tags(1)), "erase")


def test_a_hold_and_a_claim_exclude_each_other(catalogue: Catalogue) -> None:
    one, two = sealed(catalogue, 1), sealed(catalogue, 2)
    catalogue.holds.add(legal_hold(one, case_ref="case 7"))
    with pytest.raises(HeldRecording, match="case 7"):
        catalogue.claim_for_shredding(one, "expiry")
    catalogue.claim_for_shredding(two, "expiry")
    with pytest.raises(HoldError, match="being shredded"):
        catalogue.holds.add(legal_hold(two, case_ref="late"))
    assert catalogue.held_past(NOW + timedelta(days=31)) == 1
    assert catalogue.held_past(NOW) == 0
    with pytest.raises(HoldError, match="is gone"):
        catalogue.holds.add(legal_hold(tags(3).recording, case_ref="x"))


def test_look_up_by_the_start_of_an_id(catalogue: Catalogue) -> None:
    ids = [sealed(catalogue, number) for number in range(40)]
    catalogue.claim_for_shredding(ids[0], "expiry")
    catalogue.bury([stone(0)])
    for number, recording in enumerate(ids):
        found = catalogue.find(recording.text[:12])
        if number:
            assert isinstance(found, CatalogueRow)
            assert found.tags.recording == recording
        else:
            assert found == stone(0)
    first = next(text for text in "0123456789abcdef" if sum(i.text.startswith(text) for i in ids) > 1)
    with pytest.raises(AmbiguousId, match="more digits"):
        catalogue.find(first)
    for text in ("", "xyz", "ABC", "%", "_", "0" * 32):
        with pytest.raises(RecordingNotFound):
            catalogue.find(text)


def test_filters_and_order(catalogue: Catalogue) -> None:
    for number in range(6):
        sealed(
            catalogue,
            number,
            purpose="training" if number % 2 else "agreements",
            started=NOW + timedelta(hours=number),
        )
    add(catalogue, replace(tags(6), started=NOW + timedelta(hours=6)))

    def hours(rows: tuple[CatalogueRow, ...]) -> list[float]:
        return [(row.tags.started - NOW) / timedelta(hours=1) for row in rows]

    assert hours(catalogue.select()) == [6, 5, 4, 3, 2, 1, 0]
    assert hours(catalogue.select(purpose="training")) == [6, 5, 3, 1]
    assert hours(catalogue.select(states=[State.SEALED], limit=2)) == [5, 4]
    assert hours(catalogue.select(since=NOW + timedelta(hours=2), until=NOW + timedelta(hours=4))) == [3, 2]
    assert catalogue.count(State.SEALED) == 6


def test_what_expires_is_oldest_first_and_never_held_or_open(catalogue: Catalogue) -> None:
    for number, days in enumerate((3, 1, 2, 9)):
        sealed(catalogue, number, expiry=NOW + timedelta(days=days))
    add(catalogue, replace(tags(4), expiry=NOW + timedelta(hours=1)))
    catalogue.holds.add(legal_hold(tags(1).recording))
    catalogue.claim_for_shredding(tags(3).recording, "erase")
    found = catalogue.expiring(NOW + timedelta(days=3), 10)
    assert [row.tags.recording for row in found] == [tags(number).recording for number in (3, 2, 0)]
    assert len(catalogue.expiring(NOW + timedelta(days=3), 2)) == 2


def test_tombstones_by_time(catalogue: Catalogue) -> None:
    for number in range(3):
        catalogue.claim_for_shredding(sealed(catalogue, number), "expiry")
        catalogue.bury([replace(stone(number), gone_at=NOW + timedelta(days=number))])
    assert [entry.gone_at for entry in catalogue.tombstones()] == [NOW + timedelta(days=d) for d in (2, 1, 0)]
    day = NOW + timedelta(days=1)
    assert [entry.gone_at for entry in catalogue.tombstones(since=day, until=day + timedelta(hours=1))] == [
        day
    ]
    assert len(catalogue.tombstones(limit=1)) == 1


@pytest.mark.parametrize(
    ("frames", "minutes"),
    [(0, 0), (1, 1), (480_000, 1), (480_001, 5), (8000 * 3600, 60), (8000 * 999_999, 1440)],
)
def test_length_is_told_roughly(frames: int, minutes: int) -> None:
    assert length_bucket(frames, 8000) == minutes


def test_a_naive_instant_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(CatalogueError, match="no time zone"):
        catalogue.select(since=datetime(2026, 1, 1))  # noqa: DTZ001


def _file(tmp_path: Path) -> tuple[OsFiles, Path]:
    files = OsFiles(tmp_path / "data")
    files.prepare()
    return files, files.root / CATALOGUE_NAME


def test_the_file_is_private_durable_and_kept(tmp_path: Path) -> None:
    files, path = _file(tmp_path)
    one = Catalogue.open(files, sqlite_url(str(path)))
    sealed(one, 1)
    for name in files.root.iterdir():
        assert name.stat().st_mode & 0o777 == 0o600
    with one._engine.connect() as connection:
        settings = [
            connection.exec_driver_sql(f"pragma {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        ]
    assert settings == ["wal", 2, 1]
    one.close()
    two = Catalogue.open(files, sqlite_url(str(path)))
    assert two.count(State.SEALED) == 1
    two.close()


def test_an_older_schema_gets_what_is_new(tmp_path: Path) -> None:
    files, path = _file(tmp_path)
    Catalogue.open(files, sqlite_url(str(path))).close()
    connection = sqlite3.connect(path)
    connection.executescript(
        "update schema_version set version = 1; drop table holds; drop table held_recordings;"
        "drop table number_index;"
    )
    connection.close()
    catalogue = Catalogue.open(files, sqlite_url(str(path)))
    catalogue.holds.add(legal_hold(sealed(catalogue, 1)))
    catalogue.close()
    connection = sqlite3.connect(path)
    assert connection.execute("select version from schema_version").fetchall() == [(SCHEMA_VERSION,)]
    connection.close()


def test_a_newer_schema_is_refused_with_the_mend(tmp_path: Path) -> None:
    files, path = _file(tmp_path)
    Catalogue.open(files, sqlite_url(str(path))).close()
    connection = sqlite3.connect(path)
    connection.execute("update schema_version set version = ?", (SCHEMA_VERSION + 1,))
    connection.commit()
    connection.close()
    with pytest.raises(CatalogueError, match="upgrade recproxy"):
        Catalogue.open(files, sqlite_url(str(path)))


def test_a_file_that_is_no_catalogue_is_an_error(tmp_path: Path) -> None:
    files, path = _file(tmp_path)
    path.write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(CatalogueError, match="not a database"):
        Catalogue.open(files, sqlite_url(str(path)))


def test_a_locked_catalogue_may_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.catalogue.engines._BUSY_SECONDS", 0.0)
    files, path = _file(tmp_path)
    catalogue = Catalogue.open(files, sqlite_url(str(path)))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(CatalogueBusy, match="locked") as caught:
        add(catalogue, tags(1))
    assert not caught.value.permanent
    assert catalogue.select() == ()  # reading is not disturbed
    other.execute("rollback")
    other.close()
    add(catalogue, tags(1))
    catalogue.close()
    assert NOW.tzinfo is UTC


def test_facts_of_an_earlier_version_are_read_with_nothing_in_what_was_not_counted() -> None:
    facts = SealFacts(
        ended=datetime(2026, 11, 24, tzinfo=UTC),
        frames=8000,
        caller=ChannelFacts(packets=50, lost=1, silence_samples=160),
        callee=None,
        dropped_packets=0,
        paused=timedelta(0),
        reason="hangup",
    )
    text = json.loads(rows.encode_facts(facts))
    for name in ("reanchored", "drift_shifts", "telephone_events", "undecodable", "overrun", "jitter_ms"):
        del text["caller"][name]
    assert rows.decode_facts(json.dumps(text)) == facts
