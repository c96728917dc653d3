"""One line to a system log: RFC 5424, over a local socket, UDP (RFC 5426) or TCP (RFC 6587)."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

__all__ = [
    "SyslogChannel",
    "SyslogMessage",
    "SyslogTarget",
    "SyslogTransport",
    "encode",
    "parse_target",
    "send",
]

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
        text: No control characters; what is not ASCII becomes a question mark.
        priority: Facility and severity (section 6.2.1).
        process: PROCID; a dash for none.
    """

    at: datetime
    node: str
    kind: str
    text: str
    priority: int = _AUDIT_INFORMATIONAL
    process: str = "-"


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
    head = f"<{message.priority}>1 {at} {node} recproxy {message.process} {kind}"
    return f"{head} - {message.text}".encode("ascii", "replace")


class SyslogChannel:
    """The way to one target; opened when it is first used, and anew after a failure. One thread.

    Args:
        target: Where messages go.
    """

    def __init__(self, target: SyslogTarget) -> None:
        self._target = target
        self._socket: socket.socket | None = None

    def send(self, message: SyslogMessage) -> None:
        """Send a message; waits five seconds at most.

        Raises:
            OSError: It did not leave this machine. Over TCP one that did may still be lost, if the
                other end goes away before it reads it (RFC 6587 section 5).
        """
        data = encode(message)
        if self._target.transport is SyslogTransport.TCP:
            data = f"{len(data)} ".encode() + data  # octet counting, RFC 6587 section 3.4.1
        known = self._socket is not None
        try:
            self._hand_over(data)
        except OSError:
            self.close()
            if not known:
                raise
            # Whoever listened was started anew: its former socket is no more.
            try:
                self._hand_over(data)
            except OSError:
                self.close()
                raise

    def close(self) -> None:
        """Close what is open; a later message opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _hand_over(self, data: bytes) -> None:
        if self._socket is None:
            self._socket = _connected(self._target)
        self._socket.sendall(data)


def send(target: SyslogTarget, message: SyslogMessage) -> None:
    """Send one message; waits five seconds at most.

    Raises:
        OSError: It did not leave this machine, or over TCP did not reach the other.
    """
    channel = SyslogChannel(target)
    try:
        channel.send(message)
    finally:
        channel.close()


def _connected(target: SyslogTarget) -> socket.socket:
    if target.transport is SyslogTransport.TCP:
        return socket.create_connection((target.host, target.port), _TIMEOUT_S)
    address: str | tuple[str | int | bytes, ...] = target.host
    family, kind, protocol = socket.AF_UNIX, socket.SOCK_DGRAM, 0
    if target.transport is SyslogTransport.UDP:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)[0]
        family, kind, protocol, address = found[0], found[1], found[2], found[4]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.settimeout(_TIMEOUT_S)
        opened.connect(address)  # of UDP: only fixes the peer
    except OSError:
        opened.close()
        raise
    return opened
