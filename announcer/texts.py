"""The built-in words of announcements, by purpose and language.

Short (under 6 s when spoken), true, and without an offer to press a key, since no key is listened
to. They name why the call is recorded (GDPR art. 13(1)(c)); who records belongs in the greeting.
Native speakers should check and record them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from announcer.errors import PromptError

__all__ = ["BUILT_IN", "built_in"]

BUILT_IN: Final[Mapping[str, Mapping[str, str]]] = {
    "training": {
        "nl": "Dit gesprek wordt opgenomen voor training.",
        "en": "This call is recorded for staff training.",
    },
    "agreements": {
        "nl": "We nemen dit gesprek op om afspraken vast te leggen.",
        "en": "We record this call as evidence of our agreement.",
    },
    "quality_sample": {
        "nl": "Dit gesprek wordt als steekproef opgenomen.",  # codespell:ignore als
        "en": "This call is recorded as a random sample.",
    },
    "investment_orders": {
        "nl": "Dit gesprek wordt opgenomen. Dat is bij beleggingsorders wettelijk verplicht.",
        "en": "This call is recorded. The law requires it for investment orders.",
        "de": (
            "Dieses Gespräch wird aufgezeichnet. "
            "Das ist bei Wertpapieraufträgen Pflicht."  # codespell:ignore ist
        ),
        "fr": "Cet appel est enregistré. La loi l'exige pour les ordres de bourse.",
    },
}


def built_in(name: str, language: str) -> str:
    """Give the built-in words of an announcement.

    Args:
        name: Of the announcement.
        language: BCP 47 tag; a regional one falls back to its language.

    Returns:
        The words.

    Raises:
        PromptError: There are none; the text says which there are.
    """
    texts = BUILT_IN.get(name)
    if texts is None:
        known = ", ".join(BUILT_IN)
        raise PromptError(
            f"announcement {name!r} has no built-in text (those are {known}); give it a text or a file"
        )
    text = texts.get(language) or texts.get(language.split("-", maxsplit=1)[0].lower())
    if text is None:
        raise PromptError(
            f"announcement {name!r} has no built-in text in {language!r} (only {', '.join(texts)}); "
            "give it a text or a file"
        )
    return text
