# ruff: noqa: E501 - one row, one rule
"""Each rule of the linter, by a policy that breaks it and by what it says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from policies import changed, examined, one_line, one_purpose, policy_text, whole

from recproxy.policy import ERRORS, WARNINGS

STATUTORY: Mapping[str, Any] = {
    "kind": "statutory",
    "basis": {"caller": "legal_obligation", "staff": "legal_obligation"},
    "legal_ref": ["Reg. (EU) 2017/565 art. 76"],
    "balancing": None,
    "announce__prompts": {"nl": "investment_orders"},
    "retention__keep": "P1827D",
    "failure__recorder_down": "block_call",
}
SAMPLE: Mapping[str, Any] = {
    "kind": "quality",
    "selection": {"mode": "non_selective", "rate": 0.02},
    "announce__prompts": {"nl": "quality_sample"},
    "retention__keep": "P14D",
    "access__index": "none",
    "access__copy": "on_lookup",
}
OPT_IN: Mapping[str, Any] = {
    "choice": {"mode": "opt_in", "keys": ["1"]},
    "announce__prompts": {"nl": "training_opt_in"},
}


def one(**changes: Any) -> dict[str, Any]:
    """A policy whose one purpose is changed; ``top__`` changes the policy."""
    top = {key.removeprefix("top__"): value for key, value in changes.items() if key.startswith("top__")}
    own = {key: value for key, value in changes.items() if not key.startswith("top__")}
    return whole({"training": one_purpose(**own)}, **top)


SAMPLED: Mapping[str, Any] = {**SAMPLE, "top__sample_key_file": "sample.key"}
FORK: Mapping[str, Any] = {
    "trunks": ["provider"],
    "evidence": "declared",
    "authorised_by": "FG",
    "ref": "DOC-1",
    "date": "2026-11-24",
}

ASKING = {"mode": "opt_in", "keys": ["1"]}
REFUSING = {"mode": "opt_out", "keys": ["9"]}


def meeting(choice_of_training: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Two purposes for the same calls; ``changes`` are of the second one, named ``more``."""
    first = one_purpose(choice=choice_of_training or {"mode": "none"})
    return whole({"training": first, "more": one_purpose(**changes)})


# Code, policy, key, and a piece of what is said: the value and the mend.
BROKEN: list[tuple[str, dict[str, Any], str, str]] = [
    ("E001", one(extra="x"), "purposes.training.extra", "unknown key"),
    *(
        ("E001", one(**{key: None}), f"purposes.training.{key.replace('__', '.')}", "missing")
        for key in (
            *("basis", "title", "description", "retention__keep", "retention__rationale", "announce"),
            *("choice", "access", "dpia", "staff", "selection", "scope", "pause", "failure", "storage"),
        )
    ),
    ("E001", one(dpia={"ref": "DPIA-1"}), "purposes.training.dpia", "neither {ref, date} nor"),
    ("E001", one(title={"en": "Test"}), "purposes.training.title", "no text in nl"),
    ("E001", one(selection__rate=0.1), "purposes.training.selection.rate", "no meaning for all"),
    ("E001", one(**SAMPLE), "sample_key_file", "openssl rand -hex 32"),
    (
        "E001",
        one(**SAMPLE, top__sample_key_file="none.key"),
        "sample_key_file",
        "cannot be read: No such file",
    ),
    ("E001", one(**SAMPLE, top__sample_key_file="bad.key"), "sample_key_file", "is not 64 to 128 hex digits"),
    ("E001", one(top__prompts={"a": {}}), "prompts.a", "neither or both of text and file"),
    ("E001", one(top__languages=[]), "languages", "empty"),
    ("E002", one(basis__caller="consent"), "purposes.training.choice.mode", "'none' takes no consent"),
    (
        "E002",
        one(**{**OPT_IN, "choice": {"mode": "opt_in"}}, basis__caller="consent"),
        "purposes.training.choice.keys",
        "no key gives the consent",
    ),
    (
        "E002",
        one(choice__records_on_timeout=True),
        "purposes.training.choice.records_on_timeout",
        "silence for consent",
    ),
    (
        "E002",
        one(**OPT_IN, basis__caller="consent", top__controller={"name": "Proef BV"}),
        "controller.contact",
        "cannot be withdrawn",
    ),
    ("E003", one(balancing=None), "purposes.training.balancing", "missing"),
    ("E003", one(balancing__outcome="stop"), "purposes.training.balancing.outcome", "'stop'"),
    (
        "E003",
        one(balancing__review_by="2026-11-23"),
        "purposes.training.balancing.review_by",
        "2026-11-23 is past",
    ),
    ("E003", one(balancing__file="lia.pdf"), "purposes.training.balancing.sha256", "is not that of lia.pdf"),
    ("E003", one(balancing__file="gone.pdf"), "purposes.training.balancing.file", "cannot be read"),
    ("E004", one(**{**STATUTORY, "legal_ref": []}), "purposes.training.legal_ref", "name the statute"),
    (
        "E004",
        one(**{**STATUTORY, "legal_ref": ["Wft"]}, choice={"mode": "opt_out", "keys": ["9"]}),
        "purposes.training.choice.mode",
        "'opt_out' offers a choice",
    ),
    ("E005", one(retention__keep="PT0S"), "purposes.training.retention.keep", "not from PT1S"),
    (
        "E005",
        one(retention__promote={"tag": "a", "keep": "P30D", "rationale": {"nl": "Klacht."}}),
        "purposes.training.retention.promote.keep",
        "P30D is not more than keep",
    ),
    ("E005", one(retention__floor="P31D"), "purposes.training.retention.keep", "less than the floor, P31D"),
    (
        "E005",
        one(retention__ceiling="P29D"),
        "purposes.training.retention.keep",
        "more than the ceiling, P29D",
    ),
    (
        "E005",
        one(
            retention__ceiling="P30D",
            retention__promote={"tag": "a", "keep": "P60D", "rationale": {"nl": "Klacht."}},
        ),
        "purposes.training.retention.promote",
        "P60D is more than the ceiling",
    ),
    (
        "E005",
        one(kind="training", retention__keep="P181D"),
        "purposes.training.retention.keep",
        "override_reason",
    ),
    (
        "E006",
        one(**{**SAMPLED, "retention__keep": "P15D"}),
        "purposes.training.retention.keep",
        "at most P14D",
    ),
    ("E006", one(**{**SAMPLED, "access__index": "number"}), "purposes.training.access.index", "'number'"),
    (
        "E006",
        one(**SAMPLED, retention__promote={"tag": "a", "keep": "P14D", "rationale": {"nl": "Klacht."}}),
        "purposes.training.retention.promote",
        "take it out",
    ),
    ("E006", one(**SAMPLED, selection__criteria="nieuw"), "purposes.training.selection.criteria", "'nieuw'"),
    (
        "E006",
        one(**SAMPLED, derived={"transcript": "on", "transcript_keep": "P14D", "analytics": "off"}),
        "purposes.training.derived.transcript",
        "searchable",
    ),
    (
        "E006",
        one(**SAMPLED, selection__rate=None),
        "purposes.training.selection.rate",
        "missing for non_selective",
    ),
    (
        "E006",
        one(**SAMPLED, selection__rate=0.21),
        "purposes.training.selection.rate",
        "0.21 is more than a sample",
    ),
    ("E007", one(top__languages=["nl", "en"]), "purposes.training.announce.prompts", "none in en"),
    (
        "E007",
        one(announce__prompts={"nl": "nothing"}),
        "purposes.training.announce.prompts.nl",
        "'nothing' is in no",
    ),
    ("E007", one(announce__prompts={"nl": "long"}), "purposes.training.announce.prompts.nl", "lasts 6.1 s"),
    (
        "E007",
        one(announce__prompts={"nl": "mute"}),
        "purposes.training.announce.prompts.nl",
        "is nearly silent",
    ),
    (
        "E007",
        one(kind="training", announce__prompts={"nl": "agreements"}),
        "purposes.training.announce.prompts.nl",
        "does not say what for",
    ),
    (
        "E007",
        one(announce__prompts={"nl": "training_opt_out"}),
        "purposes.training.announce.prompts.nl",
        "offers to press a key",
    ),
    ("E008", one(announce="off"), "purposes.training.announce", "'off' would leave out"),
    (
        "E008",
        one(announce__enabled=False),
        "purposes.training.announce.enabled",
        "'false' would leave out or put off",
    ),
    ("E008", one(announce__delay="PT5S"), "purposes.training.announce.delay", "put off the announcement"),
    ("E008", one(announce__skip_if="x"), "purposes.training.announce.skip_if", "take the key out"),
    ("E008", one(pause__on_hold=False), "purposes.training.pause.on_hold", "set true"),
    ("E009", one(top__lines__all__entitled_party=None), "lines.all.entitled_party", "139c"),
    ("E009", one(top__lines__all__authorised_by=None), "lines.all.authorised_by", "missing"),
    ("E009", one(top__lines__all__authorised_on=None), "lines.all.authorised_on", "missing"),
    ("E009", one(top__lines__all__authorised_on="2027-01-01"), "lines.all.authorised_on", "yet to come"),
    ("E009", one(top__lines__all__match=[]), "lines.all.match", "empty"),
    ("E009", one(top__lines__all__trunk="nowhere"), "lines.all.trunk", "'nowhere' is not one of provider"),
    ("E009", one(top__lines__two=one_line("+3130*")), "lines.two.match", "overlaps line all"),
    ("E009", one(scope__lines=["none"]), "purposes.training.scope.lines[0]", "'none' is no line"),
    ("E009", one(scope__lines=[]), "purposes.training.scope.lines", "never records"),
    ("E010", one(top__exempt=None), "exempt", "missing"),
    ("E010", one(top__exempt={"emergency": {"builtin": ["NL"]}}), "exempt.emergency.builtin", "lacks EU"),
    ("E010", one(top__exempt={"emergency": {"builtin": ["EU"]}}), "exempt.emergency.builtin", "lacks NL"),
    (
        "E011",
        one(staff__works_council=None),
        "purposes.training.staff.works_council",
        "none: why there is none",
    ),
    ("E011", one(staff__works_council={"ref": "OR-1"}), "purposes.training.staff.works_council", "ref, date"),
    ("E011", one(staff__notice_ref=""), "purposes.training.staff.notice_ref", "name the notice"),
    ("E011", one(announce__audience="outside"), "purposes.training.announce.staff", "audience: both"),
    ("E012", one(special_categories="ground"), "purposes.training.special_ground", "give both or none"),
    ("E012", one(derived__analytics="emotion"), "purposes.training.derived.analytics", "'emotion'"),
    ("E012", one(derived__analytics="voiceprint"), "purposes.training.derived.analytics", "set off"),
    (
        "E013",
        one(**{**STATUTORY, "retention__keep": "P1826D"}),
        "purposes.training.retention.keep",
        "P1826D is not",
    ),
    (
        "E013",
        one(**{**STATUTORY, "retention__keep": "P2558D"}),
        "purposes.training.retention.keep",
        "P2558D is not",
    ),
    (
        "E013",
        one(**{**STATUTORY, "failure__recorder_down": "continue_unrecorded"}),
        "purposes.training.failure.recorder_down",
        "set block_call",
    ),
    (
        "E013",
        one(**STATUTORY, choice={"mode": "opt_out", "reason": "x"}),
        "purposes.training.choice.mode",
        "leaves orders unrecorded",
    ),
    *(
        (
            "E014",
            one(top__jurisdictions__default=country),
            "purposes.training.choice.mode",
            f"{country} wants an act",
        )
        for country in ("DE", "AT", "GB")
    ),
    (
        "E014",
        one(kind="training", top__jurisdictions__default="DK"),
        "purposes.training.choice.mode",
        "DK wants an act of consent",
    ),
    ("E014", one(top__lines__all__jurisdiction="DE"), "purposes.training.choice.mode", "DE wants"),
    (
        "E014",
        one(**SAMPLE, top__jurisdictions__default="BE"),
        "purposes.training.announce.speak_term",
        "BE wants the term said",
    ),
    (
        "E014",
        one(**{**SAMPLE, "retention__keep": "P31D"}, top__jurisdictions__default="BE"),
        "purposes.training.retention.keep",
        "BE allows quality P30D",
    ),
    (
        "E014",
        one(kind="training", retention__keep="P181D", top__jurisdictions__default="FR"),
        "purposes.training.retention.keep",
        "FR allows training P180D",
    ),
    (
        "E014",
        one(kind="agreements", top__jurisdictions__default="FR"),
        "purposes.training.selection.mode",
        "FR wants agreements started by hand",
    ),
    (
        "E015",
        one(choice={"mode": "opt_out", "keys": ["9"]}, pause__payment={"keys": ["9"], "max": "PT3M"}),
        "purposes.training.pause.payment.keys[0]",
        "'9' is pause here and opt_out in line",
    ),
    ("E015", one(choice__keys=["a"]), "purposes.training.choice.keys[0]", "'a' is not of the keys"),
    ("E016", one(playback__roles=["chief"]), "purposes.training.playback.roles[0]", "'chief' is no role"),
    ("E016", one(top__authority={"reviewers": "lawyers"}), "authority.reviewers", "'lawyers' is no role"),
    ("E016", one(playback__roles=[]), "purposes.training.playback.roles", "name who may listen"),
    ("E016", one(playback__uses=["fun"]), "purposes.training.playback.uses[0]", "'fun' is no purpose"),
    (
        "E016",
        one(derived={"transcript": "on", "transcript_keep": "P31D", "analytics": "off"}),
        "purposes.training.derived.transcript_keep",
        "P31D: a transcript may not outlive",
    ),
    (
        "E016",
        one(access__counterparty_voice="transcript"),
        "purposes.training.access.counterparty_voice",
        "none may be kept",
    ),
    (
        "E018",
        one(transfers=[{"recipient": "Example", "country": "US"}]),
        "purposes.training.transfers[0].safeguard",
        "missing for US",
    ),
    ("E018", one(storage__location="US"), "purposes.training.storage.location", "US is outside the EEA"),
    (
        "E019",
        one(top__key_groups__main__backup_horizon="P31D"),
        "key_groups.main.backup_horizon",
        "P31D is longer",
    ),
    ("E019", one(storage__key_group="other"), "purposes.training.storage.key_group", "'other' is none of"),
    ("E020", one(recipients=["password: hunter2"]), "purposes.training.recipients[0]", "looks like a secret"),
    ("E020", one(top__controller__api_key="x"), "controller.api_key", "looks like a secret"),
    ("E020", one(top__controller__dpo="AGE-SECRET-KEY-1AAAA"), "controller.dpo", "a file of its own"),
    ("E020", one(top__controller__contact=None), "controller.contact", "whom to ask"),
    ("E020", one(top__controller__privacy_url=None), "controller.privacy_url", "missing"),
    (
        "E002",
        one(choice={"mode": "opt_in", "keys": ["1"], "effect": "stop"}),
        "purposes.training.choice.effect",
        "set stop_and_shred",
    ),
    ("E021", one(announce__fork={**FORK, "trunks": []}), "purposes.training.announce.fork.trunks", "empty"),
    (
        "E021",
        one(announce__fork={**FORK, "trunks": ["provider", "sbc"]}),
        "purposes.training.announce.fork.trunks[1]",
        "no trunk is called 'sbc'; there are provider",
    ),
    ("E021", one(announce__fork={**FORK, "date": None}), "purposes.training.announce.fork.date", "missing"),
    *(
        ("E021", one(announce__fork={**FORK, key: ""}), f"purposes.training.announce.fork.{key}", "missing")
        for key in ("authorised_by", "ref")
    ),
    (
        "E021",
        one(announce__fork={**FORK, "date": "2026-11-25"}),
        "purposes.training.announce.fork.date",
        "2026-11-25 is to come",
    ),
    (
        "E021",
        one(announce__fork=FORK, announce__staff="beep"),
        "purposes.training.announce.staff",
        "cannot play into a fork",
    ),
    (
        "E021",
        one(announce__fork=FORK, selection={"mode": "manual", "keys": ["*2"]}),
        "purposes.training.selection.mode",
        "set all",
    ),
    ("E001", one(selection={"mode": "manual"}), "purposes.training.selection.keys", "give both or none"),
    ("E001", one(choice__mode="opt_out"), "purposes.training.choice.keys", "no key refuses"),
    (
        "E007",
        one(announce__staff="whisper", announce__whisper={"nl": "nothing"}),
        "purposes.training.announce.whisper.nl",
        "'nothing' is in no prompts",
    ),
    (
        "E001",
        one(announce__whisper={"nl": "recording_on"}),
        "purposes.training.announce.whisper",
        "set staff: whisper",
    ),
    (
        "E007",
        one(consent={"prompts": {"de": "training_opt_in"}, "keys": ["1"]}),
        "purposes.training.consent.prompts",
        "none in nl",
    ),
    (
        "E002",
        one(consent={"prompts": {"nl": "training_opt_in"}, "keys": []}),
        "purposes.training.consent.keys",
        "such as 1",
    ),
    (
        "E002",
        one(
            choice={"mode": "opt_in", "keys": ["1"]},
            consent={"prompts": {"nl": "training_opt_in"}, "keys": ["1"]},
        ),
        "purposes.training.consent",
        "take one of the two out",
    ),
    ("E004", one(decline={"keys": ["9"]}), "purposes.training.decline", "use choice"),
    ("E001", one(**{**STATUTORY, "decline": {"keys": []}}), "purposes.training.decline.keys", "such as 9"),
    (
        "E015",
        one(**{**STATUTORY, "decline": {"keys": ["9"]}, "choice__staff_keys": ["9"]}),
        "purposes.training.decline.keys[0]",
        "give each its own",
    ),
    (
        "E015",
        one(announce__language_keys={"9": "nl"}, choice={"mode": "opt_out", "keys": ["9"]}),
        "purposes.training.announce.language_keys.9",
        "give each its own",
    ),
    (
        "E007",
        one(announce__language_keys={"2": "fr"}),
        "purposes.training.announce.language_keys.2",
        "no announcement in fr",
    ),
    (
        "E015",
        one(selection__code="*8", top__exempt={"private_prefix": "*88"}),
        "purposes.training.selection.code",
        "begin alike",
    ),
    (
        "E006",
        one(**{**SAMPLED, "selection__topic": True}),
        "purposes.training.selection.topic",
        "a draw does not",
    ),
    (
        "E001",
        one(selection__topic_api=True),
        "purposes.training.selection.topic_api",
        "set topic: true",
    ),
    (
        "E004",
        one(**{**STATUTORY, "decline": {"keys": ["9"], "target": "112"}}),
        "purposes.training.decline.target",
        "name a desk of your own",
    ),
    (
        "E004",
        one(
            **{
                **STATUTORY,
                "decline": {"keys": ["9"], "target": "+31301234567"},
                "scope__directions": ["outbound"],
            }
        ),
        "purposes.training.decline.target",
        "the purpose has none",
    ),
    (
        "E006",
        one(**{**SAMPLED, "retention__start": "call_end"}),
        "purposes.training.retention.start",
        "set call_start",
    ),
    ("E017", one(retention__reach="existing"), "purposes.training.retention.reach", "set new"),
    (
        "E001",
        one(selection={"mode": "all", "stop_keys": ["*6"]}),
        "purposes.training.selection.stop_keys",
        "give keys too",
    ),
    (
        "E015",
        one(selection={"mode": "manual", "keys": ["*5"], "stop_keys": ["*5"]}),
        "purposes.training.selection.stop_keys[0]",
        "'*5' is stop here and start",
    ),
]
QUESTIONABLE: list[tuple[str, dict[str, Any], str, str]] = [
    ("W101", one(), "purposes.training.selection.mode", "'all'"),
    ("W102", one(kind="training", retention__keep="P31D"), "purposes.training.retention.keep", "P31D"),
    ("W103", one(), "purposes.training.choice.mode", "'none'"),
    (
        "W104",
        one(kind="agreements", announce__prompts={"nl": "agreements"}),
        "purposes.training.scope.directions",
        "outbound",
    ),
    ("W105", one(**SAMPLED), "purposes.training.selection.mode", "gets a copy"),
    (
        "W106",
        one(
            announce__prompts={"nl": "perhaps"},
            top__prompts={"perhaps": {"text": "Dit kan opgenomen worden."}},
        ),
        "purposes.training.announce.prompts.nl",
        "leaves open",
    ),
    ("W107", one(dpia__date="2024-11-01"), "purposes.training.dpia.date", "2024-11-01"),
    ("W107", one(balancing__date="2024-11-01"), "purposes.training.balancing.date", "two years ago"),
    (
        "W107",
        one(
            staff__works_council={"none": "geen"},
            top__lines={"all": one_line("+31301234000-+31301234050")},
        ),
        "purposes.training.staff.works_council",
        "51 numbers",
    ),
    ("W108", one(**SAMPLED), "purposes.training.access.index", "withhold"),
    ("W108", one(scope__internal=True), "purposes.training.scope.internal", "among staff"),
    (
        "W109",
        one(
            access__counterparty_voice="transcript",
            derived={"transcript": "on", "transcript_keep": "P14D", "analytics": "off"},
        ),
        "purposes.training.access.counterparty_voice",
        "15(4)",
    ),
    ("W110", one(evidence__tombstone_keep="P1828D"), "purposes.training.evidence.tombstone_keep", "P1828D"),
    ("W110", one(top__audit_keep="P732D"), "audit_keep", "than anything it proves, P365D at most"),
    ("W111", one(staff__assessment_use=True), "purposes.training.staff.assessment_use", "works council"),
    ("W112", one(top__controller__public_body=True), "purposes.training.basis.caller", "public_task"),
    ("W114", one(announce__fork=FORK), "purposes.training.announce.fork.evidence", "set asserted"),
    (
        "W114",
        one(announce__fork=FORK, failure__recorder_down="block_call"),
        "purposes.training.failure.recorder_down",
        "only the fork is refused",
    ),
    ("W115", meeting(), "purposes.more.scope", "'training' in nl announces both at once"),
    (
        "W115",
        meeting(announce__prompts={"nl": "agreements"}),
        "purposes.more.scope",
        "one after the other",
    ),
    ("W115", meeting(scope__directions=["inbound"]), "purposes.more.scope", "tells of both where one alone"),
    (
        "W115",
        meeting(choice=ASKING),
        "purposes.more.choice.mode",
        "hear nothing of each other for up to 10 s",
    ),
    ("W115", meeting(REFUSING, choice=ASKING), "purposes.more.choice.mode", "on a yes alone too"),
    (
        "W115",
        meeting(selection={"mode": "manual", "keys": ["*5"]}),
        "purposes.more.selection.keys",
        "another recording goes on",
    ),
    (
        "W115",
        meeting(selection={"mode": "manual", "keys": ["*5"]}, failure__recorder_down="block_call"),
        "purposes.more.failure.recorder_down",
        "is not ended",
    ),
    ("W116", one(top__roles={"coach": {"users": ["anna"]}}), "roles", "the role legal"),
    (
        "W116",
        one(top__roles__lawyers={"users": []}, top__authority={"reviewers": "lawyers"}),
        "roles.lawyers",
        "the role lawyers",
    ),
    ("W117", one(top__audit_keep="P364D"), "audit_keep", "the traces of training, P365D"),
    (
        "W117",
        one(**{**STATUTORY, "evidence__tombstone_keep": "P365D"}, top__audit_keep="P731D"),
        "audit_keep",
        "the recordings of training, P1827D",
    ),
    (
        "W118",
        one(top__key_groups={"main": {"epoch": "month"}}),
        "key_groups.main.epoch",
        "'month': training is kept for P30D",
    ),
    (
        "W118",
        one(retention__keep="P93D", top__key_groups={"main": {"epoch": "day"}}),
        "key_groups.main.epoch",
        "'day': training is kept for P93D",
    ),
    ("W115", meeting(access__index="none"), "purposes.more.access.index", "a number finds it"),
]
FILES = {"sample.key": b"5a" * 32, "bad.key": b"secret", "lia.pdf": b"weighed"}
AROUND: Mapping[str, Any] = {
    "files": FILES,
    "trunks": ("provider",),
    "seconds": {("long", "nl"): 6.1, ("training", "nl"): 6.0},
    "faults": {("mute", "nl"): "mute.wav: is nearly silent"},
}


def named(rows: list[tuple[str, dict[str, Any], str, str]]) -> list[str]:
    return [f"{at}-{code}-{key}" for at, (code, _, key, _) in enumerate(rows)]


@pytest.mark.parametrize(("code", "document", "key", "said"), BROKEN, ids=named(BROKEN))
def test_a_rule_that_is_broken_is_told_with_line_key_and_mend(
    code: str, document: dict[str, Any], key: str, said: str
) -> None:
    prompts = {"long": {"text": "Opname voor training."}, "mute": {"file": "mute.wav"}}
    if not {"prompts"} & document.keys():
        document = {**document, "prompts": prompts}
    report = examined(document, **AROUND)
    assert report.policy is None
    found = [problem for problem in report.problems if (problem.code, problem.key) == (code, key)]
    assert len(found) == 1, "\n".join(map(str, report.problems))
    assert said in found[0].what
    assert str(found[0]).startswith(f"policy.yaml:{found[0].place.line}: {key}: {code} ")
    assert stands_there(policy_text(document), found[0].place.line, key)


@pytest.mark.parametrize(("code", "document", "key", "said"), QUESTIONABLE, ids=named(QUESTIONABLE))
def test_a_warning_is_told_with_line_key_and_reason(
    code: str, document: dict[str, Any], key: str, said: str
) -> None:
    report = examined(document, **AROUND)
    found = [warning for warning in report.warnings if (warning.code, warning.key) == (code, key)]
    assert len(found) == 1, "\n".join(map(str, report.warnings))
    assert said in found[0].what
    assert stands_there(policy_text(document), found[0].place.line, key)


def stands_there(text: str, line: int, key: str) -> bool:
    """Whether a line holds the key, an item of its list, or what is left of its path; else it is the first."""
    steps = key.replace("[", ".").replace("]", "").split(".")
    shown = text.splitlines()[line - 1].lstrip().replace("'", "")
    held = [step for step in steps if shown.removeprefix("- ").startswith(f"{step}:")]
    return (
        bool(held)
        or (shown.startswith("- ") and any(map(str.isdigit, steps)))
        or (len(steps) == 1 and line == 1)
    )


def test_every_code_has_a_policy_that_breaks_it() -> None:
    assert {code for code, *_ in BROKEN} == set(ERRORS)
    assert {code for code, *_ in QUESTIONABLE} == set(WARNINGS)


def test_a_policy_without_fault_has_no_problem() -> None:
    for document in (one(), one(**SAMPLED), one(**STATUTORY)):
        report = examined(document, **AROUND)
        assert report.problems == ()
        assert report.policy is not None


def test_a_lawyers_opinion_takes_out_the_rules_of_a_country() -> None:
    override = {"countries": ["DE"], "legal_opinion_ref": "ADV-1"}
    german = one(override=override, top__jurisdictions__default="DE")
    assert examined(german).problems == ()
    assert examined(changed(german, jurisdictions__default="AT")).problems != ()


def test_the_hash_of_the_balancing_is_compared() -> None:
    digest = "6a3ea7e1fd5cd1a9aaa5bd5a0db7b3ea0b6c2a6a0a3b1b25a0d1d2d9a3f9c1aa"
    report = examined(one(balancing__file="lia.pdf", balancing__sha256=digest), **AROUND)
    assert [problem.code for problem in report.problems] == ["E003"]
