"""What stands between the header and the recipient types: stanzas and their building blocks.

A recipient type needs this module and nothing else of the header: `Stanza`, the
two protocols it fulfils, canonical base64, key derivation, and random bytes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Random = Callable[[int], bytes]
"""A source of secure random bytes: asked for n bytes, it gives n."""

FILE_KEY_BYTES: Final = 16
STANZA_MARK: Final = b"-> "
COLUMNS: Final = 64
ARGUMENT: Final = re.compile(rb"[\x21-\x7e]+")
"""One argument of a stanza: visible ASCII."""

_BASE64_LINE: Final = re.compile(rb"[A-Za-z0-9+/]*")


@dataclass(frozen=True, slots=True)
class Stanza:
    """One recipient stanza: the file key, wrapped for one recipient.

    Attributes:
        arguments: One or more strings of visible ASCII; the first is the type.
        body: The decoded body.
    """

    arguments: tuple[str, ...]
    body: bytes

    @property
    def kind(self) -> str:
        """The first argument, which names the recipient type."""
        return self.arguments[0]

    def serialise(self) -> bytes:
        """Write the stanza with its body wrapped at 64 columns.

        Returns:
            The lines, each ended by LF; the last is shorter than 64 columns.

        Raises:
            ValueError: No argument, or one that is empty or not visible ASCII.
        """
        encoded_arguments = [argument.encode("utf-8") for argument in self.arguments]
        if not encoded_arguments or not all(ARGUMENT.fullmatch(argument) for argument in encoded_arguments):
            raise ValueError(
                f"stanza arguments {self.arguments!r} must be one or more words of visible ASCII"
            )
        body = encode_base64(self.body)
        lines = [body[start : start + COLUMNS] for start in range(0, len(body) + 1, COLUMNS)]
        return STANZA_MARK + b" ".join(encoded_arguments) + b"\n" + b"\n".join(lines) + b"\n"


class Recipient(Protocol):
    """Wraps file keys for the holder of one identity."""

    @property
    def labels(self) -> frozenset[str]:
        """Properties that all recipients of one file must share.

        Empty for X25519. A type that must not stand beside weaker ones gives a
        label, as the hybrid post-quantum type does.
        """
        ...

    def wrap(self, file_key: bytes, random: Random) -> Sequence[Stanza]:
        """Wrap a file key.

        Args:
            file_key: 16 bytes.
            random: Source of random bytes.

        Returns:
            One or more stanzas.
        """
        ...


class Identity(Protocol):
    """Unwraps file keys that were wrapped for its recipient."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Unwrap the file key from the first stanza that is for this identity.

        Args:
            stanzas: All stanzas of one header, in order.

        Returns:
            The file key of 16 bytes, or None if no stanza is for this identity.

        Raises:
            HeaderError: A stanza of this identity's type is malformed.
        """
        ...


def draw(random: Random, length_bytes: int) -> bytes:
    """Draw random bytes and refuse a source that gives too few or too many.

    Args:
        random: The source.
        length_bytes: How many.

    Returns:
        Exactly that many bytes.

    Raises:
        ValueError: The source gave another number of bytes.
    """
    drawn = random(length_bytes)
    if len(drawn) != length_bytes:
        raise ValueError(f"the source of randomness gave {len(drawn)} bytes when asked for {length_bytes}")
    return drawn


def hkdf(key_material: bytes, salt: bytes, info: bytes) -> bytes:
    """Derive a key of 32 bytes with HKDF-SHA-256 (RFC 5869).

    Args:
        key_material: Input keying material.
        salt: Salt; empty stands for no salt.
        info: Context.

    Returns:
        32 bytes.
    """
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key_material)


def encode_base64(data: bytes) -> bytes:
    """Encode canonical base64 without padding (RFC 4648, sections 3.5 and 4).

    Args:
        data: Any bytes.

    Returns:
        ASCII characters, on one line.
    """
    return base64.b64encode(data).rstrip(b"=")


def decode_base64(encoded: bytes) -> bytes:
    """Decode base64 without padding and refuse anything that is not canonical.

    Args:
        encoded: ASCII characters, on one line.

    Returns:
        The bytes.

    Raises:
        ValueError: A character outside the alphabet, padding, a length that
            cannot be, or bits left over that are not zero.
    """
    if not _BASE64_LINE.fullmatch(encoded):
        raise ValueError("not base64 without padding")
    try:
        decoded = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error as err:
        raise ValueError(f"base64 of {len(encoded)} characters, a length that cannot be") from err
    if encode_base64(decoded) != encoded:
        raise ValueError("base64 that is not canonical")
    return decoded


def check_file_key(file_key: bytes) -> None:
    """Refuse a file key of another length.

    Args:
        file_key: The key.

    Raises:
        ValueError: It has not 16 bytes.
    """
    if len(file_key) != FILE_KEY_BYTES:
        raise ValueError(f"a file key has {FILE_KEY_BYTES} bytes, not {len(file_key)}")
