"""The sockets that SIP is spoken at, and the certificates of those for TLS."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pjsua2 as pj

from recproxy.sip import native
from recproxy.sip.native import SipStackError

__all__ = ["Listen", "Sockets", "Tls"]

_SOCKET_BUFFER_BYTES: Final = 2 * 1024 * 1024
_TRANSPORTS: Final = {
    ("udp", 4): "PJSIP_TRANSPORT_UDP",
    ("tcp", 4): "PJSIP_TRANSPORT_TCP",
    ("tls", 4): "PJSIP_TRANSPORT_TLS",
    ("udp", 6): "PJSIP_TRANSPORT_UDP6",
    ("tcp", 6): "PJSIP_TRANSPORT_TCP6",
    ("tls", 6): "PJSIP_TRANSPORT_TLS6",
}
_TLS_HANDSHAKE_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Tls:
    """How TLS 1.2 and 1.3 are spoken at a socket, and on connections that leave from it.

    Attributes:
        certificate: PEM text of our certificate and those between it and its root.
        key: PEM text of its private key; never shown.
        ca: PEM text of the authorities that peers are checked against.
        verify: Whether servers must show a certificate of theirs, made out to the host asked for.
        verify_client: Whether clients must show one.
    """

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    ca: bytes = field(repr=False)
    verify: bool = True
    verify_client: bool = False


@dataclass(frozen=True, slots=True)
class Listen:
    """One listening address.

    Attributes:
        transport: ``udp``, ``tcp`` or ``tls``.
        address: Numeric.
        port: 1–65535.
        advertise: Address that peers are told; empty for ``address``.
        tls: For ``tls``, and for that only.
    """

    transport: str
    address: str
    port: int
    advertise: str = ""
    tls: Tls | None = None

    @property
    def ip_version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4

    @property
    def contact(self) -> str:
        """Contact URI for a dialog over this transport."""
        tail = "".join(f";{name}={value}" for name, value in self.parameters)
        return f"<sip:recproxy@{self.host}:{self.port}{tail}>"

    @property
    def host(self) -> str:
        """What peers are told, IPv6 in brackets."""
        host = self.advertise or self.address
        return f"[{host}]" if ":" in host else host

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """Of a URI that leads here."""
        return () if self.transport == "udp" else (("transport", self.transport),)

    def __str__(self) -> str:
        return f"{self.transport} {self.address} port {self.port}"


class _MemoryFile:
    """A file without a place on a disk; OpenSSL reads it by its path for each new context."""

    def __init__(self, content: bytes) -> None:
        self._descriptor = os.memfd_create("recproxy-tls")
        self.write(content)

    @property
    def path(self) -> str:
        """Of use in this process alone."""
        return f"/proc/self/fd/{self._descriptor}"

    def write(self, content: bytes) -> None:
        """Put ``content`` in the place of what it holds."""
        os.ftruncate(self._descriptor, 0)
        written = 0
        while written < len(content):
            written += os.pwrite(self._descriptor, content[written:], written)

    def close(self) -> None:
        """Forget it."""
        os.close(self._descriptor)


@dataclass(slots=True)
class _Socket:
    number: int
    listen: Listen
    files: tuple[_MemoryFile, ...] = ()


class Sockets:
    """Those that are open, in the order of the settings. Certificate, key and authorities lie in memory.

    PJSIP reads the files of TLS for the first connection that comes in, and for each one that
    it opens. On a disk, they could be others by then than those that were checked.
    """

    def __init__(self) -> None:
        self._open: list[_Socket] = []

    @property
    def numbers(self) -> list[int]:
        """PJSIP's numbers of them."""
        return [one.number for one in self._open]

    def open(self, endpoint: pj.Endpoint, listen: Sequence[Listen]) -> None:
        """Listen.

        Raises:
            SipStackError: An address or port cannot be used.
        """
        for one in listen:
            files = () if one.tls is None else _files(one.tls)
            try:
                number = _listen(endpoint, one, files)
            except SipStackError:
                for file in files:
                    file.close()
                raise
            self._open.append(_Socket(number, one, files))

    def renew(self, listen: Sequence[Listen]) -> list[Listen]:
        """Take other certificates and keys for connections from now on; those that stand go on.

        Args:
            listen: The same sockets in the same order.

        Returns:
            Those whose certificate, key or authorities are others than before.

        Raises:
            SipStackError: A socket cannot be listened on again.
        """
        renewed = []
        for one, wanted in zip(self._open, listen, strict=True):
            if wanted.tls is None or wanted.tls == one.listen.tls:
                continue
            for file, content in zip(one.files, _contents(wanted.tls), strict=True):
                file.write(content)
            one.listen = wanted
            status = native.restart_tls(one.number, wanted.address, wanted.port)
            if status:
                raise SipStackError(f"cannot listen on {wanted} with its new certificate: status {status}")
            renewed.append(wanted)
        return renewed

    def close(self) -> None:
        """Forget the certificates; PJSIP closes the sockets with itself."""
        for one in self._open:
            for file in one.files:
                file.close()
        self._open.clear()


def _contents(tls: Tls) -> tuple[bytes, bytes, bytes]:
    return tls.certificate, tls.key, tls.ca


def _files(tls: Tls) -> tuple[_MemoryFile, ...]:
    return tuple(_MemoryFile(content) for content in _contents(tls))


def _listen(endpoint: pj.Endpoint, listen: Listen, files: tuple[_MemoryFile, ...]) -> int:
    """Open a transport and return its number."""
    kind = _TRANSPORTS.get((listen.transport, listen.ip_version))
    if kind is None:
        raise SipStackError(f"transport {listen.transport!r} is not udp, tcp or tls")
    settings = pj.TransportConfig()
    settings.boundAddress = listen.address
    settings.port = listen.port
    settings.publicAddress = listen.advertise
    if listen.tls is not None:
        _secure(settings.tlsConfig, listen.tls, files)
    if listen.transport == "udp":
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            settings.sockOptParams.sockOpts.append(
                pj.SockOpt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
            )
    try:
        transport: int = endpoint.transportCreate(getattr(pj, kind), settings)
    except pj.Error as err:
        raise SipStackError(f"cannot listen on {listen}: {err.reason}") from err
    return transport


def _secure(settings: pj.TlsConfig, tls: Tls, files: tuple[_MemoryFile, ...]) -> None:
    settings.certFile, settings.privKeyFile, settings.CaListFile = (file.path for file in files)
    settings.proto = pj.PJ_SSL_SOCK_PROTO_TLS1_2 | pj.PJ_SSL_SOCK_PROTO_TLS1_3
    settings.verifyServer = tls.verify
    settings.verifyClient = settings.requireClientCert = tls.verify_client
    settings.msecTimeout = _TLS_HANDSHAKE_MS
