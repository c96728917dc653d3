"""The catalogue of recordings: rows, tombstones and the changes of state between them."""

from storage.catalogue.holds import HoldRegister
from storage.catalogue.register import CATALOGUE_NAME, EXPIRY, Catalogue
from storage.catalogue.rows import (
    AudioFacts,
    CatalogueRow,
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
from storage.catalogue.schema import sqlite_engine, sqlite_url
from storage.catalogue.stones import Horizon, MonthTotal, StoneRegister
from storage.catalogue.terms import Term, TermChange, TermRegister
from storage.catalogue.tickets import Ticket, TicketRegister
from storage.catalogue.wraps import EpochUse, Standing, WrapRegister

__all__ = [
    "CATALOGUE_NAME",
    "EXPIRY",
    "AudioFacts",
    "Catalogue",
    "CatalogueRow",
    "EpochUse",
    "HoldRegister",
    "Horizon",
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
    "sqlite_engine",
    "sqlite_url",
]
