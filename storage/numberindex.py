"""The blind index of telephone numbers: finds the calls of a number that one knows, and no other.

A token is HMAC-SHA256 of the number under the key of a month. That key is derived
(HKDF, RFC 5869) from the root key, which lives outside the data directory, and the
secret of the month, ``index/YYYY-MM``. Without the root key the tokens in a stolen
catalogue say nothing; once the secret of a month is destroyed nobody can make its
tokens again. Numbers have little entropy: whoever holds both keys can try them all,
so the root key is guarded like the recordings.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.age import Random
from storage.durable import destroy, replace, write_new
from storage.errors import KeyFileError
from storage.files import Files
from storage.tags import NumberTokens

INDEX_DIRECTORY: Final = "index"
ROOT_KEY_BYTES: Final = 32
_SECRET_BYTES: Final = 32
_TOKEN_BYTES: Final = 16
_MAX_FILE_BYTES: Final = 1024
_MONTH: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])\Z")


class NumberIndex:
    """Makes the tokens; they are kept in the catalogue, beside the rows they belong to.

    Args:
        files: The data directory; holds the secrets of the months.
        root: The root key, ``ROOT_KEY_BYTES`` long.
        random: Source of randomness.
    """

    def __init__(self, files: Files, root: bytes, random: Random = secrets.token_bytes) -> None:
        self._files = files
        self._root = root
        self._random = random

    def tokens(self, numbers: Iterable[str], started: datetime) -> NumberTokens:
        """Make the tokens of a new recording, and the secret of its month if it is the first.

        For the one process that records: two at once could each make a secret.

        Args:
            numbers: As E.164; empty ones are left out.
            started: Start of the recording (aware).

        Returns:
            The tokens; the secret that they need is durable.

        Raises:
            FileFault: The secret cannot be read or written.
        """
        month = month_of(started)
        key = self._key(month, self._secret(month))
        known = dict.fromkeys(number for number in numbers if number)
        return NumberTokens(month, tuple(_token(key, number) for number in known))

    def lookup(self, number: str) -> Mapping[str, str]:
        """Make the token of a number in every month whose secret still exists.

        Args:
            number: As E.164.

        Returns:
            Tokens by month.

        Raises:
            FileFault: A secret cannot be read.
        """
        return {month: _token(self._key(month, self._read(month)), number) for month in self.months()}

    def months(self) -> tuple[str, ...]:
        """Months whose secret exists, oldest first."""
        return months_with_secret(self._files)

    def _secret(self, month: str) -> bytes:
        if self._files.size(_path(month)) is not None:
            return self._read(month)
        self._files.make_directory(INDEX_DIRECTORY)
        secret = self._random(_SECRET_BYTES)
        replace(self._files, _path(month), secret)
        return secret

    def _read(self, month: str) -> bytes:
        secret = self._files.read(_path(month), 0, _MAX_FILE_BYTES)
        if len(secret) != _SECRET_BYTES:
            raise KeyFileError(
                f"{_path(month)} has {len(secret)} bytes, not {_SECRET_BYTES}: it is damaged; remove it, "
                "the recordings of its month stay findable by time and line"
            )
        return secret

    def _key(self, month: str, secret: bytes) -> bytes:
        info = f"recproxy number index {month}".encode()
        return HKDF(SHA256(), 32, salt=secret, info=info).derive(self._root)


def month_of(instant: datetime) -> str:
    """The month of an instant, UTC, as ``YYYY-MM``."""
    return instant.astimezone(UTC).strftime("%Y-%m")


def months_with_secret(files: Files) -> tuple[str, ...]:
    """Months of which tokens can still be made, oldest first."""
    return tuple(sorted(name for name in files.names(INDEX_DIRECTORY) if _MONTH.match(name)))


def destroy_month(files: Files, month: str) -> bool:
    """Overwrite and unlink the secret of a month: its tokens can never be made again.

    Returns:
        False if it was gone already.

    Raises:
        FileFault: It may still be there; repeat.
    """
    return destroy(files, _path(month))


def generate_root_key(files: Files, name: str, random: Random = secrets.token_bytes) -> None:
    """Make the root key, 0600, as hex digits; the file may not exist.

    Raises:
        FilePresent: It exists; nothing was overwritten.
        FileFault: It cannot be written.
    """
    write_new(files, name, random(ROOT_KEY_BYTES).hex().encode() + b"\n")


def load_root_key(files: Files, name: str) -> bytes:
    """Read the root key.

    Raises:
        KeyFileError: It is no line of hex digits; names the file, never shows it.
        FileFault: It cannot be read.
    """
    text = files.read(name, 0, _MAX_FILE_BYTES).strip()
    try:
        key = bytes.fromhex(text.decode())
    except ValueError as err:
        raise KeyFileError(f'{name}: no line of hex digits: make one with "recproxy keys generate"') from err
    if len(key) != ROOT_KEY_BYTES:
        raise KeyFileError(f"{name}: {len(key)} bytes, not {ROOT_KEY_BYTES}: it is damaged or no index key")
    return key


def _token(key: bytes, number: str) -> str:
    return hmac.new(key, number.encode(), hashlib.sha256).digest()[:_TOKEN_BYTES].hex()


def _path(month: str) -> str:
    return f"{INDEX_DIRECTORY}/{month}"
