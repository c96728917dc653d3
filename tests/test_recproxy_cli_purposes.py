"""One recording for several purposes, as those see it who look it up, listen, ask, and answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, recproxy
from policies import OPERATOR, one_purpose, policy_text, whole
from recorded import CALLER, Shelf, Take, make_shelf, record

from storage import LegalBasis, OsFiles, PurposeTerm, read_events

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
ROLES = {"coach": {"users": ["anna", OPERATOR]}, "compliance": {"users": ["carl"]}}
STATUTE = {"caller": "legal_obligation", "staff": "legal_obligation"}
ORDERS = one_purpose(
    kind="statutory",
    basis=STATUTE,
    legal_ref=["Wet op de proef"],
    announce__prompts={"nl": "investment_orders"},
    retention__keep="P400D",
    playback__roles=["compliance"],
)


def orders_and(
    started: datetime = NOW - DAY,
    basis: LegalBasis = LegalBasis.LEGITIMATE_INTEREST,
    training: timedelta = 30 * DAY,
) -> Take:
    """A recording that a statute orders, and that serves the training too."""
    return Take(
        1,
        started,
        kept=400 * DAY,
        purpose="orders",
        basis=LegalBasis.LEGAL_OBLIGATION,
        index=True,
        further=(PurposeTerm("training", basis, started + training),),
    )


BOTH = orders_and()


def shelf_of(root: Path, *takes: Take) -> Shelf:
    shelf = make_shelf(root / "shelf")
    (shelf.root / "cases").mkdir(mode=0o700)
    document = whole({"training": one_purpose(), "orders": ORDERS}, roles=ROLES)
    (shelf.root / "policy.yaml").write_text(policy_text(document))
    record(shelf, *takes)
    return shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = shelf_of(tmp_path, BOTH)
    yield shelf
    checked = recproxy("audit", "verify", "-c", shelf.config)
    assert checked.code == 0, checked.err


def run(shelf: Shelf, *words: object, stdin: str = "") -> Done:
    return recproxy(*words, "-c", shelf.config, stdin=stdin.encode())


def shown(shelf: Shelf) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(shelf, "recordings", "show", BOTH.id, "--json").out)
    return found


def purposes(shelf: Shelf) -> list[str]:
    return [term["purpose"] for term in shown(shelf)["terms"]]


def headers(shelf: Shelf) -> set[str]:
    return {path.name.partition(".")[2] for path in (shelf.data / "keys").glob("*")}


def case(shelf: Shelf, kind: str) -> str:
    done = run(shelf, "subject", "open", "--kind", kind, "--json", stdin=f"{CALLER}\n")
    assert done.code == 0, done.err
    return str(json.loads(done.out)["id"])


def outcomes(done: Done) -> dict[str, str]:
    assert done.code == 0, done.err
    return {one["purpose"]: one["outcome"] for one in json.loads(done.out)["recordings"]}


def test_lists_name_every_purpose_and_until_when(shelf: Shelf) -> None:
    for purpose in ("orders", "training"):
        listed = json.loads(run(shelf, "recordings", "list", "--purpose", purpose, "--json").out)
        assert [one["purposes"] for one in listed["recordings"]] == [["orders", "training"]]
    text = run(shelf, "recordings", "show", BOTH.id).out
    assert text.index("legal_obligation") < text.index("legitimate_interest")
    assert f"{BOTH.started + 30 * DAY:%Y-%m-%d}" in text
    assert shown(shelf)["expiry"].startswith(f"{BOTH.started + 400 * DAY:%Y-%m-%d}")


@pytest.mark.parametrize(
    ("name", "use", "allowed"),
    [
        ("anna", "training", True),
        ("anna", "orders", False),
        ("carl", "orders", True),
        ("carl", "training", False),
        ("dora", "training", False),
        ("anna", "coffee", False),
    ],
)
def test_who_listens_does_so_for_a_purpose_whose_role_he_has(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, *, name: str, use: str, allowed: bool
) -> None:
    monkeypatch.setenv("SUDO_USER", name)
    target = shelf.root / "out.wav"
    done = run(
        shelf,
        *("recordings", "export", BOTH.id, "-i", shelf.identity, "-o", target, "--use", use),
    )
    assert (done.code == 0) == allowed
    event = "export.created" if allowed else "playback.denied"
    (line,) = [line for line in read_events(OsFiles(shelf.data)) if line["event"] == event]
    if use in {"orders", "training"}:
        assert line["purpose"] == use


def test_a_purpose_that_has_expired_opens_nothing_though_it_was_not_swept_yet(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, orders_and(NOW - 11 * DAY, training=10 * DAY))
    done = run(
        shelf,
        *("recordings", "export", BOTH.id, "-i", shelf.identity),
        *("-o", shelf.root / "out.wav", "--use", "training"),
    )
    assert done.code != 0
    assert headers(shelf) == {"orders", "training"}
    assert run(shelf, "retention", "--once").code == 0
    assert headers(shelf) == {"orders"}
    assert purposes(shelf) == ["orders"]


def test_erasure_ends_what_the_person_can_end_and_says_what_the_statute_keeps(shelf: Shelf) -> None:
    number = case(shelf, "erase")
    letter = shelf.root / "letter.md"
    dry = run(shelf, "subject", "erase", number, "--dry-run", "--json")
    assert outcomes(dry) == {"orders": "refused_statute", "training": "purpose_ended"}
    assert headers(shelf) == {"orders", "training"}
    done = run(shelf, "subject", "erase", number, "--yes", "--json", "--letter", letter, "--lang", "en")
    assert outcomes(done) == {"orders": "refused_statute", "training": "purpose_ended"}
    assert headers(shelf) == {"orders"}
    said = letter.read_text()
    assert "GDPR art. 17(3)(b)" in said
    assert "no longer kept for this purpose" in said
    assert "neither key nor file exists" not in said
    stones = [line for line in read_events(OsFiles(shelf.data)) if line["event"] == "rec.purpose_expired"]
    assert [(line["purpose"], line["reason"]) for line in stones] == [("training", "erase")]


def test_an_objection_restricts_all_of_it_and_ends_the_purpose_once_upheld(shelf: Shelf) -> None:
    number = case(shelf, "object")
    asked = run(shelf, "subject", "object", number, "--json")
    assert outcomes(asked) == {"orders": "refused_basis", "training": "restricted"}
    upheld = run(shelf, "subject", "object", number, "--decision", "upheld", "--json")
    assert outcomes(upheld) == {"orders": "refused_basis", "training": "purpose_ended"}
    assert purposes(shelf) == ["orders"]


def test_consent_that_is_withdrawn_ends_the_purpose_that_rests_on_it(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, orders_and(basis=LegalBasis.CONSENT))
    done = run(shelf, "subject", "withdraw", case(shelf, "withdraw"), "--yes", "--json")
    assert outcomes(done) == {"orders": "refused_basis", "training": "purpose_ended"}
    assert headers(shelf) == {"orders"}


def test_the_answer_to_a_person_names_every_purpose(shelf: Shelf) -> None:
    number = case(shelf, "access")
    done = run(shelf, "subject", "export", number, "-i", shelf.identity, "-o", shelf.root / "b.age")
    assert done.code == 0, done.err
    assert "1 recordings" in done.out
    (line,) = [line for line in read_events(OsFiles(shelf.data)) if line["event"] == "export.created"]
    assert line["purpose"] == "orders,training"


def test_what_a_policy_makes_of_a_call_is_told_for_every_purpose(shelf: Shelf) -> None:
    policy = shelf.root / "policy.yaml"
    asked = ("policy", "explain", policy, "--from", CALLER, "--to", "+31301234567")
    told = recproxy(*asked, "--at", "2026-11-24T12:00Z")
    assert told.code == 0, told.err
    assert "orders, on legal_obligation" in told.out
    assert "training, on legitimate_interest" in told.out
    document = json.loads(recproxy(*asked, "--at", "2026-11-24T12:00Z", "--json").out)
    assert {one["purpose"]: one["expires"][:10] for one in document["purposes"]} == {
        "training": "2026-12-24",
        "orders": "2027-12-29",
    }
    checked = recproxy("policy", "check", policy)
    assert "W115" in checked.out + checked.err
