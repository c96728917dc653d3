"""``recproxy keys epochs``: key pairs that change with the day or month, from their making to their end."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from cryptography.exceptions import InvalidSignature

from recproxy.cli.archive import Archive, actor, open_archive
from recproxy.cli.display import instant, print_json, table, tick
from recproxy.cli.options import FILE, config_option, json_option
from recproxy.cli.policy.reading import surroundings
from recproxy.epochkeys import epoch_lengths
from recproxy.errors import RecproxyError, UsageError
from recproxy.policy import load_policy
from recproxy.subject.bundle import new_passphrase
from storage import (
    AuditEntry,
    AuditLog,
    EpochLength,
    EpochShelf,
    OsFiles,
    destroy_identity,
    load_signing_key,
    load_verify_key,
    make_pair,
)
from storage.audit.lines import canonical
from storage.catalogue import Standing
from storage.epochs import end_of, epoch_of, following, length_of, recipient_texts

__all__ = ["epochs"]

_MARGIN: Final = timedelta(days=1)  # a call that began in the epoch may still be opened
_NAMED: Final = 10
_LONGEST_PERMIT: Final = 1 << 16
_GROUP: Final = click.argument("group")
_EPOCH: Final = click.argument("epoch")


@click.group("epochs", no_args_is_help=False)
def epochs() -> None:
    """Key pairs that change with the day or month, for key groups that declare an epoch."""


@epochs.command("make", short_help="Make the key pairs of coming epochs; never on the recorder.")
@_GROUP
@click.option(
    "--from",
    "first",
    required=True,
    metavar="EPOCH",
    help="The first: a day such as 2026-12-01, or a month such as 2026-12.",
)
@click.option("--count", type=click.IntRange(1, 400), default=1, show_default=True, help="How many.")
@click.option("--out", type=FILE, required=True, help="Directory for the key files; made if missing.")
@click.option(
    "--encrypt", is_flag=True, help="Encrypt the private halves to a passphrase, which is shown once."
)
@json_option
def make(group: str, first: str, count: int, out: Path, encrypt: bool, as_json: bool) -> None:
    """Make the key pairs of coming epochs of key group GROUP; never on the recorder.

    GROUP/EPOCH.recipient belongs into the directory that storage.epochs of the
    recorder names, GROUP/EPOCH.identity stays here: it opens the recordings of
    that epoch, with --identity or with age. Nothing is ever overwritten.
    """
    names = following(first, count)
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as err:
        raise UsageError(f"{out}: is not a directory") from err
    files, passphrase = OsFiles(out), new_passphrase() if encrypt else ""
    pairs = [make_pair(files, group, epoch, passphrase) for epoch in names]
    if as_json:
        print_json(
            [
                {
                    "key_group": pair.key_group,
                    "epoch": pair.epoch,
                    "identity": str(out / pair.private),
                    "recipient_file": str(out / pair.public),
                    "recipient": pair.recipient,
                }
                for pair in pairs
            ]
        )
    else:
        for pair in pairs:
            tick(True, f"{out / pair.public}  {pair.recipient}")
        tick(
            False,
            f"copy {out / group}/*.recipient into storage.epochs of the recorder, no .identity",
            warn=True,
        )
    if passphrase:
        click.echo(f"passphrase: {passphrase}", err=as_json)


@epochs.command("list", short_help="List the epochs of each key group, and what is wrapped to them.")
@config_option
@json_option
def listing(config: Path, as_json: bool) -> None:
    """List the epochs of each key group, and how many recordings are wrapped to each."""
    now = datetime.now(UTC)
    with open_archive(config) as archive:
        shelf, lengths = _shelf(archive), _lengths(archive)
        uses = {(use.key_group, use.epoch): use.recordings for use in archive.catalogue.wraps.in_use()}
        found: dict[tuple[str, str], str] = dict.fromkeys(uses, "missing")
        for group in lengths:
            found |= {(group, epoch): _age(epoch, now) for epoch in shelf.installed(group)}
            found |= {(group, epoch): "retired" for epoch in shelf.retired(group)}
        until = {group: shelf.covered_until(group, length, now) for group, length in lengths.items()}
    rows: list[tuple[str, str, str, int]] = [
        (group, epoch, state, uses.get((group, epoch), 0)) for (group, epoch), state in sorted(found.items())
    ]
    if as_json:
        print_json(
            {
                "epochs": [
                    {"key_group": group, "epoch": epoch, "state": state, "recordings": count}
                    for group, epoch, state, count in rows
                ],
                "covered_until": {group: instant(moment) for group, moment in until.items()},
            }
        )
        return
    if rows:
        table(
            ("key group", "epoch", "state", "recordings"),
            ((group, epoch, state, str(count)) for group, epoch, state, count in rows),
            right=("recordings",),
        )
    for group, moment in until.items():
        good = moment > now
        what = f"keys until {instant(moment)}" if good else "no key for now: its purposes are not recorded"
        tick(good, f"{group}: {what}")


@epochs.command("retire", short_help="End an epoch to which nothing is wrapped any more.")
@_GROUP
@_EPOCH
@config_option
@click.option(
    "--permit", type=FILE, help="Signed leave to destroy the private half, for where that is; made new."
)
@click.option(
    "--identities",
    type=FILE,
    help="Directory of the private halves, if it can be reached from here: destroyed at once.",
)
@click.option("--destroyed", is_flag=True, help="The private half has been destroyed with the permit.")
def retire(
    group: str, epoch: str, config: Path, permit: Path | None, identities: Path | None, destroyed: bool
) -> None:
    """End EPOCH of key group GROUP once no recording is wrapped to it any more.

    Refused while one is: it names them. Afterwards the public half is used no
    more. The private half is destroyed with --identities at once, or with
    "recproxy keys epochs destroy" and the permit where it is kept; then say so
    with --destroyed. Every copy of the epoch's headers, in any backup, is noise
    from then on. Each step leaves a line in the audit chain.
    """
    if (permit is not None) + (identities is not None) + destroyed != 1:
        raise UsageError("give one of --permit, --identities and --destroyed")
    now = datetime.now(UTC)
    if now < end_of(epoch) + _MARGIN:
        raise RecproxyError(
            f"{epoch} is not over for a day: recordings may still be wrapped to it", hint="come back later"
        )
    with open_archive(config) as archive:
        _refuse_standing(archive.catalogue.wraps.standing(group, epoch), group, epoch)
        shelf = _shelf(archive)
        recipient = recipient_texts(shelf.retire(group, epoch))
        what = {"key_group": group, "epoch": epoch, "recipient": recipient}
        with archive.audit(actor()) as chain:
            entry = chain.append("key.retired", {**what, "outcome": "retired"})
            if permit is not None:
                _write_permit(archive, permit, what, entry)
            else:
                there = identities is None or _destroy(identities, group, epoch)
                _note_destroyed(archive, chain, what, there, now)
                shelf.forget(group, epoch)
    if permit is not None:
        tick(True, f"{permit}: take it to where the private half is, then: recproxy keys epochs destroy")
    else:
        tick(True, f"{group} {epoch}: the private half is destroyed, and the audit chain says so")


@epochs.command("destroy", short_help="Destroy the private half of an epoch, with a permit of the recorder.")
@click.argument("permit", type=FILE)
@click.option("--from", "identities", type=FILE, required=True, help="Directory of the private halves.")
@click.option("--public-key", type=FILE, required=True, help="The .pub file of the recorder's audit key.")
def destroy(permit: Path, identities: Path, public_key: Path) -> None:
    """Destroy the private half that PERMIT names; where the private halves are kept.

    The permit must be signed by the recorder's audit key, and the public half
    beside the private one must be that of the permit.
    """
    told = _read_permit(permit, public_key)
    group, epoch = told["key_group"], told["epoch"]
    beside = EpochShelf(OsFiles(identities.absolute())).recipients(group, epoch)
    if recipient_texts(beside) != told["recipient"]:
        raise RecproxyError(
            f"{identities}: the key of {group} {epoch} is another than that of the permit",
            hint="nothing was destroyed; is this the right directory?",
        )
    there = _destroy(identities, group, epoch)
    tick(True, f"{group} {epoch}: the private half {'is destroyed' if there else 'was gone already'}")
    tick(False, f"then, on the recorder: recproxy keys epochs retire {group} {epoch} --destroyed", warn=True)


def _shelf(archive: Archive) -> EpochShelf:
    place = archive.config.storage.epochs
    if place is None:
        raise UsageError(
            "storage.epochs names no directory",
            hint="name one, and put the public halves of the epochs there",
        )
    return EpochShelf(OsFiles(place))


def _lengths(archive: Archive) -> Mapping[str, EpochLength]:
    return epoch_lengths(load_policy(archive.config.policy, surroundings(tuple(archive.config.trunks))))


def _age(epoch: str, now: datetime) -> str:
    current = epoch_of(now, length_of(epoch))
    return "current" if epoch == current else "past" if epoch < current else "coming"


def _refuse_standing(standing: tuple[Standing, ...], group: str, epoch: str) -> None:
    if not standing:
        return
    named = [
        f"{one.recording} for {one.purpose} until {one.expiry:%Y-%m-%d}"
        + (", held" if one.held else ", promoted" if one.promoted else "")
        for one in standing[-_NAMED:]
    ]
    more = len(standing) - len(named)
    raise RecproxyError(
        f"{len(standing)} recordings need the key of {group} {epoch}: {'; '.join(named)}"
        + (f" and {more} more" if more else ""),
        hint="they expire by themselves; wrap what is held or promoted to the long-lived key first: "
        "recproxy recordings rewrap RECORDING --identity FILE",
    )


def _destroy(identities: Path, group: str, epoch: str) -> bool:
    if not identities.is_dir():
        raise UsageError(f"{identities}: is not a directory")
    return destroy_identity(OsFiles(identities.absolute()), group, epoch)


def _note_destroyed(
    archive: Archive, chain: AuditLog, what: Mapping[str, str], there: bool, now: datetime
) -> None:
    chain.append(
        "key.destroyed",
        {
            **what,
            "key_id": f"{what['key_group']} {what['epoch']}",
            "key_found": there,
            "outcome": "destroyed",
        },
    )
    chain.flush()
    archive.catalogue.stones.complete_epoch(what["key_group"], what["epoch"], now)


def _write_permit(archive: Archive, permit: Path, what: Mapping[str, str], entry: AuditEntry) -> None:
    place = archive.config.storage.audit_key
    key = load_signing_key(OsFiles(place.parent), place.name)
    body: dict[str, str | int | float | bool] = {
        "v": 1,
        "permits": "destroy",
        **what,
        "seq": entry.seq,
        "sha256": entry.sha256,
    }
    signed = {**body, "sig": base64.b64encode(key.sign(canonical(body))).decode()}
    files = OsFiles(permit.absolute().parent)
    if files.size(permit.name) is not None:
        files.unlink(permit.name)
    handle = files.create(permit.name)
    try:
        handle.write(canonical(signed) + b"\n")
        handle.sync()
    finally:
        handle.close()


def _read_permit(permit: Path, public_key: Path) -> Mapping[str, str]:
    key = load_verify_key(OsFiles(public_key.absolute().parent), public_key.name)
    try:
        with permit.open("rb") as file:
            found = json.loads(file.read(_LONGEST_PERMIT))
        signature = base64.b64decode(found.pop("sig"), validate=True)
        key.verify(signature, canonical(found))
        wanted = {name: str(found[name]) for name in ("key_group", "epoch", "recipient")}
    except OSError as err:
        raise UsageError(f"{permit}: {err.strerror}") from err
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature) as err:
        raise RecproxyError(
            f"{permit}: is no permit signed by the key of {public_key}",
            hint='make it on the recorder: "recproxy keys epochs retire GROUP EPOCH --permit FILE"',
        ) from err
    return wanted
