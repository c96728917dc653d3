# ruff: noqa: E501 - messages stand here as they are printed
from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy import policy
from recproxy.errors import ConfigError, PolicyError
from recproxy.policy import (
    Announcement,
    Audience,
    CallQuestion,
    Country,
    Emergency,
    Numbering,
    OnFailure,
    Pass,
    PassReason,
    Policy,
    Record,
    RecordPlan,
)
from storage.tags import Direction, LegalBasis

LEAST = """\
purposes:
  training:
    title: {nl: Training}
    description: {nl: Wij luisteren terug.}
    legal_basis: legitimate_interest
    retention: P90D
    announcement: {language: nl}
    on_failure: continue
rules:
  - purpose: training
"""
TWO = """\
version: 1
numbering: {country_code: 31}
purposes:
  training:
    title: {nl: Training, en: Training}
    description: {nl: Wij luisteren terug., en: We replay.}
    legal_basis: legitimate_interest
    retention: P90D
    announcement:
      language: nl
      audience: outside
      texts: {nl: Dit gesprek wordt opgenomen voor training., en: This call is recorded for training.}
    on_failure: continue
  agreements:
    title: {nl: Afspraken, en: Agreements}
    description: {nl: Bewijs van afspraken., en: Evidence of agreements.}
    legal_basis: contract
    retention: PT10S
    announcement:
      prompt: spoken
      language: en
      files: {en: agreements-en.wav}
    on_failure: refuse
rules:
  - {name: withheld, calling: anonymous, purpose: none}
  - {name: nobody, calling: [unknown], trunk: other, purpose: none}
  - {name: sales, called: [+31305550110-+31305550119, 030555012*], purpose: agreements}
  - {name: desk, trunk: provider, direction: inbound, called: 0305550100, calling: +32*, purpose: training}
  - {name: alice, called: alice, purpose: training}
  - {name: out, direction: outbound, purpose: agreements}
"""


def ask(
    callee: str = "+31305550100",
    caller: str = "+3222222222",
    *,
    trunk: str = "provider",
    direction: Direction = Direction.INBOUND,
    anonymous: bool = False,
    sos: bool = False,
) -> CallQuestion:
    return CallQuestion(trunk, direction, caller, callee, anonymous, sos)


def parse(text: str, trunks: tuple[str, ...] | None = None) -> Policy:
    return policy.parse(text, "policy.yaml", trunks)


def problems(text: str, trunks: tuple[str, ...] | None = None) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        parse(text, trunks)
    assert caught.value.exit_code == 78
    return caught.value.problems


def changed(old: str, new: str, text: str = LEAST) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


# What it decides.


def test_a_call_with_a_purpose_is_recorded_as_the_policy_says() -> None:
    read = parse(LEAST)
    assert read.decide(ask()) == Record(
        RecordPlan(
            purpose="training",
            legal_basis=LegalBasis.LEGITIMATE_INTEREST,
            retention=timedelta(days=90),
            prompt="training",
            language="nl",
            audience=Audience.BOTH,
            on_failure=OnFailure.CONTINUE,
            policy_version=hashlib.sha256(LEAST.encode()).hexdigest(),
        )
    )


@pytest.mark.parametrize(
    ("question", "purpose"),
    [
        (ask("+31305550110"), "agreements"),
        (ask("0305550119"), "agreements"),
        (ask("0031305550115"), "agreements"),
        (ask("030 555 0115"), "agreements"),
        (ask("+31 (0)305550115"), None),
        (ask("+31305550120"), "agreements"),
        (ask("+313055501200"), "agreements"),
        (ask("+31305550109"), None),
        (ask("+313055501100"), None),
        (ask("+31305550100"), "training"),
        (ask("+31305550100", "+4999"), None),
        (ask("+31305550100", "0032222"), "training"),
        (ask("+31305550100", trunk="other"), None),
        (ask("+31305550100", direction=Direction.OUTBOUND), "agreements"),
        (ask("alice"), "training"),
        (ask("Alice"), None),
    ],
)
def test_rules_match_by_trunk_direction_and_numbers(question: CallQuestion, purpose: str | None) -> None:
    decision = parse(TWO).decide(question)
    if purpose is None:
        assert decision == Pass(PassReason.NO_RULE)
    else:
        assert isinstance(decision, Record)
        assert decision.plan.purpose == purpose


def test_the_second_purpose_says_other_things() -> None:
    decision = parse(TWO).decide(ask("+31305550110"))
    assert isinstance(decision, Record)
    plan = decision.plan
    assert (plan.legal_basis, plan.retention) == (LegalBasis.CONTRACT, timedelta(seconds=10))
    assert (plan.prompt, plan.language, plan.audience) == ("spoken", "en", Audience.BOTH)
    assert plan.on_failure is OnFailure.REFUSE


def test_the_first_rule_that_matches_decides() -> None:
    read = parse(TWO)
    withheld = ask("+31305550110", "", anonymous=True)
    assert read.decide(withheld) == Pass(PassReason.RULE)
    assert read.match(withheld) is read.rules[0]
    assert read.match(ask("+31305550110")) is read.rules[2]


def test_anonymous_and_unknown_are_not_the_same() -> None:
    read = parse(TWO)
    assert read.decide(ask("bob", "", trunk="other")) == Pass(PassReason.RULE)
    assert read.decide(ask("bob", "", trunk="other", anonymous=True)) == Pass(PassReason.RULE)
    assert read.match(ask("bob", "", trunk="other", anonymous=True)) is read.rules[0]
    assert read.decide(ask("bob", "+31", trunk="other")) == Pass(PassReason.NO_RULE)


def test_the_number_of_an_anonymous_caller_matches_nothing() -> None:
    text = changed("  - purpose: training", "  - {calling: '*', purpose: training}")
    assert isinstance(parse(text).decide(ask()), Record)
    assert parse(text).decide(ask(anonymous=True)) == Pass(PassReason.NO_RULE)


def test_without_a_rule_nothing_is_recorded() -> None:
    assert parse(changed("rules:\n  - purpose: training\n", "rules: []\n")).decide(ask()) == Pass(
        PassReason.NO_RULE
    )


def test_the_version_is_the_hash_of_the_file_as_it_is() -> None:
    crlf = LEAST.replace("\n", "\r\n")
    assert parse(crlf).version == hashlib.sha256(crlf.encode()).hexdigest()
    assert parse(crlf).version != parse(LEAST).version


def test_the_announcements_that_must_be_made_ready() -> None:
    assert parse(TWO).prompts() == (
        Announcement("training", "nl", "Dit gesprek wordt opgenomen voor training.", None),
        Announcement("training", "en", "This call is recorded for training.", None),
        Announcement("spoken", "en", None, "agreements-en.wav"),
    )
    assert parse(LEAST).prompts() == (Announcement("training", "nl", None, None),)


# Emergency.


@pytest.mark.parametrize(
    "number",
    [
        "112", "911", "110", "144", "15", "17", "18", "100", "101", "117", "118", "122", "133", "999", "1414",
        "0112", "00112", "9112", "0110", "9144", "915", "+112", "+31112", "0031112", "+43144", "+33 15", "1-1-2", "1 1 2",
    ],
)  # fmt: skip
def test_emergency_numbers_pass_before_any_rule(number: str) -> None:
    assert isinstance(parse(LEAST).decide(ask("113055")), Record)
    for direction in Direction:
        for caller in ("", "+31"):
            question = ask(number, caller, direction=direction, anonymous=not caller)
            assert parse(LEAST).decide(question) == Pass(PassReason.EMERGENCY)


def test_an_emergency_service_urn_passes() -> None:
    assert parse(LEAST).decide(ask("", sos=True)) == Pass(PassReason.EMERGENCY)


@pytest.mark.parametrize(
    "number", ["1", "11", "1122", "1123", "3112", "+311120", "0205550112", "alice112", "112a"]
)
def test_other_numbers_are_no_emergency(number: str) -> None:
    assert isinstance(parse(LEAST).decide(ask(number)), Record)


def test_countries_can_be_chosen_but_112_911_and_sos_stay() -> None:
    read = parse(
        LEAST + "emergency: {countries: [NL], also: [0800-0113, '116117']}\n".replace("0800-0113", "08000113")
    )
    for number in ("112", "911", "0911", "+31112", "144", "08000113", "116117", "0116117"):
        assert read.decide(ask(number)) == Pass(PassReason.EMERGENCY), number
    for number in ("15", "110", "117", "999", "+33112"):
        assert isinstance(read.decide(ask(number)), Record), number
    none = parse(LEAST + "emergency: {countries: []}\n")
    assert none.decide(ask("112")) == Pass(PassReason.EMERGENCY)
    assert isinstance(none.decide(ask("144")), Record)


@pytest.mark.parametrize("country", list(Country))
def test_every_country_has_112_behind_its_code(country: Country) -> None:
    codes = {"AT": "43", "BE": "32", "CH": "41", "DE": "49", "FR": "33", "GB": "44", "NL": "31"}
    assert f"+{codes[country.value]}112" in Emergency(countries=(country,)).dialled()


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
    assert (
        Numbering(country_code="1", national_prefix="", international_prefix="011").canonical("0113130")
        == "+3130"
    )


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


# What is wrong.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "policy.yaml: empty; every key of it is in the example beside the manual"),
        ("version: 7\n" + LEAST, "policy.yaml:1: version: '7'; this recproxy reads version: 1"),
        (
            changed("    legal_basis: legitimate_interest\n", ""),
            "policy.yaml:2: purposes.training.legal_basis: missing; give one of consent, contract, legal_obligation, legitimate_interest, public_task",
        ),
        (changed("    retention: P90D\n", ""), "policy.yaml:2: purposes.training.retention: missing"),
        (
            changed("    announcement: {language: nl}\n", ""),
            "policy.yaml:2: purposes.training.announcement: missing",
        ),
        (
            changed("    on_failure: continue\n", ""),
            "policy.yaml:2: purposes.training.on_failure: missing; give one of continue, refuse",
        ),
        (changed("    title: {nl: Training}\n", ""), "policy.yaml:2: purposes.training.title: missing"),
        (
            changed("{language: nl}", "off"),
            "policy.yaml:7: purposes.training.announcement: not a mapping of keys to values",
        ),
        (
            changed("{language: nl}", "{language: nl, enabled: false}"),
            "policy.yaml:7: purposes.training.announcement.enabled: unknown key; known here: audience, files, language, prompt, texts",
        ),
        (
            changed("{language: nl}", "{audience: both}"),
            "policy.yaml:7: purposes.training.announcement.language: missing",
        ),
        (
            changed("{language: nl}", "{language: nl, audience: nobody}"),
            "policy.yaml:7: purposes.training.announcement.audience: 'nobody' is not one of both, outside",
        ),
        (
            changed("{language: nl}", "{language: Dutch}"),
            "policy.yaml:7: purposes.training.announcement.language: 'Dutch' is not a language tag such as nl or en-GB",
        ),
        (
            changed("{language: nl}", "{language: nl, prompt: Two Words}"),
            "policy.yaml:7: purposes.training.announcement.prompt: 'Two Words' is not a name of lower-case letters, digits, _ and -",
        ),
        (
            changed("{language: nl}", "{language: nl, texts: {en: Recorded.}}"),
            "policy.yaml:7: purposes.training.announcement.language: nl is in neither texts nor files, which have en; add it",
        ),
        (
            changed("{language: nl}", "{language: nl, texts: {nl: Opname.}, files: {nl: a.wav}}"),
            "policy.yaml:7: purposes.training.announcement.files.nl: there is also a text; keep one of the two",
        ),
        (
            changed("{language: nl}", "{language: nl, texts: {nl: }}"),
            "policy.yaml:7: purposes.training.announcement.texts.nl: empty",
        ),
        (
            changed("{language: nl}", "{language: nl, texts: {nl: 'Opname. Liever niet? Toets 9.'}}"),
            "policy.yaml:7: purposes.training.announcement.texts.nl: offers to press a key, but no key is listened to; leave the offer out",
        ),
        (
            changed("title: {nl: Training}", "title: {en: Training}"),
            "policy.yaml:3: purposes.training.title: has no text in nl, the language announced",
        ),
        (
            changed("description: {nl: Wij", "description: {en: Wij"),
            "policy.yaml:4: purposes.training.description: has no text in nl, the language announced",
        ),
        (
            changed("legitimate_interest", "consent"),
            "policy.yaml:5: purposes.training.legal_basis: consent must be given by an act (GDPR art. 4(11)), and no key is listened to yet; rest on another ground or do not record",
        ),
        (
            changed("legitimate_interest", "because"),
            "policy.yaml:5: purposes.training.legal_basis: 'because' is not one of consent, contract, legal_obligation, legitimate_interest, public_task",
        ),
        (
            changed("P90D", "90 days"),
            "policy.yaml:6: purposes.training.retention: '90 days' is not an ISO 8601 duration such as P90D or PT10M",
        ),
        (
            changed("P90D", "P5Y"),
            "policy.yaml:6: purposes.training.retention: 'P5Y' counts months or years, whose length varies; write days, P365D",
        ),
        (changed("P90D", "PT0S"), "policy.yaml:6: purposes.training.retention: not from PT1S to P36525D"),
        (changed("P90D", "P999999D"), "policy.yaml:6: purposes.training.retention: not from PT1S to P36525D"),
        (
            changed("continue", "ignore"),
            "policy.yaml:8: purposes.training.on_failure: 'ignore' is not one of continue, refuse",
        ),
        (
            changed("purpose: training", "purpose: none").replace("  training:", "  none:"),
            "policy.yaml:2: purposes.none: the name is what a rule says for no purpose; choose another",
        ),
        (
            LEAST.replace("training", "Train-ing"),
            "policy.yaml:2: purposes.Train-ing: the name is not lower-case letters, digits and underscores",
        ),
        (
            changed("purpose: training", "purpose: coaching"),
            "policy.yaml:10: rules[0].purpose: 'coaching' is not one of training, none",
        ),
        (changed("purpose: training", "trunk: provider"), "policy.yaml:10: rules[0].purpose: missing"),
        (
            changed("purpose: training", "{trunk: pbx, purpose: training}"),
            "policy.yaml:10: rules[0].trunk: 'pbx' is not one of provider",
        ),
        (
            changed("purpose: training", "{direction: both, purpose: training}"),
            "policy.yaml:10: rules[0].direction: 'both' is not one of inbound, outbound",
        ),
        (
            changed("purpose: training", "{called: anonymous, purpose: training}"),
            "policy.yaml:10: rules[0].called[0]: anonymous is for calling only",
        ),
        (
            changed("purpose: training", "{called: [1, 2 3], purpose: training}"),
            "policy.yaml:10: rules[0].called[1]: '2 3' is not a number, a prefix such as +3130*, or a range such as +31305550100-+31305550199",
        ),
        (
            changed("purpose: training", "{called: +319-+311, purpose: training}"),
            "policy.yaml:10: rules[0].called: '+319-+311' is not a range from a lower to a higher number of the same length",
        ),
        (
            changed("purpose: training", "{called: +311-312, purpose: training}"),
            "policy.yaml:10: rules[0].called: '+311-312' is not a range from a lower to a higher number of the same length",
        ),
        (
            LEAST + "  - {called: 1, purpose: none}\n",
            "policy.yaml:11: rules[1]: never reached: the rule in line 10 matches every call",
        ),
        (
            LEAST + "emergency: {countries: [XX]}\n",
            "policy.yaml:11: emergency.countries[0]: 'XX' is not one of AT, BE, CH, DE, FR, GB, NL",
        ),
        (
            LEAST + "emergency: {also: [doctor]}\n",
            "policy.yaml:11: emergency.also[0]: 'doctor' is not a number of digits",
        ),
        (
            LEAST + "emergency: {enabled: false}\n",
            "policy.yaml:11: emergency.enabled: unknown key; known here: also, countries",
        ),
        (
            LEAST + "numbering: {country_code: +31}\n",
            "policy.yaml:11: numbering.country_code: '+31' is not a country code such as \"31\"",
        ),
    ],
)
def test_a_bad_file_is_named(text: str, message: str) -> None:
    assert problems(text, ("provider",)) == (message,)


def test_two_purposes_with_one_prompt_must_mean_the_same() -> None:
    text = TWO.replace("      prompt: spoken\n", "      prompt: training\n")
    assert problems(text) == (
        "policy.yaml:19: purposes.agreements.announcement: is called training like that of training, but has other words; give it its own prompt",
    )


@pytest.mark.parametrize(
    "text",
    [
        "To refuse, press 9.",
        "Liever niet? Kies 9.",
        "Bezwaar? Toets 9.",
        "Ja: Taste 1.",
        "Drücken: 1.",
        "Pour refuser, tapez 9.",
        "Press the star key, *.",
    ],
)
def test_a_key_that_nobody_listens_to_is_not_offered(text: str) -> None:
    (message,) = problems(changed("{language: nl}", f'{{language: nl, texts: {{nl: "{text}"}}}}'))
    assert "leave the offer out" in message


@pytest.mark.parametrize(
    "text", ["Wij bewaren dit 14 dagen.", "Press conference, recorded.", "Kept for 2 weeks."]
)
def test_other_texts_with_numbers_are_fine(text: str) -> None:
    parse(changed("{language: nl}", f'{{language: nl, texts: {{nl: "{text}"}}}}'))


def test_the_shortest_text_is_a_policy_error_and_a_config_error() -> None:
    with pytest.raises(ConfigError):
        parse("a")


@given(st.text(max_size=100))
def test_reading_noise_raises_nothing_but_policy_errors(noise: str) -> None:
    for text in (
        noise,
        LEAST + noise,
        changed("Training", noise),
        changed("purpose: training", f"called: {noise}"),
    ):
        _parse_or_refuse(text)


def _parse_or_refuse(text: str) -> None:
    try:
        parse(text)
    except PolicyError as err:
        said = err.problems
    else:
        return
    assert said
    assert all(problem.startswith("policy.yaml:") for problem in said)


@pytest.mark.parametrize("user", ["1ab", "15.", "+15", "1 5"])
def test_a_range_holds_numbers_only(user: str) -> None:
    assert policy.parse_pattern("100-200").matches("150")
    assert not policy.parse_pattern("100-200").matches(user)
