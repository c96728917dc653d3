"""Recordings that are over: sealed together, and again when the catalogue was not there for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from recproxy.call.commands import Note
from recproxy.recorder.live import Live
from storage import CatalogueBusy, RecordingStore, SealedRecording, SealFacts, StorageError

__all__ = ["Finished", "Seals"]

Finished: TypeAlias = tuple[Live, SealFacts]


class Seals:
    """Used by the recorder's thread.

    A body that is published without its row is safe: log and key of the log stay until the row
    says that it is sealed. Only the catalogue can keep it from that, and it comes back.

    Args:
        store: Where they are.
        note: Takes lines for the event log.
    """

    def __init__(self, store: RecordingStore, note: Callable[[str, Note], None]) -> None:
        self._store = store
        self._note = note
        self._waiting: list[Finished] = []

    def __len__(self) -> int:
        """How many wait for the catalogue."""
        return len(self._waiting)

    def seal(self, finished: Sequence[Finished]) -> list[tuple[Live, Exception]]:
        """Make recordings final.

        Args:
            finished: Recordings that have all their audio, and what is known of them.

        Returns:
            Those that cannot become it, and why; each must be given up.
        """
        if not finished:
            return []
        outcomes: Sequence[SealedRecording | StorageError]
        try:
            outcomes = self._store.seal_together([(live.writer, facts) for live, facts in finished])
        except Exception as err:  # noqa: BLE001 - the boundary: these recordings' fault ends them only
            return [(live, err) for live, _ in finished]
        lost: list[tuple[Live, Exception]] = []
        for (live, facts), outcome in zip(finished, outcomes, strict=True):
            if not isinstance(outcome, StorageError):
                self._note(live.call, Note("recording.sealed", live.sealed_fields(facts)))
            elif isinstance(outcome.__cause__, CatalogueBusy):
                self._waiting.append((live, facts))
            else:
                lost.append((live, outcome))
        return lost

    def again(self) -> list[tuple[Live, Exception]]:
        """Seal what waits, if the catalogue can be asked; returns what ``seal`` does."""
        if not self._waiting or self._store.catalogue.fault is not None:
            return []
        waiting, self._waiting = self._waiting, []
        return self.seal(waiting)

    def give_up(self) -> list[tuple[Live, Exception]]:
        """The recorder ends: what still waits is completed by the next start."""
        lost = self.again()
        why = StorageError(f"the catalogue is away: {self._store.catalogue.fault or 'busy'}")
        waiting, self._waiting = self._waiting, []
        return [*lost, *((live, why) for live, _ in waiting)]
