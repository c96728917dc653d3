"""Telephone numbers, SIP users and addresses as people may see them. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["clean_text", "clipped", "mask_number", "mask_numbers"]

_HIDDEN: Final = 5  # digits of a telephone number that are never shown
_TAIL: Final = 2
_LONGEST: Final = 300  # characters of one value
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Seven digits or more, with the separators people write, not inside a longer word.
_NUMBER: Final = re.compile(r"(?<![0-9A-Za-z])(?:\+|00)?[0-9](?:[ ()./\u00a0-]{0,2}[0-9]){6,}(?![0-9A-Za-z])")
_SIP_USER: Final = re.compile(r"\b(sips?|tel):([^\s@;>]+)(@?)", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])")


def mask_number(number: str) -> str:
    """A telephone number as people may see it: ``+3130•••••04``.

    The country code and the start of the area stay (four digits of an international
    number, two of another), and the last two digits, as far as that leaves five hidden.
    A user name keeps its first letter.
    """
    clean = _CONTROL.sub("", number.strip())
    digits = "".join(char for char in clean if char.isdigit())
    if not digits:
        return clean[:1] + "•••" if clean else ""
    lead = 6 if clean.startswith("00") else 4 if clean.startswith("+") else 2
    tail = _TAIL if len(digits) >= _HIDDEN + _TAIL else 0
    head = min(lead, max(0, len(digits) - tail - _HIDDEN))
    hidden = "•" * (len(digits) - head - tail)
    masked = digits[:head] + hidden + digits[len(digits) - tail :]
    return f"+{masked}" if clean.startswith("+") else masked


def mask_numbers(text: str) -> str:
    """Free text with every telephone number, SIP user and IPv4 address in it masked."""
    users = _SIP_USER.sub(lambda found: f"{found[1]}:{_masked_user(found[2], found[3])}{found[3]}", text)
    return _NUMBER.sub(lambda found: mask_number(found[0]), _ADDRESS.sub("•.•.•.•", users))


def _masked_user(user: str, at: str) -> str:
    return mask_number(user) if at or user[:1] in "+0123456789" else user


def clipped(text: str) -> str:
    """A text of bounded length, its control characters made visible."""
    if text.isprintable() and len(text) <= _LONGEST:  # nothing in it that _CONTROL finds
        return text
    plain = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "…"


def clean_text(text: str) -> str:
    """Free text, possibly a peer's: numbers masked, control characters visible, of bounded length."""
    return clipped(mask_numbers(text))
