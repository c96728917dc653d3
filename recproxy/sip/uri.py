"""SIP, TEL and URN addresses as values: parsed, checked, and built anew.

Nothing that a peer wrote is pasted into a message of ours. A :class:`Uri` or an
:class:`Address` cannot be made from parts that could end a header, a quoted
string or a URI early; its text is built from those parts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import unquote

from recproxy.errors import SipError

__all__ = ["MAX_LENGTH", "Address", "Parameters", "Uri", "escaped", "quoted", "shown", "split_list"]

Parameters: TypeAlias = tuple[tuple[str, str | None], ...]

MAX_LENGTH: Final = 2_048  # characters of one address
MAX_LIST: Final = 64  # values of one header
_PORT_MAX: Final = 65_535
_SHOWN: Final = 40

_SCHEMES: Final = frozenset({"sip", "sips", "tel", "urn"})
_UNSUPPORTED_SCHEME: Final = 416  # RFC 3261 section 21.4.14
# RFC 3261 section 25.1: unreserved, user-unreserved, escaped.
_USER: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})*\Z")
_TEL: Final = re.compile(r"\+?[0-9A-Fa-f*#().\-]+\Z")  # RFC 3966 section 3
_URN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]{1,31}:[A-Za-z0-9\-._~!$&'()*+,;=:@/%]+\Z")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._\-]{0,253}[A-Za-z0-9.])?\Z")
_PARAMETER: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$@]|%[0-9A-Fa-f]{2})+\Z")
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
_URI_HEADERS: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()\[\]/?:+$=&;]|%[0-9A-Fa-f]{2})*\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SPLIT_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(\d{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class Uri:
    """An address without display name (RFC 3261 section 19.1, RFC 3966, RFC 5031).

    A password is never kept. The headers part is kept for History-Info only and is
    not in the text that ``str`` gives: in a target it could add a Route.

    Attributes:
        scheme: ``sip``, ``sips``, ``tel`` or ``urn``.
        user: As on the wire, still escaped; the number of a ``tel`` URI, the rest of
            a ``urn``; may be empty for ``sip``.
        host: Lower case, IPv6 in brackets; empty for ``tel`` and ``urn``.
        port: None for the default.
        parameters: Names and values in order; the value is None if there is no ``=``.
        headers: What follows ``?``, escaped.

    Raises:
        SipError: A part holds what its place in the grammar does not allow.
    """

    scheme: str
    user: str
    host: str = ""
    port: int | None = None
    parameters: Parameters = ()
    headers: str = ""

    def __post_init__(self) -> None:
        if self.scheme not in _SCHEMES:
            raise SipError("URI", "scheme is not sip, sips, tel or urn", code=_UNSUPPORTED_SCHEME)
        pattern = {"tel": _TEL, "urn": _URN}.get(self.scheme, _USER)
        if not pattern.match(self.user) or _CONTROL.search(unquote(self.user)):
            raise SipError("URI", f"not the user part of a {self.scheme} URI", shown(self.user))
        if self.scheme in {"sip", "sips"}:
            _check_host(self.host)
        if self.port is not None and not 1 <= self.port <= _PORT_MAX:
            raise SipError("URI", "port is not a number from 1 to 65535", shown(str(self.port)))
        for name, value in self.parameters:
            if not _PARAMETER.match(name) or (value is not None and not _PARAMETER.match(value)):
                raise SipError("URI", "malformed parameter", shown(name))
        if not _URI_HEADERS.match(self.headers):
            raise SipError("URI", "malformed headers part", shown(self.headers))

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read a URI.

        Args:
            text: Without angle brackets. Characters of a user part that should have
                been escaped but often are not (``#``, letters beyond ASCII) are taken
                and escaped.

        Returns:
            Its parts.

        Raises:
            SipError: It is malformed (400), too long, or of another scheme (416).
        """
        text = text.strip()
        if len(text) > MAX_LENGTH:
            raise SipError("URI", f"longer than {MAX_LENGTH} characters", shown(text))
        scheme, colon, rest = text.partition(":")
        scheme = scheme.lower()
        if not colon or not scheme.isalpha():
            raise SipError("URI", "no scheme", shown(text))
        if scheme == "urn":
            return cls(scheme, rest)
        if scheme == "tel":
            number, *parameters = rest.split(";")
            return cls(scheme, number, parameters=_parameters(parameters))
        return cls._parse_sip(scheme, rest)

    @classmethod
    def _parse_sip(cls, scheme: str, rest: str) -> Uri:
        userinfo, at, location = rest.rpartition("@")
        if not at:
            location = rest
        user = escaped(userinfo.partition(":")[0])
        location, _, headers = location.partition("?")
        place, *parameters = location.split(";")
        found = _SPLIT_HOST.match(place)
        if found is None:
            raise SipError("URI", "malformed host or port", shown(place))
        port = int(found[2]) if found[2] else None
        return cls(scheme, user, found[1].lower(), port, _parameters(parameters), headers)

    @property
    def number(self) -> str:
        """The user part unescaped, without parameters of its own (``;phone-context``)."""
        return unquote(self.user).partition(";")[0]

    def parameter(self, name: str) -> str | None:
        """Value of a parameter, empty if it has none; None if it is not there."""
        for found, value in self.parameters:
            if found.lower() == name.lower():
                return value or ""
        return None

    def towards(self, target: Uri) -> Uri:
        """Build the Request-URI that asks ``target`` for this address's user.

        Nothing but the user (with a ``tel`` URI's parameters inside it) and
        ``user=phone`` of this address is taken over.
        """
        if self.scheme == "urn":
            return self
        phone = self.scheme == "tel" or self.parameter("user") == "phone"
        user = self.user
        if self.scheme == "tel":
            user = escaped("".join([self.user, *_parameter_texts(self.parameters)]))
        kept = tuple(pair for pair in target.parameters if pair[0].lower() != "user")
        return Uri(
            target.scheme, user, target.host, target.port, (*kept, ("user", "phone")) if phone else kept
        )

    def with_headers(self) -> str:
        """The text with its headers part; for History-Info, never for a target."""
        return f"{self}?{self.headers}" if self.headers else str(self)

    def __str__(self) -> str:
        if self.scheme == "urn":
            return f"urn:{self.user}"
        tail = "".join(_parameter_texts(self.parameters))
        if self.scheme == "tel":
            return f"tel:{self.user}{tail}"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.scheme}:{user}{self.host}{port}{tail}"


@dataclass(frozen=True, slots=True)
class Address:
    """A name-addr with its header parameters (RFC 3261 section 20.10).

    Attributes:
        display: Display name, unquoted; may be empty.
        uri: The address.
        parameters: Of the header, such as ``tag``; values as on the wire: a token, a
            host or a quoted string.

    Raises:
        SipError: The display name holds control characters, or a parameter is malformed.
    """

    display: str
    uri: Uri
    parameters: Parameters = ()

    def __post_init__(self) -> None:
        if _CONTROL.search(self.display):
            raise SipError("address", "control character in a display name", shown(self.display))
        for name, value in self.parameters:
            if not _TOKEN.match(name) or (value is not None and not _header_value(value)):
                raise SipError("address", "malformed parameter", shown(name))

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read one name-addr or addr-spec.

        Without angle brackets, parameters belong to the header, not to the URI
        (RFC 3261 section 20).

        Raises:
            SipError: It is malformed or too long.
        """
        text = text.strip()
        if len(text) > MAX_LENGTH:
            raise SipError("address", f"longer than {MAX_LENGTH} characters", shown(text))
        opening = _opening(text)
        if opening < 0:
            uri, *parameters = _split(text, ";")
            return cls("", Uri.parse(uri), _parameters(parameters))
        closing = text.find(">", opening)
        tail = text[closing + 1 :].strip()
        if closing < 0 or (tail and not tail.startswith(";")):
            raise SipError("address", "text beside the angle brackets", shown(text))
        return cls(
            _display(text[:opening].strip()),
            Uri.parse(text[opening + 1 : closing]),
            _parameters(_split(tail, ";")[1:]),
        )

    def parameter(self, name: str) -> str | None:
        """Value of a header parameter, empty if it has none; None if it is not there."""
        for found, value in self.parameters:
            if found.lower() == name.lower():
                return value or ""
        return None

    def with_headers(self) -> str:
        """The text with the headers part of the URI; for History-Info, never for a target."""
        return self._text(self.uri.with_headers())

    def __str__(self) -> str:
        return self._text(str(self.uri))

    def _text(self, uri: str) -> str:
        name = f"{quoted(self.display)} " if self.display else ""
        return f"{name}<{uri}>" + "".join(_parameter_texts(self.parameters))


def split_list(value: str) -> tuple[str, ...]:
    """Split a header value at its commas, but not inside quotes or angle brackets.

    Raises:
        SipError: There are more than ``MAX_LIST`` values, or a quote is not closed.
    """
    parts = tuple(part.strip() for part in _split(value, ","))
    if len(parts) > MAX_LIST:
        raise SipError("header", f"more than {MAX_LIST} values in one header")
    return tuple(part for part in parts if part)


def quoted(text: str) -> str:
    """A quoted string (RFC 3261 section 25.1); control characters become spaces."""
    clean = _CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{clean}"'


def escaped(user: str) -> str:
    """Escape what a user part may not hold raw but often does: ``#`` and non-ASCII."""
    if user.isascii() and "#" not in user:
        return user
    return "".join(
        char
        if char.isascii() and char != "#"
        else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace"))
        for char in user
    )


def shown(text: str) -> str:
    """Clip and escape a value for an error message."""
    clipped = text[:_SHOWN]
    return ascii(clipped)[1:-1] + ("…" if len(text) > _SHOWN else "")


def _check_host(host: str) -> None:
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError as err:
            raise SipError("URI", "malformed IPv6 address", shown(host)) from err
        if host.endswith("]") and "%" not in str(address):
            return
    elif _HOST.match(host):
        return
    raise SipError("URI", "malformed host", shown(host))


def _display(text: str) -> str:
    if not text.startswith('"'):
        return text
    if len(text) < 2 or not text.endswith('"'):  # noqa: PLR2004 - an opening and a closing quote
        raise SipError("address", "display name without its closing quote", shown(text))
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _parameters(texts: list[str]) -> Parameters:
    found: list[tuple[str, str | None]] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if name.strip() or equals:
            found.append((name.strip(), value.strip() if equals else None))
    return tuple(found)


def _parameter_texts(parameters: Parameters) -> list[str]:
    return [f";{name}" if value is None else f";{name}={value}" for name, value in parameters]


def _header_value(value: str) -> bool:
    """Whether ``value`` is a token, a host, or one whole quoted string."""
    if value.startswith('"'):
        inner = value[1:-1]
        return (
            len(value) > 1
            and value.endswith('"')
            and not _CONTROL.search(inner)
            and not re.search(r'(?<!\\)(?:\\\\)*"', inner)
            and not re.search(r"(?<!\\)(?:\\\\)*\\\Z", inner)
        )
    return bool(_PARAMETER.match(value) or _TOKEN.match(value))


def _opening(text: str) -> int:
    """Where the first angle bracket outside quotes is; -1 if there is none."""
    if '"' not in text:
        return text.find("<")
    return next((at for at, char in _outside_quotes(text) if char == "<"), -1)


def _outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    """Characters that are not part of a quoted string, with their index."""
    inside = skip = False
    for at, char in enumerate(text):
        if skip:
            skip = False
        elif inside:
            skip = char == "\\"
            inside = char != '"'
        elif char == '"':
            inside = True
        else:
            yield at, char
    if inside:
        raise SipError("header", "a quote is not closed", shown(text))


def _split(text: str, separator: str) -> list[str]:
    """Split outside quotes and angle brackets."""
    if '"' not in text and "<" not in text:
        return text.split(separator)
    parts: list[str] = []
    start = depth = 0
    for at, char in _outside_quotes(text):
        if char == "<":
            depth += 1
        elif char == ">":
            depth = max(0, depth - 1)
        elif char == separator and not depth:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return parts
