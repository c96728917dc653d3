"""``recproxy recordings list``."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import click

from recproxy.cli.archive import Archive, open_archive
from recproxy.cli.display import instant, length, print_json, size, table
from recproxy.cli.options import config_option, json_option
from recproxy.config import parse_duration
from recproxy.documents import of_tombstone, summary
from storage import CatalogueRow, State, Tombstone

__all__ = ["listing", "parse_instant"]

_GONE: Final = (State.SHREDDED, State.SHRED_COMPLETE, State.DISCARDED)


def _when(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read ``--since`` and ``--until``."""
    try:
        return None if value is None else parse_instant(value, datetime.now(UTC))
    except ValueError as err:
        raise click.BadParameter(str(err), ctx, param) from err


def parse_instant(text: str, now: datetime) -> datetime:
    """Read an instant as an operator writes it.

    Args:
        text: ``2026-11-24``, ``2026-11-24T10:00+01:00`` or ``P7D`` (ago). Without a zone it is UTC.
        now: The current instant.

    Raises:
        ValueError: It is something else.
    """
    if text[:1] in {"P", "p"}:
        return now - parse_duration(text.upper())
    try:
        if "T" not in text and " " not in text:
            return datetime.combine(date.fromisoformat(text), time(0), UTC)
        found = datetime.fromisoformat(text)
    except ValueError as err:
        raise ValueError(
            f"{text!r} is not a day (2026-11-24), an instant (2026-11-24T10:00Z) or a duration back (P7D)"
        ) from err
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@click.command("list", short_help="List recordings, newest first.")
@config_option
@click.option("--purpose", help="Only of this purpose.")
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in State]),
    multiple=True,
    help="Only in this state. May be repeated. Default: all that still have files.",
)
@click.option(
    "--since",
    metavar="WHEN",
    callback=_when,
    help="Only started at or after: 2026-11-24, 2026-11-24T10:00Z or P7D.",
)
@click.option("--until", metavar="WHEN", callback=_when, help="Only started before.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@json_option
def listing(
    config: Path,
    purpose: str | None,
    states: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List recordings, newest first.

    Who called whom is not listed: it is encrypted. States shredded,
    shred_complete and discarded list what remains of recordings that are gone;
    shredded includes those that are out of every backup too.
    """
    wanted = tuple(State(state) for state in states)
    if State.SHREDDED in wanted:
        wanted = (*wanted, State.SHRED_COMPLETE)
    with open_archive(config) as archive:
        rows = _rows(archive, purpose, wanted, since, until, limit + 1)
        stones = _stones(archive, purpose, wanted, since, until, limit + 1)
    more = max(len(rows), len(stones)) > limit
    rows, stones = rows[:limit], stones[:limit]
    if as_json:
        print_json(
            {
                "recordings": [summary(row) for row in rows],
                "gone": [of_tombstone(stone) for stone in stones],
                "more": more,
            }
        )
        return
    if rows:
        _print_rows(rows)
    if stones:
        _print_stones(stones)
    if not rows and not stones:
        click.echo("no recordings")
    if more:
        click.echo(f"more than {limit}: narrow it down, or raise --limit")


def _rows(
    archive: Archive,
    purpose: str | None,
    states: tuple[State, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> tuple[CatalogueRow, ...]:
    living = tuple(state for state in states if state not in _GONE)
    if states and not living:
        return ()
    return archive.catalogue.select(purpose=purpose, states=living, since=since, until=until, limit=limit)


def _stones(
    archive: Archive,
    purpose: str | None,
    states: tuple[State, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> tuple[Tombstone, ...]:
    """Tombstones know the day they started, no more: a day that the bounds touch is inside."""
    if not set(states) & set(_GONE):
        return ()
    found = (
        stone
        for stone in archive.catalogue.tombstones()
        if stone.state in states
        and (purpose is None or stone.purpose == purpose)
        and (since is None or _start_of(stone) + timedelta(days=1) > since)
        and (until is None or _start_of(stone) < until)
    )
    return tuple(stone for stone, _ in zip(found, range(limit), strict=False))


def _start_of(stone: Tombstone) -> datetime:
    return datetime.combine(stone.started_on, time(0), UTC)


def _print_rows(rows: tuple[CatalogueRow, ...]) -> None:
    table(
        ("recording", "started", "length", "size", "state", "purpose", "direction", "trunk", "kept until"),
        (
            (
                row.tags.recording.text[:12],
                instant(row.tags.started)[:19] + "Z",
                "" if row.facts is None else length(row.facts.frames / row.audio.rate_hz),
                size(row.size_bytes) if row.size_bytes else "",
                row.state.value + (" held" if row.held else ""),
                ", ".join(term.purpose for term in row.tags.terms),
                row.tags.direction.value,
                row.tags.trunk,
                instant(row.tags.kept_until)[:19] + "Z",
            )
            for row in rows
        ),
        right=("length", "size"),
    )


def _print_stones(stones: tuple[Tombstone, ...]) -> None:
    table(
        ("recording", "started on", "state", "purpose", "gone at", "cause"),
        (
            (
                stone.recording.text[:12],
                stone.started_on.isoformat(),
                stone.state.value,
                stone.purpose,
                instant(stone.gone_at)[:19] + "Z",
                stone.cause,
            )
            for stone in stones
        ),
    )
