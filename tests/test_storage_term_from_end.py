"""Terms that count from the end of a recording: later by what it lasted, once, and never sooner."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_files import Loss
from storage_machine import AUDIO, IDENTITY, NOW, PARTIES, Machine, audio, seal_facts, tags
from test_storage_retention import Clocks, retention

from storage import LegalBasis, OpenRequest, PurposeTerm, RecordingTags, State, StorageError, Term, TermChange
from storage.catalogue import Catalogue
from storage.writer import RecordingStore, RecordingWriter

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
KEEP = 30 * DAY
ONE = tags(1)
SAMPLE = PurposeTerm("sample", LegalBasis.LEGITIMATE_INTEREST, NOW + 14 * DAY)
COACHING = replace(SAMPLE, purpose="coaching", expiry=NOW + 20 * DAY, from_end=True)


def from_end(*further: PurposeTerm, expiry: timedelta = KEEP) -> RecordingTags:
    return replace(tags(1, expiry=NOW + expiry), from_end=True, further=further)


def opened(machine: Machine, made: RecordingTags, frames: int = 0) -> tuple[RecordingStore, RecordingWriter]:
    store = machine.start()
    recipients = {term.purpose: (IDENTITY.recipient,) for term in made.further}
    (writer,) = store.open_together([OpenRequest(made, PARTIES, AUDIO, recipients=recipients)], NOW)
    assert not isinstance(writer, StorageError)
    if frames:
        writer.write(audio(1, frames))
    return store, writer


def kept(catalogue: Catalogue) -> dict[str, timedelta]:
    return {term.purpose: term.expiry - NOW for term in catalogue.get(ONE.recording).tags.terms}


def test_each_term_counts_from_where_its_purpose_says(catalogue_engine: sa.Engine) -> None:
    machine = Machine(engine=catalogue_engine)
    _, writer = opened(machine, from_end(SAMPLE, COACHING))
    assert kept(machine.catalogue) == {"training": KEEP, "sample": 14 * DAY, "coaching": 20 * DAY}
    assert machine.catalogue.get(ONE.recording).counted_from is None
    writer.seal(replace(seal_facts(), ended=NOW + 2 * HOUR))
    assert kept(machine.catalogue) == {
        "training": KEEP + 2 * HOUR,
        "sample": 14 * DAY,
        "coaching": 20 * DAY + 2 * HOUR,
    }
    row = machine.catalogue.get(ONE.recording)
    assert row.counted_from == NOW + 2 * HOUR
    assert [row.base(term) - NOW for term in row.tags.terms] == [2 * HOUR, timedelta(0), 2 * HOUR]


def test_it_goes_that_much_later_and_not_before() -> None:
    machine = Machine()
    _, writer = opened(machine, from_end(expiry=DAY))
    clocks, sweeper = Clocks(), retention(machine)
    assert sweeper.sweep(clocks.pass_time(DAY + HOUR)).due == 0, "it is still being made"
    writer.seal(replace(seal_facts(), ended=clocks.wall))
    for _ in range(2):
        assert sweeper.sweep(clocks.pass_time(12 * HOUR - SECOND)).due == 0
    assert len(sweeper.sweep(clocks.pass_time(2 * SECOND)).shredded) == 1


def test_a_clock_that_was_set_back_takes_nothing_away() -> None:
    machine = Machine()
    _, writer = opened(machine, from_end(), frames=80_000)
    writer.seal(replace(seal_facts(), ended=NOW - HOUR))
    assert kept(machine.catalogue) == {"training": KEEP + 10 * SECOND}, "what there is lasted so long"


def test_after_a_crash_it_counts_from_the_last_audio_that_is_known() -> None:
    machine = Machine()
    store, writer = opened(machine, from_end(COACHING), frames=16_000)
    assert store.sync() == ()
    again = machine.reboot(Loss.ALL_KEPT)
    again.start()
    row = again.catalogue.get(ONE.recording)
    assert row.state is State.SEALED
    assert kept(again.catalogue) == {"training": KEEP + 2 * SECOND, "coaching": 20 * DAY + 2 * SECOND}
    assert not writer.ended


def test_what_was_given_up_counts_from_its_end_and_not_twice_once_it_is_completed() -> None:
    machine = Machine()
    store, writer = opened(machine, from_end(), frames=16_000)
    assert store.sync() == ()
    writer.abort("recorder failed")
    assert machine.catalogue.get(ONE.recording).state is State.ABORTED
    assert kept(machine.catalogue) == {"training": KEEP + 2 * SECOND}
    again = machine.reboot(Loss.ALL_KEPT)
    again.start()
    assert again.catalogue.get(ONE.recording).state is State.SEALED
    assert kept(again.catalogue) == {"training": KEEP + 2 * SECOND}


def test_a_recording_of_an_earlier_version_counts_from_its_start(catalogue_engine: sa.Engine) -> None:
    machine = Machine(engine=catalogue_engine)
    _, writer = opened(machine, tags(1, expiry=NOW + KEEP))
    writer.seal(replace(seal_facts(), ended=NOW + HOUR))
    assert kept(machine.catalogue) == {"training": KEEP}
    assert machine.catalogue.get(ONE.recording).counted_from is None


@pytest.mark.parametrize(
    ("promised", "asked", "left"),
    [
        (True, Term(7 * DAY, {}, from_end=True), 7 * DAY + HOUR),
        (True, Term(KEEP, {}, from_end=False), KEEP),
        (True, Term(KEEP, {}, from_end=True), KEEP + HOUR),
        (False, Term(7 * DAY, {}, from_end=True), 7 * DAY),
        (False, Term(KEEP, {}, from_end=True), KEEP),
    ],
)
def test_a_shorter_term_counts_from_the_end_if_both_policies_do(
    catalogue_engine: sa.Engine, promised: bool, asked: Term, left: timedelta
) -> None:
    machine = Machine(engine=catalogue_engine)
    _, writer = opened(machine, from_end() if promised else tags(1, expiry=NOW + KEEP))
    writer.seal(replace(seal_facts(), ended=NOW + HOUR))
    terms = machine.catalogue.terms
    terms.shorten(terms.longer_than("training", asked))
    assert kept(machine.catalogue) == {"training": left}
    assert terms.longer_than("training", asked) == ()


_STEP = st.one_of(
    st.tuples(st.just("shorten"), st.integers(1, 40), st.booleans()),
    st.tuples(st.just("promote"), st.integers(31, 60), st.just(True)),
    st.tuples(st.just("end"), st.integers(-3, 400), st.booleans()),
)


@settings(deadline=None, max_examples=25)
@given(st.lists(_STEP, max_size=6), st.integers(0, 40_000))
def test_whatever_happens_in_whatever_order_it_expires_as_the_terms_say(
    steps: list[tuple[str, int, bool]], frames: int
) -> None:
    """A model: how long it is kept, and what is added to that when it ends."""
    machine = Machine()
    _, writer = opened(machine, from_end(), frames=frames)
    keep, added, ended, tagged = KEEP, timedelta(0), False, False
    for what, number, flag in steps:
        terms = machine.catalogue.terms
        match what:
            case "shorten":
                term = Term(number * DAY, {"agreed": number * DAY}, from_end=flag)
                terms.shorten(terms.longer_than("training", term))
                asked = number * DAY - (timedelta(0) if flag else added)
                keep = min(keep, asked)
            case "promote" if not tagged and number * DAY > keep:
                now = machine.catalogue.get(ONE.recording)
                change = TermChange(ONE.recording, "training", now.tags.expiry, NOW + added + number * DAY)
                terms.promote(change, "agreed")
                keep, tagged = number * DAY, True
            case "end" if not ended:
                lasted = timedelta(minutes=number)
                if flag:
                    writer.seal(replace(seal_facts(), ended=NOW + lasted))
                else:
                    writer.abort("recorder failed")
                    lasted = timedelta(0)
                added, ended = max(lasted, timedelta(seconds=frames / AUDIO.rate_hz)), True
            case _:
                pass
        assert kept(machine.catalogue) == {"training": keep + added}
