"""Tables of the catalogue."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from storage.errors import CatalogueError

SCHEMA_VERSION: Final = 7


class Instant(sa.TypeDecorator[datetime]):
    """Aware datetimes, stored in UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse naive instants and convert to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise CatalogueError(f"instant {value} has no time zone")
        moved = value.astimezone(UTC)
        return moved.replace(tzinfo=None) if dialect.name == "sqlite" else moved

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


SLOT_CHARACTERS: Final = 80
"""Of a purpose, and of the name of a derived file's key: its purpose and kind."""

METADATA: Final = sa.MetaData()

SCHEMA: Final = sa.Table("schema_version", METADATA, sa.Column("version", sa.Integer, primary_key=True))

RECORDINGS: Final = sa.Table(
    "recordings",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("purpose", sa.String(63), nullable=False),
    sa.Column("expiry", Instant, nullable=False),
    sa.Column("started", Instant, nullable=False),
    sa.Column("legal_basis", sa.String(32), nullable=False),
    sa.Column("policy_version", sa.String(64), nullable=False),
    sa.Column("call", sa.String(64), nullable=False),
    sa.Column("node", sa.String(64), nullable=False),
    sa.Column("direction", sa.String(12), nullable=False),
    sa.Column("trunk", sa.String(64), nullable=False),
    sa.Column("notice_prompt", sa.String(128), nullable=False),
    sa.Column("notice_sha256", sa.String(64), nullable=False),
    sa.Column("notice_language", sa.String(35), nullable=False),
    sa.Column("notice_heard_by", sa.String(64), nullable=False),
    sa.Column("notice_started", Instant, nullable=False),
    sa.Column("notice_completed", Instant, nullable=False),
    sa.Column("encoding", sa.String(16), nullable=False),
    sa.Column("rate_hz", sa.Integer, nullable=False),
    sa.Column("channels", sa.Integer, nullable=False),
    sa.Column("body", sa.String(128), nullable=False),
    sa.Column("parties", sa.LargeBinary, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False, default=False),
    sa.Column("hold_reference", sa.String(128), nullable=False, default=""),
    sa.Column("facts", sa.Text, nullable=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False, default=0),
    sa.Column("sha256", sa.String(64), nullable=False, default=""),
    sa.Column("reason", sa.String(128), nullable=False, default=""),
    sa.Column("cause", sa.String(64), nullable=False, default=""),
    sa.Column("leased_by", sa.String(32), nullable=False, default="", server_default=""),
    sa.Column("leased_until", Instant, nullable=True),
    sa.Column("from_end", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("counted_from", Instant, nullable=True),
    sa.CheckConstraint(
        "state in ('open', 'sealed', 'aborted', 'shredding', 'discarding')", name="known_state"
    ),
    sa.CheckConstraint("expiry > started", name="expiry_after_start"),
    sa.CheckConstraint("length(purpose) > 0", name="has_purpose"),
    sa.CheckConstraint("state <> 'sealed' or length(sha256) = 64", name="sealed_has_hash"),
    sa.Index("recordings_by_expiry", "state", "expiry"),
    sa.Index("recordings_by_start", "started"),
)

"""``node`` has the recording's headers, its log and, until it is sealed, its body; a worker of its
retention may have the row on lease. While it is open, ``expiry`` counts from ``started``; with
``from_end`` it moves on to ``counted_from``, the end, when that is known."""

FURTHER: Final = sa.Table(
    "further_purposes",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("purpose", sa.String(63), primary_key=True),
    sa.Column("expiry", Instant, nullable=False),
    sa.Column("legal_basis", sa.String(32), nullable=False),
    sa.Column("cause", sa.String(64), nullable=False, default=""),
    sa.Column("notice", sa.Text, nullable=True),
    sa.Column("from_end", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Index("further_by_expiry", "expiry"),
)
"""Purposes of a recording beside the one in its row; with a cause: the key for it is being destroyed.

``notice`` is the proof of its own announcement, JSON; NULL if that in the row told of it.
"""

TOMBSTONES: Final = sa.Table(
    "tombstones",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("purpose", sa.String(SLOT_CHARACTERS), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("policy_version", sa.String(64), nullable=False),
    sa.Column("started_on", sa.Date, nullable=False),
    sa.Column("minutes", sa.Integer, nullable=False),
    sa.Column("expiry", Instant, nullable=False),
    sa.Column("gone_at", Instant, nullable=False),
    sa.Column("cause", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("run", sa.String(32), nullable=False),
    sa.Column("verified", sa.Boolean, nullable=False),
    sa.Column("chain_seq", sa.BigInteger, nullable=False),
    sa.Column("chain_sha256", sa.String(64), nullable=False),
    sa.Column("key_group", sa.String(63), nullable=False, server_default=""),
    sa.Column("key_id", sa.String(96), nullable=False, server_default=""),
    sa.Column("out_of_backups", Instant, nullable=True),
    sa.Column("complete_at", Instant, nullable=True),
    sa.Column("node", sa.String(64), nullable=False, default="", server_default=""),
    sa.Index("tombstones_by_day", "gone_at"),
    sa.Index("tombstones_by_horizon", "complete_at", "out_of_backups"),
)

TOTALS: Final = sa.Table(
    "gone_by_month",
    METADATA,
    sa.Column("month", sa.String(7), primary_key=True),
    sa.Column("purpose", sa.String(SLOT_CHARACTERS), primary_key=True),
    sa.Column("cause", sa.String(64), primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)
"""What remains of tombstones whose own time is over."""

WRAPS: Final = sa.Table(
    "key_wraps",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("purpose", sa.String(SLOT_CHARACTERS), primary_key=True),
    sa.Column("key_group", sa.String(63), nullable=False),
    sa.Column("epoch", sa.String(10), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("pending", sa.String(64), nullable=False, default=""),
    sa.Index("wraps_by_epoch", "key_group", "epoch"),
)
"""To which key pair each header in ``keys/`` is wrapped; an empty epoch is the long-lived one."""

DERIVED: Final = sa.Table(
    "derived_files",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("purpose", sa.String(63), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("expiry", Instant, nullable=False),
    sa.Column("added", Instant, nullable=False),
    sa.Column("language", sa.String(35), nullable=False),
    sa.Column("form", sa.String(32), nullable=False),
    sa.Column("origin", sa.String(64), nullable=False, default=""),
    sa.Column("body", sa.String(160), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False, default=0),
    sa.Column("sha256", sa.String(64), nullable=False, default=""),
    sa.Column("cause", sa.String(64), nullable=False, default=""),
    sa.CheckConstraint("state in ('open', 'sealed', 'shredding')", name="known_derived_state"),
    sa.CheckConstraint("expiry > added", name="derived_expiry_after_start"),
    sa.CheckConstraint("state <> 'sealed' or length(sha256) = 64", name="sealed_derived_has_hash"),
    sa.Index("derived_by_expiry", "expiry"),
)
"""What was made from a recording and is kept with it, one of a kind: a transcript."""

HOLDS: Final = sa.Table(
    "holds",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("case_ref", sa.String(64), nullable=False),
    sa.Column("requested_by", sa.String(128), nullable=False),
    sa.Column("requested_at", Instant, nullable=False),
    sa.Column("ends", Instant, nullable=False),
    sa.Column("approved_by", sa.String(128), nullable=False, default=""),
    sa.Column("approved_at", Instant, nullable=True),
    sa.Column("ended_by", sa.String(128), nullable=False, default=""),
    sa.Column("ended_at", Instant, nullable=True),
    sa.CheckConstraint("ends > requested_at", name="hold_ends_after_start"),
    sa.CheckConstraint("kind <> 'legal' or approved_by <> requested_by", name="two_people"),
)

HELD: Final = sa.Table(
    "held_recordings",
    METADATA,
    sa.Column("hold", sa.String(32), primary_key=True),
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Index("held_by_recording", "id"),
)

NUMBERS: Final = sa.Table(
    "number_index",
    METADATA,
    sa.Column("token", sa.String(32), primary_key=True),
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("month", sa.String(7), nullable=False),
    sa.Index("numbers_by_recording", "id"),
    sa.Index("numbers_by_month", "month"),
)

FINDABLE: Final = sa.Table(
    "findable_purposes",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("purpose", sa.String(63), primary_key=True),
)
"""Purposes for which a number finds a recording; without any here it is found as long as it lives."""

TICKETS: Final = sa.Table(
    "playback_tickets",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("recording", sa.String(32), nullable=False),
    sa.Column("use", sa.String(63), nullable=False),
    sa.Column("requested_by", sa.String(128), nullable=False),
    sa.Column("requested_at", Instant, nullable=False),
    sa.Column("ends", Instant, nullable=False),
    sa.Column("approved_by", sa.String(128), nullable=False, default=""),
    sa.Column("approved_at", Instant, nullable=True),
    sa.CheckConstraint("approved_by <> requested_by", name="two_people_hear"),
    sa.Index("tickets_by_recording", "recording"),
)

NODES: Final = sa.Table(
    "nodes",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("directory", sa.String(32), nullable=False),
)
"""Which data directory is which node, where several share the catalogue."""

PROMOTIONS: Final = sa.Table(
    "promotions",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("purpose", sa.String(63), primary_key=True),
    sa.Column("tag", sa.String(64), nullable=False),
)
