"""``recproxy subject export``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recproxy.cli.archive import actor, load_identity_files
from recproxy.cli.display import size, tick
from recproxy.cli.options import config_option, identity_option
from recproxy.cli.recordings.outfile import PrivateFile
from recproxy.cli.subject.desk import Desk, language_option, open_desk
from recproxy.notices import Language, Sheet
from recproxy.subject.bundle import Bundle, call_facts, new_passphrase
from recproxy.subject.cases import Case, Found, Outcome
from recproxy.subject.finding import is_party
from recproxy.subject.letters import access_letter
from storage import CatalogueRow, HoldState, OsFiles, Parties, State, load_signing_key, read_events
from storage.age import Identity
from storage.export import ExportFormat, export

__all__ = ["exporting"]

_USES = ("export.created", "export.delivered", "playback.opened", "parties.opened")


@click.command("export", short_help="Make the bundle: letter, audio, facts.")
@click.argument("case_id", metavar="CASE")
@config_option
@identity_option(required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Archive to make, mode 0600: a tar file that the passphrase opens (age -d FILE | tar x).",
)
@language_option
def exporting(case_id: str, config: Path, identities: tuple[Path, ...], output: Path, language: str) -> None:
    """Make the answer to CASE (GDPR art. 15): letter, audio, calls.json, recipients.json, signed hashes.

    Each recording is opened and must have the person's number as a party; one
    that has not is left out and named. The passphrase is shown once: tell it to
    the person by another way than the file.
    """
    with open_desk(config) as desk:
        case = desk.cases.find(case_id)
        case.check_open()
        keys = load_identity_files(identities)
        number = desk.cases.number(case, keys)
        rows = [row for row in desk.rows(case) if row.state is State.SEALED]
        passphrase = new_passphrase()
        with PrivateFile(output, overwrite=False) as file:
            with Bundle(file.stream.write, passphrase, desk.now) as bundle:
                given, foreign = _fill(desk, bundle, case, rows, keys, number)
                done = case.with_outcomes(given)
                letter = access_letter(desk.reply(done, Language(language)))
                bundle.add(f"letter.{language}.md", letter.encode())
                bundle.close(case.id, _signing_key(desk))
            digest = file.sha256()
            written = file.stream.tell()
            desk.audit("dsr.bundle_created", done, {"sha256": digest, "bytes": written, "count": len(given)})
            file.publish()
        desk.cases.save(done)
    tick(True, f"{output}  {len(given)} recordings, {size(written)}, sha256 {digest}")
    for recording in foreign:
        tick(False, f"{recording}: left out, the number is not a party of it", warn=True)
    click.echo(f"passphrase: {passphrase}")


def _fill(
    desk: Desk,
    bundle: Bundle,
    case: Case,
    rows: Sequence[CatalogueRow],
    keys: Sequence[Identity],
    number: str,
) -> tuple[list[Found], list[str]]:
    reader, numbering = desk.archive.reader, desk.policy.numbering
    given, foreign, calls = [], [], []
    for row in rows:
        recording = row.tags.recording
        parties = reader.parties(recording, keys)
        if not is_party(parties, number, numbering):
            foreign.append(recording.text)
            continue
        audio = io.BytesIO()
        export(reader.wav(recording, keys), audio, ExportFormat.WAV)
        digest = bundle.add(f"audio/{recording}.wav", audio.getvalue())
        _audit_export(desk, case, row, digest)
        calls.append(_facts(desk, case, row, parties, number))
        given.append(Found(recording=recording.text, purpose=row.tags.purpose, outcome=Outcome.EXPORTED))
    bundle.add_json("calls.json", calls)
    bundle.add_json("recipients.json", _recipients(desk, {one.recording for one in given}))
    return given, foreign


def _facts(desk: Desk, case: Case, row: CatalogueRow, parties: Parties, number: str) -> object:
    holds = desk.archive.catalogue.holds.select(recording=row.tags.recording, states=(HoldState.ACTIVE,))
    notes = [f"{hold.kind.value} until {hold.ends:%Y-%m-%d}" for hold in holds if hold.id not in case.holds]
    return call_facts(row, parties, number, desk.policy.numbering, notes)


def _recipients(desk: Desk, recordings: set[str]) -> object:
    """Who got the data according to the chain: when and how; not which member of staff."""
    uses = [
        {"recording": line["rec"], "when": line["ts"], "how": line["event"], "ground": line.get("ground", "")}
        for line in read_events(desk.archive.files)
        if line["event"] in _USES and line.get("rec") in recordings
    ]
    return {"stated_in_policy": _stated(desk), "uses": uses}


def _stated(desk: Desk) -> object:
    sheet = Sheet(desk.policy, Language.EN)
    return {purpose.name: purpose.value("recipients") or [] for purpose in sheet.purposes}


def _audit_export(desk: Desk, case: Case, row: CatalogueRow, digest: str) -> None:
    with desk.archive.audit(actor()) as chain:
        chain.append(
            "export.created",
            {
                "rec": row.tags.recording.text,
                "purpose": row.tags.purpose,
                "format": ExportFormat.WAV.value,
                "sha256": digest,
                "recipient": "data subject",
                "ground": "GDPR art. 15",
                "dsr": case.id,
                "outcome": "exported",
            },
        )


def _signing_key(desk: Desk) -> Ed25519PrivateKey:
    place = desk.archive.config.storage.audit_key
    return load_signing_key(OsFiles(place.parent), place.name)
