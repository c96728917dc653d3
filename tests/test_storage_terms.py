"""Terms in the catalogue: each purpose of a recording by itself, and never longer by a shorter term."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from storage_machine import AUDIO, IDENTITY, NOW, PARTIES, Machine, seal_facts, tags

from storage import LegalBasis, OpenRequest, PurposeTerm, StorageError, Term, TermChange, TermError
from storage.catalogue import Catalogue

DAY = timedelta(days=1)
ONE, TWO = tags(1), tags(2)
SHORT = Term(7 * DAY, {"agreed": 20 * DAY})


@pytest.fixture
def catalogue(catalogue_engine: sa.Engine) -> Catalogue:
    """One recording for training (30 days) and as a sample (14), one for training alone."""
    machine = Machine(engine=catalogue_engine)
    sample = PurposeTerm("sample", LegalBasis.LEGITIMATE_INTEREST, NOW + 14 * DAY)
    both = replace(tags(1, expiry=NOW + 30 * DAY), further=(sample,))
    requests = [
        OpenRequest(both, PARTIES, AUDIO, recipients={"sample": (IDENTITY.recipient,)}),
        OpenRequest(tags(2, expiry=NOW + 30 * DAY), PARTIES, AUDIO),
    ]
    for writer in machine.start().open_together(requests, NOW):
        assert not isinstance(writer, StorageError)
        writer.seal(seal_facts())
    return machine.catalogue


def terms(catalogue: Catalogue) -> dict[str, timedelta]:
    return {term.purpose: term.expiry - NOW for term in catalogue.get(ONE.recording).tags.terms}


@pytest.mark.parametrize(
    ("purpose", "left"),
    [
        (ONE.purpose, {ONE.purpose: 7 * DAY, "sample": 14 * DAY}),
        ("sample", {ONE.purpose: 30 * DAY, "sample": 7 * DAY}),
    ],
)
def test_a_shorter_term_moves_its_own_purpose_alone(
    catalogue: Catalogue, purpose: str, left: dict[str, timedelta]
) -> None:
    changes = catalogue.terms.longer_than(purpose, SHORT)
    assert {change.recording for change in changes} >= {ONE.recording}
    catalogue.terms.shorten(changes)
    assert terms(catalogue) == left
    assert catalogue.terms.longer_than(purpose, SHORT) == ()


def test_a_tag_keeps_one_purpose_longer_and_its_term_goes_by_it(catalogue: Catalogue) -> None:
    change = TermChange(ONE.recording, "sample", NOW + 14 * DAY, NOW + 60 * DAY)
    catalogue.terms.promote(change, "agreed")
    assert terms(catalogue) == {ONE.purpose: 30 * DAY, "sample": 60 * DAY}
    with pytest.raises(TermError, match="already"):
        catalogue.terms.promote(change, "agreed")
    (moved,) = catalogue.terms.longer_than("sample", SHORT)
    assert moved.after == NOW + 20 * DAY
    catalogue.terms.shorten([moved])
    assert terms(catalogue)["sample"] == 20 * DAY
    assert catalogue.terms.tag(ONE.recording) == "agreed"


def test_what_changed_meanwhile_is_left_as_it_is(catalogue: Catalogue) -> None:
    stale = TermChange(ONE.recording, "sample", NOW + 13 * DAY, NOW + DAY)
    catalogue.terms.shorten([stale])
    assert terms(catalogue)["sample"] == 14 * DAY
    with pytest.raises(TermError, match="changed meanwhile"):
        catalogue.terms.promote(replace(stale, after=NOW + 40 * DAY), "agreed")
    with pytest.raises(TermError, match="kept longer by a shorter term"):
        catalogue.terms.shorten([replace(stale, after=NOW + 40 * DAY)])
