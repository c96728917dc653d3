"""What of a callee's failure response goes on to the caller."""

from __future__ import annotations

from recproxy.errors import SipError
from recproxy.sip import headers
from recproxy.sip.carrying import HeaderRules, carried
from recproxy.sip.headers import Message
from recproxy.sip.uri import Address

__all__ = ["passed_on", "targets"]


def targets(redirection: Message) -> list[tuple[str, str]]:
    """Contact headers of a 3xx, built anew; malformed ones are left out."""
    if not isinstance(redirection.start, headers.StatusLine) or redirection.start.code >= 400:  # noqa: PLR2004
        return []
    try:
        return [("Contact", str(Address.parse(value))) for value in redirection.values("Contact")]
    except SipError:
        return []


def passed_on(failure: Message, rules: HeaderRules) -> list[tuple[str, str]]:
    """Headers of a failure response that go on to the caller; Date is the sender's own."""
    passed = [pair for pair in carried(failure, rules).headers if pair[0] != "Date"]
    wait = headers.retry_after(failure)
    return passed if wait is None else [*passed, ("Retry-After", str(wait))]
