"""Rules about what else is said and asked: whisper, consent for other countries, refusals, topics."""

from __future__ import annotations

from collections.abc import Mapping

from recproxy.config import Key
from recproxy.policy.asking import ORDERS_REFUSED
from recproxy.policy.decision import ChoiceMode, StaffNotice
from recproxy.policy.lint.findings import Lint
from recproxy.policy.names import Language, PromptId, PurposeName
from recproxy.policy.numbers import plain
from recproxy.policy.purpose import WHISPER, Purpose, SelectionMode
from storage.tags import Direction, LegalBasis

__all__ = ["check_further"]


def check_further(lint: Lint) -> None:
    """Apply the rules to every purpose."""
    for name, purpose in lint.file.purposes.items():
        _check_whisper(lint, name, purpose)
        _check_languages(lint, name, purpose)
        _check_consent(lint, name, purpose)
        _check_decline(lint, name, purpose)
        _check_topic(lint, name, purpose)


def _check_whisper(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    announce = purpose.announce
    if announce.staff is StaffNotice.WHISPER:
        said = {lint.file.languages[0]: WHISPER} if lint.file.languages else {}
        _check_prompts(lint, ("purposes", name, "announce", "whisper"), {**said, **announce.whisper})
    elif announce.whisper:
        lint.error(
            "E001",
            ("purposes", name, "announce", "whisper"),
            f"has no meaning for staff: {announce.staff.value}; set staff: whisper, or take it out",
        )


def _check_languages(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    for keys, language in purpose.announce.language_keys.items():
        asked = purpose.consent.prompts if purpose.consent is not None else {language: ""}
        if language not in purpose.announce.prompts or language not in asked:
            lint.error(
                "E007",
                ("purposes", name, "announce", "language_keys", keys),
                f"no announcement in {language}, or no question for consent; add one to prompts",
            )


def _check_consent(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    consent, key = purpose.consent, ("purposes", name, "consent")
    if consent is None:
        return
    if purpose.choice.mode is ChoiceMode.OPT_IN:
        lint.error("E002", key, "choice asks everybody for consent already; take one of the two out")
    if not consent.keys:
        lint.error("E002", (*key, "keys"), "no key gives the consent; name one such as 1")
    if not lint.file.controller.contact:
        lint.error(
            "E002",
            ("controller", "contact"),
            "empty, so that consent cannot be withdrawn (GDPR art. 7(3)); name an address",
        )
    for language in lint.file.languages:
        if language not in consent.prompts:
            lint.error("E007", (*key, "prompts"), f"none in {language}, which languages offers; add one")
    _check_prompts(lint, (*key, "prompts"), consent.prompts)


def _check_decline(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    decline, key = purpose.decline, ("purposes", name, "decline")
    if decline is None:
        return
    if purpose.basis.caller is not LegalBasis.LEGAL_OBLIGATION or purpose.choice.mode is not ChoiceMode.NONE:
        lint.error(
            "E004",
            key,
            "is for what a statute orders, with choice.mode: none; where it is free to refuse the recording, "
            "the call goes on: use choice",
        )
    if not decline.keys:
        lint.error("E001", (*key, "keys"), "no key refuses; name one such as 9")
    if decline.target is not None:
        _check_target(lint, name, purpose, decline.target)
    said = dict.fromkeys(purpose.announce.prompts, ORDERS_REFUSED)
    _check_prompts(lint, (*key, "prompts"), {**said, **decline.prompts})


def _check_target(lint: Lint, name: PurposeName, purpose: Purpose, target: str) -> None:
    """Whom a call goes on to unrecorded: nobody who takes the same orders, and no help line."""
    key, exempt, numbering = ("purposes", name, "decline", "target"), lint.file.exempt, lint.file.numbering
    if Direction.INBOUND not in purpose.scope.directions:
        lint.error("E004", key, "is where calls from outside go on to, and the purpose has none; take it out")
    number = numbering.canonical(target)
    if exempt is not None and plain(target) in exempt.emergency.dialled() | exempt.helplines.dialled():
        lint.error("E004", key, "is an emergency number or a help line; name a desk of your own")
    for line in purpose.scope.lines:
        found = lint.file.lines.get(line)
        patterns = [one.canonical(numbering) for one in found.match if one.first] if found is not None else []
        if any(pattern.matches(number) for pattern in patterns):
            lint.error(
                "E004", key, f"is on line {line}, whose calls must be recorded; name one that takes no orders"
            )


def _check_topic(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    selection, key = purpose.selection, ("purposes", name, "selection")
    if selection.topic and selection.mode is SelectionMode.NON_SELECTIVE:
        lint.error(
            "E006", (*key, "topic"), "picks calls by what they are about; a draw does not: take it out"
        )
    if selection.topic_api and not selection.topic:
        lint.error(
            "E001", (*key, "topic_api"), "means nothing without topic; set topic: true, or take it out"
        )
    code = selection.code
    if not code:
        return
    taken = {
        f"purpose {other}": one.selection.code for other, one in lint.file.purposes.items() if other != name
    }
    if lint.file.exempt is not None:
        taken["exempt.private_prefix"] = lint.file.exempt.private_prefix
    for whose, other in taken.items():
        if other and (other.startswith(code) or code.startswith(other)):
            lint.error("E015", (*key, "code"), f"{code!r} and {other!r} of {whose} begin alike; change one")


def _check_prompts(lint: Lint, key: Key, prompts: Mapping[Language, PromptId]) -> None:
    """Each text is there, and can be played."""
    for language, prompt in prompts.items():
        known = prompt in lint.file.prompts or lint.around.built_in is None
        if not known and lint.words(prompt, language) is None:
            lint.error(
                "E007",
                (*key, language),
                f"{prompt!r} is in no prompts and has no built-in text in {language}; name one, or add it",
            )
        fault = lint.around.faults.get((prompt, language))
        if fault is not None:
            lint.error("E007", (*key, language), f"{prompt!r} cannot be played: {fault}")
