"""Orders of authorities: two people, the least that is needed, a ledger, and silence where it is ordered."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, recproxy
from policies import policy_text, whole
from recorded import CALLEE, CALLER, Shelf, Take, make_shelf, record

from storage import OsFiles, read_events
from storage.age import PassphraseIdentity, decrypt

NOW = datetime.now(UTC).replace(microsecond=0)
ONE, TWO, OPEN = (Take(n, NOW - timedelta(hours=n), index=True) for n in (1, 2, 3))
As = Callable[..., Done]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, ONE, TWO)
    return shelf


@pytest.fixture
def by(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> As:
    def run(name: str, *words: object, stdin: str = "") -> Done:
        with monkeypatch.context() as patch:
            patch.setenv("SUDO_USER", name)
            return recproxy(*words, "-c", shelf.config, stdin=stdin.encode())

    return run


def ordered(by: As, *words: object) -> str:
    done = by(
        *("anna", "authority", "request", ONE.id, TWO.id, "--authority", "prosecutor"),
        *("--order", "126nd 2026/14", "--json", *words),
    )
    assert done.code == 0, done.err
    order: str = json.loads(done.out)["id"]
    return order


def export(shelf: Shelf, by: As, order: str, name: str = "order.age") -> Done:
    return by("anna", "authority", "export", order, "-i", shelf.identity, "-o", shelf.root / name)


def unpacked(path: Path, done: Done) -> dict[str, bytes]:
    identity = PassphraseIdentity(done.out.rpartition("passphrase: ")[2].strip())
    with tarfile.open(fileobj=io.BytesIO(decrypt(path.read_bytes(), [identity]))) as archive:
        return {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]


def lines(shelf: Shelf, event: str) -> list[Any]:
    return [line for line in read_events(OsFiles(shelf.data)) if line["event"] == event]


def test_an_order_is_carried_out_once_another_person_has_reviewed_it(shelf: Shelf, by: As) -> None:
    order = ordered(by)
    assert "is requested: nothing is handed over" in export(shelf, by, order).err
    assert by("bert", "authority", "review", order[:5]).code == 0
    assert "already" in by("bert", "authority", "review", order, "--refuse").err
    done = export(shelf, by, order)
    assert done.code == 0, done.err
    files = unpacked(shelf.root / "order.age", done)
    assert files[f"audio/{ONE.id}.wav"].endswith(ONE.audio)
    calls = json.loads(files["calls.json"])
    assert {call["parties"]["caller"] for call in calls} == {CALLER}
    assert [line["event"] for line in read_events(OsFiles(shelf.data)) if "order" in line] == [
        "authority.requested",
        "authority.reviewed",
        "export.created",
        "export.created",
        "authority.delivered",
    ]
    (listed,) = json.loads(by("carl", "authority", "list", "--json").out)
    assert (listed["state"], listed["requested_by"], listed["reviewed_by"]) == (
        "delivered",
        "user:anna",
        "user:bert",
    )
    assert len(listed["handed_over"]) == 1
    assert "126nd 2026/14" in by("carl", "authority", "list").out
    for path in (shelf.root / "cases").iterdir():
        assert CALLER[1:].encode() not in path.read_bytes()
        assert CALLEE[1:].encode() not in path.read_bytes()


def put_roles(shelf: Shelf, **changes: Any) -> None:
    document = whole(roles={"coach": {"users": ["anna"]}, **changes.pop("roles", {})}, **changes)
    (shelf.root / "policy.yaml").write_text(policy_text(document))


def test_only_a_lawyer_who_is_another_person_reviews_an_order(shelf: Shelf, by: As) -> None:
    order = ordered(by)
    refused = by("carl", "authority", "review", order)
    assert refused.code == 1
    assert "carl does not have the role legal" in refused.err
    (line,) = lines(shelf, "authority.denied")
    assert (line["order"], line["reason"], line["outcome"]) == (order, "role", "denied")
    put_roles(shelf, roles={"legal": {"users": ["anna", "bert"]}})
    assert "another person must review it" in by("anna", "authority", "review", order).err
    put_roles(shelf, roles={"law": {"users": ["carl"]}}, authority={"reviewers": "law"})
    assert "bert does not have the role law" in by("bert", "authority", "review", order).err
    put_roles(shelf)
    assert "nobody has the role legal" in by("carl", "authority", "review", order).err
    assert "is requested: nothing is handed over" in export(shelf, by, order).err
    put_roles(shelf, roles={"law": {"users": ["carl"]}}, authority={"reviewers": "law"})
    assert by("carl", "authority", "review", order).code == 0


def test_the_reviewer_cuts_an_order_down_to_what_it_needs(shelf: Shelf, by: As) -> None:
    order = ordered(by)
    assert by("bert", "authority", "review", order, "--only", TWO.id[:8]).code == 0
    files = unpacked(shelf.root / "order.age", export(shelf, by, order))
    assert [name for name in files if name.startswith("audio/")] == [f"audio/{TWO.id}.wav"]
    assert [line["rec"] for line in lines(shelf, "export.created")] == [TWO.id]


def test_an_order_that_was_refused_hands_over_nothing(shelf: Shelf, by: As) -> None:
    order = ordered(by)
    assert by("bert", "authority", "review", order, "--refuse").code == 0
    assert "is refused" in export(shelf, by, order).err
    assert not (shelf.root / "order.age").exists()
    assert lines(shelf, "export.created") == []


@pytest.mark.parametrize("words", [("--order", "Jansen 0612345678"), ("--order", "")])
def test_a_reference_names_no_person(shelf: Shelf, by: As, words: tuple[str, ...]) -> None:
    done = by("anna", "authority", "request", ONE.id, "--authority", "police", *words)
    assert done.code == 1
    assert "name the order, not a person" in done.err
    assert "no order begins" in by("bert", "authority", "review", "x").err


@pytest.mark.parametrize("secret", [True, False])
def test_what_an_order_forbids_to_tell_is_not_in_the_answer_to_the_person(
    shelf: Shelf, by: As, secret: bool
) -> None:
    order = ordered(by, *(["--secret"] if secret else []))
    assert by("bert", "authority", "review", order).code == 0
    assert export(shelf, by, order).code == 0
    opened = by("anna", "subject", "open", "--kind", "access", "--json", stdin=CALLER)
    case, target = json.loads(opened.out)["id"], shelf.root / "answer.age"
    done = by("anna", "subject", "export", case, "-i", shelf.identity, "-o", target)
    uses = json.loads(unpacked(target, done)["recipients.json"])["uses"]
    assert any(use["ground"].startswith("order") for use in uses) is not secret
