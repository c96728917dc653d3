"""Who sits at each end of a call, as the requests inside it say: a transfer beyond us changes it.

A PBX that connects its end of a call with somebody else says so by a re-INVITE or UPDATE with
another P-Asserted-Identity or Remote-Party-ID (RFC 3325, and what telephones did before it), or
another From (RFC 4916). Read for one question alone, as ``recproxy.sip.concerned`` is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from recproxy.call.events import CallFacts, Event, LegName, PartyJoined, PreferenceTold
from recproxy.errors import PeerError, SipError
from recproxy.policy import RecordPreference
from recproxy.sip import headers
from recproxy.sip.bridge import Bridge
from recproxy.sip.concerned import record_preference
from recproxy.sip.headers import Message
from recproxy.sip.leg import Leg
from recproxy.sip.numbering import IsEmergency, Party, rewritten
from recproxy.sip.uri import Address

__all__ = ["Identities", "at_first", "told_number"]

_ASSERTED: Final = ("P-Asserted-Identity", "Remote-Party-ID")
_SAME_DIGITS: Final = 6  # so many at the end, and all that there are, make two forms of one number


def told_number(message: Message) -> str | None:
    """The number of whoever sends a message.

    Returns:
        The number or user part; empty if it is withheld, None if the message does not say.
    """
    for name in _ASSERTED:
        try:
            values = message.values(name)
            numbers = [Address.parse(value).uri.number for value in values]
        except SipError:
            continue
        if numbers:
            known = [number for number in numbers if number.lower() not in {"", "anonymous"}]
            return known[0] if known else ""
    return None


def at_first(invite: Message, facts: CallFacts) -> dict[LegName, tuple[str, ...]]:
    """Who is known to sit at each end when a call begins."""
    shown = told_number(invite)
    return {
        LegName.CALLER: (facts.caller, *facts.identities[:1], *(() if shown is None else (shown,))),
        LegName.CALLEE: (facts.callee,),
    }


class Identities:
    """Tells a call when somebody else sits at one of its ends."""

    def __init__(self, post: Callable[[str, Event], None], is_emergency: IsEmergency) -> None:
        """Know whom to tell.

        Args:
            post: Takes the events of a call.
            is_emergency: Tells an emergency number by any form in which it may be dialled.
        """
        self._post = post
        self._is_emergency = is_emergency

    def told(self, leg: Leg, bridge: Bridge, message: Message) -> None:
        """A peer sent a request inside its dialog, or answered with 200."""
        self._prefers(leg, bridge, message)
        trunk = bridge.trunk if leg.name is LegName.CALLER else bridge.onward
        number = told_number(message)
        if number is None:
            number = _changed_from(leg, message)
        if number is None:
            return
        number = rewritten(trunk.received, number, Party.CALLER, self._is_emergency)
        known = bridge.known.get(leg.name, ())
        if any(_is_same(number, one) for one in known):
            return
        answering = not isinstance(message.start, headers.RequestLine)
        bridge.known[leg.name] = (*known, number) if answering else (number,)
        self._post(leg.call, PartyJoined(leg.name, number, answering=answering))

    def _prefers(self, leg: Leg, bridge: Bridge, message: Message) -> None:
        try:
            body = headers.sdp_body(message)
        except PeerError:
            return
        if not body:
            return
        wish = record_preference(body)
        if wish is not bridge.wishes.get(leg.name, RecordPreference.NONE):
            bridge.wishes[leg.name] = wish
            self._post(leg.call, PreferenceTold(leg.name, wish))


def _changed_from(leg: Leg, message: Message) -> str | None:
    """The number of a From that is not the one of the dialog any more (RFC 4916); None if it is."""
    if not isinstance(message.start, headers.RequestLine):
        return None
    try:
        before = Address.parse(leg.peer).uri.number
        now = Address.parse(message.first("From") or "").uri.number
    except SipError:
        return None
    return now if now != before else None


def _is_same(one: str, other: str) -> bool:
    """Whether two numbers are forms of one, national and international."""
    if one == other:
        return True
    bare = [number.lstrip("+0") for number in (one, other)]
    shorter, longer = sorted(bare, key=len)
    return len(shorter) >= _SAME_DIGITS and shorter.isdecimal() and longer.endswith(shorter)
