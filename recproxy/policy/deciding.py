"""A checked policy, and what it decides about a call. Pure: the same facts, the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from recproxy.policy.combining import Taking, combined
from recproxy.policy.decision import (
    CallQuestion,
    ChoiceMode,
    Decision,
    ForkAnnouncement,
    Newcomer,
    Pass,
    PassReason,
    PurposePlan,
    Record,
    RecordPlan,
    RecordPreference,
)
from recproxy.policy.emergency import COUNTRY_CODES, Country
from recproxy.policy.file import Line, PolicyFile, UnknownParty
from recproxy.policy.forks import fork_announcement
from recproxy.policy.hidden import ConfidentialNumbers, Sampler
from recproxy.policy.numbers import Numbering, NumberPattern, plain
from recproxy.policy.planning import choice_plan, decline_plan, language_keys, prompts_for, spoken, whisper
from recproxy.policy.profiles import STRICTEST, Profile, effective, profile_of, together
from recproxy.policy.purpose import (
    Index,
    Kind,
    Language,
    LineName,
    Purpose,
    PurposeName,
    RetentionStart,
    SelectionMode,
)
from storage.tags import Direction, LegalBasis

__all__ = ["Announcement", "Policy", "Verdict"]

_SPOKEN: Final = {
    Country.AT: Language("de"),
    Country.DE: Language("de"),
    Country.DK: Language("da"),
    Country.FR: Language("fr"),
    Country.GB: Language("en"),
    Country.NL: Language("nl"),
}
# When no purpose takes a call, the first of these that one of them gave is the reason.
_REASONS: Final = (
    PassReason.PREFERENCE,
    PassReason.ANONYMOUS,
    PassReason.JURISDICTION,
    PassReason.NOT_SAMPLED,
)


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
class Verdict:
    """What one purpose says of a call, for those who ask why.

    Attributes:
        purpose: Its id.
        passed: Why it does not record the call; None if it does.
        why: The same in words.
    """

    purpose: PurposeName
    passed: PassReason | None
    why: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked policy.

    Attributes:
        version: SHA-256 of its normalised whole, 64 hex digits.
        file: All that is written in it.
        lines: By name, their numbers as E.164.
        extensions: Telephones never recorded, as E.164.
        emergency: Every form in which an emergency number may be dialled.
        help_lines: Every form in which a help line may be dialled.
        confidential: Numbers never recorded.
        sampler: Draws samples.
    """

    version: str
    file: PolicyFile
    lines: Mapping[LineName, Line]
    extensions: tuple[NumberPattern, ...]
    emergency: frozenset[str]
    help_lines: frozenset[str]
    confidential: ConfidentialNumbers
    sampler: Sampler

    @property
    def purposes(self) -> Mapping[PurposeName, Purpose]:
        """By id."""
        return self.file.purposes

    @property
    def numbering(self) -> Numbering:
        """How numbers are dialled."""
        return self.file.numbering

    def decide(self, question: CallQuestion) -> Decision:
        """Tell what happens to a call: emergency first, other exemptions, then line and purpose."""
        question = self.named(question)
        exempt = self.exemption(question)
        if exempt is not None:
            return Pass(exempt)
        line = self.line(question)
        if line is None:
            return Pass(PassReason.NO_RULE)
        verdicts = tuple(self.verdicts(line, question))
        taking = tuple(verdict.purpose for verdict in verdicts if verdict.passed is None)
        if taking:
            return Record(self._plan(taking, line, question))
        given = {verdict.passed for verdict in verdicts}
        why = next((why for why in _REASONS if why in given), PassReason.NO_RULE)
        return Pass(why, () if question.topic else tuple(self._nameable(line, question)))

    def _nameable(self, line: LineName, question: CallQuestion) -> Iterator[str]:
        """Purposes that would record the call if a program named them."""
        for name, purpose in self.purposes.items():
            if purpose.selection.topic_api:
                verdicts = self.verdicts(line, replace(question, topic=name))
                if any(verdict.passed is None for verdict in verdicts):
                    yield name

    def named(self, question: CallQuestion) -> CallQuestion:
        """The question of a call whose purpose was dialled first: without the code, and named."""
        callee = plain(question.callee)
        for name, purpose in self.purposes.items():
            code = purpose.selection.code
            if code and callee.startswith(code):
                return replace(question, callee=callee.removeprefix(code), topic=name)
        return question

    def is_emergency(self, number: str) -> bool:
        """Whether this, as dialled, is an emergency number, also behind the private prefix or a code."""
        callee = plain(number)
        codes = (self._private_prefix, *(purpose.selection.code for purpose in self.purposes.values()))
        return not self.emergency.isdisjoint({callee.removeprefix(code) for code in ("", *codes)})

    def exemption(self, question: CallQuestion) -> PassReason | None:
        """Why a call passes before any purpose is looked at; None if it does not."""
        callee, prefix = plain(question.callee), self._private_prefix
        bare = callee.removeprefix(prefix)
        if question.sos or question.emergency_callback or self.is_emergency(question.callee):
            return PassReason.EMERGENCY
        if {callee, bare} & self.help_lines:
            return PassReason.HELP_LINE
        canonical = self.numbering.canonical
        numbers = [canonical(number) for number in (question.caller, bare, *question.identities)]
        if self.confidential.among(numbers):
            return PassReason.CONFIDENTIAL
        if prefix and callee.startswith(prefix):
            return PassReason.PRIVATE
        if any(pattern.matches(number) for pattern in self.extensions for number in numbers):
            return PassReason.PRIVATE
        return None

    def newcomer(self, number: str, *, outside: bool) -> Newcomer:
        """What it means that somebody joins a call.

        Args:
            number: Of whoever joins, as told on the trunk; empty if it is withheld.
            outside: Whether it is at the end of the call that is outside the organisation. At the other
                end, an international number that is on no line is outside too, and so is a withheld one.
        """
        asked = CallQuestion("", Direction.OUTBOUND, "", number, anonymous=False, sos=False)
        canonical = self.numbering.canonical(number)
        ours = any(
            pattern.matches(canonical)
            for line in self.lines.values()
            for pattern in line.match
            if pattern.first
        )
        stranger = not canonical or (canonical.startswith("+") and not ours)
        return Newcomer(self.exemption(asked) if number else None, outside or stranger)

    def line(self, question: CallQuestion) -> LineName | None:
        """The line of the inside party; None if it is on none."""
        return self._line_of(question.inside, question.trunk)

    def verdicts(self, line: LineName, question: CallQuestion) -> Iterator[Verdict]:
        """What each purpose says of a call on a line that nothing exempts."""
        profile = self.profile(line, question)
        internal = self._line_of(question.outside, question.trunk) is not None and not any(
            pattern.is_prefix and not pattern.first for pattern in self.lines[line].match
        )
        for name, purpose in self.purposes.items():
            found = (
                _topic(name, purpose, question)
                or _scope(purpose, line, question, internal=internal)
                or _party(purpose, question)
                or _country(name, purpose, profile)
                or self._draw(name, purpose, question)
            )
            yield Verdict(name, *(found or (None, "records it")))

    def profile(self, line: LineName, question: CallQuestion) -> Profile:
        """The rules of the line's country and of the outside party's, together."""
        jurisdictions = self.file.jurisdictions
        own = self.lines[line].jurisdiction or jurisdictions.default
        outside = self.numbering.canonical(question.outside)
        country = self._country(outside)
        if country is not None:
            return together((profile_of(own), profile_of(country)))
        here = outside.startswith(f"+{COUNTRY_CODES.get(jurisdictions.default, '-')}")
        if here or (outside and not outside.startswith("+")):
            return profile_of(own)
        match jurisdictions.unknown:
            case UnknownParty.STRICTEST:
                return together((profile_of(own), STRICTEST))
            case UnknownParty.DEFAULT:
                return profile_of(own)

    def language(self, purpose: Purpose, line: LineName, question: CallQuestion) -> Language:
        """The language of the announcement: that of the line, of the outside party, or the first."""
        country = self._country(self.numbering.canonical(question.outside))
        theirs = _SPOKEN.get(country) if country is not None else None
        prompts = prompts_for(purpose, self.profile(line, question))
        for language in (self.lines[line].language, theirs):
            if language is not None and language in prompts:
                return language
        return self.file.languages[0]

    def prompts(self) -> tuple[Announcement, ...]:
        """Every announcement that a call may need."""
        found: dict[tuple[str, str], Announcement] = {}
        for purpose in self.purposes.values():
            for language, prompt in spoken(purpose, self.file.languages):
                own = self.file.prompts.get(prompt)
                found[prompt, language] = Announcement(
                    prompt, language, own.text or None if own else None, own.file or None if own else None
                )
        return tuple(found.values())

    @property
    def _private_prefix(self) -> str:
        return self.file.exempt.private_prefix if self.file.exempt is not None else ""

    def _line_of(self, number: str, trunk: str) -> LineName | None:
        canonical = self.numbering.canonical(number)
        for name, line in self.lines.items():
            if line.trunk is not None and line.trunk != trunk:
                continue
            if any(pattern.matches(canonical) for pattern in line.match):
                return name
        return None

    def _country(self, number: str) -> Country | None:
        by_prefix = self.file.jurisdictions.by_prefix
        found = [prefix for prefix in by_prefix if number.startswith(prefix)]
        return by_prefix[max(found, key=len)] if found else None

    def _draw(
        self, name: PurposeName, purpose: Purpose, question: CallQuestion
    ) -> tuple[PassReason, str] | None:
        rate = purpose.selection.rate
        if rate is None or self.sampler.draws(name, question.call, question.day, rate):
            return None
        return PassReason.NOT_SAMPLED, f"not drawn; the share is {rate:g}"

    def _plan(self, taking: tuple[PurposeName, ...], line: LineName, question: CallQuestion) -> RecordPlan:
        profile = self.profile(line, question)
        found = [self._taking(name, line, question, profile) for name in taking]
        own, first = self.lines[line].language, self.file.languages[0]
        whispered = next(filter(None, (whisper(one.purpose, own, first) for one in found)), None)
        fork = self._fork(taking, question.trunk)
        return combined(found, self.version, profile.name, fork, whispered)

    def _taking(self, name: PurposeName, line: LineName, question: CallQuestion, profile: Profile) -> Taking:
        purpose = self.purposes[name]
        language = self.language(purpose, line, question)
        rules = effective(purpose, profile)
        cap = rules.caps.get(purpose.kind, timedelta.max)
        plan = PurposePlan(
            purpose=name,
            legal_basis=LegalBasis.CONSENT if purpose.kind in rules.opt_in else purpose.basis.caller,
            retention=min(purpose.retention.keep, cap),
            prompt=prompts_for(purpose, profile)[language],
            language=language,
            audience=purpose.announce.audience,
            choice=choice_plan(purpose, profile),
            from_end=purpose.retention.start is RetentionStart.CALL_END,
            languages=language_keys(purpose, profile),
            start=purpose.selection.keys,
            stop=purpose.selection.stop_keys,
        )
        return Taking(plan, purpose, decline_plan(name, purpose, language))

    def _fork(self, taking: tuple[PurposeName, ...], trunk: str) -> ForkAnnouncement | None:
        """What a fork must show, which tells of every purpose; None if one is not announced there."""
        at_once = [name for name in taking if not self.purposes[name].selection.keys] or taking
        announces = [self.purposes[name].announce for name in at_once]
        shown = [
            fork_announcement(announce.fork, trunk, frozenset(announce.prompts.values()))
            for announce in announces
        ]
        found = [one for one in shown if one is not None]
        if not found or len(found) < len(shown):
            return None
        declared = next((one for one in found if one.declared), found[0])
        return ForkAnnouncement(
            declared=all(one.declared for one in found),
            prompts=frozenset.intersection(*(one.prompts for one in found)),
            ref=declared.ref,
            sha256=declared.sha256,
        )


def _topic(name: PurposeName, purpose: Purpose, question: CallQuestion) -> tuple[PassReason, str] | None:
    if question.topic and question.topic != name:
        return PassReason.NO_RULE, f"the call is named to be for {question.topic}"
    if purpose.selection.topic and not question.topic:
        return PassReason.NO_RULE, "only for calls that are named to be for it"
    return None


def _scope(
    purpose: Purpose, line: LineName, question: CallQuestion, *, internal: bool
) -> tuple[PassReason, str] | None:
    if line not in purpose.scope.lines:
        return PassReason.NO_RULE, f"not for line {line}"
    if question.direction not in purpose.scope.directions:
        return PassReason.NO_RULE, f"not for {question.direction.value} calls"
    if internal and not purpose.scope.internal:
        return PassReason.NO_RULE, "not for calls between two of the lines"
    return None


def _party(purpose: Purpose, question: CallQuestion) -> tuple[PassReason, str] | None:
    if question.preference is not RecordPreference.NONE and purpose.kind is not Kind.STATUTORY:
        return PassReason.PREFERENCE, "a party's telephone asked not to be recorded"
    if not question.outside and purpose.access.index is Index.NUMBER:
        return PassReason.ANONYMOUS, "finds people by number, and the number is withheld"
    return None


def _country(name: PurposeName, purpose: Purpose, profile: Profile) -> tuple[PassReason, str] | None:
    rules = effective(purpose, profile)
    kind = purpose.kind
    asks = purpose.choice.mode is ChoiceMode.OPT_IN or purpose.consent is not None
    if kind in rules.opt_in and not asks:
        why = f"{rules.name} wants an act of consent, and {name} takes none"
    elif kind in rules.manual and purpose.selection.mode is not SelectionMode.MANUAL:
        why = f"{rules.name} wants it started by hand"
    elif kind in rules.term_spoken and not purpose.announce.speak_term:
        why = f"{rules.name} wants the term said in the announcement"
    else:
        return None
    return PassReason.JURISDICTION, why
