"""What a party said no to: destroyed at once, and what resists is tried again until it is gone."""

from __future__ import annotations

from collections.abc import Callable

from recproxy.call.commands import Note
from recproxy.media import Clock
from recproxy.recorder.live import Live
from storage import RecordingStore, StorageError

__all__ = ["Refusals"]


class Refusals:
    """Whole recordings and single purposes of them; used by the recorder's thread.

    Args:
        store: Where they are.
        clock: Time.
        note: Takes lines for the event log.
    """

    def __init__(self, store: RecordingStore, clock: Clock, note: Callable[[str, Note], None]) -> None:
        self._store = store
        self._clock = clock
        self._note = note
        self._doomed: list[tuple[Live, str]] = []
        self._ending: list[tuple[Live, str, str]] = []
        self._told: set[tuple[str, str]] = set()
        self._closed: dict[str, list[Live]] = {}
        self._withdrawn: list[tuple[Live, str, str]] = []

    def discard(self, live: Live, reason: str) -> None:
        """Destroy a recording; it is never sealed."""
        self._doomed.append((live, reason))
        self.again()

    def drop(self, live: Live, purpose: str, reason: str) -> None:
        """Destroy the key of one purpose; the recording goes on, and may be sealed meanwhile."""
        if live.terms.pop(purpose, None) is None:
            return
        self._ending.append((live, purpose, reason))
        self.again()

    def closed(self, live: Live) -> None:
        """A recording of a call that goes on is closed: a no to one of its purposes reaches it still."""
        self._closed.setdefault(live.call, []).append(live)

    def forget(self, call: str) -> None:
        """The call is over."""
        self._closed.pop(call, None)

    def withdraw(self, call: str, purposes: tuple[str, ...] | None, reason: str) -> None:
        """Destroy what was closed before, for these purposes or for all."""
        for live in self._closed.get(call, []):
            for purpose in tuple(live.terms) if purposes is None else purposes:
                if len(live.terms) > 1:
                    self.drop(live, purpose, reason)
                elif live.terms.pop(purpose, None) is not None:
                    self._withdrawn.append((live, purpose, reason))
        self.again()

    def again(self) -> None:
        """Destroy what there still is."""
        doomed, self._doomed = self._doomed, []
        for live, reason in doomed:
            try:
                live.writer.discard(reason, self._clock.utcnow())
            except StorageError as err:
                self._doomed.append((live, reason))
                self._resists(live, f"discarding recording {live.recording.text}", err)
                continue
            fields = (("recording", live.recording.text), ("purpose", live.purpose), ("reason", reason))
            self._note(live.call, Note("recording.discarded", fields))
        ending, self._ending = self._ending, []
        for live, purpose, reason in ending:
            try:
                self._store.drop_purpose(live.recording, purpose, reason, self._clock.utcnow())
            except StorageError as err:
                self._ending.append((live, purpose, reason))
                self._resists(live, f"ending {purpose} of recording {live.recording.text}", err)
                continue
            fields = (("recording", live.recording.text), ("purpose", purpose), ("reason", reason))
            self._note(live.call, Note("recording.purpose_ended", fields))

        withdrawn, self._withdrawn = self._withdrawn, []
        for live, purpose, reason in withdrawn:
            try:
                self._store.withdraw(live.recording, reason)
            except StorageError as err:
                self._withdrawn.append((live, purpose, reason))
                self._resists(live, f"withdrawing recording {live.recording.text}", err)
                continue
            fields = (("recording", live.recording.text), ("purpose", purpose), ("reason", reason))
            self._note(live.call, Note("recording.discarded", fields))

    def _resists(self, live: Live, what: str, err: StorageError) -> None:
        """Say so once for each reason: it is tried at every sync."""
        why = str(err)
        if (what, why) not in self._told:
            self._told.add((what, why))
            self._note(live.call, Note("disk.failed", (("what", what), ("why", why))))
