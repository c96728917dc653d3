"""The age header: recipient stanzas and the MAC over them (c2sp.org/age, "Header").

The parser is push-based and strict: what it accepts, `Stanza.serialise` gives
back byte for byte. The MAC is checked over the bytes as they came, never over
bytes written anew.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from storage.age.errors import (
    ArmoredFileError,
    HeaderError,
    HeaderMacError,
    NoMatchError,
    TruncatedHeaderError,
    UnsupportedVersionError,
)
from storage.age.stanza import (
    ARGUMENT,
    COLUMNS,
    STANZA_MARK,
    Identity,
    Random,
    Recipient,
    Stanza,
    check_file_key,
    decode_base64,
    encode_base64,
    hkdf,
)

MAX_HEADER_BYTES: Final = 1 << 20
"""A reader's own bound; a header for 100 hybrid recipients has less than 0.2 MiB."""

_VERSION_PREFIX: Final = b"age-encryption.org/"
_VERSION_LINE: Final = b"age-encryption.org/v1\n"
_ARMOR_PREFIX: Final = b"-----BEGIN AGE "
_MAC_MARK: Final = b"---"
_MAC_BYTES: Final = 32
_STANZA_THAT_STANDS_ALONE: Final = "scrypt"


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header.

    Attributes:
        stanzas: One or more stanzas, in order.
        mac: The header MAC, 32 bytes, not yet checked.
        authenticated: The bytes under the MAC, as they came.
        length_bytes: Length of the whole header; the payload starts there.
    """

    stanzas: tuple[Stanza, ...]
    mac: bytes
    authenticated: bytes
    length_bytes: int


class HeaderParser:
    """Push parser: feed it bytes until it gives a header.

    Args:
        max_bytes: Longest header accepted.
    """

    def __init__(self, max_bytes: int = MAX_HEADER_BYTES) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._line_start = 0
        self._line_number = 0
        self._stanzas: list[Stanza] = []
        self._arguments: tuple[str, ...] = ()  # of the stanza whose body is being read
        self._body = b""

    def feed(self, data: bytes) -> tuple[Header, bytes] | None:
        """Take more bytes of the file.

        Args:
            data: The next bytes, any number.

        Returns:
            None while the header is incomplete; then the header and the bytes
            after it. Feed nothing more after that.

        Raises:
            HeaderError: The bytes are not an age v1 header. Raised as soon as
                that is certain.
        """
        scan_from = len(self._buffer)
        self._buffer += data
        while (end_of_line := self._buffer.find(b"\n", max(scan_from, self._line_start))) >= 0:
            line = bytes(self._buffer[self._line_start : end_of_line])
            self._line_number += 1
            mac = self._line(line)
            if mac is not None:
                authenticated = bytes(self._buffer[: self._line_start + len(_MAC_MARK)])
                header = Header(tuple(self._stanzas), mac, authenticated, end_of_line + 1)
                return header, bytes(self._buffer[end_of_line + 1 :])
            self._line_start = end_of_line + 1
            self._refuse_if_too_long(self._line_start)
        if self._line_number == 0:
            _check_version(bytes(self._buffer), complete=False)
        self._refuse_if_too_long(len(self._buffer))
        return None

    def finish(self) -> NoReturn:
        """Say that the data ends here, before the header did.

        Raises:
            TruncatedHeaderError: Always; the message says how far it came.
        """
        if not self._buffer:
            raise TruncatedHeaderError("the file is empty; an age file starts with its header")
        raise TruncatedHeaderError(
            f"the data ends after {len(self._buffer)} bytes, in header line {self._line_number + 1}, "
            "before the header's MAC line"
        )

    def _refuse_if_too_long(self, length_bytes: int) -> None:
        if length_bytes > self._max_bytes:
            raise HeaderError(f"the header is longer than {self._max_bytes} bytes, the most that is accepted")

    def _line(self, line: bytes) -> bytes | None:
        """Take one line without its LF; give the MAC if it was the MAC line."""
        if self._line_number == 1:
            _check_version(line + b"\n", complete=True)
        elif self._arguments:
            self._body_line(line)
        elif line.startswith(STANZA_MARK):
            self._arguments = self._argument_line(line)
        elif line.startswith(_MAC_MARK):
            return self._mac_line(line)
        else:
            raise self._error('must start a stanza ("-> ") or carry the MAC ("--- ")')
        return None

    def _argument_line(self, line: bytes) -> tuple[str, ...]:
        arguments = line[len(STANZA_MARK) :].split(b" ")
        if not all(ARGUMENT.fullmatch(argument) for argument in arguments):
            raise self._error("must hold words of visible ASCII with one space between two")
        return tuple(argument.decode("ascii") for argument in arguments)

    def _body_line(self, line: bytes) -> None:
        if len(line) > COLUMNS:
            raise self._error(f"is a stanza body line of {len(line)} columns; {COLUMNS} is the most")
        try:
            self._body += decode_base64(line)
        except ValueError as err:
            raise self._error(f"is not the stanza body line that must stand here: {err}") from err
        if len(line) < COLUMNS:
            self._stanzas.append(Stanza(self._arguments, self._body))
            self._arguments, self._body = (), b""

    def _mac_line(self, line: bytes) -> bytes:
        if not self._stanzas:
            raise self._error("carries the MAC, but no recipient stanza stands before it")
        if not line.startswith(_MAC_MARK + b" "):
            raise self._error('must be "--- " and the MAC')
        try:
            mac = decode_base64(line[len(_MAC_MARK) + 1 :])
        except ValueError as err:
            raise self._error(f"carries a MAC that is {err}") from err
        if len(mac) != _MAC_BYTES:
            raise self._error(f"carries a MAC of {len(mac)} bytes; it must have {_MAC_BYTES}")
        return mac

    def _error(self, message: str) -> HeaderError:
        return HeaderError(f"header line {self._line_number} {message}")


def parse_header(data: bytes) -> Header:
    """Parse the header at the start of some bytes.

    Args:
        data: At least the whole header; what follows it is not looked at.

    Returns:
        The header. Its MAC is not yet checked.

    Raises:
        HeaderError: The bytes do not start with an age v1 header.
    """
    parser = HeaderParser()
    found = parser.feed(data)
    if found is None:
        parser.finish()
    return found[0]


def split_header(data: bytes) -> int:
    """Find where the payload of an age file starts.

    Args:
        data: At least the whole header.

    Returns:
        The length of the header in bytes: `data[:n]` is the header, `data[n:]`
        the payload. The MAC is not checked.

    Raises:
        HeaderError: The bytes do not start with an age v1 header.
    """
    return parse_header(data).length_bytes


def seal_header(
    file_key: bytes, recipients: Sequence[Recipient], random: Random = secrets.token_bytes
) -> bytes:
    """Wrap a file key for recipients and write the whole header.

    Args:
        file_key: 16 fresh random bytes, for this file alone.
        recipients: One or more; any one of their identities opens the file.
        random: Source of random bytes.

    Returns:
        The header, from the version line up to and including the MAC line.

    Raises:
        ValueError: No recipient, recipients that must not be mixed, or a file
            key of another length.
        RecipientError: A recipient cannot be encrypted to.
    """
    check_file_key(file_key)
    if not recipients:
        raise ValueError("a file needs at least one recipient; with none, nobody could open it")
    if len({recipient.labels for recipient in recipients}) > 1:
        raise ValueError(
            "these recipients must not be mixed: some are post-quantum and some are not; "
            "use recipients of one kind, or the file is only as strong as the weakest"
        )
    stanzas = [stanza for recipient in recipients for stanza in recipient.wrap(file_key, random)]
    authenticated = _VERSION_LINE + b"".join(stanza.serialise() for stanza in stanzas) + _MAC_MARK
    return authenticated + b" " + encode_base64(_header_mac(file_key, authenticated)) + b"\n"


def open_header(header: bytes, identities: Sequence[Identity]) -> bytes:
    """Unwrap the file key from a detached header and check the header MAC.

    Args:
        header: One whole header and nothing more.
        identities: Tried in order.

    Returns:
        The file key, 16 bytes.

    Raises:
        HeaderError: The header does not parse, or bytes follow it.
        NoMatchError: None of the identities unwraps the file key.
        HeaderMacError: The header was altered.
    """
    parsed = parse_header(header)
    if len(header) > parsed.length_bytes:
        raise HeaderError(
            f"{len(header) - parsed.length_bytes} bytes follow the MAC line; "
            "a header that is kept apart must end with it"
        )
    return unwrap_file_key(parsed, identities)


def unwrap_file_key(header: Header, identities: Sequence[Identity]) -> bytes:
    """Unwrap the file key from a parsed header and check the header MAC.

    Args:
        header: A parsed header.
        identities: Tried in order.

    Returns:
        The file key, 16 bytes.

    Raises:
        HeaderError: A stanza of a type that an identity knows is malformed.
        NoMatchError: None of the identities unwraps the file key.
        HeaderMacError: The header was altered.
    """
    kinds = [stanza.kind for stanza in header.stanzas]
    if _STANZA_THAT_STANDS_ALONE in kinds and len(kinds) > 1:
        raise HeaderError(
            "the header mixes an scrypt stanza with others; a passphrase must be the only way in"
        )
    for identity in identities:
        file_key = identity.unwrap(header.stanzas)
        if file_key is None:
            continue
        check_file_key(file_key)
        if not hmac.compare_digest(_header_mac(file_key, header.authenticated), header.mac):
            raise HeaderMacError("the header MAC does not match: the header was altered after it was written")
        return file_key
    raise NoMatchError(
        f"none of the {len(identities)} identities opens this file; it is for recipients of type "
        + ", ".join(dict.fromkeys(kinds))
    )


def _header_mac(file_key: bytes, authenticated: bytes) -> bytes:
    return hmac.digest(hkdf(file_key, b"", b"header"), authenticated, hashlib.sha256)


def _check_version(start: bytes, *, complete: bool) -> None:
    """Refuse the start of a file that cannot become, or is not, the version line."""
    if start == _VERSION_LINE or (not complete and _VERSION_LINE.startswith(start)):
        return
    if start.startswith(_ARMOR_PREFIX):
        raise ArmoredFileError("the file is ASCII-armored; decode it first, only binary age files are read")
    if not complete and _ARMOR_PREFIX.startswith(start):
        return
    if start.startswith(_VERSION_PREFIX):
        raise UnsupportedVersionError("the version line is not that of age v1, the only version that is read")
    raise HeaderError("the data does not start with an age version line; it is not an age file")
