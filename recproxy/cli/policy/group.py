"""The group of commands."""

from __future__ import annotations

from pathlib import Path

import click

from recproxy.cli.display import print_json
from recproxy.cli.options import FILE, config_option
from recproxy.cli.policy.checking import check
from recproxy.cli.policy.comparing import diff
from recproxy.cli.policy.explaining import explain
from recproxy.cli.policy.reading import numbers_from_input, surroundings
from recproxy.config import load, read
from recproxy.errors import UsageError
from recproxy.policy import canonical_json, load_policy, number_token, parse_key
from recproxy.policy.schema import json_schema

__all__ = ["policy"]


@click.group("policy", no_args_is_help=False)
def policy() -> None:
    """Check, explain and compare policies."""


@policy.command("schema")
def schema() -> None:
    """Print the JSON Schema of policy.yaml, for editors."""
    print_json(json_schema())


@policy.command("print")
@click.argument("file", type=FILE)
def print_(file: Path) -> None:
    """Print the policy of FILE and its policy.d in one spelling, whose SHA-256 is the version."""
    click.echo(canonical_json(load_policy(file, surroundings()).file), nl=False)


@policy.command("confidential")
@config_option
@click.option("--key", "key_file", type=FILE, required=True, help="Key of the hashes: openssl rand -hex 32.")
def confidential(config: Path, key_file: Path) -> None:
    """Print the keyed hash of each number on standard input, one a line.

    Numbers are read as the policy's numbering says, as they are dialled.
    """
    settings = load(config)
    try:
        key = parse_key(read(key_file))
    except ValueError as err:
        raise UsageError(f"{key_file}: {err}") from err
    numbering = load_policy(settings.policy, surroundings(tuple(settings.trunks))).numbering
    for number in numbers_from_input():
        click.echo(number_token(key, numbering.canonical(number)))


for _command in (check, diff, explain):
    policy.add_command(_command)
