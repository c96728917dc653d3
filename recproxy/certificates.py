"""Certificates of SIP and of the API: read once, checked before they are used; when any expires."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from recproxy.config import Config, TlsConfig
from recproxy.errors import ConfigError

__all__ = ["SOON", "ExpiryWatch", "KeyPair", "TlsTexts", "expiries", "read_pair", "read_tls"]

SOON: Final = timedelta(days=30)
"""A certificate that expires within that is to be renewed."""
_DAY: Final = timedelta(days=1)

_OTHERS: Final = 0o077
_CREDENTIAL: Final = 0o440  # of a key that systemd hands over: read by an ACL, the group is root's
_ENCRYPTED: Final = b"ENCRYPTED"  # in the first line of PKCS #8, in a header of older forms
_BYTES_MAX: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with what leads from it to its root, and its key, PEM; they belong together."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)

    def load(self, context: ssl.SSLContext) -> None:
        """Have a context show it.

        Raises:
            ssl.SSLError: It is none.
        """
        with _file(self.certificate) as certificate, _file(self.key) as key:
            context.load_cert_chain(certificate, key)


@dataclass(frozen=True, slots=True)
class TlsTexts:
    """What the three files of a socket hold, PEM."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    ca: bytes = field(repr=False)


def read_tls(where: str, tls: TlsConfig) -> TlsTexts:
    """Read the files of a socket, and try them as the TLS library of this machine takes them.

    Args:
        where: Key of the socket's TLS in the configuration, for messages.
        tls: Names the files.

    Raises:
        ConfigError: A file cannot be read or holds something else, the key is not that of the
            certificate, is encrypted, or can be read by others.
    """
    pair = read_pair(where, tls.certificate, tls.key)
    ca, _ = _read(f"{where}.ca", tls.ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        with _file(ca) as path:
            context.load_verify_locations(path)
    except ssl.SSLError as err:
        raise ConfigError(f"{where}.ca: {tls.ca}: holds no certificate in PEM form") from err
    return TlsTexts(pair.certificate, pair.key, ca)


def read_pair(
    where: str, certificate: Path, key: Path, *, prefix: str = "", others: int = _OTHERS
) -> KeyPair:
    """Read a certificate and its key, and try them as the TLS library of this machine takes them.

    Args:
        where: Key of the socket's section in the configuration, for messages.
        certificate: PEM file.
        key: PEM file, not encrypted.
        prefix: Stands before ``certificate`` and ``key`` in the names of the configuration.
        others: Bits of its mode that the key may not have; a credential of systemd's is right.

    Raises:
        ConfigError: A file cannot be read or holds something else, the key is not that of the
            certificate, is encrypted, or can be read by others.
    """
    shown, _ = _read(f"{where}.{prefix}certificate", certificate)
    secret, mode = _read(f"{where}.{prefix}key", key)
    if mode & others and mode != _CREDENTIAL:
        raise ConfigError(f"{where}.{prefix}key: {key}: mode {mode:04o} lets others read it; chmod 600 {key}")
    if _ENCRYPTED in secret:
        raise ConfigError(
            f"{where}.{prefix}key: {key}: is encrypted, and nobody is there to ask; take its password off:"
            " openssl pkey -in OLD -out NEW"
        )
    pair = KeyPair(shown, secret)
    try:
        pair.load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    except ssl.SSLError as err:
        raise ConfigError(f"{where}: {_why(err, certificate, key)}") from err
    return pair


def expiries(config: Config) -> Mapping[str, datetime]:
    """When the certificate of each socket expires, of SIP and of the API; what cannot be read is left out."""
    files = {f"tls:{at.address}:{at.port}": at.tls.certificate for at in config.sip.listen if at.tls}
    files |= {
        f"api:{at.address}:{at.port}": at.tls_certificate for at in config.api.listen if at.tls_certificate
    }
    found = {}
    for place, path in files.items():
        try:
            found[place] = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        except (OSError, ValueError):
            continue  # the start and the doctor say what is wrong with it
    return found


class ExpiryWatch:
    """Says each day which certificates expire soon: peers hang up on one that has.

    Args:
        emit: Takes a line of the event log.
        now: The wall clock (aware).
    """

    def __init__(self, emit: Callable[..., None], now: Callable[[], datetime]) -> None:
        self._emit = emit
        self._now = now
        self._expiries: Mapping[str, datetime] = {}
        self._due: datetime | None = None

    def use(self, expiries: Mapping[str, datetime]) -> None:
        """Take these from now on, and look at them at once."""
        self._expiries = expiries
        self._due = None
        self.look()

    def look(self) -> None:
        """Say what there is to say, once a day."""
        now = self._now()
        if self._due is not None and now < self._due:
            return
        self._due = now + _DAY
        for place, expiry in self._expiries.items():
            if expiry - now < SOON:
                self._emit("certificate.expiring", transport=place, days=(expiry - now) // _DAY)


def _why(err: ssl.SSLError, certificate: Path, key: Path) -> str:
    if err.reason == "KEY_VALUES_MISMATCH":
        return f"{key} is not the key of {certificate}; name the two that belong together"
    reason = f" ({err.reason})" if err.reason else ""
    return f"{certificate}, {key}: no certificate and key in PEM form{reason}"


def _read(where: str, path: Path) -> tuple[bytes, int]:
    """Content and permission bits of a file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o7777
            content = file.read(_BYTES_MAX + 1)
    except OSError as err:
        raise ConfigError(f"{where}: {path}: {err.strerror}") from err
    if len(content) > _BYTES_MAX:
        raise ConfigError(f"{where}: {path}: more than {_BYTES_MAX} bytes are no PEM file")
    return content, mode


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path at which the library finds the very bytes that were read, and no disk does."""
    with os.fdopen(os.memfd_create("recproxy-tls"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
