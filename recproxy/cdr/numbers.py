"""Both numbers of a call in full, as a small age file that only the recipients' identities open."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence

from storage.age import Identity, Recipient, decrypt, encrypt

__all__ = ["open_parties", "seal_parties"]


def seal_parties(caller: str, callee: str, recipients: Sequence[Recipient]) -> str:
    """Encrypt two numbers.

    Args:
        caller: As the call named it; may be empty.
        callee: The same.
        recipients: One or more; any one of their identities opens it.

    Returns:
        An age file in base64, whose content is a JSON object.

    Raises:
        ValueError: No recipient, or recipients that must not be mixed.
        RecipientError: A recipient cannot be encrypted to.
    """
    text = json.dumps({"caller": caller, "callee": callee})
    return base64.b64encode(encrypt(text.encode(), recipients)).decode()


def open_parties(sealed: str, identities: Sequence[Identity]) -> tuple[str, str]:
    """Decrypt two numbers.

    Args:
        sealed: As ``seal_parties`` made it.
        identities: Tried in order.

    Returns:
        Caller and callee.

    Raises:
        ValueError: It is no base64, or holds no two numbers.
        AgeError: None of the identities opens it, or it was altered.
    """
    try:
        data = base64.b64decode(sealed, validate=True)
    except binascii.Error as err:
        raise ValueError("numbers_age is not base64") from err
    found = json.loads(decrypt(data, identities))
    return str(found["caller"]), str(found["callee"])
