"""The section ``api`` of ``recproxy.yaml``: where the HTTP API listens and who may use it."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from recproxy.config.addresses import PORT, IpAddress
from recproxy.config.document import Document

__all__ = ["ApiConfig", "ApiListen", "check_api"]


class ApiListen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One socket of the HTTP API: a Unix socket, or TCP with TLS.

    Attributes:
        unix: Path of a Unix socket.
        mode: Its file mode, octal.
        address: Numeric address to bind, for TCP.
        port: Port to bind.
        tls_certificate: PEM file of our certificate and what leads from it to its root.
        tls_key: PEM file of its private key, not encrypted; mode 0600.
        plain: TCP without TLS, on a loopback address only.
    """

    unix: Path | None = None
    mode: Annotated[str, Meta(pattern=r"^0?[0-7]{3}$", description='an octal file mode such as "0660"')] = (
        "0600"
    )
    address: IpAddress | None = None
    port: Annotated[int, PORT] = 8443
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    plain: bool = False

    def __str__(self) -> str:
        if self.unix is not None:
            return f"unix:{self.unix}"
        host = f"[{self.address}]" if ":" in (self.address or "") else self.address
        return f"{'http' if self.plain else 'https'}://{host}:{self.port}"


class ApiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP API.

    Attributes:
        listen: Sockets; none for no API.
        tokens: File of who may use it, made by ``recproxy api token``; mode 0600.
    """

    listen: tuple[ApiListen, ...] = ()
    tokens: Path | None = None


def check_api(api: ApiConfig, document: Document) -> None:
    """Note what only shows when the keys are put together."""
    if api.listen and api.tokens is None:
        document.note(("api", "tokens"), 'missing; make the file with "recproxy api token"')
    for at, listen in enumerate(api.listen):
        for problem in _problems(listen):
            document.note(("api", "listen", at), problem)
        if any(str(listen) == str(other) for other in api.listen[:at]):
            document.note(("api", "listen", at), f"{listen} a second time; take it out")


def _problems(listen: ApiListen) -> list[str]:
    tls = (listen.tls_certificate, listen.tls_key)
    if (listen.unix is None) is (listen.address is None):
        return ["give either unix or address"]
    if listen.unix is not None:
        return (
            ["tls_certificate, tls_key and plain are for TCP; take them out"]
            if any(tls) or listen.plain
            else []
        )
    if any(tls) and not all(tls):
        return ["needs both tls_certificate and tls_key"]
    if listen.plain and any(tls):
        return ["plain contradicts tls_certificate; take one out"]
    if all(tls):
        return []
    if not listen.plain:
        return ["needs tls_certificate and tls_key; on a loopback address plain: true can stand instead"]
    if not ipaddress.ip_address(str(listen.address)).is_loopback:
        return [f"plain sends tokens in the clear, and {listen.address} is no loopback address; give TLS"]
    return []
