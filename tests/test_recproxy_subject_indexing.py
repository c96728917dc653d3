"""Which recordings a number may find: as the policy in force says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from simulated_files import SimulatedFiles

from recproxy.policy import Numbering, Policy
from recproxy.subject import NumberIndexer
from storage import NumberIndex

NUMBERING = Numbering(country_code="31")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Policy:
    purposes: Any
    numbering: Numbering = NUMBERING
    version: str = "ab" * 32

    @property
    def file(self) -> _Policy:
        """What is written, as a checked policy gives it."""
        return self


def test_a_purpose_without_index_an_unknown_one_and_a_reload() -> None:
    indexed, not_indexed = {"access": {"index": "number"}}, {"access": {"index": "none"}}
    policies = [_Policy({"training": indexed, "sample": not_indexed})]
    index = NumberIndex(SimulatedFiles(), bytes(32))
    indexer = NumberIndexer(index, lambda: cast("Policy", policies[-1]))
    made = indexer.tokens(["training"], ("0612345678", ""), NOW)
    assert made is not None
    assert made.tokens == index.tokens(["+31612345678"], NOW).tokens
    assert indexer.tokens(["sample"], ("+31612345678",), NOW) is None
    assert indexer.tokens(["gone"], ("+31612345678",), NOW) is None
    policies.append(_Policy({"training": not_indexed}))
    assert indexer.tokens(["training"], ("+31612345678",), NOW) is None


def test_of_several_purposes_those_with_an_index_make_it_findable() -> None:
    policy = _Policy({"training": {"access": {"index": "number"}}, "sample": {"access": {"index": "none"}}})
    indexer = NumberIndexer(NumberIndex(SimulatedFiles(), bytes(32)), lambda: cast("Policy", policy))
    made = indexer.tokens(["sample", "training"], ("0612345678",), NOW)
    assert made is not None
    assert made.purposes == ("training",)
