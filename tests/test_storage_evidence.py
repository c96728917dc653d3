"""What ``rec.started`` and ``rec.sealed`` tell is all that a row needs: written and read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    AudioFacts,
    Direction,
    LegalBasis,
    NoticeProof,
    PurposeTerm,
    RecordingId,
    RecordingTags,
    SealFacts,
)
from storage.audit import AuditValue
from storage.catalogue import SealedRow
from storage.errors import EvidenceMissing
from storage.evidence import opening_fields, read_opening, read_sealing, sealing_fields

_INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_NAMES = st.sampled_from(("training", "orders", "a", "q_7", "x" * 63))
_HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
_BASES = st.sampled_from(LegalBasis)


@st.composite
def _notices(draw: st.DrawFn, before: datetime) -> NoticeProof:
    completed = before - timedelta(seconds=draw(st.integers(0, 60)))
    return NoticeProof(
        prompt=draw(_NAMES),
        sha256=draw(_HASHES),
        language=draw(st.sampled_from(("nl", "en-GB"))),
        heard_by=draw(st.sampled_from((("caller",), ("caller", "callee")))),
        started=completed - timedelta(milliseconds=draw(st.integers(0, 6000))),
        completed=completed,
    )


@st.composite
def _tags(draw: st.DrawFn) -> RecordingTags:
    started = draw(_INSTANTS)
    terms = [
        PurposeTerm(
            purpose,
            draw(_BASES),
            started + timedelta(seconds=draw(st.integers(1, 10**9))),
            draw(st.none() | _notices(started)) if place else None,
            draw(st.booleans()),
        )
        for place, purpose in enumerate(draw(st.lists(_NAMES, min_size=1, max_size=4, unique=True)))
    ]
    lead, *further = terms
    return RecordingTags(
        recording=RecordingId(f"{draw(st.integers(0, 2**128 - 1)):032x}"),
        call=draw(_HASHES)[:32],
        node=draw(_NAMES),
        purpose=lead.purpose,
        legal_basis=lead.legal_basis,
        policy_version=draw(_HASHES),
        direction=draw(st.sampled_from(Direction)),
        trunk=draw(_NAMES),
        started=started,
        expiry=lead.expiry,
        notice=draw(_notices(started)),
        further=tuple(further),
        from_end=lead.from_end,
    )


@given(_tags(), st.dictionaries(_NAMES, st.tuples(_NAMES, st.just("2026-11")), max_size=3))
def test_a_beginning_reads_back_as_it_was(tags: RecordingTags, epochs: dict[str, tuple[str, str]]) -> None:
    audio = AudioFacts("ULAW", 8000, 2)
    found = read_opening({**opening_fields(tags, audio, epochs), "node": tags.node})
    assert (found.tags, found.audio, found.epochs) == (tags, audio, epochs)


@given(_tags(), st.integers(0, 10**9), st.integers(0, 86_400))
def test_an_end_reads_back_as_it_was(tags: RecordingTags, frames: int, lasted: int) -> None:
    opened = read_opening({**opening_fields(tags, AudioFacts("ULAW", 8000, 2), {}), "node": tags.node})
    ended = tags.started + timedelta(seconds=lasted)
    facts = SealFacts(ended, frames, None, None, 0, timedelta(0), "hangup")
    sealed = SealedRow(tags.recording, facts, 17, "a" * 64, tags.counted_from(ended, frames, 8000))
    assert read_sealing(sealing_fields(tags, sealed, timedelta(0)), opened) == sealed


@given(
    _tags(),
    st.sampled_from(("audio", "started", "direction", "heard_by", "notice_started", "purpose", "policy")),
)
def test_a_line_that_lacks_something_is_refused(tags: RecordingTags, left_out: str) -> None:
    line: dict[str, AuditValue] = {
        **opening_fields(tags, AudioFacts("ULAW", 8000, 2), {}),
        "node": tags.node,
        "seq": 12,
    }
    del line[left_out]
    with pytest.raises(EvidenceMissing, match="line 12 of the audit chain"):
        read_opening(line)
