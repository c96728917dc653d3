"""Text files of recipients and identities: one key a line, comments with `#`.

Pure functions on text. No message shows a line that could be a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from storage.age.errors import (
    IdentityError,
    KeyFormatError,
    RecipientError,
    SecretInRecipientsError,
)
from storage.age.hybrid import HybridIdentity, HybridRecipient
from storage.age.x25519 import X25519Identity, X25519Recipient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.age.stanza import Identity, Recipient

_SECRET_MARKS: Final = ("AGE-SECRET-KEY-", "AGE-PLUGIN-")
_PUBLIC_MARK: Final = "age1"
_HYBRID_PUBLIC_MARK: Final = "age1pq1"
_IDENTITY_START: Final = "AGE-SECRET-KEY-1"
_HYBRID_IDENTITY_START: Final = "AGE-SECRET-KEY-PQ-1"
_SHOWN_CHARACTERS: Final = 12
_ENCRYPTED_MARKS: Final = ("age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE-----")


def parse_recipients(text: str, source: str = "recipients file") -> tuple[Recipient, ...]:
    """Read a recipients file.

    Args:
        text: Its content. Blank lines and lines that start with `#` are skipped.
        source: What messages call the file.

    Returns:
        The recipients in order, one or more, without repetitions.

    Raises:
        SecretInRecipientsError: A line is a secret key. The message does not
            show it.
        RecipientError: A line is not a recipient, or there is none.
    """
    recipients: dict[str, Recipient] = {}
    for number, line in _lines(text):
        where = f"{source}, line {number}"
        if any(line.upper().startswith(mark) for mark in _SECRET_MARKS):
            raise SecretInRecipientsError(
                f"{where}: this is a secret key, which must never be on the recorder; put its public key "
                '(the "age1…" line) here, and treat the secret key as exposed if others could read this file'
            )
        try:
            recipients.setdefault(line, parse_recipient(line))
        except KeyFormatError as err:
            raise RecipientError(f"{where}: {err}") from err
    if not recipients:
        raise RecipientError(
            f'{source}: holds no recipient; make a key pair with "recproxy keys generate" '
            'and add its "age1…" line'
        )
    return tuple(recipients.values())


def parse_recipient(text: str) -> Recipient:
    """Read one recipient of any type that is supported.

    Args:
        text: The string form, without space around it.

    Returns:
        The recipient.

    Raises:
        KeyFormatError: Not a recipient, or of a type that is not supported.
    """
    if not text.startswith(_PUBLIC_MARK):
        raise RecipientError(f'not an age recipient, which starts with "age1"{_kind_hint(text)}')
    if text.startswith(_HYBRID_PUBLIC_MARK):
        return HybridRecipient.parse(text)
    if "1" in text[len(_PUBLIC_MARK) :]:  # a separator further on: the prefix is longer than "age"
        kind = text[: text.rindex("1")][:_SHOWN_CHARACTERS]
        raise RecipientError(f'recipients of type "{kind}1…" are not supported; use an X25519 one ("age1…")')
    return X25519Recipient.parse(text)


def parse_identities(text: str, source: str = "identity file") -> tuple[Identity, ...]:
    """Read an identity file, as `age-keygen` writes it.

    Args:
        text: Its content. Blank lines and lines that start with `#` are skipped.
        source: What messages call the file.

    Returns:
        The identities in order, one or more.

    Raises:
        IdentityError: A line is not an identity, or there is none. No message
            shows a line.
    """
    if text.startswith(_ENCRYPTED_MARKS):
        raise IdentityError(f'{source}: is itself encrypted; decrypt it first with "age -d"')
    identities: list[Identity] = []
    for number, line in _lines(text):
        where = f"{source}, line {number}"
        if line.startswith(_PUBLIC_MARK):
            raise IdentityError(
                f'{where}: this is a recipient (a public key); the identity is the "AGE-SECRET-KEY-1…" line'
            )
        try:
            identities.append(parse_identity(line))
        except KeyFormatError as err:
            raise IdentityError(f"{where}: {err}") from err
    if not identities:
        raise IdentityError(f'{source}: holds no identity, a line that starts with "AGE-SECRET-KEY-1"')
    return tuple(identities)


def parse_identity(text: str) -> Identity:
    """Read one identity of any type that is supported.

    Args:
        text: The string form, without space around it.

    Returns:
        The identity.

    Raises:
        KeyFormatError: Not an identity, or of a type that is not supported; the
            message does not show it.
    """
    if text.startswith("AGE-PLUGIN-"):
        raise IdentityError(
            "identities of age plugins are not supported; use an X25519 one (AGE-SECRET-KEY-1…)"
        )
    if text.startswith(_HYBRID_IDENTITY_START):
        return HybridIdentity.parse(text)
    if not text.startswith(_IDENTITY_START):
        raise IdentityError('not an age identity, which starts with "AGE-SECRET-KEY-1"')
    return X25519Identity.parse(text)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines that hold a key, with their numbers from 1."""
    for number, line in enumerate(text.split("\n"), start=1):
        key = line.strip()
        if key and not key.startswith("#"):
            yield number, key


def _kind_hint(text: str) -> str:
    if text.startswith(("ssh-", "ecdsa-", "sk-")):
        return "; SSH keys are not supported"
    if text.startswith(_PUBLIC_MARK.upper()):
        return " in lower case"
    return ""
