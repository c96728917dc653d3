"""``recproxy catalogue``: when it is lost, and no copy of it is left."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from recproxy.cli.archive import Absent, actor, open_archive
from recproxy.cli.audit import chain_key
from recproxy.cli.display import print_json, tick
from recproxy.cli.options import config_option, json_option
from recproxy.errors import PartlyDone
from storage import Rebuilt, rebuild, verify_chain

__all__ = ["catalogue"]

_SHOWN: Final = 20


@click.group("catalogue", no_args_is_help=False)
def catalogue() -> None:
    """Make a lost catalogue again from the audit chain."""


@catalogue.command("rebuild")
@config_option
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@json_option
def rebuild_catalogue(config: Path, dry_run: bool, as_json: bool) -> None:
    """Enter each recording that the audit chain tells of and the catalogue does not know.

    Put a copy of the catalogue back first, if there is one: what it knows stays
    as it is. Stop recproxy and its retention before. Purpose, expiry, announcement
    and hash come from the chain, which is verified first; what was shredded gets
    its tombstone again, never its row. Who called whom, and the index by number,
    are lost: no log holds them. Ends with 3 if a person must look at something.
    """
    with open_archive(config, absent=Absent.IN_MEMORY if dry_run else Absent.MADE) as archive:
        verify_chain(archive.files, chain_key(archive))
        now = datetime.now(UTC)
        found = rebuild(archive.files, archive.catalogue, now, archive.objects, dry=dry_run)
        if not dry_run:
            with archive.audit(actor()) as audit:
                audit.append("catalogue.rebuilt", {**_counts(found), "outcome": "rebuilt"})
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                **_counts(found),
                "states": {state.value: count for state, count in found.rows.items()},
                "findings": [{"id": one.recording, "reason": one.reason} for one in found.findings],
                "restrictions": list(found.restrictions),
                "cases": list(found.cases),
            }
        )
    else:
        _print(found, dry_run=dry_run)
    left = len(found.findings) + len(found.restrictions) + len(found.cases)
    if left:
        raise PartlyDone(
            f"a person must look at {left} of what the chain tells",
            hint="recproxy retention may run only after that; docs/operate.md says what to do with each",
        )


def _counts(found: Rebuilt) -> dict[str, int]:
    return {
        "rows": sum(found.rows.values()),
        "tombstones": found.tombstones,
        "holds": len(found.holds),
        "unclear": len(found.findings),
    }


def _print(found: Rebuilt, *, dry_run: bool) -> None:
    done = "would be entered" if dry_run else "entered"
    states = ", ".join(f"{count} {state.value}" for state, count in found.rows.items())
    tick(True, f"recordings {done}: {sum(found.rows.values())}{f' ({states})' if states else ''}")
    tick(True, f"tombstones {done}: {found.tombstones}")
    for hold in found.holds:
        tick(True, f"hold {hold.id[:12]} ({hold.case_ref}) {done}: recordings {len(hold.recordings)}")
    for one in found.findings[:_SHOWN]:
        tick(False, f"recording {one.recording}: {one.reason}")
    if len(found.findings) > _SHOWN:
        tick(False, f"and {len(found.findings) - _SHOWN} more; --json names them all")
    for case in found.restrictions:
        tick(False, f"case {case}: use was restricted; restrict what it is about again", warn=True)
    for case in found.cases:
        tick(False, f"case {case}: is open; look again for what it is about, so that it is kept", warn=True)
