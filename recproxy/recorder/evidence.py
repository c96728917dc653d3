"""Evidence that must reach the audit chain, in its order, however often the disk refuses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from recproxy.call.commands import AuditNote, Note
from storage import AuditError, RecordingStore, StorageError

_MOST_UNWRITTEN: Final = 10_000


class Evidence:
    """Appends to the chain; used by the recorder's thread.

    Args:
        store: Has the chain.
        note: Takes lines for the event log.

    Attributes:
        fault: Why nothing can be recorded at present, as far as the chain is concerned.
    """

    def __init__(self, store: RecordingStore, note: Callable[[str, Note], None]) -> None:
        self._store = store
        self._note = note
        self._unwritten: deque[tuple[str, AuditNote]] = deque()
        self.fault: str | None = None

    def add(self, call: str, note: AuditNote) -> None:
        """Append; what cannot be written now is written, in its order, as soon as it can be."""
        if self._unwritten or not self._append(call, note):
            if len(self._unwritten) < _MOST_UNWRITTEN:
                self._unwritten.append((call, note))
            else:
                self._note(call, Note("audit.failed", (("what", note.event), ("why", "too much waits"))))

    def again(self) -> None:
        """Try what could not be written before."""
        while self._unwritten and self._append(*self._unwritten[0]):
            self._unwritten.popleft()

    def failed(self, call: str, err: StorageError) -> None:
        """The chain cannot be written: said once."""
        if self.fault is None:
            self._note(call, Note("audit.failed", (("what", "append"), ("why", str(err)))))
        self.fault = f"the audit chain cannot be written: {err}"

    def synced(self) -> None:
        """The chain was synced: it is well if nothing waits for it."""
        if not self._unwritten:
            self.fault = None

    def _append(self, call: str, note: AuditNote) -> bool:
        """False if it must be tried again."""
        try:
            self._store.audit.append(note.event, {"call": call, **dict(note.fields)}, durable=False)
        except AuditError as err:  # malformed: no later try can help
            self._note(call, Note("audit.failed", (("what", note.event), ("why", str(err)))))
        except StorageError as err:
            self.failed(call, err)
            return False
        return True
