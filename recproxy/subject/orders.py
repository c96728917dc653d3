"""Orders of authorities: who demands which recordings, who looked at the order, and what was handed over.

They lie in the directory of cases and stay there: they are the ledger.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from enum import Enum
from typing import Final

import msgspec
from msgspec.structs import replace

from recproxy.subject.cases import CaseError
from storage.durable import replace as replace_file
from storage.files import Files

__all__ = ["Authority", "Handover", "Order", "OrderState", "OrderStore", "new_order_id"]

_LETTERS: Final = "bcdfghjkmnpqrstvwxz"
_FILE: Final = re.compile(r"order-([bcdfghjkmnpqrstvwxz]{12})\.json\Z")
_REFERENCE: Final = re.compile(r"(?!.*[0-9]{7})[A-Za-z0-9][A-Za-z0-9 ./_-]{0,63}\Z")
_MAX_BYTES: Final = 4 << 20


class Authority(Enum):
    """Who demands it."""

    POLICE = "police"
    PROSECUTOR = "prosecutor"
    COURT = "court"
    REGULATOR = "regulator"
    OTHER = "other"


class OrderState(Enum):
    """Where an order is."""

    REQUESTED = "requested"
    APPROVED = "approved"
    REFUSED = "refused"
    DELIVERED = "delivered"


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """What was handed over.

    Attributes:
        sha256: Of the encrypted bundle.
        at: When it was made.
        by: Who made it.
    """

    sha256: str
    at: datetime
    by: str


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One order.

    Attributes:
        id: Twelve letters.
        authority: Who demands it.
        reference: Of the order or warrant.
        secret: Whether the people in the recordings may not be told.
        recordings: The least that the order needs.
        requested_by: Who took it in.
        requested_at: When.
        reviewed_by: Who looked at it as a lawyer; another person.
        reviewed_at: When.
        refused: Whether the reviewer refused it.
        handovers: What was handed over.
    """

    id: str
    authority: Authority
    reference: str
    secret: bool
    recordings: tuple[str, ...]
    requested_by: str
    requested_at: datetime
    reviewed_by: str = ""
    reviewed_at: datetime | None = None
    refused: bool = False
    handovers: tuple[Handover, ...] = ()

    def __post_init__(self) -> None:
        if not _REFERENCE.match(self.reference):
            raise CaseError(
                "the reference is not up to 64 letters, digits, spaces and ./_-, without seven digits "
                "in a row",
                hint="name the order, not a person",
            )

    @property
    def state(self) -> OrderState:
        """Where it is."""
        if self.reviewed_at is None:
            return OrderState.REQUESTED
        if self.refused:
            return OrderState.REFUSED
        return OrderState.DELIVERED if self.handovers else OrderState.APPROVED

    def reviewed(self, by: str, at: datetime, keep: tuple[str, ...], *, refused: bool) -> Order:
        """The order after a lawyer looked at it.

        Args:
            by: Who; not the one who took it in.
            at: When (aware).
            keep: The recordings that the order needs; empty for all that were asked for.
            refused: Whether nothing is handed over.

        Raises:
            CaseError: It was looked at already, by the same person, or a recording was not asked for.
        """
        if self.reviewed_at is not None:
            raise CaseError(f"order {self.id} was {self.state.value} by {self.reviewed_by} already")
        if by == self.requested_by:
            raise CaseError(f"order {self.id} was taken in by {by}: another person must review it")
        foreign = set(keep) - set(self.recordings)
        if foreign:
            raise CaseError(f"order {self.id} does not ask for recording {min(foreign)}")
        return replace(
            self, reviewed_by=by, reviewed_at=at, refused=refused, recordings=keep or self.recordings
        )


def new_order_id() -> str:
    """A random order id."""
    return "".join(secrets.choice(_LETTERS) for _ in range(12))


class OrderStore:
    """The orders in the directory of cases.

    Args:
        files: The directory; nobody else may read it.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def save(self, order: Order) -> None:
        """Write an order down.

        Raises:
            StorageError: It cannot be written; the old text stands.
        """
        text = msgspec.json.format(msgspec.json.encode(order), indent=2)
        replace_file(self._files, f"order-{order.id}.json", text + b"\n")

    def all(self) -> tuple[Order, ...]:
        """Every order, the oldest first.

        Raises:
            CaseError: A file is damaged.
        """
        found = (self._read(name) for name in self._files.names(".") if _FILE.match(name))
        return tuple(sorted(found, key=lambda order: (order.requested_at, order.id)))

    def find(self, prefix: str) -> Order:
        """The order whose id begins with these letters.

        Raises:
            CaseError: None does, more than one does, or its file is damaged.
        """
        found = [order for order in self.all() if prefix and order.id.startswith(prefix)]
        if len(found) != 1:
            raise CaseError(
                f"{'more than one order begins' if found else 'no order begins'} with {prefix!r}",
                hint='see "recproxy authority list"',
            )
        return found[0]

    def _read(self, name: str) -> Order:
        try:
            return msgspec.json.decode(self._files.read(name, 0, _MAX_BYTES), type=Order)
        except msgspec.MsgspecError as err:
            raise CaseError(f"{name} is damaged: {err}") from err
