"""``recproxy cdr``: what calls there were, for who runs the telephones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from recproxy.cdr import (
    CallDetail,
    Flaw,
    Form,
    RecordingResult,
    call_id_hash,
    csv_head,
    open_parties,
    read_details,
)
from recproxy.cli.archive import actor, load_identity_files, open_archive
from recproxy.cli.display import length, table
from recproxy.cli.options import FILE, config_option, identity_option, json_option, why_option
from recproxy.cli.recordings.listing import parse_instant
from recproxy.cli.recordings.outfile import PrivateFile
from recproxy.config import load
from recproxy.errors import RecproxyError, UsageError
from storage import OsFiles
from storage.age import AgeError, Identity

__all__ = ["cdr"]

_STANDARD_OUTPUT: Final = Path("-")


@click.group("cdr", no_args_is_help=False)
def cdr() -> None:
    """Read call detail records: one for each call, answered or not."""


def _when(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    try:
        return None if value is None else parse_instant(value, datetime.now(UTC))
    except ValueError as err:
        raise click.BadParameter(str(err), ctx, param) from err


_from_option = click.option(
    "--from",
    "since",
    metavar="WHEN",
    callback=_when,
    help="Only calls that started then or later: 2026-12-01, 2026-12-01T10:00Z or P7D.",
)
_to_option = click.option(
    "--to", "until", metavar="WHEN", callback=_when, help="Only calls that started before."
)


@cdr.command("list")
@config_option
@_from_option
@_to_option
@click.option("--trunk", help="Only calls from or to this trunk.")
@click.option(
    "--result",
    type=click.Choice([result.value for result in RecordingResult]),
    help="Only calls whose recording came to this.",
)
@click.option("--call-id", help="Only the call of which this is a Call-ID, on either side.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The last so many.")
@json_option
def listing(
    config: Path,
    since: datetime | None,
    until: datetime | None,
    trunk: str | None,
    result: str | None,
    call_id: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List calls, in the order in which they ended.

    Numbers are masked. What is no record, such as the unfinished line that a
    crash leaves, is named on standard error and left out.
    """
    wanted = call_id_hash(call_id) if call_id else ""
    found = [
        detail
        for detail in _records(_directory(config), since, until)
        if (trunk is None or trunk in {detail.trunk_in, detail.trunk_out})
        and (result is None or detail.recording_result.value == result)
        and (not wanted or wanted in {detail.caller_call_id_sha256, detail.callee_call_id_sha256})
    ]
    shown = found[-limit:]
    if as_json:
        rows = ",\n".join("  " + detail.json_line().decode().rstrip("\n") for detail in shown)
        click.echo(f'{{"calls": [\n{rows}\n], "more": {"true" if len(found) > limit else "false"}}}')
        return
    if not shown:
        click.echo("no calls")
        return
    _print(shown)
    if len(found) > limit:
        click.echo(f"more than {limit}: narrow it down, or raise --limit")


@cdr.command("export")
@config_option
@_from_option
@_to_option
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Form]),
    default=Form.JSONL.value,
    show_default=True,
    help="One JSON object a line, or CSV.",
)
@click.option(
    "-o",
    "--output",
    type=FILE,
    default=_STANDARD_OUTPUT,
    help="A new file, mode 0600; - (the default) is standard output.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@identity_option(required=False)
@why_option
def export(
    config: Path,
    since: datetime | None,
    until: datetime | None,
    form: str,
    output: Path,
    force: bool,
    identities: tuple[Path, ...],
    why: str,
) -> None:
    """Write records of calls, in the order in which they ended.

    With --identity the numbers are in full, where the configuration has them
    encrypted; that leaves a line in the audit chain.
    """
    directory = _directory(config)
    keys = load_identity_files(identities) if identities else ()
    if keys:
        _audit(config, why)
    lines = _lines(directory, since, until, Form(form), keys)
    if output == _STANDARD_OUTPUT:
        for line in lines:
            sys.stdout.buffer.write(line)
        return
    with PrivateFile(output, overwrite=force) as file:
        for line in lines:
            file.stream.write(line)
        file.publish()


def _directory(config: Path) -> OsFiles:
    place = load(config).cdr.directory
    if place is None:
        raise UsageError("no call detail records are written", hint="give cdr.directory in recproxy.yaml")
    if not place.is_dir():
        raise RecproxyError(f"{place}: is not there", hint='"recproxy run" makes it when it first starts')
    return OsFiles(place)


def _records(files: OsFiles, since: datetime | None, until: datetime | None) -> Iterator[CallDetail]:
    """Records alone; all else is named."""
    for found in read_details(files, since, until):
        if isinstance(found, Flaw):
            click.echo(f"recproxy: warning: {files.root}/{found}", err=True)
        else:
            yield found


def _lines(
    files: OsFiles, since: datetime | None, until: datetime | None, form: Form, keys: tuple[Identity, ...]
) -> Iterator[bytes]:
    if form is Form.CSV:
        yield csv_head()
    for detail in _records(files, since, until):
        named = _named(detail, keys) if keys else detail
        yield named.csv_line() if form is Form.CSV else named.json_line()


def _named(detail: CallDetail, keys: tuple[Identity, ...]) -> CallDetail:
    """The record with both numbers in full, if it has them."""
    if not detail.numbers_age:
        return detail
    try:
        caller, callee = open_parties(detail.numbers_age, keys)
    except (AgeError, ValueError) as err:
        raise RecproxyError(
            f"call {detail.call_ref}: the numbers cannot be opened: {err}",
            hint="give the identity of a recipient in storage.recipients",
        ) from err
    return replace(detail, caller=caller or detail.caller, callee=callee)


def _audit(config: Path, why: str) -> None:
    """Say in the audit chain that numbers are looked at, before they are."""
    with open_archive(config) as archive, archive.audit(actor()) as chain:
        fields = {"what": "call detail records", "outcome": "opened"}
        chain.append("parties.opened", fields | ({"reason": why} if why else {}))


def _print(details: list[CallDetail]) -> None:
    table(
        ("started", "length", "direction", "from", "to", "caller", "callee", "status", "by", "recording"),
        (
            (
                f"{detail.started:%Y-%m-%dT%H:%M:%S}Z",
                length(detail.duration_s),
                detail.direction,
                detail.trunk_in,
                detail.trunk_out,
                detail.caller,
                detail.callee,
                str(detail.code),
                detail.ended_by,
                detail.recording_result.value + (f" {detail.recording[:12]}" if detail.recording else ""),
            )
            for detail in details
        ),
        right=("length",),
    )
