# ruff: noqa: E501 - tables of numbers
"""What a policy decides about calls."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policies import KEY, TODAY, changed, examined, one_line, one_purpose, parsed, policy_text, whole

from recproxy import policy
from recproxy.errors import ConfigError, PolicyError
from recproxy.policy import (
    Announcement,
    Audience,
    CallQuestion,
    ChoiceMode,
    ChoicePlan,
    Country,
    DeclinePlan,
    Emergency,
    Newcomer,
    Numbering,
    OnFailure,
    Pass,
    PassReason,
    PausePlan,
    Phrase,
    Policy,
    PurposePlan,
    Record,
    RecordPlan,
    RecordPreference,
    StaffNotice,
    Surroundings,
)
from recproxy.policy.emergency import COUNTRY_CODES
from recproxy.policy.explaining import explain
from recproxy.policy.hidden import EveryCall, Sampler
from storage.tags import Direction, LegalBasis

OPT_OUT: Mapping[str, Any] = {
    "choice": {"mode": "opt_out", "keys": ["9"], "staff_keys": ["*9"]},
    "announce__prompts": {"nl": "training_opt_out", "en": "training_opt_out"},
}


def ask(
    callee: str = "+31305550100",
    caller: str = "+31201234567",
    *,
    trunk: str = "provider",
    direction: Direction = Direction.INBOUND,
    anonymous: bool = False,
    **more: Any,
) -> CallQuestion:
    return CallQuestion(trunk, direction, caller, callee, anonymous, **{"sos": False, **more})


def two(**changes: Any) -> dict[str, Any]:
    """A desk that is called, and sales that also call."""
    made = whole(
        {
            "training": one_purpose(
                scope={"lines": ["desk"], "directions": ["inbound"]},
                announce__prompts={"nl": "training", "en": "training"},
            ),
            "agreements": one_purpose(
                scope={"lines": ["sales"], "directions": ["inbound", "outbound"]},
                basis__caller="contract",
                announce__prompts={"nl": "agreements", "en": "own-en"},
                retention__keep="PT10S",
                failure__recorder_down="block_call",
            ),
        },
        languages=["nl", "en"],
        numbering={"country_code": "31"},
        lines={
            "desk": one_line("+3130555010[0-4]", "alice", trunk="provider"),
            "sales": one_line("030555011*", language="en"),
        },
        prompts={"own-en": {"file": "agreements-en.wav"}},
    )
    return changed(made, **changes)


def purpose_of(decision: policy.Decision) -> str:
    return decision.plan.purpose if isinstance(decision, Record) else decision.why.value


# Lines and purposes.


def test_a_call_with_a_purpose_is_recorded_as_the_policy_says() -> None:
    read = parsed(two())
    found = read.decide(ask("0305550110"))
    assert found == Record(
        RecordPlan(
            purpose="agreements",
            legal_basis=LegalBasis.CONTRACT,
            retention=timedelta(seconds=10),
            prompt="own-en",
            language="en",
            audience=Audience.BOTH,
            on_failure=OnFailure.REFUSE,
            policy_version=read.version,
            purposes=(PurposePlan("agreements", LegalBasis.CONTRACT, timedelta(seconds=10), "own-en", "en"),),
            jurisdiction="NL",
        )
    )


@pytest.mark.parametrize(
    ("question", "outcome"),
    [
        (ask("+31305550100"), "training"),
        (ask("0305550104"), "training"),
        (ask("0031305550104"), "training"),
        (ask("030 555 0104"), "training"),
        (ask("alice"), "training"),
        (ask("Alice"), "no_rule"),
        (ask("+31305550105"), "no_rule"),
        (ask("+31305550100", trunk="other"), "no_rule"),
        (ask("+31305550110"), "agreements"),
        (ask("+3130555011"), "agreements"),
        (ask("+32", "+31305550110", direction=Direction.OUTBOUND), "agreements"),
        (ask("+32", "+31305550100", direction=Direction.OUTBOUND), "no_rule"),
        (ask("+31305550110", "+31305550100"), "no_rule"),
        (ask("+31305550110", anonymous=True), "anonymous"),
        (ask("+31305550110", ""), "anonymous"),
        (ask("+32", "+31305550110", direction=Direction.OUTBOUND, anonymous=True), "no_rule"),
    ],
)
def test_calls_go_by_line_and_direction(question: CallQuestion, outcome: str) -> None:
    assert purpose_of(parsed(two()).decide(question)) == outcome


def test_calls_between_two_lines_are_recorded_only_if_the_purpose_says_so() -> None:
    internal = ask("+31305550110", "+31305550100")
    read = parsed(two(purposes__agreements__scope__internal=True))
    assert purpose_of(read.decide(internal)) == "agreements"


def test_keys_and_pauses_reach_the_plan() -> None:
    document = two(
        **{
            f"purposes__training__{key}": value
            for key, value in {
                **OPT_OUT,
                "pause__payment": {"keys": ["*7"], "max": "PT3M"},
            }.items()
        }
    )
    decision = parsed(document).decide(ask())
    assert isinstance(decision, Record)
    assert decision.plan.choice == ChoicePlan(ChoiceMode.OPT_OUT, refuse=("9",), staff_refuse=("*9",))
    assert decision.plan.pause == PausePlan(("*7",), 180.0)
    assert decision.plan.start == ()


def test_an_opt_in_is_waited_for_and_a_manual_start_has_its_keys() -> None:
    read = parsed(
        whole(
            {
                "training": one_purpose(
                    basis__caller="consent",
                    choice={"mode": "opt_in", "keys": ["1"], "timeout": "PT8S"},
                    announce__prompts={"nl": "training_opt_in"},
                    selection={"mode": "manual", "keys": ["*5"]},
                )
            }
        )
    )
    decision = read.decide(ask())
    assert isinstance(decision, Record)
    assert decision.plan.choice == ChoicePlan(ChoiceMode.OPT_IN, accept=("1",), window_s=8.0)
    assert decision.plan.legal_basis is LegalBasis.CONSENT
    assert decision.plan.start == ("*5",)
    assert decision.plan.staff_notice is StaffNotice.ANNOUNCEMENT


def test_who_is_not_announced_to_hears_a_beep() -> None:
    heard = {"announce__audience": "outside", "announce__staff": "beep"}
    decision = parsed(whole({"training": one_purpose(**heard)})).decide(ask())
    assert isinstance(decision, Record)
    assert decision.plan.staff_notice is StaffNotice.BEEP
    assert decision.plan.audience is Audience.OUTSIDE


def test_a_record_aware_party_that_does_not_want_it_is_not_recorded_but_by_statute() -> None:
    for preference in (RecordPreference.OFF, RecordPreference.PAUSE):
        question = ask(preference=preference)
        assert parsed(two()).decide(question) == Pass(PassReason.PREFERENCE)
        statutory = two(
            purposes__training__kind="statutory",
            purposes__training__announce__prompts={"nl": "investment_orders", "en": "investment_orders"},
        )
        assert purpose_of(parsed(statutory).decide(question)) == "training"


def test_who_joins_is_outside_or_not_and_may_be_exempt() -> None:
    read = parsed(
        whole(numbering__country_code="31", lines={"all": one_line("+3130*")}, exempt={"extensions": ["290"]})
    )
    for number, outside, expected in (
        ("+31612345678", True, Newcomer(None, outside=True)),
        ("0612345678", False, Newcomer(None, outside=True)),
        ("0301234567", False, Newcomer(None, outside=False)),
        ("201", False, Newcomer(None, outside=False)),
        ("201", True, Newcomer(None, outside=True)),
        ("", False, Newcomer(None, outside=True)),
        ("290", False, Newcomer(PassReason.PRIVATE, outside=False)),
        ("116123", True, Newcomer(PassReason.HELP_LINE, outside=True)),
        ("112", True, Newcomer(PassReason.EMERGENCY, outside=True)),
    ):
        assert read.newcomer(number, outside=outside) == expected, number


ASKED = {
    "kind": "training",
    "choice": {"mode": "opt_out", "keys": ["9"]},
    "announce__prompts": {"nl": "training_opt_out"},
    "consent": {
        "prompts": {"nl": "training_opt_in", "de": "training_opt_in"},
        "keys": ["1"],
        "timeout": "PT8S",
    },
}
ABROAD = {"default": "NL", "by_prefix": {"+49": "DE"}, "unknown": "default"}


def test_a_country_that_wants_consent_is_asked_for_it() -> None:
    read = parsed(whole({"training": one_purpose(**ASKED)}, jurisdictions=ABROAD))
    decision = read.decide(ask(caller="+4930123456"))
    assert isinstance(decision, Record)
    plan = decision.plan
    assert (plan.prompt, plan.language, plan.legal_basis) == ("training_opt_in", "de", LegalBasis.CONSENT)
    assert plan.choice == ChoicePlan(ChoiceMode.OPT_IN, accept=("1",), refuse=("9",), window_s=8.0)
    at_home = read.decide(ask(caller="+31201234567"))
    assert isinstance(at_home, Record)
    assert (at_home.plan.prompt, at_home.plan.choice.mode) == ("training_opt_out", ChoiceMode.OPT_OUT)
    assert at_home.plan.legal_basis is LegalBasis.LEGITIMATE_INTEREST
    assert {("training_opt_in", "de"), ("training_opt_out", "nl")} <= {
        (said.name, said.language) for said in read.prompts()
    }


def test_staff_are_told_by_whisper_in_the_language_of_the_line() -> None:
    whispered = {"announce__staff": "whisper", "announce__whisper": {"en": "own"}}
    document = whole(
        {"training": one_purpose(**whispered)},
        prompts={"own": {"text": "Being recorded."}},
        lines={"all": one_line("*", language="en")},
    )
    decision = parsed(document).decide(ask())
    assert isinstance(decision, Record)
    assert decision.plan.whisper == Phrase("own", "en")
    usual = parsed(whole({"training": one_purpose(announce__staff="whisper")})).decide(ask())
    assert isinstance(usual, Record)
    assert usual.plan.whisper == Phrase("recording_on", "nl")


def test_a_purpose_may_wait_to_be_named_and_then_it_is_the_only_one() -> None:
    read = parsed(
        whole(
            {
                "training": one_purpose(),
                "orders": one_purpose(selection__topic=True, selection__code="*81"),
            }
        )
    )
    for question, purpose in (
        (ask(topic="orders"), "orders"),
        (ask("*81+31301234567"), "orders"),
        (ask(topic="training"), "training"),
    ):
        decision = read.decide(question)
        assert isinstance(decision, Record)
        assert decision.plan.purpose == purpose
    assert read.decide(ask(topic="other")) == Pass(PassReason.NO_RULE)
    assert read.decide(ask("*81112")) == Pass(PassReason.EMERGENCY)
    assert read.is_emergency("*81112")


def test_who_may_refuse_what_a_statute_orders_has_a_key_for_it() -> None:
    statutory = {
        "kind": "statutory",
        "basis": {"caller": "legal_obligation", "staff": "legal_obligation"},
        "legal_ref": ["Wet"],
        "announce__prompts": {"nl": "investment_orders"},
        "decline": {"keys": ["9"], "target": "+31205550177"},
    }
    decision = parsed(whole({"training": one_purpose(**statutory)})).decide(ask())
    assert isinstance(decision, Record)
    assert decision.plan.statutory == {"training"}
    assert decision.plan.choice == ChoicePlan(refuse=("9",))
    assert decision.plan.decline == DeclinePlan("training", Phrase("orders_refused", "nl"), "+31205550177")


def test_what_a_program_may_name_is_told_of_a_call_that_passes() -> None:
    topical = {"selection__topic": True, "selection__topic_api": True}
    read = parsed(whole({"training": one_purpose(**topical)}))
    assert read.decide(ask()) == Pass(PassReason.NO_RULE, ("training",))
    assert isinstance(read.decide(ask(topic="training")), Record)
    assert read.decide(ask("112")) == Pass(PassReason.EMERGENCY)
    assert read.decide(ask(topic="other")) == Pass(PassReason.NO_RULE), "it has been named"
    alone = parsed(whole({"training": one_purpose(selection__topic=True)}))
    assert alone.decide(ask()) == Pass(PassReason.NO_RULE)


def test_a_party_may_choose_the_language_and_all_that_it_hears_follows() -> None:
    purpose = one_purpose(
        kind="statutory",
        basis={"caller": "legal_obligation", "staff": "legal_obligation"},
        legal_ref=["Wet"],
        announce__prompts={"nl": "investment_orders", "en": "investment_orders"},
        announce__language_keys={"1": "nl", "2": "en"},
        decline={"keys": ["9"], "prompts": {"en": "orders_refused"}},
    )
    decision = parsed(whole({"training": purpose})).decide(ask())
    assert isinstance(decision, Record)
    english = decision.plan.spoken_in("en")
    assert [(words.prompt, words.language) for words in english.announcements] == [
        ("investment_orders", "en")
    ]
    assert english.decline is not None
    assert english.decline.words == Phrase("orders_refused", "en")
    assert english.spoken_in("nl") == decision.plan
    assert decision.plan.spoken_in("de") == decision.plan


# What is exempt.


@pytest.mark.parametrize(
    "number",
    [
        "112", "911", "110", "144", "15", "17", "18", "100", "101", "117", "118", "122", "133", "999", "1414",
        "0112", "00112", "9112", "0110", "9144", "915", "+112", "+31112", "0031112", "+43144", "+33 15", "1-1-2", "1 1 2",
        "*88112", "114", "1813",
    ],
)  # fmt: skip
def test_emergency_numbers_pass_before_anything(number: str) -> None:
    read = parsed(whole(exempt={"private_prefix": "*88"}))
    assert read.is_emergency(number)
    for direction in Direction:
        for caller in ("", "+31"):
            question = ask(number, caller, direction=direction, anonymous=not caller)
            assert read.decide(question) == Pass(PassReason.EMERGENCY)


def test_an_emergency_service_urn_and_a_call_back_pass() -> None:
    assert parsed(whole()).decide(ask("", sos=True)) == Pass(PassReason.EMERGENCY)
    assert parsed(whole()).decide(ask(emergency_callback=True)) == Pass(PassReason.EMERGENCY)


@pytest.mark.parametrize(
    "number", ["1", "11", "1122", "1123", "3112", "+311120", "0205550112", "alice112", "112a"]
)
def test_other_numbers_are_no_emergency(number: str) -> None:
    assert isinstance(parsed(whole()).decide(ask(number)), Record)


@pytest.mark.parametrize("country", [country for country in Country if country is not Country.EU])
def test_every_country_has_112_behind_its_code(country: Country) -> None:
    assert f"+{COUNTRY_CODES[country]}112" in Emergency(builtin=(country,)).dialled()
    assert {"112", "911"} <= Emergency(builtin=()).dialled()


@pytest.mark.parametrize(
    "number",
    [
        "116000",
        "116006",
        "116111",
        "116117",
        "116123",
        "0116123",
        "+31116123",
        "08000113",
        "+318000113",
        "0800-0432",
    ],
)
def test_help_lines_pass(number: str) -> None:
    assert parsed(whole()).decide(ask(number)) == Pass(PassReason.HELP_LINE)


def test_confidential_numbers_are_known_by_keyed_hash_alone() -> None:
    key = bytes.fromhex(KEY)
    token = policy.number_token(key, "+31201112222")
    files = {"c.hmac": f"# doctor\n{token}  # one\n\n".encode(), "c.key": KEY.encode() + b"\n"}
    document = whole(
        numbering={"country_code": "31"},
        exempt={"confidential": {"file": "c.hmac", "key_file": "c.key"}},
    )
    read = parsed(document, files=files)
    for question in (
        ask("0201112222"),
        ask(caller="020-1112222"),
        ask(identities=("+31201112222",)),
        ask(caller="0201112222", anonymous=True),
    ):
        assert read.decide(question) == Pass(PassReason.CONFIDENTIAL)
    assert isinstance(read.decide(ask("0201112223")), Record)
    assert "1112222" not in repr(read)
    assert KEY not in repr(read)
    assert repr(key) not in repr(read)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"abc", "line 1 is not a keyed hash"), (b"\n+31201112222\n", "line 2 is not a keyed hash")],
)
def test_a_list_of_numbers_in_clear_is_refused_without_showing_them(content: bytes, said: str) -> None:
    document = whole(exempt={"confidential": {"file": "c", "key_file": "k"}})
    report = examined(document, files={"c": content, "k": KEY.encode()})
    assert [said in str(problem) for problem in report.problems] == [True]
    assert "1112222" not in str(report.problems)


def test_private_calls_pass() -> None:
    read = parsed(whole(exempt={"private_prefix": "*88", "extensions": ["290", "291"]}))
    assert read.decide(ask("*88+3222")) == Pass(PassReason.PRIVATE)
    assert read.decide(ask("290")) == Pass(PassReason.PRIVATE)
    assert read.decide(ask("+3222", "291", direction=Direction.OUTBOUND)) == Pass(PassReason.PRIVATE)
    assert isinstance(read.decide(ask("292")), Record)


# Countries.


@pytest.mark.parametrize(
    ("kind", "caller", "outcome"),
    [
        ("training", "+31201234567", "training"),
        ("training", "020 1234567", "training"),
        ("training", "+4930123456", "jurisdiction"),
        ("training", "+4512345678", "jurisdiction"),
        ("agreements", "+4512345678", "training"),
        ("agreements", "+33123456789", "jurisdiction"),
        ("training", "+33123456789", "training"),
        ("quality", "+3222222222", "jurisdiction"),
        ("training", "+3222222222", "training"),
        ("training", "+12025550100", "jurisdiction"),
        ("statutory", "+4930123456", "training"),
        ("statutory", "+12025550100", "training"),
    ],
)
def test_the_stricter_country_decides(kind: str, caller: str, outcome: str) -> None:
    prompts = {
        "training": "training",
        "agreements": "agreements",
        "quality": "quality_sample",
        "statutory": "investment_orders",
    }
    document = whole(
        {"training": one_purpose(kind=kind, announce__prompts={"nl": prompts[kind]})},
        numbering={"country_code": "31"},
        jurisdictions={
            "default": "NL",
            "by_prefix": {"+49": "DE", "+45": "DK", "+33": "FR", "+32": "BE"},
        },
    )
    assert purpose_of(parsed(document).decide(ask(caller=caller))) == outcome


def test_an_outgoing_call_goes_by_whom_it_calls() -> None:
    document = whole(jurisdictions={"default": "NL", "by_prefix": {"+49": "DE"}})
    read = parsed(document)
    assert (
        purpose_of(read.decide(ask("+4930123456", "+31305550100", direction=Direction.OUTBOUND)))
        == "jurisdiction"
    )
    assert (
        purpose_of(read.decide(ask("+31201234567", "+31305550100", direction=Direction.OUTBOUND)))
        == "training"
    )


def test_a_country_shortens_the_term_and_a_consent_is_stamped() -> None:
    document = whole(
        {
            "quality": one_purpose(
                kind="quality",
                announce={
                    "prompts": {"nl": "quality_sample"},
                    "staff": "announcement",
                    "speak_term": True,
                    "on_new_party": "replay",
                },
                retention__keep="P90D",
            )
        },
        jurisdictions={"default": "NL", "by_prefix": {"+32": "BE"}},
    )
    decision = parsed(document).decide(ask(caller="+3222222222"))
    assert isinstance(decision, Record)
    assert decision.plan.retention == timedelta(days=30)
    assert decision.plan.jurisdiction == "BE+NL"
    opted = whole(
        {
            "training": one_purpose(
                kind="training",
                choice={"mode": "opt_in", "keys": ["1"]},
                announce__prompts={"nl": "training_opt_in", "de": "training_opt_in"},
            )
        },
        jurisdictions={"default": "NL", "by_prefix": {"+49": "DE"}},
    )
    german = parsed(opted).decide(ask(caller="+4930123456"))
    assert isinstance(german, Record)
    assert (german.plan.legal_basis, german.plan.language) == (LegalBasis.CONSENT, "de")
    dutch = parsed(opted).decide(ask())
    assert isinstance(dutch, Record)
    assert (dutch.plan.legal_basis, dutch.plan.language) == (LegalBasis.LEGITIMATE_INTEREST, "nl")


# Samples.


def sampled(rate: float) -> Policy:
    return parsed(
        whole(
            {
                "sample": one_purpose(
                    kind="quality",
                    selection={"mode": "non_selective", "rate": rate},
                    announce__prompts={"nl": "quality_sample"},
                    retention__keep="P14D",
                    access__index="none",
                )
            },
            sample_key_file="sample.key",
        )
    )


def test_a_sample_is_drawn_by_call_and_day_and_nobody_is_indexed() -> None:
    read = sampled(0.2)
    calls = [f"{number}@example.org" for number in range(2_000)]

    def drawn(asked: Policy, day: date) -> list[str]:
        return [call for call in calls if isinstance(asked.decide(ask(call=call, day=day)), Record)]

    today = drawn(read, TODAY)
    assert 300 < len(today) < 500
    assert drawn(read, TODAY) == today, "an auditor finds the same"
    assert drawn(read, TODAY + timedelta(days=1)) != today
    assert read.decide(ask(call=next(call for call in calls if call not in today), day=TODAY)) == Pass(
        PassReason.NOT_SAMPLED
    )
    found = read.decide(ask(call=today[0], day=TODAY, anonymous=True))
    assert isinstance(found, Record)
    assert not found.plan.indexed


@given(st.text(max_size=20))
def test_nobody_is_drawn_at_no_share_and_all_at_the_whole(call: str) -> None:
    sampler = Sampler(bytes.fromhex(KEY))
    assert not sampler.draws("sample", call, TODAY, 0.0)
    assert sampler.draws("sample", call, TODAY, 1.0)


# Explaining.


def test_an_explanation_names_line_reasons_and_expiry() -> None:
    read = parsed(two())
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    found = explain(read, ask(), at)
    assert (found.line, found.jurisdiction, found.exempt) == ("desk", "NL", None)
    assert [(verdict.purpose, verdict.passed) for verdict in found.verdicts] == [
        ("training", None),
        ("agreements", PassReason.NO_RULE),
    ]
    assert found.expires == at + timedelta(days=30)
    assert explain(read, ask("112"), at).exempt is PassReason.EMERGENCY
    assert explain(read, ask("+32"), at).verdicts == ()
    assert purpose_of(replace(sampled(0.0), sampler=EveryCall()).decide(ask())) == "sample"


# Files.


def test_the_version_is_the_hash_of_the_meaning() -> None:
    read = parsed(two())
    assert read.version == hashlib.sha256(policy.canonical_json(read.file)).hexdigest()
    assert parsed("# a remark\n" + policy_text(two())).version == read.version
    assert parsed(two(purposes__training__retention__keep="P29D")).version != read.version
    assert parsed(two(numbering__national_prefix="0")).version == read.version, "a default written out"


def test_files_of_the_directory_add_to_the_main_one(tmp_path: Path) -> None:
    document = two()
    sales = {"agreements": document["purposes"].pop("agreements")}
    line = {"sales": document["lines"].pop("sales")}
    main = tmp_path / "policy.yaml"
    added = tmp_path / "policy.d"
    added.mkdir()
    main.write_text(policy_text(document))
    (added / "20-sales.yaml").write_text(policy_text({"version": 1, "purposes": sales, "lines": line}))
    (added / "README").write_text("not YAML: [")
    around = Surroundings(TODAY)
    assert policy.load_policy(main, around).version == parsed(two()).version
    (added / "30-again.yaml").write_text(policy_text({"purposes": sales, "languages": ["nl"]}))
    with pytest.raises(PolicyError) as caught:
        policy.load_policy(main, around)
    first, second = sorted(caught.value.problems)
    again = added / "30-again.yaml"
    assert first.startswith(f"{again}:2: purposes.agreements: E001 a second time; the first is in line 3 of")
    assert "20-sales.yaml" in first
    assert second.startswith(f"{again}:") or "languages" in second
    (added / "30-again.yaml").write_text("version: 2\n")
    with pytest.raises(PolicyError, match=r"30-again.yaml:1: version: .*reads version: 1"):
        policy.load_policy(main, around)


def test_a_fault_in_an_added_file_names_that_file(tmp_path: Path) -> None:
    main = tmp_path / "policy.yaml"
    main.write_text(policy_text(whole()))
    (tmp_path / "policy.d").mkdir()
    extra = tmp_path / "policy.d" / "more.yaml"
    extra.write_text(policy_text({"purposes": {"more": one_purpose(retention__keep="never")}}))
    with pytest.raises(PolicyError) as caught:
        policy.load_policy(main, Surroundings(TODAY))
    assert [problem.startswith(f"{extra}:") for problem in caught.value.problems] == [True]


def test_a_file_that_is_missing_is_told() -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        policy.load_policy(Path("/none.yaml"), Surroundings(TODAY))


def test_the_announcements_that_must_be_made_ready() -> None:
    assert parsed(two()).prompts() == (
        Announcement("training", "nl", None, None),
        Announcement("training", "en", None, None),
        Announcement("agreements", "nl", None, None),
        Announcement("own-en", "en", None, "agreements-en.wav"),
    )


# Numbers.


@pytest.mark.parametrize(
    ("number", "canonical"),
    [
        ("0305550100", "+31305550100"),
        ("0031305550100", "+31305550100"),
        ("+31-30-5550100", "+31305550100"),
        ("(030) 555.01/00", "+31305550100"),
        ("290", "290"),
        ("0", "0"),
        ("00", "00"),
        ("*21", "*21"),
        ("alice.b-c", "alice.b-c"),
        ("", ""),
    ],
)
def test_numbers_compare_as_e164(number: str, canonical: str) -> None:
    assert Numbering(country_code="31").canonical(number) == canonical


def test_without_a_country_national_numbers_stay_as_they_are() -> None:
    assert Numbering().canonical("0305550100") == "0305550100"
    american = Numbering(country_code="1", national_prefix="", international_prefix="011")
    assert american.canonical("0113130") == "+3130"


@given(st.text(max_size=20))
def test_a_canonical_number_stays_as_it_is(number: str) -> None:
    numbering = Numbering(country_code="31")
    once = numbering.canonical(number)
    if once.startswith("+") or not once.isdecimal():
        assert numbering.canonical(once) == once


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_range_holds_the_numbers_between_its_ends(first: int, last: int, number: int) -> None:
    low, high = sorted((first, last))
    pattern = policy.parse_pattern(f"+{low:07}-+{high:07}")
    assert pattern.matches(f"+{number:07}") == (low <= number <= high)
    assert not pattern.matches(f"{number:07}")


@given(st.text(max_size=30))
def test_a_pattern_is_read_or_refused(text: str) -> None:
    try:
        pattern = policy.parse_pattern(text)
    except ValueError as err:
        assert str(err).startswith("is not ")  # noqa: PT017 - either outcome is right, with this message
        return
    assert not pattern.matches("")
    assert pattern.is_prefix or pattern.last or pattern.matches(text)


_PATTERNS = st.one_of(
    st.from_regex(r"\+[0-9]{1,3}", fullmatch=True),
    st.from_regex(r"\+[0-9]{0,2}\*", fullmatch=True),
    st.from_regex(r"\+[0-9]{1,2}\[[0-4]-[5-9]\]", fullmatch=True),
)


@given(_PATTERNS, _PATTERNS)
def test_patterns_overlap_if_a_number_is_meant_by_both(one: str, other: str) -> None:
    mine, theirs = policy.parse_pattern(one), policy.parse_pattern(other)
    numbers = [f"+{number:0{width}}" for width in (1, 2, 3) for number in range(10**width)]
    both = any(mine.matches(number) and theirs.matches(number) for number in numbers)
    assert mine.overlaps(theirs) == theirs.overlaps(mine)
    assert mine.overlaps(theirs) or not both
    if not (mine.is_prefix and theirs.is_prefix):
        assert mine.overlaps(theirs) == both


@pytest.mark.parametrize(("mode", "sound"), [(0o600, True), (0o440, True), (0o644, False), (0o660, False)])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int, sound: bool) -> None:
    (tmp_path / "policy.yaml").write_text(policy_text(whole(sample_key_file="sample.key")))
    key = tmp_path / "sample.key"
    key.write_text(KEY)
    key.chmod(mode)
    if sound:
        assert policy.load_policy(tmp_path / "policy.yaml", Surroundings(TODAY)).version
        return
    with pytest.raises(PolicyError, match=f"sample_key_file: .*mode {mode:04o} lets others use the key"):
        policy.load_policy(tmp_path / "policy.yaml", Surroundings(TODAY))
