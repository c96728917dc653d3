"""``recproxy policy check``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from recproxy.cli.display import Json, fields, print_json, table, tick
from recproxy.cli.options import FILE, json_option
from recproxy.cli.policy.reading import measured, surroundings
from recproxy.config import Problem, load
from recproxy.errors import PolicyError, UsageError
from recproxy.policy import Policy, Purpose, Report, attachments_of, examine, sources_of
from recproxy.policy.lint.purposes import shown

__all__ = ["check", "examined"]


@click.command("check")
@click.argument("file", type=FILE, required=False)
@click.option(
    "-c", "--config", type=FILE, help="Configuration file: its policy, and the trunks that lines may name."
)
@json_option
def check(file: Path | None, config: Path | None, as_json: bool) -> None:
    """Check FILE, or the policy of a configuration; tell what it says.

    Every rule that is broken is told at once, with its code, line and mend; warnings likewise. The
    announcements are spoken and measured. Exits 78 if a rule is broken.
    """
    if file is None and config is None:
        raise UsageError("nothing to check", hint='name a file: "recproxy policy check policy.yaml"')
    settings = load(config) if config is not None else None
    file = file or (settings.policy if settings is not None else None)
    if file is None:
        raise UsageError("nothing to check")
    report = examined(file, tuple(settings.trunks) if settings is not None else None, measure=True)
    if as_json:
        print_json(_document(file, report))
    if report.problems:
        raise PolicyError(*map(str, report.problems))
    if report.policy is not None and not as_json:
        _print(file, report.policy, report.warnings)


def examined(file: Path, trunks: tuple[str, ...] | None = None, *, measure: bool = False) -> Report:
    """Examine the policy of a file and of the directory beside it.

    Args:
        file: The main file.
        trunks: Names that lines may use; None to take any.
        measure: Make the announcements, and measure them.
    """
    around = surroundings(trunks)
    sources, attached = sources_of(file), attachments_of(file)
    report = examine(sources, around, attached)
    if report.policy is None or not measure:
        return report
    return examine(sources, measured(around, report.policy, file.parent), attached)


def _finding(found: Problem) -> Json:
    return {
        "code": found.code,
        "file": found.place.file,
        "line": found.place.line,
        "key": found.key,
        "what": found.what,
    }


def _document(file: Path, report: Report) -> Json:
    found: dict[str, Json] = {
        "file": str(file),
        "problems": [_finding(problem) for problem in report.problems],
        "warnings": [_finding(warning) for warning in report.warnings],
    }
    policy = report.policy
    if policy is not None:
        found["sha256"] = policy.version
        found["purposes"] = {name: _facts(purpose) for name, purpose in policy.purposes.items()}
        found["lines"] = sorted(policy.lines)
    return found


def _facts(purpose: Purpose) -> Json:
    return {
        "kind": purpose.kind.value,
        "legal_basis": purpose.basis.caller.value,
        "retention_s": int(purpose.retention.keep.total_seconds()),
        "prompts": {str(language): str(prompt) for language, prompt in purpose.announce.prompts.items()},
        "audience": purpose.announce.audience.value,
        "choice": purpose.choice.mode.value,
        "on_failure": purpose.failure.recorder_down.value,
        "lines": list(purpose.scope.lines),
    }


def _print(file: Path, found: Policy, warnings: Iterable[Problem]) -> None:
    tick(True, f"{file} is sound")
    fields([("sha256", found.version)])
    table(
        ("purpose", "kept", "legal basis", "announced", "lines", "calls", "on failure"),
        (_row(name, purpose) for name, purpose in found.purposes.items()),
    )
    for warning in warnings:
        click.echo(f"warning: {warning}")


def _row(name: str, purpose: Purpose) -> tuple[str, ...]:
    selection = purpose.selection
    share = "" if selection.rate is None else f" {selection.rate:g}"
    return (
        name,
        shown(purpose.retention.keep),
        purpose.basis.caller.value,
        ", ".join(f"{prompt} ({language})" for language, prompt in purpose.announce.prompts.items()),
        ", ".join(purpose.scope.lines),
        f"{selection.mode.value}{share}",
        purpose.failure.recorder_down.value,
    )
