"""Whole files: round trips, header and payload kept apart, and all or nothing for blobs."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.age import (
    CHUNK_BYTES,
    AgeError,
    ChunkAuthenticationError,
    Decryptor,
    Encryptor,
    HeaderMacError,
    HybridIdentity,
    NoMatchError,
    PayloadDecryptor,
    PayloadEncryptor,
    TruncatedHeaderError,
    TruncatedPayloadError,
    X25519Identity,
    decrypt,
    encrypt,
    open_header,
    payload_key,
    seal_chunk,
    seal_header,
    split_header,
)

IDENTITY = X25519Identity(b"\x11" * 32)
OTHER = X25519Identity(b"\x22" * 32)


def counted_random() -> Callable[[int], bytes]:
    """Give bytes that are known and never the same twice."""
    draws = 0

    def random(length_bytes: int) -> bytes:
        nonlocal draws
        draws += 1
        return hashlib.shake_256(draws.to_bytes(4, "big")).digest(length_bytes)

    return random


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_blob_round_trip_for_each_recipient(plaintext: bytes) -> None:
    data = encrypt(plaintext, [IDENTITY.recipient, OTHER.recipient])
    assert decrypt(data, [IDENTITY]) == plaintext
    assert decrypt(data, [OTHER]) == plaintext
    with pytest.raises(NoMatchError):
        decrypt(data, [X25519Identity(b"\x33" * 32)])


def test_blob_round_trip_post_quantum() -> None:
    identity = HybridIdentity.generate()
    assert (
        decrypt(encrypt(b"+31 20 555 0100", [identity.recipient]), [IDENTITY, identity]) == b"+31 20 555 0100"
    )


def test_same_blob_is_never_the_same_file() -> None:
    assert encrypt(b"x", [IDENTITY.recipient]) != encrypt(b"x", [IDENTITY.recipient])


def test_file_is_a_function_of_its_randomness() -> None:
    first, second = (encrypt(b"x", [IDENTITY.recipient], counted_random()) for _ in range(2))
    assert first == second


def test_every_flipped_bit_of_a_blob_is_refused() -> None:
    data = encrypt(b"+31 20 555 0100", [IDENTITY.recipient])
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(AgeError):
            decrypt(bytes(changed), [IDENTITY])


def test_blob_cut_anywhere_is_refused() -> None:
    data = encrypt(b"+31 20 555 0100", [IDENTITY.recipient])
    for length in range(len(data)):
        with pytest.raises((TruncatedHeaderError, TruncatedPayloadError, ChunkAuthenticationError)):
            decrypt(data[:length], [IDENTITY])


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([0, 1, 65535, 65536, 65537, 131072, 150_000]), st.data())
def test_any_cut_on_both_sides(size: int, data: st.DataObject) -> None:
    plaintext = hashlib.shake_256(b"noise").digest(size)
    encryptor = Encryptor([IDENTITY.recipient])
    cut = data.draw(st.integers(0, size))
    file = encryptor.feed(plaintext[:cut]) + encryptor.feed(plaintext[cut:]) + encryptor.finish()
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=6))), len(file)]
    decryptor = Decryptor([OTHER, IDENTITY])
    pieces = [decryptor.feed(file[start:end]) for start, end in itertools.pairwise(edges)]
    assert b"".join([*pieces, decryptor.finish()]) == plaintext


def test_header_and_body_kept_apart_are_one_file() -> None:
    file_key, nonce = b"k" * 16, b"n" * 16
    plaintext = b"f" * CHUNK_BYTES + b"tail"
    header = seal_header(file_key, [IDENTITY.recipient])
    key = payload_key(file_key, nonce)
    body = (
        nonce
        + seal_chunk(key, 0, plaintext[:CHUNK_BYTES], final=False)
        + seal_chunk(key, 1, b"tail", final=True)
    )
    assert decrypt(header + body, [IDENTITY]) == plaintext
    assert split_header(header + body) == len(header)
    payload = PayloadDecryptor(open_header(header, [IDENTITY]))
    assert payload.feed(body) + payload.finish() == plaintext
    encryptor = PayloadEncryptor(file_key, nonce)
    assert encryptor.feed(plaintext) + encryptor.finish() == body


def test_body_without_its_header_or_under_another_is_refused() -> None:
    first, second = (encrypt(b"audio", [IDENTITY.recipient]) for _ in range(2))
    length = split_header(first)
    with pytest.raises(AgeError):
        decrypt(first[length:], [IDENTITY])
    with pytest.raises(ChunkAuthenticationError):
        decrypt(second[:length] + first[length:], [IDENTITY])


def test_altered_header_fails_before_any_plaintext() -> None:
    data = encrypt(b"audio", [IDENTITY.recipient, OTHER.recipient])
    lines = data.split(b"\n", 5)
    decryptor = Decryptor([IDENTITY])
    with pytest.raises(HeaderMacError):
        decryptor.feed(b"\n".join(lines[:3] + lines[5:]))
    with pytest.raises(HeaderMacError):
        decryptor.feed(b"")
    with pytest.raises(HeaderMacError):
        decryptor.finish()


def test_finished_file_takes_nothing_more() -> None:
    encryptor = Encryptor([IDENTITY.recipient])
    file = encryptor.finish()
    with pytest.raises(ValueError, match="finished"):
        encryptor.feed(b"x")
    decryptor = Decryptor([IDENTITY])
    assert decryptor.feed(file) + decryptor.finish() == b""
    with pytest.raises(ValueError, match="finished"):
        decryptor.finish()


def test_file_needs_a_recipient() -> None:
    with pytest.raises(ValueError, match="at least one recipient"):
        Encryptor([])
