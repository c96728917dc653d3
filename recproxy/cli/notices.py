"""``recproxy notices``: documents that repeat the policy in force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from recproxy.cli.options import config_option
from recproxy.cli.policy.reading import surroundings
from recproxy.config import load
from recproxy.notices import Language, RegisterFormat, Sheet, balance, register, staff_notice, statement
from recproxy.policy import load_policy

__all__ = ["notices"]

_language = click.option(
    "--lang",
    "language",
    type=click.Choice([one.value for one in Language]),
    default=Language.NL.value,
    show_default=True,
    help="Language.",
)


@click.group("notices", no_args_is_help=False)
def notices() -> None:
    """Write what the law wants written, from the policy."""


@notices.command("statement")
@config_option
@_language
def statement_command(config: Path, language: str) -> None:
    """Write the privacy statement for callers, Markdown."""
    _write(config, language, statement)


@notices.command("staff")
@config_option
@_language
def staff_command(config: Path, language: str) -> None:
    """Write the notice for staff, Markdown."""
    _write(config, language, staff_notice)


@notices.command("balance")
@config_option
@_language
def balance_command(config: Path, language: str) -> None:
    """Write the balancing of interests of each purpose that needs one, Markdown."""
    _write(config, language, balance)


@notices.command("register")
@config_option
@_language
@click.option(
    "--format",
    "form",
    type=click.Choice([one.value for one in RegisterFormat]),
    default=RegisterFormat.MARKDOWN.value,
    show_default=True,
    help="What to write.",
)
def register_command(config: Path, language: str, form: str) -> None:
    """Write the register of processing activities (GDPR art. 30)."""
    _write(config, language, lambda sheet: register(sheet, RegisterFormat(form)))


def _write(config: Path, language: str, make: Callable[[Sheet], str]) -> None:
    """Print a document; what the policy does not say is named on standard error."""
    settings = load(config)
    sheet = Sheet(load_policy(settings.policy, surroundings(tuple(settings.trunks))), Language(language))
    click.echo(make(sheet), nl=False)
    for key in sheet.missing:
        click.echo(f"recproxy: missing in the policy: {key}", err=True)
