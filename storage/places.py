"""Where the key store is, and how its files are called."""

from __future__ import annotations

from typing import Final

from storage.tags import RecordingId

KEYS_DIRECTORY: Final = "keys"
SHRED_LOCK: Final = "shred.lock"
"""Held while keys are destroyed, exchanged, or made for what is derived from a recording."""


def header_path(recording: RecordingId, purpose: str) -> str:
    """Name of the age header of a recording for one of its purposes."""
    return f"{KEYS_DIRECTORY}/{recording}.{purpose}"
