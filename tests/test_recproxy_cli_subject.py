"""``recproxy subject``: a person's own number finds that person's calls, and what becomes of them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, recproxy
from recorded import CALLEE, CALLER, Shelf, Take, make_shelf, record

from storage import Catalogue, LegalBasis, OsFiles, load_verify_key, read_events
from storage.age import PassphraseIdentity, decrypt

OTHER = "+31201112233"
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
MINE = Take(1, NOW - 3 * DAY, index=True)
THEIRS = Take(2, NOW - 2 * DAY, caller=OTHER, index=True)
STATUTE = Take(3, NOW - 2 * DAY, basis=LegalBasis.LEGAL_OBLIGATION, index=True)
CONSENT = Take(4, NOW - DAY, basis=LegalBasis.CONSENT, index=True)
SAMPLE = Take(5, NOW - DAY, purpose="training")
OUTGOING = Take(6, NOW - DAY, caller=OTHER, callee=CALLER, index=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = make_shelf(tmp_path / "shelf")
    (shelf.root / "cases").mkdir(mode=0o700)
    record(shelf, MINE, THEIRS, STATUTE, CONSENT, SAMPLE, OUTGOING)
    yield shelf
    chain = (shelf.data / "audit" / "chain.jsonl").read_text()
    for number in (CALLER, CALLEE, OTHER):
        assert number not in chain
        for path in (shelf.root / "cases").iterdir():
            assert number.encode() not in path.read_bytes()
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0


def subject(shelf: Shelf, *words: object, stdin: str = "") -> Done:
    return recproxy("subject", *words, "-c", shelf.config, stdin=stdin.encode())


def opened(shelf: Shelf, kind: str, number: str = CALLER) -> dict[str, Any]:
    done = subject(shelf, "open", "--kind", kind, "--json", stdin=f"{number}\n")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def outcomes(done: Done) -> dict[str, str]:
    assert done.code == 0, done.err
    return {one["id"]: one["outcome"] for one in json.loads(done.out)["recordings"]}


def state(shelf: Shelf, take: Take) -> str:
    shown: dict[str, str] = json.loads(
        recproxy("recordings", "show", take.id, "-c", shelf.config, "--json").out
    )
    return shown["state"]


def test_a_number_finds_all_and_only_its_own_calls(shelf: Shelf) -> None:
    case = opened(shelf, "access")
    assert {one["id"] for one in case["recordings"]} == {
        take.id for take in (MINE, STATUTE, CONSENT, OUTGOING)
    }
    assert {one["id"] for one in opened(shelf, "access", OTHER)["recordings"]} == {THEIRS.id, OUTGOING.id}
    assert opened(shelf, "access", "+31612345679")["recordings"] == []
    national = opened(shelf, "access", "0031 6 1234-5678")
    assert len(national["recordings"]) == 4


def test_a_node_that_was_not_searched_is_named_before_anybody_is_answered(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = opened(shelf, "access")
    assert (alone["searched"], alone["not_searched"]) == ("rig", [])
    monkeypatch.setattr(Catalogue, "elsewhere", lambda _self: {"node-b": 3, "node-c": 1})
    case = opened(shelf, "access")
    assert [one["node"] for one in case["not_searched"]] == ["node-b", "node-c"]
    keys = ("-i", shelf.identity)
    said = [
        subject(shelf, "open", "--kind", "access", stdin=f"{CALLER}\n"),
        subject(shelf, "find", case["id"], *keys),
        subject(shelf, "export", case["id"], *keys, "-o", shelf.root / "answer.age"),
    ]
    for done in said:
        assert done.code == 0, done.err
        assert "node node-b was not searched, and has 3 recordings" in done.out + done.err
    again = json.loads(subject(shelf, "find", case["id"], *keys, "--json").out)
    assert again["not_searched"] == case["not_searched"]
    searches = [
        line["not_searched"]
        for line in read_events(OsFiles(shelf.data))
        if line["event"] in {"dsr.opened", "dsr.searched"}
    ]
    assert searches == [0, 2, 2, 2, 2]


@pytest.mark.parametrize("text", ["", "\n", "99", "anna", "+31abc", "0612345678"])
def test_what_is_no_number_is_refused_and_not_shown(shelf: Shelf, text: str) -> None:
    done = subject(shelf, "open", "--kind", "access", stdin=text)
    assert done.code == 2
    assert "not a telephone number" in done.err
    assert not text.strip() or text.strip() not in done.err


def test_an_open_case_keeps_its_recordings_until_it_is_closed(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    due = Take(1, NOW - 2 * DAY, kept=DAY, index=True)
    record(shelf, due, Take(2, NOW - DAY))
    case = opened(shelf, "access")
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    assert state(shelf, due) == "sealed"
    assert subject(shelf, "close", case["id"][:5], "--outcome", "delivered").code == 0
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    assert state(shelf, due) == "shred_complete"
    assert [path.suffix for path in (shelf.root / "cases").iterdir()] == [".json"]
    refused = subject(shelf, "erase", case["id"], "--yes")
    assert refused.code == 1
    assert "is closed" in refused.err


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle as the person opens it."""

    files: dict[str, bytes]

    def json(self, name: str) -> Any:
        return json.loads(self.files[name])


def unpack(path: Path, passphrase: str) -> Opened:
    plain = decrypt(path.read_bytes(), [PassphraseIdentity(passphrase)])
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        return Opened({name: archive.extractfile(name).read() for name in archive.getnames()})  # type: ignore[union-attr]


@pytest.mark.parametrize(("language", "said"), [("nl", "Uw verzoek"), ("en", "Your request")])
def test_the_bundle_has_letter_audio_facts_and_a_signed_list(shelf: Shelf, language: str, said: str) -> None:
    case, target = opened(shelf, "access"), shelf.root / "bundle.age"
    done = subject(shelf, "export", case["id"], "-i", shelf.identity, "-o", target, "--lang", language)
    assert done.code == 0, done.err
    assert target.stat().st_mode & 0o777 == 0o600
    assert b"RIFF" not in target.read_bytes()
    bundle = unpack(target, done.out.rpartition("passphrase: ")[2].strip())

    manifest = bundle.json("manifest.json")
    for one in manifest["files"]:
        assert hashlib.sha256(bundle.files[one["name"]]).hexdigest() == one["sha256"]
    signature = base64.b64decode(bundle.files["manifest.json.sig"])
    load_verify_key(OsFiles(shelf.root), "audit.pub").verify(signature, bundle.files["manifest.json"])
    assert {one["name"] for one in manifest["files"]} == set(bundle.files) - {
        "manifest.json",
        "manifest.json.sig",
        "audit.pub",
    }

    letter = bundle.files[f"letter.{language}.md"].decode()
    assert said in letter
    assert "autoriteitpersoonsgegevens.nl" in letter
    assert "Proef BV" in letter
    calls = {call["recording"]: call for call in bundle.json("calls.json")}
    assert set(calls) == {take.id for take in (MINE, STATUTE, CONSENT, OUTGOING)}
    assert calls[MINE.id]["line"] == CALLEE
    assert calls[MINE.id]["you_are"] == "caller, left channel"
    assert OTHER not in json.dumps(calls)
    for recording in calls:
        assert bundle.files[f"audio/{recording}.wav"].startswith(b"RIFF")
        assert MINE.audio in bundle.files[f"audio/{MINE.id}.wav"]
    uses = bundle.json("recipients.json")["uses"]
    assert {use["recording"] for use in uses} == set(calls)
    events = [line["event"] for line in read_events(OsFiles(shelf.data))]
    assert events.count("export.created") == 4
    assert "dsr.bundle_created" in events


def test_an_export_with_another_identity_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    case, other = opened(shelf, "access"), make_shelf(tmp_path / "other")
    done = subject(shelf, "export", case["id"], "-i", other.identity, "-o", shelf.root / "bundle.age")
    assert done.code != 0
    assert not (shelf.root / "bundle.age").exists()


def test_erasure_shreds_and_names_what_the_law_keeps(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    case = opened(shelf, "erase")
    soon = (NOW + 30 * DAY).date()
    monkeypatch.setenv("SUDO_USER", "anna")
    asked = recproxy(
        *("hold", "request", CONSENT.id, "-c", shelf.config, "--reason", "claim"),
        *("--case", "case 12", "--until", soon, "--json"),
    )
    monkeypatch.setenv("SUDO_USER", "bert")
    assert recproxy("hold", "approve", json.loads(asked.out)["id"], "-c", shelf.config).code == 0

    dry = outcomes(subject(shelf, "erase", case["id"], "--dry-run", "--json"))
    assert dry[MINE.id] == "shredded"
    assert state(shelf, MINE) == "sealed"
    assert subject(shelf, "erase", case["id"]).code == 2  # nobody can be asked here

    letter = shelf.root / "letter.md"
    done = subject(shelf, "erase", case["id"], "--yes", "--json", "--letter", letter, "--lang", "en")
    assert outcomes(done) == {
        MINE.id: "shredded",
        OUTGOING.id: "shredded",
        STATUTE.id: "refused_statute",
        CONSENT.id: "refused_hold",
    }
    assert [state(shelf, take) for take in (MINE, STATUTE, CONSENT, THEIRS)] == [
        "shredded",
        "sealed",
        "sealed",
        "sealed",
    ]
    assert "the law obliges us" in letter.read_text()
    assert opened(shelf, "access")["recordings"] != []
    assert MINE.id not in {one["id"] for one in opened(shelf, "access")["recordings"]}


def test_withdrawal_shreds_what_rests_on_consent_alone(shelf: Shelf) -> None:
    case = opened(shelf, "withdraw")
    assert outcomes(subject(shelf, "withdraw", case["id"], "--yes", "--json")) == {
        MINE.id: "refused_basis",
        OUTGOING.id: "refused_basis",
        STATUTE.id: "refused_basis",
        CONSENT.id: "shredded",
    }
    assert state(shelf, CONSENT) == "shredded"


@pytest.mark.parametrize(("decision", "becomes"), [("upheld", "shredded"), ("refused", "sealed")])
def test_an_objection_restricts_and_is_then_decided(shelf: Shelf, decision: str, becomes: str) -> None:
    case = opened(shelf, "object")
    done = outcomes(subject(shelf, "object", case["id"], "--json"))
    assert done[MINE.id] == "restricted"
    assert done[STATUTE.id] == "refused_basis"
    wav = shelf.root / "x.wav"
    words = ("--use", "training", "-c", shelf.config, "-i", shelf.identity, "-o", wav)
    used = recproxy("recordings", "export", MINE.id, *words)
    assert used.code == 1
    assert "is restricted" in used.err
    assert subject(shelf, "object", case["id"], "--decision", decision).code == 0
    assert state(shelf, MINE) == becomes
    if becomes == "sealed":
        used = recproxy("recordings", "export", MINE.id, *words)
        assert used.code == 0, used.err


def test_a_restriction_keeps_past_the_expiry_and_can_be_lifted(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    due = Take(1, NOW - 2 * DAY, kept=DAY, index=True)
    record(shelf, due, Take(2, NOW - DAY))
    case = opened(shelf, "restrict")
    assert subject(shelf, "restrict", case["id"], "--ground", "accuracy").code == 0
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    assert state(shelf, due) == "sealed"
    for words in ((), ("--ground", "claim", "--lift")):
        assert subject(shelf, "restrict", case["id"], *words).code == 2
    assert subject(shelf, "restrict", case["id"], "--lift").code == 0
    assert "restricts nothing" in subject(shelf, "restrict", case["id"], "--lift").err


def test_recordings_without_index_are_found_by_date_time_and_line_only(shelf: Shelf) -> None:
    case = opened(shelf, "access")
    assert SAMPLE.id not in {one["id"] for one in case["recordings"]}
    words = ("find", case["id"], "-i", shelf.identity, "--json")
    wrong_line = subject(shelf, *words, "--at", SAMPLE.started.isoformat(), "--line", OTHER)
    assert SAMPLE.id not in outcomes(wrong_line)
    wrong_time = subject(shelf, *words, "--at", (SAMPLE.started - DAY / 2).isoformat())
    assert SAMPLE.id not in outcomes(wrong_time)
    right = subject(shelf, *words, "--at", (SAMPLE.started + DAY / 100).isoformat(), "--line", CALLEE)
    assert outcomes(right)[SAMPLE.id] == "found"
    assert "date, time and line" in subject(shelf, "open", "--kind", "access", stdin=CALLER).out


def test_the_clock_of_a_case(shelf: Shelf) -> None:
    case = opened(shelf, "access")
    long_ago = subject(
        shelf, "open", "--kind", "erase", "--received", (NOW - 60 * DAY).date(), "--json", stdin=OTHER
    )
    overdue = json.loads(long_ago.out)
    assert overdue["days_left"] < 0
    listed = subject(shelf, "status")
    assert "OVERDUE" in listed.out
    assert listed.out.index(overdue["id"]) < listed.out.index(case["id"])
    assert "no longer be extended" in subject(shelf, "extend", overdue["id"], "--reason", "complexity").err
    assert subject(shelf, "extend", case["id"], "--reason", "number").code == 0
    longer = {one["id"]: one for one in json.loads(subject(shelf, "status", "--json").out)}
    assert longer[case["id"]]["days_left"] > 80
    assert "can be once" in subject(shelf, "extend", case["id"], "--reason", "number").err
    future = subject(shelf, "open", "--kind", "erase", "--received", (NOW + 2 * DAY).date(), stdin=OTHER)
    assert future.code == 2


def test_without_a_place_for_cases_the_mend_is_named(shelf: Shelf) -> None:
    text = shelf.config.read_text().replace("subjects:\n  directory: cases\n", "")
    other = shelf.root / "other.yaml"
    other.write_text(text)
    done = recproxy("subject", "status", "-c", other)
    assert done.code == 78
    assert "subjects.directory: missing" in done.err


def test_a_case_that_is_none(shelf: Shelf) -> None:
    for text in ("", "zzz"):
        done = subject(shelf, "erase", text, "--yes")
        assert done.code == 1
        assert "no case begins" in done.err
    path = shelf.root / "cases" / f"{opened(shelf, 'access')['id']}.json"
    path.write_text("{}")
    assert "is damaged" in subject(shelf, "status").err
    path.unlink()
