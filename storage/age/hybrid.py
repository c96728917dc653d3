"""The hybrid post-quantum recipient type (c2sp.org/age, "The MLKEM768-X25519 … recipient type").

A file encrypted to it stays closed while either ML-KEM-768 or X25519 stands, so
what is stored today is safe from a quantum computer of later years. HPKE
(RFC 9180) and both KEMs are those of `cryptography`; this module adds the key
encoding and the stanza. Public strings start with `age1pq1`, secret ones with
`AGE-SECRET-KEY-PQ-1`; the `age` program reads them from version 1.3 on.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

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
)
from storage.age.x25519 import is_low_order

if TYPE_CHECKING:
    from collections.abc import Sequence

RECIPIENT_PREFIX: Final = "age1pq"
IDENTITY_PREFIX: Final = "AGE-SECRET-KEY-PQ-"

_KIND: Final = "mlkem768x25519"
_INFO: Final = b"age-encryption.org/mlkem768x25519"
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_SEED_BYTES: Final = 32
_MLKEM_SEED_BYTES: Final = 64
_X25519_BYTES: Final = 32
_MLKEM_PUBLIC_BYTES: Final = 1184
_PUBLIC_BYTES: Final = _MLKEM_PUBLIC_BYTES + _X25519_BYTES
_MLKEM_CIPHERTEXT_BYTES: Final = 1088
_ENCAPSULATED_BYTES: Final = _MLKEM_CIPHERTEXT_BYTES + _X25519_BYTES
_WRAPPED_BYTES: Final = FILE_KEY_BYTES + 16
_ARGUMENTS: Final = 2


@dataclass(frozen=True, slots=True)
class HybridRecipient:
    """A post-quantum public key that files are encrypted to.

    Attributes:
        public_key: 1216 bytes: the ML-KEM-768 encapsulation key, then the
            X25519 point.

    Raises:
        RecipientError: Another length, an encapsulation key that FIPS 203
            refuses, or an X25519 point of low order.
    """

    public_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse keys that cannot be encrypted to, or not safely."""
        if len(self.public_key) != _PUBLIC_BYTES:
            raise RecipientError(f"a hybrid recipient has {_PUBLIC_BYTES} bytes, not {len(self.public_key)}")
        if is_low_order(self.public_key[_MLKEM_PUBLIC_BYTES:]):
            raise RecipientError("the X25519 part of the recipient is a point of low order")
        try:
            self._hpke_key()
        except ValueError as err:
            raise RecipientError("the ML-KEM part of the recipient is not an encapsulation key") from err

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the string form.

        Args:
            text: `age1pq1…`, without space around it.

        Returns:
            The recipient.

        Raises:
            KeyFormatError: The string is not a hybrid recipient.
        """
        prefix, public_key = bech32.decode(text)
        if prefix != RECIPIENT_PREFIX:
            raise RecipientError('a hybrid recipient starts with "age1pq1" in lower case')
        return cls(public_key)

    def __str__(self) -> str:
        return bech32.encode(RECIPIENT_PREFIX, self.public_key)

    @property
    def labels(self) -> frozenset[str]:
        """Keeps the recipient from standing beside one that is not post-quantum."""
        return frozenset({"postquantum"})

    def wrap(self, file_key: bytes, random: Random = secrets.token_bytes) -> tuple[Stanza, ...]:
        """Wrap a file key.

        Args:
            file_key: 16 bytes.
            random: Not drawn from: HPKE draws from the operating system itself.

        Returns:
            One stanza.

        Raises:
            ValueError: The file key has another length.
        """
        del random
        check_file_key(file_key)
        sealed = _SUITE.encrypt(file_key, self._hpke_key(), _INFO)
        share = encode_base64(sealed[:_ENCAPSULATED_BYTES]).decode("ascii")
        return (Stanza((_KIND, share), sealed[_ENCAPSULATED_BYTES:]),)

    def _hpke_key(self) -> MLKEM768X25519PublicKey:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(self.public_key[:_MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(self.public_key[_MLKEM_PUBLIC_BYTES:]),
        )


@dataclass(frozen=True, slots=True)
class HybridIdentity:
    """A post-quantum secret key that opens files. Its seed is in no `repr` and no message.

    Attributes:
        seed: 32 bytes.

    Raises:
        IdentityError: The seed has another length.
    """

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse seeds of another length."""
        if len(self.seed) != _SEED_BYTES:
            raise IdentityError(f"a hybrid identity has {_SEED_BYTES} bytes, not {len(self.seed)}")

    @classmethod
    def generate(cls, random: Random = secrets.token_bytes) -> Self:
        """Make a new identity.

        Args:
            random: Source of random bytes; 32 are drawn.

        Returns:
            The identity.
        """
        return cls(draw(random, _SEED_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the string form.

        Args:
            text: `AGE-SECRET-KEY-PQ-1…`, without space around it.

        Returns:
            The identity.

        Raises:
            KeyFormatError: The string is not a hybrid identity; the message
                does not show it.
        """
        prefix, seed = bech32.decode(text)
        if prefix != IDENTITY_PREFIX:
            raise IdentityError('a hybrid identity starts with "AGE-SECRET-KEY-PQ-1" in upper case')
        return cls(seed)

    def secret_text(self) -> str:
        """Give the string form, `AGE-SECRET-KEY-PQ-1…`: for a key file and nothing else."""
        return bech32.encode(IDENTITY_PREFIX, self.seed)

    @property
    def recipient(self) -> HybridRecipient:
        """The recipient that this identity opens files for."""
        mlkem, x25519 = self._key_pairs()
        return HybridRecipient(mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw())

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Unwrap the file key from the first stanza that is for this identity.

        Args:
            stanzas: All stanzas of one header, in order.

        Returns:
            The file key of 16 bytes, or None if no stanza is for this identity.

        Raises:
            HeaderError: A hybrid stanza before that one is malformed.
        """
        key = MLKEM768X25519PrivateKey(*self._key_pairs())
        for number, stanza in enumerate(stanzas, start=1):
            if stanza.kind != _KIND:
                continue
            encapsulated = _encapsulated_key(stanza, number)
            try:
                return _SUITE.decrypt(encapsulated + stanza.body, key, _INFO)
            except InvalidTag:
                continue
        return None

    def _key_pairs(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        """Expand the seed (X-Wing: SHAKE256 to an ML-KEM seed and an X25519 secret)."""
        expanded = hashlib.shake_256(self.seed).digest(_MLKEM_SEED_BYTES + _X25519_BYTES)
        return (
            MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES]),
            X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:]),
        )


def _encapsulated_key(stanza: Stanza, number: int) -> bytes:
    """Check a stanza of our type and give its encapsulated key."""
    if len(stanza.arguments) != _ARGUMENTS:
        raise HeaderError(
            f"stanza {number}: a hybrid stanza has {_ARGUMENTS} arguments, not {len(stanza.arguments)}"
        )
    try:
        encapsulated = decode_base64(stanza.arguments[1].encode("ascii"))
    except ValueError as err:
        raise HeaderError(f"stanza {number}: the encapsulated key is {err}") from err
    if len(encapsulated) != _ENCAPSULATED_BYTES:
        raise HeaderError(
            f"stanza {number}: an encapsulated key has {_ENCAPSULATED_BYTES} bytes, not {len(encapsulated)}"
        )
    if len(stanza.body) != _WRAPPED_BYTES:
        raise HeaderError(
            f"stanza {number}: a hybrid body has {_WRAPPED_BYTES} bytes, not {len(stanza.body)}"
        )
    if is_low_order(encapsulated[_MLKEM_CIPHERTEXT_BYTES:]):
        raise HeaderError(f"stanza {number}: the X25519 share is a point of low order, which is not allowed")
    return encapsulated
