"""An SDP body cut into lines and m= sections, within bounds.

What is cut can be put together again byte for byte: every line keeps its text and
its ending. The few liberties taken against RFC 8866 are those that real endpoints
take: line feeds alone, blank lines at the end, a missing ``s=`` or ``t=``, a user
name with spaces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from recproxy.errors import SdpError

__all__ = [
    "MAX_BYTES",
    "MAX_LINES",
    "MAX_LINE_BYTES",
    "MAX_STREAMS",
    "MEDIA_LINE",
    "PAYLOAD_TYPE_MAX",
    "PORT_MAX",
    "Body",
    "Line",
    "Section",
    "cut_body",
    "decimal",
    "to_ascii",
]

MAX_BYTES: Final = 16_384  # beyond what our SIP stack takes in one message
MAX_LINE_BYTES: Final = 4_096
MAX_LINES: Final = 1_024
MAX_STREAMS: Final = 16

_KINDS: Final = {f"{kind}=".encode(): kind for kind in "vosiuepcbtrzkam"}  # RFC 8866 section 5
_MEDIA_KINDS: Final = frozenset("icbka")
_REMEMBERED: Final = 16
_SHOWN: Final = 40  # characters of an offending value that an error shows
PORT_MAX: Final = 65_535
PAYLOAD_TYPE_MAX: Final = 127
MEDIA_LINE: Final = re.compile(rb"(\S+)( +)([0-9]+)(/[0-9]+)?( +)(\S+)((?: +\S+)*)( *)\Z")


class Line(NamedTuple):
    """One line as received; ``number`` counts from 1."""

    number: int
    kind: str
    value: bytes
    ending: bytes

    @property
    def raw(self) -> bytes:
        """The line as it came, or as it is to go."""
        return self.kind.encode() + b"=" + self.value + self.ending

    @property
    def attribute(self) -> tuple[bytes, bytes]:
        """Name, lower case, and value of an a= line."""
        name, _, value = self.value.partition(b":")
        return name.strip().lower(), value.strip()

    def error(self, what: str, value: bytes | None = None) -> SdpError:
        """The error that names this line, showing ``value`` or all of it."""
        shown = self.value if value is None else value
        return SdpError(f"SDP line {self.number}", what, f"{self.kind}={_shown(shown)}")


@dataclass(frozen=True, slots=True)
class Section:
    """One m= section: its lines and what the m= line says."""

    lines: tuple[Line, ...]
    kind: str
    port: int
    protocol: str
    formats: tuple[bytes, ...]

    @property
    def is_rtp(self) -> bool:
        """Whether its formats are RTP payload types."""
        return "RTP/" in self.protocol.upper()


@dataclass(frozen=True, slots=True)
class Body:
    """A whole SDP body, cut into its sections."""

    head: tuple[Line, ...]
    sections: tuple[Section, ...]
    trailer: bytes


def cut_body(body: bytes) -> Body:
    """Cut a body into its session part and m= sections.

    A body is cut when it comes and when it goes on; so the last few without keys are remembered.

    Raises:
        SdpError: It is not SDP, or beyond a limit of this module.
    """
    return _cut(body) if b"inline:" in body or b"\nk=" in body else _remembered(body)


@lru_cache(maxsize=_REMEMBERED)
def _remembered(body: bytes) -> Body:
    return _cut(body)


def _cut(body: bytes) -> Body:
    lines, trailer = _lines(body)
    if not lines or lines[0].kind != "v" or lines[0].value.strip() != b"0":
        raise SdpError("SDP line 1", "not v=0", _shown(body[:_SHOWN].split(b"\n")[0].strip()))
    starts = [at for at, line in enumerate(lines) if line.kind == "m"]
    if len(starts) > MAX_STREAMS:
        raise lines[starts[MAX_STREAMS]].error(f"more than {MAX_STREAMS} m= sections")
    head = tuple(lines[: starts[0]] if starts else lines)
    _check_head(head)
    return Body(
        head,
        tuple(_section(tuple(lines[start:end])) for start, end in pairwise([*starts, len(lines)])),
        trailer,
    )


def _lines(body: bytes) -> tuple[list[Line], bytes]:
    if len(body) > MAX_BYTES:
        raise SdpError("SDP", f"{len(body)} bytes, more than {MAX_BYTES}")
    raw = body.splitlines(keepends=True)
    kept = len(raw)
    while kept and raw[kept - 1].strip(b"\r\n") == b"":
        kept -= 1
    if kept > MAX_LINES:
        raise SdpError("SDP", f"{kept} lines, more than {MAX_LINES}")
    return [_line(number, text) for number, text in enumerate(raw[:kept], 1)], b"".join(raw[kept:])


def _line(number: int, raw: bytes) -> Line:
    text = raw.rstrip(b"\r\n")
    ending = raw[len(text) :]
    kind = _KINDS.get(text[:2])
    if len(text) > MAX_LINE_BYTES:
        raise SdpError(f"SDP line {number}", f"{len(text)} bytes, more than {MAX_LINE_BYTES}")
    if ending == b"\r" or b"\0" in text:
        raise SdpError(f"SDP line {number}", "a NUL or a lone carriage return", _shown(text))
    if kind is None:
        raise SdpError(f"SDP line {number}", "not a line of SDP", _shown(text))
    return Line(number, kind, text[2:], ending)


def _check_head(head: tuple[Line, ...]) -> None:
    for kind in "voc":
        repeated = [line for line in head if line.kind == kind][1:]
        if repeated:
            raise repeated[0].error(f"a second {kind}= line")
    origin = next((line for line in head if line.kind == "o"), None)
    if origin is None:
        raise SdpError("SDP", "no o= line before the first m= section")
    if len(origin.value.split()) < 6:  # noqa: PLR2004 - RFC 8866 section 5.2 names six fields
        raise origin.error("not a user name, id, version, net type, address type and address")


def _section(lines: tuple[Line, ...]) -> Section:
    media = lines[0]
    found = MEDIA_LINE.match(media.value)
    if found is None:
        raise media.error("not a media type, port, protocol and formats")
    kind, _, port, count, _, protocol, formats, _ = found.groups()
    if count is not None and decimal(count[1:], 1, 1) is None:
        raise media.error("a range of ports, which cannot be relayed", port + count)
    number = decimal(port, 0, PORT_MAX)
    if number is None:
        raise media.error(f"port is not a number from 0 to {PORT_MAX}", port)
    if number and not formats:
        raise media.error("no formats")
    for line in lines[1:]:
        if line.kind not in _MEDIA_KINDS:
            raise line.error(f"{line.kind}= inside an m= section")
    connections = [line for line in lines if line.kind == "c"]
    if len(connections) > 1:
        raise connections[1].error("a second c= line in one m= section")
    return Section(
        lines, to_ascii(media, kind), number, to_ascii(media, protocol), tuple(dict.fromkeys(formats.split()))
    )


def decimal(text: bytes, low: int, high: int) -> int | None:
    """A decimal number within bounds, or None."""
    if not text.isdigit() or len(text) > 10:  # noqa: PLR2004 - more digits than any bound here
        return None
    value = int(text)
    return value if low <= value <= high else None


def to_ascii(line: Line, text: bytes) -> str:
    """Text of a part that the grammar holds to ASCII.

    Raises:
        SdpError: It is not; the error names ``line``.
    """
    try:
        return text.decode("ascii")
    except UnicodeDecodeError as err:
        raise line.error("not ASCII", text) from err


def _shown(text: bytes) -> str:
    """Its beginning, for an error: never a key (RFC 4568)."""
    before, inline, key = text.partition(b"inline:")
    text = before + inline + b"..." * bool(key)
    shown = text[:_SHOWN].decode("ascii", "backslashreplace")
    escaped = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown)
    return escaped + ("…" if len(text) > _SHOWN else "")
