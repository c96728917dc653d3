"""The policy in force, looked up by the names of its keys, for documents that repeat it.

A document never invents: what the policy does not say stands in it as missing, under
the key that would say it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Final

import msgspec

from recproxy.config import parse_duration
from recproxy.policy import Policy

__all__ = ["Language", "PurposeSheet", "Sheet"]

_DAYS_IN_YEAR: Final = 365
_ABSENT: Final = object()


class Language(Enum):
    """Of a document; the policy may hold texts in more."""

    NL = "nl"
    EN = "en"


_MISSING: Final = {Language.NL: "ontbreekt in het beleid", Language.EN: "missing in the policy"}

_PROMOTED: Final = {
    Language.NL: ", of {keep} waar het gesprek daar reden voor geeft ({rationale})",
    Language.EN: ", or {keep} if the call gives reason for it ({rationale})",
}
_FROM_END: Final = {
    Language.NL: " vanaf het einde van het gesprek",
    Language.EN: " from the end of the call",
}
_IN_BACKUPS: Final = {
    Language.NL: "; de vernietigde sleutel nog hooguit {horizon} in reservekopieën",
    Language.EN: "; the destroyed key for at most {horizon} more in backups",
}
_TRACE: Final = {
    Language.NL: "; een spoor zonder persoonsgegevens {keep}",
    Language.EN: "; a trace without personal data for {keep}",
}


@dataclass(frozen=True, slots=True)
class PurposeSheet:
    """One purpose in one language.

    Attributes:
        name: Its id.
        language: Of the texts.
        sheet: The policy it is part of.
    """

    name: str
    language: Language
    sheet: Sheet

    def text(self, *keys: str) -> str:
        """The first of these keys that the policy has, as words; else which one is missing."""
        return self.sheet.text(*(f"purposes.{self.name}.{key}" for key in keys))

    def value(self, *keys: str) -> Any:  # noqa: ANN401 - whatever the policy holds there
        """The first of these keys that the policy has, as it is; else None."""
        return self.sheet.value(*(f"purposes.{self.name}.{key}" for key in keys))

    def listed(self, key: str) -> str:
        """A list as words: an empty one is a dash, an absent one is missing."""
        found = self.value(key)
        return "–" if isinstance(found, Sequence) and not found else self.text(key)

    @property
    def keep(self) -> str:
        """How long, as words; with the longer term that a tag gives, and why."""
        usual = self.text("retention.keep", "retention")
        if self.value("retention.start") == "call_end":
            usual += _FROM_END[self.language]
        if self.value("retention.promote") is None:
            return usual
        return usual + _PROMOTED[self.language].format(
            keep=self.text("retention.promote.keep"), rationale=self.text("retention.promote.rationale")
        )

    @property
    def remains(self) -> str:
        """What is left after the shred, and for how long, as words."""
        horizon = self.sheet.value(f"key_groups.{self.value('storage.key_group')}.backup_horizon")
        found = _duration(horizon) if isinstance(horizon, str) else None
        backups = _IN_BACKUPS[self.language].format(horizon=self.sheet.duration(horizon)) if found else ""
        return backups + _TRACE[self.language].format(keep=self.text("evidence.tombstone_keep"))

    @property
    def written(self) -> bool:
        """Whether a transcript of its calls may be kept."""
        return bool(self.value("derived.transcript") == "on")

    @property
    def basis(self) -> str:
        """The legal ground towards the caller, by its name in the policy; empty if there is none."""
        found = self.value("basis.caller", "legal_basis")
        return found if isinstance(found, str) else ""


class Sheet:
    """A policy in one language.

    Args:
        policy: The policy.
        language: Of the document.
    """

    def __init__(self, policy: Policy, language: Language) -> None:
        self._root = msgspec.to_builtins(policy.file, str_keys=True, enc_hook=_plain)
        self.language = language
        self.version = policy.version
        self.purposes = tuple(PurposeSheet(name, language, self) for name in policy.purposes)
        self._missing: dict[str, None] = {}

    @property
    def longest_backup(self) -> str:
        """How long a destroyed key lives on in backups at most, as words; empty if there are none."""
        groups = self.value("key_groups") or {}
        found = [
            (duration, text)
            for group in groups.values()
            if (duration := _duration(text := str(group.get("backup_horizon", "")))) is not None
        ]
        longest, text = max(found, default=(timedelta(0), ""))
        return self.duration(text) if longest else ""

    @property
    def missing(self) -> tuple[str, ...]:
        """Keys that a text asked for and the policy does not have, in that order."""
        return tuple(self._missing)

    def value(self, *keys: str) -> Any:  # noqa: ANN401 - whatever the policy holds there
        """The first of these keys that the policy has, as it is; else None."""
        for key in keys:
            found = self._look(key)
            if found is not _ABSENT:
                return found
        return None

    def text(self, *keys: str) -> str:
        """The first of these keys that the policy has, as words; else which one is missing."""
        found = self.value(*keys)
        said = None if found is None else self._words(found)
        if said is None:
            self._missing[keys[0]] = None
            return f"[{_MISSING[self.language]}: {keys[0]}]"
        return said

    def _look(self, key: str) -> Any:  # noqa: ANN401
        node: Any = self._root
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return _ABSENT
            node = node[part]
        return _ABSENT if node is None else node

    def _words(self, value: Any) -> str | None:  # noqa: ANN401
        match value:
            case str() if value.startswith("P") and _duration(value) is not None:
                return self.duration(value)
            case str() | int() | float():
                return str(value) or None
            case {"first": str(first), "last": str(last), "is_prefix": bool(is_prefix)}:
                return f"{first}*" if is_prefix else f"{first}-{last}" if last else first
            case Mapping():
                return _of_languages(value, self.language) or self._pairs(value)
            case Sequence():
                return ", ".join(filter(None, map(self._words, value))) or None
            case _:
                return None

    def _pairs(self, value: Mapping[str, Any]) -> str | None:
        pairs = [(name, self._words(one)) for name, one in value.items()]
        return "; ".join(f"{name}: {said}" for name, said in pairs if said) or None

    def duration(self, text: str) -> str:
        """An ISO 8601 duration as words."""
        found = _duration(text)
        if found is None or not found.days:
            return text
        years, days = divmod(found.days, _DAYS_IN_YEAR)
        if years and not days:
            return f"{years} jaar" if self.language is Language.NL else f"{years} year{'s' * (years > 1)}"
        if self.language is Language.NL:
            return f"{found.days} dag{'en' * (found.days > 1)}"
        return f"{found.days} day{'s' * (found.days > 1)}"


def _plain(value: object) -> object:
    """What msgspec does not know: read-only views of a mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError


def _duration(text: str) -> timedelta | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _of_languages(value: Mapping[str, Any], language: Language) -> str | None:
    """A text by language: this one, else any, marked as that."""
    texts = {name: one for name, one in value.items() if isinstance(one, str) and len(name) in {2, 5}}
    if not texts or len(texts) != len(value):
        return None
    if language.value in texts:
        return texts[language.value]
    name, text = next(iter(texts.items()))
    return f"[{name}] {text}"
