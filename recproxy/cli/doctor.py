"""``recproxy doctor``: is this machine fit to record?"""

from __future__ import annotations

from pathlib import Path

import click

from recproxy.cli.display import print_json, tick
from recproxy.cli.options import config_option, json_option
from recproxy.config import load
from recproxy.doctor import Finding, Grade, check, probe
from recproxy.errors import RecproxyError

__all__ = ["doctor"]


@click.command("doctor", short_help="Check everything that recproxy needs to run; changes nothing.")
@config_option
@json_option
def doctor(config: Path, as_json: bool) -> None:
    """Check everything that recproxy needs to run; changes nothing.

    Run it as the user that recproxy runs as. A line with ✗ must be mended, each
    says how; one with ! should be. Exits 1 if there is a ✗.
    """
    settings = load(config)
    found = check(probe(settings), settings)
    bad = [one for one in found if one.grade is Grade.BAD]
    if as_json:
        print_json(
            {
                "fit": not bad,
                "checks": [
                    {"check": one.check, "grade": one.grade.value, "said": one.said, "mend": one.mend}
                    for one in found
                ],
            }
        )
    else:
        for one in found:
            _print(one)
    if bad:
        raise RecproxyError(
            f"{len(bad)} of {len(found)} checks failed: {', '.join(one.check for one in bad)}"
        )


def _print(one: Finding) -> None:
    first, *more = one.said.splitlines() or [""]
    tick(one.grade is Grade.GOOD, f"{one.check}: {first}", warn=one.grade is Grade.WARNING)
    for line in more:
        click.echo(f"  {line}")
    if one.mend:
        click.echo(f"  → {one.mend}")
