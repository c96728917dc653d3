"""The payload: chunk boundaries, any cut of the input, and each kind of damage in its class."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.age import (
    CHUNK_BYTES,
    PAYLOAD_NONCE_BYTES,
    SEALED_CHUNK_BYTES,
    AgeError,
    ChunkAuthenticationError,
    EmptyFinalChunkError,
    PayloadDecryptor,
    PayloadEncryptor,
    PayloadError,
    TrailingDataError,
    TruncatedPayloadError,
    open_chunk,
    payload_key,
    seal_chunk,
)

FILE_KEY = b"YELLOW SUBMARINE"
NONCE = bytes(range(16))
KEY = payload_key(FILE_KEY, NONCE)
BOUNDARIES = [0, 1, 15, 16, 17, 65535, 65536, 65537, 131071, 131072, 131073, 200_000]
SIZES = st.sampled_from(BOUNDARIES) | st.integers(0, 140_000)


def noise(length_bytes: int) -> bytes:
    """Give bytes of no pattern, the same each time."""
    return hashlib.shake_256(b"noise").digest(length_bytes)


def sealed(plaintext: bytes) -> bytes:
    encryptor = PayloadEncryptor(FILE_KEY, NONCE)
    return encryptor.feed(plaintext) + encryptor.finish()


def read(
    payload: bytes, cuts: list[int] | None = None, file_key: bytes = FILE_KEY
) -> tuple[bytes, AgeError | None]:
    """Give all plaintext that was released, and the failure if there was one."""
    decryptor = PayloadDecryptor(file_key)
    released = bytearray()
    edges = [0, *sorted(cuts or []), len(payload)]
    try:
        for start, end in itertools.pairwise(edges):
            released += decryptor.feed(payload[start:end])
        released += decryptor.finish()
    except AgeError as failure:
        return bytes(released), failure
    return bytes(released), None


def chunks(payload: bytes) -> list[bytes]:
    body = payload[PAYLOAD_NONCE_BYTES:]
    return [body[start : start + SEALED_CHUNK_BYTES] for start in range(0, len(body), SEALED_CHUNK_BYTES)]


@pytest.mark.parametrize("size", BOUNDARIES)
def test_round_trip_at_the_boundaries(size: int) -> None:
    payload = sealed(noise(size))
    assert read(payload) == (noise(size), None)
    whole, left = divmod(size, CHUNK_BYTES)
    expected = whole + (1 if left or not size else 0)
    assert len(chunks(payload)) == expected
    assert len(payload) == PAYLOAD_NONCE_BYTES + size + 16 * expected


@pytest.mark.parametrize("size", BOUNDARIES)
def test_payload_is_the_nonce_and_the_sealed_chunks(size: int) -> None:
    plaintext = noise(size)
    starts = list(range(0, size, CHUNK_BYTES)) or [0]
    by_chunk = b"".join(
        seal_chunk(KEY, counter, plaintext[start : start + CHUNK_BYTES], final=start == starts[-1])
        for counter, start in enumerate(starts)
    )
    assert sealed(plaintext) == NONCE + by_chunk


@settings(deadline=None, max_examples=60)
@given(SIZES, st.data())
def test_any_cut_of_the_plaintext_gives_the_same_payload(size: int, data: st.DataObject) -> None:
    plaintext = noise(size)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    encryptor = PayloadEncryptor(FILE_KEY, NONCE)
    pieces = [encryptor.feed(plaintext[a:b]) for a, b in zip([0, *cuts], [*cuts, size], strict=True)]
    assert b"".join([*pieces, encryptor.finish()]) == sealed(plaintext)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.data())
def test_any_cut_of_the_payload_gives_the_same_plaintext(size: int, data: st.DataObject) -> None:
    payload = sealed(noise(size))
    edge = st.integers(0, len(payload)) | st.sampled_from([16, 16 + SEALED_CHUNK_BYTES, 17]).filter(
        lambda cut: cut <= len(payload)
    )
    assert read(payload, data.draw(st.lists(edge, max_size=6))) == (noise(size), None)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.data())
def test_flipped_bit_is_found_however_the_payload_is_cut(size: int, data: st.DataObject) -> None:
    payload = bytearray(sealed(noise(size)))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] ^= 1 << data.draw(st.integers(0, 7))
    damaged = max(position - PAYLOAD_NONCE_BYTES, 0) // SEALED_CHUNK_BYTES
    released, failure = read(bytes(payload), data.draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    assert isinstance(failure, ChunkAuthenticationError)
    assert failure.counter == damaged
    assert released == noise(size)[: damaged * CHUNK_BYTES]


@settings(deadline=None, max_examples=60)
@given(SIZES, st.data())
def test_cut_tail_is_found_and_whole_chunks_are_released(size: int, data: st.DataObject) -> None:
    payload = sealed(noise(size))
    whole_chunks = st.integers(0, len(payload) // SEALED_CHUNK_BYTES).map(
        lambda count: PAYLOAD_NONCE_BYTES + count * SEALED_CHUNK_BYTES
    )
    length = data.draw(
        (st.integers(0, len(payload) - 1) | whole_chunks).filter(lambda cut: cut < len(payload))
    )
    released, failure = read(payload[:length])
    left = max(length - PAYLOAD_NONCE_BYTES, 0) % SEALED_CHUNK_BYTES
    assert type(failure) is (TruncatedPayloadError if left < 16 else ChunkAuthenticationError)
    assert released == noise(size)[: max(length - PAYLOAD_NONCE_BYTES, 0) // SEALED_CHUNK_BYTES * CHUNK_BYTES]


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(BOUNDARIES), st.binary(min_size=1, max_size=40), st.data())
def test_bytes_behind_the_end_are_found(size: int, tail: bytes, data: st.DataObject) -> None:
    payload = sealed(noise(size)) + tail
    released, failure = read(payload, data.draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    if size and size % CHUNK_BYTES == 0:
        assert type(failure) is TrailingDataError
        assert released == noise(size)
    else:  # behind a short chunk it cannot be told from damage to that chunk
        assert isinstance(failure, PayloadError)
        assert released == noise(size)[: size // CHUNK_BYTES * CHUNK_BYTES]


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 2, 1], [2, 1, 0], [0, 0, 2], [0, 2], [1, 2], [0, 1, 1, 2]])
def test_swapped_repeated_or_missing_chunks_are_refused(order: list[int]) -> None:
    plaintext = noise(3 * CHUNK_BYTES)
    parts = chunks(sealed(plaintext))
    assert len(parts) == 3
    released, failure = read(NONCE + b"".join(parts[number] for number in order))
    sound = next(place for place, number in enumerate([*order, -1]) if number != place)
    assert type(failure) is ChunkAuthenticationError
    assert failure.counter == sound
    assert released == plaintext[: sound * CHUNK_BYTES]


def test_chunk_of_another_file_is_refused() -> None:
    other = PayloadEncryptor(FILE_KEY, b"\xff" * 16)
    foreign = other.feed(noise(2 * CHUNK_BYTES)) + other.finish()
    _, failure = read(NONCE + chunks(sealed(noise(2 * CHUNK_BYTES)))[0] + chunks(foreign)[1])
    assert type(failure) is ChunkAuthenticationError
    assert type(read(sealed(b"x"), file_key=bytes(16))[1]) is ChunkAuthenticationError


def test_empty_final_chunk_behind_others_is_refused() -> None:
    empty = ChaCha20Poly1305(KEY).encrypt((1).to_bytes(11, "big") + b"\x01", b"", None)
    released, failure = read(NONCE + seal_chunk(KEY, 0, noise(CHUNK_BYTES), final=False) + empty)
    assert type(failure) is EmptyFinalChunkError
    assert released == noise(CHUNK_BYTES)
    with pytest.raises(EmptyFinalChunkError):
        open_chunk(KEY, 1, empty, final=True)


def test_short_chunk_that_is_not_final_is_refused() -> None:
    short = ChaCha20Poly1305(KEY).encrypt(bytes(12), b"short", None)
    _, failure = read(NONCE + short)
    assert type(failure) is ChunkAuthenticationError
    with pytest.raises(ChunkAuthenticationError, match="length"):
        open_chunk(KEY, 0, short, final=False)


def test_payload_of_whole_chunks_without_the_final_one_is_truncated() -> None:
    released, failure = read(NONCE + seal_chunk(KEY, 0, noise(CHUNK_BYTES), final=False))
    assert type(failure) is TruncatedPayloadError
    assert released == noise(CHUNK_BYTES)


@pytest.mark.parametrize("whole", [0, 1])
@pytest.mark.parametrize("left", range(18))
def test_rest_that_is_shorter_than_a_tag_is_truncated(whole: int, left: int) -> None:
    payload = sealed(noise(CHUNK_BYTES + 100 if whole else 100))
    released, failure = read(payload[: PAYLOAD_NONCE_BYTES + whole * SEALED_CHUNK_BYTES + left])
    assert type(failure) is (TruncatedPayloadError if left < 16 else ChunkAuthenticationError)
    assert released == noise(whole * CHUNK_BYTES)


@pytest.mark.parametrize("length", range(17))
def test_payload_without_a_chunk_is_truncated(length: int) -> None:
    assert type(read(sealed(b"")[:length])[1]) is TruncatedPayloadError


def test_failure_stays_and_waits_for_the_plaintext_before_it() -> None:
    payload = bytearray(sealed(noise(3 * CHUNK_BYTES)))
    payload[-1] ^= 1
    decryptor = PayloadDecryptor(FILE_KEY)
    assert decryptor.feed(bytes(payload)) == noise(2 * CHUNK_BYTES)
    for _ in range(2):
        with pytest.raises(ChunkAuthenticationError, match="chunk 2"):
            decryptor.feed(b"")
        with pytest.raises(ChunkAuthenticationError, match="chunk 2"):
            decryptor.finish()


def test_full_chunk_is_kept_back_until_more_follows() -> None:
    encryptor = PayloadEncryptor(FILE_KEY, NONCE)
    assert encryptor.feed(noise(CHUNK_BYTES)) == NONCE
    assert len(encryptor.feed(b"x")) == SEALED_CHUNK_BYTES
    assert encryptor.feed(b"") == b""


def test_each_counter_and_flag_has_a_nonce_of_its_own() -> None:
    plaintext = noise(CHUNK_BYTES)
    outputs = {
        seal_chunk(KEY, counter, plaintext, final=final)
        for counter in (0, 1, 255, 256, 2**88 - 1)
        for final in (False, True)
    }
    assert len(outputs) == 10
    assert seal_chunk(KEY, 258, plaintext, final=True) == ChaCha20Poly1305(KEY).encrypt(
        b"\0\0\0\0\0\0\0\0\0\x01\x02\x01", plaintext, None
    )


@pytest.mark.parametrize(
    ("counter", "length", "final", "reason"),
    [
        (0, CHUNK_BYTES + 1, True, "at most 65536"),
        (0, CHUNK_BYTES - 1, False, "exactly 65536"),
        (0, CHUNK_BYTES + 1, False, "exactly 65536"),
        (0, 0, False, "exactly 65536"),
        (1, 0, True, "empty"),
        (-1, 5, True, "out of range"),
        (2**88, 5, True, "out of range"),
    ],
)
def test_chunk_that_must_not_be_is_not_sealed(counter: int, length: int, final: bool, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        seal_chunk(KEY, counter, bytes(length), final=final)


@pytest.mark.parametrize("length", [0, 15, SEALED_CHUNK_BYTES + 1])
def test_chunk_of_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(ChunkAuthenticationError, match=f"has {length} bytes"):
        open_chunk(KEY, 0, bytes(length), final=True)


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes, not 15"):
        payload_key(FILE_KEY[:15], NONCE)
    with pytest.raises(ValueError, match="16 bytes, not 12"):
        payload_key(FILE_KEY, NONCE[:12])
    with pytest.raises(ValueError, match="16 bytes, not 32"):
        PayloadDecryptor(bytes(32))
    encryptor = PayloadEncryptor(FILE_KEY, NONCE)
    payload = encryptor.finish()
    with pytest.raises(ValueError, match="finished"):
        encryptor.feed(b"x")
    with pytest.raises(ValueError, match="finished"):
        encryptor.finish()
    decryptor = PayloadDecryptor(FILE_KEY)
    assert decryptor.feed(payload) + decryptor.finish() == b""
    with pytest.raises(ValueError, match="finished"):
        decryptor.feed(b"x")
    with pytest.raises(ValueError, match="finished"):
        decryptor.finish()
