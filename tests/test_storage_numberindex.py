"""The blind index: the exact number finds its calls, nothing else finds anything."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from simulated_files import SimulatedFiles
from storage_machine import AUDIO, NOW, Machine, tags

from storage import (
    AudioFacts,
    Catalogue,
    KeyFileError,
    NumberIndex,
    NumberTokens,
    OsFiles,
    Parties,
    State,
    Tombstone,
    generate_root_key,
    load_root_key,
)
from storage.catalogue import OpenRow
from storage.numberindex import destroy_month, month_of, months_with_secret

ROOT = bytes(range(32))
NUMBER, OTHER = "+31612345678", "+31612345679"
numbers = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)


def index(root: bytes = ROOT, files: SimulatedFiles | None = None) -> NumberIndex:
    return NumberIndex(files or SimulatedFiles(), root, lambda size: b"s" * size)


@given(numbers, numbers)
def test_equal_numbers_and_only_they_make_equal_tokens(one: str, two: str) -> None:
    ours = index()
    left, right = ours.tokens([one], NOW).tokens, ours.tokens([two], NOW).tokens
    assert (left == right) == (one == two)
    assert one[1:] not in left[0]


def test_a_token_is_an_hmac_under_a_key_that_is_not_the_root() -> None:
    token = index().tokens([NUMBER], NOW).tokens[0]
    plain = hmac.new(ROOT, NUMBER.encode(), hashlib.sha256).hexdigest()
    assert len(token) == 32
    assert token != plain[:32]
    assert index(bytes(32)).tokens([NUMBER], NOW).tokens[0] != token


def test_each_month_has_its_own_key() -> None:
    files = SimulatedFiles()
    ours = index(files=files)
    november, december = NOW, NOW + timedelta(days=20)
    one, two = ours.tokens([NUMBER], november), ours.tokens([NUMBER], december)
    assert (one.month, two.month) == ("2026-11", "2026-12")
    assert one.tokens != two.tokens
    assert ours.lookup(NUMBER) == {"2026-11": one.tokens[0], "2026-12": two.tokens[0]}
    assert destroy_month(files, "2026-11")
    assert ours.lookup(NUMBER) == {"2026-12": two.tokens[0]}
    assert not destroy_month(files, "2026-11")


def test_a_destroyed_secret_does_not_come_back() -> None:
    files, drawn = SimulatedFiles(), iter((b"1" * 32, b"2" * 32))
    ours = NumberIndex(files, ROOT, lambda size: next(drawn))
    before = ours.tokens([NUMBER], NOW)
    destroy_month(files, before.month)
    assert ours.tokens([NUMBER], NOW).tokens != before.tokens


def test_the_month_is_that_of_utc() -> None:
    assert month_of(datetime.fromisoformat("2026-12-01T00:30:00+01:00")) == "2026-11"


def test_withheld_numbers_leave_no_token_and_a_number_only_one() -> None:
    assert index().tokens(["", NUMBER, NUMBER], NOW).tokens == index().tokens([NUMBER], NOW).tokens
    assert index().tokens([""], NOW).tokens == ()


def test_a_damaged_secret_is_named_and_no_index_is_made_with_it() -> None:
    files = SimulatedFiles()
    ours = index(files=files)
    ours.tokens([NUMBER], NOW)
    files.patch("index/2026-11", 0, b"")
    files.unlink("index/2026-11")
    handle = files.create("index/2026-11")
    handle.write(b"short")
    handle.close()
    with pytest.raises(KeyFileError, match=r"index/2026-11 has 5 bytes.*remove it"):
        ours.tokens([NUMBER], NOW)


def test_foreign_files_are_no_months() -> None:
    files = SimulatedFiles()
    files.make_directory("index")
    for name in ("2026-13", "2026-11.new", "x"):
        files.create(f"index/{name}").close()
    assert months_with_secret(files) == ()


def test_rows_are_found_by_token_until_they_are_buried(catalogue_engine: sa.Engine) -> None:
    catalogue = Catalogue(catalogue_engine)
    facts = AudioFacts("ULAW", 8000, 2)
    both, one = NumberTokens("2026-11", ("aa" * 16, "bb" * 16)), NumberTokens("2026-11", ("bb" * 16,))
    catalogue.insert_open(
        [
            OpenRow(tags(number), facts, f"recordings/{number}", b"", index)
            for number, index in ((1, both), (2, one), (3, None))
        ]
    )

    def found(*tokens: str) -> set[str]:
        return {row.tags.call for row in catalogue.with_tokens(tokens)}

    assert found("aa" * 16) == {"call-1"}
    assert found("bb" * 16) == {"call-1", "call-2"}
    assert found("cc" * 16) == found() == set()
    assert catalogue.indexed() == {tags(1).recording, tags(2).recording}
    catalogue.mark_discarding(tags(1).recording, "opt_out")
    catalogue.bury([_stone()])
    assert found("aa" * 16, "bb" * 16) == {"call-2"}
    assert catalogue.indexed_months() == {"2026-11"}


def test_a_number_finds_what_was_recorded_of_it_and_nothing_else() -> None:
    machine = Machine()
    ours = NumberIndex(machine.files, ROOT)
    store = machine.start()
    for number, (caller, callee) in enumerate(((NUMBER, OTHER), (OTHER, "+31201111111"), ("", NUMBER))):
        made = ours.tokens((caller, callee), NOW)
        store.open(tags(number), Parties(caller, callee, ("", "")), AUDIO, NOW, made)
    store.open(replace(tags(9), purpose="quality_sample"), Parties(NUMBER, OTHER, ("", "")), AUDIO, NOW)
    tokens = tuple(ours.lookup(NUMBER).values())
    assert {row.tags.call for row in machine.catalogue.with_tokens(tokens)} == {"call-0", "call-2"}


def test_the_root_key_file(tmp_path: Path) -> None:
    files = OsFiles(tmp_path)
    generate_root_key(files, "index.key", lambda size: ROOT[:size])
    assert load_root_key(files, "index.key") == ROOT
    assert (tmp_path / "index.key").stat().st_mode & 0o777 == 0o600
    for text, message in (("zz", "hex digits"), ("abcd", "2 bytes, not 32"), ("\udcff", "hex digits")):
        (tmp_path / "bad.key").write_text(text, errors="surrogateescape")
        with pytest.raises(KeyFileError, match=message):
            load_root_key(files, "bad.key")


def _stone() -> Tombstone:
    what = tags(1)
    return Tombstone(
        recording=what.recording,
        state=State.DISCARDED,
        purpose=what.purpose,
        policy_version=what.policy_version,
        started_on=what.started.astimezone(UTC).date(),
        minutes=0,
        expiry=what.expiry,
        gone_at=NOW,
        cause="opt_out",
        size_bytes=0,
        sha256="",
        run="",
        verified=True,
        chain_seq=1,
        chain_sha256="0" * 64,
    )
