"""What the headers of a message say. Which of them go on: ``recproxy.sip.carrying``.

Messages are read by ``recproxy.sip.message``, addresses by ``recproxy.sip.uri``;
nothing here raises anything but :class:`SipError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from recproxy.errors import SipError
from recproxy.sip.message import (
    Header,
    Message,
    RequestLine,
    StatusLine,
    read_message,
    sdp_body,
    whole_number,
)
from recproxy.sip.uri import Address, Uri, quoted, shown

__all__ = [
    "Header",
    "Identity",
    "Message",
    "Presentation",
    "Reason",
    "RequestLine",
    "SipError",
    "StatusLine",
    "asked_privacy",
    "identity",
    "is_emergency_service",
    "is_withheld",
    "max_forwards",
    "options",
    "read_message",
    "reason",
    "request_uri",
    "retry_after",
    "sdp_body",
    "transport",
]

_SECONDS_MAX: Final = 2**32 - 1

_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")


_PRIVATE: Final = frozenset({"id", "user", "header"})  # RFC 3323, RFC 3325
_ANONYMOUS_HOST: Final = "anonymous.invalid"  # RFC 3323 section 4.1.1.3
_UNKNOWN_USERS: Final = frozenset({"", "unknown", "unavailable"})


class Presentation(Enum):
    """What is known of a caller: ``ANONYMOUS`` asked not to be known, ``UNKNOWN`` is not."""

    GIVEN = "given"
    ANONYMOUS = "anonymous"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls.

    Attributes:
        caller: Number or user part; empty unless it is given.
        presentation: Given, withheld or unknown.
    """

    caller: str
    presentation: Presentation

    @property
    def anonymous(self) -> bool:
        """Whether the caller asked not to be known."""
        return self.presentation is Presentation.ANONYMOUS


@dataclass(frozen=True, slots=True)
class Reason:
    """One value of a Reason header (RFC 3326): ``SIP;cause=487;text="…"``.

    Attributes:
        protocol: ``SIP``, ``Q.850`` …
        cause: Code of that protocol, None if not given.
        text: Unquoted; may be empty.
    """

    protocol: str
    cause: int | None
    text: str

    def __str__(self) -> str:
        protocol = self.protocol if _TOKEN.match(self.protocol) else "SIP"
        cause = f";cause={self.cause}" if self.cause is not None else ""
        text = f";text={quoted(self.text)}" if self.text else ""
        return f"{protocol}{cause}{text}"


def request_uri(message: Message) -> Uri:
    """The Request-URI.

    Raises:
        SipError: The message is a response, or the URI is malformed (400) or of an
            unsupported scheme (416).
    """
    if isinstance(message.start, StatusLine):
        raise SipError("start line", "a response has no Request-URI")
    return Uri.parse(message.start.uri)


def is_emergency_service(uri: Uri) -> bool:
    """Whether a Request-URI is ``urn:service:sos`` or one of its kinds (RFC 5031)."""
    name = uri.user.lower()
    return uri.scheme == "urn" and (name == "service:sos" or name.startswith("service:sos."))


def identity(message: Message) -> Identity:
    """Who calls: P-Asserted-Identity, else From; nobody if the caller asked for privacy.

    ``Privacy: none`` lets an asserted identity stand beside an anonymous From
    (RFC 3325 section 9.3). The asserted identity of a caller who asked for privacy
    is not read at all.

    Raises:
        SipError: From is missing or malformed, or Privacy does not parse.
    """
    privacy = asked_privacy(message)
    if privacy & _PRIVATE:
        return Identity("", Presentation.ANONYMOUS)
    origin = message.address("From")
    withheld = is_withheld(origin)
    if withheld and "none" not in privacy:
        return Identity("", Presentation.ANONYMOUS)
    for asserted in _asserted(message):
        if asserted.uri.number.lower() not in _UNKNOWN_USERS and not is_withheld(asserted):
            return Identity(asserted.uri.number, Presentation.GIVEN)
    if withheld:
        return Identity("", Presentation.ANONYMOUS)
    if origin.uri.number.lower() in _UNKNOWN_USERS:
        return Identity("", Presentation.UNKNOWN)
    return Identity(origin.uri.number, Presentation.GIVEN)


def asked_privacy(message: Message) -> frozenset[str]:
    """The priv-values of Privacy (RFC 3323 section 4.2), lower case.

    Raises:
        SipError: Privacy does not parse.
    """
    found = {token.strip().lower() for value in message.values("Privacy") for token in value.split(";")}
    return frozenset(found - {""})


def is_withheld(address: Address) -> bool:
    """Whether an address is the anonymous one (RFC 3323 section 4.1.1.3)."""
    uri = address.uri
    host = uri.host.rstrip(".")
    return (
        uri.number.lower() == "anonymous" or host == _ANONYMOUS_HOST or host.endswith(f".{_ANONYMOUS_HOST}")
    )


def reason(message: Message, protocol: str = "SIP") -> Reason | None:
    """The Reason header's value for ``protocol``, else its first; None if there is none.

    A malformed value counts as none: it only explains, it decides nothing.
    """
    found = [value for text in _list(message, "Reason") if (value := _reason(text)) is not None]
    wanted = [value for value in found if value.protocol.upper() == protocol.upper()]
    return next(iter(wanted or found), None)


def retry_after(message: Message) -> int | None:
    """Seconds of a Retry-After header, without its comment; None if missing or malformed."""
    value = message.first("Retry-After")
    found = _NUMBER.match(value) if value else None
    return min(int(found[0]), _SECONDS_MAX) if found else None


def max_forwards(message: Message) -> int | None:
    """Hops left; None if the header is missing.

    Raises:
        SipError: It is not a number from 0 to 255.
    """
    value = message.first("Max-Forwards")
    if value is None:
        return None
    hops = whole_number("Max-Forwards", value)
    if hops > 255:  # noqa: PLR2004 - RFC 3261 section 20.22
        raise SipError("header Max-Forwards", "not a number from 0 to 255", shown(value))
    return hops


def options(message: Message, name: str) -> frozenset[str]:
    """Option tags of Require or Supported (RFC 3261 section 19.2), lower case."""
    return frozenset(tag.strip().lower() for tag in _list(message, name))


def _list(message: Message, name: str) -> tuple[str, ...]:
    """Values of a header that is only informative: a malformed one has none."""
    try:
        return message.values(name)
    except SipError:
        return ()


def _asserted(message: Message) -> list[Address]:
    """Identities that the trunk vouches for; malformed ones vouch for nobody."""
    found = []
    for value in _list(message, "P-Asserted-Identity"):
        try:
            found.append(message.as_address(value))
        except SipError:
            continue
    return found


def _reason(text: str) -> Reason | None:
    try:
        # A Reason value has the shape of the parameters of an address.
        parsed = Address.parse(f"<sip:reason.invalid>;{text}")
    except SipError:
        return None
    protocol = parsed.parameters[0][0] if parsed.parameters else ""
    cause = parsed.parameter("cause")
    words = parsed.parameter("text") or ""
    if words.startswith('"'):
        words = re.sub(r"\\(.)", r"\1", words[1:-1])
    known = cause is not None and _NUMBER.fullmatch(cause)
    return Reason(protocol, int(cause) if cause is not None and known else None, words) if protocol else None


def transport(message: Message) -> str:
    """What a request came over, by its top Via: ``udp``, ``tcp``, ``tls``; empty if that is malformed."""
    protocol = (message.first("Via") or "").split(maxsplit=1)
    return protocol[0].rpartition("/")[2].lower() if protocol else ""
