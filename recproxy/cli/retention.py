"""``recproxy retention``: the process that shreds, with its own clock and its own life."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from recproxy.cdr import DetailUpkeep
from recproxy.cli.aging import Aging
from recproxy.cli.archive import Archive, actor, open_archive
from recproxy.cli.epochwatch import EpochWatch
from recproxy.cli.options import config_option
from recproxy.cli.rounds import ENDS, exit_code, read_interval, serve, signals_blocked, wait_for_signal
from recproxy.cli.shortening import Shortening
from recproxy.cli.trimming import Trimming
from recproxy.errors import PartlyDone, RecproxyError
from recproxy.eventlog import EventLog
from recproxy.forwarding import forwarded
from recproxy.sdnotify import ServiceManager
from recproxy.subject.cases import CaseStore
from recproxy.subject.reminders import ReminderBook
from recproxy.subject.upkeep import CaseUpkeep
from recproxy.syslog import SyslogMessage, send
from storage import (
    AuditLog,
    ClockBounds,
    ClockGuard,
    ClockReading,
    OsFiles,
    Retention,
    StorageError,
    SweepReport,
    read_clock,
)
from storage.audit import read_head

__all__ = ["Result", "Sweeper", "retention"]

BATCH: Final = 100


class Result(Enum):
    """How a sweep went."""

    DONE = "done"
    PARTLY = "some recordings could not be shredded"
    STOOD_STILL = "the clock is not trusted"
    FAILED = "the store cannot be used"


class Sweep(Protocol):
    """What ``storage.Retention`` does."""

    def sweep(self, reading: ClockReading, limit: int = ...) -> SweepReport:
        """Shred what is due."""


def _silent() -> None:
    """Tell nobody."""


def _no_chores(now: datetime) -> None:
    """Nothing else depends on the time."""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """One sweep after the other, told in the event log.

    Attributes:
        retention: Shreds.
        log: The event log.
        clock: Reads both clocks.
        monotonic: Seconds, for durations.
        batch: Recordings between two looks at the signals.
        anchor: Tells the newest line of the audit chain elsewhere; after each sweep.
        terms: Lets recordings expire sooner where the policy says so by now; before each sweep.
        chores: What else time brings, such as reminders; given the instant of a sweep
            whose clock was trusted.
    """

    retention: Sweep
    log: EventLog
    clock: Callable[[], ClockReading]
    monotonic: Callable[[], float]
    batch: int = BATCH
    anchor: Callable[[], None] = _silent
    terms: Callable[[], None] = _silent
    chores: Callable[[datetime], None] = _no_chores

    def sweep(self, stopping: Callable[[], bool]) -> Result:
        """Shred all that is due, batch by batch.

        Args:
            stopping: Asked between batches; true ends the sweep early.

        Returns:
            How it went; every fault was logged.
        """
        try:
            self.terms()
            return self._sweep(stopping)
        finally:
            self.anchor()

    def _sweep(self, stopping: Callable[[], bool]) -> Result:
        seen_failing = 0
        while True:
            begun, reading = self.monotonic(), self.clock()
            try:
                report = self.retention.sweep(reading, self.batch)
            except StorageError as err:
                self.log.emit("retention.failed", why=str(err))
                return Result.FAILED
            self._tell(report, self.monotonic() - begun)
            if report.stood_still is not None:
                return Result.STOOD_STILL
            seen_failing = max(seen_failing, len(report.failed))
            # What fails stays due, so a batch that shredded nothing would come back for ever.
            if report.due < self.batch or not report.shredded or stopping():
                self.chores(reading.wall)
                return Result.PARTLY if seen_failing else Result.DONE

    def _tell(self, report: SweepReport, seconds: float) -> None:
        if report.stood_still is not None:
            self.log.emit("retention.standing_still", why=report.stood_still)
            return
        for hold in report.lapsed:
            self.log.emit("hold.lapsed", hold=hold.id, case_ref=hold.case_ref)
        for certificate in report.shredded:
            stone = certificate.tombstone
            self.log.emit(
                "recording.shredded",
                recording=stone.recording.text,
                purpose=stone.purpose,
                expiry=stone.expiry.astimezone(UTC).isoformat(timespec="seconds"),
                reason=stone.cause,
            )
        if report.overdue_elsewhere:
            self.log.emit("retention.late_elsewhere", count=report.overdue_elsewhere)
        for stone in (*report.purposes_ended, *report.derived_ended):
            self.log.emit(
                "recording.purpose_ended",
                recording=stone.recording.text,
                purpose=stone.purpose,
                reason=stone.cause,
            )
        for recording, why in report.failed:
            self.log.emit("retention.failed", recording=recording.text, why=why)
        self.log.emit(
            "retention.swept",
            due=report.due,
            shredded=len(report.shredded),
            failed=len(report.failed),
            held=report.held,
            seconds=round(seconds, 3),
        )


@click.command("retention", short_help="Shred recordings when they expire, until SIGTERM.")
@config_option
@click.option("--once", is_flag=True, help="Sweep once, then end: 0 done, 3 partly done, 1 nothing done.")
@click.option(
    "--interval",
    metavar="DURATION",
    callback=read_interval,
    help="Time between two sweeps, PT1S to PT1H; default: configured.",
)
@click.option(
    "--accept-clock",
    is_flag=True,
    help="Believe the clock from now on, because you have checked it; then end.",
)
def retention(config: Path, once: bool, interval: timedelta | None, accept_clock: bool) -> int:
    """Shred recordings when they expire, until SIGTERM.

    Nothing is shredded early: while the wall clock contradicts the monotonic
    clock, the last sweep or the newest recording, sweeping stands still and says
    why. Where the policy keeps a purpose's recordings for a shorter time by now,
    they expire sooner: it is read at the start and on SIGHUP.
    """
    with signals_blocked(), open_archive(config) as archive:
        settings = archive.config.retention
        bounds = ClockBounds(settings.max_clock_step, settings.max_downtime)
        with archive.audit("retention") as chain, ExitStack() as stack:
            guard = ClockGuard(archive.files, bounds)
            shredding = Retention(archive.files, archive.catalogue, chain, guard, objects=archive.objects)
            if accept_clock:
                reading = read_clock()
                shredding.accept_clock(reading, actor())
                click.echo(f"accepted: it is {reading.wall.isoformat(timespec='seconds')}")
                return 0
            log = EventLog.to_stdout(archive.config.log)
            stack.enter_context(forwarded(log, archive.config.log, archive.config.node))
            pause = interval or settings.interval
            log.emit(
                "retention.started", node=archive.config.node, pid=os.getpid(), seconds=pause.total_seconds()
            )
            shortening = Shortening(archive, chain, log)
            sweeper = Sweeper(
                shredding,
                log,
                read_clock,
                _monotonic,
                anchor=_anchor(archive, chain.public_key, log),
                terms=shortening.apply,
                chores=_chores(archive, chain, log, shortening),
            )
            if once:
                return _once(sweeper)
            manager = ServiceManager(os.environ, lambda why: log.emit("retention.failed", why=why))
            manager.ready()
            ended_by = serve(
                sweeper.sweep, wait_for_signal, pause.total_seconds(), manager.watchdog, shortening.load
            )
            manager.stopping()
            code = exit_code(ended_by)
            log.emit("retention.stopped", code=code)
            return code


def _once(sweeper: Sweeper) -> int:
    result = sweeper.sweep(lambda: wait_for_signal(0) in ENDS)
    match result:
        case Result.DONE:
            return 0
        case Result.PARTLY:
            raise PartlyDone(result.value, hint="the event log names them; run it again")
        case Result.STOOD_STILL:
            raise RecproxyError(
                f"nothing was shredded: {result.value}",
                hint="check the clock, then: recproxy retention --accept-clock",
            )
        case Result.FAILED:
            raise RecproxyError(f"nothing was shredded: {result.value}", hint="the event log says why")


def _anchor(archive: Archive, key: Ed25519PublicKey, log: EventLog) -> Callable[[], None]:
    """What sends the newest line's number and hash to the system log that is configured."""
    target = archive.config.audit.syslog
    if target is None:
        return _silent

    def tell() -> None:
        try:
            head = read_head(archive.files, key)
            if head is not None:
                text = f"seq={head.last.seq} sha256={head.last.sha256}"
                send(target, SyslogMessage(datetime.now(UTC), archive.config.node, "chain.head", text))
        except (OSError, StorageError) as err:
            log.emit("audit.failed", what="syslog", why=str(err))

    return tell


def _chores(
    archive: Archive, chain: AuditLog, log: EventLog, shortening: Shortening
) -> Callable[[datetime], None]:
    """What looks after tombstones, coming keys, cases of people and call detail records."""
    chores: list[Callable[[datetime], None]] = [
        Aging(archive, chain, log, lambda: shortening.policy).run,
        Trimming(chain, log, lambda: shortening.policy).run,
        EpochWatch(archive.config.storage.epochs, log, lambda: shortening.policy).run,
    ]
    cases, cdr = archive.config.subjects.directory, archive.config.cdr
    if cases is not None and cases.is_dir():
        files = OsFiles(cases)
        chores.append(CaseUpkeep(CaseStore(files), ReminderBook(files), chain, log).run)
    if cdr.directory is not None and cdr.directory.is_dir():
        chores.append(DetailUpkeep(OsFiles(cdr.directory), cdr.keep, chain, log).run)

    def run(now: datetime) -> None:
        for chore in chores:
            chore(now)

    return run


def _monotonic() -> float:
    return read_clock().boot_seconds
