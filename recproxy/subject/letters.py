"""Letters to the person who asked, in Dutch and English; the facts come from policy and case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from recproxy.notices import Language, PurposeSheet, Sheet
from recproxy.subject.cases import Case, Outcome, RequestKind

__all__ = ["Reply", "access_letter", "outcome_letter"]

_BASES: Final[Mapping[Language, Mapping[str, str]]] = {
    Language.NL: {
        "consent": "uw toestemming (AVG art. 6 lid 1 onder a); u kunt die altijd intrekken",
        "contract": "een overeenkomst met u (AVG art. 6 lid 1 onder b)",
        "legal_obligation": "een wettelijke plicht (AVG art. 6 lid 1 onder c)",
        "public_task": "een taak van algemeen belang (AVG art. 6 lid 1 onder e)",
        "legitimate_interest": "een gerechtvaardigd belang (AVG art. 6 lid 1 onder f)",
    },
    Language.EN: {
        "consent": "your consent (GDPR art. 6(1)(a)); you may withdraw it at any time",
        "contract": "a contract with you (GDPR art. 6(1)(b))",
        "legal_obligation": "a legal obligation (GDPR art. 6(1)(c))",
        "public_task": "a task in the public interest (GDPR art. 6(1)(e))",
        "legitimate_interest": "a legitimate interest (GDPR art. 6(1)(f))",
    },
}
_OUTCOMES: Final[Mapping[Language, Mapping[Outcome, str]]] = {
    Language.NL: {
        Outcome.FOUND: "gevonden, nog niet beslist",
        Outcome.EXPORTED: "aan u verstrekt",
        Outcome.STATEMENT: "aangevuld met uw verklaring (AVG art. 16); de opname zelf verandert niet",
        Outcome.SHREDDED: "vernietigd: sleutel en bestand bestaan niet meer",
        Outcome.ENDED: "voor dit doel niet meer bewaard: die sleutel is vernietigd; voor een ander doel wel",
        Outcome.RESTRICTED: "beperkt: bewaard, maar niet gebruikt (AVG art. 18)",
        Outcome.REFUSED_HOLD: "niet gewist: nodig voor een rechtsvordering (AVG art. 17 lid 3 onder e)",
        Outcome.REFUSED_STATUTE: "niet gewist: de wet verplicht ons tot bewaren (AVG art. 17 lid 3 onder b)",
        Outcome.REFUSED_BASIS: "niet toegewezen: de opname berust niet op de grond waarop dit recht ziet",
        Outcome.REFUSED_GROUND: "bezwaar afgewezen: onze dwingende gronden staan in de begeleidende brief",
        Outcome.OPEN_CALL: "het gesprek is nog gaande; wij beslissen als het voorbij is",
    },
    Language.EN: {
        Outcome.FOUND: "found, not decided yet",
        Outcome.EXPORTED: "given to you",
        Outcome.STATEMENT: "completed by your statement (GDPR art. 16); the sound itself is not changed",
        Outcome.SHREDDED: "destroyed: neither key nor file exists any more",
        Outcome.ENDED: "no longer kept for this purpose, whose key is destroyed; it is for another one",
        Outcome.RESTRICTED: "restricted: kept and not used (GDPR art. 18)",
        Outcome.REFUSED_HOLD: "not erased: needed for a legal claim (GDPR art. 17(3)(e))",
        Outcome.REFUSED_STATUTE: "not erased: the law obliges us to keep it (GDPR art. 17(3)(b))",
        Outcome.REFUSED_BASIS: "not granted: the recording does not rest on the ground that this right needs",
        Outcome.REFUSED_GROUND: "objection refused: our compelling grounds are in the covering letter",
        Outcome.OPEN_CALL: "the call is still going on; we decide when it is over",
    },
}
_KINDS: Final[Mapping[Language, Mapping[RequestKind, str]]] = {
    Language.NL: {
        RequestKind.ACCESS: "inzage",
        RequestKind.RECTIFY: "rectificatie",
        RequestKind.ERASE: "wissen",
        RequestKind.RESTRICT: "beperking",
        RequestKind.OBJECT: "bezwaar",
        RequestKind.WITHDRAW: "intrekken van toestemming",
        RequestKind.PORTABILITY: "overdraagbaarheid",
    },
    Language.EN: {
        RequestKind.ACCESS: "access",
        RequestKind.RECTIFY: "rectification",
        RequestKind.ERASE: "erasure",
        RequestKind.RESTRICT: "restriction",
        RequestKind.OBJECT: "objection",
        RequestKind.WITHDRAW: "withdrawal of consent",
        RequestKind.PORTABILITY: "portability",
    },
}


_ACCESS: Final[Mapping[Language, str]] = {
    Language.NL: """\
# Uw verzoek om inzage ({reference})

Datum: {today}. Ontvangen op {received}.

{controller} neemt gesprekken op. Hieronder staat wat AVG art. 15 lid 1 vraagt; een kopie van de
opnamen staat in `audio/` (links de beller, rechts de gebelde), de gegevens erbij in `calls.json`.
{nothing}{purposes}
**Welke gegevens (b).** Het geluid van het gesprek, uw telefoonnummer, de lijn, datum, tijd en duur,
de melding die u hoorde en uw keuze. Welke toetsen u indrukte bewaren wij niet.{written}

**Ontvangers (c).** Wie uw gegevens ontving, staat in `recipients.json`.

**Uw rechten (e).** U kunt vragen om rectificatie, wissen en beperking, en u kunt bezwaar maken.
Schrijf naar {contact}.

**Herkomst (g).** Van uzelf en van uw gesprekspartner, in het gesprek.

**Geautomatiseerde besluiten (h).** Die nemen wij niet op grond van opnamen; er is geen profilering.
""",
    Language.EN: """\
# Your request for access ({reference})

Date: {today}. Received on {received}.

{controller} records calls. Below stands what GDPR art. 15(1) asks for; a copy of the recordings is in
`audio/` (left the caller, right the called party), the facts of each in `calls.json`.
{nothing}{purposes}
**Which data (b).** The sound of the call, your telephone number, the line, date, time and length, the
announcement you heard and your choice. Which keys you pressed is not kept.{written}

**Recipients (c).** Who received your data stands in `recipients.json`.

**Your rights (e).** You may ask for rectification, erasure and restriction, and you may object.
Write to {contact}.

**Source (g).** You and the other party, in the call.

**Automated decisions (h).** We take none on the ground of recordings; there is no profiling.
""",
}
_WRITTEN: Final[Mapping[Language, str]] = {
    Language.NL: " Is van een gesprek een uitgeschreven tekst bewaard, dan staat die in `transcripts/`.\n"
    "Waar de stem van de ander is weggelaten, zegt `calls.json` dat, en staat in die tekst wat hij zei.",
    Language.EN: " If a written text of a call is kept, it is in `transcripts/`. Where the voice of the\n"
    "other party is left out, `calls.json` says so, and that text has what was said.",
}
_NOTHING: Final[Mapping[Language, str]] = {
    Language.NL: """
**Wij hebben geen opnamen met uw nummer gevonden.** Opnamen die hun bewaartermijn hebben bereikt, zijn
vernietigd; daarvan bewaren wij niets dat naar u wijst.
""",
    Language.EN: """
**We found no recordings with your number.** Recordings that reached the end of their retention were
destroyed; of those we keep nothing that points to you.
""",
}
_PURPOSE: Final[Mapping[Language, str]] = {
    Language.NL: """
**Doel (a): {title}.** {description} Grondslag: {basis}. Bewaartermijn (d): {keep}, daarna vernietigen
wij sleutel en bestand.
""",
    Language.EN: """
**Purpose (a): {title}.** {description} Legal basis: {basis}. Retention (d): {keep}, then key and file
are destroyed.
""",
}
_RESULT: Final[Mapping[Language, str]] = {
    Language.NL: """\
# Uw verzoek om {kind} ({reference})

Wij ontvingen uw verzoek op {received}.

{outcomes}
""",
    Language.EN: """\
# Your request: {kind} ({reference})

We received your request on {received}.

{outcomes}
""",
}
_NO_RESULT: Final[Mapping[Language, str]] = {
    Language.NL: "Wij hebben geen opnamen van u gevonden.",
    Language.EN: "We found no recordings of you.",
}
_UNINDEXED: Final[Mapping[Language, str]] = {
    Language.NL: """
Wij hebben ook opnamen die niet op nummer doorzoekbaar zijn. Geef datum, tijd en de gekozen lijn door,
dan zoeken wij ze op zolang ze bestaan.
""",
    Language.EN: """
We also hold recordings that no number finds. Tell us date, time and the line that was dialled, and we
look them up while they exist.
""",
}
_BACKUPS: Final[Mapping[Language, str]] = {
    Language.NL: """
Reservekopieën van de vernietigde sleutels bestaan nog hooguit {horizon}; daarna is niets meer te openen.
""",
    Language.EN: """
Backups of the destroyed keys exist for at most {horizon} more; after that nothing opens any more.
""",
}
_CLOSING: Final[Mapping[Language, str]] = {
    Language.NL: """
**Klacht (f).** U kunt een klacht indienen bij de Autoriteit Persoonsgegevens
(autoriteitpersoonsgegevens.nl), en naar de rechter gaan.

Beleid {policy}.
""",
    Language.EN: """
**Complaints (f).** You may complain to the supervisory authority, in the Netherlands the Autoriteit
Persoonsgegevens (autoriteitpersoonsgegevens.nl), and go to court.

Policy {policy}.
""",
}
_DATES: Final[Mapping[Language, str]] = {Language.NL: "%d-%m-%Y", Language.EN: "%Y-%m-%d"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a letter is about.

    Attributes:
        case: The case.
        sheet: The policy in the language of the letter.
        today: Date of the letter.
        unindexed: Whether recordings exist that no number finds.
    """

    case: Case
    sheet: Sheet
    today: date
    unindexed: bool


def access_letter(reply: Reply) -> str:
    """The answer to a request for access: everything of GDPR art. 15(1) and where the copy is (15(3))."""
    sheet, language = reply.sheet, reply.sheet.language
    used = {one.purpose for one in reply.case.found}
    purposes = [purpose for purpose in sheet.purposes if not used or purpose.name in used]
    return _ACCESS[language].format(
        reference=reply.case.reference,
        today=_date(reply.today, language),
        received=_date(reply.case.received, language),
        controller=sheet.text("controller.name"),
        contact=sheet.text("controller.contact"),
        nothing="" if used else _NOTHING[language],
        purposes="".join(_purpose(purpose) for purpose in purposes),
        written=_WRITTEN[language] if any(purpose.written for purpose in purposes) else "",
    ) + _closing(reply)


def outcome_letter(reply: Reply) -> str:
    """What became of each recording after a request to erase, restrict, object or withdraw."""
    language = reply.sheet.language
    counts = Counter(one.outcome for one in reply.case.found)
    said = [f"- {count} × {_OUTCOMES[language][outcome]}" for outcome, count in counts.items()]
    return _RESULT[language].format(
        kind=_KINDS[language][reply.case.kind],
        reference=reply.case.reference,
        received=_date(reply.case.received, language),
        outcomes="\n".join(said) or _NO_RESULT[language],
    ) + (_backups(reply) + _closing(reply))


def _purpose(purpose: PurposeSheet) -> str:
    named = _BASES[purpose.language].get(purpose.basis)
    return _PURPOSE[purpose.language].format(
        title=purpose.text("title"),
        description=purpose.text("description"),
        basis=named or purpose.text("basis.caller", "legal_basis"),
        keep=purpose.keep,
    )


def _backups(reply: Reply) -> str:
    """How long backups may still hold the keys of what was shredded; nothing if there are none."""
    horizon = reply.sheet.longest_backup
    if not horizon or all(one.outcome is not Outcome.SHREDDED for one in reply.case.found):
        return ""
    return _BACKUPS[reply.sheet.language].format(horizon=horizon)


def _closing(reply: Reply) -> str:
    language = reply.sheet.language
    unindexed = _UNINDEXED[language] if reply.unindexed else ""
    return unindexed + _CLOSING[language].format(policy=reply.sheet.version[:16])


def _date(day: date, language: Language) -> str:
    return day.strftime(_DATES[language])
