"""The HTTP API on what is kept: holds by two people, retention, the audit chain, the policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_stage import NOW, Stage, policy_of, stage
from policies import one_purpose
from recorded import START, Shelf, Take, copy_of, make_shelf, record

from storage.audit import CHAIN_PATH

KEPT, OVERDUE, LATER = Take(1), Take(2, kept=timedelta(days=1)), Take(3, kept=timedelta(days=800))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = make_shelf(tmp_path_factory.mktemp("api") / "rig")
    record(shelf, KEPT, OVERDUE, LATER)
    return shelf


@pytest.fixture
def shelf(made: Shelf, tmp_path: Path) -> Shelf:
    return copy_of(made, tmp_path / "rig")


@pytest.fixture
def api(shelf: Shelf) -> Iterator[Stage]:
    with stage(shelf) as served:
        yield served


def asked(**changes: Any) -> dict[str, Any]:
    return {
        "recordings": [OVERDUE.id],
        "reason": "claim",
        "case_ref": "case 12",
        "until": f"{NOW + timedelta(days=90):%Y-%m-%d}",
        **changes,
    }


# --------------------------------------------------------------------- holds
def test_a_hold_takes_two_people_and_keeps_until_it_is_released(api: Stage) -> None:
    made = api.post("/v1/holds", asked())
    assert made.status_code == 201, made.text
    hold = made.json()
    assert (hold["state"], hold["requested_by"], hold["ends"][:10]) == (
        "requested",
        "token:privacy",
        "2027-02-04",
    )
    assert api.get("/v1/retention").json()["overdue"] == 1
    same = api.post(f"/v1/holds/{hold['id']}/approve")
    assert (same.status_code, "another person" in same.json()["detail"]) == (409, True)
    approved = api.post(f"/v1/holds/{hold['id']}/approve", by="second").json()
    assert (approved["state"], approved["approved_by"]) == ("active", "token:second")
    overview = api.get("/v1/retention").json()
    assert (overview["overdue"], overview["held"]) == (0, 1)
    assert [one["id"] for one in api.get("/v1/holds", by="auditor").json()["holds"]] == [hold["id"]]
    released = api.post(f"/v1/holds/{hold['id']}/release").json()
    assert (released["state"], released["ended_by"]) == ("released", "token:privacy")
    assert api.get("/v1/holds").json()["holds"] == []
    assert len(api.get("/v1/holds", ended="true").json()["holds"]) == 1
    told = [(line["event"], line["actor"], line["rec"]) for line in api.chain() if "hold" in line]
    assert told == [
        ("hold.requested", "token:privacy", OVERDUE.id),
        ("hold.approved", "token:second", OVERDUE.id),
        ("hold.lifted", "token:privacy", OVERDUE.id),
    ]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"recordings": []}, 422),
        ({"recordings": ["f" * 32]}, 409),
        ({"reason": "subject_request"}, 422),
        ({"case_ref": "call +31612345678"}, 409),
        ({"until": "2020-01-01"}, 409),
        ({"until": "9999-12-31"}, 422),
        ({"until": "2030-01-01"}, 409),
        ({"who": "me"}, 422),
    ],
)
def test_a_hold_that_cannot_be_is_refused_with_a_mend(
    api: Stage, changes: dict[str, Any], status: int
) -> None:
    got = api.post("/v1/holds", asked(**changes))
    assert (got.status_code, bool(got.json()["mend"])) == (status, True), got.text
    assert api.get("/v1/holds").json()["holds"] == []


def test_a_hold_that_is_not_there(api: Stage) -> None:
    for action in ("approve", "release"):
        assert api.post(f"/v1/holds/{'0' * 32}/{action}").status_code == 404


# ----------------------------------------------------------------- retention
def test_the_overview_counts_what_expires_when_and_what_is_overdue(api: Stage) -> None:
    told = api.get("/v1/retention", by="admin").json()
    assert (told["recordings"], told["overdue"], told["shredded"]) == (3, 1, 0)
    assert told["oldest_overdue_s"] == (NOW - START - timedelta(days=1)).total_seconds()
    counted = {(one["purpose"], one["within"]): one["recordings"] for one in told["expiring"]}
    assert counted == {("training", "P28D"): 1, ("training", "later"): 1}


# --------------------------------------------------------------------- audit
def test_the_chain_is_read_backwards_page_by_page(api: Stage) -> None:
    seen: list[int] = []
    before: dict[str, Any] = {}
    while True:
        page = api.get("/v1/audit", by="auditor", limit=4, **before).json()
        seen += [line["seq"] for line in page["lines"]]
        if page["older"] is None:
            break
        before = {"before": page["older"]}
    assert seen == [line["seq"] for line in reversed(api.chain())]
    assert len(seen) >= 6


def test_a_page_from_anywhere_holds_whole_lines(api: Stage) -> None:
    whole = {int(line["seq"]) for line in api.chain()}
    size = (api.shelf.data / CHAIN_PATH).stat().st_size
    for before in range(0, size + 500, 97):
        lines = api.get("/v1/audit", before=before, limit=500).json()["lines"]
        assert {line["seq"] for line in lines} <= whole


def test_an_edit_of_the_chain_is_told(api: Stage) -> None:
    assert api.get("/v1/audit/verification").json()["sound"] is True
    path = api.shelf.data / CHAIN_PATH
    path.write_bytes(path.read_bytes().replace(b'"training"', b'"traininG"', 1))
    told = api.get("/v1/audit/verification").json()
    assert (told["sound"], told["lines"], bool(told["reason"])) == (False, 1, True)


# -------------------------------------------------------------------- policy
def test_the_policy_is_told_in_short(shelf: Shelf) -> None:
    pausable = one_purpose(pause__payment={"api": True, "max": "PT3M"})
    with stage(shelf, policy_of(purposes={"training": pausable})) as served:
        told = served.get("/v1/policy", by="operator").json()
    (purpose,) = told["purposes"]
    assert (purpose["name"], purpose["keep_days"], purpose["pause_by_api"]) == ("training", 30.0, True)
    assert (purpose["roles"], purpose["uses"], told["controller"]) == (["coach"], ["training"], "Proef BV")


# ---------------------------------------------------------------------- tags
def promoting() -> dict[str, Any]:
    keep = {"tag": "agreement_made", "keep": "P90D", "rationale": {"nl": "Bewijs."}}
    return one_purpose(retention={"keep": "P30D", "rationale": {"nl": "Kort."}, "promote": keep})


def test_a_tag_that_the_purpose_declares_keeps_a_recording_longer_once(shelf: Shelf) -> None:
    policy = policy_of(purposes={"training": promoting()})
    taken = Take(4)
    record(shelf, replace(taken, policy=policy.version))
    with stage(shelf, policy) as served:
        path = f"/v1/recordings/{taken.id}/tag"
        unknown = served.post(path, {"tag": "important"})
        assert (unknown.status_code, bool(unknown.json()["mend"])) == (409, True)
        assert "important" not in unknown.text
        other = served.post(f"/v1/recordings/{KEPT.id}/tag", {"tag": "agreement_made"})
        assert (other.status_code, "--made-under" in other.json()["mend"]) == (409, True)
        assert served.post(path, {"tag": "agreement_made"}, by="operator").status_code == 403
        got = served.post(path, {"tag": "agreement_made", "why": "T-1"}, by="coach1")
        assert (got.status_code, got.json()["expiry"][:10]) == (200, f"{START + timedelta(days=90):%Y-%m-%d}")
        assert served.post(path, {"tag": "agreement_made"}).status_code == 409
        (line,) = served.chain("rec.promoted")
        assert (line["actor"], line["tag"], line["reason"]) == ("token:coach1", "agreement_made", "T-1")


# --------------------------------------------------------------- restriction
def test_a_cap_and_four_eyes_hold_here_too(shelf: Shelf) -> None:
    capped = one_purpose(playback={"roles": ["coach"], "four_eyes": False, "sample_cap": 1})
    with stage(shelf, policy_of(purposes={"training": capped})) as served:
        assert served.get(f"/v1/recordings/{KEPT.id}/file", use="training").status_code == 200
        assert served.get(f"/v1/recordings/{KEPT.id}/file", use="training").status_code == 200
        refused = served.get(f"/v1/recordings/{LATER.id}/file", use="training")
        assert (refused.status_code, served.chain("playback.denied")[0]["reason"]) == (403, "cap")
    four = one_purpose(playback={"roles": ["coach"], "four_eyes": True})
    with stage(shelf, policy_of(purposes={"training": four})) as served:
        refused = served.get(f"/v1/recordings/{KEPT.id}/file", use="training")
        assert (refused.status_code, served.chain("playback.denied")[-1]["reason"]) == (403, "four_eyes")


def test_two_people_agree_by_the_api_before_a_recording_is_heard(shelf: Shelf) -> None:
    four = one_purpose(playback={"roles": ["coach"], "four_eyes": True})
    path = f"/v1/recordings/{KEPT.id}"
    with stage(shelf, policy_of(purposes={"training": four})) as served:
        assert served.post(f"{path}/requests", {"use": "training"}, by="operator").status_code == 403
        assert served.post(f"{path}/requests", {"use": "marketing"}, by="coach1").status_code == 403
        asked = served.post(f"{path}/requests", {"use": "training", "why": "dispute 12"}, by="coach1")
        assert asked.status_code == 201
        approve = f"/v1/requests/{asked.json()['id']}/approve"
        own = served.post(approve, by="coach1")
        assert (own.status_code, "another person" in own.json()["detail"]) == (409, True)
        assert served.post(approve, by="second").status_code == 403, "has no role that may hear it"
        assert served.get(f"{path}/file", use="training", by="coach1").status_code == 403
        approved = served.post(approve, {"why": "seen"}, by="privacy")
        assert (approved.status_code, approved.json()["approved_by"]) == (200, "token:privacy")
        assert served.post(approve, by="privacy").status_code == 409
        assert served.get(f"{path}/file", use="training", by="coach1").status_code == 200
        assert served.get(f"{path}/file", use="training", by="privacy").status_code == 403, "who asked may"
        (told,) = served.get("/v1/requests").json()["requests"]
        assert told == approved.json()
        lines = [*served.chain("playback.requested"), *served.chain("playback.approved")]
        assert [(line["actor"], line["reason"]) for line in lines] == [
            ("token:coach1", "dispute 12"),
            ("token:privacy", "seen"),
        ]
        assert served.post(f"/v1/requests/{'0' * 32}/approve").status_code == 404
        assert served.post(f"/v1/recordings/{'0' * 32}/requests", {"use": "training"}).status_code == 404
