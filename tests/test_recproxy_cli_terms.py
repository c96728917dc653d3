"""Terms of recordings that exist: shorter with the policy at once, longer by a declared tag alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, recproxy
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from policies import one_purpose, parsed, policy_text, whole
from recorded import Shelf, Take, make_shelf, record

from recproxy.policy import PolicyFile, PurposeName
from recproxy.policy.terms import PromotionRefused, promoted_keep
from storage import OsFiles, read_events

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
YOUNG, MIDDLE, OLD = (Take(number, NOW - days * DAY) for number, days in ((1, 1), (2, 10), (3, 25)))
TAGGED = {"tag": "agreed", "keep": "P90D", "rationale": {"nl": "Verjaring."}}


def set_policy(shelf: Shelf, **retention: Any) -> None:
    changes = {f"retention__{key}": value for key, value in retention.items()}
    text = policy_text(whole({"training": one_purpose(**changes)}))
    (shelf.root / "policy.yaml").write_text(text)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, YOUNG, MIDDLE, OLD)
    return shelf


def retention(shelf: Shelf) -> Done:
    done = recproxy("retention", "--once", "-c", shelf.config)
    assert done.code == 0, done.err
    return done


def shown(shelf: Shelf, take: Take) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        recproxy("recordings", "show", take.id, "-c", shelf.config, "--json").out
    )
    return found


def expiry(shelf: Shelf, take: Take) -> datetime:
    return datetime.fromisoformat(shown(shelf, take)["expiry"])


def lines(shelf: Shelf, event: str) -> list[Any]:
    return [line for line in read_events(OsFiles(shelf.data)) if line["event"] == event]


def test_a_shorter_term_holds_for_what_exists_at_once(shelf: Shelf) -> None:
    set_policy(shelf, keep="P7D")
    done = retention(shelf)
    assert expiry(shelf, YOUNG) == YOUNG.started + 7 * DAY
    assert [shown(shelf, take)["state"] for take in (YOUNG, MIDDLE, OLD)] == [
        "sealed",
        "shred_complete",
        "shred_complete",
    ]
    told = {line["rec"]: line for line in lines(shelf, "rec.expiry_changed")}
    assert set(told) == {YOUNG.id, MIDDLE.id, OLD.id}
    assert datetime.fromisoformat(told[YOUNG.id]["before"]) == YOUNG.started + 30 * DAY
    assert datetime.fromisoformat(told[YOUNG.id]["expires_at"]) == YOUNG.started + 7 * DAY
    (said,) = [json.loads(line) for line in done.out.splitlines() if "retention.shortened" in line]
    assert (said["purpose"], said["count"]) == ("training", 3)
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0
    assert "shortened" not in retention(shelf).out


def test_a_longer_term_leaves_what_exists_as_it_was(shelf: Shelf) -> None:
    set_policy(shelf, keep="P90D")
    retention(shelf)
    assert [expiry(shelf, take) for take in (YOUNG, MIDDLE)] == [
        YOUNG.started + 30 * DAY,
        MIDDLE.started + 30 * DAY,
    ]
    assert lines(shelf, "rec.expiry_changed") == []


def test_diff_counts_what_retention_then_moves(shelf: Shelf) -> None:
    old = shelf.root / "old.yaml"
    old.write_text((shelf.root / "policy.yaml").read_text())
    set_policy(shelf, keep="P7D")
    words = ("policy", "diff", old, shelf.root / "policy.yaml", "-c", shelf.config)
    refused = recproxy(*words)
    assert refused.code == 2
    assert "--confirm 3" in refused.err
    assert recproxy(*words, "--confirm", 3).code == 0
    retention(shelf)
    assert len(lines(shelf, "rec.expiry_changed")) == 3
    assert recproxy(*words).code == 0  # nothing is left to move


def test_recordings_of_a_purpose_that_is_gone_keep_their_term(shelf: Shelf) -> None:
    (shelf.root / "policy.yaml").write_text(policy_text(whole({"other": one_purpose(retention__keep="P1D")})))
    retention(shelf)
    assert expiry(shelf, MIDDLE) == MIDDLE.started + 30 * DAY


def test_a_policy_that_is_wrong_moves_nothing_and_shredding_goes_on(shelf: Shelf) -> None:
    record(shelf, Take(4, NOW - 3 * DAY, kept=DAY))
    (shelf.root / "policy.yaml").write_text("version: 1\n")
    done = retention(shelf)
    assert "policy.rejected" in done.out
    assert shown(shelf, Take(4, NOW))["state"] == "shredded"
    assert expiry(shelf, MIDDLE) == MIDDLE.started + 30 * DAY


def test_a_held_recording_gets_the_shorter_term_and_stays_until_the_hold_ends(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    words = ("--reason", "claim", "--case", "case 1", "--until", (NOW + 30 * DAY).date(), "--json")
    asked = json.loads(recproxy("hold", "request", OLD.id, "-c", shelf.config, *words).out)
    monkeypatch.setenv("SUDO_USER", "bert")
    assert recproxy("hold", "approve", asked["id"], "-c", shelf.config).code == 0
    set_policy(shelf, keep="P7D")
    retention(shelf)
    assert expiry(shelf, OLD) == OLD.started + 7 * DAY
    assert shown(shelf, OLD)["state"] == "sealed"
    assert recproxy("hold", "release", asked["id"], "-c", shelf.config).code == 0
    retention(shelf)
    assert shown(shelf, OLD)["state"] == "shred_complete"


def test_the_process_takes_a_policy_over_on_sighup_not_while_it_is_edited(shelf: Shelf) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "recproxy", "retention", "-c", str(shelf.config), "--interval", "PT1S"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None

        def events_until(name: str) -> list[str]:
            found: list[str] = []
            for line in process.stdout or ():
                found.append(json.loads(line)["event"])
                assert found[-1] != "retention.failed", line
                if found[-1] == name:
                    return found
            raise AssertionError(found)

        events_until("retention.swept")
        set_policy(shelf, keep="P7D")
        assert "retention.shortened" not in [
            *events_until("retention.swept"),
            *events_until("retention.swept"),
        ]
        process.send_signal(signal.SIGHUP)
        events_until("retention.shortened")
        assert "recording.shredded" in events_until("retention.swept")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


# ------------------------------------------------------------------ promotion
def promote(shelf: Shelf, take: Take, *words: object, tag: str = "agreed") -> Done:
    return recproxy("recordings", "promote", take.id, "--tag", tag, "-c", shelf.config, *words)


@pytest.fixture
def tagged(tmp_path: Path) -> Shelf:
    """A shelf whose recordings were made under the policy that lies there."""
    shelf = make_shelf(tmp_path / "shelf")
    set_policy(shelf, promote=TAGGED)
    version = parsed((shelf.root / "policy.yaml").read_text()).version
    record(shelf, Take(1, NOW - DAY, policy=version), Take(2, NOW - 10 * DAY, policy=version), OLD)
    return shelf


def test_a_declared_tag_keeps_a_recording_longer_once(tagged: Shelf) -> None:
    done = promote(tagged, YOUNG, "--why", "order 7")
    assert done.code == 0, done.err
    assert expiry(tagged, YOUNG) == YOUNG.started + 90 * DAY
    (line,) = lines(tagged, "rec.promoted")
    assert (line["rec"], line["tag"], line["reason"]) == (YOUNG.id, "agreed", "order 7")
    assert "kept that long already" in promote(tagged, YOUNG).err
    retention(tagged)
    assert expiry(tagged, YOUNG) == YOUNG.started + 90 * DAY  # the usual term does not undo it
    assert recproxy("audit", "verify", "-c", tagged.config).code == 0


def test_a_tag_that_nobody_was_told_of_keeps_nothing(tagged: Shelf) -> None:
    refused = promote(tagged, YOUNG, tag="useful")
    assert refused.code == 1
    assert "declares no such tag" in refused.err
    assert "was made under policy 7777777777777777" in promote(tagged, OLD).err
    assert lines(tagged, "rec.promoted") == []


def test_the_policy_it_was_made_under_is_the_proof(tagged: Shelf) -> None:
    then = tagged.root / "then.yaml"
    then.write_text((tagged.root / "policy.yaml").read_text())
    set_policy(tagged, promote={**TAGGED, "keep": "P60D"}, rationale={"nl": "Anders."})
    assert "--made-under" in promote(tagged, YOUNG).err
    assert promote(tagged, YOUNG, "--made-under", then).code == 0
    assert expiry(tagged, YOUNG) == YOUNG.started + 60 * DAY  # the shorter of both


def test_a_promoted_term_that_becomes_shorter_holds_at_once(tagged: Shelf) -> None:
    assert promote(tagged, MIDDLE).code == 0
    set_policy(tagged, promote={**TAGGED, "keep": "P40D"})
    retention(tagged)
    assert expiry(tagged, MIDDLE) == MIDDLE.started + 40 * DAY
    set_policy(tagged)
    retention(tagged)
    assert expiry(tagged, MIDDLE) == MIDDLE.started + 30 * DAY
    assert recproxy("audit", "verify", "-c", tagged.config).code == 0


def test_who_has_no_role_promotes_nothing(tagged: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "carl")
    assert "none of the roles" in promote(tagged, YOUNG).err


def test_notice_and_diff_tell_of_the_longer_term(tagged: Shelf) -> None:
    said = recproxy("notices", "statement", "-c", tagged.config, "--lang", "en").out
    assert "90 days if the call gives reason for it" in " ".join(said.split())
    old = tagged.root / "old.yaml"
    old.write_text((tagged.root / "policy.yaml").read_text())
    set_policy(tagged, promote={**TAGGED, "keep": "P40D"})
    told = recproxy("policy", "diff", old, tagged.root / "policy.yaml", "-c", tagged.config, "--json").out
    assert [(one["change"], one["recordings"]) for one in json.loads(told)["changes"]] == [("shorter", 0)]


DECLARED = parsed(whole({"training": one_purpose(retention__promote=TAGGED)})).file


def promising(days: int) -> PolicyFile:
    """A policy that keeps tagged recordings for so many days."""
    purpose = DECLARED.purposes[PurposeName("training")]
    promote_ = purpose.retention.promote
    assert promote_ is not None
    retention_ = replace(purpose.retention, promote=replace(promote_, keep=days * DAY))
    return replace(DECLARED, purposes={PurposeName("training"): replace(purpose, retention=retention_)})


@given(st.integers(31, 400), st.integers(31, 400), st.integers(1, 60))
def test_the_shorter_promise_holds_and_never_less_than_before(then: int, now: int, kept: int) -> None:
    try:
        keep = promoted_keep(promising(then), promising(now), "training", "agreed", kept * DAY)
    except PromotionRefused:
        assert kept < 30 or kept >= min(then, now)
    else:
        assert kept >= 30
        assert kept * DAY < keep == min(then, now) * DAY
