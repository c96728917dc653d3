"""Where the key store is, and how its files are called."""

from __future__ import annotations

from typing import Final

from storage.tags import RecordingId

KEYS_DIRECTORY: Final = "keys"


def header_path(recording: RecordingId, purpose: str) -> str:
    """Name of the age header of a recording for one of its purposes."""
    return f"{KEYS_DIRECTORY}/{recording}.{purpose}"
