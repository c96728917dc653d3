"""Transcripts by the HTTP API: kept without a word on the disk, given as ciphertext, shredded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_stage import NOW, Stage, headers, policy_of, secret_of, stage
from httpx import Response
from policies import one_purpose
from recorded import Shelf, Take, copy_of, make_shelf, record

from recproxy.transcripts import LONGEST_BYTES
from storage import (
    Catalogue,
    Hold,
    HoldKind,
    HoldReason,
    OsFiles,
    RecordingId,
    load_identities,
    sqlite_url,
)
from storage.age import decrypt

MINE, OPEN, OTHER = Take(1), Take(2, end="leave"), Take(3, purpose="disputes")
ON = {"transcript": "on", "transcript_keep": "P20D", "analytics": "off"}
VTT = "WEBVTT\n\n00:00:00.000 --> 00:00:01.200\n<v caller>Goedemorgen, mevrouw Bloemkool\n"
WORDS = VTT.encode()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = make_shelf(tmp_path_factory.mktemp("api") / "rig")
    record(shelf, MINE, OPEN, OTHER)
    return shelf


@pytest.fixture
def shelf(made: Shelf, tmp_path: Path) -> Shelf:
    return copy_of(made, tmp_path / "rig")


@pytest.fixture
def api(shelf: Shelf) -> Iterator[Stage]:
    policy = policy_of(
        purposes={
            "training": one_purpose(scope__directions=["inbound"], derived=ON),
            "disputes": one_purpose(
                scope__directions=["outbound"],
                derived=ON,
                playback={"roles": ["coach"], "four_eyes": True},
            ),
        }
    )
    with stage(shelf, policy) as served:
        yield served
        assert served.failures == []


def path_of(take: Take) -> str:
    return f"/v1/recordings/{take.id}/transcript"


def add(
    api: Stage, take: Take = MINE, *, by: str = "coach1", content: bytes = WORDS, query: Any = None
) -> Response:
    asked = {"use": "training", "language": "nl", "by": "een typist", **(query or {})}
    return api.client.post(path_of(take), params=asked, headers=headers(by), content=content)


def remove(api: Stage, *, by: str = "privacy", reason: str = "corrected") -> Response:
    asked = {"use": "training", "reason": reason}
    return api.client.delete(path_of(MINE), params=asked, headers=headers(by))


def test_one_is_kept_and_given_as_a_file_that_its_recipients_open(api: Stage, shelf: Shelf) -> None:
    kept = add(api)
    assert kept.status_code == 201, kept.text
    told = kept.json()
    assert (told["form"], told["language"], told["by"]) == ("text/vtt", "nl", "een typist")
    assert api.get(f"/v1/recordings/{MINE.id}").json()["derived"] == [told]
    assert not any(b"Bloemkool" in one.read_bytes() for one in shelf.root.rglob("*") if one.is_file()), (
        "words in clear"
    )
    given = api.get(path_of(MINE), use="training")
    assert given.status_code == 200
    assert int(given.headers["content-length"]) == len(given.content)
    assert f"{MINE.id}.vtt.age" in given.headers["content-disposition"]
    identities = load_identities(OsFiles(shelf.root), shelf.identity.name)
    assert decrypt(given.content, identities) == WORDS

    (added,), (opened,) = api.chain("derived.added"), api.chain("derived.opened")
    assert added["actor"] == "token:coach1"
    assert {name: opened[name] for name in ("actor", "rec", "purpose", "use", "role", "to")} == {
        "actor": "token:privacy",
        "rec": MINE.id,
        "purpose": "training",
        "use": "training",
        "role": "privacy",
        "to": "api",
    }
    assert opened["sha256_ct"] == told["sha256"] == added["sha256_ct"]
    assert api.get("/v1/audit/verification").json()["sound"]


def test_who_may_not_hear_it_may_not_read_it_and_who_is_no_operator_adds_none(api: Stage) -> None:
    assert add(api, by="auditor").status_code == 403
    assert add(api, by="operator").status_code == 403, "no role in the policy"
    assert add(api, by="").status_code == 401
    assert add(api).status_code == 201
    assert api.get(path_of(MINE), by="operator", use="training").status_code == 403
    assert api.get(path_of(MINE), use="marketing").status_code == 403
    assert remove(api, by="coach1").status_code == 403
    assert [line["reason"] for line in api.chain("playback.denied")] == ["role", "role", "use"]
    assert api.chain("derived.opened") == []


def test_where_two_must_agree_it_is_read_after_they_have(api: Stage) -> None:
    assert add(api, OTHER, query={"use": "disputes"}).status_code == 201
    assert api.get(path_of(OTHER), use="disputes").status_code == 403
    asked = api.post(f"/v1/recordings/{OTHER.id}/requests", {"use": "disputes", "why": "T-1"}).json()
    assert api.post(f"/v1/requests/{asked['id']}/approve", by="coach1").status_code == 200
    assert api.get(path_of(OTHER), use="disputes").status_code == 200
    (line,) = api.chain("derived.opened")
    assert (line["ticket"], line["approved_by"]) == (asked["id"], "token:coach1")


@pytest.mark.parametrize(
    ("content", "query", "status", "why"),
    [
        (b"", {}, 422, "empty"),
        (b"abc\xe9", {}, 422, "not UTF-8"),
        (WORDS.replace(b"<v caller>", b""), {}, 422, "who speaks"),
        (b"x" * (LONGEST_BYTES + 1), {}, 413, "too large"),
        (WORDS, {"language": "Dutch, mostly"}, 422, "language"),
        (WORDS, {"by": "+31201234567"}, 422, "seven digits"),
        (WORDS, {"use": "marketing"}, 403, "may not be used"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_not_repeated(
    api: Stage, content: bytes, query: dict[str, str], status: int, why: str
) -> None:
    answer = add(api, content=content, query=query)
    assert (answer.status_code, why in answer.json()["detail"]) == (status, True), answer.text
    for sent in ("Bloemkool", "1234567", "mostly"):
        assert sent not in answer.text
    assert api.chain("derived.added") == []


def test_the_longest_one_is_kept(api: Stage) -> None:
    assert add(api, content=b"x" * LONGEST_BYTES).status_code == 201


def test_a_stranger_is_told_no_before_what_he_sends_has_come(api: Stage) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=5) as strange:
        strange.sendall(
            f"POST {path_of(MINE)}?use=training&language=nl HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {secret_of('nobody')}\r\nContent-Length: 1000000\r\n\r\nx".encode()
        )
        assert strange.recv(12) == b"HTTP/1.1 401"


def test_there_is_one_and_it_is_replaced_once_it_is_shredded(api: Stage) -> None:
    assert remove(api).status_code == 404
    assert api.get(path_of(MINE), use="training").status_code == 404
    assert add(api).status_code == 201
    assert add(api, content=b"nog eens").status_code == 409
    assert remove(api).status_code == 204
    assert api.get(path_of(MINE), use="training").status_code == 404
    (line,) = api.chain("derived.shredded")
    assert (line["actor"], line["reason"]) == ("token:privacy", "corrected")
    assert add(api, content=b"nog eens").status_code == 201


def test_a_recording_that_is_not_sealed_or_is_restricted_gives_and_takes_none(
    api: Stage, shelf: Shelf
) -> None:
    assert add(api, OPEN).status_code == 409
    assert add(api).status_code == 201
    restriction = Hold(
        id="ab" * 16,
        kind=HoldKind.RESTRICTION,
        reason=HoldReason.OBJECTION,
        case_ref="case-7",
        recordings=(RecordingId(MINE.id),),
        requested_by="user:ann",
        requested_at=NOW,
        ends=NOW + timedelta(days=30),
        approved_by="user:ann",
        approved_at=NOW,
    )
    catalogue = Catalogue.open(OsFiles(shelf.data), sqlite_url(str(shelf.data / "catalogue.sqlite")))
    catalogue.holds.add(restriction)
    catalogue.close()
    for answer in (add(api), api.get(path_of(MINE), use="training"), remove(api)):
        assert (answer.status_code, "restricted" in answer.json()["detail"]) == (409, True)


def test_callers_who_were_not_told_are_not_written_down(shelf: Shelf) -> None:
    with stage(shelf) as api:
        answer = add(api)
        assert answer.status_code == 409
        assert answer.json()["mend"] == "purposes.training.derived.transcript"


def test_one_whose_time_would_be_over_is_not_kept(shelf: Shelf) -> None:
    short = {**ON, "transcript_keep": "P2D"}
    assert NOW - MINE.started > timedelta(days=2)
    with stage(shelf, policy_of(purposes={"training": one_purpose(derived=short)})) as api:
        answer = add(api, replace(MINE))
        assert (answer.status_code, "was to be gone" in answer.json()["detail"]) == (409, True)
