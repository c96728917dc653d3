"""Several purposes that one call is for: the strictest rule of all."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policies import one_purpose, parsed, whole

from recproxy.policy import (
    Audience,
    CallQuestion,
    ChoiceMode,
    NewParty,
    OnFailure,
    Pass,
    PassReason,
    Policy,
    Record,
    RecordPlan,
    StaffNotice,
)
from storage.tags import Direction

OPT_OUT = {"mode": "opt_out", "keys": ["9"], "staff_keys": ["*9"]}
OPT_IN = {"mode": "opt_in", "keys": ["1"], "timeout": "PT7S"}
STATUTORY: dict[str, Any] = {
    "kind": "statutory",
    "basis": {"caller": "legal_obligation", "staff": "legal_obligation"},
    "legal_ref": ["Wet op het toezicht"],
    "announce__prompts": {"nl": "investment_orders"},
    "retention__keep": "P400D",
    "failure__recorder_down": "block_call",
}


def question(caller: str = "+31612345678", **more: Any) -> CallQuestion:
    return CallQuestion("provider", Direction.INBOUND, caller, "+31301234567", False, False, **more)


def planned(read: Policy, asked: CallQuestion | None = None) -> RecordPlan:
    decision = read.decide(asked or question())
    assert isinstance(decision, Record)
    return decision.plan


def test_what_is_kept_longest_leads_and_everything_else_is_the_strictest() -> None:
    read = parsed(
        whole(
            {
                "training": one_purpose(
                    choice=OPT_OUT,
                    announce__staff="beep",
                    pause={"on_hold": True, "payment": {"keys": ["*7"], "api": True, "max": "PT1M"}},
                ),
                "orders": one_purpose(
                    **STATUTORY,
                    announce__staff="beep_repeat",
                    pause={"on_hold": True, "payment": {"keys": ["*8"], "max": "PT3M"}},
                ),
            }
        )
    )
    plan = planned(read)
    assert plan.names == "orders,training"
    assert (plan.purpose, plan.retention, plan.prompt) == ("orders", timedelta(days=400), "investment_orders")
    assert [one.retention for one in plan.each] == [timedelta(days=400), timedelta(days=30)]
    assert [words.prompt for words in plan.announcements] == ["investment_orders", "training"]
    assert plan.on_failure is OnFailure.REFUSE
    assert plan.staff_notice is StaffNotice.BEEP_REPEAT
    assert plan.on_new_party is NewParty.REPLAY
    assert (plan.pause.keys, plan.pause.longest_s, plan.pause.api) == (("*8", "*7"), 180.0, True)
    orders, training = plan.each
    assert (orders.choice.mode, orders.choice.staff_refuse) == (ChoiceMode.NONE, ())
    assert (training.choice.mode, training.choice.refuse) == (ChoiceMode.OPT_OUT, ("9",))


def test_a_yes_that_one_needs_is_needed_for_all_that_could_be_refused() -> None:
    read = parsed(
        whole(
            {
                "training": one_purpose(choice=OPT_OUT),
                "quality": one_purpose(choice=OPT_IN, announce__prompts={"nl": "agreements"}),
                "orders": one_purpose(**STATUTORY),
            }
        )
    )
    choices = {one.purpose: one.choice for one in planned(read).each}
    assert choices["orders"].mode is ChoiceMode.NONE
    assert (choices["quality"].mode, choices["quality"].accept) == (ChoiceMode.OPT_IN, ("1",))
    training = choices["training"]
    assert (training.mode, training.accept, training.refuse) == (ChoiceMode.OPT_IN, ("1",), ("9",))
    assert training.window_s == 7.0


def test_purposes_with_the_same_words_are_announced_once_to_everybody_either_names() -> None:
    read = parsed(
        whole(
            {
                "training": one_purpose(announce__audience="outside", announce__staff="beep"),
                "more": one_purpose(),
            }
        )
    )
    (words,) = planned(read).announcements
    assert (words.prompt, words.audience, words.purposes) == ("training", Audience.BOTH, ("training", "more"))


def test_who_withholds_the_number_is_recorded_for_what_finds_nobody_by_it() -> None:
    read = parsed(whole({"training": one_purpose(), "more": one_purpose(access__index="none")}))
    plan = planned(read, question(""))
    assert (plan.names, plan.indexed) == ("more", False)
    assert planned(read).indexed


def test_what_staff_start_by_a_key_waits_for_it_and_the_rest_does_not() -> None:
    manual = {"mode": "manual", "keys": ["*5"], "stop_keys": ["*6"]}
    read = parsed(whole({"one": one_purpose(selection=manual), "two": one_purpose(selection=manual)}))
    assert planned(read).names == "one,two"
    assert planned(read).waiting == {"one", "two"}
    made = {"one": one_purpose(selection=manual, choice=OPT_IN), "two": one_purpose(choice=OPT_OUT)}
    plan = planned(parsed(whole(made)))
    assert plan.waiting == {"one"}
    assert [one.stop for one in plan.each] == [("*6",), ()]
    assert [one.choice.mode for one in plan.each] == [ChoiceMode.OPT_IN, ChoiceMode.OPT_OUT]
    assert plan.at_once.names == "two"
    blocking = one_purpose(selection=manual, failure__recorder_down="block_call")
    plan = planned(parsed(whole({"one": blocking, "two": one_purpose()})))
    assert plan.on_failure is OnFailure.CONTINUE, "a call that goes on for another is not ended for it"


_CHOICES = st.sampled_from([None, OPT_OUT, OPT_IN])


@st.composite
def _purposes(draw: st.DrawFn) -> dict[str, Any]:
    made = {}
    for name in draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True)):
        changes: dict[str, Any] = {
            "retention__keep": f"P{draw(st.integers(1, 9))}D",
            "choice": draw(_CHOICES) or {"mode": "none"},
            "access__index": draw(st.sampled_from(["number", "none"])),
            "failure__recorder_down": draw(st.sampled_from(["continue_unrecorded", "block_call"])),
            "announce__prompts": {"nl": draw(st.sampled_from(["training", "agreements"]))},
            "scope__directions": draw(st.sampled_from([["inbound"], ["outbound"], ["inbound", "outbound"]])),
        }
        if draw(st.booleans()):
            changes["selection"] = {"mode": "selective", "rate": draw(st.sampled_from([0.0, 0.5, 1.0]))}
        made[name] = one_purpose(**changes)
    return made


@settings(deadline=None, max_examples=60)
@given(purposes=_purposes(), call=st.text("abcdef", max_size=6), anonymous=st.booleans())
def test_exactly_the_purposes_that_apply_and_no_rule_of_any_is_lost(
    purposes: dict[str, Any], call: str, *, anonymous: bool
) -> None:
    read = parsed(whole(purposes, sample_key_file="sample.key"))
    asked = question("" if anonymous else "+31612345678", call=call, day=date(2026, 11, 24))
    due = {
        name
        for name, purpose in purposes.items()
        if "inbound" in purpose["scope"]["directions"]
        and not (anonymous and purpose["access"]["index"] == "number")
        and (
            (rate := purpose["selection"].get("rate")) is None
            or read.sampler.draws(name, call, date(2026, 11, 24), rate)
        )
    }
    decision = read.decide(asked)
    if not due:
        assert isinstance(decision, Pass)
        assert decision.why in {PassReason.NO_RULE, PassReason.ANONYMOUS, PassReason.NOT_SAMPLED}
        return
    assert isinstance(decision, Record)
    plan = decision.plan
    assert {one.purpose for one in plan.each} == due
    terms = [one.retention for one in plan.each]
    assert terms == sorted(terms, reverse=True)
    assert plan.retention == terms[0]
    told = [purpose for words in plan.announcements for purpose in words.purposes]
    assert sorted(told) == sorted(due), "each purpose is announced, once"
    assert (plan.on_failure is OnFailure.REFUSE) == any(
        purposes[name]["failure"]["recorder_down"] == "block_call" for name in due
    )
    assert plan.indexed == any(purposes[name]["access"]["index"] == "number" for name in due)
    wants_yes = any(purposes[name]["choice"]["mode"] == "opt_in" for name in due)
    for one in plan.each:
        written = purposes[one.purpose]["choice"]["mode"]
        free = written == "none"
        assert (one.choice.mode is ChoiceMode.NONE) == free
        assert (one.choice.mode is ChoiceMode.OPT_IN) == (wants_yes and not free)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_those_kept_equally_long_the_first_in_the_policy_leads(order: tuple[str, str]) -> None:
    assert planned(parsed(whole({name: one_purpose() for name in order}))).purpose == order[0]


def test_a_fork_shows_one_announcement_that_tells_of_every_purpose_or_nothing() -> None:
    def forked(*prompts: str, second: bool = True) -> frozenset[str] | None:
        fork = {"evidence": "asserted"}
        made = {
            name: one_purpose(announce__prompts={"nl": prompt})
            for name, prompt in zip(("one", "two"), prompts, strict=True)
        }
        made["one"]["announce"]["fork"] = dict(fork, trunks=["provider"])
        if second:
            made["two"]["announce"]["fork"] = dict(fork, trunks=["provider"])
        found = planned(parsed(whole(made))).fork
        return None if found is None else found.prompts

    assert forked("training", "training") == frozenset({"training"})
    assert forked("training", "agreements") == frozenset(), "no single word of the client can show both"
    assert forked("training", "training", second=False) is None
