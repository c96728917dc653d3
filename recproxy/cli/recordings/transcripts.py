"""``recproxy recordings transcript``: what somebody wrote of the talk, kept with the recording."""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from recproxy.cli.archive import Archive, actor, load_identity_files, open_archive
from recproxy.cli.display import instant, print_json, size, table, tick
from recproxy.cli.options import config_option, identity_option, json_option, output_option, why_option
from recproxy.cli.policy.reading import surroundings
from recproxy.cli.recordings.outfile import PrivateFile
from recproxy.cli.recordings.permitting import permitted, use_option
from recproxy.documents import of_derived
from recproxy.errors import RecproxyError, UsageError
from recproxy.policy import PolicyFile, load_policy
from recproxy.transcribing import RecipientPlaces, Written, check_allowed, transcript_source
from recproxy.transcripts import LANGUAGE, LONGEST_BYTES, ORIGIN, read_transcript
from storage import (
    CatalogueRow,
    DerivedFile,
    DerivedKind,
    DerivedStore,
    Tombstone,
)

__all__ = ["add", "export", "listing", "remove", "show"]

_KIND: Final = DerivedKind.TRANSCRIPT


@click.command("add", short_help="Keep a transcript, from standard input.")
@click.argument("recording")
@config_option
@use_option(required=True)
@click.option("--language", required=True, metavar="TAG", help="Language of the words, such as nl.")
@click.option(
    "--by", "origin", default="", metavar="TEXT", help="Who or what wrote it; no party of the call."
)
def add(recording: str, config: Path, use: str, language: str, origin: str) -> None:
    """Keep a transcript of RECORDING (an id, or its first digits), read from standard input.

    Plain text, or WebVTT in which every cue says who speaks (<v caller>); UTF-8,
    1 MiB at most. It is encrypted as the recording is, by a key of its own, and
    goes when its time is over or the recording goes. The purpose must allow it:
    derived.transcript. A recording has one transcript: remove it to replace it.
    """
    if not LANGUAGE.match(language):
        raise UsageError(f"--language {language!r} is no language", hint="such as nl or en-GB")
    if not ORIGIN.match(origin):
        raise UsageError(
            "--by is more than 64 characters, or has seven digits in a row", hint="name a program or a firm"
        )
    with open_archive(config) as archive:
        row = _row(archive, recording)
        archive.catalogue.check_own(row)
        leave = permitted(archive, row, use, audio=False)
        policy = _policy(archive)
        check_allowed(policy, leave.purpose)
        found = read_transcript(sys.stdin.buffer.read(LONGEST_BYTES + 1))
        now = datetime.now(UTC)
        wrap = archive.catalogue.wraps.of(row.tags.recording).get(leave.purpose)
        places = RecipientPlaces(archive.config.storage.recipients, archive.config.storage.epochs)
        written = Written(found, language, origin)
        source = transcript_source(policy, row, leave.purpose, wrap, places, written, now)
        with archive.audit(actor()) as chain:
            store = DerivedStore(archive.files, archive.catalogue, chain, archive.objects)
            kept = store.add(source, found.text.encode(), now)
    tick(
        True,
        f"recording {row.tags.recording}: {kept.form} of {size(kept.size_bytes)} for {kept.purpose}, "
        f"kept until {instant(kept.expiry)}",
    )


@click.command("show", short_help="Print the transcript of a recording.")
@click.argument("recording")
@config_option
@identity_option(required=True)
@use_option(required=True)
@why_option
def show(recording: str, config: Path, identities: tuple[Path, ...], use: str, why: str) -> None:
    """Print the transcript of RECORDING; leaves a line in the audit chain.

    Whoever may hear the recording may read it, under the same rules.
    """
    with open_archive(config) as archive:
        content, _ = _opened(archive, recording, identities, use, {"to": "stdout", **_reason(why)})
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


@click.command("export", short_help="Decrypt the transcript of a recording to a file.")
@click.argument("recording")
@config_option
@identity_option(required=True)
@output_option("File to make, mode 0600.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@use_option(required=True)
@why_option
def export(
    recording: str,
    config: Path,
    identities: tuple[Path, ...],
    output: Path,
    force: bool,
    use: str,
    why: str,
) -> None:
    """Decrypt the transcript of RECORDING to a file; leaves a line in the audit chain."""
    with open_archive(config) as archive, PrivateFile(output, overwrite=force) as target:
        content, file = _opened(archive, recording, identities, use, {"to": "file", **_reason(why)})
        target.stream.write(content)
        target.publish()
    tick(True, f"{output}  {file.form}, {file.language}, {size(len(content))}")


@click.command("list", short_help="List transcripts, the first to expire first.")
@config_option
@json_option
def listing(config: Path, as_json: bool) -> None:
    """List the transcripts that are kept, the first to expire first; none of their words."""
    with open_archive(config) as archive:
        found = [file for file in archive.catalogue.derived.all() if file.kind is _KIND]
    if as_json:
        print_json({"transcripts": [of_derived(file) for file in found]})
        return
    table(
        ("recording", "purpose", "state", "language", "form", "size", "by", "kept until"),
        (
            (
                file.recording.text[:12],
                file.purpose,
                file.state.value,
                file.language,
                file.form,
                size(file.size_bytes),
                file.origin,
                instant(file.expiry),
            )
            for file in found
        ),
        right=("size",),
    )


@click.command("remove", short_help="Shred the transcript of a recording; the recording stays.")
@click.argument("recording")
@config_option
@use_option(required=True)
@click.option(
    "--reason",
    type=click.Choice(["corrected", "not_needed", "erase"]),
    required=True,
    help="Stands in the audit chain and in what remains of it.",
)
def remove(recording: str, config: Path, use: str, reason: str) -> None:
    """Shred the transcript of RECORDING: key first, then the text. The recording stays.

    A legal hold on the recording keeps its transcript too.
    """
    with open_archive(config) as archive:
        row = _row(archive, recording)
        permitted(archive, row, use, audio=False)
        with archive.audit(actor()) as chain:
            store = DerivedStore(archive.files, archive.catalogue, chain, archive.objects)
            store.remove(row.tags.recording, _KIND, reason, datetime.now(UTC))
        archive.catalogue.checkpoint()
    tick(True, f"recording {row.tags.recording}: its transcript is shredded")


def _row(archive: Archive, text: str) -> CatalogueRow:
    found = archive.find(text)
    if isinstance(found, Tombstone):
        raise RecproxyError(
            f"recording {found.recording} is {found.state.value}: nothing is kept with it any more"
        )
    return found


def _reason(why: str) -> dict[str, str]:
    return {"reason": why or "none given"}


def _policy(archive: Archive) -> PolicyFile:
    settings = archive.config
    return load_policy(settings.policy, surroundings(tuple(settings.trunks))).file


def _opened(
    archive: Archive, text: str, identities: tuple[Path, ...], use: str, facts: dict[str, str]
) -> tuple[bytes, DerivedFile]:
    """Decrypt a transcript and say so in the chain, in that order: no word leaves before it is there."""
    row = _row(archive, text)
    recording = row.tags.recording
    file = archive.catalogue.derived.sealed(recording, _KIND)
    if file is None:
        raise RecproxyError(
            f"recording {recording} has no transcript",
            hint="recproxy recordings transcript add keeps one that somebody wrote",
        )
    leave = permitted(archive, row, use, audio=True)
    content = archive.reader.derived(file, load_identity_files(identities))
    with archive.audit(actor()) as chain:
        chain.append(
            "derived.opened",
            {
                "rec": recording.text,
                "kind": _KIND.value,
                "sha256": hashlib.sha256(content).hexdigest(),
                "outcome": "opened",
                **leave.facts,
                **facts,
            },
        )
    return content, file
