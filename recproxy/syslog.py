"""One line to a system log: RFC 5424, over a local socket, UDP (RFC 5426) or TCP (RFC 6587)."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

__all__ = ["SyslogMessage", "SyslogTarget", "SyslogTransport", "encode", "parse_target", "send"]

_TARGET: Final = re.compile(r"(udp|tcp)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?\Z")
_PORT: Final = 514
_LAST_PORT: Final = 65_535
_AUDIT_INFORMATIONAL: Final = 13 * 8 + 6  # facility "log audit", severity "informational"
_NOT_PRINTABLE: Final = re.compile(r"[^\x21-\x7e]")
_TIMEOUT_S: Final = 5.0


class SyslogTransport(Enum):
    """How a message gets there."""

    LOCAL = "local"
    UDP = "udp"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class SyslogTarget:
    """Where messages go.

    Attributes:
        transport: How.
        host: Name or address, or the path of a local socket.
        port: 0 for a local socket.
    """

    transport: SyslogTransport
    host: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class SyslogMessage:
    """What is said.

    Attributes:
        at: When (aware).
        node: Who says it.
        kind: MSGID: what kind of message it is.
        text: ASCII, no control characters.
    """

    at: datetime
    node: str
    kind: str
    text: str


def parse_target(text: str) -> SyslogTarget:
    """Read ``/dev/log``, ``udp://host:port`` or ``tcp://host:port``.

    Raises:
        ValueError: It is none of these.
    """
    if text.startswith("/"):
        return SyslogTarget(SyslogTransport.LOCAL, text)
    found = _TARGET.match(text)
    port = int(found[3] or _PORT) if found else 0
    if found is None or not 1 <= port <= _LAST_PORT:
        raise ValueError("is not /dev/log, udp://host:514 or tcp://host:514")
    return SyslogTarget(SyslogTransport(found[1]), found[2].strip("[]"), port)


def encode(message: SyslogMessage) -> bytes:
    """Write a message (RFC 5424 section 6), without structured data."""
    at = message.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    node, kind = (_NOT_PRINTABLE.sub("_", text) for text in (message.node, message.kind))
    return f"<{_AUDIT_INFORMATIONAL}>1 {at} {node} recproxy - {kind} - {message.text}".encode(
        "ascii", "replace"
    )


def send(target: SyslogTarget, message: SyslogMessage) -> None:
    """Send a message; waits five seconds at most.

    Raises:
        OSError: It did not leave this machine, or over TCP did not reach the other.
    """
    data = encode(message)
    match target.transport:
        case SyslogTransport.LOCAL:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
                local.settimeout(_TIMEOUT_S)
                local.connect(target.host)
                local.send(data)
        case SyslogTransport.UDP:
            family, kind, protocol, _, address = socket.getaddrinfo(
                target.host, target.port, type=socket.SOCK_DGRAM
            )[0]
            with socket.socket(family, kind, protocol) as remote:
                remote.sendto(data, address)
        case SyslogTransport.TCP:
            with socket.create_connection((target.host, target.port), _TIMEOUT_S) as stream:
                stream.sendall(f"{len(data)} ".encode() + data)  # octet counting, RFC 6587 section 3.4.1
