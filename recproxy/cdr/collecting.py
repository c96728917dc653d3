"""From what happens in calls to one record of each, once it is over and its recording closed.

The call machine does not know of records: they are made of the events of SIP on their way to it,
and of the notes that it, the media side and the recorder write for the event log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from recproxy.call.commands import Note
from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    CallFacts,
    Event,
    ForkInvited,
    InviteReceived,
    LegEnded,
    Sdp,
)
from recproxy.cdr.detail import CallDetail, RecordingResult, call_id_hash
from recproxy.masking import clean_text, mask_number
from recproxy.policy import PassReason
from recproxy.quality import is_degraded
from storage.tags import Direction

__all__ = ["CallDetails", "Parties"]

#: The recorder closes a recording within moments; a record waits no longer than this for its facts.
PATIENCE: Final = timedelta(minutes=2)
# What recproxy says where a purpose refuses the call; 403 to a recording client without evidence.
_BLOCKING: Final = frozenset({403, 488, 503})
# Whom these concern, the law wants nobody to be able to look up (law.md 3.9): no number at all.
_UNNAMED: Final = frozenset(
    reason.value
    for reason in (PassReason.EMERGENCY, PassReason.HELP_LINE, PassReason.CONFIDENTIAL, PassReason.PRIVATE)
)
_LEGS: Final = ("caller", "callee")
_DIVERTED: Final = {"call.diverted": "failed", "diversion.answered": "answered"}
_ANONYMOUS: Final = "anonymous"
_NO_SPEECH: Final = frozenset({"TELEPHONE-EVENT", "CN"})


@dataclass(frozen=True, slots=True)
class Parties:
    """Both numbers in full; kept only to be encrypted. Never shown."""

    caller: str = field(repr=False)
    callee: str = field(repr=False)


@dataclass(slots=True)
class _Call:
    """What is known so far of one call."""

    ref: str
    facts: CallFacts
    trunk_out: str
    codec: str = ""
    callee_call_id: str = ""
    answered: datetime | None = None
    hung_up: bool = False
    reason: str = ""
    received: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_LEGS, 0))
    recording: str = ""
    broken: bool = False
    sealed: dict[str, Any] | None = None
    over: set[str] = field(default_factory=set)
    ended: datetime | None = None
    diverted: str = ""
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """Its recordings, as the call says at its end."""
        return [one for one in str(self.summary["recording"]).split(",") if one]

    def close(self, fields: dict[str, Any]) -> None:
        """One of its recordings is over: sealed, of which there are facts, or destroyed."""
        self.over.add(str(fields.get("recording", "")))
        if "ring_dropped" in fields:
            self.sealed = _together(self.sealed, fields)


class CallDetails:
    """Safe from any thread; ``write`` is called outside of its lock, once for each call."""

    def __init__(
        self,
        *,
        node: str,
        onward: Mapping[str, str],
        write: Callable[[CallDetail, Parties | None], None],
        now: Callable[[], datetime],
        keep_numbers: bool = False,
    ) -> None:
        """Begin without calls.

        Args:
            node: Name of this machine.
            onward: Trunk that calls from a trunk go on to, by its name.
            write: Takes a finished record, and both numbers if they are kept; at once.
            now: Wall clock: aware, UTC.
            keep_numbers: Whether the numbers in full are handed on.
        """
        self._node = node
        self._onward = onward
        self._write = write
        self._now = now
        self._keep_numbers = keep_numbers
        self._lock = Lock()
        self._calls: dict[str, _Call] = {}
        self._waiting: dict[str, datetime] = {}  # calls that are over, oldest first

    def use_trunks(self, onward: Mapping[str, str]) -> None:
        """Take other trunks for new calls."""
        with self._lock:
            self._onward = onward

    def posted(self, call: str, event: Event) -> None:
        """An event of SIP is on its way to a call; any thread."""
        with self._lock:
            if isinstance(event, InviteReceived | ForkInvited):
                onward = self._onward.get(event.facts.trunk, "")
                made = self._calls.setdefault(call, _Call(call, event.facts, onward))
                if isinstance(event, ForkInvited):
                    made.codec = _codec(event.offer)
                return
            found = self._calls.get(call)
            if found is None:
                return
            match event:
                case CalleeProgress() | CallerConfirmed():
                    found.codec = _codec(event.sdp) or found.codec
                case CalleeAnswered():
                    found.codec = _codec(event.sdp) or found.codec
                    found.callee_call_id = event.sip_call_id
                case LegEnded() if not found.hung_up and not event.by_us:
                    found.hung_up = True
                    found.reason = event.reason
                case _:
                    pass

    def noted(self, call: str, note: Note) -> None:
        """Something is told to the event log; any thread."""
        with self._lock:
            found = self._calls.get(call)
            if found is None:
                return
            fields = dict(note.fields)
            if note.event == "call.offered":  # of a fork the policy says it, not the trunk
                found.facts = replace(found.facts, direction=Direction(fields["direction"]))
            self._take(call, found, note.event, fields)
            finished = [self._calls.pop(name) for name in self._complete(call)]
        for over in finished:
            self._hand_over(over)

    def close(self) -> None:
        """Write what waits for its recording; nothing will tell of that any more."""
        with self._lock:
            finished = [found for found in self._calls.values() if found.ended is not None]
            self._calls.clear()
            self._waiting.clear()
        for over in finished:
            self._hand_over(over)

    def _take(self, name: str, found: _Call, event: str, fields: dict[str, Any]) -> None:
        found.diverted = _DIVERTED.get(event, found.diverted)
        match event:
            case "call.answered":
                found.answered = self._now()
            case "media.released":
                for leg in _LEGS:
                    found.received[leg] += int(fields[f"{leg}_received"])
            case "recording.opened":
                found.recording = str(fields["recording"])
            case "recording.sealed" | "recording.discarded":
                found.close(fields)
            case "recording.failed":
                found.broken = True
            case "disk.failed" if str(fields.get("what", "")).startswith("recording "):
                found.broken = True  # of a call that may be over: the recorder tells nobody else
            case "notice.failed" if not found.hung_up:
                found.broken = True
            case "call.ended":
                found.ended = self._waiting[name] = self._now()
                found.summary = fields
            case _:
                pass

    def _complete(self, call: str) -> list[str]:
        """Take out of those that wait: this call if nothing is missing, and who waited too long."""
        now = self._now()
        done = []
        if _has_all(self._calls[call]):
            done.append(call)
        for name, ended in self._waiting.items():  # oldest first
            if now - ended < PATIENCE:
                break
            if name != call:
                done.append(name)
        for name in done:
            self._waiting.pop(name, None)
        return done

    def _hand_over(self, found: _Call) -> None:
        facts, summary = found.facts, found.summary
        decision = str(summary["decision"])
        unnamed = decision in _UNNAMED
        named = None
        if self._keep_numbers and not unnamed:
            named = Parties("" if facts.anonymous else facts.caller, facts.callee)
        caller = _ANONYMOUS if facts.anonymous else mask_number(facts.caller)
        sealed = found.sealed or {}
        detail = CallDetail(
            call_ref=found.ref,
            node=self._node,
            started=_to_ms(facts.received),
            answered=_to_ms(found.answered) if found.answered is not None else None,
            ended=_to_ms(found.ended or self._now()),
            duration_s=float(summary["duration_s"]),
            talk_s=float(summary["talk_s"]),
            direction=facts.direction.value,
            trunk_in=facts.trunk,
            trunk_out=found.trunk_out,
            caller="" if unnamed else caller,
            callee="" if unnamed else mask_number(facts.callee),
            caller_call_id_sha256="" if unnamed else call_id_hash(facts.sip_call_id),
            callee_call_id_sha256="" if unnamed else call_id_hash(found.callee_call_id),
            outcome=str(summary["outcome"]),
            code=int(summary["code"]),
            reason=clean_text(found.reason or str(summary.get("reason", ""))),
            ended_by=str(summary["ended_by"]),
            decision=decision,
            purpose=str(summary["purpose"]),
            notice=str(summary["notice"]),
            choice=str(summary["choice"]),
            recording=str(summary["recording"]) or found.recording,
            recording_result=_result(found),
            codec=found.codec,
            caller_received=found.received["caller"],
            caller_lost=sealed.get("caller_lost"),
            caller_late=sealed.get("caller_late"),
            caller_jitter_ms=sealed.get("caller_jitter_ms"),
            callee_received=found.received["callee"],
            callee_lost=sealed.get("callee_lost"),
            callee_late=sealed.get("callee_late"),
            callee_jitter_ms=sealed.get("callee_jitter_ms"),
            dropped=sealed.get("ring_dropped"),
            diverted=found.diverted,
        )
        self._write(detail, named)


def _has_all(found: _Call) -> bool:
    """Whether the call is over, and nothing more will be told of its recording."""
    if found.ended is None:
        return False
    if found.summary["recording_state"] != "sealed" or found.broken:
        return True
    return found.sealed is not None and found.over.issuperset(found.ids)


def _together(earlier: dict[str, Any] | None, sealed: dict[str, Any]) -> dict[str, Any]:
    """What is known of recordings in sequence: counts add up, of jitter the highest."""
    if earlier is None:
        return sealed
    counted = {name for name, value in sealed.items() if isinstance(value, int)}
    highest = {name for name in sealed if name.endswith("jitter_ms")}
    both = {name: sealed[name] + earlier.get(name, 0) for name in counted - highest}
    return {**sealed, **both, **{name: max(sealed[name], earlier.get(name, 0.0)) for name in highest}}


def _result(found: _Call) -> RecordingResult:
    state = found.summary["recording_state"]
    if found.sealed is not None:
        return RecordingResult.DEGRADED if is_degraded(found.sealed) else RecordingResult.OK
    # Closed, and nobody said that it is: what became of it is not known to be good.
    if not found.broken and state not in {"sealed", "aborted"}:
        return RecordingResult.NONE
    blocked = found.summary["ended_by"] == "recproxy" and found.summary["code"] in _BLOCKING
    return RecordingResult.BLOCKED if blocked else RecordingResult.FAILED


def _codec(sdp: Sdp | None) -> str:
    """The first codec of the first audio stream of an answer; empty if it has none."""
    for stream in sdp.streams if sdp is not None else ():
        if stream.kind == "audio" and stream.port:
            return next((codec.name for codec in stream.codecs if codec.name not in _NO_SPEECH), "")
    return ""


def _to_ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
