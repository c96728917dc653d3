"""Where a letter goes."""

from __future__ import annotations

from pathlib import Path

import click

from recproxy.cli.recordings.outfile import PrivateFile

__all__ = ["letter_option", "write_letter"]


def letter_option(command: click.decorators.FC) -> click.decorators.FC:
    """``--letter``: a file for the letter to the person."""
    return click.option(
        "--letter",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write a letter to the person, Markdown, mode 0600.",
    )(command)


def write_letter(target: Path, text: str) -> None:
    """Write a letter; the file must not exist.

    Raises:
        RecproxyError: It exists.
        OSError: It cannot be written.
    """
    with PrivateFile(target, overwrite=False) as file:
        file.stream.write(text.encode())
        file.publish()
