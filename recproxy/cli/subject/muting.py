"""``--mute``: a voice that is left out of the answer, on which channel, from when to when."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import click

from recproxy.errors import UsageError
from storage.muting import Mute

__all__ = ["described", "mute_option", "mutes_by_recording"]

_CHANNELS: Final = ("caller", "callee")
_MUTE: Final = re.compile(
    r"(?P<recording>[0-9a-f]{1,32}):(?P<channel>caller|callee)"
    r"(?::(?P<start>[0-9]{1,6}(?:\.[0-9]{1,3})?)-(?P<end>[0-9]{1,6}(?:\.[0-9]{1,3})?)?)?\Z"
)


def mute_option(command: click.decorators.FC) -> click.decorators.FC:
    """``--mute``: of another private person's voice."""
    return click.option(
        "--mute",
        "mutes",
        multiple=True,
        metavar="RECORDING:CHANNEL[:FROM-TO]",
        help="Silence another private person (GDPR art. 15(4)): channel caller or callee, seconds from "
        "the start, such as 6f2c:callee:12.5-30. May be repeated; each is logged.",
    )(command)


def mutes_by_recording(words: Iterable[str], recordings: Collection[str]) -> Mapping[str, tuple[Mute, ...]]:
    """Read what is to be left out.

    Args:
        words: As on the command line.
        recordings: Ids of the case.

    Returns:
        By id of the recording.

    Raises:
        UsageError: One is malformed, or names no recording of the case, or several.
        ExportError: One ends before it starts.
    """
    found: dict[str, tuple[Mute, ...]] = {}
    for word in words:
        match = _MUTE.match(word)
        if match is None:
            raise UsageError(f"--mute {word!r} is not such as 6f2c:callee or 6f2c:callee:12.5-30")
        named = [one for one in recordings if one.startswith(match["recording"])]
        if len(named) != 1:
            raise UsageError(f"--mute {word!r} names {len(named)} recordings of the case; give more digits")
        end = None if match["end"] is None else float(match["end"])
        mute = Mute(_CHANNELS.index(match["channel"]), float(match["start"] or 0), end)
        found[named[0]] = (*found.get(named[0], ()), mute)
    return found


def described(mute: Mute) -> str:
    """In words: for the audit chain and for the person."""
    end = "end" if mute.end_s is None else f"{mute.end_s:g} s"
    return f"{_CHANNELS[mute.channel]} {mute.start_s:g} s to {end}"
