"""Answers that wait, leave a voice out, or take data along; and what goes with a recording from then on."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, recproxy
from recorded import CALLEE, CALLER, Shelf, Take, make_shelf, record

from storage import LegalBasis, OsFiles, read_events
from storage.age import Identity, PassphraseIdentity, X25519Identity, decrypt

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
MINE = Take(1, NOW - 3 * DAY, index=True)
CONSENT = Take(2, NOW - DAY, basis=LegalBasis.CONSENT, index=True)
CALLED = Take(3, NOW - DAY, caller=CALLEE, callee=CALLER, basis=LegalBasis.CONTRACT, index=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, MINE, CONSENT, CALLED)
    yield shelf
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0


def subject(shelf: Shelf, *words: object, stdin: str = "") -> Done:
    return recproxy("subject", *words, "-c", shelf.config, stdin=stdin.encode())


def opened(shelf: Shelf, kind: str) -> str:
    done = subject(shelf, "open", "--kind", kind, "--json", stdin=f"{CALLER}\n")
    assert done.code == 0, done.err
    case: str = json.loads(done.out)["id"]
    return case


def export(shelf: Shelf, case: str, *words: object) -> Done:
    done = subject(shelf, "export", case, "-i", shelf.identity, *words)
    assert done.code == 0, done.err
    return done


def unpacked(path: Path, identity: Identity) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(decrypt(path.read_bytes(), [identity]))) as archive:
        return {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]


def passphrase(done: Done) -> Identity:
    return PassphraseIdentity(done.out.rpartition("passphrase: ")[2].strip())


def chain(shelf: Shelf, event: str) -> list[Any]:
    return [line for line in read_events(OsFiles(shelf.data)) if line["event"] == event]


def test_an_answer_waits_beside_the_cases_and_is_destroyed_after_thirty_days(shelf: Shelf) -> None:
    case = opened(shelf, "access")
    done = export(shelf, case)
    waiting = shelf.root / "cases" / f"{case}.bundle.age"
    assert waiting.stat().st_mode & 0o777 == 0o600
    assert f"{CALLER}" not in done.out
    assert "letter.nl.md" in unpacked(waiting, passphrase(done))
    assert "bundle until" in subject(shelf, "status").out
    before = datetime.now(UTC)
    again = export(shelf, case)
    assert "letter.nl.md" in unpacked(waiting, passphrase(again))

    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    assert waiting.exists()
    text = json.loads((shelf.root / "cases" / f"{case}.json").read_text())
    until = datetime.fromisoformat(text["bundle"]["until"])
    assert before + timedelta(days=30) <= until <= datetime.now(UTC) + timedelta(days=30)
    text["bundle"]["until"] = NOW.isoformat()
    (shelf.root / "cases" / f"{case}.json").write_text(json.dumps(text))
    assert "case.bundle_destroyed" in recproxy("retention", "--once", "-c", shelf.config).out
    assert not waiting.exists()
    assert [line["dsr"] for line in chain(shelf, "dsr.bundle_destroyed")] == [case]


def test_an_answer_for_a_key_of_the_person_has_no_passphrase(shelf: Shelf) -> None:
    case, own, target = opened(shelf, "access"), X25519Identity.generate(), shelf.root / "a.age"
    done = export(shelf, case, "-o", target, "--recipient", own.recipient)
    assert "passphrase" not in done.out
    assert MINE.audio in unpacked(target, own)[f"audio/{MINE.id}.wav"]
    refused = subject(
        shelf, "export", case, "-i", shelf.identity, "-o", shelf.root / "b", "--recipient", "age1x"
    )
    assert refused.code == 2
    assert not (shelf.root / "b").exists()


def test_the_voice_of_another_private_person_is_left_out_and_that_is_said(shelf: Shelf) -> None:
    case, target = opened(shelf, "access"), shelf.root / "a.age"
    done = export(shelf, case, "-o", target, "--mute", f"{MINE.id[:6]}:callee:0.5-1")
    files = unpacked(target, passphrase(done))
    audio = files[f"audio/{MINE.id}.wav"][-len(MINE.audio) :]
    assert audio[0::2] == MINE.audio[0::2]
    assert audio[1:8_000:2] == MINE.audio[1:8_000:2]
    assert set(audio[8_001:16_000:2]) == {0xFF}
    assert audio[16_001::2] == MINE.audio[16_001::2]
    calls = {call["recording"]: call for call in json.loads(files["calls.json"])}
    assert calls[MINE.id]["muted"] == ["callee 0.5 s to 1 s"]
    assert "muted" not in calls[CONSENT.id]
    logged = {line["rec"]: line for line in chain(shelf, "export.created")}
    assert logged[MINE.id]["muted"] == "callee 0.5 s to 1 s"
    assert logged[MINE.id]["reason"] == "GDPR art. 15(4)"


@pytest.mark.parametrize("mute", ["x:callee", "1:both", "1:callee:9", "9:callee", "1:callee:5-4"])
def test_a_mute_that_makes_no_sense_exports_nothing(shelf: Shelf, mute: str) -> None:
    case = opened(shelf, "access")
    done = subject(shelf, "export", case, "-i", shelf.identity, "--mute", mute)
    assert done.code != 0
    assert not list((shelf.root / "cases").glob("*.bundle.age"))
    assert chain(shelf, "export.created") == []


def test_portability_gives_the_own_voice_of_consent_and_contract_alone(shelf: Shelf) -> None:
    case, target = opened(shelf, "portability"), shelf.root / "a.age"
    files = unpacked(target, passphrase(export(shelf, case, "-o", target)))
    names = {name for name in files if name.startswith("audio/")}
    assert names == {f"audio/{CONSENT.id}.wav", f"audio/{CALLED.id}.wav"}
    as_caller = files[f"audio/{CONSENT.id}.wav"][-len(CONSENT.audio) :]
    assert as_caller[0::2] == CONSENT.audio[0::2]
    assert set(as_caller[1::2]) == {0xFF}
    as_callee = files[f"audio/{CALLED.id}.wav"][-len(CALLED.audio) :]
    assert set(as_callee[0::2]) == {0xFF}
    assert as_callee[1::2] == CALLED.audio[1::2]
    assert {line["ground"] for line in chain(shelf, "export.created")} == {"GDPR art. 20"}
    (listed,) = json.loads(subject(shelf, "status", "--json").out)
    assert {one["id"]: one["outcome"] for one in listed["recordings"]}[MINE.id] == "refused_basis"


def test_a_statement_goes_with_the_recording_into_every_later_answer(shelf: Shelf) -> None:
    case, letter = opened(shelf, "rectify"), shelf.root / "letter.md"
    assert subject(shelf, "rectify", case, "--statement", "file 0612345678").code == 2
    done = subject(
        shelf, "rectify", case, "--statement", "DOC-2026-7", "--letter", letter, "--lang", "en", "--json"
    )
    assert {one["outcome"] for one in json.loads(done.out)["recordings"]} == {"statement_added"}
    assert "completed by your statement" in letter.read_text()
    target = shelf.root / "a.age"
    files = unpacked(target, passphrase(export(shelf, opened(shelf, "access"), "-o", target)))
    assert {tuple(call["statements"]) for call in json.loads(files["calls.json"])} == {("DOC-2026-7",)}


def test_statistics_name_nobody(shelf: Shelf) -> None:
    for kind, outcome in (("access", "delivered"), ("erase", "refused")):
        assert subject(shelf, "close", opened(shelf, kind), "--outcome", outcome).code == 0
    found = {one["kind"]: one for one in json.loads(subject(shelf, "statistics", "--json").out)}
    assert (found["access"]["delivered"], found["erase"]["refused"]) == (1, 1)
    assert found["access"]["median_days"] == 0
    told = subject(shelf, "statistics").out
    assert "erase" in told
    assert os.environ.get("USER", "root") not in told


def test_retention_reminds_of_an_answer_that_is_overdue(shelf: Shelf) -> None:
    words = ("open", "--kind", "erase", "--received", (NOW - 60 * DAY).date(), "--json")
    case = json.loads(subject(shelf, *words, stdin=CALLER).out)["id"]
    first = recproxy("retention", "--once", "-c", shelf.config)
    assert "case.overdue" in first.out
    assert "case.overdue" not in recproxy("retention", "--once", "-c", shelf.config).out
    assert [line["dsr"] for line in chain(shelf, "dsr.overdue")] == [case]
