"""Every event of the audit chain and every field a line may have, as a closed list and a JSON Schema.

What is not here is not meant to be in a chain: it would be a defect, not evidence. No
field may hold a telephone number, a name of a caller, a key, audio or a key pressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

EVENTS: Final[Mapping[str, str]] = {
    "announce.asserted": "A recording client says, or the policy declares, that it announced a forked call.",
    "announce.completed": "The announcement was heard to its end by those who must hear it.",
    "announce.failed": "The announcement was not heard to its end.",
    "announce.started": "The announcement began.",
    "auth.denied": "A request to the API had no token, a wrong one, or none that may do this.",
    "authority.delivered": "What an order needs was made, to be handed over.",
    "authority.denied": "An order was not reviewed: who wanted to has not the role for it.",
    "authority.requested": "An order of an authority was taken in.",
    "authority.reviewed": "A second person reviewed an order.",
    "backup.horizon_passed": "The last backup that may hold the key of a shredded recording is gone.",
    "catalogue.rebuilt": "Rows and tombstones that the catalogue had lost were made again from this chain.",
    "cdr.expired": "Call detail records of one day were kept long enough and destroyed.",
    "call.diverted": "A party refused what a statute orders, and the call goes on to another number.",
    "chain.torn_tail_cut": "A last line that was not whole was cut.",
    "chain.trimmed": "The lines whose time was over were removed; the chain goes on from the last of them.",
    "choice.offered": "A party was offered a choice.",
    "choice.opt_in": "A party said yes by key.",
    "choice.opt_out": "A party said no by key.",
    "choice.timeout": "Nobody said yes in time, which is no.",
    "clock.accepted": "A person checked the clock and accepted it.",
    "clock.synced": "The clock is synchronised again.",
    "clock.unsynced": "The clock is not believed; nothing is shredded, or nothing new is recorded.",
    "consent.withdrawn": "Consent was withdrawn, by key or in a case.",
    "derived.added": "What was made from a recording, such as a transcript, is kept with it.",
    "derived.opened": "What was made from a recording was decrypted, or given encrypted, to be read.",
    "derived.shredded": "The key of what was made from a recording was destroyed, and its body.",
    "dsr.bundle_created": "The answer to a request for access was made.",
    "dsr.bundle_destroyed": "An answer that waited to be fetched was destroyed when its time was over.",
    "dsr.closed": "A case was ended because the person took it back.",
    "dsr.decided": "It was decided what is erased.",
    "dsr.delivered": "A case was ended with an answer.",
    "dsr.due_soon": "The answer of a case is due within 14, 7 or 1 days.",
    "dsr.extended": "A case takes two further months.",
    "dsr.opened": "A person asked for something.",
    "dsr.overdue": "The answer of a case was not given in time.",
    "dsr.refused": "A case was ended with a refusal.",
    "dsr.searched": "It was looked for recordings of a case again.",
    "export.created": "A recording was decrypted to a file.",
    "hold.approved": "A second person approved a hold.",
    "hold.expired": "A hold lapsed on its date.",
    "hold.lifted": "A hold was ended before its date.",
    "hold.requested": "A person asked for a hold.",
    "key.retired": "The key pair of an epoch is used no more; nothing is wrapped to it.",
    "key.rewrapped": "The key of a recording was wrapped to longer-lived recipients.",
    "key.destroyed": "A key that is not of one recording was destroyed.",
    "number.searched": "Recordings were looked for by a telephone number.",
    "objection.decided": "An objection was upheld or refused.",
    "pause.asked": "A program asked for a pause.",
    "party.joined": "Somebody else sits at an end of the call: outside, staff, or why he is never recorded.",
    "parties.opened": "It was looked who called whom.",
    "playback.approved": "A second person approved that a recording is heard.",
    "playback.denied": "A recording was not opened: purpose, role, four eyes or a cap forbid it.",
    "playback.requested": "A person asked to hear a recording that needs the word of two.",
    "playback.opened": "A recording was given out, encrypted, to be heard.",
    "rec.asked": "A recording was asked for in the call.",
    "rec.body_moved": "The body of a recording was moved to the object store, and read back.",
    "rec.discarded": "A recording that was never complete was erased.",
    "rec.expiry_changed": "A recording expires sooner: the policy's term became shorter.",
    "rec.failed": "A recording failed.",
    "rec.paused": "A recording was paused.",
    "rec.promoted": "A recording is kept longer, by the tag that its purpose declares.",
    "rec.purpose_expired": "The key of one purpose was destroyed; the recording lives on for others.",
    "rec.purpose_stopped": "Staff ended a purpose of a recording by a key; what was recorded for it stays.",
    "rec.resumed": "A recording went on.",
    "rec.sealed": "A recording was closed for good.",
    "rec.started": "A recording began.",
    "resume.asked": "A program ended a pause.",
    "restrict.lifted": "A restriction of use was ended.",
    "restrict.set": "The use of recordings was restricted.",
    "retention.run": "What is due was shredded.",
    "shred.failed": "Shredding one recording failed and will be repeated.",
    "shred.started": "Shredding one recording began.",
    "shred.verified": "Key and body were destroyed, looked for, and not found.",
    "staff.notified": "Staff heard by a tone that it is recorded.",
    "store.started": "The recorder started and completed what was open.",
    "tombstone.purged": "Tombstones whose time was over became totals by month.",
    "tombstone.written": "The tombstone stands in place of the row.",
    "topic.asked": "A program said what a call is for.",
    "topic.named": "It became known what a call is for; the announcement is due.",
}
"""By name: what happened."""

_HASH: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_SIGNED_MEMBERS: Final[Mapping[str, Any]] = {
    "v": {"const": 1},
    "seq": {"type": "integer", "minimum": 1},
    "ts": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
    "node": {"type": "string"},
    "event": {"enum": sorted(EVENTS)},
    "actor": {"type": "string"},
    "key": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    "prev": _HASH,
    "sig": {"type": "string"},
}


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one line of ``audit/chain.jsonl``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One line of recproxy's audit chain",
        "type": "object",
        "required": list(_SIGNED_MEMBERS),
        "properties": dict(_SIGNED_MEMBERS),
        "patternProperties": {"^[a-z][a-z0-9_]{0,62}$": {"type": ["string", "number", "boolean"]}},
        "additionalProperties": False,
        "$defs": {name: {"description": text} for name, text in sorted(EVENTS.items())},
    }
