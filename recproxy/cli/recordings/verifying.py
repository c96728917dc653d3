"""``recproxy recordings verify``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from recproxy.cli.archive import Archive, load_identity_files, open_archive
from recproxy.cli.display import Json, print_json, progress, tick
from recproxy.cli.options import config_option, identity_option, json_option
from recproxy.errors import NoIdentity, UsageError, VerificationFailed
from storage import RecordingId, State, Tombstone, Verdict, VerifyFault

__all__ = ["verifying"]


@click.command("verify", short_help="Check that recordings are what was sealed.")
@click.argument("recordings", nargs=-1, metavar="[RECORDING]...")
@click.option("--all", "everything", is_flag=True, help="Every sealed recording.")
@config_option
@identity_option(required=False)
@json_option
def verifying(
    recordings: tuple[str, ...],
    everything: bool,
    config: Path,
    identities: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check that each RECORDING (an id, or its first digits) is what was sealed.

    With --identity every chunk is decrypted and authenticated; without, the
    hash and the length of the encrypted file and its key are checked. Exits 20
    with the reason if one is not sound.
    """
    if everything == bool(recordings):
        raise UsageError("name recordings, or give --all", hint='see "recproxy recordings list"')
    keys = load_identity_files(identities)
    with open_archive(config) as archive:
        wanted = _sealed(archive) if everything else tuple(_named(archive, recordings))
        verdicts = []
        with progress() as bar:
            task = bar.add_task("verifying", total=len(wanted))
            for recording in wanted:
                verdicts.append(archive.reader.verify(recording, keys))
                bar.advance(task)
    if as_json:
        print_json({"recordings": [_document(verdict) for verdict in verdicts]})
    else:
        for verdict in verdicts if len(verdicts) > 1 else [one for one in verdicts if one.sound]:
            tick(verdict.sound, f"{verdict.recording}  {_reason(verdict)}")
        if not verdicts:
            click.echo("no sealed recordings")
    _raise(verdicts)


def _sealed(archive: Archive) -> tuple[RecordingId, ...]:
    return tuple(row.tags.recording for row in archive.catalogue.select(states=(State.SEALED,), own=True))


def _named(archive: Archive, prefixes: tuple[str, ...]) -> Iterator[RecordingId]:
    for prefix in prefixes:
        found = archive.find(prefix)
        yield found.recording if isinstance(found, Tombstone) else found.tags.recording


def _reason(verdict: Verdict) -> str:
    return verdict.reason if verdict.fault is None else f"{verdict.fault.value}: {verdict.reason}"


def _document(verdict: Verdict) -> Json:
    return {
        "id": verdict.recording.text,
        "sound": verdict.sound,
        "fault": None if verdict.fault is None else verdict.fault.value,
        "reason": verdict.reason,
        "decrypted": verdict.decrypted,
    }


def _raise(verdicts: list[Verdict]) -> None:
    bad = [verdict for verdict in verdicts if not verdict.sound]
    if not bad:
        return
    first = bad[0]
    if all(verdict.fault is VerifyFault.NO_IDENTITY for verdict in bad):
        raise NoIdentity(
            f"recording {first.recording}: {first.reason}", hint="give the identity of one of its recipients"
        )
    if len(verdicts) == 1:
        raise VerificationFailed(f"recording {first.recording}: {_reason(first)}")
    raise VerificationFailed(f"{len(bad)} of {len(verdicts)} recordings are not sound")
