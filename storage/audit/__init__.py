"""The audit chain: signed lines, each bound to the one before."""

from storage.audit.chain import AuditLog
from storage.audit.events import EVENTS, schema
from storage.audit.lines import (
    CHAIN_PATH,
    HEAD_PATH,
    AuditEntry,
    AuditValue,
    ChainHead,
    TailPage,
    fingerprint,
    read_entries,
    read_events,
    read_head,
    read_tail,
)
from storage.audit.trimming import Cut
from storage.audit.verification import ChainReport, verify_chain

__all__ = [
    "CHAIN_PATH",
    "EVENTS",
    "HEAD_PATH",
    "AuditEntry",
    "AuditLog",
    "AuditValue",
    "ChainHead",
    "ChainReport",
    "Cut",
    "TailPage",
    "fingerprint",
    "read_entries",
    "read_events",
    "read_head",
    "read_tail",
    "schema",
    "verify_chain",
]
