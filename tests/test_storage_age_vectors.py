"""Every vector of C2SP/CCTV for age: success, or failure in the stated class."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from storage.age import (
    CHUNK_BYTES,
    PAYLOAD_NONCE_BYTES,
    AgeError,
    Decryptor,
    HeaderError,
    HeaderMacError,
    Identity,
    NoMatchError,
    PassphraseIdentity,
    PayloadEncryptor,
    PayloadError,
    TruncatedPayloadError,
    parse_identity,
)
from storage.age.header import parse_header
from storage.age.stanza import encode_base64

TESTKIT: Final = Path(__file__).parent / "vectors" / "age" / "testkit"
CLASS_OF: Final[dict[str, type[AgeError]]] = {
    "header failure": HeaderError,
    "no match": NoMatchError,
    "HMAC failure": HeaderMacError,
    "payload failure": PayloadError,
}
CUT_INSIDE_THE_NONCE: Final = frozenset({"stream_no_nonce", "stream_short_nonce"})
"""A header failure by the vectors; the specification counts the nonce to the payload, and so do we."""


@dataclass(frozen=True, slots=True)
class Vector:
    name: str
    expect: str
    data: bytes
    identities: tuple[Identity, ...]
    payload_sha256: str | None
    file_key: bytes
    unsupported: str | None

    def read(self, piece_bytes: int) -> tuple[bytes, AgeError | None]:
        """Give all plaintext that was released, and the failure if there was one."""
        decryptor = Decryptor(self.identities)
        released = bytearray()
        try:
            for start in range(0, len(self.data), piece_bytes):
                released += decryptor.feed(self.data[start : start + piece_bytes])
            released += decryptor.finish()
        except AgeError as failure:
            return bytes(released), failure
        return bytes(released), None


def load(path: Path) -> Vector:
    head, data = path.read_bytes().split(b"\n\n", 1)
    fields = [tuple(line.split(": ", 1)) for line in head.decode("utf-8").split("\n")]
    values = {name: value for name, value in fields}  # noqa: C416 - pairs of two, as the type checker must see
    if values.get("compressed") == "zlib":
        data = zlib.decompress(data)
    elif "compressed" in values:
        pytest.fail(f"{path.name}: compression {values['compressed']!r} is not known here")
    unsupported = None
    if "armored" in values:
        unsupported = "armor"
    return Vector(
        name=path.name,
        expect=values["expect"],
        data=data,
        identities=tuple(
            _identity(name, value) for name, value in fields if name in {"identity", "passphrase"}
        ),
        payload_sha256=values.get("payload"),
        file_key=bytes.fromhex(values["file key"]),
        unsupported=unsupported,
    )


def _identity(name: str, value: str) -> Identity:
    return parse_identity(value) if name == "identity" else PassphraseIdentity(value)


_WAYS_IN: Final = {"identity", "passphrase"}
VECTORS: Final = tuple(load(path) for path in sorted(TESTKIT.iterdir()))
SUPPORTED: Final = [vector for vector in VECTORS if vector.unsupported is None]
UNSUPPORTED: Final = [vector for vector in VECTORS if vector.unsupported is not None]


def named(vectors: list[Vector]) -> list[object]:
    return [pytest.param(vector, id=vector.name) for vector in vectors]


def test_no_vector_is_missing_and_none_is_skipped_in_silence() -> None:
    assert len(VECTORS) == 143
    assert Counter(vector.unsupported for vector in VECTORS) == {None: 110, "armor": 33}
    assert Counter(vector.expect for vector in SUPPORTED) == {
        "success": 19,
        "header failure": 60,
        "no match": 12,
        "HMAC failure": 1,
        "payload failure": 18,
    }


@pytest.mark.parametrize("piece_bytes", [1 << 30, 65536, 997, 1])
@pytest.mark.parametrize("vector", named(SUPPORTED))
def test_vector(vector: Vector, piece_bytes: int) -> None:
    if piece_bytes == 1 and len(vector.data) > 200_000:
        vector = Vector(  # one byte at a time: the first chunks are enough
            vector.name,
            "payload failure",
            vector.data[:140_000],
            vector.identities,
            None,
            vector.file_key,
            None,
        )
    released, failure = vector.read(piece_bytes)
    if vector.payload_sha256 is not None:
        assert hashlib.sha256(released).hexdigest() == vector.payload_sha256
    if vector.expect == "success":
        assert failure is None
    elif vector.name in CUT_INSIDE_THE_NONCE:
        assert vector.expect == "header failure"
        assert type(failure) is TruncatedPayloadError
        assert released == b""
    else:
        assert isinstance(failure, CLASS_OF[vector.expect])
        others = [error for expect, error in CLASS_OF.items() if expect != vector.expect]
        assert not isinstance(failure, tuple(others))


@pytest.mark.parametrize("vector", named(UNSUPPORTED))
def test_vector_of_an_unsupported_kind_is_refused_and_releases_nothing(vector: Vector) -> None:
    released, failure = vector.read(4096)
    assert released == b""
    assert isinstance(failure, HeaderError)


@pytest.mark.parametrize(
    "vector",
    named(
        [
            vector
            for vector in VECTORS
            if vector.unsupported != "armor"
            and (vector.expect != "header failure" or vector.name in CUT_INSIDE_THE_NONCE)
        ]
    ),
)
def test_header_that_parses_is_written_back_byte_for_byte(vector: Vector) -> None:
    header = parse_header(vector.data)
    stanzas = b"".join(stanza.serialise() for stanza in header.stanzas)
    written = b"age-encryption.org/v1\n" + stanzas + b"--- " + encode_base64(header.mac) + b"\n"
    assert written == vector.data[: header.length_bytes]


@pytest.mark.parametrize("vector", named([vector for vector in SUPPORTED if vector.expect == "success"]))
def test_payload_is_sealed_again_byte_for_byte(vector: Vector) -> None:
    plaintext, failure = vector.read(CHUNK_BYTES)
    assert failure is None
    payload = vector.data[parse_header(vector.data).length_bytes :]
    encryptor = PayloadEncryptor(vector.file_key, payload[:PAYLOAD_NONCE_BYTES])
    assert encryptor.feed(plaintext) + encryptor.finish() == payload
