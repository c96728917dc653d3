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
    decode_facts,
    encode_facts,
    length_bucket,
)
from storage.catalogue.schema import sqlite_engine, sqlite_url
from storage.catalogue.terms import Term, TermChange, TermRegister
from storage.catalogue.tickets import Ticket, TicketRegister

__all__ = [
    "CATALOGUE_NAME",
    "EXPIRY",
    "AudioFacts",
    "Catalogue",
    "CatalogueRow",
    "HoldRegister",
    "OpenRow",
    "SealedRow",
    "State",
    "Term",
    "TermChange",
    "TermRegister",
    "Ticket",
    "TicketRegister",
    "Tombstone",
    "decode_facts",
    "encode_facts",
    "length_bucket",
    "sqlite_engine",
    "sqlite_url",
]
