"""Who may hear a recording, and for what: use, role, two people, a cap; a no opens nothing and is audited."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, recproxy
from hypothesis import given
from hypothesis import strategies as st
from policies import OPERATOR, one_purpose, parsed, policy_text, whole
from recorded import Shelf, Take, make_shelf, record

from recproxy.policy.playback import Denial, heard_this_month, playback_denied
from storage import OsFiles, RecordingId, Ticket, read_events

NOW = datetime.now(UTC).replace(microsecond=0)
TAKES = tuple(Take(number, NOW - timedelta(hours=number)) for number in (1, 2, 3))
ROLES = {"coach": {"users": ["anna", "bert", OPERATOR]}, "other": {"users": ["carl"]}}

As = Callable[..., Done]


def shelf_with(root: Path, **purpose: Any) -> Shelf:
    shelf = make_shelf(root / "shelf")
    document = whole({"training": one_purpose(**purpose)}, roles=ROLES)
    (shelf.root / "policy.yaml").write_text(policy_text(document))
    record(shelf, *TAKES)
    return shelf


@pytest.fixture
def by(monkeypatch: pytest.MonkeyPatch) -> As:
    """Run a command as somebody who became this user by sudo."""

    def run(name: str, *words: object) -> Done:
        with monkeypatch.context() as patch:
            patch.setenv("SUDO_USER", name)
            return recproxy("recordings", *words)

    return run


def export(shelf: Shelf, by: As, name: str, take: Take = TAKES[0], use: str = "training") -> Done:
    target = shelf.root / f"{name}-{take.number}.wav"
    target.unlink(missing_ok=True)
    done = by(
        name,
        "export",
        take.id,
        "-c",
        shelf.config,
        "-i",
        shelf.identity,
        "-o",
        target,
        "--use",
        use,
    )
    assert target.exists() == (done.code == 0)
    return done


def lines(shelf: Shelf, event: str) -> list[Any]:
    return [line for line in read_events(OsFiles(shelf.data)) if line["event"] == event]


def test_a_role_and_a_use_of_the_purpose_open_it(tmp_path: Path, by: As) -> None:
    shelf = shelf_with(tmp_path)
    assert export(shelf, by, "anna").code == 0
    (line,) = lines(shelf, "export.created")
    assert line["use"] == "training"
    refused = export(shelf, by, "carl")
    assert refused.code == 1
    assert "carl has none of the roles" in refused.err
    assert "playback.roles are coach" in refused.err
    refused = export(shelf, by, "anna", use="marketing")
    assert "may not be used for that" in refused.err
    shown = by("carl", "show", TAKES[0].id, "-c", shelf.config, "-i", shelf.identity, "--use", "training")
    assert shown.code == 1
    assert lines(shelf, "parties.opened") == []
    assert [line["reason"] for line in lines(shelf, "playback.denied")] == ["role", "use", "role"]
    assert len(lines(shelf, "export.created")) == 1


@pytest.mark.parametrize(
    "words", [("export", "1", "-o", "x.wav"), ("show", "1"), ("show", "1", "--use", "training")]
)
def test_identity_and_use_go_together(tmp_path: Path, by: As, words: tuple[str, ...]) -> None:
    shelf = shelf_with(tmp_path)
    identity = () if "--use" in words else ("-i", shelf.identity)
    assert by("anna", *words, "-c", shelf.config, *identity).code == 2


def test_a_recording_whose_purpose_is_gone_is_nobodys_to_hear(tmp_path: Path, by: As) -> None:
    shelf = shelf_with(tmp_path)
    document = whole({"other": one_purpose()}, roles=ROLES)
    (shelf.root / "policy.yaml").write_text(policy_text(document))
    assert "no purpose training any more" in export(shelf, by, "anna").err


def asked(shelf: Shelf, by: As, name: str, take: Take = TAKES[0]) -> str:
    done = by(name, "request", take.id, "--use", "training", "-c", shelf.config, "--json")
    assert done.code == 0, done.err
    ticket: str = json.loads(done.out)["id"]
    return ticket


def test_four_eyes_want_another_person_with_the_role(tmp_path: Path, by: As) -> None:
    shelf = shelf_with(tmp_path, playback__four_eyes=True)
    assert "two people must agree" in export(shelf, by, "anna").err
    ticket = asked(shelf, by, "anna")
    assert "two people must agree" in export(shelf, by, "anna").err
    assert "another person must approve it" in by("anna", "approve", ticket[:8], "-c", shelf.config).err
    assert "none of the roles" in by("carl", "approve", ticket[:8], "-c", shelf.config).err
    done = by("bert", "approve", ticket[:8], "-c", shelf.config)
    assert done.code == 0, done.err
    assert "already" in by("bert", "approve", ticket, "-c", shelf.config).err

    assert export(shelf, by, "anna").code == 0
    assert export(shelf, by, "bert").code == 1  # it is for who asked
    assert export(shelf, by, "anna", TAKES[1]).code == 1  # and for what was asked
    (line,) = lines(shelf, "export.created")
    assert (line["ticket"], line["approved_by"]) == (ticket, "user:bert")
    told = [line["event"] for line in read_events(OsFiles(shelf.data)) if "ticket" in line]
    assert told == ["playback.requested", "playback.approved", "export.created"]
    listed = json.loads(by("carl", "requests", "-c", shelf.config, "--json").out)
    assert [(one["requested_by"], one["approved_by"]) for one in listed] == [("user:anna", "user:bert")]
    assert "anna" in by("carl", "requests", "-c", shelf.config).out


def test_a_request_by_somebody_without_the_role_is_refused(tmp_path: Path, by: As) -> None:
    shelf = shelf_with(tmp_path, playback__four_eyes=True)
    done = by("carl", "request", "1", "--use", "training", "-c", shelf.config)
    assert done.code == 1
    assert "no request begins" in by("anna", "approve", "f", "-c", shelf.config).err


@given(st.timedeltas(timedelta(days=-9), timedelta(days=9)))
def test_a_ticket_holds_from_its_approval_for_its_time_only(offset: timedelta) -> None:
    ticket = Ticket("a" * 32, RecordingId("b" * 32), "training", "user:anna", NOW, NOW + timedelta(days=7))
    assert not ticket.allows("user:anna", "training", NOW + offset)
    approved = Ticket(
        *("a" * 32, RecordingId("b" * 32), "training", "user:anna", NOW, NOW + timedelta(days=1)),
        approved_by="user:bert",
        approved_at=NOW,
    )
    assert approved.allows("user:anna", "training", NOW + offset) == (
        timedelta(0) <= offset < timedelta(days=1)
    )
    assert not approved.allows("user:bert", "training", NOW + offset)
    assert not approved.allows("user:anna", "other", NOW + offset)


def test_a_cap_counts_recordings_of_the_month(tmp_path: Path, by: As) -> None:
    shelf = shelf_with(tmp_path, playback__sample_cap=2)
    assert [export(shelf, by, "anna", take).code for take in (TAKES[0], TAKES[1], TAKES[1])] == [0, 0, 0]
    refused = export(shelf, by, "bert", TAKES[2])
    assert "2 recordings for training were heard this month" in refused.err
    assert [line["reason"] for line in lines(shelf, "playback.denied")] == ["cap"]
    assert export(shelf, by, "bert", TAKES[0]).code == 0


def test_what_a_person_got_of_his_own_and_another_month_do_not_count() -> None:
    def line(**more: str) -> dict[str, str]:
        return {
            "event": "export.created",
            "rec": "1",
            "purpose": "p",
            "ts": "2026-11-30T23:59:59.000Z",
            **more,
        }

    at = datetime(2026, 12, 1, 0, 30, tzinfo=UTC)
    events = [
        line(),
        line(rec="2", ts="2026-12-01T00:00:00.000Z"),
        line(rec="3", ts="2026-12-01T00:00:00.000Z", dsr="x"),
        line(rec="4", ts="2026-12-01T00:00:00.000Z", purpose="q"),
        line(rec="5", ts="2026-12-01T00:00:00.000Z", event="playback.opened"),
        line(rec="6", ts="2026-12-01T00:00:00.000Z", event="shred.verified"),
    ]
    assert heard_this_month(events, "p", at) == {"2", "5"}


def test_the_uses_of_a_purpose_are_what_it_says() -> None:
    both = {
        "training": one_purpose(playback__uses=["training", "other"]),
        "other": one_purpose(scope__lines=["b"]),
    }
    lines_ = {
        "all": whole()["lines"]["all"] | {"match": "+31*"},
        "b": whole()["lines"]["all"] | {"match": "+49*"},
    }
    file = parsed(whole(both, roles=ROLES, lines=lines_)).file
    assert playback_denied(file, "training", "other", "anna") is None
    denied = playback_denied(file, "other", "training", "anna")
    assert denied is not None
    assert denied.why is Denial.USE
