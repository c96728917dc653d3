"""Which headers go on to the other leg, and what a caller who asked for privacy takes with them.

Nothing is pasted: addresses are parsed and built anew, all else goes on as text without
control characters. Towards a trunk that is not trusted recproxy is the privacy service of
RFC 3323 and RFC 3325. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from recproxy.config.header_names import is_own
from recproxy.errors import SipError
from recproxy.sip.headers import asked_privacy, is_withheld
from recproxy.sip.message import Message, RequestLine
from recproxy.sip.uri import Address, Uri, split_list

__all__ = ["EVERYTHING_USUAL", "Carried", "HeaderRules", "carried", "origin"]

MAX_CARRIED: Final = 64
MAX_CARRIED_BYTES: Final = 4_096
_DECIDED: Final = 1_024  # names of headers that it is remembered of whether a trunk gets them

# Passed on after their addresses were parsed and built anew.
_CARRIED_ADDRESSES: Final = {
    name.lower(): name
    for name in (
        "P-Asserted-Identity",
        "Remote-Party-ID",
        "Diversion",
        "History-Info",
        "P-Called-Party-ID",
        "Referred-By",
    )
}
# Passed on as text. Not in it: routing, dialog, transport and credential headers, and
# what our own side of the other leg states for itself (Allow, Supported, Server …).
_CARRIED_TEXT: Final = {
    name.lower(): name
    for name in (
        "Accept-Contact",
        "Accept-Language",
        "Alert-Info",
        "Answer-Mode",
        "Call-Info",
        "Date",
        "Error-Info",
        "Geolocation",
        "Geolocation-Routing",
        "Identity",
        "In-Reply-To",
        "Organization",
        "P-Asserted-Service",
        "P-Charging-Vector",
        "P-Early-Media",
        "Priority",
        "Privacy",
        "Reject-Contact",
        "Request-Disposition",
        "Resource-Priority",
        "Session-ID",
        "Subject",
        "User-to-User",
        "Warning",
    )
}
_USUAL: Final = frozenset({*_CARRIED_ADDRESSES, *_CARRIED_TEXT, "reason", "x-*"})

# What a privacy service hides (RFC 3323 section 5, RFC 3325 section 7, RFC 7044 section 10.1).
_HIDE_CALLER: Final = frozenset({"id", "user", "header"})
_HIDE_HISTORY: Final = frozenset({"history", "header"})
_DONE_HERE: Final = frozenset({"id", "user", "header", "session", "history"})
_CALLERS: Final = frozenset(
    {"p-asserted-identity", "p-preferred-identity", "remote-party-id", "referred-by", "identity"}
)
_CALLERS_OWN_WORDS: Final = frozenset({"call-info", "in-reply-to", "organization", "reply-to", "subject"})
_ANONYMOUS: Final = Address("Anonymous", Uri("sip", "anonymous", "anonymous.invalid"))
_HISTORY_PARAMETERS: Final = frozenset({"index", "rc", "mp", "np"})


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """What a trunk is told.

    Attributes:
        trusted: Whether it may know callers who asked for privacy (RFC 3325 section 2.3).
        carry: Names of headers that go on besides the usual ones; a ``*`` at the end of
            one stands for any rest.
        hide: Names of headers that do not, whatever ``carry`` says.
    """

    trusted: bool = False
    carry: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()

    def passes(self, name: str) -> bool:
        """Whether headers of this name go on to the trunk."""
        return _passes(self.carry, self.hide, name.lower())


@lru_cache(maxsize=_DECIDED)
def _passes(carry: tuple[str, ...], hide: tuple[str, ...], lower: str) -> bool:
    usual = lower in _USUAL or lower.startswith("x-")
    wanted = usual or _listed(lower, carry)
    return wanted and not is_own(lower) and not _listed(lower, hide)


EVERYTHING_USUAL: Final = HeaderRules()


@dataclass(frozen=True, slots=True)
class Carried:
    """What is passed on.

    Attributes:
        headers: Names and values, in the order received.
        refused: Names of headers that would be, but are malformed or too many.
    """

    headers: tuple[tuple[str, str], ...]
    refused: tuple[str, ...]


def carried(message: Message, rules: HeaderRules, *, emergency: bool = False) -> Carried:
    """Pick the headers that go on, each checked.

    Those that hold addresses (P-Asserted-Identity, Diversion, History-Info …) are
    parsed and built anew; X- headers and the rest go on as text without control
    characters. Never carried: Via, Route, Contact, Authorization and their like.

    Args:
        message: A request or response.
        rules: Of the trunk that it goes to.
        emergency: Whoever helps must know who calls: nothing is hidden.
    """
    hidden = _Hidden.of(message, rules, emergency=emergency)
    passed: list[tuple[str, str]] = []
    refused: list[str] = []
    size = 0
    for header in message.headers:
        name = _spelling(header.name)
        if not rules.passes(name) or name == "Reason":  # what ended a leg is told by whoever ends the other
            continue
        for value in _values(name, header.value, hidden):
            size += len(name) + len(value.encode()) + 4 if value else 0
            if not value or size > MAX_CARRIED_BYTES or len(passed) >= MAX_CARRIED:
                refused.append(name)
            else:
                passed.append((name, value))
    return Carried(tuple(passed), tuple(refused))


def origin(invite: Message, rules: HeaderRules, *, emergency: bool = False) -> Address:
    """From of the onward call: the caller's, or the anonymous one.

    Raises:
        SipError: From is missing or malformed.
    """
    given = invite.address("From")
    if _Hidden.of(invite, rules, emergency=emergency).caller:
        return _ANONYMOUS
    return Address(given.display, given.uri)


@dataclass(frozen=True, slots=True)
class _Hidden:
    """What is hidden from a trunk.

    ``asked`` is what Privacy says; without it, an anonymous From asks for ``id``: who
    withholds the number there does not want it in another header either.
    """

    asked: frozenset[str]
    done: frozenset[str] = frozenset()
    serves: bool = False  # whether recproxy is the privacy service for this trunk

    @classmethod
    def of(cls, message: Message, rules: HeaderRules, *, emergency: bool) -> _Hidden:
        try:
            asked = asked_privacy(message)
        except SipError:
            asked = _DONE_HERE  # in doubt everything
        if rules.trusted or emergency:
            return cls(asked)
        if "none" in asked:
            return cls(asked, serves=True)
        if not asked and isinstance(message.start, RequestLine) and _from_is_withheld(message):
            asked = frozenset({"id"})
        return cls(asked, asked & _DONE_HERE, serves=True)

    @property
    def caller(self) -> bool:
        return bool(self.done & _HIDE_CALLER)

    @property
    def history(self) -> bool:
        return bool(self.done & _HIDE_HISTORY)

    def drops(self, lower: str) -> bool:
        """Whether headers of this name do not go on at all."""
        if lower in _CALLERS:
            return self.caller
        if lower in _CALLERS_OWN_WORDS:
            return "user" in self.done
        return lower == "diversion" and self.history


def _from_is_withheld(message: Message) -> bool:
    try:
        return is_withheld(message.address("From"))
    except SipError:
        return True


def _listed(lower: str, names: tuple[str, ...]) -> bool:
    return any(
        lower.startswith(name[:-1].lower()) if name.endswith("*") else lower == name.lower() for name in names
    )


def _spelling(name: str) -> str:
    lower = name.lower()
    return _CARRIED_ADDRESSES.get(lower) or _CARRIED_TEXT.get(lower) or name


def _values(name: str, value: str, hidden: _Hidden) -> list[str]:
    """Values to send; an empty one stands for what must not be sent."""
    lower = name.lower()
    if hidden.drops(lower):
        return []
    if lower == "privacy":
        return _privacy_left(hidden)
    if lower in _CARRIED_ADDRESSES:
        try:
            parsed = [Address.parse(part) for part in split_list(value)]
        except SipError:
            return [""]
        return [text for address in parsed if (text := _address(lower, address, hidden))]
    if lower == "geolocation" and "cid:" in value.lower():
        return [""]  # it names a body part that does not go on
    return ["" if "\ufffd" in value else value]


def _privacy_left(hidden: _Hidden) -> list[str]:
    """Privacy without what was done here (RFC 3323 section 5)."""
    left = hidden.asked - hidden.done
    return [";".join(sorted(left))] if left - {"critical"} and all(map(_is_token, left)) else []


def _is_token(text: str) -> bool:
    return text.replace("-", "").isalnum() and text.isascii()


def _address(lower: str, address: Address, hidden: _Hidden) -> str:
    """An address of a header for the other leg; empty if its owner wants it kept from there."""
    if lower == "history-info":
        return _history(address, hidden)
    if lower in {"diversion", "remote-party-id"} and hidden.serves:
        wish = (address.parameter("privacy") or "off").strip('"').lower()
        if wish not in {"off", "none"}:  # RFC 5806 section 4
            return ""
    return address.with_headers()


def _history(entry: Address, hidden: _Hidden) -> str:
    """A History-Info entry; anonymous if it must be, so that the indices stay whole."""
    own = "privacy=history" in entry.uri.headers.lower() and hidden.serves
    if not own and not hidden.history:
        return entry.with_headers()
    kept = tuple(pair for pair in entry.parameters if pair[0].lower() in _HISTORY_PARAMETERS)
    return str(Address("", _ANONYMOUS.uri, kept))
