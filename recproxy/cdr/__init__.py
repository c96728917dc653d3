"""Call detail records: one line for each call, answered or not, for who runs the telephones."""

from recproxy.cdr.collecting import CallDetails, Parties
from recproxy.cdr.detail import COLUMNS, CallDetail, RecordingResult, call_id_hash, csv_head
from recproxy.cdr.expiry import DetailUpkeep
from recproxy.cdr.journal import Flaw, Form, Journal, days, read_details
from recproxy.cdr.numbers import open_parties, seal_parties
from recproxy.cdr.writer import DetailWriter

__all__ = [
    "COLUMNS",
    "CallDetail",
    "CallDetails",
    "DetailUpkeep",
    "DetailWriter",
    "Flaw",
    "Form",
    "Journal",
    "Parties",
    "RecordingResult",
    "call_id_hash",
    "csv_head",
    "days",
    "open_parties",
    "read_details",
    "seal_parties",
]
