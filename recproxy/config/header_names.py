"""Names of SIP headers in the configuration. Pure."""

from __future__ import annotations

import re
from typing import Final, NewType

__all__ = ["HeaderName", "header_name", "is_own"]

HeaderName = NewType("HeaderName", str)  # perhaps with a * at its end

_NAME: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]{0,39}\*?|\*)\Z")
# recproxy is an end of both dialogs: it writes these for itself.
_OWN: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "allow",
        "allow-events",
        "authentication-info",
        "authorization",
        "call-id",
        "contact",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-type",
        "cseq",
        "event",
        "expires",
        "from",
        "max-forwards",
        "mime-version",
        "min-expires",
        "min-se",
        "path",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-require",
        "rack",
        "record-route",
        "recv-info",
        "refer-sub",
        "refer-to",
        "replaces",
        "require",
        "retry-after",
        "route",
        "rseq",
        "server",
        "service-route",
        "session-expires",
        "sip-etag",
        "sip-if-match",
        "subscription-state",
        "supported",
        "target-dialog",
        "timestamp",
        "to",
        "unsupported",
        "user-agent",
        "via",
        "www-authenticate",
        "x-recording-id",
        "x-recproxy-body",
    }
)


def header_name(text: str) -> HeaderName:
    """Read the name of a header, or the beginning of names: ``X-Acme-*``.

    Raises:
        ValueError: It is none, or one that is never carried.
    """
    if not _NAME.match(text):
        raise ValueError("is not the name of a header, nor the beginning of names such as X-Acme-*")
    if text.lower() in _OWN:
        raise ValueError("is a header that recproxy writes for itself on either side; take it out")
    return HeaderName(text)


def is_own(name: str) -> bool:
    """Whether recproxy writes this header for itself on either side."""
    return name.lower() in _OWN
