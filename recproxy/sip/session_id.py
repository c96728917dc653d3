"""Session-ID (RFC 7989): the names of a call's two ends over all of its legs, and a loop's mark. Pure.

They go on unchanged, in every message of either leg; a call without one gets one. (100
Trying, and the ACK to a failure, are the C module's.) A call that comes back from the same
trunk, to the same number, under the name of a call that stands is a loop. Elements that keep
the name: proxies, and back-to-back user agents that know RFC 7989 (Cisco, Oracle, recent
Kamailio set-ups). Asterisk, FreeSWITCH and 3CX make a new call without it, and set
Max-Forwards to its start as well: a loop through them ends at the limits of the trunks.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from recproxy.call.events import LegName
from recproxy.sip.message import Message

__all__ = ["Ends", "LoopMark", "made_session_id", "session_uuid"]

_UUID: Final = re.compile(r"[ \t]*([0-9a-f]{32})(?:[ \t]*;|[ \t]*\Z)", re.IGNORECASE)
_HEX_DIGITS: Final = 32
_NIL: Final = "0" * _HEX_DIGITS


@dataclass(frozen=True, slots=True)
class LoopMark:
    """By what a call is known when it comes round again.

    Attributes:
        trunk: That it came from.
        uuid: Of its Session-ID.
        number: That was called: a call that a PBX forwards elsewhere is no loop.
    """

    trunk: str
    uuid: str
    number: str


@dataclass(slots=True)
class Ends:
    """What the two ends of a call name themselves; empty for one that has not.

    Attributes:
        caller: UUID of the caller's end, or the one that was made for it.
        callee: UUID of the callee's.
    """

    caller: str = ""
    callee: str = ""

    def learn(self, leg: LegName, message: Message) -> bool:
        """Take in a message that came on ``leg``; an end may change its name in the call (section 7).

        Returns:
            Whether it names the end otherwise than before.
        """
        uuid = session_uuid(message)
        if uuid is None or uuid == (self.caller if leg is LegName.CALLER else self.callee):
            return False
        if leg is LegName.CALLER:
            self.caller = uuid
        else:
            self.callee = uuid
        return True

    def told(self, leg: LegName) -> str:
        """Value for messages that go out on ``leg``: they speak for the other end. Empty for none."""
        here, there = (self.callee, self.caller) if leg is LegName.CALLER else (self.caller, self.callee)
        return f"{here};remote={there or _NIL}" if here else ""


def session_uuid(message: Message) -> str | None:
    """The local UUID of Session-ID (RFC 7989 section 5), None if missing, nil or malformed."""
    found = _UUID.match(message.first("Session-ID") or "")
    uuid = found[1].lower() if found else _NIL
    return uuid if uuid != _NIL else None


def made_session_id(call: str, sip_call_id: str) -> str:
    """The header's value for a call that has none: a name-based UUID, the remote end unknown.

    Args:
        call: Our random reference of the call, which nobody else knows.
        sip_call_id: Call-ID of the caller's dialog.
    """
    digest = hashlib.sha256(f"{call}\n{sip_call_id}".encode()).hexdigest()
    uuid = f"{digest[:12]}5{digest[13:16]}a{digest[17:_HEX_DIGITS]}"  # version and variant, RFC 9562
    return f"{uuid};remote={_NIL}"
