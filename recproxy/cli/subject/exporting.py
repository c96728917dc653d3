"""``recproxy subject export``."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from recproxy.cli.archive import actor, load_identity_files
from recproxy.cli.display import size, tick
from recproxy.cli.options import config_option, identity_option, output_option
from recproxy.cli.recordings.outfile import PrivateFile
from recproxy.cli.subject.desk import Desk, language_option, open_desk, tell_not_searched
from recproxy.cli.subject.muting import described, mute_option, mutes_by_recording
from recproxy.cli.subject.otherparty import audit_written, in_writing, written
from recproxy.errors import UsageError
from recproxy.notices import Language, Sheet
from recproxy.subject.bundle import Bundle, call_facts, new_passphrase
from recproxy.subject.cases import Case, Found, KeptBundle, Outcome, RequestKind, bundle_name
from recproxy.subject.decisions import PORTABLE, outcomes
from recproxy.subject.finding import is_caller, is_party
from recproxy.subject.letters import access_letter
from storage import CatalogueRow, HoldState, OsFiles, Parties, State, load_signing_key, read_events
from storage.age import AgeError, Identity, PassphraseRecipient, Recipient, parse_recipient
from storage.export import ExportFormat, export
from storage.muting import CALLEE, CALLER, Mute

__all__ = ["exporting"]

_KEPT: Final = timedelta(days=30)
_USES: Final = ("derived.opened", "export.created", "export.delivered", "playback.opened", "parties.opened")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an answer is made with.

    Attributes:
        case: Whose.
        rows: Its sealed recordings.
        keys: Open them.
        number: Of the person, as E.164.
        mutes: What is left out, by recording.
    """

    case: Case
    rows: Sequence[CatalogueRow]
    keys: Sequence[Identity]
    number: str
    mutes: Mapping[str, tuple[Mute, ...]]


@dataclass(frozen=True, slots=True)
class _Filled:
    """What went into an answer.

    Attributes:
        given: What became of each recording, by purpose.
        foreign: Recordings that are left out: the number is no party of them.
        unwritten: Recordings whose other voice is left out, and nobody wrote what it says.
    """

    given: tuple[Found, ...]
    foreign: tuple[str, ...]
    unwritten: tuple[str, ...]


@click.command("export", short_help="Make the bundle: letter, audio, facts.")
@click.argument("case_id", metavar="CASE")
@config_option
@identity_option(required=True)
@output_option(
    "Archive to make, mode 0600, yours to delete. Default: beside the cases, where retention "
    "destroys it after 30 days.",
    required=False,
)
@click.option(
    "--recipient",
    metavar="AGE-KEY",
    help="age public key of the person, in place of a passphrase that is shown once.",
)
@mute_option
@language_option
def exporting(
    case_id: str,
    config: Path,
    identities: tuple[Path, ...],
    output: Path | None,
    recipient: str | None,
    mutes: tuple[str, ...],
    language: str,
) -> None:
    """Make the answer to CASE (GDPR art. 15): letter, audio, transcripts, facts, signed hashes.

    Each recording is opened and must have the person's number as a party; one
    that has not is left out and named. Where its purpose gives the other voice in
    writing only, that voice is silenced and the transcript goes in; if there is none,
    that is said. A case of portability (art. 20) gets the
    person's own channel, of recordings that rest on consent or contract. The
    passphrase is shown once: tell it to the person by another way than the file
    (age -d FILE | tar x opens it).
    """
    with open_desk(config) as desk:
        case = desk.cases.find(case_id)
        case.check_open()
        keys = load_identity_files(identities)
        passphrase = "" if recipient else new_passphrase()
        opener = _recipient(recipient) if recipient else PassphraseRecipient(passphrase)
        rows = [row for row in desk.rows(case) if row.state is State.SEALED]
        silent = mutes_by_recording(mutes, [row.tags.recording.text for row in rows])
        answer = _Answer(case, rows, keys, desk.cases.number(case, keys), silent)
        target = output or _kept_at(desk, case)
        with PrivateFile(target, overwrite=False) as file:
            with Bundle(file.stream.write, opener, desk.now) as bundle:
                filled = _fill(desk, bundle, answer)
                done = case.with_outcomes(filled.given)
                letter = access_letter(desk.reply(done, Language(language)))
                bundle.add(f"letter.{language}.md", letter.encode())
                bundle.close(case.id, _signing_key(desk))
            digest = file.sha256()
            written = file.stream.tell()
            desk.audit(
                "dsr.bundle_created",
                done,
                {"sha256": digest, "bytes": written, "count": len({one.recording for one in filled.given})},
            )
            if output is None:
                kept = KeptBundle(sha256=digest, made_at=desk.now, until=desk.now + _KEPT)
                done = replace(done, bundle=kept)
                desk.cases.save(done)  # before the file: what is kept always has an end
            file.publish()
        desk.cases.save(done)
        elsewhere = desk.not_searched
    tick(
        True,
        f"{target}  {len(answer.rows) - len(filled.foreign)} recordings, {size(written)}, sha256 {digest}",
    )
    if output is None:
        click.echo(f"kept until {desk.now + _KEPT:%Y-%m-%d}, then retention destroys it")
    tell_not_searched(elsewhere)
    for recording in filled.foreign:
        tick(False, f"{recording}: left out, the number is not a party of it", warn=True)
    for recording in filled.unwritten:
        tick(
            False,
            f"{recording}: the other voice is left out, and no transcript stands in its place: "
            f"recproxy recordings transcript add {recording[:12]} keeps one",
            warn=True,
        )
    if passphrase:
        click.echo(f"passphrase: {passphrase}")


def _recipient(text: str) -> Recipient:
    try:
        return parse_recipient(text)
    except AgeError as err:
        raise UsageError(f"--recipient: {err}", hint="give the age public key of the person, age1…") from err


def _kept_at(desk: Desk, case: Case) -> Path:
    """Where the answer waits; one that waits there already is destroyed."""
    place = desk.archive.config.subjects.directory
    if place is None:  # `open_desk` has refused that
        raise UsageError("subjects.directory is not configured", hint="give --output")
    desk.cases.destroy_bundle(case)
    return place / bundle_name(case.id)


def _fill(desk: Desk, bundle: Bundle, answer: _Answer) -> _Filled:
    reader, numbering = desk.archive.reader, desk.policy.numbering
    given: list[Found] = []
    foreign: list[str] = []
    calls: list[Mapping[str, object]] = []
    unwritten: list[str] = []
    ported = answer.case.kind is RequestKind.PORTABILITY
    for row in answer.rows:
        recording = row.tags.recording
        staying = [term.purpose for term in row.tags.terms if ported and term.legal_basis not in PORTABLE]
        given += [one for one in outcomes(row, Outcome.REFUSED_BASIS) if one.purpose in staying]
        if len(staying) == len(row.tags.terms):
            continue
        if not row.parties:  # lost with the catalogue: nobody can say that it is his
            foreign.append(recording.text)
            continue
        parties = reader.parties(recording, answer.keys)
        if not is_party(parties, answer.number, numbering):
            foreign.append(recording.text)
            continue
        own = CALLER if is_caller(parties, answer.number, numbering) else CALLEE
        asked = answer.mutes.get(recording.text, ())
        silenced = in_writing(desk.policy, row, own)
        silent = (*asked, *silenced)
        if ported:
            silent = (*asked, Mute(CALLEE if own == CALLER else CALLER))
        audio = io.BytesIO()
        export(reader.wav(recording, answer.keys), audio, ExportFormat.WAV, mutes=silent)
        digest = bundle.add(f"audio/{recording}.wav", audio.getvalue())
        _audit_export(desk, answer.case, row, digest, silent)
        text = None
        if not ported and not asked:  # words of somebody who is left out would be in it
            text = written(reader, desk.archive.catalogue.derived.of(recording), row, answer.keys)
        if text is not None:
            bundle.add(text.name, text.content)
            audit_written(desk, answer.case, text)
        elif silenced and not ported:
            unwritten.append(recording.text)
        facts = _facts(desk, answer.case, row, parties, answer.number)
        calls.append({**facts, "transcript": text and text.name, **_left_out(silent)})
        given += [one for one in outcomes(row, Outcome.EXPORTED) if one.purpose not in staying]
    bundle.add_json("calls.json", calls)
    exported = {one.recording for one in given if one.outcome is Outcome.EXPORTED}
    bundle.add_json("recipients.json", _recipients(desk, exported))
    return _Filled(tuple(given), tuple(foreign), tuple(unwritten))


def _left_out(mutes: Sequence[Mute]) -> Mapping[str, object]:
    """What the person is told of silence that we made."""
    if not mutes:
        return {}
    return {"muted": [described(mute) for mute in mutes], "muted_for": "the rights of another person"}


def _facts(desk: Desk, case: Case, row: CatalogueRow, parties: Parties, number: str) -> Mapping[str, object]:
    holds = desk.archive.catalogue.holds.select(recording=row.tags.recording, states=(HoldState.ACTIVE,))
    notes = [f"{hold.kind.value} until {hold.ends:%Y-%m-%d}" for hold in holds if hold.id not in case.holds]
    facts = call_facts(row, parties, number, desk.policy.numbering, notes)
    return {**facts, "statements": desk.statements(row.tags.recording)}


def _recipients(desk: Desk, recordings: set[str]) -> object:
    """Who got the data according to the chain: when and how; not which member of staff.

    What went to an authority whose order forbids to tell it is left out (GDPR art. 23).
    """
    uses = [
        {"recording": line["rec"], "when": line["ts"], "how": line["event"], "ground": line.get("ground", "")}
        for line in read_events(desk.archive.files)
        if line["event"] in _USES and line.get("rec") in recordings and not line.get("secret")
    ]
    return {"stated_in_policy": _stated(desk), "uses": uses}


def _stated(desk: Desk) -> object:
    sheet = Sheet(desk.policy, Language.EN)
    return {purpose.name: purpose.value("recipients") or [] for purpose in sheet.purposes}


def _audit_export(desk: Desk, case: Case, row: CatalogueRow, digest: str, mutes: Sequence[Mute]) -> None:
    ported = case.kind is RequestKind.PORTABILITY
    silent = {"muted": "; ".join(map(described, mutes)), "reason": "GDPR art. 15(4)"} if mutes else {}
    with desk.archive.audit(actor()) as chain:
        chain.append(
            "export.created",
            {
                "rec": row.tags.recording.text,
                "purpose": ",".join(term.purpose for term in row.tags.terms),
                "format": ExportFormat.WAV.value,
                "sha256": digest,
                "recipient": "data subject",
                "ground": "GDPR art. 20" if ported else "GDPR art. 15",
                "dsr": case.id,
                "outcome": "exported",
                **silent,
            },
        )


def _signing_key(desk: Desk) -> Ed25519PrivateKey:
    place = desk.archive.config.storage.audit_key
    return load_signing_key(OsFiles(place.parent), place.name)
