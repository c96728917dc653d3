"""Telephone numbers as a trunk writes them, and as the policy compares them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from recproxy.sip.uri import Address, Uri

__all__ = ["NumberRule", "Party", "rewritten", "rewritten_identity", "rewritten_user"]

IsEmergency = Callable[[str], bool]

_IDENTITIES: Final = frozenset({"p-asserted-identity", "remote-party-id"})


class Party(Enum):
    """Whose number."""

    CALLER = "caller"
    CALLEE = "callee"


@dataclass(frozen=True, slots=True)
class NumberRule:
    """Puts something else in the place of a number's first digits.

    Attributes:
        prefix: First digits of the numbers meant; may be empty.
        replace: What stands in their place afterwards.
        digits: How many digits the numbers meant have; None for any.
        parties: Whose numbers.
    """

    prefix: str
    replace: str
    digits: int | None = None
    parties: frozenset[Party] = frozenset(Party)

    def applies(self, number: str, party: Party) -> bool:
        """Whether a number is meant; only digits, perhaps behind a plus, are a number."""
        digits = number.removeprefix("+")
        return (
            party in self.parties
            and digits.isascii()
            and digits.isdecimal()
            and number.startswith(self.prefix)
            and self.digits in {None, len(digits)}
        )


def rewritten(rules: Sequence[NumberRule], number: str, party: Party, is_emergency: IsEmergency) -> str:
    """Apply the first rule that fits.

    Args:
        rules: Of the trunk.
        number: As it came.
        party: Whose it is.
        is_emergency: Tells an emergency number by any form in which it may be dialled.

    Returns:
        The number; an emergency number as it is, and any other as it is if a rule would
        leave nothing of it.
    """
    if party is Party.CALLEE and is_emergency(number):
        return number
    for rule in rules:
        if rule.applies(number, party):
            return rule.replace + number.removeprefix(rule.prefix) or number
    return number


def rewritten_user(rules: Sequence[NumberRule], uri: Uri, party: Party, is_emergency: IsEmergency) -> Uri:
    """The address with its number rewritten; parameters of the number (RFC 3966) stay."""
    if uri.scheme == "urn":
        return uri
    number = uri.number
    becomes = rewritten(rules, number, party, is_emergency)
    if becomes == number:
        return uri
    _, mark, parameters = uri.user.partition(";")
    return Uri(uri.scheme, f"{becomes}{mark}{parameters}", uri.host, uri.port, uri.parameters)


def rewritten_identity(name: str, value: str, rewrite: Callable[[Uri, Party], Uri]) -> str:
    """The identity in a P-Asserted-Identity (RFC 3325) or Remote-Party-ID, as a trunk writes numbers.

    Args:
        name: Of the header; the values of others come back as they are.
        value: One address, as ``recproxy.sip.carrying`` passes it on.
        rewrite: Applies the rules of the trunks to an address of a caller or a callee.

    Returns:
        The value. A ``tel`` URI stays as it is where its number would no longer be a global
        one: a local one says nothing without its context (RFC 3966 section 5.1.5).
    """
    if name.lower() not in _IDENTITIES:
        return value
    identity = Address.parse(value)
    party = Party.CALLEE if (identity.parameter("party") or "").lower() == "called" else Party.CALLER
    uri = rewrite(identity.uri, party)
    if uri.scheme == "tel" and not uri.number.startswith("+"):
        return value
    return replace(identity, uri=uri).with_headers()
