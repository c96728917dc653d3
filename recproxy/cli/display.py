"""How values look: for programs as JSON, for people as lines and tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from recproxy.jsonform import Json, instant

__all__ = [
    "Json",
    "console",
    "fields",
    "instant",
    "length",
    "print_json",
    "progress",
    "size",
    "table",
    "tick",
]

_WIDE: Final = 240  # columns when nobody looks: programs are not helped by line breaks
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024
_PRECISE_BELOW: Final = 10


def console(*, err: bool = False) -> Console:
    """The terminal, or whatever standard output is."""
    stream = sys.stderr if err else sys.stdout
    return Console(
        file=stream, width=None if stream.isatty() else _WIDE, highlight=False, markup=False, emoji=False
    )


def print_json(value: Json) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def length(seconds: float) -> str:
    """A length of time, such as 1:02:03 or 0:07."""
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(int(whole.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def size(count: float) -> str:
    """A number of bytes, such as 1.2 MiB."""
    value = float(count)
    for unit in _UNITS:
        if value < _STEP or unit == _UNITS[-1]:
            break
        value /= _STEP
    else:
        unit = _UNITS[-1]
    return f"{value:.1f} {unit}" if unit != "B" and value < _PRECISE_BELOW else f"{value:.0f} {unit}"


def table(heads: Iterable[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table.

    Args:
        heads: Of the columns.
        rows: One text a column.
        right: Heads of the columns whose texts stand to the right.
    """
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for head in heads:
        grid.add_column(head, justify="right" if head in right else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    _print_trimmed(grid)


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one a line; a pair without a value is left out."""
    grid = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            grid.add_row(Text(name), Text(value))
    if grid.row_count:
        _print_trimmed(grid)


def tick(good: bool, text: str, *, warn: bool = False) -> None:
    """Print a line that begins with ✓, ! or ✗."""
    mark, style = ("✓", "green") if good else ("!", "yellow") if warn else ("✗", "red")
    console().print(Text.assemble((mark, f"bold {style}"), f" {text}"), soft_wrap=True)


def progress() -> Progress:
    """A progress bar on standard error; silent where nobody looks."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console(err=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _print_trimmed(grid: Table) -> None:
    """Print without the blanks that a table puts at the ends of its lines."""
    screen = console()
    if screen.is_terminal:
        screen.print(grid)
        return
    with screen.capture() as captured:
        screen.print(grid)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
