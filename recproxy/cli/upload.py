"""``recproxy upload``: the process that moves sealed bodies into the object store."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import click

from recproxy.cli.archive import open_archive
from recproxy.cli.options import config_option
from recproxy.cli.rounds import exit_code, read_interval, serve, signals_blocked, wait_for_signal
from recproxy.errors import ConfigError, PartlyDone, RecproxyError
from recproxy.eventlog import EventLog
from recproxy.sdnotify import ServiceManager
from storage import StorageError, Uploader, UploadReport

__all__ = ["upload"]


@click.command("upload", short_help="Move sealed bodies into the object store, until SIGTERM.")
@config_option
@click.option("--once", is_flag=True, help="Move what is there, then end: 0 done, 3 partly, 1 nothing done.")
@click.option(
    "--interval",
    metavar="DURATION",
    default="PT1M",
    show_default=True,
    callback=read_interval,
    help="Time between two rounds, PT1S to PT1H.",
)
def upload(config: Path, once: bool, interval: timedelta) -> int:
    """Move the bodies of sealed recordings into the bucket that storage.bucket names, until SIGTERM.

    A body is removed from the disk only after it was read back from the bucket
    and is what was sealed. What was begun is taken up again. Keys stay here.
    """
    with signals_blocked(), open_archive(config) as archive, archive.audit("upload") as chain:
        if archive.objects is None:
            raise ConfigError(f"{config}: storage.bucket: missing; name where bodies are to go")
        log = EventLog.to_stdout(archive.config.log)
        uploader = Uploader(archive.files, archive.catalogue, chain, archive.objects)
        log.emit(
            "upload.started", node=archive.config.node, pid=os.getpid(), seconds=interval.total_seconds()
        )
        if once:
            return _once(uploader, log)
        manager = ServiceManager(os.environ, lambda why: log.emit("upload.failed", why=why))
        manager.ready()
        ended_by = serve(
            partial(_go, uploader, log), wait_for_signal, interval.total_seconds(), manager.watchdog
        )
        manager.stopping()
        code = exit_code(ended_by)
        log.emit("upload.stopped", code=code)
        return code


def _go(uploader: Uploader, log: EventLog, stopping: Callable[[], bool]) -> None:
    try:
        _tell(uploader.run(stopping), log)
    except StorageError as err:
        log.emit("upload.failed", why=str(err))


def _once(uploader: Uploader, log: EventLog) -> int:
    report = uploader.run()
    _tell(report, log)
    if report.failed and report.moved:
        raise PartlyDone("some bodies could not be moved", hint="the event log names them; run it again")
    if report.failed:
        raise RecproxyError(f"nothing was moved: {report.failed[0][1]}", hint="bodies are safe on the disk")
    return 0


def _tell(report: UploadReport, log: EventLog) -> None:
    for recording, why in report.failed:
        log.emit("upload.failed", recording=recording.text, why=why)
    if report.moved or report.failed:
        log.emit("upload.moved", count=len(report.moved), bytes=report.size_bytes, failed=len(report.failed))
