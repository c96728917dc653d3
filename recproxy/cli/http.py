"""``recproxy api``: tokens of the HTTP API, and its OpenAPI document."""

from __future__ import annotations

import secrets
from importlib.metadata import version
from pathlib import Path

import click

from recproxy.cli.display import print_json
from recproxy.cli.options import config_option
from recproxy.config import load
from recproxy.errors import RecproxyError, UsageError

__all__ = ["api"]

_ROLES = ("admin", "operator", "auditor", "privacy")


@click.group("api", no_args_is_help=False)
def api() -> None:
    """Let people and programs use the HTTP API."""


@api.command("token")
@config_option
@click.option("--name", required=True, help="Of the person or program; roles of the policy name it, too.")
@click.option("--role", type=click.Choice(_ROLES), required=True, help="What it may do.")
def token(config: Path, name: str, role: str) -> None:
    """Make a token and let it in; it is printed once and kept nowhere.

    Take one back by removing its line from the file: that holds at once.
    """
    from recproxy.api.tokenfile import add_line  # noqa: PLC0415 - other commands need not pay for it
    from recproxy.api.tokens import SECRET_BYTES, Role, mint, token_line  # noqa: PLC0415 - the same

    path = load(config).api.tokens
    if path is None:
        raise RecproxyError("the configuration names no tokens file", hint="set api.tokens")
    made = mint(secrets.token_bytes(SECRET_BYTES))
    try:
        line = token_line(name, Role(role), made)
    except ValueError as err:
        raise UsageError(f"--name: {err}") from err
    add_line(path, line)
    click.echo(made)


@api.command("schema")
def schema() -> None:
    """Print the OpenAPI document of the HTTP API."""
    from recproxy.api.application import openapi  # noqa: PLC0415 - other commands need not pay for it

    print_json(openapi(version("recproxy")))
