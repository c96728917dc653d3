"""What the commands read: the policy with its surroundings, and numbers that must not stand in argv."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from recproxy.errors import UsageError
from recproxy.policy import Policy, Surroundings

__all__ = ["STANDARD_INPUT", "measured", "number_from", "numbers_from_input", "surroundings"]

STANDARD_INPUT: Final = "-"


def surroundings(trunks: tuple[str, ...] | None = None) -> Surroundings:
    """What the rules go by besides the policy, today.

    Args:
        trunks: Names that lines may use; None to take any.
    """
    from announcer import BUILT_IN  # noqa: PLC0415 - brings the codecs, which most commands do not need

    return Surroundings(datetime.now(UTC).date(), trunks=trunks, built_in=BUILT_IN)


def measured(around: Surroundings, policy: Policy, directory: Path) -> Surroundings:
    """The same, with the length of each announcement as it will be played.

    Args:
        around: What is known so far.
        policy: Names the announcements.
        directory: Of the policy file.
    """
    from announcer import PromptSet, PromptSpec  # noqa: PLC0415 - as above

    specs = [
        PromptSpec(
            said.name,
            said.language,
            text=said.text,
            file=None if said.file is None else directory / said.file,
        )
        for said in policy.prompts()
    ]
    with tempfile.TemporaryDirectory(prefix="recproxy-policy-") as scratch:
        made = PromptSet.load(Path(scratch), specs, ())
    return Surroundings(
        around.today,
        trunks=around.trunks,
        built_in=around.built_in,
        seconds={key: prompt.duration_s for key, prompt in made.prompts.items()},
        faults={(broken.name, broken.language): broken.why for broken in made.broken},
    )


def numbers_from_input() -> Iterator[str]:
    """The numbers on standard input, one a line."""
    for line in sys.stdin.buffer.read().decode(errors="replace").splitlines():
        if line.strip():
            yield line.strip()


def number_from(option: str, text: str, lines: Iterator[str]) -> str:
    """The number that an option gives, or the next line of standard input if it is ``-``.

    Raises:
        UsageError: Standard input has no further line.
    """
    if text != STANDARD_INPUT:
        return text
    found = next(lines, None)
    if found is None:
        raise UsageError(f"{option} -: no number on standard input", hint="give one a line")
    return found
