"""``policy.yaml`` as frozen values, and what it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, NewType

import msgspec
from msgspec import Meta

from recproxy.policy.decision import (
    Audience,
    CallQuestion,
    Decision,
    OnFailure,
    Pass,
    PassReason,
    Record,
    RecordPlan,
)
from recproxy.policy.emergency import Emergency
from recproxy.policy.numbers import Numbering, NumberPattern, plain
from storage.tags import Direction, LegalBasis

__all__ = [
    "NONE",
    "Announcement",
    "AnnouncementConfig",
    "Language",
    "Policy",
    "PolicyFile",
    "Purpose",
    "PurposeName",
    "Rule",
]

PurposeName = NewType("PurposeName", str)
Language = NewType("Language", str)
NONE: Final = "none"  # what a rule says instead of a purpose
_TEXT: Final = Meta(min_length=1, max_length=2_000, description="a text of up to 2000 characters")


class AnnouncementConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The words before a recording. There is no key that leaves them out.

    Attributes:
        prompt: Name of the announcement; empty for that of the purpose.
        language: Of the text that is played.
        audience: Who must hear it to its end.
        texts: Own texts, by language; without any, the built-in texts of that name.
        files: Own audio files (WAV or MP3), by language; a relative path starts at the
            directory of the policy file.
    """

    prompt: Annotated[
        str,
        Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}$", description="a name of lower-case letters, digits, _ and -"),
    ] = ""
    language: Language
    audience: Audience = Audience.BOTH
    texts: Mapping[
        Language,
        Annotated[str, Meta(min_length=1, max_length=300, description="a text of up to 300 characters")],
    ] = msgspec.field(default_factory=dict)
    files: Mapping[Language, Annotated[str, Meta(min_length=1, description="a path")]] = msgspec.field(
        default_factory=dict
    )


class Purpose(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why calls are recorded, on what ground, and for how long (GDPR art. 5, 6, 13).

    Attributes:
        title: By language.
        description: By language.
        legal_basis: Ground under GDPR art. 6(1).
        retention: Time to keep, from the start of a recording. There is no default.
        announcement: The words before it.
        on_failure: What becomes of a call that cannot be announced or recorded.
    """

    title: Mapping[Language, Annotated[str, _TEXT]]
    description: Mapping[Language, Annotated[str, _TEXT]]
    legal_basis: LegalBasis
    retention: timedelta
    announcement: AnnouncementConfig
    on_failure: OnFailure


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls of which all given conditions hold belong to ``purpose``.

    Attributes:
        name: For people; may be empty.
        trunk: The call comes from this trunk.
        direction: The call goes this way.
        called: The number called is one of these; empty for any.
        calling: The number that calls is one of these, or ``anonymous`` or
            ``unknown``; empty for any.
        purpose: A purpose, or ``none``.
    """

    name: str = ""
    trunk: str | None = None
    direction: Direction | None = None
    called: tuple[NumberPattern, ...] = ()
    calling: tuple[NumberPattern, ...] = ()
    purpose: str

    @property
    def is_unconditional(self) -> bool:
        """Whether every call matches."""
        return self.trunk is None and self.direction is None and not self.called and not self.calling


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of ``policy.yaml``.

    Attributes:
        version: Of the file's format.
        numbering: How numbers are dialled.
        emergency: Numbers that pass before any rule.
        purposes: By id.
        rules: The first that matches decides; if none does, nothing is recorded.
    """

    version: int = 1
    numbering: Numbering = Numbering()
    emergency: Emergency = Emergency()
    purposes: Mapping[PurposeName, Purpose]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Announcement:
    """One announcement in one language, as it has to be made ready before a call.

    Attributes:
        name: Of the announcement.
        language: Of this text.
        text: Own text to speak; None if there is a file, or for the built-in text.
        file: Own audio file, as the policy names it; None if there is none.
    """

    name: str
    language: str
    text: str | None
    file: str | None


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked policy.

    Attributes:
        version: SHA-256 of its file, 64 hex digits, as ``sha256sum`` gives it.
        purposes: By id.
        rules: In order, their numbers as E.164.
        numbering: How numbers are dialled.
        emergency: Every form in which an emergency number may be dialled.
    """

    version: str
    purposes: Mapping[PurposeName, Purpose]
    rules: tuple[Rule, ...]
    numbering: Numbering
    emergency: frozenset[str]

    def decide(self, question: CallQuestion) -> Decision:
        """Tell what happens to a call: emergency first, then the first rule that matches."""
        if question.sos or self.is_emergency(question.callee):
            return Pass(PassReason.EMERGENCY)
        rule = self.match(question)
        if rule is None:
            return Pass(PassReason.NO_RULE)
        if rule.purpose == NONE:
            return Pass(PassReason.RULE)
        name = PurposeName(rule.purpose)
        purpose = self.purposes[name]
        return Record(
            RecordPlan(
                purpose=name,
                legal_basis=purpose.legal_basis,
                retention=purpose.retention,
                prompt=purpose.announcement.prompt or name,
                language=purpose.announcement.language,
                audience=purpose.announcement.audience,
                on_failure=purpose.on_failure,
                policy_version=self.version,
            )
        )

    def is_emergency(self, number: str) -> bool:
        """Whether this, as dialled, is an emergency number."""
        return plain(number) in self.emergency

    def match(self, question: CallQuestion) -> Rule | None:
        """The first rule that matches a call that is no emergency."""
        called = self.numbering.canonical(question.callee)
        calling = "" if question.anonymous else self.numbering.canonical(question.caller)
        return next((rule for rule in self.rules if _matches(rule, question, called, calling)), None)

    def prompts(self) -> tuple[Announcement, ...]:
        """Every announcement that a call may need, in every language the policy names.

        Without own texts and files, that is the built-in text in the language played.
        """
        found: dict[tuple[str, str], Announcement] = {}
        for name, purpose in self.purposes.items():
            spoken = purpose.announcement
            prompt = spoken.prompt or name
            for language in dict.fromkeys((spoken.language, *spoken.texts, *spoken.files)):
                found[prompt, language] = Announcement(
                    prompt, language, spoken.texts.get(language), spoken.files.get(language)
                )
        return tuple(found.values())


def _matches(rule: Rule, question: CallQuestion, called: str, calling: str) -> bool:
    if rule.trunk is not None and rule.trunk != question.trunk:
        return False
    if rule.direction is not None and rule.direction is not question.direction:
        return False
    if rule.called and not any(pattern.matches(called) for pattern in rule.called):
        return False
    return not rule.calling or any(_calls(pattern, question, calling) for pattern in rule.calling)


def _calls(pattern: NumberPattern, question: CallQuestion, calling: str) -> bool:
    match pattern.presentation:
        case "anonymous":
            return question.anonymous
        case "unknown":
            return not question.anonymous and not calling
        case _:
            return pattern.matches(calling)
