"""The register of processing activities (GDPR art. 30): JSON, CSV, Markdown, HTML."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from enum import Enum

from recproxy.notices import texts
from recproxy.notices.documents import basis_words, policy_line
from recproxy.notices.sheet import PurposeSheet, Sheet

__all__ = ["RegisterFormat", "register"]

_FIELDS = (
    "id",
    "purpose",
    "description",
    "legal_basis",
    "statute",
    "balancing",
    "data_subjects",
    "data",
    "special_categories",
    "recipients",
    "transfers",
    "retention",
    "security",
    "dpia",
    "works_council",
)


class RegisterFormat(Enum):
    """What to write."""

    JSON = "json"
    CSV = "csv"
    MARKDOWN = "md"
    HTML = "html"


def register(sheet: Sheet, form: RegisterFormat) -> str:
    """Write the register of the policy in force.

    Args:
        sheet: The policy in one language.
        form: What to write.

    Returns:
        The document. Its text is data, so a policy cannot put markup or formulas into it.
    """
    rows = [_row(purpose) for purpose in sheet.purposes]
    heads = texts.REGISTER_HEADS[sheet.language]
    match form:
        case RegisterFormat.JSON:
            return _json(sheet, rows)
        case RegisterFormat.CSV:
            return _csv(heads, rows)
        case RegisterFormat.MARKDOWN:
            return _markdown(sheet, heads, rows)
        case RegisterFormat.HTML:
            return _html(sheet, heads, rows)


def _row(purpose: PurposeSheet) -> tuple[str, ...]:
    language = purpose.language
    statutory = purpose.basis == "legal_obligation"
    weighed = purpose.basis == "legitimate_interest"
    return (
        purpose.name,
        purpose.text("title"),
        purpose.text("description"),
        basis_words(purpose),
        purpose.text("legal_ref") if statutory else "–",
        purpose.text("balancing") if weighed else "–",
        texts.SUBJECTS[language],
        texts.DATA[language] + _transcript(purpose),
        purpose.text("special_categories"),
        purpose.listed("recipients"),
        purpose.listed("transfers"),
        purpose.keep + purpose.remains,
        texts.SECURITY[language],
        purpose.text("dpia"),
        purpose.text("staff.works_council"),
    )


def _transcript(purpose: PurposeSheet) -> str:
    if not purpose.written:
        return ""
    return texts.TRANSCRIPT_DATA[purpose.language].format(keep=purpose.text("derived.transcript_keep"))


def _json(sheet: Sheet, rows: Sequence[tuple[str, ...]]) -> str:
    value: Mapping[str, object] = {
        "controller": {
            name: sheet.text(f"controller.{name}")
            for name in ("name", "registration", "address", "contact", "dpo")
        },
        "policy_sha256": sheet.version,
        "activities": [dict(zip(_FIELDS, row, strict=True)) for row in rows],
        "missing": list(sheet.missing),
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _csv(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(heads)
    # A cell that begins like a formula is one for a spreadsheet: it gets an apostrophe.
    writer.writerows([("'" + cell if cell[:1] in "=+-@\t\r" else cell) for cell in row] for row in rows)
    return out.getvalue()


def _markdown(sheet: Sheet, heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    parts = [f"# {sheet.text('controller.name')}", sheet.text("controller.contact")]
    for row in rows:
        lines = [f"| {head} | {_cell(cell)} |" for head, cell in zip(heads, row, strict=True)]
        parts.append("\n".join([f"## {_cell(row[1])}", "", "| | |", "|---|---|", *lines]))
    return "\n\n".join([*parts, policy_line(sheet)]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _html(sheet: Sheet, heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    title = html.escape(sheet.text("controller.name"))
    tables = []
    for row in rows:
        cells = "".join(
            f"<tr><th>{html.escape(head)}</th><td>{html.escape(cell)}</td></tr>"
            for head, cell in zip(heads, row, strict=True)
        )
        tables.append(f"<h2>{html.escape(row[1])}</h2><table>{cells}</table>")
    return (
        f'<!doctype html><html lang="{sheet.language.value}"><meta charset="utf-8"><title>{title}</title>'
        f"<h1>{title}</h1><p>{html.escape(sheet.text('controller.contact'))}</p>{''.join(tables)}"
        f"<p>{html.escape(policy_line(sheet))}</p></html>\n"
    )
