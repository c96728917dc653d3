"""SDP as it passes through: read what the call needs, change only addresses.

The reader follows RFC 8866, with the few liberties that real endpoints take
(line feeds alone, blank lines at the end, a missing ``s=`` or ``t=``). It is
bounded in every direction and raises nothing but :class:`SdpError`. Foreign SDP
is handed to no other parser.

The rewriter works on the lines as received: whatever it does not know stays,
byte for byte and in its order. Only what would carry media past the relay, or
name the other side's network, is changed or taken out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from recproxy.call.commands import SdpToSend, StreamSecurity
from recproxy.call.events import Codec, LocalMedia, MediaDirection, Sdp, StreamFacts
from recproxy.errors import SdpError
from recproxy.sip.sdp_crypto import names_keys, read_crypto, write_crypto
from recproxy.sip.sdp_lines import (
    MEDIA_LINE,
    PAYLOAD_TYPE_MAX,
    PORT_MAX,
    Line,
    Section,
    cut_body,
    decimal,
    to_ascii,
)

__all__ = ["SdpError", "parse", "rewrite"]

_CLOCK_MAX: Final = 10_000_000
_CHANNELS_MAX: Final = 255
_PTIME_MAX: Final = 1_000
_ADDRESSES: Final = 1_024  # that are remembered as read; a call names the same few several times
# RFC 3551 section 6, tables 4 and 5: what a payload type means without rtpmap.
_STATIC: Final[dict[int, tuple[str, int, int]]] = {
    0: ("PCMU", 8000, 1),
    3: ("GSM", 8000, 1),
    4: ("G723", 8000, 1),
    5: ("DVI4", 8000, 1),
    6: ("DVI4", 16000, 1),
    7: ("LPC", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
    12: ("QCELP", 8000, 1),
    13: ("CN", 8000, 1),
    14: ("MPA", 90000, 1),
    15: ("G728", 8000, 1),
    16: ("DVI4", 11025, 1),
    17: ("DVI4", 22050, 1),
    18: ("G729", 8000, 1),
    25: ("CELB", 90000, 1),
    26: ("JPEG", 90000, 1),
    28: ("NV", 90000, 1),
    31: ("H261", 90000, 1),
    32: ("MPV", 90000, 1),
    33: ("MP2T", 90000, 1),
    34: ("H263", 90000, 1),
}

# Attributes that name addresses other than c=, m= and a=rtcp: ICE (RFC 8839), alternative
# connection addresses (RFC 6947, RFC 7006), source filters (RFC 4570).
_PAST_THE_RELAY: Final = frozenset(
    {b"candidate", b"remote-candidates", b"end-of-candidates", b"altc", b"ccap", b"source-filter"}
)
_ICE_PREFIX: Final = b"ice-"
_PER_PAYLOAD_TYPE: Final = frozenset({b"rtpmap", b"fmtp", b"rtcp-fb"})
_TOKEN: Final = re.compile(rb"[!#-'*+.0-9A-Z^-~-]{1,64}")
_RTPMAP: Final = re.compile(rb"([0-9]{1,3}) +([^\s/]+)/([0-9]{1,10})(?:/(\S+))? *\Z")
_FAMILIES: Final[dict[bytes, type[ipaddress.IPv4Address | ipaddress.IPv6Address]]] = {
    b"IP4": ipaddress.IPv4Address,
    b"IP6": ipaddress.IPv6Address,
}
_Attributes: TypeAlias = list[tuple[bytes, bytes, Line]]  # name, value and line of each a= line
_DIRECTIONS: Final = {direction.value.encode(): direction for direction in MediaDirection}


def parse(body: bytes) -> Sdp:
    """Read an SDP body.

    Args:
        body: The bytes as received.

    Returns:
        The body and the facts of each m= section, in order. A payload type that
        nothing explains (no rtpmap, no static meaning) is listed with an empty
        name and clock rate 0. A disabled section without any c= line has the
        address ``0.0.0.0``.

    Raises:
        SdpError: The body is malformed, names no numeric unicast address, or is
            beyond a limit of this module.
    """
    cut = cut_body(body)
    inherited = any(
        section.port and all(line.kind != "c" for line in section.lines) for section in cut.sections
    )
    address = _connection(cut.head, needed=inherited)
    direction = _direction(_attributes(cut.head), MediaDirection.SENDRECV)
    return Sdp(body, tuple(_facts(section, address, direction) for section in cut.sections))


def rewrite(to_send: SdpToSend) -> bytes:
    """Put our addresses and ports into a received body.

    Changed are o=, c=, the port of m= and a=rtcp; taken out are ICE candidates
    and other attributes that name further addresses. A section without a local
    address, one that the sender had disabled, and one of which no payload type
    may stay get port 0; the last keeps its formats, since an m= line needs one.
    A connection address of all zeros is an old-style hold (RFC 2543) and stays.
    With ``security``, all that is about keys is taken out too, and our keys and the
    protocol that goes with them are put in.

    Args:
        to_send: The body, and for each m= section our address and the payload
            types to keep.

    Returns:
        The body to send.

    Raises:
        SdpError: The body does not parse, its number of m= sections is not that
            of ``local`` and ``keep``, or a local address is not numeric.
    """
    cut = cut_body(to_send.body)
    if not len(cut.sections) == len(to_send.local) == len(to_send.keep):
        raise SdpError(
            "SDP to send",
            f"{len(cut.sections)} m= sections, but {len(to_send.local)} local addresses "
            f"and {len(to_send.keep)} lists of payload types",
        )
    secured = bool(to_send.security)
    security = to_send.security or (None,) * len(cut.sections)
    plans = [
        _plan(section, local, keep, _Keys(secured, secures))
        for section, local, keep, secures in zip(
            cut.sections, to_send.local, to_send.keep, security, strict=True
        )
    ]
    ours = _session_address(plans, to_send.local)
    out = [_session_line(line, ours, strip_keys=secured) for line in cut.head]
    shared = _shared_connection(cut.head)
    for plan in plans:
        out.extend(_section_lines(plan, ours, shared))
    text = b"".join(out)
    if not text.endswith(b"\n"):
        text += b"\r\n"  # the last part of a multipart often lacks it; RFC 8866 section 5 wants it
    return text + cut.trailer


# Reading facts.


def _facts(section: Section, address: str | None, direction: MediaDirection) -> StreamFacts:
    attributes = _attributes(section.lines)
    own = _connection(section.lines, needed=section.port != 0) or address
    if own is None:
        if section.port:
            raise section.lines[0].error("no c= line for this m= section")
        own = "0.0.0.0"  # noqa: S104 - not bound: the address of a disabled section
    return StreamFacts(
        kind=section.kind,
        protocol=section.protocol,
        address=own,
        port=section.port,
        rtcp_port=_rtcp_port(section, attributes),
        direction=_direction(attributes, direction),
        ptime_ms=_ptime(attributes),
        codecs=_codecs(section, attributes) if section.is_rtp else (),
        crypto=read_crypto(value for name, value, _ in attributes if name == b"crypto"),
        label=next((_label(value) for name, value, _ in attributes if name == b"label"), ""),
    )


def _connection(lines: Iterable[Line], *, needed: bool = True) -> str | None:
    """Numeric address of the c= line, None if there is none or it does not matter."""
    line = next((line for line in lines if line.kind == "c"), None)
    if line is None:
        return None
    fields = line.value.split()
    try:
        if len(fields) != 3 or fields[0].upper() != b"IN":  # noqa: PLR2004 - RFC 8866 section 5.7
            raise ValueError  # noqa: TRY301 - one way out for every kind of bad address
        return _unicast(fields[1].upper(), fields[2])
    except (ValueError, KeyError) as err:
        if not needed:
            return None
        raise line.error("not IN IP4 or IN IP6 and a numeric unicast address") from err


@lru_cache(_ADDRESSES)
def _unicast(family: bytes, address: bytes) -> str:
    parsed: ipaddress.IPv4Address | ipaddress.IPv6Address = _FAMILIES[family](address.decode("ascii"))
    if parsed.is_multicast or getattr(parsed, "scope_id", None):
        raise ValueError(address)
    return str(parsed)


def _direction(attributes: _Attributes, otherwise: MediaDirection) -> MediaDirection:
    found = otherwise
    for name, _value, _line in attributes:
        found = _DIRECTIONS.get(name, found)
    return found


def _rtcp_port(section: Section, attributes: _Attributes) -> int | None:
    port = None
    for name, value, line in attributes:
        if name == b"rtcp":  # RFC 3605: a port, optionally with net type, address type and address
            fields = value.split()
            port = decimal(fields[0], 0, PORT_MAX) if len(fields) in {1, 4} else None
            if port is None:
                raise line.error("not a port, or a port and an address")
    if port is None and any(name == b"rtcp-mux" for name, _, _ in attributes):
        port = section.port  # RFC 5761
    return port or None


def _ptime(attributes: _Attributes) -> int | None:
    """Packet time; an unreadable one is none, since it is only a wish (RFC 8866 section 6.4)."""
    for name, value, _ in attributes:
        if name == b"ptime":
            return decimal(value.partition(b".")[0], 1, _PTIME_MAX)
    return None


def _label(value: bytes) -> str:
    """A label; empty if it is no token (RFC 4574 section 4), and so names nothing."""
    return value.decode("ascii") if _TOKEN.fullmatch(value) else ""


def _codecs(section: Section, attributes: _Attributes) -> tuple[Codec, ...]:
    maps: dict[int, tuple[str, int, int]] = {}
    parameters: dict[int, str] = {}
    for name, value, line in attributes:
        if name == b"rtpmap":
            mapped, meaning = _rtpmap(line, value)
            maps.setdefault(mapped, meaning)
        elif name == b"fmtp":
            payload_type, _, text = value.partition(b" ")
            number = decimal(payload_type, 0, PAYLOAD_TYPE_MAX)
            if number is not None:
                parameters.setdefault(number, text.strip().decode("latin-1"))
    found = []
    for text in section.formats:
        number = decimal(text, 0, PAYLOAD_TYPE_MAX)
        if number is None:
            raise section.lines[0].error(f"payload type is not a number from 0 to {PAYLOAD_TYPE_MAX}", text)
        encoding, clock_hz, channels = maps.get(number) or _STATIC.get(number, ("", 0, 1))
        found.append(Codec(number, encoding, clock_hz, channels, parameters.get(number, "")))
    return tuple(found)


def _rtpmap(line: Line, value: bytes) -> tuple[int, tuple[str, int, int]]:
    """Payload type, and its encoding name, clock rate and channels."""
    found = _RTPMAP.match(value)
    payload_type = decimal(found[1], 0, PAYLOAD_TYPE_MAX) if found else None
    clock_hz = decimal(found[3], 1, _CLOCK_MAX) if found else None
    if found is None or payload_type is None or clock_hz is None:
        raise line.error("not a payload type, encoding name and clock rate")
    # The third field is the number of channels for audio only (RFC 8866 section 6.6).
    channels = decimal(found[4] or b"1", 1, _CHANNELS_MAX)
    return payload_type, (to_ascii(line, found[2]).upper(), clock_hz, channels or 1)


def _attributes(lines: Iterable[Line]) -> _Attributes:
    return [(*line.attribute, line) for line in lines if line.kind == "a"]


# Writing.


@dataclass(frozen=True, slots=True)
class _Keys:
    """Whether the sender's keys are taken out, and what is put in their place."""

    stripped: bool
    ours: StreamSecurity | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of one section: ``local`` is None if it is disabled."""

    section: Section
    local: LocalMedia | None
    removed: frozenset[bytes]
    keys: _Keys


def _plan(section: Section, local: LocalMedia | None, keep: frozenset[int] | None, keys: _Keys) -> _Plan:
    if local is None or section.port == 0:
        return _Plan(section, None, frozenset(), keys)
    if keep is None:
        return _Plan(section, local, frozenset(), keys)
    removed = frozenset(text for text in section.formats if decimal(text, 0, PAYLOAD_TYPE_MAX) not in keep)
    if len(removed) == len(section.formats):
        return _Plan(section, None, frozenset(), keys)
    return _Plan(section, local, removed, keys)


def _session_address(plans: list[_Plan], local: tuple[LocalMedia | None, ...]) -> str:
    """Our address for o= and the session's c=: that of the first stream that lives."""
    live = [plan.local for plan in plans if plan.local is not None]
    for media in (*live, *local):
        if media is not None:
            return media.address
    return "0.0.0.0"  # noqa: S104 - not bound: nothing is left to send to


def _session_line(line: Line, ours: str, *, strip_keys: bool) -> bytes:
    if line.kind == "o":
        prefix = line.value.rsplit(None, 3)[0]
        return line._replace(value=prefix + b" " + _net(ours)).raw
    if line.kind == "c":
        return _connection_line(line, ours)
    if line.kind == "k" and strip_keys:
        return b""
    if line.kind == "a":
        name, _ = line.attribute
        if name == b"rtcp" or _is_past_the_relay(name) or (strip_keys and names_keys(name)):
            return b""
    return line.raw


def _shared_connection(head: tuple[Line, ...]) -> str | None:
    """Address of the session's c= line as received; None if there is none."""
    return _connection(head, needed=False)


def _section_lines(plan: _Plan, ours: str, shared: str | None) -> Iterator[bytes]:
    section = plan.section
    address = plan.local.address if plan.local else ours
    media = _media_line(plan)
    inherits = all(line.kind != "c" for line in section.lines)
    if inherits and address != ours and shared is not None and not _is_unspecified(shared):
        # Its relay socket has another address than the session's c= line now names.
        yield media._replace(ending=media.ending or b"\r\n").raw
        yield Line(0, "c", _net(address), media.ending).raw
    else:
        yield media.raw
    crypto = _crypto_lines(plan)
    for line in section.lines[1:]:
        if line.kind == "c":
            yield _connection_line(line, address)
        elif line.kind == "a":
            yield crypto
            yield _attribute_line(line, plan)
            crypto = b""
        elif line.kind != "k" or not plan.keys.stripped:  # RFC 4566 section 5.12: a key in the clear
            yield line.raw
    if crypto:
        yield (b"" if section.lines[-1].ending else b"\r\n") + crypto


def _media_line(plan: _Plan) -> Line:
    line = plan.section.lines[0]
    found = MEDIA_LINE.match(line.value)
    if found is None:  # pragma: no cover - the section was cut by the same expression
        raise line.error("not a media type, port, protocol and formats")
    kind, gap, _, count, next_gap, protocol, formats, end = found.groups()
    port = str(plan.local.rtp_port if plan.local else 0).encode()
    if plan.keys.ours is not None:
        protocol = plan.keys.ours.protocol.encode()
    if plan.removed:
        formats = b"".join(b" " + text for text in formats.split() if text not in plan.removed)
    return line._replace(value=b"".join((kind, gap, port, count or b"", next_gap, protocol, formats, end)))


def _crypto_lines(plan: _Plan) -> bytes:
    """Our a=crypto lines, to stand before the other attributes."""
    if plan.keys.ours is None or plan.local is None:
        return b""
    ending = plan.section.lines[0].ending or b"\r\n"
    return b"".join(Line(0, "a", write_crypto(offer), ending).raw for offer in plan.keys.ours.crypto)


def _connection_line(line: Line, address: str) -> bytes:
    received = _connection((line,), needed=False)
    if received is not None and _is_unspecified(received):
        return line.raw
    return line._replace(value=_net(address)).raw


def _attribute_line(line: Line, plan: _Plan) -> bytes:
    name, value = line.attribute
    if _is_past_the_relay(name) or (plan.keys.stripped and names_keys(name)):
        return b""
    if name == b"rtcp":
        return _rtcp_line(line, value, plan)
    if name in _PER_PAYLOAD_TYPE and value.split(b" ")[0] in plan.removed:
        return b""
    return line.raw


def _rtcp_line(line: Line, value: bytes, plan: _Plan) -> bytes:
    """a=rtcp with our port; without the line if the section is disabled (RFC 3605)."""
    if plan.local is None:
        return b""
    fields = value.split()
    same = decimal(fields[0], 0, PORT_MAX) == plan.section.port
    port = str(plan.local.rtp_port + (0 if same else 1)).encode()
    tail = b" " + _net(plan.local.address) if len(fields) > 1 else b""
    return line._replace(value=b"rtcp:" + port + tail).raw


def _is_past_the_relay(name: bytes) -> bool:
    return name in _PAST_THE_RELAY or name.startswith(_ICE_PREFIX)


@lru_cache(_ADDRESSES)
def _net(address: str) -> bytes:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as err:
        raise SdpError("SDP to send", "our own address is not numeric", repr(address)) from err
    return f"IN IP{parsed.version} {parsed}".encode()


@lru_cache(_ADDRESSES)
def _is_unspecified(address: str) -> bool:
    return ipaddress.ip_address(address).is_unspecified
