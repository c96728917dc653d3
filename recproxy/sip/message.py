"""A SIP message as it came from the network, read in bounds.

The SIP stack parses every message too; this module reads the raw bytes, because
what the stack gives up of them is less than a B2BUA needs. It raises nothing but
:class:`SipError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from recproxy.errors import SipError
from recproxy.sip.uri import Address, shown, split_list

__all__ = [
    "Header",
    "Message",
    "RequestLine",
    "StatusLine",
    "body_of_kind",
    "read_message",
    "sdp_body",
    "whole_number",
]

MAX_MESSAGE_BYTES: Final = 65_535
MAX_HEADERS: Final = 256
MAX_HEADER_BYTES: Final = 8_192
MAX_PARTS: Final = 16
_MAX_DEPTH: Final = 2  # multipart/alternative inside multipart/mixed
_SDP: Final = frozenset({"application/sdp"})
_NAME: Final = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+)[ \t]*:[ \t]*(.*)\Z", re.DOTALL)
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_REQUEST: Final = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]{1,32}) (\S+) SIP/2\.0\Z", re.IGNORECASE)
_STATUS: Final = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?\Z", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_BOUNDARY: Final = re.compile(
    r';[ \t]*boundary[ \t]*=[ \t]*(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE
)
_NUMBER: Final = re.compile(r"[0-9]{1,10}")

# Compact forms (RFC 3261 section 7.3.3 and the registry that grew from it).
_COMPACT: Final = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}


@dataclass(frozen=True, slots=True)
class RequestLine:
    """Start of a request; ``uri`` as received, see :func:`request_uri`."""

    method: str
    uri: str


@dataclass(frozen=True, slots=True)
class StatusLine:
    """Start of a response."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Header:
    """One header line: name in its long form, value unfolded."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP message; header lines in the order received."""

    start: RequestLine | StatusLine
    headers: tuple[Header, ...]
    body: bytes
    # What was looked up before: a message is asked for the same things again and again.
    _lines: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _addresses: dict[str, Address] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lines = self._lines
        for header in self.headers:
            lines.setdefault(header.name.lower(), []).append(header.value)

    def first(self, name: str) -> str | None:
        """Value of the first header line of this name (long form, any case), None if none."""
        lines = self._lines.get(name.lower())
        return lines[0] if lines else None

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a header that may be a list, over all its lines."""
        lines = self._lines.get(name.lower())
        return tuple(value for line in lines for value in split_list(line)) if lines else ()

    def address(self, name: str) -> Address:
        """The address in a header that must hold one, such as From, To or Contact.

        Raises:
            SipError: The header is missing or malformed.
        """
        value = self.first(name)
        if value is None:
            raise SipError(f"header {name}", "missing")
        try:
            return self.as_address(value)
        except SipError as err:
            raise SipError(f"header {name}", f"{err.where}: {err.what}", err.value, code=400) from err

    def as_address(self, value: str) -> Address:
        """Read one of the message's values as an address; it is parsed once, however often it is asked for.

        Raises:
            SipError: It is malformed.
        """
        found = self._addresses.get(value)
        if found is None:
            found = self._addresses[value] = Address.parse(value)
        return found


def read_message(raw: bytes) -> Message:
    """Read a SIP message.

    Args:
        raw: All of it, as it came from the network.

    Returns:
        Its start line, headers and body; the body is cut at Content-Length.

    Raises:
        SipError: It is malformed, or beyond a limit of this module.
    """
    if len(raw) > MAX_MESSAGE_BYTES:
        raise SipError("message", f"{len(raw)} bytes, more than {MAX_MESSAGE_BYTES}", code=513)
    lines, body = _split_head(raw.lstrip(b"\r\n"))
    start = _start(_text("start line", lines[0]))
    message = Message(start, tuple(_headers(lines[1:])), body)
    length = message.first("Content-Length")
    if length is None:
        return message
    size = whole_number("Content-Length", length)
    if size > len(body):
        raise SipError("header Content-Length", f"{size}, but only {len(body)} bytes of body came")
    return message if size == len(body) else replace(message, body=body[:size])


def sdp_body(message: Message) -> bytes | None:
    """The SDP of a message: its body, or the first SDP part of a multipart body.

    Returns:
        None if there is none.

    Raises:
        SipError: The body is encoded (415), or a multipart is malformed.
    """
    return body_of_kind(message, _SDP)


def body_of_kind(message: Message, kinds: frozenset[str]) -> bytes | None:
    """The body of a message, or the first part of a multipart body, that is of one of these media types.

    Args:
        message: A request or response.
        kinds: Media types, lower case.

    Returns:
        None if there is none.

    Raises:
        SipError: The body is encoded (415), or a multipart is malformed.
    """
    kind = message.first("Content-Type")
    if not message.body or kind is None:
        return None
    encoding = (message.first("Content-Encoding") or "identity").strip().lower()
    if encoding != "identity":
        raise SipError("header Content-Encoding", "not identity", shown(encoding), code=415)
    return _find(kind, message.body, kinds, _MAX_DEPTH)


def whole_number(name: str, value: str) -> int:
    """Read a header value that is a decimal number.

    Raises:
        SipError: It is not, or has more than ten digits.
    """
    found = _NUMBER.fullmatch(value.strip())
    if found is None:
        raise SipError(f"header {name}", "not a whole number", shown(value))
    return int(found[0])


# Reading a message.


def _split_head(raw: bytes) -> tuple[list[str], bytes]:
    """Unfolded lines up to the empty line, and what follows it."""
    end = _END_OF_HEAD.search(raw)
    if end is None:
        raise SipError("message", "no empty line after the headers")
    head = raw[: end.start()].removesuffix(b"\r").replace(b"\r\n", b"\n")
    lines = head.split(b"\n")
    if b"\n " in head or b"\n\t" in head:
        lines = _unfolded(lines)
    if len(lines) > MAX_HEADERS + 1:
        raise SipError("message", f"more than {MAX_HEADERS} headers", code=513)
    if max(map(len, lines)) > MAX_HEADER_BYTES:
        raise SipError("message", f"a header longer than {MAX_HEADER_BYTES} bytes", code=513)
    return b"\n".join(lines).decode("utf-8", "replace").split("\n"), raw[end.end() :]


def _unfolded(lines: list[bytes]) -> list[bytes]:
    """Each header on a line of its own; nothing goes on with the start line."""
    found = lines[:1]
    for line in lines[1:]:
        if line[:1] in {b" ", b"\t"} and len(found) > 1:
            found[-1] = found[-1].rstrip(b" \t") + b" " + line.strip(b" \t")
        else:
            found.append(line)
    return found


def _start(line: str) -> RequestLine | StatusLine:
    status = _STATUS.match(line)
    if status:
        return StatusLine(int(status[1]), (status[2] or "").strip())
    request = _REQUEST.match(line)
    if request:
        return RequestLine(request[1], request[2])
    raise SipError("start line", "neither a request nor a response of SIP/2.0", shown(line))


def _headers(lines: list[str]) -> Iterator[Header]:
    for line in lines:
        found = _NAME.match(line)
        if found is None:
            raise SipError("message", "a line that is no header", shown(line))
        name, value = found.groups()
        if len(name) == 1:
            name = _COMPACT.get(name.lower(), name)
        yield Header(name, _text(f"header {name}", value))


def _text(where: str, raw: str) -> str:
    text = raw.strip()
    if not text.isprintable() and _CONTROL.search(text):
        raise SipError(where, "a control character", shown(text))
    return text


# Finding one part of a body.


def _find(kind: str, body: bytes, kinds: frozenset[str], depth: int) -> bytes | None:
    media_type = kind.partition(";")[0].strip().lower()
    if media_type in kinds:
        return body
    if not media_type.startswith("multipart/") or depth == 0:
        return None
    found = _BOUNDARY.search(kind)
    if found is None:
        raise SipError("header Content-Type", "a multipart without a boundary", shown(kind))
    for part in _parts(body, (found[1] or found[2]).encode()):
        part_kind, content = _part(part)
        inner = _find(part_kind, content, kinds, depth - 1)
        if inner is not None:
            return inner
    return None


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """Parts of a multipart body (RFC 2046 section 5.1.1)."""
    pieces = re.split(
        rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|\Z)", body, maxsplit=MAX_PARTS + 1
    )
    if len(pieces) < 3:  # noqa: PLR2004 - what stands before the first boundary, its mark, and a part
        raise SipError("multipart body", "its boundary does not occur")
    found = []
    for mark, part in zip(pieces[1::2], pieces[2::2], strict=True):
        if mark:
            break
        found.append(part)
    if len(found) > MAX_PARTS:
        raise SipError("multipart body", f"more than {MAX_PARTS} parts", code=513)
    return found


def _part(raw: bytes) -> tuple[str, bytes]:
    """Content type and content of a part; ``text/plain`` without a header."""
    if raw.startswith((b"\r\n", b"\n")):
        return "text/plain", raw.lstrip(b"\r\n")
    lines, content = _split_head(b"part\r\n" + raw)
    for header in _headers(lines[1:]):
        if header.name.lower() == "content-type":
            return header.value, content
    return "text/plain", content
