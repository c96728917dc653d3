"""What a telephone number finds: its keyed hashes beside the recordings, and for which purposes."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from storage.catalogue.rows import OpenRow
from storage.catalogue.schema import FINDABLE, NUMBERS

__all__ = ["end_finding", "forget_numbers", "note_numbers"]


def note_numbers(connection: sa.Connection, rows: Iterable[OpenRow]) -> None:
    """Let the numbers of new recordings find them, if they may."""
    indexed = [(row.tags.recording.text, row.index) for row in rows if row.index is not None]
    numbers = [
        {"token": token, "id": name, "month": index.month}
        for name, index in indexed
        for token in index.tokens
    ]
    findable = [
        {"id": name, "purpose": purpose}
        for name, index in indexed
        if index.tokens
        for purpose in index.purposes
    ]
    if numbers:
        connection.execute(NUMBERS.insert(), numbers)
    if findable:
        connection.execute(FINDABLE.insert(), findable)


def end_finding(connection: sa.Connection, recording: str, purpose: str) -> None:
    """A purpose ended: no number finds the recording any more once none is left that lets it."""
    mine = FINDABLE.c.id == recording
    if not connection.execute(FINDABLE.delete().where(mine, FINDABLE.c.purpose == purpose)).rowcount:
        return
    if connection.execute(sa.select(FINDABLE.c.purpose).where(mine)).first() is None:
        connection.execute(NUMBERS.delete().where(NUMBERS.c.id == recording))


def forget_numbers(connection: sa.Connection, recordings: Collection[str]) -> None:
    """No number finds recordings that are gone."""
    gone = sorted(recordings)
    connection.execute(NUMBERS.delete().where(NUMBERS.c.id.in_(gone)))
    connection.execute(FINDABLE.delete().where(FINDABLE.c.id.in_(gone)))
