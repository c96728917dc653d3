"""Where a recording was paused, out of lines of the audit chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from recorded import START, Take, make_shelf, record

from recproxy.api.pauses import pauses_of
from storage import Catalogue, CatalogueRow, OsFiles, sqlite_url

TAKE = Take(1, START, seconds=10)


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> CatalogueRow:
    shelf = make_shelf(tmp_path_factory.mktemp("pauses") / "rig")
    record(shelf, TAKE)
    catalogue = Catalogue.open(OsFiles(shelf.data), sqlite_url(str(shelf.data / "catalogue.sqlite")))
    try:
        found = catalogue.find(TAKE.id)
    finally:
        catalogue.close()
    assert isinstance(found, CatalogueRow)
    assert found.facts is not None
    return replace(found, facts=replace(found.facts, pauses=2))


def line(row: CatalogueRow, event: str, at_s: float, *, call: str = "") -> Mapping[str, object]:
    at = (row.tags.started + timedelta(seconds=at_s)).isoformat().replace("+00:00", "Z")
    return {"event": event, "call": call or row.tags.call, "ts": at, "why": "hold"}


def test_each_pause_is_told_once_and_other_calls_do_not_count(row: CatalogueRow) -> None:
    lines = [
        line(row, "rec.paused", -1),
        line(row, "rec.resumed", 2),
        line(row, "rec.paused", 3, call="of another call"),
        line(row, "rec.paused", 4.25),
    ]
    assert row.facts is not None
    end = (row.facts.ended - row.tags.started).total_seconds()
    assert pauses_of(row, lines) == [
        {"from_s": 0.0, "to_s": 2.0, "why": "hold"},
        {"from_s": 4.25, "to_s": end, "why": "hold"},
    ]


def test_the_chain_is_not_read_for_a_recording_without_pauses(row: CatalogueRow) -> None:
    def unread() -> Mapping[str, object]:
        raise AssertionError("read")

    assert row.facts is not None
    none = replace(row, facts=replace(row.facts, pauses=0))
    assert pauses_of(none, (unread() for _ in range(1))) == []
    assert pauses_of(replace(row, facts=None), (unread() for _ in range(1))) == []
