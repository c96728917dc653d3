"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

__all__ = [
    "DEFAULT_CONFIG",
    "FILE",
    "config_option",
    "identity_option",
    "json_option",
    "output_option",
    "why_option",
]

DEFAULT_CONFIG: Final = Path("/etc/recproxy/recproxy.yaml")
FILE: Final = click.Path(path_type=Path)

_Command = TypeVar("_Command", bound=Callable[..., Any])


def config_option(command: _Command) -> _Command:
    """``--config``: the configuration file."""
    return click.option(
        "-c", "--config", type=FILE, default=DEFAULT_CONFIG, show_default=True, help="Configuration file."
    )(command)


def json_option(command: _Command) -> _Command:
    """``--json``: for programs."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document; fields are only added.")(
        command
    )


def identity_option(*, required: bool) -> Callable[[_Command], _Command]:
    """``--identity``: the private key that opens recordings."""
    return click.option(
        "-i",
        "--identity",
        "identities",
        type=click.Path(path_type=Path, allow_dash=True),
        multiple=True,
        required=required,
        metavar="FILE",
        help="age identity file; - reads it from standard input. May be repeated.",
    )


def output_option(text: str, *, required: bool = True, dash: bool = False) -> Callable[[_Command], _Command]:
    """``--output``: the file to make.

    Args:
        text: Of the help.
        required: Whether there must be one.
        dash: Whether ``-`` is standard output.
    """
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, allow_dash=dash),
        required=required,
        metavar="FILE",
        help=text,
    )


def why_option(command: _Command) -> _Command:
    """``--why``: the reason, for the audit chain."""
    return click.option(
        "--why", default="", metavar="TEXT", help="Reason, for the audit chain: a ticket, no personal data."
    )(command)
