"""Which key pair each header in the key store is wrapped to, and what stands against the end of one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from storage.catalogue.queries import named_errors
from storage.catalogue.rows import Wrap
from storage.catalogue.schema import FURTHER, PROMOTIONS, RECORDINGS, WRAPS
from storage.errors import CatalogueError
from storage.tags import RecordingId

__all__ = ["EpochUse", "Standing", "WrapRegister"]

_NOT_PENDING: Final = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A recording that is wrapped to an epoch's key pair.

    Attributes:
        recording: Which.
        purpose: For which purpose.
        expiry: When that expires.
        held: Whether a hold keeps it beyond.
        promoted: Whether a tag made its term longer.
        state: Where it is in its life, as the catalogue writes it.
    """

    recording: RecordingId
    purpose: str
    expiry: datetime
    held: bool
    promoted: bool
    state: str


@dataclass(frozen=True, slots=True)
class EpochUse:
    """How much is wrapped to one epoch's key pair.

    Attributes:
        key_group: Of which group.
        epoch: Of which epoch.
        recordings: How many headers.
    """

    key_group: str
    epoch: str
    recordings: int


class WrapRegister:
    """Reads and changes to which key pair headers are wrapped.

    Args:
        engine: Of the catalogue.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def of(self, recording: RecordingId) -> Mapping[str, Wrap]:
        """The wraps of one recording, by purpose; none of an earlier version's."""
        query = sa.select(WRAPS).where(WRAPS.c.id == recording.text).order_by(WRAPS.c.purpose)
        with self._reading() as connection:
            return {
                row["purpose"]: Wrap(row["purpose"], row["sha256"], row["key_group"], row["epoch"])
                for row in connection.execute(query).mappings()
            }

    def of_several(self, recordings: Collection[RecordingId]) -> Mapping[str, Mapping[str, Wrap]]:
        """The wraps of recordings, by id and purpose; without those of which nobody noted any."""
        query = sa.select(WRAPS).where(WRAPS.c.id.in_([recording.text for recording in recordings]))
        found: dict[str, dict[str, Wrap]] = {}
        with self._reading() as connection:
            for row in connection.execute(query).mappings():
                wrap = Wrap(row["purpose"], row["sha256"], row["key_group"], row["epoch"])
                found.setdefault(row["id"], {})[row["purpose"]] = wrap
        return found

    def standing(self, key_group: str, epoch: str) -> tuple[Standing, ...]:
        """What is wrapped to the key pair of an epoch, the last to expire last."""
        further = sa.and_(FURTHER.c.id == WRAPS.c.id, FURTHER.c.purpose == WRAPS.c.purpose)
        promoted = sa.exists().where(PROMOTIONS.c.id == WRAPS.c.id, PROMOTIONS.c.purpose == WRAPS.c.purpose)
        expiry = sa.func.coalesce(FURTHER.c.expiry, RECORDINGS.c.expiry, type_=RECORDINGS.c.expiry.type)
        query = (
            sa.select(
                WRAPS.c.id,
                WRAPS.c.purpose,
                expiry.label("expiry"),
                RECORDINGS.c.held,
                promoted.label("promoted"),
                RECORDINGS.c.state,
            )
            .select_from(WRAPS.join(RECORDINGS, RECORDINGS.c.id == WRAPS.c.id).outerjoin(FURTHER, further))
            .where(WRAPS.c.key_group == key_group, WRAPS.c.epoch == epoch)
            .order_by("expiry", WRAPS.c.id, WRAPS.c.purpose)
        )
        with self._reading() as connection:
            return tuple(
                Standing(
                    RecordingId(row.id), row.purpose, row.expiry, row.held, bool(row.promoted), row.state
                )
                for row in connection.execute(query)
            )

    def in_use(self) -> tuple[EpochUse, ...]:
        """Every epoch that a header is wrapped to, by group and time; long-lived key pairs are left out."""
        query = (
            sa.select(WRAPS.c.key_group, WRAPS.c.epoch, sa.func.count())
            .where(WRAPS.c.epoch != "")
            .group_by(WRAPS.c.key_group, WRAPS.c.epoch)
            .order_by(WRAPS.c.key_group, WRAPS.c.epoch)
        )
        with self._reading() as connection:
            return tuple(EpochUse(*row) for row in connection.execute(query))

    def pending(self, recording: RecordingId, purpose: str) -> str:
        """Hash of the header that is about to take the place of this one; empty if none is."""
        query = sa.select(WRAPS.c.pending).where(WRAPS.c.id == recording.text, WRAPS.c.purpose == purpose)
        with self._reading() as connection:
            return connection.execute(query).scalar() or _NOT_PENDING

    def announce(self, recording: RecordingId, purpose: str, sha256: str) -> None:
        """Say that a header is about to be put in the place of another.

        Args:
            recording: Whose.
            purpose: For which purpose.
            sha256: Hash of the new one; empty to take it back.

        Raises:
            CatalogueError: Nobody noted to what it is wrapped, or the catalogue cannot be written.
        """
        self._change(recording, purpose, pending=sha256)

    def confirm(self, recording: RecordingId, purpose: str, sha256: str) -> None:
        """Say that a header is in the place of another, wrapped to the long-lived key pair of its group.

        Args:
            recording: Whose.
            purpose: For which purpose.
            sha256: Its hash.

        Raises:
            CatalogueError: Nobody noted to what it is wrapped, or the catalogue cannot be written.
        """
        self._change(recording, purpose, sha256=sha256, epoch="", pending=_NOT_PENDING)

    def _change(self, recording: RecordingId, purpose: str, **values: str) -> None:
        with named_errors(), self._engine.begin() as connection:
            changed = connection.execute(
                WRAPS.update()
                .where(WRAPS.c.id == recording.text, WRAPS.c.purpose == purpose)
                .values(**values)
            ).rowcount
            if changed != 1:
                raise CatalogueError(f"recording {recording} has no key for {purpose} in the catalogue")

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with (
            named_errors(),
            self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            yield connection
