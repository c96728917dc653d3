"""Limits of trunks, load of the loop, numbers as a trunk writes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdp_bodies import AMR_WB, audio
from sip_bench import Bench, Dialog, bench

from recproxy.call.events import InviteReceived
from recproxy.sip.limits import Bucket, Limits, Refusal, TrunkLimits
from recproxy.sip.numbering import NumberRule, Party, rewritten, rewritten_identity, rewritten_user
from recproxy.sip.overload import BUSY_S, Load
from recproxy.sip.uri import Uri

EMERGENCY = frozenset({"112", "0112", "00112"})
NATIONAL = NumberRule("0", "+31", 10)
INTERNATIONAL = NumberRule("00", "+")
EXTENSION = NumberRule("", "+3130555", 4, frozenset({Party.CALLER}))
RULES = (INTERNATIONAL, NATIONAL, EXTENSION)
both = st.sampled_from(list(Party))


# ----------------------------------------------------------------- numbers
@pytest.mark.parametrize(
    ("number", "party", "becomes"),
    [
        ("0201234567", Party.CALLEE, "+31201234567"),
        ("020123456", Party.CALLEE, "020123456"),
        ("0032471234567", Party.CALLEE, "+32471234567"),
        ("+31201234567", Party.CALLEE, "+31201234567"),
        ("0100", Party.CALLER, "+31305550100"),
        ("0100", Party.CALLEE, "0100"),
        ("anonymous", Party.CALLER, "anonymous"),
        ("112", Party.CALLEE, "112"),
        ("00112", Party.CALLEE, "00112"),
        ("", Party.CALLER, ""),
    ],
)
def test_the_first_rule_that_fits_is_applied(number: str, party: Party, becomes: str) -> None:
    assert rewritten(RULES, number, party, EMERGENCY.__contains__) == becomes


rules = st.builds(
    NumberRule,
    st.from_regex(r"\A\+?[0-9]{0,3}\Z"),
    st.from_regex(r"\A\+?[0-9]{0,4}\Z"),
    st.none() | st.integers(1, 12),
)


@given(st.lists(rules, max_size=5), st.sampled_from(sorted(EMERGENCY)))
def test_no_rule_makes_something_else_of_an_emergency_number(
    given_rules: list[NumberRule], number: str
) -> None:
    assert rewritten(given_rules, number, Party.CALLEE, EMERGENCY.__contains__) == number
    uri = Uri("sip", number, "proxy")
    assert rewritten_user(given_rules, uri, Party.CALLEE, EMERGENCY.__contains__) is uri


@given(st.lists(rules, max_size=5), st.text("0123456789+*#a", max_size=12), both)
def test_a_number_never_vanishes(given_rules: list[NumberRule], number: str, party: Party) -> None:
    becomes = rewritten(given_rules, number, party, EMERGENCY.__contains__)
    assert bool(becomes) == bool(number) or becomes


def test_an_address_keeps_what_is_not_its_number() -> None:
    uri = Uri.parse("sip:0201234567;phone-context=+31@proxy:5070;user=phone")
    becomes = rewritten_user(RULES, uri, Party.CALLEE, EMERGENCY.__contains__)
    assert str(becomes) == "sip:+31201234567;phone-context=+31@proxy:5070;user=phone"
    sos = Uri.parse("urn:service:sos")
    assert rewritten_user(RULES, sos, Party.CALLEE, EMERGENCY.__contains__) is sos


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("P-Asserted-Identity", '"Eve" <sip:0201234567@pbx>', '"Eve" <sip:+31201234567@pbx>'),
        ("p-asserted-identity", "<tel:0031201234567>", "<tel:+31201234567>"),
        (
            "Remote-Party-ID",
            "<sip:0100@pbx>;party=calling",
            "<sip:+31305550100@pbx>;party=calling",
        ),
        ("Remote-Party-ID", "<sip:0100@pbx>;party=called", "<sip:0100@pbx>;party=called"),
        ("P-Asserted-Identity", "<sip:anonymous@anonymous.invalid>", "<sip:anonymous@anonymous.invalid>"),
        ("Diversion", "<sip:0201234567@pbx>", "<sip:0201234567@pbx>"),
    ],
)
def test_an_identity_is_written_as_its_number_is(name: str, value: str, becomes: str) -> None:
    def rewrite(uri: Uri, party: Party) -> Uri:
        return rewritten_user(RULES, uri, party, EMERGENCY.__contains__)

    assert rewritten_identity(name, value, rewrite) == becomes


def test_a_tel_uri_stays_global() -> None:
    def rewrite(uri: Uri, party: Party) -> Uri:
        return rewritten_user((NumberRule("+31", "0"),), uri, party, EMERGENCY.__contains__)

    assert rewritten_identity("P-Asserted-Identity", "<tel:+31201234567>", rewrite) == "<tel:+31201234567>"
    sip = rewritten_identity("P-Asserted-Identity", "<sip:+31201234567@pbx>", rewrite)
    assert sip == "<sip:0201234567@pbx>"


# ------------------------------------------------------------------ limits
def _limited(**limits: float | None) -> TrunkLimits:
    made = TrunkLimits()
    made.replace([("a", Limits(**limits)), ("b", Limits())])  # type: ignore[arg-type]
    return made


def test_calls_from_and_to_a_trunk_count_together() -> None:
    limits = _limited(max_calls=2)
    for source, onward in (("a", "b"), ("b", "a")):
        assert limits.admit(source, onward, 0.0) is None
        limits.begun(source, onward)
    for source, onward in (("a", "b"), ("b", "a")):
        assert limits.admit(source, onward, 0.0) == Refusal("calls", "a", 10)
    limits.ended("b", "a")
    assert limits.admit("a", "b", 0.0) is None
    assert limits.refused == {"calls": 2, "rate": 0}


def test_a_trunk_may_call_at_its_rate_after_its_burst() -> None:
    limits = _limited(max_rate=2.0, max_burst=3)
    assert [limits.admit("a", "b", 0.0) for _ in range(3)] == [None] * 3
    assert limits.admit("a", "b", 0.0) == Refusal("rate", "a", 1)
    assert limits.admit("a", "b", 0.5) is None
    assert limits.admit("a", "b", 0.6) == Refusal("rate", "a", 1)
    assert limits.admit("b", "a", 0.6) is None, "what another trunk makes is not counted"


@given(st.floats(0.1, 50), st.integers(1, 20), st.lists(st.floats(0, 2), max_size=200))
def test_no_more_calls_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    bucket, now, taken = Bucket(rate, burst), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
    assert taken <= burst + rate * now + 1e-6


def test_a_reload_forgives_nothing_that_stays_the_same() -> None:
    limits = _limited(max_rate=1.0, max_burst=1)
    assert limits.admit("a", "b", 0.0) is None
    limits.replace([("a", Limits(max_rate=1.0, max_burst=1)), ("b", Limits())])
    assert limits.admit("a", "b", 0.0) == Refusal("rate", "a", 1)
    limits.replace([("a", Limits(max_rate=1.0, max_burst=2))])
    assert limits.admit("a", "b", 0.0) is None


# -------------------------------------------------------------------- load
def test_a_loop_that_never_rests_takes_no_new_calls_until_it_has_caught_up() -> None:
    load = Load()
    turns = [10.0 + number / 100 for number in range(round(BUSY_S * 100))]  # of 10 ms each
    assert not any(load.turned(at, rested=False) for at in turns)
    assert load.turned(10.01 + BUSY_S, rested=False)
    assert (load.refusing, load.times) == (True, 1)
    assert not load.turned(11.0, rested=False)
    assert load.turned(11.1, rested=True)
    assert not load.refusing
    assert not load.turned(99.0, rested=False), "a pause is no load"
    assert not load.turned(99.0 + BUSY_S / 2, rested=False)


def test_one_long_turn_is_no_overload_but_several_in_a_row_are() -> None:
    load = Load()
    assert not load.turned(10.0, rested=False)
    assert not load.turned(12.0, rested=False), "the recorder, or the host, held it up once"
    assert not load.turned(12.05, rested=False), "it catches up"
    assert not load.turned(12.06, rested=True)
    assert not load.turned(20.0, rested=False)
    assert not load.turned(22.0, rested=False)
    assert not load.turned(24.0, rested=False)
    assert load.turned(26.1, rested=False), "each of them"
    assert load.times == 1


# -------------------------------------------------------------- the endpoint
@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as opened:
        yield opened


def _invite(stage: Bench, number: str = "0201234567") -> Dialog:
    a = Dialog.calling(stage.caller, number)
    stage.caller.send(a.request("INVITE", audio(stage.caller.address, 4000, codecs=(AMR_WB,))))
    return a


def _refused(stage: Bench, a: Dialog) -> str:
    wait = stage.receive(stage.caller, "503").one("retry-after")
    stage.caller.send(a.request("ACK"))
    return wait


@pytest.mark.interop
def test_a_trunk_that_is_full_gets_503_and_its_emergency_calls_pass(stage: Bench) -> None:
    stage.trunk("office", limits=Limits(max_calls=1))
    _invite(stage)
    stage.receive(stage.callee, "INVITE")
    assert _refused(stage, _invite(stage)) == "10"
    assert stage.endpoint.counters()["refused_trunk_calls"] == 1
    _invite(stage, "112")
    assert stage.receive(stage.callee, "INVITE").uri.startswith("sip:112@")
    assert [event.facts.sos for event in stage.mirror.seen(InviteReceived)] == [False, True]


@pytest.mark.interop
def test_a_trunk_that_calls_too_fast_gets_503(stage: Bench) -> None:
    stage.trunk("office", limits=Limits(max_rate=0.25, max_burst=1))
    _invite(stage)
    stage.receive(stage.callee, "INVITE")
    assert _refused(stage, _invite(stage)) == "4"
    assert stage.endpoint.counters()["refused_trunk_rate"] == 1
    stage.later(4)
    _invite(stage)
    stage.receive(stage.callee, "INVITE")


@pytest.mark.interop
def test_numbers_are_written_as_each_trunk_writes_them(stage: Bench) -> None:
    stage.trunk("office", received=RULES)
    stage.trunk("carrier", sent=(NumberRule("+", "00"),))
    a = Dialog.calling(stage.caller, "0201234567", caller="0100")
    identity = ("P-Asserted-Identity", "<sip:0100@pbx.example>")
    party = ("Remote-Party-ID", "<sip:0100@pbx.example>;party=calling")
    body = audio(stage.caller.address, 4000, codecs=(AMR_WB,))
    stage.caller.send(a.request("INVITE", body, (identity, party)))
    invite = stage.receive(stage.callee, "INVITE")
    facts = stage.mirror.seen(InviteReceived)[0].facts
    assert (facts.caller, facts.callee) == ("+31305550100", "+31201234567")
    assert invite.uri.startswith("sip:0031201234567@")
    assert "<sip:0031201234567@" in invite.one("to")
    assert "<sip:0031305550100@" in invite.one("from")
    assert invite.one("p-asserted-identity") == "<sip:0031305550100@pbx.example>"
    assert invite.one("remote-party-id") == "<sip:0031305550100@pbx.example>;party=calling"


@pytest.mark.interop
def test_a_number_that_becomes_an_emergency_number_is_one(stage: Bench) -> None:
    stage.trunk("office", received=(NumberRule("9", ""),))
    stage.trunk("carrier", sent=(NumberRule("1", "+31"),))
    _invite(stage, "9112")
    assert stage.receive(stage.callee, "INVITE").uri.startswith("sip:112@")
    assert stage.mirror.seen(InviteReceived)[0].facts.sos


@pytest.mark.interop
def test_when_full_a_repeated_invite_passes_and_so_does_a_call_for_help() -> None:
    with bench(max_calls=1) as stage:
        stage.endpoint.exempt(("112", "0112"))
        a = Dialog.calling(stage.caller)
        invite = a.request("INVITE", audio(stage.caller.address, 4000, codecs=(AMR_WB,)))
        stage.caller.send(invite)
        stage.receive(stage.callee, "INVITE")
        stage.receive(stage.caller, "100")
        stage.caller.send(invite)
        assert stage.receive(stage.caller, "100"), "sent again, not refused"
        assert _refused(stage, _invite(stage)) == "10"
        for number in ("112", "0112"):
            _invite(stage, number)
            stage.receive(stage.callee, f"INVITE sip:{number}@")
        help_call = Dialog.calling(stage.caller)
        help_call.target = "urn:service:sos.police"
        stage.caller.send(help_call.request("INVITE", audio(stage.caller.address, 4000, codecs=(AMR_WB,))))
        stage.receive(stage.callee, "INVITE sip:112@")
        assert stage.endpoint.counters()["refused_admission"] == 1
        stage.endpoint.drain()
        assert _refused(stage, _invite(stage, "112")) == "10", "another server has to take it"
