"""``recproxy recordings show``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from recproxy.cli.archive import Archive, actor, load_identity_files, open_archive
from recproxy.cli.display import fields, instant, length, print_json, size, table
from recproxy.cli.options import config_option, identity_option, json_option, why_option
from recproxy.cli.recordings.permitting import permitted, use_option
from recproxy.documents import body_path, of_derived, of_parties, of_row, of_tombstone
from recproxy.errors import UsageError
from storage import (
    CLIENTS_PROMPT,
    CatalogueRow,
    ChannelFacts,
    DerivedFile,
    NoticeProof,
    Parties,
    RecordingTags,
    SealFacts,
    Tombstone,
)

__all__ = ["showing"]

_SEALED = "encrypted; --identity opens them"


@click.command("show", short_help="Show all that is known of one recording.")
@click.argument("recording")
@config_option
@identity_option(required=False)
@use_option(required=False)
@why_option
@json_option
def showing(
    recording: str,
    config: Path,
    identities: tuple[Path, ...],
    use: str | None,
    why: str,
    as_json: bool,
) -> None:
    """Show all that is known of RECORDING: an id, or its first digits.

    With --identity and --use also who called whom, which leaves a line in the
    audit chain. Of a recording that is gone, shows what remains.
    """
    if bool(identities) != (use is not None):
        raise UsageError("--identity and --use go together", hint="say what it is used for: --use PURPOSE")
    with open_archive(config) as archive:
        found = archive.find(recording)
        if isinstance(found, Tombstone):
            if identities:
                raise UsageError(f"recording {found.recording} is {found.state.value}: nothing can be opened")
            if as_json:
                print_json(of_tombstone(found))
            else:
                _print_tombstone(found)
            return
        parties = None if use is None else _parties(archive, found, identities, use, why)
        derived = archive.catalogue.derived.of(found.tags.recording)
        parts = [row.tags.recording.text for row in archive.catalogue.of_call(found)]
    if as_json:
        told = None if parties is None else of_parties(parties)
        written = [of_derived(file) for file in derived]
        print_json({**of_row(found), "recordings_of_call": parts, "parties": told, "derived": written})
    else:
        _print_row(found, parties, derived, parts)


def _parties(
    archive: Archive, row: CatalogueRow, identities: tuple[Path, ...], use: str, why: str
) -> Parties:
    leave = permitted(archive, row, use, audio=False)
    keys = load_identity_files(identities)
    parties = archive.reader.parties(row.tags.recording, keys)
    with archive.audit(actor()) as audit:
        audit.append(
            "parties.opened",
            {
                "rec": row.tags.recording.text,
                "outcome": "shown",
                "reason": why or "none given",
                **leave.facts,
            },
        )
    return parties


def _place(row: CatalogueRow, parts: Sequence[str]) -> str:
    return f"recording {parts.index(row.tags.recording.text) + 1} of {len(parts)}"


def _print_row(
    row: CatalogueRow, parties: Parties | None, derived: Sequence[DerivedFile], parts: Sequence[str]
) -> None:
    tags, facts = row.tags, row.facts
    audio = row.audio
    fields(
        (
            ("recording", tags.recording.text),
            ("state", row.state.value + (f", held ({row.hold_reference})" if row.held else "")),
            *_purposes(tags),
            ("started", instant(tags.started)),
            ("ended", "" if facts is None else f"{instant(facts.ended)}, {row.reason}"),
            ("length", "" if facts is None else length(facts.frames / audio.rate_hz)),
            ("caller", _SEALED if parties is None else parties.caller or "withheld"),
            ("callee", _SEALED if parties is None else parties.callee),
            ("call-ids", "" if parties is None else " ".join(parties.sip_call_ids)),
            ("call", f"{tags.call}, {tags.direction.value} from trunk {tags.trunk}, node {tags.node}"),
            *((("of the call", f"{_place(row, parts)}: {' '.join(parts)}"),) if len(parts) > 1 else ()),
            ("policy", tags.policy_version),
            *_announcements(tags),
            ("audio", f"{audio.encoding}, {audio.rate_hz} Hz, {audio.channels} channels"),
            ("body", body_path(row) + (f", {size(row.size_bytes)}" if row.size_bytes else "")),
            ("sha256", row.sha256),
            *((file.kind.value, _derived(file)) for file in derived),
        )
    )
    if facts is None:
        return
    channels = [(name, side) for name, side in (("left", facts.caller), ("right", facts.callee)) if side]
    if channels:
        table(
            (
                "channel",
                "packets",
                "lost",
                "late",
                "reordered",
                "duplicates",
                "ssrc changes",
                "silence",
                "jitter",
                "keys",
            ),
            (
                (
                    name,
                    str(side.packets),
                    str(side.lost),
                    str(side.late),
                    str(side.reordered),
                    str(side.duplicates),
                    str(side.ssrc_changes),
                    f"{side.silence_samples / audio.rate_hz:.2f} s",
                    f"{side.jitter_ms:.1f} ms",
                    str(side.telephone_events),
                )
                for name, side in channels
            ),
            right=(
                "packets",
                "lost",
                "late",
                "reordered",
                "duplicates",
                "ssrc changes",
                "silence",
                "jitter",
                "keys",
            ),
        )
    fields(
        (
            ("paused", _paused(facts)),
            ("dropped packets", str(facts.dropped_packets) if facts.dropped_packets else ""),
            *((f"odd on the {name}", _odd(side)) for name, side in channels),
        )
    )


def _derived(file: DerivedFile) -> str:
    by = f", by {file.origin}" if file.origin else ""
    return f"{file.form}, {file.language}{by}; for {file.purpose} until {instant(file.expiry)}"


def _announced(notice: NoticeProof) -> str:
    """Which words, to whom; and that a recording client played them, if it did (docs/siprec.md)."""
    name = notice.prompt.removeprefix(CLIENTS_PROMPT)
    by = " by the recording client" if name != notice.prompt else ""
    return f"{name} ({notice.language}){by} to {' and '.join(notice.heard_by)}"


def _purposes(tags: RecordingTags) -> Iterator[tuple[str, str]]:
    for term in tags.terms:
        yield "purpose", term.purpose
        yield "legal basis", term.legal_basis.value
        yield "kept until", instant(term.expiry) + (", counted from its end" if term.from_end else "")


def _announcements(tags: RecordingTags) -> Iterator[tuple[str, str]]:
    for notice in dict.fromkeys(tags.notice_of(term) for term in tags.terms):
        yield "announced", _announced(notice)
        yield "", f"from {instant(notice.started)} to {instant(notice.completed)}"
        yield "", f"sha256 {notice.sha256}"


def _paused(facts: SealFacts) -> str:
    if not facts.paused and not facts.pauses:
        return ""
    times = "once" if facts.pauses == 1 else f"{facts.pauses} times"
    return f"{length(facts.paused.total_seconds())}" + (f", {times}" if facts.pauses else "")


def _odd(side: ChannelFacts) -> str:
    """What seldom happens, where it did."""
    counts = (
        ("put anew on the clock", side.reanchored),
        ("moved for drift", side.drift_shifts),
        ("not decodable", side.undecodable),
        ("beyond the room", side.overrun),
    )
    return ", ".join(f"{what}: {count}" for what, count in counts if count)


def _print_tombstone(stone: Tombstone) -> None:
    fields(
        (
            ("recording", stone.recording.text),
            ("state", f"{stone.state.value}; it cannot be opened any more"),
            ("purpose", stone.purpose),
            ("started on", stone.started_on.isoformat()),
            ("length", f"at most {stone.minutes} min" if stone.minutes else "unknown"),
            ("kept until", instant(stone.expiry)),
            ("gone at", f"{instant(stone.gone_at)}, {stone.cause}"),
            ("out of backups", _out_of_backups(stone)),
            ("key", " ".join(filter(None, (stone.key_group, stone.key_id)))),
            ("verified", "key and body were looked for and not found" if stone.verified else "no"),
            ("audit line", f"{stone.chain_seq}, sha256 {stone.chain_sha256}"),
            ("run", stone.run),
            ("policy", stone.policy_version),
            ("sha256", stone.sha256),
        )
    )


def _out_of_backups(stone: Tombstone) -> str:
    if stone.out_of_backups is None:
        return "not known before the next sweep of retention"
    said = instant(stone.out_of_backups)
    return (
        f"{said}, passed"
        if stone.complete_at is not None
        else f"{said}: until then a backup may hold its key"
    )
