"""Where recordings go: room on the disk, and a catalogue that answers."""

from __future__ import annotations

from collections.abc import Callable

from recproxy.call.commands import Note
from storage import RecordingStore, StorageError

__all__ = ["Places"]


class Places:
    """Looked at by the recorder's thread.

    Args:
        store: Has both.
        min_free_bytes: With less room nothing is recorded.
        note: Takes lines for the event log.
    """

    def __init__(self, store: RecordingStore, min_free_bytes: int, note: Callable[[str, Note], None]) -> None:
        self._store = store
        self._min_free_bytes = min_free_bytes
        self._note = note
        self._told: dict[str, str | None] = {"space": None, "catalogue": None}

    @property
    def fault(self) -> str | None:
        """Why nothing can be recorded there at present; any thread."""
        return self._told["space"] or self._store.catalogue.fault

    def look(self) -> None:
        """See what has changed, and say so."""
        self._tell("space", self._short_of_space())
        self._tell("catalogue", self._store.catalogue.fault)

    def _tell(self, what: str, fault: str | None) -> None:
        before, self._told[what] = self._told[what], fault
        if before is None and fault is not None:
            self._note("", Note("disk.failed", (("what", what), ("why", fault))))
        elif before is not None and fault is None:
            self._note("", Note("disk.recovered", (("what", what),)))

    def _short_of_space(self) -> str | None:
        try:
            free = self._store.free_bytes()
        except StorageError as err:
            return str(err)
        if free >= self._min_free_bytes:
            return None
        return f"{free >> 20} MiB of disk left, {self._min_free_bytes >> 20} needed"
