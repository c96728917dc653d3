"""``recproxy policy check``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from command_line import recproxy
from recorded import Shelf, make_shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path / "shelf")


def test_a_sound_policy_is_told_with_its_hash(shelf: Shelf) -> None:
    file = shelf.root / "policy.yaml"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    done = recproxy("policy", "check", file)
    assert (done.code, done.err) == (0, "")
    for word in ("is sound", digest, "training", "30 days", "legitimate_interest", "all calls"):
        assert word in done.out
    found = json.loads(recproxy("policy", "check", file, "--json").out)
    assert found["sha256"] == digest
    assert found["purposes"]["training"]["retention_s"] == 30 * 86_400
    assert found["rules"] == [{"name": "all calls", "purpose": "training"}]


def test_the_configuration_names_policy_and_trunks(shelf: Shelf) -> None:
    policy = shelf.root / "policy.yaml"
    assert recproxy("policy", "check", "-c", shelf.config).code == 0
    policy.write_text(policy.read_text().replace("{name: all calls,", "{name: all calls, trunk: nowhere,"))
    assert recproxy("policy", "check", policy).code == 0, "any trunk, without a configuration"
    done = recproxy("policy", "check", "-c", shelf.config)
    assert done.code == 78
    assert "'nowhere' is not one of carrier, pbx" in done.err


def test_every_problem_is_told_with_file_line_and_key(shelf: Shelf) -> None:
    policy = shelf.root / "policy.yaml"
    text = policy.read_text().replace("P30D", "forever").replace("on_failure: continue", "on_failure: hope")
    policy.write_text(text)
    done = recproxy("policy", "check", policy)
    assert done.code == 78
    lines = done.err.splitlines()
    assert len(lines) == 2
    for line, value in zip(lines, ("forever", "hope"), strict=True):
        at = next(number for number, found in enumerate(text.splitlines(), 1) if value in found)
        assert line.startswith(f"recproxy: error: {policy}:{at}: purposes.training.")


def test_nothing_to_check_is_usage() -> None:
    assert recproxy("policy", "check").code == 2


def test_a_file_that_is_missing_is_code_78(tmp_path: Path) -> None:
    assert recproxy("policy", "check", tmp_path / "none.yaml").code == 78
