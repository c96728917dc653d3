"""The end of a recording that no chunk holds, in the pieces in which it came."""

from __future__ import annotations

from typing import Final

_MOST_PIECES: Final = 64


class Unsealed:
    """Bytes in a row: more come at the end, chunks leave at the beginning.

    Pieces are kept as they are, and joined when a chunk is made of them: an array that
    grows holds a third more than is in it, for each recording.
    """

    __slots__ = ("_pieces", "_size")

    def __init__(self, data: bytes) -> None:
        """Start with some bytes."""
        self._pieces = [data]
        self._size = len(data)

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)

    def add(self, data: bytes) -> None:
        """Add bytes at the end."""
        if len(self._pieces) >= _MOST_PIECES:
            self._pieces = [bytes(self)]
        self._pieces.append(data)
        self._size += len(data)

    def last(self, count: int) -> bytes:
        """Give the last bytes; they stay.

        Args:
            count: How many, at most as many as there are.
        """
        newest = self._pieces[-1] if self._pieces else b""
        if len(newest) == count:
            return newest
        return bytes(self)[self._size - count :]

    def first(self, count: int) -> bytes:
        """Give the first bytes; they stay.

        Args:
            count: How many, at most as many as there are.
        """
        whole = bytes(self)
        self._pieces = [whole]
        return whole[:count]

    def forget(self, count: int) -> None:
        """Forget the first bytes.

        Args:
            count: How many, at most as many as there are.
        """
        self._pieces = [bytes(self)[count:]]
        self._size -= count

    def clear(self) -> None:
        """Forget everything."""
        self._pieces.clear()
        self._size = 0
