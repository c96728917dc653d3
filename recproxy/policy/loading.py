"""From the text of ``policy.yaml`` to a :class:`Policy`: scalars, and checks across keys."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from recproxy.config import Document, FilePath, Parsers, parse_duration, read
from recproxy.errors import PolicyError
from recproxy.policy.numbers import NumberPattern, parse_pattern
from recproxy.policy.rules import (
    NONE,
    Language,
    Policy,
    PolicyFile,
    Purpose,
    PurposeName,
    Rule,
)
from storage.tags import LegalBasis

__all__ = ["load_policy", "parse"]

VERSION: Final = 1
LONGEST: Final = timedelta(days=36_525)
_PURPOSE: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")  # as storage.tags wants it
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}\Z")
# An offer to press a key would be untrue: no key is listened to yet.
_KEY_OFFER: Final = re.compile(
    r"\b(?:toets|druk|kies|press|dial|key|taste|drücken|tapez|touche|appuyez)\b[^.!?]*[0-9*#]"
    r"|\b[0-9*#]\b[^.!?]*\b(?:toets|taste|key|touche)\b",
    re.IGNORECASE,
)


def load_policy(path: FilePath, trunks: Collection[str] | None = None) -> Policy:
    """Read and check ``policy.yaml``.

    Args:
        path: Its place.
        trunks: Names that rules may use; None to take any.

    Raises:
        ConfigError: It cannot be read.
        PolicyError: It is wrong; every problem is named.
    """
    return parse(read(path), str(path), trunks)


def parse(text: str, name: str, trunks: Collection[str] | None = None) -> Policy:
    """Check the text of ``policy.yaml``.

    Args:
        text: Of the file, line endings as they are.
        name: Of the file, for messages.
        trunks: Names that rules may use; None to take any.

    Returns:
        The policy.

    Raises:
        PolicyError: It is wrong; every problem is named with its line.
    """
    document = Document.parse(text, name, PolicyError)
    document.check_version(VERSION)
    file = document.build(PolicyFile, _PARSERS)
    for purpose, facts in file.purposes.items():
        _check_purpose(purpose, facts, document)
    _check_prompts(file, document)
    _check_rules(file, document, trunks)
    for at, number in enumerate(file.emergency.also):
        if not re.fullmatch(r"\+?[0-9]{2,20}", number):
            document.note(("emergency", "also", at), f"{number!r} is not a number of digits")
    document.finish()
    return Policy(
        version=hashlib.sha256(text.encode()).hexdigest(),
        purposes=file.purposes,
        rules=tuple(_canonical(rule, file) for rule in file.rules),
        numbering=file.numbering,
        emergency=file.emergency.dialled(),
    )


# Scalars.


def _purpose_name(text: str) -> PurposeName:
    if not _PURPOSE.match(text):
        raise ValueError("is not lower-case letters, digits and underscores")
    if text == NONE:
        raise ValueError("is what a rule says for no purpose; choose another")
    return PurposeName(text)


def _language(text: str) -> Language:
    if not _LANGUAGE.match(text):
        raise ValueError("is not a language tag such as nl or en-GB")
    return Language(text)


_PARSERS: Final[Parsers] = {
    timedelta: parse_duration,
    PurposeName: _purpose_name,
    Language: _language,
    NumberPattern: parse_pattern,
}


# What only shows when the parts are put together.


def _check_purpose(name: PurposeName, purpose: Purpose, document: Document) -> None:
    key = ("purposes", name)
    if not timedelta(seconds=1) <= purpose.retention <= LONGEST:
        document.note((*key, "retention"), f"not from PT1S to P{LONGEST.days}D")
    if purpose.legal_basis is LegalBasis.CONSENT:
        document.note(
            (*key, "legal_basis"),
            "consent must be given by an act (GDPR art. 4(11)), and no key is listened to yet; "
            "rest on another ground or do not record",
        )
    spoken = purpose.announcement
    for texts, what in ((purpose.title, "title"), (purpose.description, "description")):
        if spoken.language not in texts:
            document.note((*key, what), f"has no text in {spoken.language}, the language announced")
    own = {*spoken.texts, *spoken.files}
    if own and spoken.language not in own:
        document.note(
            (*key, "announcement", "language"),
            f"{spoken.language} is in neither texts nor files, which have {', '.join(sorted(own))}; add it",
        )
    for language in spoken.texts:
        if language in spoken.files:
            document.note(
                (*key, "announcement", "files", language), "there is also a text; keep one of the two"
            )
        if _KEY_OFFER.search(spoken.texts[language]):
            document.note(
                (*key, "announcement", "texts", language),
                "offers to press a key, but no key is listened to; leave the offer out",
            )


def _check_prompts(file: PolicyFile, document: Document) -> None:
    """Two purposes may share an announcement only if they mean the same one."""
    seen: dict[str, PurposeName] = {}
    for name, purpose in file.purposes.items():
        spoken = purpose.announcement
        prompt = spoken.prompt or name
        other = seen.setdefault(prompt, name)
        theirs = file.purposes[other].announcement
        if (theirs.texts, theirs.files) != (spoken.texts, spoken.files):
            document.note(
                ("purposes", name, "announcement"),
                f"is called {prompt} like that of {other}, but has other words; give it its own prompt",
            )


def _check_rules(file: PolicyFile, document: Document, trunks: Collection[str] | None) -> None:
    closed_by: int | None = None
    for at, rule in enumerate(file.rules):
        key = ("rules", at)
        if rule.purpose != NONE and rule.purpose not in file.purposes:
            known = ", ".join([*file.purposes, NONE])
            document.note((*key, "purpose"), f"{rule.purpose!r} is not one of {known}")
        if trunks is not None and rule.trunk is not None and rule.trunk not in trunks:
            document.note((*key, "trunk"), f"{rule.trunk!r} is not one of {', '.join(trunks)}")
        for place, pattern in enumerate(rule.called):
            if pattern.presentation:
                document.note((*key, "called", place), f"{pattern.presentation} is for calling only")
        if closed_by is not None:
            document.note(key, f"never reached: the rule in line {closed_by} matches every call")
        elif rule.is_unconditional:
            closed_by = document.line(key)


def _canonical(rule: Rule, file: PolicyFile) -> Rule:
    return replace(
        rule,
        called=tuple(pattern.canonical(file.numbering) for pattern in rule.called),
        calling=tuple(pattern.canonical(file.numbering) for pattern in rule.calling),
    )
