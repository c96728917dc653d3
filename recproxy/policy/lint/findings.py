"""What the linter looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final

from recproxy.config import Document, Key, Problem, dotted
from recproxy.policy.file import PolicyFile
from recproxy.policy.purpose import Language, PromptId

__all__ = ["ERRORS", "WARNINGS", "Lint", "Surroundings"]

ERRORS: Final[Mapping[str, str]] = {
    "E001": "the form: an unknown, repeated or missing key, or a value that is none",
    "E002": "consent without an act of consent, or that cannot be withdrawn",
    "E003": "a legitimate interest without a balancing that holds",
    "E004": "a legal obligation without its statute, or with a choice",
    "E005": "a term that is none, or out of its bounds",
    "E006": "a non-selective sample that is not one",
    "E007": "an announcement that is missing, too long, or does not say what for",
    "E008": "an announcement or the pause on hold switched off",
    "E009": "a line that nobody ordered, that overlaps another, or that does not exist",
    "E010": "emergency numbers taken out",
    "E011": "staff recorded without works council or notice",
    "E012": "special categories without a ground, or analysis of voices",
    "E013": "investment orders below what MiFID II asks",
    "E014": "less than the law of the line's country asks",
    "E015": "a key bound twice, or that no telephone has",
    "E016": "a role or use that is not listed, or a transcript that outlives the sound",
    "E017": "a longer term or a new use for recordings that exist",
    "E018": "data outside the EEA without safeguard",
    "E019": "backups of keys that outlive the term",
    "E020": "a secret in the policy, or nobody to ask",
    "E021": "a call forked to us whose announcement nobody vouches for",
}
WARNINGS: Final[Mapping[str, str]] = {
    "W101": "every call recorded on a legitimate interest",
    "W102": "training kept for more than 30 days",
    "W103": "a legitimate interest without a choice",
    "W104": "sales calls out: a recording does not replace writing",
    "W105": "requests for a non-selective sample are answered",
    "W106": "words that leave open whether the call is recorded",
    "W107": "assessments of long ago, or many telephones and no works council",
    "W108": "anonymous callers or internal calls recorded",
    "W109": "the other voice is left out of copies",
    "W110": "traces kept for very long",
    "W111": "recordings used to assess staff",
    "W112": "an authority that rests on a legitimate interest",
    "W114": "announcements of others that are taken on trust",
    "W115": "two purposes that one call can be for",
    "W116": "orders of authorities that nobody may review",
    "W117": "an audit log that is gone before what it has to prove",
    "W118": "key pairs that change too seldom or too often for a term",
}


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the linter must know besides the policy.

    Attributes:
        today: The day, UTC.
        trunks: Names that lines may use; None to take any.
        built_in: Built-in words of announcements, by name and language; None if not known.
        seconds: Measured length of announcements, by name and language; None if not measured.
        faults: What is wrong with an announcement's audio, by name and language.
    """

    today: date
    trunks: Collection[str] | None = None
    built_in: Mapping[str, Mapping[str, str]] | None = None
    seconds: Mapping[tuple[str, str], float] | None = None
    faults: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(slots=True)
class Lint:
    """A policy under examination.

    Attributes:
        file: The policy.
        document: Where its values stand; takes the errors.
        around: What surrounds it.
        hashes: SHA-256 of the balancing sheets that were read, by path.
        warnings: Found so far.
    """

    file: PolicyFile
    document: Document
    around: Surroundings
    hashes: Mapping[str, str] = field(default_factory=_nothing)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, code: str, key: Key, what: str) -> None:
        """Note that a rule is broken."""
        self.document.note(key, what, code)

    def warn(self, code: str, key: Key, what: str) -> None:
        """Note something that may be, but deserves a look."""
        self.warnings.append(Problem(self.document.place(key), dotted(key), what, code))

    def words(self, prompt: PromptId, language: Language) -> str | None:
        """The words of an announcement; None if they are not known, as with audio."""
        own = self.file.prompts.get(prompt)
        if own is not None:
            return own.text or None
        known = (self.around.built_in or {}).get(prompt, {})
        return known.get(language) or known.get(language.split("-", maxsplit=1)[0])
