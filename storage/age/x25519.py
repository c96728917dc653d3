"""The X25519 recipient type (c2sp.org/age, "The X25519 recipient type").

Public strings start with `age1`, secret ones with `AGE-SECRET-KEY-1`. The
curve, the key derivation and the cipher are those of `cryptography`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from storage.age import bech32
from storage.age.errors import HeaderError, IdentityError, RecipientError
from storage.age.stanza import (
    FILE_KEY_BYTES,
    Random,
    Stanza,
    check_file_key,
    decode_base64,
    draw,
    encode_base64,
    hkdf,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

RECIPIENT_PREFIX: Final = "age"
IDENTITY_PREFIX: Final = "AGE-SECRET-KEY-"

_KIND: Final = "X25519"
_INFO: Final = b"age-encryption.org/v1/X25519"
_KEY_BYTES: Final = 32
_WRAPPED_BYTES: Final = FILE_KEY_BYTES + 16
_ARGUMENTS: Final = 2
_ZERO_NONCE: Final = bytes(12)
_PROBE: Final = bytes(_KEY_BYTES)
"""A scalar that is no secret: any clamped scalar takes a low-order point to zero."""


@dataclass(frozen=True, slots=True)
class X25519Recipient:
    """A public key that files are encrypted to.

    Attributes:
        public_key: 32 bytes, a point of Curve25519 that is not of low order.

    Raises:
        RecipientError: The point has low order, or another length: what is
            encrypted to it, anybody could open.
    """

    public_key: bytes

    def __post_init__(self) -> None:
        """Refuse points that anybody could open files for."""
        if len(self.public_key) != _KEY_BYTES:
            raise RecipientError(f"an X25519 recipient has {_KEY_BYTES} bytes, not {len(self.public_key)}")
        if is_low_order(self.public_key):
            raise RecipientError(
                "the recipient is a point of low order: anybody could open files encrypted to it"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the string form.

        Args:
            text: `age1…`, without space around it.

        Returns:
            The recipient.

        Raises:
            KeyFormatError: The string is not an X25519 recipient.
        """
        prefix, public_key = bech32.decode(text)
        if prefix != RECIPIENT_PREFIX:
            raise RecipientError('an X25519 recipient starts with "age1" in lower case')
        return cls(public_key)

    def __str__(self) -> str:
        return bech32.encode(RECIPIENT_PREFIX, self.public_key)

    @property
    def labels(self) -> frozenset[str]:
        """No property that other recipients would have to share."""
        return frozenset()

    def wrap(self, file_key: bytes, random: Random = secrets.token_bytes) -> tuple[Stanza, ...]:
        """Wrap a file key under a fresh ephemeral key.

        Args:
            file_key: 16 bytes.
            random: Source of random bytes; 32 are drawn.

        Returns:
            One stanza.

        Raises:
            ValueError: The file key has another length.
        """
        check_file_key(file_key)
        ephemeral_secret = draw(random, _KEY_BYTES)
        share = _public_key(ephemeral_secret)
        shared_secret = X25519PrivateKey.from_private_bytes(ephemeral_secret).exchange(
            X25519PublicKey.from_public_bytes(self.public_key)
        )
        wrap_key = hkdf(shared_secret, share + self.public_key, _INFO)
        body = ChaCha20Poly1305(wrap_key).encrypt(_ZERO_NONCE, file_key, None)
        return (Stanza((_KIND, encode_base64(share).decode("ascii")), body),)


@dataclass(frozen=True, slots=True)
class X25519Identity:
    """A secret key that opens files. Its secret is in no `repr` and no message.

    Attributes:
        secret: 32 bytes.

    Raises:
        IdentityError: The secret has another length.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse secrets of another length."""
        if len(self.secret) != _KEY_BYTES:
            raise IdentityError(f"an X25519 identity has {_KEY_BYTES} bytes, not {len(self.secret)}")

    @classmethod
    def generate(cls, random: Random = secrets.token_bytes) -> Self:
        """Make a new identity.

        Args:
            random: Source of random bytes; 32 are drawn.

        Returns:
            The identity.
        """
        return cls(draw(random, _KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the string form.

        Args:
            text: `AGE-SECRET-KEY-1…`, without space around it.

        Returns:
            The identity.

        Raises:
            KeyFormatError: The string is not an X25519 identity; the message
                does not show it.
        """
        prefix, secret = bech32.decode(text)
        if prefix != IDENTITY_PREFIX:
            raise IdentityError('an X25519 identity starts with "AGE-SECRET-KEY-1" in upper case')
        return cls(secret)

    def secret_text(self) -> str:
        """Give the string form, `AGE-SECRET-KEY-1…`: for a key file and nothing else."""
        return bech32.encode(IDENTITY_PREFIX, self.secret)

    @property
    def recipient(self) -> X25519Recipient:
        """The recipient that this identity opens files for."""
        return X25519Recipient(_public_key(self.secret))

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Unwrap the file key from the first stanza that is for this identity.

        Args:
            stanzas: All stanzas of one header, in order.

        Returns:
            The file key of 16 bytes, or None if no stanza is for this identity.

        Raises:
            HeaderError: An X25519 stanza before that one is malformed.
        """
        for number, stanza in enumerate(stanzas, start=1):
            if stanza.kind != _KIND:
                continue
            file_key = self._unwrap_one(stanza, number)
            if file_key is not None:
                return file_key
        return None

    def _unwrap_one(self, stanza: Stanza, number: int) -> bytes | None:
        share = _share(stanza, number)
        if len(stanza.body) != _WRAPPED_BYTES:
            raise HeaderError(
                f"stanza {number}: an X25519 body has {_WRAPPED_BYTES} bytes, not {len(stanza.body)}"
            )
        shared_secret = _shared_secret(self.secret, share)
        if shared_secret is None:
            raise HeaderError(
                f"stanza {number}: the X25519 share is a point of low order, which is not allowed"
            )
        wrap_key = hkdf(shared_secret, share + _public_key(self.secret), _INFO)
        try:
            return ChaCha20Poly1305(wrap_key).decrypt(_ZERO_NONCE, stanza.body, None)
        except InvalidTag:
            return None


def is_low_order(public_key: bytes) -> bool:
    """Say whether a point of Curve25519 has low order.

    Args:
        public_key: 32 bytes.

    Returns:
        True if every shared secret with it is zero, hence known to anybody.
    """
    return _shared_secret(_PROBE, public_key) is None


def _share(stanza: Stanza, number: int) -> bytes:
    if len(stanza.arguments) != _ARGUMENTS:
        raise HeaderError(
            f"stanza {number}: an X25519 stanza has {_ARGUMENTS} arguments, not {len(stanza.arguments)}"
        )
    try:
        share = decode_base64(stanza.arguments[1].encode("ascii"))
    except ValueError as err:
        raise HeaderError(f"stanza {number}: the X25519 share is {err}") from err
    if len(share) != _KEY_BYTES:
        raise HeaderError(f"stanza {number}: an X25519 share has {_KEY_BYTES} bytes, not {len(share)}")
    return share


def _public_key(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def _shared_secret(secret: bytes, public_key: bytes) -> bytes | None:
    """Multiply; None if the product is all zero, as for a point of low order."""
    private = X25519PrivateKey.from_private_bytes(secret)
    public = X25519PublicKey.from_public_bytes(public_key)
    try:
        shared_secret = private.exchange(public)
    except ValueError:  # how `cryptography` says that the product is all zero
        return None
    return shared_secret if any(shared_secret) else None
