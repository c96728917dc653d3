"""Groups of commands that are imported only when they are called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

import click

__all__ = ["Entry", "LazyGroup"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is.

    Attributes:
        module: The module.
        attribute: Its name in there.
        help: Its one line in the list of commands.
    """

    module: str
    attribute: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    Attributes:
        entries: By the name of the command, in the order of the help text.
    """

    def __init__(self, name: str, *, entries: Mapping[str, Entry], help: str, epilog: str = "") -> None:  # noqa: A002 - click's name
        super().__init__(name, help=help, epilog=epilog or None, no_args_is_help=False)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order given."""
        del ctx
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        del ctx
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])
