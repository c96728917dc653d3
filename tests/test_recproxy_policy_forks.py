"""What the policy takes for evidence that a recording client announced: by purpose and by trunk."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from policies import examined, one_purpose, parsed, policy_text, whole

from recproxy.policy import CallQuestion, ForkAnnouncement, Policy, Record
from recproxy.policy.forks import Evidence, ForkAnnounce, fork_announcement
from storage.tags import Direction

ASSERTED: dict[str, Any] = {"trunks": ["sbc"], "evidence": "asserted"}
DECLARED = {**ASSERTED, "evidence": "declared", "authorised_by": "FG", "ref": "DOC-1", "date": "2026-01-02"}


def policy(fork: dict[str, Any] | None) -> Policy:
    purpose = one_purpose(announce__fork=fork) if fork is not None else one_purpose()
    return parsed(policy_text(whole({"training": purpose})), trunks=("sbc", "provider"))


def shown(read: Policy, trunk: str) -> ForkAnnouncement | None:
    question = CallQuestion(trunk, Direction.INBOUND, "+31612345678", "+31301234567", False, sos=False)
    decision = read.decide(question)
    assert isinstance(decision, Record)
    return decision.plan.fork


def test_without_a_word_in_the_policy_nobody_announces() -> None:
    assert shown(policy(None), "sbc") is None


def test_the_word_holds_for_the_trunks_that_it_names() -> None:
    read = policy(ASSERTED)
    found = shown(read, "sbc")
    assert found is not None
    assert not found.declared
    assert found.prompts == {"training"}
    assert shown(read, "provider") is None


def test_a_declaration_is_known_by_its_hash() -> None:
    found = shown(policy(DECLARED), "sbc")
    assert found is not None
    assert found.declared
    assert found.ref == "DOC-1"
    others = [
        shown(policy({**DECLARED, key: value}), "sbc")
        for key, value in (("authorised_by", "DPO"), ("ref", "DOC-2"), ("date", "2026-01-03"))
    ]
    hashes = {found.sha256, *(other.sha256 for other in others if other is not None)}
    assert len(hashes) == 4
    assert all(len(one) == 64 for one in hashes)


def test_a_change_of_the_evidence_is_another_policy() -> None:
    assert policy(ASSERTED).version != policy(DECLARED).version != policy(None).version


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evidence": "trust me"}, "announce.fork.evidence"),
        ({"date": "2 January"}, "announce.fork.date"),
        ({"off": True}, "announce.fork.off"),
        ({"ref": "x" * 501}, "announce.fork.ref"),
    ],
)
def test_what_is_no_evidence_is_refused(changes: dict[str, Any], said: str) -> None:
    document = whole({"training": one_purpose(announce__fork={**DECLARED, **changes})})
    problems = examined(document, trunks=("sbc",)).problems
    assert any(f"purposes.training.{said}: E001" in str(problem) for problem in problems), problems


def test_nothing_is_shown_for_a_trunk_that_is_not_named() -> None:
    announce = ForkAnnounce(trunks=("sbc",), evidence=Evidence.DECLARED, date=date(2026, 1, 2))
    assert fork_announcement(announce, "pbx", frozenset({"training"})) is None
    assert fork_announcement(None, "sbc", frozenset({"training"})) is None
