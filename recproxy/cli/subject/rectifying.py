"""``recproxy subject rectify``: a recording stays as it was; what the person says of it is added."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from recproxy.cli.display import print_json
from recproxy.cli.options import config_option, json_option
from recproxy.cli.subject.desk import document, language_option, open_desk, tell
from recproxy.cli.subject.letterfile import letter_option, write_letter
from recproxy.errors import RecproxyError, UsageError
from recproxy.notices import Language
from recproxy.subject.cases import Outcome
from recproxy.subject.decisions import outcomes
from recproxy.subject.letters import outcome_letter

__all__ = ["rectify"]

_REFERENCE: Final = re.compile(r"(?!.*[0-9]{7})[A-Za-z0-9][A-Za-z0-9 ./_-]{0,63}\Z")


@click.command("rectify", short_help="Add what the person says of a recording.")
@click.argument("case_id", metavar="CASE")
@config_option
@click.option(
    "--statement",
    required=True,
    metavar="REF",
    help="Reference of the person's statement in your files; no name, no number.",
)
@letter_option
@language_option
@json_option
def rectify(
    case_id: str, config: Path, statement: str, letter: Path | None, language: str, as_json: bool
) -> None:
    """Complete the recordings of CASE by a statement of the person (GDPR art. 16).

    What was said is not changed: it would be evidence no longer. The reference
    goes with each of them into every later answer. While it is disputed whether
    a recording is right, restrict it: recproxy subject restrict --ground accuracy.
    """
    if not _REFERENCE.match(statement):
        raise UsageError(
            "--statement is not up to 64 letters, digits, spaces and ./_-, without seven digits in a row",
            hint="name the document, not the person",
        )
    with open_desk(config) as desk:
        case = desk.cases.find(case_id)
        case.check_open()
        rows = desk.rows(case)
        if not rows:
            raise RecproxyError(f"case {case.id} has no recording to complete")
        done = [one for row in rows for one in outcomes(row, Outcome.STATEMENT)]
        case = replace(case.with_outcomes(done), statement=statement)
        desk.cases.save(case)
        desk.audit("dsr.decided", case, {"count": len(rows), "reason": "statement"})
        if letter is not None:
            write_letter(letter, outcome_letter(desk.reply(case, Language(language))))
        if as_json:
            print_json(document(case, desk.today))
        else:
            tell(case, f"{len(rows)} completed", done)
