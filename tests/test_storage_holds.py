"""Holds: two people, an end, and what each kind stands against."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from storage_machine import NOW, legal_hold, seal_facts, tags

from storage import (
    AudioFacts,
    Catalogue,
    CatalogueError,
    HeldRecording,
    Hold,
    HoldError,
    HoldKind,
    HoldReason,
    HoldState,
    RecordingId,
)
from storage.catalogue import EXPIRY, OpenRow, SealedRow

ID = "a" * 32


@pytest.fixture
def catalogue(catalogue_engine: sa.Engine) -> Catalogue:
    catalogue = Catalogue(catalogue_engine)
    for number in (1, 2):
        row = OpenRow(tags(number), AudioFacts("ULAW", 8000, 2), f"recordings/{number}", b"")
        catalogue.insert_open([row])
        catalogue.mark_sealed([SealedRow(tags(number).recording, seal_facts(), 1, "ef" * 32)])
    return catalogue


def asked(*recordings: RecordingId, kind: HoldKind = HoldKind.LEGAL, days: float = 100) -> Hold:
    return Hold(
        ID, kind, HoldReason.CLAIM, "case 1", recordings, "user:anna", NOW, NOW + timedelta(days=days)
    )


def placed(kind: HoldKind) -> Hold:
    return replace(asked(tags(1).recording, kind=kind), approved_by="procedure", approved_at=NOW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "x"}, "hex digits"),
        ({"case_ref": ""}, "case reference"),
        ({"case_ref": "dispute with +31612345678"}, "name the case"),
        ({"case_ref": "0612345678"}, "seven digits"),
        ({"recordings": ()}, "no recording"),
        ({"ends": NOW}, "after now"),
        ({"ends": NOW + timedelta(days=367)}, "within 12 months"),
        ({"ends": datetime(2027, 1, 1)}, "time zone"),  # noqa: DTZ001 - what is refused
    ],
)
def test_a_hold_that_cannot_be_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(HoldError, match=message):
        replace(legal_hold(tags(1).recording), **change)  # type: ignore[arg-type]


def test_a_requested_hold_keeps_nothing_until_another_person_approves(catalogue: Catalogue) -> None:
    one = tags(1).recording
    catalogue.holds.add(asked(one))
    assert not catalogue.get(one).held
    for same in ("user:anna", "token:anna"):
        with pytest.raises(HoldError, match="another person"):
            catalogue.holds.approve(ID, same, NOW)
    hold = catalogue.holds.approve(ID, "user:bert", NOW)
    assert hold.state is HoldState.ACTIVE
    row = catalogue.get(one)
    assert (row.held, row.hold_reference) == (True, "case 1")
    assert not catalogue.get(tags(2).recording).held
    with pytest.raises(HoldError, match="active, not requested"):
        catalogue.holds.approve(ID, "user:carl", NOW)


def test_the_database_too_wants_two_people(catalogue: Catalogue) -> None:
    hold = replace(asked(tags(1).recording), approved_by="user:anna", approved_at=NOW)
    with pytest.raises(CatalogueError, match="two_people") as caught:
        catalogue.holds.add(hold)
    assert isinstance(caught.value.__cause__, IntegrityError)


def test_an_approval_after_the_end_is_refused(catalogue: Catalogue) -> None:
    catalogue.holds.add(asked(tags(1).recording, days=1))
    with pytest.raises(HoldError, match="request a new one"):
        catalogue.holds.approve(ID, "user:bert", NOW + timedelta(days=1))


def test_release_ends_it_and_another_hold_goes_on_keeping(catalogue: Catalogue) -> None:
    one, two = tags(1).recording, tags(2).recording
    catalogue.holds.add(legal_hold(one, two, case_ref="first"))
    catalogue.holds.add(legal_hold(one, case_ref="second"))
    first = catalogue.holds.select()[0]
    assert catalogue.get(one).hold_reference in {"first, second", "second, first"}
    ended = catalogue.holds.release(catalogue.holds.find(first.id[:8]).id, "user:anna", NOW)
    assert ended.state is HoldState.RELEASED
    other = {"first", "second"} - {first.case_ref}
    assert catalogue.get(one).hold_reference == other.pop()
    with pytest.raises(HoldError, match="released already"):
        catalogue.holds.release(first.id, "user:anna", NOW)
    assert {hold.state for hold in catalogue.holds.select(states=(HoldState.ACTIVE,))} == {HoldState.ACTIVE}


def test_lapsing_frees_what_is_over_and_nothing_else(catalogue: Catalogue) -> None:
    catalogue.holds.add(legal_hold(tags(1).recording, case_ref="short", days=1))
    catalogue.holds.add(legal_hold(tags(2).recording, case_ref="long", days=2))
    assert catalogue.holds.lapse(NOW + timedelta(hours=23)) == ()
    assert [hold.case_ref for hold in catalogue.holds.lapse(NOW + timedelta(days=1))] == ["short"]
    assert (catalogue.get(tags(1).recording).held, catalogue.get(tags(2).recording).held) == (False, True)
    assert catalogue.holds.select(states=(HoldState.LAPSED,))[0].ended_by == ""


@pytest.mark.parametrize(
    ("kind", "cause", "blocked"),
    [
        (HoldKind.LEGAL, EXPIRY, True),
        (HoldKind.LEGAL, "erase", True),
        (HoldKind.REQUEST, EXPIRY, True),
        (HoldKind.REQUEST, "erase", False),
        (HoldKind.RESTRICTION, EXPIRY, True),
        (HoldKind.RESTRICTION, "objection", False),
    ],
)
def test_what_each_kind_stands_against(
    catalogue: Catalogue, kind: HoldKind, cause: str, blocked: bool
) -> None:
    one = tags(1).recording
    catalogue.holds.add(placed(kind))
    assert catalogue.get(one).held
    if blocked:
        with pytest.raises(HeldRecording, match="case 1"):
            catalogue.claim_for_shredding(one, cause)
    else:
        assert catalogue.claim_for_shredding(one, cause).cause == cause


def test_a_restriction_is_found_and_others_are_none(catalogue: Catalogue) -> None:
    one = tags(1).recording
    catalogue.holds.add(legal_hold(one))
    assert catalogue.holds.restricted(one) is None
    catalogue.holds.add(placed(HoldKind.RESTRICTION))
    found = catalogue.holds.restricted(one)
    assert found is not None
    assert found.kind is HoldKind.RESTRICTION
    catalogue.holds.release(found.id, "user:anna", NOW)
    assert catalogue.holds.restricted(one) is None


def test_no_hold_of_that_name(catalogue: Catalogue) -> None:
    for text in ("", "ffff", "%"):
        with pytest.raises(HoldError, match="no hold begins"):
            catalogue.holds.find(text)
    catalogue.holds.add(legal_hold(tags(1).recording, case_ref="one"))
    catalogue.holds.add(asked(tags(1).recording))
    for hold in catalogue.holds.select():
        assert catalogue.holds.find(hold.id[:6]) == hold
    with pytest.raises(HoldError, match="no hold"):
        catalogue.holds.approve("f" * 32, "user:bert", NOW)
