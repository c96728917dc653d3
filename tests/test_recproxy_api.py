"""The HTTP API: what it tells, whom, and what it never tells."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import api_stage
import pytest
from api_stage import Stage, policy_of, stage
from command_line import recproxy
from policies import one_purpose
from recorded import CALLER, START, Shelf, Take, copy_of, make_shelf, record

from recproxy.api.access import ROLES, Failures
from recproxy.api.application import openapi
from recproxy.api.readiness import Unready
from recproxy.api.tokens import Role
from storage import Catalogue, read_events

SEALED, INDEXED, OVERDUE, OPEN, GONE = (
    Take(1),
    Take(2, started=START + timedelta(hours=1), index=True),
    Take(3, kept=timedelta(days=1)),
    Take(4, end="leave"),
    Take(5, end="discard"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = make_shelf(tmp_path_factory.mktemp("api") / "rig")
    record(shelf, SEALED, INDEXED, OVERDUE, OPEN, GONE)
    return shelf


@pytest.fixture
def shelf(made: Shelf, tmp_path: Path) -> Shelf:
    return copy_of(made, tmp_path / "rig")


@pytest.fixture
def api(shelf: Shelf) -> Iterator[Stage]:
    with stage(shelf) as served:
        yield served


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["recordings"]]


# -------------------------------------------------------------- who may what
ROUTES = {
    str(operation["operationId"]): (method.upper(), str(path))
    for path, operations in openapi("1.0")["paths"].items()
    for method, operation in operations.items()
}
EXAMPLES = {"ref": api_stage.CALL, "recording": SEALED.id, "hold": "0" * 32, "request": "0" * 32}


def test_every_endpoint_is_in_the_table_of_roles_but_health() -> None:
    assert set(ROUTES) - set(ROLES) == {"health.live", "health.ready"}
    assert set(ROLES) <= set(ROUTES)


@pytest.mark.parametrize("operation", sorted(ROLES))
def test_each_role_may_what_the_table_says_and_nothing_else(api: Stage, operation: str) -> None:
    method, template = ROUTES[operation]
    path = template.format(**EXAMPLES)
    for role in Role:
        got = api.client.request(method, path, headers=api_stage.headers(role.value), json={})
        if role in ROLES[operation]:
            assert got.status_code not in {401, 500}, (role, got.text)
            assert "may not do this" not in got.text
        else:
            assert (got.status_code, got.json()["status"]) == (403, 403), (role, got.text)
            assert got.headers["content-type"] == "application/problem+json"
    nobody = api.client.request(method, path, json={})
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"].startswith("Bearer")


def test_a_wrong_token_is_audited_and_limited_and_shuts_nobody_out(api: Stage) -> None:
    for _ in range(10):
        assert api.get("/v1/recordings", by="stranger").status_code == 401
    got = api.get("/v1/recordings", by="stranger")
    assert (got.status_code, got.headers["retry-after"]) == (429, "60")
    assert api.get("/v1/recordings").status_code == 200
    denied = api.chain("auth.denied")
    assert len(denied) == 10
    assert {(line["actor"], line["reason"], line["operation"]) for line in denied} == {
        ("unknown", "token", "recordings.list")
    }
    api.monotonic[0] += 60
    assert api.get("/v1/recordings", by="stranger").status_code == 401
    assert "recproxy_api_denied_requests_total 12.0" in api.get("/metrics").text


def test_failures_are_counted_by_client_and_forgotten() -> None:
    failures = Failures(most=2, clients=2)
    assert [failures.add("a", now) for now in (0.0, 1.0, 2.0, 61.0)] == [True, True, False, True]
    assert failures.add("b", 61.0)
    assert failures.add("c", 61.0)
    assert failures.add("a", 61.5)  # forgotten: its turn starts anew


def test_many_clients_together_are_limited_too() -> None:
    failures = Failures(most=2)
    assert [failures.add(f"client {number}", 5.0) for number in range(13)] == [True] * 12 + [False]
    assert failures.add("client 13", 65.0)


def test_it_tells_who_shows_a_token(api: Stage) -> None:
    told = api.get("/v1/me", by="auditor").json()
    assert (told["name"], told["role"]) == ("auditor", "auditor")
    assert "audit.list" in told["operations"]
    assert "calls.pause" not in told["operations"]


# ---------------------------------------------------------------- recordings
def test_recordings_are_listed_newest_first_and_by_what_is_asked(api: Stage) -> None:
    assert ids(api.get("/v1/recordings"))[0] == INDEXED.id
    assert set(ids(api.get("/v1/recordings", state="sealed"))) == {SEALED.id, INDEXED.id, OVERDUE.id}
    assert ids(api.get("/v1/recordings", state="open")) == [OPEN.id]
    assert ids(api.get("/v1/recordings", purpose="other")) == []
    assert ids(api.get("/v1/recordings", since="2026-11-02T10:00:00Z")) == [INDEXED.id]
    assert INDEXED.id not in ids(api.get("/v1/recordings", until="2026-11-02T10:00:00Z"))
    page = api.get("/v1/recordings", limit=1).json()
    assert (len(page["recordings"]), page["more"]) == (1, True)
    gone = api.get("/v1/recordings", state="discarded").json()
    assert [stone["id"] for stone in gone["gone"]] == [GONE.id]
    assert gone["recordings"] == []


@pytest.mark.parametrize(
    "query", [{"since": "yesterday"}, {"since": "2026-11-02T10:00:00"}, {"limit": "0"}, {"state": "asleep"}]
)
def test_a_malformed_question_is_a_problem_that_repeats_nothing(api: Stage, query: dict[str, str]) -> None:
    got = api.client.get("/v1/recordings", headers=api_stage.headers("privacy"), params=query)
    assert got.status_code == 422
    assert got.headers["content-type"] == "application/problem+json"
    assert set(got.json()) == {"type", "title", "status", "detail", "mend"}
    assert next(iter(query.values())) not in got.json()["detail"].split()


def test_a_number_finds_its_recordings_and_is_told_to_nobody(api: Stage) -> None:
    assert ids(api.post("/v1/recordings/search", {"number": CALLER})) == [INDEXED.id]
    assert ids(api.post("/v1/recordings/search", {"number": "0031612345678"})) == [INDEXED.id]
    assert ids(api.post("/v1/recordings/search", {"number": "+31612345679"})) == []
    assert ids(api.post("/v1/recordings/search", {"number": CALLER, "purpose": "other"})) == []
    lines = api.chain("number.searched")
    assert [(line["actor"], line["found"]) for line in lines] == [
        ("token:privacy", found) for found in (1, 1, 0, 0)
    ]
    assert "612345678" not in json.dumps([dict(line) for line in read_events(api.files)])
    assert api.client.get("/v1/recordings/search", headers=api_stage.headers("privacy")).status_code == 422


def test_a_search_names_the_nodes_that_it_did_not_search(api: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalogue, "elsewhere", lambda _self: {"node-b": 3})
    assert api.post("/v1/recordings/search", {"number": CALLER}).json()["not_searched"] == ["node-b"]
    assert api.get("/v1/recordings").json()["not_searched"] == [], "a list is of all nodes"
    assert [line["not_searched"] for line in api.chain("number.searched")] == [1]


def test_without_an_index_no_number_is_looked_up(shelf: Shelf) -> None:
    with stage(shelf, index=False) as served:
        got = served.post("/v1/recordings/search", {"number": CALLER})
        assert (got.status_code, "index_key" in got.json()["mend"]) == (409, True)


def test_the_facts_of_a_recording_are_those_of_the_command_line(api: Stage) -> None:
    told = api.get(f"/v1/recordings/{SEALED.id}").json()
    shown = json.loads(recproxy("recordings", "show", SEALED.id, "--config", api.shelf.config, "--json").out)
    del shown["parties"]
    assert {name: told[name] for name in shown} == shown
    assert set(told) - set(shown) == {"uses", "playable", "tag", "pauses"}
    assert (told["uses"], told["playable"]) == (["training"], True)
    assert api.get(f"/v1/recordings/{SEALED.id}", by="auditor").json()["playable"] is False
    assert api.get(f"/v1/recordings/{GONE.id}").json()["state"] == "discarded"
    assert api.get(f"/v1/recordings/{'0' * 32}").status_code == 404


# ---------------------------------------------------------------------- file
def test_a_file_is_header_and_body_as_they_are_stored_and_audited(api: Stage) -> None:
    got = api.get(f"/v1/recordings/{SEALED.id}/file", use="training")
    assert got.status_code == 200, got.text
    stored = api.shelf.key(SEALED.id).read_bytes() + api.shelf.body(SEALED.id).read_bytes()
    assert got.content == stored
    assert got.headers["content-length"] == str(len(got.content))
    assert got.headers["cache-control"] == "no-store"
    (line,) = api.chain("playback.opened")
    assert {name: line[name] for name in ("actor", "rec", "purpose", "use", "role")} == {
        "actor": "token:privacy",
        "rec": SEALED.id,
        "purpose": "training",
        "use": "training",
        "role": "privacy",
    }


@pytest.mark.interop
def test_stock_age_opens_what_it_gives(api: Stage) -> None:
    got = api.get(f"/v1/recordings/{SEALED.id}/file", use="training")
    opened = subprocess.run(
        ["age", "-d", "-i", api.shelf.identity], input=got.content, capture_output=True, check=True
    )
    assert opened.stdout.endswith(SEALED.audio)


@pytest.mark.parametrize(
    ("by", "use", "status"),
    [
        ("privacy", "marketing", 403),
        ("auditor", "training", 403),
        ("privacy", "", 422),
        ("admin", "training", 403),
    ],
)
def test_who_may_not_hear_it_gets_nothing_of_it(api: Stage, by: str, use: str, status: int) -> None:
    got = api.get(f"/v1/recordings/{SEALED.id}/file", by=by, use=use)
    assert got.status_code == status
    assert got.headers["content-type"] == "application/problem+json"
    assert api.chain("playback.opened") == []
    if by == "auditor" or use == "marketing":
        assert [line["rec"] for line in api.chain("playback.denied")] == [SEALED.id]


def test_nobody_hears_a_purpose_that_the_policy_forgot_or_that_takes_two(shelf: Shelf) -> None:
    with stage(shelf, policy_of(purposes={"other": one_purpose()})) as served:
        got = served.get(f"/v1/recordings/{SEALED.id}/file", use="training")
        assert (got.status_code, "any more" in got.json()["detail"]) == (403, True)


def test_what_is_not_sealed_or_gone_is_no_file(api: Stage) -> None:
    for take, status in ((OPEN, 409), (GONE, 410)):
        got = api.get(f"/v1/recordings/{take.id}/file", use="training")
        assert (got.status_code, got.headers["content-type"]) == (status, "application/problem+json")
    api.shelf.key(SEALED.id).unlink()
    assert api.get(f"/v1/recordings/{SEALED.id}/file", use="training").status_code == 503


# -------------------------------------------------------------------- health
def test_it_lives_and_says_why_it_is_not_ready(api: Stage) -> None:
    assert api.get("/health/live", by="").json() == {"status": "live"}
    assert api.get("/health/ready", by="").json() == {"ready": True, "reasons": []}
    api.readiness.set(Unready.DRAINING, "recproxy is being stopped")
    got = api.get("/health/ready", by="")
    assert got.status_code == 503
    assert got.json()["reasons"] == [{"reason": "draining", "detail": "recproxy is being stopped"}]


# ------------------------------------------------------------------ the form
def test_every_answer_has_the_headers_that_guard_a_browser(api: Stage, tmp_path: Path) -> None:
    for path in ("/health/live", "/v1/recordings", "/nothing", "/v1/openapi.json"):
        got = api.get(path, by="")
        assert got.headers["content-security-policy"].startswith("default-src 'self';"), path
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "server" not in got.headers


def test_the_console_is_served_beside_the_api(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>console</title>")
    with stage(shelf, console=tmp_path) as served:
        assert "console" in served.get("/", by="").text
        assert served.get("/../recproxy.yaml", by="").status_code == 404
        assert served.get("/v1/recordings", by="").status_code == 401


def test_bodies_are_bounded(api: Stage) -> None:
    large = api.client.post(
        "/v1/recordings/search", headers=api_stage.headers("privacy"), content=b"x" * (65 << 10)
    )
    assert large.status_code == 413
    unknown = api.client.post(
        "/v1/recordings/search", headers=api_stage.headers("privacy"), content=iter([b"{}"])
    )
    assert unknown.status_code == 411


def test_the_document_tells_of_every_endpoint_and_its_problems() -> None:
    document = openapi("1.0")
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert {one["operationId"] for one in operations} == {*ROLES, "health.live", "health.ready"}
    for one in operations:
        assert "application/problem+json" in one["responses"]["default"]["content"]
        assert "422" not in one["responses"]
        assert ("security" in one) is (one["operationId"] in ROLES)
        assert one["description"]
