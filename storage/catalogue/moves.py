"""Changes of state as statements, and why one is refused.

A change names the states it may start from in its WHERE clause, so two processes can not both make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from storage.catalogue.rows import SealedRow, State, encode_facts
from storage.catalogue.schema import RECORDINGS
from storage.errors import CatalogueError, RecordingNotFound
from storage.tags import RecordingId

__all__ = ["SEAL", "SEALED_FROM", "refusal", "seal_values"]

SEALED_FROM: Final = (State.OPEN, State.ABORTED)

# Also from SEALED with the same body: whether it was done, nobody may have been told.
SEAL: Final = (
    RECORDINGS.update()
    .where(
        RECORDINGS.c.id == sa.bindparam("recording"),
        sa.or_(
            RECORDINGS.c.state.in_([state.value for state in SEALED_FROM]),
            sa.and_(
                RECORDINGS.c.state == State.SEALED.value,
                RECORDINGS.c.sha256 == sa.bindparam("seal_sha256"),
            ),
        ),
    )
    .values(
        state=State.SEALED.value,
        facts=sa.bindparam("seal_facts"),
        size_bytes=sa.bindparam("seal_size_bytes"),
        sha256=sa.bindparam("seal_sha256"),
        reason=sa.bindparam("seal_reason"),
    )
)
"""OPEN or ABORTED to SEALED; takes ``seal_values`` of each row."""


def seal_values(row: SealedRow) -> Mapping[str, object]:
    """What ``SEAL`` takes."""
    return {
        "recording": row.recording.text,
        "seal_facts": encode_facts(row.facts),
        "seal_size_bytes": row.size_bytes,
        "seal_sha256": row.sha256,
        "seal_reason": row.facts.reason,
    }


def refusal(
    connection: sa.Connection, recordings: Sequence[RecordingId], allowed: Sequence[State]
) -> CatalogueError:
    """Why a change of state is refused: the first recording that is in none of those it may start from."""
    query = sa.select(RECORDINGS.c.id, RECORDINGS.c.state).where(
        RECORDINGS.c.id.in_([recording.text for recording in recordings])
    )
    states = {found.id: found.state for found in connection.execute(query)}
    for recording in recordings:
        if recording.text not in states:
            return RecordingNotFound(f"no recording {recording} in the catalogue")
        if State(states[recording.text]) not in allowed:
            names = " or ".join(state.value for state in allowed)
            return CatalogueError(f"recording {recording} is {states[recording.text]}, not {names}")
    return CatalogueError("a recording was named twice in one change of state")
