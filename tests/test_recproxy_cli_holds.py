"""``recproxy hold``: two people, an end, and what it stands against."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import Done, recproxy
from recorded import Shelf, Take, make_shelf, record

from storage import OsFiles, read_events

SOON = (datetime.now(UTC) + timedelta(days=30)).date()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = make_shelf(tmp_path / "shelf")
    now = datetime.now(UTC).replace(microsecond=0)
    record(shelf, Take(1, now - timedelta(days=2), kept=timedelta(days=1)), Take(2, now - timedelta(hours=1)))
    return shelf


def as_person(name: str, monkeypatch: pytest.MonkeyPatch, *words: object) -> Done:
    with monkeypatch.context() as patch:
        patch.setenv("SUDO_USER", name)
        return recproxy("hold", *words)


def ask(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, *takes: Take, until: object = SOON) -> Done:
    words = [take.id[:6] for take in takes]
    return as_person(
        "anna",
        monkeypatch,
        *("request", *words, "-c", shelf.config, "--reason", "claim", "--case", "case 12"),
        *("--until", until, "--json"),
    )


def test_a_hold_of_two_people_keeps_what_is_due(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    done = ask(shelf, monkeypatch, Take(1))
    assert done.code == 0, done.err
    asked = json.loads(done.out)
    assert (asked["state"], asked["requested_by"]) == ("requested", "user:anna")
    assert asked["ends"].startswith((SOON + timedelta(days=1)).isoformat())

    again = as_person("anna", monkeypatch, "approve", asked["id"][:8], "-c", shelf.config)
    assert again.code == 1
    assert "another person must approve it" in again.err
    done = as_person("bert", monkeypatch, "approve", asked["id"][:8], "-c", shelf.config)
    assert done.code == 0, done.err
    assert "case 12" in done.out

    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    shown = json.loads(recproxy("recordings", "show", Take(1).id, "-c", shelf.config, "--json").out)
    assert (shown["held"], shown["hold_reference"]) == (True, "case 12")

    done = as_person("carl", monkeypatch, "release", asked["id"], "-c", shelf.config)
    assert done.code == 0, done.err
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    shown = json.loads(recproxy("recordings", "show", Take(1).id, "-c", shelf.config, "--json").out)
    assert shown["state"] == "shred_complete"

    told = [
        (line["event"], str(line["actor"]).partition(" by ")[2])
        for line in read_events(OsFiles(shelf.data))
        if str(line["event"]).startswith("hold.")
    ]
    assert told == [
        ("hold.requested", "sudo:anna"),
        ("hold.approved", "sudo:bert"),
        ("hold.lifted", "sudo:carl"),
    ]


def test_a_request_alone_keeps_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(shelf, monkeypatch, Take(1)).code == 0
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    refused = ask(shelf, monkeypatch, Take(1))
    assert refused.code == 1
    assert "cannot be held any more" in refused.err


def test_the_list_shows_what_stands_and_all_of_it(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = json.loads(ask(shelf, monkeypatch, Take(1), Take(2)).out)
    done = recproxy("hold", "list", "-c", shelf.config)
    assert asked["id"][:8] in done.out
    assert "requested" in done.out
    as_person("anna", monkeypatch, "release", asked["id"], "-c", shelf.config)
    assert recproxy("hold", "list", "-c", shelf.config, "--json").out.strip() == "[]"
    (ended,) = json.loads(recproxy("hold", "list", "--all", "-c", shelf.config, "--json").out)
    assert (ended["state"], ended["ended_by"], len(ended["recordings"])) == ("released", "user:anna", 2)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--case", "call of +31612345678"), 1, "name the case, not a person"),
        (("--until", "2020-01-01"), 1, "choose an end after now"),
        (("--until", "2099-01-01"), 1, "within 12 months"),
        (("--until", "tomorrow"), 2, "does not match the format"),
        (("--reason", "objection"), 2, "'objection' is not one of"),
    ],
)
def test_what_is_refused(shelf: Shelf, words: tuple[str, str], code: int, said: str) -> None:
    given = {"--reason": "claim", "--case": "case 12", "--until": str(SOON)} | dict([words])
    done = recproxy(
        "hold", "request", Take(2).id, "-c", shelf.config, *[word for pair in given.items() for word in pair]
    )
    assert (done.code, said in done.err) == (code, True), done.err
    assert "+31612345678" not in (shelf.data / "audit" / "chain.jsonl").read_text()
