"""The closed list of events in the log: how serious each is, its keys, and what a key may hold.

Long because it is a table: whoever asks what the log can say of a person reads this file alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

__all__ = ["CHANNEL_COUNTS", "EVENTS", "KEYS", "Event", "Kind", "LogLevel"]


class LogLevel(Enum):
    """Least serious event that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Kind(Enum):
    """What a key may hold."""

    WORD = auto()  # an identifier of ours: a name, an enum value, a random reference, a hash
    COUNT = auto()  # a whole number
    NUMBER = auto()  # a measured number
    TEXT = auto()  # free text, possibly a peer's: numbers and addresses in it are masked
    PHONE = auto()  # a telephone number: masked, always


_LEGS: Final = ("caller", "callee")
CHANNEL_COUNTS: Final = (
    "packets",
    "lost",
    "late",
    "reordered",
    "duplicates",
    "ssrc_changes",
    "silence_samples",
)
"""What is said of each channel of a recording, by the names of ``storage.ChannelFacts``."""
_STREAM_COUNTS: Final = (
    "received",
    "relayed",
    "foreign",
    "malformed",
    "gated",
    "send_errors",
    "fork_dropped",
)

# Every key, and what it holds. ``call_ref`` is the random reference of a call, never a Call-ID.
KEYS: Final[Mapping[str, Kind]] = {
    "call_ref": Kind.WORD,
    "by": Kind.WORD,
    "bytes": Kind.COUNT,
    "callee": Kind.PHONE,
    "caller": Kind.PHONE,
    "calls": Kind.COUNT,
    "changed": Kind.WORD,
    "case_ref": Kind.TEXT,
    "choice": Kind.WORD,
    "code": Kind.COUNT,
    "completed": Kind.COUNT,
    "count": Kind.COUNT,
    "day": Kind.WORD,
    "days": Kind.COUNT,
    "decision": Kind.WORD,
    "direction": Kind.WORD,
    "dropped_packets": Kind.COUNT,
    "due": Kind.COUNT,
    "duration_ms": Kind.COUNT,
    "duration_s": Kind.NUMBER,
    "ended_by": Kind.WORD,
    "expiry": Kind.WORD,
    "failed": Kind.COUNT,
    "file": Kind.WORD,
    "foreign_packets": Kind.COUNT,
    "frames": Kind.COUNT,
    "free_bytes": Kind.COUNT,
    "heard_by": Kind.WORD,
    "held": Kind.COUNT,
    "hold": Kind.WORD,
    "key_group": Kind.WORD,
    "keys_pressed": Kind.COUNT,
    "language": Kind.WORD,
    "io": Kind.WORD,
    "scheduling": Kind.WORD,
    "late_packets": Kind.COUNT,
    "leg": Kind.WORD,
    "level": Kind.COUNT,
    "lost_packets": Kind.COUNT,
    "max_calls": Kind.COUNT,
    "node": Kind.WORD,
    "notice": Kind.WORD,
    "outcome": Kind.WORD,
    "paused_ms": Kind.COUNT,
    "pauses": Kind.COUNT,
    "pid": Kind.COUNT,
    "problems": Kind.COUNT,
    "prompt": Kind.WORD,
    "prompt_sha256": Kind.WORD,
    "purged": Kind.COUNT,
    "purpose": Kind.WORD,
    "purposes": Kind.COUNT,
    "reason": Kind.TEXT,
    "recording": Kind.WORD,
    "recording_state": Kind.WORD,
    "ring_dropped": Kind.COUNT,
    "lines": Kind.COUNT,
    "seconds": Kind.NUMBER,
    "setup_s": Kind.NUMBER,
    "shredded": Kind.COUNT,
    "stream": Kind.COUNT,
    "target": Kind.WORD,
    "talk_s": Kind.NUMBER,
    "transport": Kind.WORD,
    "trunk": Kind.WORD,
    "trunks": Kind.COUNT,
    "version": Kind.WORD,
    "what": Kind.TEXT,
    "who": Kind.WORD,
    "why": Kind.TEXT,
    **{f"{leg}_{what}": Kind.COUNT for leg in _LEGS for what in (*CHANNEL_COUNTS, *_STREAM_COUNTS)},
    **{f"{leg}_jitter_ms": Kind.NUMBER for leg in _LEGS},
}


class Event:
    """One declared event: how serious it is, and its keys besides ``call_ref``."""

    __slots__ = ("keys", "level")

    def __init__(self, level: LogLevel, *keys: str) -> None:
        self.level = level
        self.keys = frozenset({"call_ref", *keys})


_I, _W, _E = LogLevel.INFO, LogLevel.WARNING, LogLevel.ERROR
_PACKETS: Final = ("lost_packets", "late_packets", "dropped_packets", "foreign_packets")
_CHANNELS: Final = tuple(f"{leg}_{what}" for leg in _LEGS for what in CHANNEL_COUNTS)
_STREAMS: Final = tuple(f"{leg}_{what}" for leg in _LEGS for what in _STREAM_COUNTS)

# Every event, ``noun.past_participle``.
EVENTS: Final[Mapping[str, Event]] = {
    "daemon.started": Event(_I, "node", "pid", "version"),
    "daemon.ready": Event(_I, "node", "max_calls", "trunks", "version"),
    "daemon.draining": Event(_I, "calls", "seconds"),
    "daemon.stopped": Event(_I, "code", "calls"),
    "daemon.failed": Event(_E, "what", "why"),
    "clock.synced": Event(_I),
    "clock.unsynced": Event(_W),
    "config.loaded": Event(_I, "version", "trunks", "changed"),
    "config.rejected": Event(_E, "problems", "why"),
    "certificate.renewed": Event(_I, "transport"),
    "certificate.expiring": Event(_W, "transport", "days"),
    "policy.loaded": Event(_I, "version", "purposes", "lines"),
    "policy.rejected": Event(_E, "problems", "why"),
    "prompt.failed": Event(_E, "prompt", "language", "why"),
    # One line per call when it is offered and the canonical one when it has ended.
    "call.denied": Event(_W, "trunk"),
    "call.offered": Event(_I, "trunk", "direction", "decision", "purpose", "caller", "callee"),
    "call.answered": Event(_I, "setup_s"),
    "call.diverted": Event(_I, "purpose"),
    "diversion.answered": Event(_I, "setup_s"),
    "diversion.failed": Event(_W, "code"),
    "call.refused": Event(_W, "trunk", "code", "reason", "why"),
    "call.ended": Event(
        _I,
        "outcome",
        "code",
        "reason",
        "ended_by",
        "trunk",
        "direction",
        "decision",
        "purpose",
        "notice",
        "choice",
        "recording",
        "recording_state",
        "duration_s",
        "setup_s",
        "talk_s",
        "keys_pressed",
        *_PACKETS,
    ),
    "call.confused": Event(_E, "what", "why"),
    "leg.failed": Event(_E, "leg", "what", "code"),
    "notice.started": Event(_I, "purpose", "prompt", "language"),
    "notice.completed": Event(
        _I, "purpose", "prompt", "prompt_sha256", "language", "heard_by", "duration_ms"
    ),
    "notice.asserted": Event(_I, "purpose", "what", "prompt", "language", "heard_by"),
    "notice.switched": Event(_I, "purpose", "language"),
    "notice.failed": Event(_W, "purpose", "prompt", "language", "why"),
    "notice.left_off": Event(_W, "purpose", "why"),
    "topic.named": Event(_I, "purpose"),
    "party.joined": Event(_I, "purpose", "leg", "who"),
    "recording.opened": Event(_I, "recording", "purpose", "expiry"),
    "recording.paused": Event(_I, "recording", "why"),
    "recording.resumed": Event(_I, "recording", "why"),
    "choice.accepted": Event(_I, "purpose"),
    "choice.refused": Event(_I, "purpose", "by"),
    "choice.expired": Event(_I, "purpose"),
    "recording.sealed": Event(
        _I,
        "recording",
        "purpose",
        "expiry",
        "reason",
        "why",
        "frames",
        "bytes",
        "duration_s",
        "pauses",
        "paused_ms",
        "ring_dropped",
        *_PACKETS,
        *_CHANNELS,
        *(f"{leg}_jitter_ms" for leg in _LEGS),
    ),
    "recording.failed": Event(_E, "recording", "purpose", "why"),
    "recording.discarded": Event(_W, "recording", "purpose", "reason", "why"),
    "recording.purpose_ended": Event(_W, "recording", "purpose", "reason"),
    "recording.recovered": Event(_W, "recording", "purpose", "outcome", "frames", "bytes", "why"),
    "recording.shredded": Event(_I, "recording", "purpose", "expiry", "reason"),
    "media.opened": Event(_I, "io", "scheduling"),
    "media.unavailable": Event(_E, "why"),
    "media.failed": Event(_E, "stream", "leg", "what", "why"),
    "media.released": Event(_I, "stream", *_STREAMS),
    "sip.logged": Event(LogLevel.DEBUG, "level", "what"),
    "peer.refused": Event(_W, "count"),
    "sip.overloaded": Event(_E),
    "sip.recovered": Event(_I),
    "peer.locked": Event(_W, "count"),
    "registration.completed": Event(_I, "trunk", "seconds"),
    "registration.failed": Event(_E, "trunk", "code", "reason"),
    "registration.ended": Event(_I, "trunk"),
    "target.up": Event(_I, "trunk", "target"),
    "target.down": Event(_E, "trunk", "target"),
    "retention.started": Event(_I, "node", "pid", "seconds"),
    "retention.swept": Event(_I, "due", "shredded", "failed", "held", "seconds"),
    "hold.lapsed": Event(_W, "hold", "case_ref"),
    "retention.shortened": Event(_W, "purpose", "count", "version"),
    "retention.late_elsewhere": Event(_W, "count"),
    "retention.standing_still": Event(_E, "why", "due"),
    "retention.failed": Event(_E, "recording", "why"),
    "case.due_soon": Event(_W, "case_ref", "days"),
    "case.overdue": Event(_E, "case_ref", "days"),
    "case.bundle_destroyed": Event(_I, "case_ref"),
    "case.failed": Event(_E, "case_ref", "why"),
    "keys.epoch_short": Event(_E, "key_group", "days", "expiry"),
    "tombstone.aged": Event(_I, "completed", "purged"),
    "retention.stopped": Event(_I, "code"),
    "upload.started": Event(_I, "node", "pid", "seconds"),
    "upload.moved": Event(_I, "count", "bytes", "failed"),
    "upload.failed": Event(_E, "recording", "why"),
    "upload.stopped": Event(_I, "code"),
    "disk.failed": Event(_E, "what", "why", "free_bytes"),
    "disk.recovered": Event(_I, "what", "free_bytes"),
    "audit.trimmed": Event(_I, "count"),
    "audit.failed": Event(_E, "what", "why"),
    "api.opened": Event(_I, "count"),
    "api.failed": Event(_E, "why"),
    "syslog.failed": Event(_E, "why"),
    "syslog.recovered": Event(_W, "count"),
    "cdr.failed": Event(_E, "what", "why", "count"),
    "cdr.recovered": Event(_I, "what", "count"),
    "cdr.mended": Event(_W, "file", "why"),
    "cdr.expired": Event(_I, "day", "count"),
}
