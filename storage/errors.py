"""Errors of the storage package."""

from __future__ import annotations

from typing import ClassVar


class StorageError(Exception):
    """Root of the storage errors; never raised itself.

    Attributes:
        permanent: True if trying again cannot help.
    """

    permanent: ClassVar[bool] = True


class TagError(StorageError):
    """A tag of a recording is missing, malformed or contradicts another."""
