"""``recproxy recordings export``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

import click

from recproxy.cli.archive import Archive, actor, load_identity_files, open_archive
from recproxy.cli.display import console, length, progress, size, tick
from recproxy.cli.options import config_option, identity_option, output_option, why_option
from recproxy.cli.recordings.outfile import PrivateFile
from recproxy.cli.recordings.permitting import Leave, permitted, use_option
from recproxy.errors import RecproxyError, UsageError
from storage import CatalogueRow, Reader, RecordingId, Tombstone
from storage.age import Identity
from storage.export import Exported, ExportFormat, Mix, export, format_named

__all__ = ["exporting"]

_STANDARD_OUTPUT: Final = Path("-")
_FORMATS: Final = [member.value for member in ExportFormat]


@dataclass(frozen=True, slots=True)
class _Job:
    """One export.

    Attributes:
        row: What.
        pieces: Its plaintext.
        file_format: What to make.
        mix: Of the channels.
        why: For the audit chain.
        leave: To hear it.
        salvage: Whether the plaintext may end early.
    """

    row: CatalogueRow
    pieces: Iterator[bytes]
    file_format: ExportFormat
    mix: Mix
    why: str
    leave: Leave
    salvage: bool


@click.command("export", short_help="Decrypt a recording to an audio file.")
@click.argument("recording")
@config_option
@identity_option(required=True)
@output_option("File to make, mode 0600; - is standard output.", dash=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="Default: by the suffix of the file, else wav, which keeps every sample as it was recorded.",
)
@click.option("--mix", is_flag=True, help="Both parties on one channel; otherwise caller left, callee right.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--salvage", is_flag=True, help="Of a damaged or unsealed recording, export what is sound.")
@use_option(required=True)
@why_option
def exporting(
    recording: str,
    config: Path,
    identities: tuple[Path, ...],
    use: str,
    output: Path,
    form: str | None,
    mix: bool,
    force: bool,
    salvage: bool,
    why: str,
) -> None:
    """Decrypt RECORDING (an id, or its first digits) to an audio file.

    The file appears when it is whole and every chunk has proved authentic. Each
    export leaves a line in the audit chain: who, which, for what, why, and the
    hash of the file. Where the purpose wants four eyes, ask first: recproxy
    recordings request.
    """
    file_format = _format(form, output)
    with open_archive(config) as archive:
        found = archive.find(recording)
        if isinstance(found, Tombstone):
            raise RecproxyError(
                f"recording {found.recording} is {found.state.value} since {found.gone_at:%Y-%m-%d} "
                f"({found.cause}); it cannot be opened any more"
            )
        leave = permitted(archive, found, use, audio=True)
        keys = load_identity_files(identities)
        pieces = _opened(archive.reader, found.tags.recording, keys, salvage=salvage)
        job = _Job(found, pieces, file_format, Mix.MONO if mix else Mix.STEREO, why, leave, salvage)
        if output == _STANDARD_OUTPUT:
            _to_standard_output(archive, job)
        else:
            _to_file(archive, job, output, force=force)


def _format(form: str | None, output: Path) -> ExportFormat:
    if form is not None:
        return ExportFormat(form)
    return format_named(output.suffix) if output.suffix else ExportFormat.WAV


def _opened(
    reader: Reader, recording: RecordingId, keys: Sequence[Identity], *, salvage: bool
) -> Iterator[bytes]:
    """The plaintext; raises here already if no identity opens it."""
    pieces = reader.salvage(recording, keys) if salvage else reader.wav(recording, keys)
    first = next(pieces, None)
    if first is None:
        raise RecproxyError(
            f"recording {recording} holds no audio that is sound",
            hint="one that is still open or was broken off is completed when the daemon starts",
        )
    return chain((first,), pieces)


def _to_file(archive: Archive, job: _Job, output: Path, *, force: bool) -> None:
    with PrivateFile(output, overwrite=force) as target:
        made = _write(job, target.stream)
        digest = target.sha256()
        written = target.stream.tell()
        _audit(archive, job, {"sha256": digest, "bytes": written, "frames": made.frames})
        target.publish()
    tick(
        True,
        f"{output}  {length(made.duration_s)}, {job.file_format.value}, {size(written)}, sha256 {digest}",
    )
    if job.salvage:
        _say_how_much(job, made)


def _to_standard_output(archive: Archive, job: _Job) -> None:
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal", hint="send it to a player or a file")
    _audit(archive, job, {"to": "stdout"})
    made = _write(job, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    if job.salvage:
        _say_how_much(job, made)


def _write(job: _Job, out: BinaryIO) -> Exported:
    total = None if job.row.facts is None else job.row.facts.frames
    with progress() as bar:
        task = bar.add_task("exporting", total=total)
        return export(
            job.pieces,
            out,
            job.file_format,
            job.mix,
            lambda frames: bar.update(task, completed=frames),
        )


def _audit(archive: Archive, job: _Job, facts: dict[str, str | int]) -> None:
    """Before anybody can hear it: what cannot be accounted for is not exported."""
    with archive.audit(actor()) as audit:
        audit.append(
            "export.created",
            {
                "rec": job.row.tags.recording.text,
                "format": job.file_format.value,
                "mix": job.mix.value,
                "salvaged": job.salvage,
                "outcome": "exported",
                "reason": job.why or "none given",
                **job.leave.facts,
                **facts,
            },
        )


def _say_how_much(job: _Job, made: Exported) -> None:
    whole = "" if job.row.facts is None else f" of {job.row.facts.frames}"
    console(err=True).print(f"salvaged {made.frames}{whole} frames", soft_wrap=True)
