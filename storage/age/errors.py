"""What can be wrong with an age file or an age key, one class for each failure class.

The tree holds what *data* can cause. A wrong call (a chunk that is too long, a
counter out of range) is a `ValueError` and a bug of the caller.

    AgeError
    ├── HeaderError             the header does not parse, or a stanza is malformed
    │   ├── UnsupportedVersionError
    │   ├── ArmoredFileError
    │   └── TruncatedHeaderError
    ├── NoMatchError            the header parses; no identity unwraps the file key
    ├── HeaderMacError          the file key unwraps; the header was altered
    ├── PayloadError            the header is sound; the payload is not
    │   ├── TruncatedPayloadError
    │   ├── ChunkAuthenticationError
    │   ├── EmptyFinalChunkError
    │   └── TrailingDataError
    └── KeyFormatError          a recipient, an identity or a file of them does not parse
        ├── Bech32Error
        ├── RecipientError
        │   └── SecretInRecipientsError
        └── IdentityError
"""

from __future__ import annotations


class AgeError(Exception):
    """Root of the age errors; never raised itself."""


class HeaderError(AgeError):
    """The header does not parse, or a stanza for one of our types is malformed."""


class UnsupportedVersionError(HeaderError):
    """The version line names an age version other than v1."""


class ArmoredFileError(HeaderError):
    """The file is ASCII-armored; only binary age files are read."""


class TruncatedHeaderError(HeaderError):
    """The data ends before the line that carries the header MAC."""


class NoMatchError(AgeError):
    """The header parses, but none of the identities unwraps the file key."""


class HeaderMacError(AgeError):
    """The file key unwraps, but the header MAC does not match: the header was altered."""


class PayloadError(AgeError):
    """The header is sound, the payload is not."""


class TruncatedPayloadError(PayloadError):
    """The payload ends before its final chunk, or inside its nonce."""


class ChunkAuthenticationError(PayloadError):
    """A chunk does not authenticate: altered, cut, out of place, or of another file.

    Attributes:
        counter: The number of the chunk, counted from 0.
    """

    def __init__(self, counter: int, message: str) -> None:
        super().__init__(message)
        self.counter = counter


class EmptyFinalChunkError(PayloadError):
    """The final chunk is empty though the payload is not."""


class TrailingDataError(PayloadError):
    """Bytes follow the final chunk."""


class KeyFormatError(AgeError):
    """A recipient, an identity or a file of them does not parse."""


class Bech32Error(KeyFormatError):
    """A string is not valid Bech32."""


class RecipientError(KeyFormatError):
    """A recipient does not parse or cannot be encrypted to."""


class SecretInRecipientsError(RecipientError):
    """A secret key stands where a recipient must stand."""


class IdentityError(KeyFormatError):
    """An identity does not parse."""
