"""``recproxy policy``: is this policy right?"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from recproxy.cli.display import Json, fields, print_json, table, tick
from recproxy.cli.options import FILE, json_option
from recproxy.config import load
from recproxy.errors import UsageError
from recproxy.policy import Policy, Purpose, load_policy

__all__ = ["policy"]


@click.group("policy", no_args_is_help=False)
def policy() -> None:
    """Check a policy file."""


@policy.command("check")
@click.argument("file", type=FILE, required=False)
@click.option(
    "-c", "--config", type=FILE, help="Configuration file: its policy, and the trunks that rules may name."
)
@json_option
def check(file: Path | None, config: Path | None, as_json: bool) -> None:
    """Check FILE, or the policy of a configuration; tell what it says.

    Every problem is told at once, with its line. Exits 78 if there is one.
    """
    if file is None and config is None:
        raise UsageError("nothing to check", hint='name a file: "recproxy policy check policy.yaml"')
    trunks: tuple[str, ...] | None = None
    if config is not None:
        settings = load(config)
        trunks = tuple(settings.trunks)
        file = file or settings.policy
    if file is None:
        raise UsageError("nothing to check")
    found = load_policy(file, trunks)
    if as_json:
        print_json(_document(file, found))
    else:
        _print(file, found)


def _document(file: Path, found: Policy) -> Json:
    return {
        "file": str(file),
        "sha256": found.version,
        "purposes": {
            name: {
                "legal_basis": purpose.legal_basis.value,
                "retention_s": int(purpose.retention.total_seconds()),
                "prompt": purpose.announcement.prompt or name,
                "language": purpose.announcement.language,
                "audience": purpose.announcement.audience.value,
                "on_failure": purpose.on_failure.value,
            }
            for name, purpose in found.purposes.items()
        },
        "rules": [{"name": rule.name, "purpose": rule.purpose} for rule in found.rules],
    }


def _print(file: Path, found: Policy) -> None:
    tick(True, f"{file} is sound")
    fields([("sha256", found.version)])
    table(
        ("purpose", "kept", "legal basis", "announced", "to", "on failure"),
        (_row(name, purpose) for name, purpose in found.purposes.items()),
    )
    table(
        ("rule", "name", "purpose"),
        ((str(number), rule.name, rule.purpose) for number, rule in enumerate(found.rules, start=1)),
        right=("rule",),
    )


def _row(name: str, purpose: Purpose) -> tuple[str, ...]:
    said = purpose.announcement
    return (
        name,
        _duration(purpose.retention),
        purpose.legal_basis.value,
        f"{said.prompt or name} ({said.language})",
        said.audience.value,
        purpose.on_failure.value,
    )


def _duration(kept: timedelta) -> str:
    return f"{kept.days} days" if kept.days and not kept.seconds else f"{int(kept.total_seconds())} s"
