"""The age payload: a nonce, then chunks of 64 KiB under STREAM (c2sp.org/age, "Payload").

`seal_chunk` and `open_chunk` are deterministic: the same key, counter, final
flag and plaintext give the same bytes, on any machine, at any time. They keep
no state. It is for the caller never to seal two different plaintexts under one
(payload key, counter, final flag): whoever has both could forge chunks.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from storage.age.errors import (
    AgeError,
    ChunkAuthenticationError,
    EmptyFinalChunkError,
    TrailingDataError,
    TruncatedPayloadError,
)
from storage.age.stanza import check_file_key, hkdf

PAYLOAD_NONCE_BYTES: Final = 16
CHUNK_BYTES: Final = 65536
TAG_BYTES: Final = 16
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES

_COUNTER_BYTES: Final = 11
_COUNTERS: Final = 1 << 8 * _COUNTER_BYTES


def payload_key(file_key: bytes, nonce: bytes) -> bytes:
    """Derive the key of a payload.

    Args:
        file_key: 16 bytes.
        nonce: The payload nonce, 16 bytes.

    Returns:
        32 bytes.

    Raises:
        ValueError: A length is wrong.
    """
    check_file_key(file_key)
    if len(nonce) != PAYLOAD_NONCE_BYTES:
        raise ValueError(f"a payload nonce has {PAYLOAD_NONCE_BYTES} bytes, not {len(nonce)}")
    return hkdf(file_key, nonce, b"payload")


def seal_chunk(key: bytes, counter: int, plaintext: bytes, *, final: bool) -> bytes:
    """Encrypt one chunk. Deterministic.

    Args:
        key: Payload key, 32 bytes.
        counter: Number of the chunk, counted from 0.
        plaintext: Exactly 65536 bytes if not final; up to 65536 if final, and
            none only if it is the first chunk too.
        final: Whether this is the last chunk of the payload.

    Returns:
        The sealed chunk, 16 bytes longer than the plaintext.

    Raises:
        ValueError: A length or the counter is out of range.
    """
    if final:
        if len(plaintext) > CHUNK_BYTES:
            raise ValueError(f"a final chunk has at most {CHUNK_BYTES} bytes, not {len(plaintext)}")
        if not plaintext and counter:
            raise ValueError(
                f"final chunk {counter} is empty; only an empty payload may end in an empty chunk: "
                "keep a full chunk back until it is known whether more follows"
            )
    elif len(plaintext) != CHUNK_BYTES:
        raise ValueError(f"a chunk that is not final has exactly {CHUNK_BYTES} bytes, not {len(plaintext)}")
    return ChaCha20Poly1305(key).encrypt(_chunk_nonce(counter, final=final), plaintext, None)


def open_chunk(key: bytes, counter: int, sealed: bytes, *, final: bool) -> bytes:
    """Decrypt one chunk.

    Args:
        key: Payload key, 32 bytes.
        counter: Number of the chunk, counted from 0.
        sealed: The sealed chunk, 16 to 65552 bytes; 65552 if not final.
        final: Whether this is the last chunk of the payload.

    Returns:
        The plaintext.

    Raises:
        ChunkAuthenticationError: The chunk is altered, cut, not number
            `counter`, not final (or final) as said, or of another payload.
        EmptyFinalChunkError: The chunk is empty but not the first.
        ValueError: The counter or the length of the key is out of range.
    """
    nonce = _chunk_nonce(counter, final=final)
    if not TAG_BYTES <= len(sealed) <= SEALED_CHUNK_BYTES or (
        not final and len(sealed) != SEALED_CHUNK_BYTES
    ):
        raise ChunkAuthenticationError(
            counter,
            f"chunk {counter} has {len(sealed)} bytes, a length that {'a final' if final else 'such a'} "
            "chunk cannot have",
        )
    try:
        plaintext = ChaCha20Poly1305(key).decrypt(nonce, sealed, None)
    except InvalidTag as err:
        raise ChunkAuthenticationError(
            counter, f"chunk {counter} does not authenticate: it was altered, moved, or is of another file"
        ) from err
    if not plaintext and counter:
        raise EmptyFinalChunkError(f"final chunk {counter} is empty though the payload is not")
    return plaintext


class PayloadEncryptor:
    """Push writer of one payload: plaintext in, nonce and sealed chunks out.

    A full chunk is kept back until more follows, since the last one must carry
    the final flag.

    Args:
        file_key: 16 bytes.
        nonce: 16 random bytes, fresh for this payload.
    """

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        self._key = payload_key(file_key, nonce)
        self._ready = nonce
        self._buffer = bytearray()
        self._counter = 0
        self._finished = False

    def feed(self, plaintext: bytes) -> bytes:
        """Take more plaintext.

        Args:
            plaintext: Any number of bytes.

        Returns:
            What became final, often nothing: the nonce first, then whole chunks.

        Raises:
            ValueError: The payload is finished.
        """
        if self._finished:
            raise ValueError("the payload is finished; nothing can be added to it")
        self._buffer += plaintext
        pieces = [self._ready]
        self._ready = b""
        taken = 0
        while len(self._buffer) - taken > CHUNK_BYTES:
            chunk = bytes(memoryview(self._buffer)[taken : taken + CHUNK_BYTES])
            pieces.append(seal_chunk(self._key, self._counter, chunk, final=False))
            self._counter += 1
            taken += CHUNK_BYTES
        del self._buffer[:taken]
        return b"".join(pieces)

    def finish(self) -> bytes:
        """Seal the final chunk.

        Returns:
            The rest of the payload, never empty.

        Raises:
            ValueError: The payload is finished already.
        """
        start = self.feed(b"")
        self._finished = True
        final_chunk = seal_chunk(self._key, self._counter, bytes(self._buffer), final=True)
        self._buffer.clear()
        return start + final_chunk


class PayloadDecryptor:
    """Push reader of one payload: nonce and sealed chunks in, plaintext out.

    Whatever `feed` returns is authentic and in its place, but the payload is
    complete only once `finish` returned. An error found behind plaintext of the
    same call is raised by the next call, so that the same bytes give the same
    plaintext and the same error however they are cut.

    Args:
        file_key: 16 bytes.
    """

    def __init__(self, file_key: bytes) -> None:
        check_file_key(file_key)
        self._file_key = file_key
        self._key: bytes | None = None
        self._buffer = bytearray()
        self._counter = 0
        self._final_seen = False
        self._failure: AgeError | None = None
        self._finished = False

    def feed(self, data: bytes) -> bytes:
        """Take more of the payload.

        Args:
            data: Any number of bytes.

        Returns:
            The plaintext that became known, often nothing.

        Raises:
            PayloadError: The payload is not sound; raised again by every later call.
            ValueError: The payload is finished.
        """
        if self._finished:
            raise ValueError("the payload is finished; nothing can be added to it")
        if self._failure is not None:
            raise self._failure
        self._buffer += data
        if self._key is None:
            if len(self._buffer) < PAYLOAD_NONCE_BYTES:
                return b""
            self._key = payload_key(self._file_key, bytes(self._buffer[:PAYLOAD_NONCE_BYTES]))
            del self._buffer[:PAYLOAD_NONCE_BYTES]
        key = self._key
        pieces: list[bytes] = []
        taken = 0
        try:
            while len(self._buffer) - taken >= SEALED_CHUNK_BYTES and not self._final_seen:
                pieces.append(
                    self._open_full(key, bytes(memoryview(self._buffer)[taken : taken + SEALED_CHUNK_BYTES]))
                )
                taken += SEALED_CHUNK_BYTES
            if self._final_seen and len(self._buffer) > taken:
                raise TrailingDataError(f"bytes follow the final chunk, number {self._counter - 1}")
        except AgeError as failure:
            self._failure = failure
            if not pieces:
                raise
        del self._buffer[:taken]
        return b"".join(pieces)

    def finish(self) -> bytes:
        """Say that the data ends here.

        Returns:
            The last of the plaintext; the payload is complete and authentic.

        Raises:
            TruncatedPayloadError: The payload ends before its final chunk.
            PayloadError: The payload is not sound in another way.
            ValueError: The payload is finished already.
        """
        self.feed(b"")
        self._finished = True
        if self._final_seen:
            return b""
        if self._key is None:
            raise TruncatedPayloadError(
                f"the payload ends after {len(self._buffer)} bytes, inside its nonce of {PAYLOAD_NONCE_BYTES}"
            )
        if len(self._buffer) < TAG_BYTES:
            raise TruncatedPayloadError(
                f"the end of the payload was cut off: {self._counter} whole chunks and "
                f"{len(self._buffer)} bytes of another are there, and none is the final one"
            )
        return self._open_short(self._key, bytes(self._buffer))

    def _open_full(self, key: bytes, sealed: bytes) -> bytes:
        """Open a chunk of full length, which may or may not be the final one."""
        try:
            plaintext = open_chunk(key, self._counter, sealed, final=False)
        except ChunkAuthenticationError:
            plaintext = open_chunk(key, self._counter, sealed, final=True)
            self._final_seen = True
        self._counter += 1
        return plaintext

    def _open_short(self, key: bytes, sealed: bytes) -> bytes:
        """Open what is left at the end, less than a full chunk."""
        try:
            return open_chunk(key, self._counter, sealed, final=True)
        except ChunkAuthenticationError as err:
            raise ChunkAuthenticationError(
                self._counter,
                f"chunk {self._counter}, the last {len(sealed)} bytes, does not authenticate as "
                "the final chunk: it was altered or moved, or the end of the payload was cut off",
            ) from err


def _chunk_nonce(counter: int, *, final: bool) -> bytes:
    if not 0 <= counter < _COUNTERS:
        raise ValueError(f"chunk counter {counter} is out of range")
    return counter.to_bytes(_COUNTER_BYTES, "big") + (b"\x01" if final else b"\x00")
