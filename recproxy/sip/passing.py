"""Requests inside a call that change nothing of ours, and what of them goes on. Pure.

INFO, NOTIFY and MESSAGE go on with their body and what describes it. REFER names
somebody to call: in a ``Replaces`` part (RFC 3891) a dialog as the referring side
knows it, which the other side knows under other names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias
from urllib.parse import quote, unquote

from recproxy.errors import SipError
from recproxy.sip.headers import Message
from recproxy.sip.uri import Address, Uri

#: Methods that the other leg answers.
PASSED: Final = frozenset({"INFO", "REFER", "NOTIFY", "MESSAGE"})

_DESCRIBING: Final = (
    "Accept",
    "Content-Disposition",
    "Event",
    "Expires",
    "Info-Package",
    "Refer-Sub",
    "Subscription-State",
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ufffd]")
_SIGNAL: Final = re.compile(rb"(?im)^[ \t]*Signal[ \t]*=[ \t]*([0-9A-D*#])[ \t]*\r?$")
_DIGIT: Final = re.compile(rb"[ \t\r\n]*([0-9A-Da-d*#])[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class DialogName:
    """What identifies a dialog of ours (RFC 3261 section 12).

    Attributes:
        call_id: Call-ID.
        ours: Our tag.
        theirs: The peer's tag.
    """

    call_id: str
    ours: str
    theirs: str

    @property
    def replaces(self) -> str:
        """The dialog as its peer is to find it, in a Replaces header (RFC 3891 section 3)."""
        return f"{self.call_id};to-tag={self.theirs};from-tag={self.ours}"


#: Finds the name of a dialog for the peer that is to replace it; None if it is none of ours.
Finder: TypeAlias = Callable[[DialogName], DialogName | None]


def named_dialog(value: str) -> DialogName | None:
    """The dialog of a Replaces value as the one who is asked to replace it sees it; None if malformed."""
    call_id, *parameters = value.split(";")
    tags = {name.strip().lower(): tag.strip() for name, _, tag in (p.partition("=") for p in parameters)}
    ours, theirs = tags.get("to-tag", ""), tags.get("from-tag", "")
    if not call_id.strip() or not ours or not theirs or _CONTROL.search(value):
        return None
    return DialogName(call_id.strip(), ours, theirs)


def digit(message: Message) -> str:
    """The key that an INFO tells of, by Signal= or alone; empty if it tells of none."""
    kind = (message.first("Content-Type") or "").partition(";")[0].strip().lower()
    if kind == "application/dtmf-relay":
        found = _SIGNAL.search(message.body)
    elif kind == "application/dtmf":
        found = _DIGIT.fullmatch(message.body)
    else:
        return ""
    return found[1].decode().upper() if found else ""


def record_wish(message: Message) -> bool | None:
    """Whether an INFO asks by ``Record: on`` or ``off``, as desk telephones do; None if it does not."""
    if (message.first("CSeq") or "").split()[1:] != ["INFO"]:
        return None
    return {"on": True, "off": False}.get((message.first("Record") or "").strip().lower())


def referred_number(message: Message) -> str | None:
    """Whom a REFER asks to call (RFC 3515); None if it is none, or names nobody."""
    text = message.first("Refer-To") if getattr(message.start, "method", "") == "REFER" else None
    try:
        return Address.parse(text).uri.number if text is not None else None
    except SipError:
        return None


def passed_headers(
    message: Message, carried: Iterable[tuple[str, str]], find: Finder, home: Callable[[Uri], Uri]
) -> str:
    """Headers for the other leg, one ``Name:value`` a line.

    Args:
        message: The request.
        carried: Headers of it that the other leg's trunk is told.
        find: Names a dialog of ours for the other side.
        home: Makes an address that leads to us or to the sender one that leads to us.

    Raises:
        SipError: Refer-To is missing or malformed.
    """
    passed = list(carried)
    for name in _DESCRIBING:
        value = message.first(name)
        if value is not None and not _CONTROL.search(value):
            passed.append((name, value))
    if getattr(message.start, "method", "") == "REFER":
        passed.append(("Refer-To", _refer_to(message, find, home)))
    return "".join(f"{name}:{value}\n" for name, value in passed)


def _refer_to(message: Message, find: Finder, home: Callable[[Uri], Uri]) -> str:
    text = message.first("Refer-To")
    if text is None:
        raise SipError("REFER", "without Refer-To")
    target = Address.parse(text)
    uri = home(target.uri)
    kept = []
    for part in target.uri.headers.split("&"):
        name, _, value = part.partition("=")
        asked = named_dialog(unquote(value)) if name.lower() == "replaces" else None
        found = find(asked) if asked is not None else None
        kept.append(f"Replaces={quote(found.replaces, safe='')}" if found is not None else part)
    return replace(target, uri=replace(uri, headers="&".join(kept))).with_headers()
