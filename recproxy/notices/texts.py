"""The words of the notices, Dutch and English; every fact in them comes from the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from recproxy.notices.sheet import Language

__all__ = [
    "BALANCE",
    "BASES",
    "CHOICES",
    "DATA",
    "INTEREST",
    "LOOK_UP",
    "POLICY",
    "REGISTER_HEADS",
    "SECURITY",
    "SELECTIONS",
    "STAFF",
    "STAFF_PURPOSE",
    "STATEMENT",
    "SUBJECTS",
    "TRANSCRIPT",
    "TRANSCRIPT_DATA",
    "UNINDEXED",
    "WITHDRAWAL",
    "WRITTEN_ONLY",
    "YES_NO",
]

STATEMENT: Final[Mapping[Language, str]] = {
    Language.NL: """\
**Opname van gesprekken: {title}.** {controller} neemt {selection} gesprekken op via {lines}. **Waarom:**
{description} **Grondslag:** {basis}{interest}. **Wat:** het geluid, uw telefoonnummer{unindexed},
datum, tijd,
duur, lijn en uw keuze. Vóór de melding is afgespeeld slaan wij niets op; in de wacht nemen wij niet op.
**Keuze:** {choice}. **Hoe lang:** {keep} ({rationale}); daarna vernietigen wij automatisch sleutel en
bestand.
Langer alleen bij een lopend geschil of een wettelijke plicht, met einddatum. **Wie:** {roles}; ontvangers:
{recipients}. **Uw rechten:** inzage en kopie, correctie, wissen, beperken, **bezwaar**{withdrawal};
schrijf naar
{contact}; wij antwoorden binnen één maand. Klacht: Autoriteit Persoonsgegevens.{look_up}{transcript}
""",
    Language.EN: """\
**Call recording: {title}.** {controller} records {selection} calls on {lines}. **Why:** {description}
**Legal basis:** {basis}{interest}. **What:** the sound, your number{unindexed}, date, time, length,
line and your
choice. Nothing is stored before the notice has been played; we do not record while you are on hold.
**Choice:** {choice}. **How long:** {keep} ({rationale}); then key and file are destroyed automatically.
Longer
only for a pending dispute or a legal duty, with an end date. **Who:** {roles}; recipients:
{recipients}. **Your
rights:** access and copy, correction, erasure, restriction, **objection**{withdrawal}; write to {contact}; we
answer within one month. Complaints: the supervisory authority, in the Netherlands the Autoriteit
Persoonsgegevens.{look_up}{transcript}
""",
}
STAFF: Final[Mapping[Language, str]] = {
    Language.NL: """\
# Opname van gesprekken: wat medewerkers moeten weten

{controller} neemt gesprekken op. Dit stuk zegt welke, waarom, hoe lang, en wat u kunt doen.

{purposes}
- **Terugluisteren** laat altijd een regel achter in een logboek dat niet ongemerkt te wijzigen is: wie, welke
  opname, waarom.
- **Privégesprekken:** kies eerst {private_prefix}, of gebruik een toestel dat is uitgezonderd: {extensions}.
- **Vertrouwelijk:** noodnummers en hulplijnen worden nooit opgenomen, vertrouwelijke nummers ook niet.
- **Betaalgegevens:** pauzeer de opname voordat een klant kaartgegevens noemt.
- Stem en emotie worden niet geanalyseerd.
- **Bezwaar, inzage, klacht:** {contact}; functionaris gegevensbescherming: {dpo}; Autoriteit
  Persoonsgegevens.
""",
    Language.EN: """\
# Call recording: what staff must know

{controller} records calls. This says which, why, for how long, and what you can do.

{purposes}
- **Listening** always leaves a line in a log that cannot be changed unnoticed: who, which recording, why.
- **Private calls:** dial {private_prefix} first, or use a phone that is exempt: {extensions}.
- **Confidential:** emergency numbers and help lines are never recorded, nor are confidential numbers.
- **Card data:** pause the recording before a customer tells card data.
- Voice and emotion are not analysed.
- **To object, to see your data, to complain:** {contact}; data protection officer: {dpo}; the
  supervisory authority.
""",
}
STAFF_PURPOSE: Final[Mapping[Language, str]] = {
    Language.NL: """\
## {title}

{description} Lijnen: {lines}. Deel van de gesprekken: {selection}. Grondslag: {basis}.
Bewaartermijn: {keep}.{transcript}
Terugluisteren mag: {roles}. Beoordeling van medewerkers ermee: {assessment}. U hoort: {beep}.
Ondernemingsraad:
{works_council}. Dit stuk: {notice_ref}.
""",
    Language.EN: """\
## {title}

{description} Lines: {lines}. Share of the calls: {selection}. Legal basis: {basis}.
Retention: {keep}.{transcript}
Who may
listen: {roles}. Used to assess staff: {assessment}. You hear: {beep}. Works council: {works_council}.
This notice:
{notice_ref}.
""",
}
BALANCE: Final[Mapping[Language, str]] = {
    Language.NL: """\
## {title} (`{name}`)

| | |
|---|---|
| Belang | {interest} |
| Noodzaak | {necessity} |
| Overwogen alternatieven | {alternatives} |
| Gevolgen voor betrokkenen | {impact} |
| Waarborgen | {safeguards} |
| Bewaartermijn | {keep} |
| Uitkomst | {outcome} |
| Goedgekeurd door | {approved_by} |
| Datum, herzien vóór | {date}, {review_by} |
| Kenmerk, sha256 | {ref}, {sha256} |
| DPIA | {dpia} |
""",
    Language.EN: """\
## {title} (`{name}`)

| | |
|---|---|
| Interest | {interest} |
| Necessity | {necessity} |
| Alternatives considered | {alternatives} |
| Impact on people | {impact} |
| Safeguards | {safeguards} |
| Retention | {keep} |
| Outcome | {outcome} |
| Approved by | {approved_by} |
| Date, review by | {date}, {review_by} |
| Reference, sha256 | {ref}, {sha256} |
| DPIA | {dpia} |
""",
}
BASES: Final[Mapping[Language, Mapping[str, str]]] = {
    Language.NL: {
        "consent": "uw toestemming (AVG art. 6 lid 1 onder a)",
        "contract": "een overeenkomst (AVG art. 6 lid 1 onder b)",
        "legal_obligation": "een wettelijke plicht (AVG art. 6 lid 1 onder c)",
        "public_task": "een taak van algemeen belang (AVG art. 6 lid 1 onder e)",
        "legitimate_interest": "een gerechtvaardigd belang (AVG art. 6 lid 1 onder f)",
    },
    Language.EN: {
        "consent": "your consent (GDPR art. 6(1)(a))",
        "contract": "a contract (GDPR art. 6(1)(b))",
        "legal_obligation": "a legal obligation (GDPR art. 6(1)(c))",
        "public_task": "a task in the public interest (GDPR art. 6(1)(e))",
        "legitimate_interest": "a legitimate interest (GDPR art. 6(1)(f))",
    },
}
SELECTIONS: Final[Mapping[Language, Mapping[str, str]]] = {
    Language.NL: {
        "all": "alle",
        "selective": "gekozen",
        "manual": "door de medewerker gestarte",
        "non_selective": "willekeurig gekozen",
    },
    Language.EN: {
        "all": "all",
        "selective": "selected",
        "manual": "manually chosen",
        "non_selective": "randomly chosen",
    },
}
CHOICES: Final[Mapping[Language, Mapping[str, str]]] = {
    Language.NL: {
        "none": "geen; u kunt wel bezwaar maken",
        "opt_out": "wilt u geen opname, druk dan op {keys}",
        "opt_in": "wij nemen alleen op als u op {keys} drukt",
    },
    Language.EN: {
        "none": "none; you may object",
        "opt_out": "if you do not want it, press {keys}",
        "opt_in": "we record only if you press {keys}",
    },
}
INTEREST: Final = {Language.NL: "; ons belang: {}", Language.EN: "; our interest: {}"}
UNINDEXED: Final = {Language.NL: " (niet doorzoekbaar opgeslagen)", Language.EN: " (not searchable)"}
WITHDRAWAL: Final = {Language.NL: ", intrekken van uw toestemming", Language.EN: ", withdrawing your consent"}
LOOK_UP: Final = {
    Language.NL: " Ook deze opnamen kunt u inzien zolang ze bestaan; geef datum, tijd en gekozen "
    "nummer door.",
    Language.EN: " You may ask for these recordings too while they exist; give date, time and the "
    "number dialled.",
}
TRANSCRIPT: Final = {
    Language.NL: " Van het gesprek kan een uitgeschreven tekst worden bewaard, versleuteld als de opname, "
    "hooguit {keep} en nooit langer dan de opname zelf.",
    Language.EN: " A written text of the call may be kept, encrypted as the recording is, for {keep} at most "
    "and never longer than the recording itself.",
}
WRITTEN_ONLY: Final = {
    Language.NL: " In een kopie staat wat de ander zei als tekst; diens stem is weggelaten.",
    Language.EN: " In a copy, what the other party said is given as text; that voice is left out.",
}
TRANSCRIPT_DATA: Final = {
    Language.NL: ", uitgeschreven tekst (hooguit {keep})",
    Language.EN: ", written text (for {keep} at most)",
}
YES_NO: Final = {Language.NL: ("nee", "ja"), Language.EN: ("no", "yes")}
POLICY: Final = {Language.NL: "Beleid {}.", Language.EN: "Policy {}."}
REGISTER_HEADS: Final[Mapping[Language, tuple[str, ...]]] = {
    Language.NL: (
        "id",
        "doel",
        "toelichting",
        "grondslag",
        "wettelijke basis",
        "belangenafweging",
        "betrokkenen",
        "gegevens",
        "bijzondere gegevens",
        "ontvangers",
        "doorgifte",
        "bewaartermijn",
        "beveiliging",
        "DPIA",
        "ondernemingsraad",
    ),
    Language.EN: (
        "id",
        "purpose",
        "description",
        "legal basis",
        "statute",
        "balancing",
        "data subjects",
        "data",
        "special categories",
        "recipients",
        "transfers",
        "retention",
        "security",
        "DPIA",
        "works council",
    ),
}
SUBJECTS: Final = {
    Language.NL: "bellers, gebelden, medewerkers, derden",
    Language.EN: "callers, called, staff, third parties",
}
DATA: Final = {
    Language.NL: "stem, nummer, tijd, lijn of toestel, keuze",
    Language.EN: "voice, number, time, line or extension, choice",
}
SECURITY: Final = {
    Language.NL: "age v1 (X25519, ChaCha20-Poly1305), eigen sleutel per opname, alleen publieke "
    "sleutels op de "
    "recorder, ondertekende keten van gebeurtenissen (Ed25519), vernietiging van de sleutel bij het "
    "verstrijken",
    Language.EN: "age v1 (X25519, ChaCha20-Poly1305), a key for each recording, public keys only on "
    "the recorder, "
    "signed chain of events (Ed25519), destruction of the key at expiry",
}
