"""The catalogue of recordings: rows, tombstones and the changes of state between them."""

from storage.catalogue.adoption import AdoptionRegister, LostRow
from storage.catalogue.derived import DerivedFile, DerivedKind, DerivedRegister, served_purpose
from storage.catalogue.engines import (
    ANSWER_SECONDS,
    open_engine,
    postgresql_engine,
    sqlite_engine,
    sqlite_url,
)
from storage.catalogue.holds import HoldRegister
from storage.catalogue.leases import LEASE, Lease, LeaseRegister
from storage.catalogue.membership import reach
from storage.catalogue.register import CATALOGUE_NAME, EXPIRY, Catalogue
from storage.catalogue.rows import (
    AudioFacts,
    CatalogueRow,
    KeyFacts,
    OpenRow,
    SealedRow,
    State,
    Tombstone,
    Wrap,
    decode_facts,
    encode_facts,
    key_facts,
    length_bucket,
)
from storage.catalogue.stones import Horizon, MonthTotal, StoneRegister
from storage.catalogue.terms import Term, TermChange, TermRegister
from storage.catalogue.tickets import Ticket, TicketRegister
from storage.catalogue.wraps import EpochUse, Standing, WrapRegister

__all__ = [
    "ANSWER_SECONDS",
    "CATALOGUE_NAME",
    "EXPIRY",
    "LEASE",
    "AdoptionRegister",
    "AudioFacts",
    "Catalogue",
    "CatalogueRow",
    "DerivedFile",
    "DerivedKind",
    "DerivedRegister",
    "EpochUse",
    "HoldRegister",
    "Horizon",
    "KeyFacts",
    "Lease",
    "LeaseRegister",
    "LostRow",
    "MonthTotal",
    "OpenRow",
    "SealedRow",
    "Standing",
    "State",
    "StoneRegister",
    "Term",
    "TermChange",
    "TermRegister",
    "Ticket",
    "TicketRegister",
    "Tombstone",
    "Wrap",
    "WrapRegister",
    "decode_facts",
    "encode_facts",
    "key_facts",
    "length_bucket",
    "open_engine",
    "postgresql_engine",
    "reach",
    "served_purpose",
    "sqlite_engine",
    "sqlite_url",
]
