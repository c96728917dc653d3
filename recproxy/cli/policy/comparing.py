"""``recproxy policy diff``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from recproxy.cli.archive import open_archive
from recproxy.cli.display import Json, print_json, table
from recproxy.cli.options import FILE, json_option
from recproxy.cli.policy.checking import examined
from recproxy.errors import PolicyError, UsageError
from recproxy.policy import Policy, PurposeName
from recproxy.policy.changes import Change, ChangeKind, changes
from recproxy.policy.terms import term_of
from storage import Term

__all__ = ["diff"]


@click.command("diff")
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option("-c", "--config", type=FILE, help="Configuration file: count the recordings of its catalogue.")
@click.option(
    "--confirm", type=int, metavar="COUNT", help="So many recordings expire sooner, and that is meant."
)
@json_option
def diff(old: Path, new: Path, config: Path | None, confirm: int | None, as_json: bool) -> None:
    """Tell what changes from the policy OLD to NEW, and how many recordings that moves.

    A shorter term holds for existing recordings at once, so it must be confirmed with their
    number. Reads only; exits 78 if NEW asks what may not change for recordings that exist.
    """
    before, after = _sound(old), _sound(new)
    found = changes(before.file, after.file)
    counts: Mapping[str, int] = {}
    if config is not None:
        with open_archive(config) as archive:
            counts = {
                name: len(archive.catalogue.terms.longer_than(name, Term(*term_of(after.purposes[name]))))
                for name in dict.fromkeys(
                    PurposeName(change.purpose) for change in found if change.kind is ChangeKind.SHORTER
                )
            }
    if as_json:
        print_json(_document(before, after, found, counts))
    else:
        table(("purpose", "change", "what", "recordings"), (_row(change, counts) for change in found))
    moved = sum(counts.values())
    if any(change.kind is ChangeKind.SHORTER for change in found):
        if config is None:
            raise UsageError("a term is shorter, and no catalogue was asked", hint="name it with --config")
        if moved and confirm != moved:
            raise UsageError(
                f"{moved} recordings would expire sooner", hint=f"if that is meant: --confirm {moved}"
            )


def _sound(file: Path) -> Policy:
    report = examined(file)
    if report.policy is None:
        raise PolicyError(*map(str, report.problems))
    return report.policy


def _row(change: Change, counts: Mapping[str, int]) -> tuple[str, ...]:
    moved = (
        str(counts[change.purpose]) if change.kind is ChangeKind.SHORTER and change.purpose in counts else ""
    )
    return (change.purpose, change.kind.value, change.what, moved)


def _document(before: Policy, after: Policy, found: tuple[Change, ...], counts: Mapping[str, int]) -> Json:
    return {
        "old": before.version,
        "new": after.version,
        "changes": [
            {
                "purpose": change.purpose or None,
                "change": change.kind.value,
                "what": change.what,
                "recordings": counts.get(change.purpose) if change.kind is ChangeKind.SHORTER else None,
            }
            for change in found
        ],
        "recordings": sum(counts.values()),
    }
