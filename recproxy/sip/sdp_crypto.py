"""SDP security descriptions: the a=crypto lines of RFC 4568, read and written. Pure.

A line that recproxy cannot serve as it stands is passed over, as RFC 4568 section 7.1.2 has it:
an unknown suite, a key of another length, a master key identifier, several keys, a session
parameter that would have to be obeyed. No error names a line, since it holds a key.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Final

from recproxy.call.events import SRTP_KEY_BYTES, CryptoOffer

__all__ = ["MAX_CRYPTO_LINES", "names_keys", "read_crypto", "write_crypto"]

MAX_CRYPTO_LINES: Final = 16  # of one m= section; the rest is not looked at

# Tag, suite, one inline key with an optional lifetime, session parameters (RFC 4568 section 9).
_CRYPTO: Final = re.compile(
    rb"([0-9]{1,9})[ \t]+([A-Za-z0-9_]{1,40})[ \t]+inline:([A-Za-z0-9+/]{16,80}={0,2})"
    rb"(?:\|(?:2\^[0-9]{1,2}|[0-9]{1,15}))?((?:[ \t]+[!-~]+)*)[ \t]*\Z",
    re.IGNORECASE,
)
_HINT: Final = re.compile(rb"WSH=[0-9]+\Z", re.IGNORECASE)  # how large a replay window is wished for

# Attributes that carry keys, or lead to keys that we would not hold: RFC 4568, RFC 4567 (MIKEY),
# RFC 8122 and RFC 8842 (DTLS), RFC 6189 (ZRTP), and RFC 5939, by which all of it may be negotiated
# beside the m= line.
_KEYS: Final = frozenset(
    {
        b"crypto",
        b"key-mgmt",
        b"fingerprint",
        b"setup",
        b"tls-id",
        b"zrtp-hash",
        b"csup",
        b"creq",
        b"acap",
        b"tcap",
        b"pcfg",
        b"acfg",
    }
)


def names_keys(attribute: bytes) -> bool:
    """Whether an attribute of this name, in lower case, is about the keys of SRTP."""
    return attribute in _KEYS


def read_crypto(values: Iterable[bytes]) -> tuple[CryptoOffer, ...]:
    """What recproxy can serve of the a=crypto lines of one section.

    Args:
        values: What follows ``a=crypto:``, in order.

    Returns:
        The usable ones, in order; the first 16 lines at most are looked at.
    """
    found: list[CryptoOffer] = []
    for value, _ in zip(values, range(MAX_CRYPTO_LINES), strict=False):
        offer = _read(value)
        if offer is not None and all(offer.tag != other.tag for other in found):
            found.append(offer)
    return tuple(found)


def _read(value: bytes) -> CryptoOffer | None:
    match = _CRYPTO.match(value)
    if match is None:
        return None
    suite = match[2].decode("ascii").upper()
    parameters = match[4].split()
    if not all(_HINT.match(parameter) for parameter in parameters):
        return None
    text = match[3].rstrip(b"=")
    try:
        key = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None
    if len(key) != SRTP_KEY_BYTES.get(suite):
        return None
    return CryptoOffer(int(match[1]), suite, key)


def write_crypto(offer: CryptoOffer) -> bytes:
    """The value of an a= line for ``offer``."""
    key = base64.b64encode(offer.key).decode("ascii")
    return f"crypto:{offer.tag} {offer.suite} inline:{key}".encode()
