"""Order of servers, what is thought of each, and who is tried next: without any network."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.sip.health import ANSWERS_UP, MISSES_DOWN, Change, Health, State
from recproxy.sip.hunt import ATTEMPTS, SILENCE_S, Failure, GiveUp, Hunt, Phase, Try
from recproxy.sip.router import Choice, Probe, Router, Routes, Told
from recproxy.sip.targets import Hop, Target, in_order


def hop(last: int, priority: int = 10, weight: int = 1) -> Hop:
    host = f"192.0.2.{last}"
    return Hop(Target(host, 5060, "udp", priority, weight), host, 5060)


A, B, C = hop(1), hop(2), hop(3)
SILENT = Failure(408, by_peer=False)
ranks = st.builds(hop, st.integers(1, 250), st.integers(0, 3), st.integers(0, 5))


# ------------------------------------------------------------------- order


@given(st.lists(ranks, unique=True), st.integers(0, 2**32))
def test_all_servers_are_tried_by_priority(hops: list[Hop], seed: int) -> None:
    targets = [one.target for one in hops]
    ordered = in_order(targets, random.Random(seed).randrange)
    assert sorted(map(str, ordered)) == sorted(map(str, targets))
    assert [one.priority for one in ordered] == sorted(one.priority for one in targets)


def test_calls_are_shared_by_weight() -> None:
    below = random.Random(7).randrange
    targets = [hop(1, weight=3).target, hop(2, weight=1).target, hop(3, weight=0).target]
    first = Counter(in_order(targets, below)[0].host for _ in range(5_000))
    # A draw of 0 to 4 (RFC 2782): 0 takes the server of weight 0, 1 to 3 the first, 4 the second.
    assert first["192.0.2.1"] == pytest.approx(3_000, abs=200)
    assert first["192.0.2.2"] == pytest.approx(1_000, abs=200)
    assert first["192.0.2.3"] == pytest.approx(1_000, abs=200)


# ------------------------------------------------------------------ health


def test_one_miss_is_a_suspicion_two_take_a_server_out_and_two_answers_bring_it_back() -> None:
    health = Health()
    assert (health.missed(), health.state, health.unsettled) == (None, State.SUSPECT, True)
    assert (health.answered(), health.state) == (None, State.UP)
    assert [health.missed() for _ in range(3)] == [None, Change.DOWN, None]
    assert (health.answered(), health.state, health.unsettled) == (None, State.DOWN, True)
    assert health.missed() is None
    assert [health.answered() for _ in range(3)] == [None, Change.UP, None]


@given(st.lists(st.booleans()))
def test_a_server_is_down_from_the_second_miss_to_the_second_answer_in_a_row(answers: list[bool]) -> None:
    health, down, run = Health(), False, 0
    previous = None
    for answer in answers:
        run = run + 1 if answer is previous else 1
        previous = answer
        change = health.answered() if answer else health.missed()
        turned = run == (ANSWERS_UP if answer else MISSES_DOWN) and down is answer
        down = down is not turned
        assert change == ((Change.UP if answer else Change.DOWN) if turned else None)
        assert (health.state is State.DOWN) is down


# -------------------------------------------------------------------- hunt


def test_the_next_server_is_tried_until_one_takes_the_call() -> None:
    hunt = Hunt((A, B, C))
    assert hunt.start(0.0) == Try(A)
    assert not hunt.silent(SILENCE_S - 0.001)
    assert hunt.silent(SILENCE_S)
    assert hunt.failed(Failure(408, by_peer=False), SILENCE_S) == Try(B)
    assert hunt.failed(Failure(503, by_peer=True), 5.0) == Try(C)
    hunt.provisional(100)
    assert not hunt.silent(1e9), "100 says that the server is there"
    hunt.provisional(180)
    assert hunt.failed(Failure(503, by_peer=True), 9.0) is None, "the caller has heard it ring"


@pytest.mark.parametrize("code", [302, 404, 408, 486, 500, 600])
def test_a_final_response_that_is_not_503_is_the_callees(code: int) -> None:
    hunt = Hunt((A, B))
    hunt.start(0.0)
    assert hunt.failed(Failure(code, by_peer=True), 1.0) is None
    assert hunt.phase is Phase.SETTLED


def test_a_fault_of_ours_is_no_reason_to_call_somebody_else() -> None:
    hunt = Hunt((A, B))
    hunt.start(0.0)
    assert hunt.failed(Failure(500, by_peer=False), 1.0) is None


def test_no_server_is_tried_for_a_caller_who_has_gone() -> None:
    hunt = Hunt((A, B))
    hunt.start(0.0)
    hunt.cancel()
    assert not hunt.silent(1e9)
    assert hunt.failed(Failure(503, by_peer=True), 1.0) is None


@pytest.mark.parametrize(
    ("failures", "end"),
    [
        ([], GiveUp(-1, 503)),
        ([Failure(408, by_peer=False)], GiveUp(0, 408)),
        ([Failure(503, by_peer=False), Failure(408, by_peer=False)], GiveUp(1, 408)),
        (
            [Failure(408, by_peer=False), Failure(503, by_peer=True), Failure(408, by_peer=False)],
            GiveUp(1, 503),
        ),
    ],
)
def test_the_caller_is_told_the_best_of_what_was_found(failures: list[Failure], end: GiveUp) -> None:
    hunt = Hunt([hop(at) for at in range(len(failures))])
    step = hunt.start(0.0)
    for failure in failures:
        assert isinstance(step, Try)
        found = hunt.failed(failure, 0.0)
        assert found is not None
        step = found
    assert step == end
    assert hunt.phase is Phase.SETTLED


def test_a_hunt_ends() -> None:
    hunt = Hunt([hop(at) for at in range(20)])
    step = hunt.start(0.0)
    tried = []
    while isinstance(step, Try):
        tried.append(step.hop)
        found = hunt.failed(Failure(503, by_peer=True), 0.0)
        assert found is not None
        step = found
    assert len(tried) == len(set(tried)) == ATTEMPTS


# ------------------------------------------------------------------ router


def at_home(target: Target) -> tuple[Hop, ...]:
    return (Hop(target, target.host, target.port or 5060),)


def router(*hops: Hop, keepalive_s: float | None = 30.0) -> Router:
    routes = Routes("carrier", tuple(one.target for one in hops), keepalive_s)
    return Router([routes], at_home, random.Random(1).randrange)


FIRST, SECOND = hop(1, priority=1), hop(2, priority=2)


def test_a_server_that_is_down_is_passed_by_until_it_answers_again() -> None:
    to = router(FIRST, SECOND)
    assert to.due(0.0) == [Probe("carrier", FIRST), Probe("carrier", SECOND)]
    to.probe_answered("carrier", SECOND, 200, None, 0.1)
    assert to.due(3.9) == []
    assert to.due(4.0) == [], "the answer is overdue: asked again soon, not at once"
    assert to.choose("carrier", 4.0) == Choice((FIRST, SECOND))
    assert to.due(6.0) == [Probe("carrier", FIRST)]
    assert to.due(10.0) == []
    assert to.told() == [Told("carrier", FIRST, Change.DOWN)]
    assert to.choose("carrier", 10.0) == Choice((SECOND,))
    assert to.due(40.0) == [Probe("carrier", SECOND), Probe("carrier", FIRST)][::-1]
    to.probe_answered("carrier", FIRST, 404, None, 40.1)
    to.probe_answered("carrier", SECOND, 200, None, 40.1)
    assert to.choose("carrier", 40.2) == Choice((SECOND,)), "one answer is not enough"
    assert to.due(42.2) == [Probe("carrier", FIRST)]
    to.probe_answered("carrier", FIRST, 404, None, 42.3)
    assert to.told() == [Told("carrier", FIRST, Change.UP)]
    assert to.choose("carrier", 42.4) == Choice((FIRST, SECOND))


def test_a_silent_call_makes_a_server_suspect_and_it_is_asked_at_once() -> None:
    to = router(FIRST)
    to.due(0.0)
    to.probe_answered("carrier", FIRST, 200, None, 0.1)
    assert to.due(5.0) == []
    to.missed("carrier", FIRST, 5.0)
    assert to.due(5.0) == [Probe("carrier", FIRST)]


def test_if_all_are_down_they_are_tried_all_the_same() -> None:
    to = router(FIRST, SECOND)
    for one in (FIRST, SECOND):
        for _ in range(2):
            to.missed("carrier", one, 0.0)
        assert to.state("carrier", one) is State.DOWN
    assert to.choose("carrier", 0.0) == Choice((FIRST, SECOND))


def test_a_server_that_asked_for_it_is_left_alone_for_so_long() -> None:
    to = router(FIRST, SECOND, keepalive_s=None)
    to.refused("carrier", FIRST, 20, 0.0)
    assert to.choose("carrier", 19.9) == Choice((SECOND,))
    assert to.choose("carrier", 20.0) == Choice((FIRST, SECOND))
    to.refused("carrier", FIRST, 20, 20.0)
    to.refused("carrier", SECOND, 7, 20.0)
    assert to.choose("carrier", 21.5) == Choice((), 6), "rounded up: not before it may be called"
    to.refused("carrier", FIRST, None, 40.0)
    assert to.choose("carrier", 40.0) == Choice((FIRST, SECOND)), "503 alone refuses one call only"


def test_nobody_can_ask_to_be_left_alone_for_ever() -> None:
    to = router(FIRST, keepalive_s=None)
    to.refused("carrier", FIRST, 2**31, 0.0)
    assert to.choose("carrier", 3600.0) == Choice((FIRST,))


def test_without_options_a_server_that_failed_comes_after_others_for_a_while() -> None:
    to = router(FIRST, SECOND, keepalive_s=None)
    to.missed("carrier", FIRST, 0.0)
    assert to.choose("carrier", 29.9) == Choice((SECOND,))
    assert to.choose("carrier", 30.0) == Choice((FIRST, SECOND))
    to.missed("carrier", FIRST, 30.0)
    to.missed("carrier", SECOND, 30.0)
    assert to.choose("carrier", 31.0) == Choice((FIRST, SECOND)), "better than nobody"
    to.answered("carrier", FIRST)
    assert to.choose("carrier", 31.0) == Choice((FIRST,))
    assert to.due(100.0) == []
    assert to.told() == []


def test_a_503_to_options_counts_as_a_miss() -> None:
    to = router(FIRST)
    for at in (0.0, 2.0):
        assert to.due(at) == [Probe("carrier", FIRST)]
        to.probe_answered("carrier", FIRST, 503, None, at)
    assert to.told() == [Told("carrier", FIRST, Change.DOWN)]


def test_a_reload_keeps_what_is_known_of_servers_that_stay() -> None:
    to = router(FIRST, SECOND)
    for _ in range(2):
        to.missed("carrier", FIRST, 0.0)
        to.missed("carrier", SECOND, 0.0)
    to.replace([Routes("carrier", (FIRST.target,), 30.0)])
    assert to.state("carrier", FIRST) is State.DOWN
    to.replace([Routes("carrier", (FIRST.target, SECOND.target), 30.0)])
    assert to.state("carrier", SECOND) is State.UP


def test_a_name_that_is_not_known_leads_nowhere() -> None:
    routes = Routes("carrier", (Target("sip.carrier.example"),), 30.0)
    to = Router([routes], lambda _target: (), random.Random(1).randrange)
    assert to.choose("carrier", 0.0) == Choice((), None)
    assert to.due(0.0) == []
