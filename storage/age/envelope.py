"""Whole age files: header and payload together, pushed through or as small blobs."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from storage.age.errors import AgeError
from storage.age.header import HeaderParser, seal_header, unwrap_file_key
from storage.age.stanza import FILE_KEY_BYTES, Identity, Random, Recipient, draw
from storage.age.stream import PAYLOAD_NONCE_BYTES, PayloadDecryptor, PayloadEncryptor

if TYPE_CHECKING:
    from collections.abc import Sequence


class Encryptor:
    """Push writer of one age file, under a file key of its own.

    Args:
        recipients: One or more; any one of their identities opens the file.
        random: Source of random bytes.

    Raises:
        ValueError: No recipient, or recipients that must not be mixed.
        RecipientError: A recipient cannot be encrypted to.
    """

    def __init__(self, recipients: Sequence[Recipient], random: Random = secrets.token_bytes) -> None:
        file_key = draw(random, FILE_KEY_BYTES)
        self._ready = seal_header(file_key, recipients, random)
        self._payload = PayloadEncryptor(file_key, draw(random, PAYLOAD_NONCE_BYTES))

    def feed(self, plaintext: bytes) -> bytes:
        """Take more plaintext.

        Args:
            plaintext: Any number of bytes.

        Returns:
            What became final, often nothing: the header first, then the payload.

        Raises:
            ValueError: The file is finished.
        """
        sealed = self._payload.feed(plaintext)
        ready, self._ready = self._ready, b""
        return ready + sealed

    def finish(self) -> bytes:
        """Seal the final chunk.

        Returns:
            The rest of the file, never empty.

        Raises:
            ValueError: The file is finished already.
        """
        sealed = self._payload.finish()
        ready, self._ready = self._ready, b""
        return ready + sealed


class Decryptor:
    """Push reader of one age file.

    Whatever `feed` returns is authentic and in its place, but the file is
    complete only once `finish` returned.

    Args:
        identities: Tried in order.
    """

    def __init__(self, identities: Sequence[Identity]) -> None:
        self._identities = tuple(identities)
        self._header = HeaderParser()
        self._payload: PayloadDecryptor | None = None
        self._failure: AgeError | None = None

    def feed(self, data: bytes) -> bytes:
        """Take more of the file.

        Args:
            data: Any number of bytes.

        Returns:
            The plaintext that became known, often nothing.

        Raises:
            HeaderError: The header does not parse.
            NoMatchError: None of the identities unwraps the file key.
            HeaderMacError: The header was altered.
            PayloadError: The payload is not sound.
            ValueError: The file is finished.
        """
        if self._failure is not None:
            raise self._failure
        if self._payload is not None:
            return self._payload.feed(data)
        try:
            found = self._header.feed(data)
            if found is None:
                return b""
            header, rest = found
            self._payload = PayloadDecryptor(unwrap_file_key(header, self._identities))
        except AgeError as failure:
            self._failure = failure
            raise
        return self._payload.feed(rest)

    def finish(self) -> bytes:
        """Say that the data ends here.

        Returns:
            The last of the plaintext; the file is complete and authentic.

        Raises:
            HeaderError: The file ends before its header does.
            TruncatedPayloadError: The payload ends before its final chunk.
            PayloadError: The payload is not sound in another way.
            ValueError: The file is finished already.
        """
        if self._failure is not None:
            raise self._failure
        if self._payload is None:
            self._header.finish()
        return self._payload.finish()


def encrypt(plaintext: bytes, recipients: Sequence[Recipient], random: Random = secrets.token_bytes) -> bytes:
    """Encrypt a small blob as one age file.

    Args:
        plaintext: Any number of bytes.
        recipients: One or more; any one of their identities opens the blob.
        random: Source of random bytes.

    Returns:
        The age file.

    Raises:
        ValueError: No recipient, or recipients that must not be mixed.
        RecipientError: A recipient cannot be encrypted to.
    """
    encryptor = Encryptor(recipients, random)
    return encryptor.feed(plaintext) + encryptor.finish()


def decrypt(data: bytes, identities: Sequence[Identity]) -> bytes:
    """Decrypt a small blob: all of it or nothing.

    Args:
        data: One age file.
        identities: Tried in order.

    Returns:
        The plaintext, complete and authentic.

    Raises:
        AgeError: One class for each way in which the file is not sound; see
            `Decryptor.feed` and `Decryptor.finish`.
    """
    decryptor = Decryptor(identities)
    return decryptor.feed(data) + decryptor.finish()
