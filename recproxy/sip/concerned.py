"""Whom a call concerns beside its two ends, and what a telephone asks of a recorder.

Read for one question alone: whether the call is exempt. Nothing of it is stored or
logged, and so the identity of a caller who asked for privacy is looked at as well: it
protects who calls. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from recproxy.errors import SipError
from recproxy.policy import RecordPreference
from recproxy.sip.message import Message

__all__ = ["further_numbers", "is_emergency_callback", "named_purpose", "record_preference"]

_NAMING: Final = (
    "From",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Diversion",
    "History-Info",
    "Referred-By",
)
_MOST: Final = 64  # numbers looked at; the headers themselves are bounded by the size of a message
_PURPOSE: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_PREFERENCES: Final = {b"off": RecordPreference.OFF, b"pause": RecordPreference.PAUSE}


def further_numbers(invite: Message) -> tuple[str, ...]:
    """User parts of all who are named in an INVITE beside its Request-URI, each once, in order.

    From, the asserted identities (RFC 3325), those who diverted the call (RFC 5806, RFC
    7044) and who referred it (RFC 3892). A value that does not parse names nobody.
    """
    return tuple(dict.fromkeys(_numbers(invite)))[:_MOST]


def is_emergency_callback(invite: Message) -> bool:
    """Whether an emergency service calls back: ``Priority: psap-callback`` (RFC 7090 section 5)."""
    return any(value.strip().lower() == "psap-callback" for value in invite.values("Priority"))


def named_purpose(invite: Message, *, heeded: bool) -> str:
    """The purpose that ``X-Recording-Purpose`` names; empty if none can be so called, or not heeded."""
    named = (invite.first("X-Recording-Purpose") or "").strip()
    return named if heeded and _PURPOSE.match(named) else ""


def record_preference(body: bytes) -> RecordPreference:
    """What ``a=recordpref`` of an offer asks for, at either level (RFC 7866 section 8.2).

    The strictest of several: ``off`` before ``pause``.
    """
    asked = {
        _PREFERENCES.get(line.removeprefix(b"a=recordpref:").strip().lower())
        for line in body.splitlines()
        if line.startswith(b"a=recordpref:")
    }
    found = (wish for wish in (RecordPreference.OFF, RecordPreference.PAUSE) if wish in asked)
    return next(found, RecordPreference.NONE)


def _numbers(invite: Message) -> Iterator[str]:
    for name in _NAMING:
        try:
            values = invite.values(name)
        except SipError:
            continue
        for value in values:
            try:
                number = invite.as_address(value).uri.number
            except SipError:
                continue
            if number:
                yield number
