"""What the parties of a call hear for one purpose, and by which keys they answer. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from recproxy.policy.asking import ORDERS_REFUSED, Consent
from recproxy.policy.decision import ChoiceMode, ChoicePlan, DeclinePlan, LanguageKey, Phrase, StaffNotice
from recproxy.policy.names import Language, PromptId
from recproxy.policy.profiles import Profile, effective
from recproxy.policy.purpose import WHISPER, Purpose

__all__ = ["choice_plan", "decline_plan", "language_keys", "prompts_for", "spoken", "whisper"]


def prompts_for(purpose: Purpose, profile: Profile) -> Mapping[Language, PromptId]:
    """What announces the purpose, or asks for the consent that a country wants; by language."""
    consent = _consent(purpose, profile)
    return purpose.announce.prompts if consent is None else consent.prompts


def choice_plan(purpose: Purpose, profile: Profile) -> ChoicePlan:
    """How the parties say yes or no to the purpose."""
    choice = purpose.choice
    consent = _consent(purpose, profile)
    if consent is not None:
        return ChoicePlan(
            ChoiceMode.OPT_IN,
            accept=consent.keys,
            refuse=choice.keys if choice.mode is ChoiceMode.OPT_OUT else (),
            staff_refuse=choice.staff_keys,
            window_s=consent.timeout.total_seconds(),
        )
    match choice.mode:
        case ChoiceMode.NONE:
            refuse = purpose.decline.keys if purpose.decline is not None else ()
            return ChoicePlan(refuse=refuse, staff_refuse=choice.staff_keys)
        case ChoiceMode.OPT_OUT:
            return ChoicePlan(
                choice.mode,
                refuse=choice.keys,
                staff_refuse=choice.staff_keys,
                refused_in=choice.window,
                effect=choice.effect,
            )
        case ChoiceMode.OPT_IN:
            window_s = choice.timeout.total_seconds()
            return ChoicePlan(
                choice.mode, accept=choice.keys, staff_refuse=choice.staff_keys, window_s=window_s
            )


def decline_plan(name: str, purpose: Purpose, language: Language) -> DeclinePlan | None:
    """What becomes of who refuses what a statute orders; None if the purpose does not say."""
    decline = purpose.decline
    if decline is None:
        return None
    words, *others = (
        Phrase(decline.prompts.get(one, ORDERS_REFUSED), one)
        for one in (language, *purpose.announce.language_keys.values())
    )
    return DeclinePlan(name, words, decline.target or "", tuple(others))


def language_keys(purpose: Purpose, profile: Profile) -> tuple[LanguageKey, ...]:
    """By which keys the outside party hears the announcement, or the question, in another language."""
    prompts = prompts_for(purpose, profile)
    return tuple(
        LanguageKey(keys, Phrase(prompts[language], language))
        for keys, language in purpose.announce.language_keys.items()
        if language in prompts
    )


def whisper(purpose: Purpose, own: Language | None, first: Language) -> Phrase | None:
    """What staff alone hear; None if they are told otherwise.

    Args:
        purpose: Why it is recorded.
        own: Language of the line, if it has one.
        first: Of the languages of the policy.
    """
    if purpose.announce.staff is not StaffNotice.WHISPER:
        return None
    language = own if own is not None and own in purpose.announce.whisper else first
    return Phrase(purpose.announce.whisper.get(language, WHISPER), language)


def spoken(purpose: Purpose, languages: Sequence[Language]) -> Iterator[tuple[Language, PromptId]]:
    """All that calls for a purpose may have to hear."""
    announce = purpose.announce
    yield from announce.prompts.items()
    if purpose.consent is not None:
        yield from purpose.consent.prompts.items()
    if purpose.decline is not None:
        said = dict.fromkeys((*announce.prompts, *(purpose.consent.prompts if purpose.consent else ())))
        for language in said:
            yield language, purpose.decline.prompts.get(language, ORDERS_REFUSED)
    if announce.staff is StaffNotice.WHISPER:
        for language in dict.fromkeys((languages[0], *announce.whisper)):
            yield language, announce.whisper.get(language, WHISPER)


def _consent(purpose: Purpose, profile: Profile) -> Consent | None:
    """How consent is asked for, where a party's country wants it and the purpose does not ask by itself."""
    wanted = purpose.kind in effective(purpose, profile).opt_in
    return purpose.consent if wanted and purpose.choice.mode is not ChoiceMode.OPT_IN else None
