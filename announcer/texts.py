"""The built-in words of announcements, by name and language.

Short (under 6 s when spoken) and true. They name why the call is recorded (GDPR art. 13(1)(c)); who
records belongs in the greeting. Names that end in ``opt_out`` offer key 9 to refuse, those in ``opt_in``
key 1 to agree; a number at the end is another wording. Native speakers should check and record them.
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
        "fr": "Cet appel est enregistré pour la formation.",
    },
    "training_opt_out": {
        "nl": "Dit gesprek wordt opgenomen voor training. Geen opname? Toets 9.",
        "en": "This call is recorded for staff training. To refuse, press 9.",
        "fr": "Cet appel est enregistré pour la formation. Pour refuser, tapez 9.",
    },
    "training_opt_out_2": {
        "nl": "We nemen dit gesprek op om collega's te trainen. Liever niet? Kies 9.",
        "en": "We record this call to coach our team. Rather not? Press 9.",
        "fr": "Nous enregistrons pour former nos équipes. Refus : touche 9.",
    },
    "training_opt_in": {
        "nl": "Mogen we opnemen voor training? Toets 1 voor ja.",
        "en": "May we record this call for training? Press 1 for yes.",
        "de": "Dürfen wir zu Schulungszwecken aufzeichnen? Ja: Taste 1.",
        "fr": "Pouvons-nous enregistrer pour la formation ? Oui : tapez 1.",
    },
    "training_opt_in_2": {
        "de": "Aufzeichnung zur Schulung nur mit Ihrem Ja. Drücken Sie die 1.",  # codespell:ignore sie
    },
    "agreements": {
        "nl": "We nemen dit gesprek op om afspraken vast te leggen.",
        "en": "We record this call as evidence of our agreement.",
        "fr": "Nous enregistrons pour prouver notre accord.",
    },
    "agreements_opt_out": {
        "nl": "We nemen op om afspraken vast te leggen. Bezwaar? Toets 9.",
        "en": "We record this call as evidence of our agreement. To refuse, press 9.",
        "fr": "Nous enregistrons pour prouver notre accord. Pour refuser, tapez 9.",
    },
    "agreements_opt_out_2": {
        "nl": "Vanaf nu nemen we uw akkoord op als bewijs. Bezwaar? Toets 9.",  # codespell:ignore als
        "en": "From now on we record, to keep proof of your order. To refuse, press 9.",
        "fr": "À partir d'ici, enregistrement comme preuve du contrat. Refus : touche 9.",
    },
    "agreements_opt_in": {
        "nl": "Mogen we uw akkoord opnemen als bewijs? Toets 1 voor ja.",  # codespell:ignore als
        "en": "May we record your agreement as proof? Press 1 for yes.",
        "de": "Dürfen wir Ihre Zusage als Nachweis aufzeichnen? Ja: Taste 1.",  # codespell:ignore als
        "fr": "Enregistrer votre accord comme preuve ? Oui : tapez 1.",
    },
    "agreements_opt_in_2": {
        "de": (
            "Ab jetzt Aufnahme als Vertragsnachweis, "  # codespell:ignore als
            "wenn Sie die 1 drücken."  # codespell:ignore sie
        ),
    },
    "quality_sample": {
        "nl": "Dit gesprek wordt als steekproef opgenomen.",  # codespell:ignore als
        "en": "This call is recorded as a random sample.",
        "fr": "Sondage : appel enregistré, effacé sous deux semaines.",
    },
    "quality_sample_opt_out": {
        "nl": "Steekproefopname, twee weken bewaard. Bezwaar? Toets 9.",
        "en": "Recorded as a random sample, kept two weeks. To refuse, press 9.",
        "fr": "Sondage : appel enregistré, effacé sous deux semaines. Refus : touche 9.",
    },
    "quality_sample_opt_out_2": {
        "nl": "We nemen op als steekproef, twee weken. Bezwaar? Toets 9.",  # codespell:ignore als
        "en": "We record this random call for two weeks. To refuse, press 9.",
        "fr": "Appel enregistré deux semaines pour la qualité. Refus : touche 9.",
    },
    "quality_sample_opt_in": {
        "de": "Stichprobe: Aufzeichnen für zwei Wochen? Ja: Taste 1.",
    },
    "quality_sample_opt_in_2": {
        "de": "Aufnahme als Stichprobe, zwei Wochen: einverstanden? Taste 1.",  # codespell:ignore als
    },
    "quality_month_opt_out": {
        "nl": "Opname voor kwaliteit, bewaard één maand. Bezwaar? Toets 9.",
        "fr": "Enregistré pour la qualité, conservé un mois. Refus : touche 9.",
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
    "investment_orders_2": {
        "nl": "Wij nemen dit ordergesprek op volgens de wet en bewaren het vijf jaar.",
        "en": "By law we record order calls and keep them for five years.",
        "de": (
            "Ordergespräche zeichnen wir gesetzlich auf und bewahren sie fünf Jahre."  # codespell:ignore sie
        ),
        "fr": "La loi impose l'enregistrement des ordres, conservés cinq ans.",
    },
    "recording_on": {
        "nl": "Opname loopt.",
        "en": "Recording.",
        "de": "Aufnahme läuft.",
        "fr": "Enregistrement en cours.",
    },
    "recording_stopped": {
        "nl": "Opname gestopt.",
        "en": "Recording stopped.",
        "de": "Aufnahme beendet.",
        "fr": "Enregistrement arrêté.",
    },
    "recording_paused": {
        "nl": "Opname gepauzeerd.",
        "en": "Recording paused.",
        "de": "Aufnahme pausiert.",
        "fr": "Enregistrement suspendu.",
    },
    "recording_resumed": {
        "nl": "Opname hervat.",
        "en": "Recording resumed.",
        "de": "Aufnahme läuft wieder.",
        "fr": "Enregistrement repris.",
    },
    "orders_refused": {
        "nl": "Zonder opname kunnen we telefonisch geen orders aannemen.",
        "en": "Without recording we cannot take orders by phone.",
        "de": "Ohne Aufzeichnung können wir telefonisch keine Aufträge annehmen.",
        "fr": "Sans enregistrement, nous ne pouvons pas prendre d'ordres par téléphone.",
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
