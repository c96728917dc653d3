"""SIP peers over TCP and TLS for ``sip_bench``: they connect, or are connected to."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass, field

from sip_bench import Wire
from sip_message import SipMessage


@dataclass(slots=True)
class Link:
    """One connection.

    Attributes:
        sock: Non-blocking.
        ready: The TLS handshake, if any, is done.
        closed: The other side closed it, or refused it.
        fault: Why it was refused, as far as told.
    """

    sock: socket.socket
    ready: bool
    closed: bool = False
    fault: str = ""
    waiting: bytes = b""
    got: bytes = b""

    def turn(self) -> None:
        """Do what can be done without waiting."""
        if self.closed:
            return
        try:
            if not self.ready and isinstance(self.sock, ssl.SSLSocket):
                self.sock.do_handshake()
                self.ready = True
            if self.waiting:
                self.waiting = self.waiting[self.sock.send(self.waiting) :]
            while data := self.sock.recv(65_535):
                self.got += data
            self.closed = True
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as err:
            self.closed, self.fault = True, str(err)

    def messages(self) -> list[bytes]:
        """Whole messages that came, taken out."""
        found: list[bytes] = []
        while True:
            self.got = self.got.lstrip(b"\r\n")
            head, end, rest = self.got.partition(b"\r\n\r\n")
            if not end:
                return found
            length = int(SipMessage.parse(head + end).one("content-length") or 0)
            if len(rest) < length:
                return found
            found.append(head + end + rest[:length])
            self.got = rest[length:]


@dataclass(slots=True)
class StreamWire(Wire):
    """A peer that speaks over connections.

    Attributes:
        context: For TLS; None for plain TCP.
        serves: Others connect to it; else it connects to the proxy by itself.
        links: Its connections, the newest last.
    """

    context: ssl.SSLContext | None = None
    serves: bool = False
    links: list[Link] = field(default_factory=list)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if self.serves:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind((self.address, self.port))
            self.sock.listen()
            self.sock.setblocking(False)
        else:
            self.connect()

    @property
    def transport(self) -> str:
        """As in a URI."""
        return "tcp" if self.context is None else "tls"

    def connect(self) -> Link:
        """Open one more connection to the proxy."""
        sock = socket.create_connection(self.proxy, source_address=(self.address, 0))
        return self._link(sock, server=False)

    def read(self) -> None:
        """Take in what has come."""
        if self.serves:
            with contextlib.suppress(BlockingIOError):
                self._link(self.sock.accept()[0], server=True)
        for link in self.links:
            link.turn()
            for data in link.messages():
                self.raw.append(data)
                self.inbox.append(SipMessage.parse(data))

    def send(self, message: SipMessage | bytes) -> None:
        """Send over the newest connection."""
        link = self.links[-1]
        link.waiting += message if isinstance(message, bytes) else message.encode()
        link.turn()

    def close(self) -> None:
        """Close everything."""
        for link in self.links:
            link.sock.close()
        self.sock.close()

    def _link(self, sock: socket.socket, *, server: bool) -> Link:
        if self.context is not None:
            sock = self.context.wrap_socket(
                sock, server_side=server, do_handshake_on_connect=False, server_hostname=None
            )
        sock.setblocking(False)
        self.links.append(Link(sock, ready=self.context is None))
        return self.links[-1]
