"""The HTTP API on a recording for several purposes: who finds it, who hears it, what it is kept for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_stage import NOW, Stage, stage
from policies import one_purpose, parsed, whole
from recorded import CALLER, START, Take, make_shelf, record

from storage import LegalBasis, PurposeTerm

DAY = timedelta(days=1)
PROMOTE = {"tag": "agreement_made", "keep": "P60D", "rationale": {"nl": "Een afspraak."}}
POLICY = parsed(
    whole(
        {
            "training": one_purpose(retention__promote=PROMOTE),
            "quality": one_purpose(access__index="none", playback__roles=["other"]),
        },
        roles={"coach": {"users": ["privacy"]}, "other": {"users": ["second"]}},
    )
)
BOTH = Take(
    1,
    kept=30 * DAY,
    purpose="training",
    index=True,
    further=(PurposeTerm("quality", LegalBasis.LEGITIMATE_INTEREST, START + 14 * DAY),),
    findable=("training",),
    policy=POLICY.version,
)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Stage]:
    shelf = make_shelf(tmp_path / "rig")
    record(shelf, BOTH)
    with stage(shelf, POLICY) as served:
        yield served


def ids(answer: Any) -> list[str]:
    return [one["id"] for one in answer.json()["recordings"]]


def test_it_is_listed_for_each_purpose_with_all_of_its_terms(api: Stage) -> None:
    for purpose in ("training", "quality"):
        assert ids(api.get("/v1/recordings", purpose=purpose)) == [BOTH.id]
    shown = api.get(f"/v1/recordings/{BOTH.id}").json()
    assert shown["purposes"] == ["training", "quality"]
    assert [term["expiry"][:10] for term in shown["terms"]] == ["2026-12-02", "2026-11-16"]
    assert shown["uses"] == ["training", "quality"]
    counted = {one["purpose"] for one in api.get("/v1/retention").json()["expiring"]}
    assert counted == {"training", "quality"}


def test_a_number_finds_it_for_the_purpose_with_an_index_alone(api: Stage) -> None:
    for purpose, found in ((None, [BOTH.id]), ("training", [BOTH.id]), ("quality", [])):
        asked = {"number": CALLER} | ({"purpose": purpose} if purpose else {})
        assert ids(api.post("/v1/recordings/search", asked)) == found


@pytest.mark.parametrize(
    ("by", "use", "status"),
    [
        ("privacy", "training", 200),
        ("privacy", "quality", 403),
        ("second", "quality", 200),
        ("second", "training", 403),
    ],
)
def test_who_has_the_role_of_one_purpose_hears_it_for_that_one(
    api: Stage, by: str, use: str, status: int
) -> None:
    answer = api.get(f"/v1/recordings/{BOTH.id}/file", by=by, use=use)
    assert answer.status_code == status
    (line,) = api.chain("playback.opened" if status == 200 else "playback.denied")
    assert (line["purpose"], line["use"]) == (use, use)
    if status == 200:
        assert answer.content.startswith((api.shelf.data / "keys" / f"{BOTH.id}.{use}").read_bytes())


def test_a_tag_keeps_it_longer_for_the_purpose_that_declares_it(api: Stage) -> None:
    tagged = api.post(f"/v1/recordings/{BOTH.id}/tag", {"tag": "agreement_made"})
    assert tagged.status_code == 200, tagged.text
    assert NOW < START + 14 * DAY
    terms = {
        term["purpose"]: term["expiry"][:10] for term in api.get(f"/v1/recordings/{BOTH.id}").json()["terms"]
    }
    assert terms == {"training": "2027-01-01", "quality": "2026-11-16"}
