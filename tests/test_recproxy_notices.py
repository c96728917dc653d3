"""Notices: every fact from the policy, what it lacks is said, and no text becomes markup."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest
from command_line import recproxy
from recorded import make_shelf

from recproxy.notices import Language, RegisterFormat, Sheet, balance, register, staff_notice, statement
from recproxy.policy import NumberPattern, Policy
from recproxy.policy.purpose import RetentionStart
from storage import LegalBasis

PURPOSE: dict[str, Any] = {
    "title": {"nl": "Training", "en": "Training of staff"},
    "description": {"nl": "Wij coachen.", "en": "We coach."},
    "basis": {"caller": LegalBasis.LEGITIMATE_INTEREST, "staff": LegalBasis.LEGITIMATE_INTEREST},
    "balancing": {
        "ref": "LIA-1",
        "sha256": "9f2c",
        "date": date(2026, 9, 1),
        "review_by": date(2027, 9, 1),
        "interest": "Better service",
        "necessity": "Nothing else works",
        "alternatives": ("notes", "survey"),
        "impact": "Low",
        "safeguards": ("opt-out",),
        "outcome": "proceed",
        "approved_by": "DPO",
    },
    "dpia": {"ref": "DPIA-1", "date": date(2026, 8, 15)},
    "staff": {"works_council": {"ref": "OR-14"}, "notice_ref": "STAFF-2", "assessment_use": False},
    "selection": {"mode": "selective"},
    "scope": {"lines": ("service",)},
    "announce": {"staff": "beep"},
    "choice": {"mode": "opt_out", "keys": ("9",)},
    "retention": {"keep": timedelta(days=30), "rationale": {"nl": "Vier weken.", "en": "Four weeks."}},
    "access": {"index": "number"},
    "special_categories": "incidental",
    "playback": {"roles": ("coach",)},
    "recipients": (),
    "transfers": (),
    "storage": {"key_group": "main"},
    "evidence": {"tombstone_keep": timedelta(days=365)},
}
CONTROLLER = {
    "name": "Voorbeeld BV",
    "registration": "KvK 1",
    "address": "Utrecht",
    "contact": "privacy@voorbeeld.nl",
    "dpo": "fg@voorbeeld.nl",
}
EXEMPT = {
    "private_prefix": "*88",
    "extensions": (NumberPattern("290"), NumberPattern("30", is_prefix=True)),
}


@dataclass(frozen=True, slots=True)
class Full:
    """A policy with everything that a notice can ask for."""

    purposes: Any
    version: str = "ab" * 32
    controller: Any = field(default_factory=lambda: CONTROLLER)
    exempt: Any = field(default_factory=lambda: EXEMPT)
    key_groups: Any = field(default_factory=lambda: {"main": {"backup_horizon": timedelta(days=7)}})

    @property
    def file(self) -> Full:
        """What is written, as a checked policy gives it."""
        return self


def sheet(language: Language = Language.EN, **changes: Any) -> Sheet:
    policy = Full(MappingProxyType({"training": {**PURPOSE, **changes}}))
    return Sheet(cast("Policy", policy), language)


MAKERS = [statement, staff_notice, balance, *(lambda s, f=form: register(s, f) for form in RegisterFormat)]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("language", Language)
def test_a_full_policy_leaves_nothing_missing(language: Language, make: Any) -> None:
    made = sheet(language)
    text = make(made)
    assert made.missing == ()
    assert "missing" not in re.sub('"missing": ', "", text)
    assert {"nl": "Training", "en": "Training of staff"}[language.value] in text
    assert not re.search(r"\{[a-z_]+\}", text)


@pytest.mark.parametrize("key", ["scope", "recipients", "playback", "retention", "selection", "choice"])
def test_what_the_policy_lacks_is_said_under_its_key_and_not_invented(key: str) -> None:
    made = sheet(Language.EN, **{key: None})
    text = statement(made)
    assert f"[missing in the policy: purposes.training.{key}" in text
    assert any(one.startswith(f"purposes.training.{key}") for one in made.missing)


def test_the_statement_says_what_the_policy_says() -> None:
    text = " ".join(statement(sheet()).split())
    for said in (
        "Voorbeeld BV records selected calls on service",
        "our interest: Better service",
        "if you do not want it, press 9",
        "30 days (Four weeks.)",
        "write to privacy@voorbeeld.nl",
        "Policy abababababababab.",
    ):
        assert said in text
    assert "withdrawing" not in text
    assert "not searchable" not in text


def test_a_term_that_counts_from_the_end_says_so() -> None:
    late = sheet(retention={**PURPOSE["retention"], "start": RetentionStart.CALL_END})
    assert "30 days from the end of the call (Four weeks.)" in " ".join(statement(late).split())


def test_a_sample_without_index_offers_the_look_up() -> None:
    text = " ".join(statement(sheet(Language.NL, access={"index": "none"})).split())
    assert "niet doorzoekbaar opgeslagen" in text
    assert "geef datum, tijd en gekozen nummer door" in text


def test_consent_can_be_withdrawn() -> None:
    assert "withdrawing your consent" in statement(sheet(basis={"caller": LegalBasis.CONSENT})).replace(
        "\n", " "
    )


def test_the_staff_notice_says_no_in_plain_words() -> None:
    assert "Used to assess staff: no" in staff_notice(sheet()).replace("\n", " ")
    assert "*88" in staff_notice(sheet())
    assert "exempt: 290, 30*." in staff_notice(sheet())


def test_only_a_legitimate_interest_is_balanced() -> None:
    assert "Better service" in balance(sheet())
    assert "Training" not in balance(sheet(basis={"caller": LegalBasis.LEGAL_OBLIGATION}))


def test_the_register_in_json_and_csv_says_the_same() -> None:
    found = json.loads(register(sheet(), RegisterFormat.JSON))
    (activity,) = found["activities"]
    _heads, row = csv.reader(io.StringIO(register(sheet(), RegisterFormat.CSV)))
    assert list(activity.values()) == row
    assert activity["retention"] == (
        "30 days; the destroyed key for at most 7 days more in backups; "
        "a trace without personal data for 1 year"
    )
    assert activity["recipients"] == "–"
    assert found["controller"]["dpo"] == "fg@voorbeeld.nl"


EVIL = '=cmd|"x"!A1 <script>alert(1)</script> | **'


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)


def test_no_text_of_the_policy_becomes_markup_or_a_formula() -> None:
    made = sheet(title={"en": EVIL}, description={"en": EVIL})
    tags = _Tags()
    tags.feed(register(made, RegisterFormat.HTML))
    assert "script" not in tags.seen
    _heads, row = csv.reader(io.StringIO(register(made, RegisterFormat.CSV)))
    assert all(cell[:1] not in set("=+-@") for cell in row)
    table = [line for line in register(made, RegisterFormat.MARKDOWN).splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3}


@pytest.mark.parametrize(
    ("value", "nl", "en"),
    [
        (timedelta(days=1), "1 dag", "1 day"),
        (timedelta(days=14), "14 dagen", "14 days"),
        (timedelta(days=365), "1 jaar", "1 year"),
        (timedelta(days=1825), "5 jaar", "5 years"),
        (timedelta(hours=1), "PT3600S", "PT3600S"),
    ],
)
def test_lengths_of_time_are_words(value: timedelta, nl: str, en: str) -> None:
    for language, said in ((Language.NL, nl), (Language.EN, en)):
        assert sheet(language, retention={"keep": value}).purposes[0].keep == said


def test_a_text_in_another_language_is_marked() -> None:
    assert sheet(Language.EN, title={"fr": "Formation"}).purposes[0].text("title") == "[fr] Formation"


@pytest.mark.parametrize("words", [["statement"], ["staff"], ["balance"], ["register", "--format", "html"]])
def test_the_command_names_what_is_missing_on_standard_error(tmp_path: Path, words: list[str]) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    done = recproxy("notices", *words, "-c", shelf.config, "--lang", "en")
    assert done.code == 0
    assert "Training" in done.out
    for line in done.err.splitlines():
        assert line.startswith("recproxy: missing in the policy: ")
        assert line.rpartition(" ")[2] in done.out


class _Unused(Enum):
    """Enumerations of a policy are written by their value."""

    BEEP = "beep"


def test_enumerations_are_written_by_their_value() -> None:
    assert sheet(announce={"staff": _Unused.BEEP}).purposes[0].text("announce.staff") == "beep"


@dataclass(frozen=True, slots=True)
class _Made:
    """A policy that keeps what was written apart from what it made of it."""

    file: Any
    version: str
    purposes: Any
    sampler: object


def test_only_what_was_written_is_looked_up() -> None:
    file = Full(MappingProxyType({"training": PURPOSE}))
    made = Sheet(cast("Policy", _Made(file, file.version, file.purposes, object())), Language.EN)
    assert made.text("controller.name") == "Voorbeeld BV"
    assert made.purposes[0].keep == "30 days"
    assert made.value("sampler") is None
