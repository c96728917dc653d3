"""Rows that are made again: of recordings that the catalogue has lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from storage.catalogue.derived import DerivedFile, bury_stones, derived_values
from storage.catalogue.engines import lock_rows
from storage.catalogue.queries import named_errors
from storage.catalogue.rows import (
    CatalogueRow,
    OpenRow,
    Tombstone,
    Wrap,
    encode_facts,
    open_values,
    term_values,
)
from storage.catalogue.schema import DERIVED, FURTHER, PROMOTIONS, RECORDINGS, WRAPS

__all__ = ["AdoptionRegister", "LostRow"]


@dataclass(frozen=True, slots=True)
class LostRow:
    """A recording that is to have a row again.

    Attributes:
        row: The row.
        wraps: To which key pair each of its headers is wrapped.
        derived: What was made from it.
        promoted: By purpose the tag for which it is kept longer.
    """

    row: CatalogueRow
    wraps: tuple[Wrap, ...] = ()
    derived: tuple[DerivedFile, ...] = ()
    promoted: tuple[tuple[str, str], ...] = ()


class AdoptionRegister:
    """Enters what was lost; what is there stays as it is.

    Args:
        engine: Of the catalogue.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def adopt(self, lost: Sequence[LostRow], stones: Sequence[Tombstone]) -> None:
        """Enter rows and tombstones, all or none; durable on return.

        Args:
            lost: Recordings of which the catalogue knows nothing.
            stones: Tombstones that it does not have.

        Raises:
            CatalogueError: One of them is there, or the catalogue cannot be written.
        """
        with named_errors(), self._engine.begin() as connection:
            lock_rows(connection, sorted(one.row.tags.recording.text for one in lost))
            for one in lost:
                _insert(connection, one)
            if stones:
                bury_stones(connection, stones)


def _insert(connection: sa.Connection, lost: LostRow) -> None:
    row, name = lost.row, lost.row.tags.recording.text
    known = open_values(OpenRow(row.tags, row.audio, row.body, row.parties))
    later = {
        "state": row.state.value,
        "facts": None if row.facts is None else encode_facts(row.facts),
        "size_bytes": row.size_bytes,
        "sha256": row.sha256,
        "reason": row.reason,
        "cause": row.cause,
        "counted_from": row.counted_from,
    }
    connection.execute(RECORDINGS.insert().values({**known, **later}))
    for table, rows in (
        (FURTHER, [term_values(row.tags.recording, term) for term in row.tags.further]),
        (WRAPS, [{"id": name, **asdict(wrap)} for wrap in lost.wraps]),
        (DERIVED, [derived_values(file) for file in lost.derived]),
        (PROMOTIONS, [{"id": name, "purpose": purpose, "tag": tag} for purpose, tag in lost.promoted]),
    ):
        if rows:
            connection.execute(table.insert(), rows)
