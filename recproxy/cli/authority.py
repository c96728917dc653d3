"""``recproxy authority``: orders of authorities, by two people, the least that is needed, in a ledger."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec.structs import replace

from recproxy.cli.archive import Archive, actor, load_identity_files, open_archive, person, user
from recproxy.cli.display import Json, instant, print_json, size, table, tick
from recproxy.cli.options import config_option, identity_option, json_option, output_option
from recproxy.cli.policy.reading import surroundings
from recproxy.cli.recordings.outfile import PrivateFile
from recproxy.cli.subject.muting import described, mute_option, mutes_by_recording
from recproxy.documents import of_parties, of_row
from recproxy.errors import ConfigError, RecproxyError
from recproxy.policy import load_policy
from recproxy.policy.reviewing import review_denied
from recproxy.subject.bundle import Bundle, new_passphrase
from recproxy.subject.orders import Authority, Handover, Order, OrderState, OrderStore, new_order_id
from storage import CatalogueRow, OsFiles, RecordingId, State, Tombstone, load_signing_key
from storage.age import PassphraseRecipient
from storage.export import ExportFormat, export

__all__ = ["authority"]


@dataclass(frozen=True, slots=True)
class _Ledger:
    """The recordings, and the orders."""

    archive: Archive
    orders: OrderStore


@contextmanager
def _open(config: Path) -> Iterator[_Ledger]:
    with open_archive(config) as archive:
        place = archive.config.subjects.directory
        if place is None:
            raise ConfigError(f"{config}: subjects.directory: missing; name a directory for cases and orders")
        files = OsFiles(place)
        files.prepare()
        yield _Ledger(archive, OrderStore(files))


@click.group("authority", no_args_is_help=False)
def authority() -> None:
    """Hand recordings over to an authority, on an order that a second person has reviewed."""


@authority.command("request")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@config_option
@click.option(
    "--authority",
    "demands",
    type=click.Choice([one.value for one in Authority]),
    required=True,
    help="Who demands it.",
)
@click.option(
    "--order", "reference", required=True, metavar="REF", help="Reference of the order; no name, no number."
)
@click.option("--secret", is_flag=True, help="The order forbids to tell the people in the recordings.")
@json_option
def request(
    recordings: tuple[str, ...], config: Path, demands: str, reference: str, secret: bool, as_json: bool
) -> None:
    """Take in an order for RECORDING (an id, or its first digits): no more than it names.

    It hands over nothing until another person has reviewed it. To keep them
    meanwhile: recproxy hold request --reason order.
    """
    with _open(config) as ledger:
        order = Order(
            id=new_order_id(),
            authority=Authority(demands),
            reference=reference,
            secret=secret,
            recordings=tuple(
                dict.fromkeys(_row(ledger.archive, text).tags.recording.text for text in recordings)
            ),
            requested_by=person(),
            requested_at=datetime.now(UTC),
        )
        ledger.orders.save(order)
        _audit(ledger.archive, "authority.requested", order)
    _tell(
        order,
        f"taken in; another person, a lawyer, must run: recproxy authority review {order.id}",
        as_json,
    )


@authority.command("review")
@click.argument("order_id", metavar="ORDER")
@config_option
@click.option("--refuse", is_flag=True, help="The order does not hold; hand over nothing.")
@click.option(
    "--only", multiple=True, metavar="RECORDING", help="The order needs this one alone. May be repeated."
)
@json_option
def review(order_id: str, config: Path, refuse: bool, only: tuple[str, ...], as_json: bool) -> None:
    """Review ORDER as a lawyer: is it valid, and does it need all these recordings?

    Needs the role that the policy names for it (authority.reviewers, else legal),
    and another person than the one who took the order in.
    """
    with _open(config) as ledger:
        order = ledger.orders.find(order_id)
        _check_reviewer(ledger.archive, order)
        keep = tuple(_row(ledger.archive, text).tags.recording.text for text in only)
        order = order.reviewed(person(), datetime.now(UTC), keep, refused=refuse)
        ledger.orders.save(order)
        _audit(ledger.archive, "authority.reviewed", order)
    _tell(order, f"{order.state.value}, {len(order.recordings)} recordings", as_json)


@authority.command("export")
@click.argument("order_id", metavar="ORDER")
@config_option
@identity_option(required=True)
@output_option("Archive to make, mode 0600: a tar file that the passphrase opens (age -d FILE | tar x).")
@mute_option
def exporting(
    order_id: str, config: Path, identities: tuple[Path, ...], output: Path, mutes: tuple[str, ...]
) -> None:
    """Make what ORDER needs: audio, facts, signed hashes. The passphrase is shown once."""
    with _open(config) as ledger:
        archive, order = ledger.archive, ledger.orders.find(order_id)
        if order.state not in {OrderState.APPROVED, OrderState.DELIVERED}:
            raise RecproxyError(
                f"order {order.id} is {order.state.value}: nothing is handed over",
                hint="a lawyer reviews it: recproxy authority review",
            )
        keys, passphrase, now = load_identity_files(identities), new_passphrase(), datetime.now(UTC)
        silent = mutes_by_recording(mutes, order.recordings)
        calls: list[Mapping[str, object]] = []
        with PrivateFile(output, overwrite=False) as file:
            with Bundle(file.stream.write, PassphraseRecipient(passphrase), now) as bundle:
                for text in order.recordings:
                    row = _row(archive, text)
                    _check_sealed(row)
                    recording, left_out = RecordingId(text), silent.get(text, ())
                    audio = io.BytesIO()
                    export(archive.reader.wav(recording, keys), audio, ExportFormat.WAV, mutes=left_out)
                    digest = bundle.add(f"audio/{text}.wav", audio.getvalue())
                    _audit_export(archive, order, row, digest)
                    # A catalogue that was made again does not know them.
                    parties = of_parties(archive.reader.parties(recording, keys)) if row.parties else None
                    muted = [described(mute) for mute in left_out]
                    calls.append({**of_row(row), "parties": parties, "muted": muted})
                bundle.add_json("calls.json", calls)
                place = archive.config.storage.audit_key
                bundle.close(order.id, load_signing_key(OsFiles(place.parent), place.name))
            digest, written = file.sha256(), file.stream.tell()
            handover = Handover(sha256=digest, at=now, by=person())
            order = replace(order, handovers=(*order.handovers, handover))
            _audit(archive, "authority.delivered", order, {"sha256": digest})
            ledger.orders.save(order)
            file.publish()
    tick(True, f"{output}  {len(calls)} recordings, {size(written)}, sha256 {digest}")
    click.echo(f"passphrase: {passphrase}")


@authority.command("list")
@config_option
@json_option
def listing(config: Path, as_json: bool) -> None:
    """List the orders, the oldest first: the ledger."""
    with _open(config) as ledger:
        orders = ledger.orders.all()
    if as_json:
        print_json([_document(order) for order in orders])
        return
    table(
        (
            "order",
            "state",
            "authority",
            "reference",
            "recordings",
            "taken in by",
            "reviewed by",
            "handed over",
        ),
        (
            (
                order.id,
                order.state.value + (", secret" if order.secret else ""),
                order.authority.value,
                order.reference,
                str(len(order.recordings)),
                order.requested_by,
                order.reviewed_by,
                ", ".join(instant(one.at) for one in order.handovers),
            )
            for order in orders
        ),
        right=("recordings",),
    )


def _row(archive: Archive, text: str) -> CatalogueRow:
    found = archive.find(text)
    if isinstance(found, Tombstone):
        raise RecproxyError(f"recording {found.recording} is {found.state.value}: nothing can be handed over")
    return found


def _check_reviewer(archive: Archive, order: Order) -> None:
    settings = archive.config
    file = load_policy(settings.policy, surroundings(tuple(settings.trunks))).file
    denied = review_denied(file, user())
    if denied is not None:
        _audit(archive, "authority.denied", order, {"outcome": "denied", "reason": denied.why.value})
        raise RecproxyError(denied.what, hint=denied.mend)


def _check_sealed(row: CatalogueRow) -> None:
    if row.state is not State.SEALED:
        raise RecproxyError(f"recording {row.tags.recording} is {row.state.value}, not sealed")


def _audit(archive: Archive, event: str, order: Order, facts: Mapping[str, str] | None = None) -> None:
    with archive.audit(actor()) as chain:
        chain.append(
            event,
            {
                "order": order.id,
                "case_ref": order.reference,
                "recipient": order.authority.value,
                "count": len(order.recordings),
                "secret": order.secret,
                "outcome": order.state.value,
                **(facts or {}),
            },
        )


def _audit_export(archive: Archive, order: Order, row: CatalogueRow, digest: str) -> None:
    with archive.audit(actor()) as chain:
        chain.append(
            "export.created",
            {
                "rec": row.tags.recording.text,
                "purpose": ",".join(term.purpose for term in row.tags.terms),
                "format": ExportFormat.WAV.value,
                "sha256": digest,
                "recipient": order.authority.value,
                "ground": f"order {order.reference}",
                "order": order.id,
                "secret": order.secret,
                "outcome": "exported",
            },
        )


def _tell(order: Order, said: str, as_json: bool) -> None:
    if as_json:
        print_json(_document(order))
    else:
        tick(True, f"order {order.id} ({order.reference}): {said}")


def _document(order: Order) -> dict[str, Json]:
    return {
        "id": order.id,
        "state": order.state.value,
        "authority": order.authority.value,
        "reference": order.reference,
        "secret": order.secret,
        "recordings": list(order.recordings),
        "requested_by": order.requested_by,
        "requested_at": instant(order.requested_at),
        "reviewed_by": order.reviewed_by or None,
        "reviewed_at": None if order.reviewed_at is None else instant(order.reviewed_at),
        "handed_over": [
            {"at": instant(one.at), "by": one.by, "sha256": one.sha256} for one in order.handovers
        ],
    }
