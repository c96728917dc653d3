"""What the storage package asks of an object store that holds sealed bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["Objects", "ReadPart"]

ReadPart = Callable[[int, int], bytes]
"""Reads a local body: up to so many bytes from an offset."""


class Objects(Protocol):
    """Objects under keys, as an S3 bucket has them; every method may raise ``RemoteFault``."""

    def size(self, key: str) -> int | None:
        """Length of an object in bytes; None if there is none."""

    def pieces(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """Read an object from an offset to its end, in pieces of bounded size.

        Raises:
            BodyMissing: There is no such object.
        """

    def upload(self, key: str, size_bytes: int, read: ReadPart) -> None:
        """Write an object; goes on with what an earlier try has left.

        Args:
            key: Its key.
            size_bytes: Its length.
            read: Gives its content, which does not change.
        """

    def delete(self, key: str) -> bool:
        """Remove an object with all its versions, and what unfinished uploads have left; may be repeated.

        Returns:
            False if there was none.
        """

    def keys(self) -> Iterator[str]:
        """Keys of all objects."""
