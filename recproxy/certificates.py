"""Certificate, key and authorities of a socket for SIP by TLS: read, and checked before PJSIP has them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recproxy.config import TlsConfig
from recproxy.errors import ConfigError

__all__ = ["TlsTexts", "read_tls"]

_OTHERS: Final = 0o077
_CREDENTIAL: Final = 0o440  # of a key that systemd hands over: read by an ACL, the group is root's
_ENCRYPTED: Final = b"ENCRYPTED"  # in the first line of PKCS #8, in a header of older forms
_BYTES_MAX: Final = 4 << 20


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
    certificate, _ = _read(f"{where}.certificate", tls.certificate)
    key, mode = _read(f"{where}.key", tls.key)
    ca, _ = _read(f"{where}.ca", tls.ca)
    if mode & _OTHERS and mode != _CREDENTIAL:
        raise ConfigError(f"{where}.key: {tls.key}: mode {mode:04o} lets others read it; chmod 600 {tls.key}")
    if _ENCRYPTED in key:
        raise ConfigError(
            f"{where}.key: {tls.key}: is encrypted, and nobody is there to ask; take its password off:"
            " openssl pkey -in OLD -out NEW"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        with _file(certificate) as certificate_path, _file(key) as key_path:
            context.load_cert_chain(certificate_path, key_path)
    except ssl.SSLError as err:
        raise ConfigError(f"{where}: {_why(err, tls)}") from err
    try:
        with _file(ca) as path:
            context.load_verify_locations(path)
    except ssl.SSLError as err:
        raise ConfigError(f"{where}.ca: {tls.ca}: holds no certificate in PEM form") from err
    return TlsTexts(certificate, key, ca)


def _why(err: ssl.SSLError, tls: TlsConfig) -> str:
    if err.reason == "KEY_VALUES_MISMATCH":
        return f"{tls.key} is not the key of {tls.certificate}; name the two that belong together"
    reason = f" ({err.reason})" if err.reason else ""
    return f"{tls.certificate}, {tls.key}: no certificate and key in PEM form{reason}"


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
