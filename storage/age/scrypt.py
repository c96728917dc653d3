"""The scrypt recipient type of age v1: a passphrase opens the file, and nothing else does.

c2sp.org/age, "The scrypt recipient type": the wrap key is scrypt (RFC 7914) of the
passphrase with the salt "age-encryption.org/v1/scrypt" || 16 random bytes, r = 8,
p = 1; the file key is sealed under it with ChaCha20-Poly1305 and a zero nonce. Such a
stanza stands alone in its header.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from storage.age.errors import HeaderError
from storage.age.stanza import Random, Stanza, check_file_key, decode_base64, draw, encode_base64

KIND: Final = "scrypt"
_LABEL: Final = b"age-encryption.org/v1/scrypt"
_SALT_BYTES: Final = 16
_WRAPPED_BYTES: Final = 32
_ZERO_NONCE: Final = bytes(12)
_WORK: Final = 15  # log2 of N: for passphrases of 100 random bits and more; 32 MiB
_MOST_WORK: Final = 20  # beyond it a header could ask for gigabytes
_NUMBER: Final = re.compile(r"[1-9][0-9]?\Z")


@dataclass(frozen=True, slots=True)
class PassphraseRecipient:
    """Wraps a file key under a passphrase. It must be random: the work factor is a low one.

    Attributes:
        passphrase: Not in any `repr`.
    """

    passphrase: str = field(repr=False)

    @property
    def labels(self) -> frozenset[str]:
        """A label of its own, so that no other recipient stands beside it."""
        return frozenset({f"scrypt-{id(self)}"})

    def wrap(self, file_key: bytes, random: Random = secrets.token_bytes) -> tuple[Stanza, ...]:
        """Wrap a file key under a fresh salt.

        Args:
            file_key: 16 bytes.
            random: Source of random bytes; 16 are drawn.

        Returns:
            One stanza.

        Raises:
            ValueError: The file key has another length.
        """
        check_file_key(file_key)
        salt = draw(random, _SALT_BYTES)
        body = ChaCha20Poly1305(_wrap_key(self.passphrase, salt, _WORK)).encrypt(_ZERO_NONCE, file_key, None)
        return (Stanza((KIND, encode_base64(salt).decode("ascii"), str(_WORK)), body),)


@dataclass(frozen=True, slots=True)
class PassphraseIdentity:
    """Opens what was encrypted to a passphrase.

    Attributes:
        passphrase: Not in any `repr`.
    """

    passphrase: str = field(repr=False)

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Unwrap the file key; None if the passphrase is another or the file has none.

        Raises:
            HeaderError: The stanza is malformed, or asks for too much work.
        """
        for stanza in stanzas:
            if stanza.arguments[0] == KIND:
                return _unwrap(self.passphrase, stanza)
        return None


def _unwrap(passphrase: str, stanza: Stanza) -> bytes | None:
    try:
        _, encoded, work = stanza.arguments
        salt = decode_base64(encoded.encode("ascii"))
    except ValueError as err:
        raise HeaderError("an scrypt stanza has a salt in base64 and a work factor") from err
    if len(salt) != _SALT_BYTES or len(stanza.body) != _WRAPPED_BYTES or not _NUMBER.match(work):
        raise HeaderError(
            "an scrypt stanza has a salt of 16 bytes, a decimal work factor and 32 bytes of body"
        )
    if int(work) > _MOST_WORK:
        raise HeaderError(f"an scrypt work factor of {work} is beyond {_MOST_WORK}, which fits into memory")
    try:
        return ChaCha20Poly1305(_wrap_key(passphrase, salt, int(work))).decrypt(
            _ZERO_NONCE, stanza.body, None
        )
    except InvalidTag:
        return None


def _wrap_key(passphrase: str, salt: bytes, work: int) -> bytes:
    return Scrypt(salt=_LABEL + salt, length=32, n=1 << work, r=8, p=1).derive(passphrase.encode())
