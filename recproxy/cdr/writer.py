"""The thread that writes call detail records: no call waits for it, and no full disk stops one."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final

from recproxy.call.commands import Note
from recproxy.cdr.collecting import Parties
from recproxy.cdr.detail import CallDetail
from recproxy.cdr.journal import Form, Journal
from recproxy.cdr.numbers import seal_parties
from storage import StorageError
from storage.age import Recipient

__all__ = ["DetailWriter"]

MOST_WAITING: Final = 10_000  # records that are kept while they cannot be written; then the oldest go
_RETRY_S: Final = 5.0


class DetailWriter:
    """Takes records from any thread and writes each once in each form."""

    def __init__(
        self,
        journal: Journal,
        forms: Sequence[Form],
        note: Callable[[Note], None],
        recipients: Sequence[Recipient] = (),
        *,
        retry_s: float = _RETRY_S,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """Prepare; ``start`` starts the thread.

        Args:
            journal: Where they go; used by the thread alone.
            forms: In which forms.
            note: Takes lines for the event log, any thread.
            recipients: To whom numbers in full are encrypted.
            retry_s: Seconds between two tries to write what could not be written.
            most_waiting: Records that are kept meanwhile, in each form.
        """
        self._journal = journal
        self._note = note
        self._recipients = tuple(recipients)
        self._retry_s = retry_s
        self._most_waiting = most_waiting
        self._queue: queue.SimpleQueue[tuple[CallDetail, Parties | None] | None] = queue.SimpleQueue()
        self._backlog: dict[Form, deque[CallDetail]] = {form: deque() for form in forms}
        self._failing = False
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="cdr", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, once more if it must be, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def put(self, detail: CallDetail, parties: Parties | None = None) -> None:
        """Take a record, and both numbers if they are to be encrypted into it; at once, any thread."""
        self._queue.put((detail, parties))

    def _run(self) -> None:
        going = True
        while going:
            going = self._take_in()
            self._write(last=not going)

    def _take_in(self) -> bool:
        """Wait for records and take all that are there; false at the end."""
        try:
            waiting = any(self._backlog.values())
            one = self._queue.get(timeout=self._retry_s if waiting else None)
            while one is not None:
                detail, parties = one
                if parties is not None:
                    sealed = seal_parties(parties.caller, parties.callee, self._recipients)
                    detail = replace(detail, numbers_age=sealed)
                for backlog in self._backlog.values():
                    backlog.append(detail)
                one = self._queue.get_nowait()
        except queue.Empty:
            return True
        return False

    def _write(self, *, last: bool) -> None:
        why = ""
        for form, backlog in self._backlog.items():
            try:
                while backlog:
                    self._write_day(form, backlog)
            except StorageError as err:
                why = str(err)
        self._tell(why, last=last)

    def _write_day(self, form: Form, backlog: deque[CallDetail]) -> None:
        """Write the records at the front that are of one day, and forget them."""
        day = backlog[0].day
        run = list(takewhile(lambda detail: detail.day == day, backlog))
        cut = self._journal.append(form, day, run)
        for _ in run:
            backlog.popleft()
        if cut is not None:
            self._note(Note("cdr.mended", (("file", cut.file), ("why", cut.why))))

    def _tell(self, why: str, *, last: bool) -> None:
        """Say that they cannot be written, whenever some are given up, and that they can be again."""
        dropped = 0
        for backlog in self._backlog.values():
            keep = 0 if last else self._most_waiting
            while len(backlog) > keep:
                backlog.popleft()
                dropped += 1
        self._lost += dropped
        if why and (dropped or not self._failing):
            self._failing = True
            self._note(Note("cdr.failed", (("what", "records"), ("why", why), ("count", self._lost))))
        elif not why and self._failing:
            self._failing = False
            self._note(Note("cdr.recovered", (("what", "records"), ("count", self._lost))))
            self._lost = 0
