"""Who is told of calls besides their machine: event log, HTTP API, call detail records, audit chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Final

from recproxy.call.commands import AuditNote, Note
from recproxy.call.events import Event
from recproxy.cdr import CallDetails, DetailWriter, Form, Journal, seal_parties
from recproxy.config import CdrFormat, CdrNumbers, Config
from recproxy.errors import ConfigError, StartError
from recproxy.eventlog import EventLog
from recproxy.recorder import Recorder
from storage import OsFiles, StorageError
from storage.age import Recipient, RecipientError

if TYPE_CHECKING:  # at run time it is loaded if it is configured
    from recproxy.api.service import ApiService

__all__ = ["Observers", "call_details", "onward"]

_FORMS: Final = {
    CdrFormat.JSONL: (Form.JSONL,),
    CdrFormat.CSV: (Form.CSV,),
    CdrFormat.BOTH: (Form.JSONL, Form.CSV),
}


class Observers:
    """Implements ``recproxy.call.driver.EventSink``; any thread.

    Attributes:
        recorder: Takes evidence, once it is there.
        api: Shows calls that go on; None for no API.
        details: Keeps a record of each call; None for no records.
    """

    def __init__(self, log: EventLog) -> None:
        """Begin with the event log alone."""
        self._log = log
        self.recorder: Recorder | None = None
        self.api: ApiService | None = None
        self.details: CallDetails | None = None

    def note(self, call: str, note: Note) -> None:
        """Write a line to the event log, and tell who else follows calls."""
        self._log.emit(note.event, call_ref=call, **dict(note.fields))
        if self.api is not None:
            self.api.noted(call, note)
        if self.details is not None:
            self.details.noted(call, note)

    def audit(self, call: str, note: AuditNote) -> None:
        """Hand an event to the audit chain."""
        if self.recorder is not None:
            self.recorder.audit(call, note)

    def watched(self, post: Callable[[str, Event], None]) -> Callable[[str, Event], None]:
        """Events of SIP on their way to the calls, seen by who follows calls as well."""
        followers = [one.posted for one in (self.api, self.details) if one is not None]
        if not followers:
            return post

        def all_of_them(call: str, event: Event) -> None:
            for follower in followers:
                follower(call, event)
            post(call, event)

        return all_of_them


def call_details(
    config: Config,
    note: Callable[[str, Note], None],
    recipients: Callable[[], Sequence[Recipient]],
    now: Callable[[], datetime],
    stack: ExitStack,
) -> CallDetails | None:
    """Start what writes call detail records; the end of ``stack`` writes what waits.

    Args:
        config: The whole configuration.
        note: Takes lines for the event log; any thread.
        recipients: Reads to whom numbers in full are encrypted, if they are.
        now: Wall clock: aware, UTC.
        stack: Ends it. What still tells of calls must end before.

    Returns:
        It; None if no records are configured.

    Raises:
        StartError: The directory cannot be used.
        ConfigError: Numbers cannot be encrypted to these recipients.
    """
    settings = config.cdr
    if settings.directory is None:
        return None
    files = OsFiles(settings.directory)
    try:
        files.prepare()
    except StorageError as err:
        raise StartError(
            f"cdr.directory: {err}",
            hint="make the directory, owned by the user that recproxy runs as, mode 0700",
        ) from err
    encrypted = settings.numbers is CdrNumbers.ENCRYPTED
    readers = tuple(recipients()) if encrypted else ()
    if encrypted:
        try:
            seal_parties("", "", readers)
        except (ValueError, RecipientError) as err:
            raise ConfigError(f"cdr.numbers: storage.recipients: {err}") from err
    writer = DetailWriter(
        Journal(files, sync=settings.sync),
        _FORMS[settings.format],
        lambda told: note("", told),
        readers,
    )

    details = CallDetails(
        node=config.node,
        onward=onward(config),
        write=writer.put,
        now=now,
        keep_numbers=encrypted,
    )
    writer.start()
    stack.callback(writer.stop)
    stack.callback(details.close)
    return details


def onward(config: Config) -> Mapping[str, str]:
    """Trunk that calls from a trunk go on to, by its name."""
    return {str(name): trunk.forward_to for name, trunk in config.trunks.items()}
