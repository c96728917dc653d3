"""Rules about one purpose: E002 to E008 and E011 to E016."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from recproxy.policy.decision import Audience, ChoiceEffect, ChoiceMode, OnFailure, StaffNotice
from recproxy.policy.emergency import Country
from recproxy.policy.lint.findings import Lint
from recproxy.policy.lint.forks import check_forks
from recproxy.policy.profiles import effective, profile_of
from recproxy.policy.purpose import (
    Analytics,
    CounterpartyVoice,
    Index,
    Kind,
    Outcome,
    Purpose,
    PurposeName,
    RetentionReach,
    RetentionStart,
    SelectionMode,
    SpecialCategories,
    Transcript,
)
from storage.tags import LegalBasis

__all__ = ["FIVE_YEARS", "MIFID", "check_purpose", "shown"]

FIVE_YEARS: Final = timedelta(days=1_827)  # with two leap days, the longest five years are
_SEVEN_YEARS: Final = timedelta(days=2_557)
_LONGEST: Final = timedelta(days=36_525)
_SAMPLE_KEEP: Final = timedelta(days=14)
_SAMPLE_RATE: Final = 0.2
_TRAINING_CAP: Final = timedelta(days=180)
_LONGEST_PROMPT_S: Final = 6.0
MIFID: Final = re.compile(r"mifid|2014/65|2017/565", re.IGNORECASE)
_KEY_OFFER: Final = re.compile(
    r"\b(?:toets|druk|kies|press|dial|key|taste|drücken|tapez|touche|appuyez)\b[^.!?]*[0-9*#]"
    r"|\b[0-9*#]\b[^.!?]*\b(?:toets|taste|key|touche)\b",
    re.IGNORECASE,
)
_SAYS: Final[dict[tuple[Kind, str], str]] = {
    (Kind.TRAINING, "nl"): "train|opleid|coach",
    (Kind.TRAINING, "en"): "train|coach",
    (Kind.TRAINING, "de"): "schul|train",
    (Kind.TRAINING, "fr"): "form(?:ation|er)",
    (Kind.AGREEMENTS, "nl"): "afspra|akkoord|bewijs",
    (Kind.AGREEMENTS, "en"): "agreement|evidence|proof",
    (Kind.AGREEMENTS, "de"): "zusage|nachweis|vertrag",
    (Kind.AGREEMENTS, "fr"): "accord|preuve|prouver|contrat",
    (Kind.QUALITY, "nl"): "steekproef|kwaliteit",
    (Kind.QUALITY, "en"): "sample|quality|random",
    (Kind.QUALITY, "de"): "stichprobe|qualität",
    (Kind.QUALITY, "fr"): "sondage|qualité",
    (Kind.STATUTORY, "nl"): r"\bwet",
    (Kind.STATUTORY, "en"): r"\blaw\b|statut|require",
    (Kind.STATUTORY, "de"): "gesetz|pflicht",
    (Kind.STATUTORY, "fr"): r"\bloi\b",
}


def check_purpose(lint: Lint, name: PurposeName) -> None:
    """Apply the rules that concern one purpose alone."""
    purpose = lint.file.purposes[name]
    _check_basis(lint, name, purpose)
    _check_term(lint, name, purpose)
    _check_selection(lint, name, purpose)
    _check_sample(lint, name, purpose)
    _check_announcement(lint, name, purpose)
    _check_staff(lint, name, purpose)
    _check_special(lint, name, purpose)
    _check_mifid(lint, name, purpose)
    _check_countries(lint, name, purpose)
    _check_texts(lint, name, purpose)
    check_forks(lint, name, purpose)


def _check_basis(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name)
    choice = purpose.choice
    bases = {purpose.basis.caller, purpose.basis.staff}
    if purpose.basis.caller is LegalBasis.CONSENT:
        _check_consent(lint, name, purpose)
    if choice.mode is ChoiceMode.OPT_OUT and not choice.keys:
        lint.error("E001", (*key, "choice", "keys"), "no key refuses; name one such as 9")
    if choice.mode is ChoiceMode.OPT_IN and choice.effect is ChoiceEffect.STOP:
        lint.error(
            "E002",
            (*key, "choice", "effect"),
            "stop would keep what was recorded on a consent that is withdrawn; set stop_and_shred",
        )
    if choice.records_on_timeout:
        lint.error(
            "E002",
            (*key, "choice", "records_on_timeout"),
            "true would take silence for consent (GDPR recital 32); set false",
        )
    if LegalBasis.LEGITIMATE_INTEREST in bases:
        _check_balancing(lint, name, purpose)
    if LegalBasis.LEGAL_OBLIGATION in bases and not purpose.legal_ref:
        lint.error(
            "E004", (*key, "legal_ref"), "empty, but the ground is a legal obligation; name the statute"
        )
    obliged = purpose.basis.caller is LegalBasis.LEGAL_OBLIGATION
    if obliged and choice.mode is not ChoiceMode.NONE and not choice.reason:
        lint.error(
            "E004",
            (*key, "choice", "mode"),
            f"{choice.mode.value!r} offers a choice that the statute does not leave; "
            "set none, or say in choice.reason why",
        )
    if not purpose.dpia.not_required and not (purpose.dpia.ref and purpose.dpia.date):
        lint.error("E001", (*key, "dpia"), "neither {ref, date} nor {not_required: why}; give one")


def _check_consent(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name, "choice")
    if purpose.choice.mode is not ChoiceMode.OPT_IN:
        lint.error(
            "E002",
            (*key, "mode"),
            f"{purpose.choice.mode.value!r} takes no consent, which must be given by an act "
            "(GDPR art. 4(11)); set opt_in, or rest on another ground",
        )
    elif not purpose.choice.keys:
        lint.error("E002", (*key, "keys"), "no key gives the consent; name one such as 1")
    if not lint.file.controller.contact:
        lint.error(
            "E002",
            ("controller", "contact"),
            "empty, so that consent cannot be withdrawn (GDPR art. 7(3)); name an address",
        )


def _check_balancing(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name, "balancing")
    balancing = purpose.balancing
    if balancing is None:
        lint.error(
            "E003",
            key,
            "missing, but the ground is a legitimate interest (GDPR art. 6(1)(f)); weigh it",
        )
        return
    if balancing.outcome is not Outcome.PROCEED:
        lint.error(
            "E003",
            (*key, "outcome"),
            f"{balancing.outcome.value!r}: the interest does not outweigh; do not record for this purpose",
        )
    if balancing.review_by < lint.around.today:
        lint.error(
            "E003",
            (*key, "review_by"),
            f"{balancing.review_by} is past; weigh anew, then set the new date",
        )
    found = lint.hashes.get(balancing.file)
    if found is not None and found != balancing.sha256:
        lint.error(
            "E003",
            (*key, "sha256"),
            f"{balancing.sha256[:12]}… is not that of {balancing.file}, which is {found[:12]}…; "
            "approve the sheet anew, then give its hash",
        )


def _check_term(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name, "retention")
    retention = purpose.retention
    keep = retention.keep
    if not timedelta(seconds=1) <= keep <= _LONGEST:
        lint.error("E005", (*key, "keep"), f"not from PT1S to P{_LONGEST.days}D; choose a term that ends")
    if retention.floor is not None and keep < retention.floor:
        lint.error(
            "E005",
            (*key, "keep"),
            f"{shown(keep)} is less than the floor, {shown(retention.floor)}; raise it",
        )
    if retention.reach is RetentionReach.EXISTING:
        lint.error(
            "E017",
            (*key, "reach"),
            "'existing': callers were told the old term and use, so a longer or another one is for new "
            "recordings (GDPR art. 5(1)(b)); set new, or name a hold or a new purpose",
        )
    promote = retention.promote
    if promote is not None and promote.keep <= keep:
        lint.error(
            "E005",
            (*key, "promote", "keep"),
            f"{shown(promote.keep)} is not more than keep, {shown(keep)}; raise it, or take promote out",
        )
    if retention.ceiling is not None:
        terms = [("keep", keep)]
        if promote is not None:
            terms.append(("promote", promote.keep))
        for part, term in terms:
            if term > retention.ceiling:
                lint.error(
                    "E005",
                    (*key, part),
                    f"{shown(term)} is more than the ceiling, {shown(retention.ceiling)}; lower it",
                )
    if purpose.kind is Kind.TRAINING and keep > _TRAINING_CAP and not retention.override_reason:
        lint.error(
            "E005",
            (*key, "keep"),
            f"{shown(keep)} for a training is more than P180D; lower it, or say why in override_reason",
        )


def _check_selection(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name, "selection")
    selection = purpose.selection
    if selection.mode in {SelectionMode.ALL, SelectionMode.MANUAL} and selection.rate is not None:
        lint.error(
            "E001",
            (*key, "rate"),
            f"{selection.rate:g} has no meaning for {selection.mode.value}; take it out",
        )
    if (selection.mode is SelectionMode.MANUAL) != bool(selection.keys):
        lint.error(
            "E001",
            (*key, "keys"),
            "staff start a recording by keys if mode is manual, and only then; give both or none",
        )
    if selection.stop_keys and not selection.keys:
        lint.error(
            "E001",
            (*key, "stop_keys"),
            "staff end by keys what they start by keys, and nothing else; give keys too, or take it out",
        )


def _check_sample(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name)
    selection = purpose.selection
    if selection.mode is not SelectionMode.NON_SELECTIVE:
        return
    if purpose.retention.keep > _SAMPLE_KEEP:
        lint.error(
            "E006",
            (*key, "retention", "keep"),
            f"{shown(purpose.retention.keep)} is too long for non_selective; at most P14D",
        )
    if purpose.retention.start is RetentionStart.CALL_END:
        lint.error(
            "E006",
            (*key, "retention", "start"),
            "'call_end': the fourteen days of a sample count from its start; set call_start",
        )
    if purpose.access.index is not Index.NONE:
        lint.error(
            "E006",
            (*key, "access", "index"),
            f"{purpose.access.index.value!r} would find persons, so the sample is selective; set none",
        )
    if purpose.retention.promote is not None:
        lint.error(
            "E006",
            (*key, "retention", "promote"),
            "picks recordings by what was said, so the sample is selective; take it out",
        )
    if selection.criteria:
        lint.error(
            "E006",
            (*key, "selection", "criteria"),
            f"{selection.criteria!r}: a draw has no criteria; take them out, or set mode: selective",
        )
    if purpose.derived.transcript is Transcript.ON:
        lint.error("E006", (*key, "derived", "transcript"), "'on' makes the sample searchable; set off")
    if selection.rate is None:
        lint.error("E006", (*key, "selection", "rate"), "missing for non_selective; give a share up to 0.2")
    elif selection.rate > _SAMPLE_RATE:
        lint.error(
            "E006",
            (*key, "selection", "rate"),
            f"{selection.rate:g} is more than a sample; at most {_SAMPLE_RATE:g}",
        )


def _check_announcement(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name, "announce", "prompts")
    prompts = purpose.announce.prompts
    keys = purpose.choice.mode is not ChoiceMode.NONE or purpose.decline is not None
    for language in lint.file.languages:
        if language not in prompts:
            lint.error(
                "E007",
                key,
                f"none in {language}, which languages offers; add one, or take {language} out of languages",
            )
    for language, prompt in prompts.items():
        at = (*key, language)
        built_in = lint.around.built_in
        words = lint.words(prompt, language)
        if prompt not in lint.file.prompts and built_in is not None and words is None:
            lint.error(
                "E007",
                at,
                f"{prompt!r} is in no prompts and has no built-in text in {language}; "
                f"name one of {', '.join([*lint.file.prompts, *built_in])}",
            )
        fault = lint.around.faults.get((prompt, language))
        if fault is not None:
            lint.error("E007", at, f"{prompt!r} cannot be played: {fault}")
        seconds = (lint.around.seconds or {}).get((prompt, language), 0.0)
        if seconds > _LONGEST_PROMPT_S:
            lint.error(
                "E007",
                at,
                f"{prompt!r} lasts {seconds:.1f} s, and who is told for longer than "
                f"{_LONGEST_PROMPT_S:.0f} s hangs up; shorten it",
            )
        said = _SAYS.get((purpose.kind, language.split("-", maxsplit=1)[0]))
        if words is not None and said is not None and not re.search(said, words, re.IGNORECASE):
            lint.error(
                "E007",
                at,
                f"{words!r} does not say what for (GDPR art. 13(1)(c)); name the {purpose.kind.value} in it",
            )
        if words is not None and not keys and _KEY_OFFER.search(words):
            lint.error(
                "E007",
                at,
                f"{words!r} offers to press a key, but choice.mode is none; leave the offer out",
            )
    if not purpose.pause.on_hold:
        lint.error(
            "E008",
            ("purposes", name, "pause", "on_hold"),
            "false would record people who wait and do not know; set true",
        )


def _check_staff(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name, "staff")
    council = purpose.staff.works_council
    if council is None or not (council.none or (council.ref and council.date)):
        lint.error(
            "E011",
            (*key, "works_council"),
            "neither {ref, date} of its consent nor {none: why there is none}; give one",
        )
    if not purpose.staff.notice_ref:
        lint.error("E011", (*key, "notice_ref"), "empty: staff must be told (GDPR art. 13); name the notice")
    announce = purpose.announce
    if announce.staff is StaffNotice.ANNOUNCEMENT and announce.audience is not Audience.BOTH:
        lint.error(
            "E011",
            ("purposes", name, "announce", "staff"),
            f"'announcement', which audience: {announce.audience.value} keeps from them; set audience: both",
        )


def _check_special(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name)
    if (purpose.special_categories is SpecialCategories.GROUND) != (purpose.special_ground is not None):
        lint.error(
            "E012",
            (*key, "special_ground"),
            "missing or without special_categories: ground (GDPR art. 9(2)); give both or none",
        )
    if purpose.derived.analytics is not Analytics.OFF:
        lint.error(
            "E012",
            (*key, "derived", "analytics"),
            f"{purpose.derived.analytics.value!r} makes biometric data or guesses at feelings; set off",
        )
    derived = purpose.derived
    if derived.transcript is Transcript.ON:
        kept = derived.transcript_keep
        if kept is None or kept > purpose.retention.keep:
            lint.error(
                "E016",
                (*key, "derived", "transcript_keep"),
                f"{'missing' if kept is None else shown(kept)}: a transcript may not outlive the sound, "
                f"{shown(purpose.retention.keep)}; give at most that",
            )
    elif purpose.access.counterparty_voice is CounterpartyVoice.TRANSCRIPT:
        lint.error(
            "E016",
            (*key, "access", "counterparty_voice"),
            "'transcript', and none may be kept: set derived.transcript: on, or include",
        )


def _check_mifid(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    if not any(MIFID.search(ref) for ref in purpose.legal_ref):
        return
    key = ("purposes", name)
    keep = purpose.retention.keep
    if not FIVE_YEARS <= keep <= _SEVEN_YEARS:
        lint.error(
            "E013",
            (*key, "retention", "keep"),
            f"{shown(keep)} is not from five to seven years (Regulation (EU) 2017/565 art. 72 and 76); "
            f"give {shown(FIVE_YEARS)} to {shown(_SEVEN_YEARS)}",
        )
    if purpose.failure.recorder_down is OnFailure.CONTINUE:
        lint.error(
            "E013",
            (*key, "failure", "recorder_down"),
            "'continue_unrecorded' would take orders without record; set block_call",
        )
    if purpose.choice.mode is not ChoiceMode.NONE:
        lint.error(
            "E013",
            (*key, "choice", "mode"),
            f"{purpose.choice.mode.value!r} leaves orders unrecorded; set none",
        )


def _check_countries(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name)
    for country in _countries(lint, purpose):
        profile = effective(purpose, profile_of(country))
        kind = purpose.kind
        cap, keep = profile.caps.get(kind), purpose.retention.keep
        if cap is not None and keep > cap:
            lint.error(
                "E014",
                (*key, "retention", "keep"),
                f"{shown(keep)}, but {country.value} allows {kind.value} {shown(cap)}; lower it, "
                "or give override with a lawyer's opinion",
            )
        asks = purpose.choice.mode is ChoiceMode.OPT_IN or purpose.consent is not None
        if kind in profile.opt_in and not asks:
            lint.error(
                "E014",
                (*key, "choice", "mode"),
                f"{purpose.choice.mode.value!r}, but {country.value} wants an act of consent; set opt_in, "
                "or give override with a lawyer's opinion",
            )
        if kind in profile.manual and purpose.selection.mode is not SelectionMode.MANUAL:
            lint.error(
                "E014",
                (*key, "selection", "mode"),
                f"{purpose.selection.mode.value!r}, but {country.value} wants {kind.value} started by hand; "
                "set manual, or give override with a lawyer's opinion",
            )
        if kind in profile.term_spoken and not purpose.announce.speak_term:
            lint.error(
                "E014",
                (*key, "announce", "speak_term"),
                f"false, but {country.value} wants the term said; say it, then set true",
            )


def _check_texts(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    for texts, what in ((purpose.title, "title"), (purpose.description, "description")):
        if lint.file.languages and lint.file.languages[0] not in texts:
            lint.error(
                "E001",
                ("purposes", name, what),
                f"has no text in {lint.file.languages[0]}, the first of languages; add it",
            )


def _countries(lint: Lint, purpose: Purpose) -> tuple[Country, ...]:
    """Countries of the purpose's lines."""
    own = (lint.file.lines[line].jurisdiction for line in purpose.scope.lines if line in lint.file.lines)
    default = lint.file.jurisdictions.default
    return tuple(dict.fromkeys(country or default for country in own))


def shown(term: timedelta) -> str:
    """A term as it is written in a policy."""
    return f"P{term.days}D" if term.days and not term.seconds else f"PT{int(term.total_seconds())}S"
