"""Key pairs of epochs: their names, their files, and what of them is on a recorder."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from storage import (
    EpochLength,
    EpochShelf,
    FilePresent,
    KeyFileError,
    KeyUnavailable,
    OsFiles,
    destroy_identity,
    load_identities,
    make_pair,
)
from storage.age import PassphraseIdentity, decrypt, encrypt
from storage.epochs import end_of, epoch_of, following, length_of

DAY, MONTH = EpochLength.DAY, EpochLength.MONTH


@pytest.fixture
def files(tmp_path: Path) -> OsFiles:
    made = OsFiles(tmp_path / "keys")
    made.prepare()
    return made


def test_an_instant_is_in_the_epoch_of_its_day_in_utc() -> None:
    late = datetime(2026, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-1)))
    assert (epoch_of(late, DAY), epoch_of(late, MONTH)) == ("2027-01-01", "2027-01")


@pytest.mark.parametrize(
    ("epoch", "end"),
    [
        ("2026-12-31", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2028-02-28", datetime(2028, 2, 29, tzinfo=UTC)),
        ("2026-12", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2026-01", datetime(2026, 2, 1, tzinfo=UTC)),
    ],
)
def test_an_epoch_ends_where_the_next_begins(epoch: str, end: datetime) -> None:
    assert end_of(epoch) == end
    assert following(epoch, 2)[1] == epoch_of(end, length_of(epoch))


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-02-30", "2026-1-1", "../2026-12", "2026-12\n"])
def test_what_is_no_epoch_is_refused(text: str) -> None:
    with pytest.raises(KeyFileError, match="no epoch"):
        length_of(text)


def test_a_pair_opens_what_its_public_half_wraps(files: OsFiles) -> None:
    pair = make_pair(files, "service", "2026-12-01")
    assert (files.root / pair.private).stat().st_mode & 0o777 == 0o600
    recipients = EpochShelf(files).recipients("service", "2026-12-01")
    assert decrypt(encrypt(b"text", recipients), load_identities(files, pair.private)) == b"text"
    with pytest.raises(FilePresent):
        make_pair(files, "service", "2026-12-01")


def test_a_private_half_may_be_encrypted(files: OsFiles) -> None:
    pair = make_pair(files, "service", "2026-12", "correct-horse-battery-staple")
    sealed = files.read(pair.private)
    assert b"AGE-SECRET-KEY" not in sealed
    opened = decrypt(sealed, [PassphraseIdentity("correct-horse-battery-staple")])
    assert f"# public key: {pair.recipient}".encode() in opened
    with pytest.raises(KeyFileError, match="encrypted"):
        load_identities(files, pair.private)


@pytest.mark.interop
def test_age_keygen_says_the_same_public_half(files: OsFiles) -> None:
    pair = make_pair(files, "service", "2026-12")
    done = subprocess.run(
        ["age-keygen", "-y", str(files.root / pair.private)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == pair.recipient


@pytest.mark.parametrize("group", ["", "A", "a/b", "..", "a" * 64])
def test_a_group_cannot_lead_out_of_the_directory(files: OsFiles, group: str) -> None:
    with pytest.raises(KeyFileError, match="no key group"):
        make_pair(files, group, "2026-12")
    with pytest.raises(KeyFileError, match="no key group"):
        destroy_identity(files, group, "2026-12")


def test_a_missing_key_is_named_with_its_mend(files: OsFiles) -> None:
    with pytest.raises(KeyUnavailable, match=r"service has no key for 2026-12-01 .*keys epochs make"):
        EpochShelf(files).recipients("service", "2026-12-01")


def test_a_private_key_in_the_place_of_a_public_one_is_refused_and_not_shown(files: OsFiles) -> None:
    pair = make_pair(files, "service", "2026-12")
    secret = files.read(pair.private)
    (files.root / pair.public).write_bytes(secret)
    with pytest.raises(KeyFileError) as caught:
        EpochShelf(files).recipients("service", "2026-12")
    assert "AGE-SECRET-KEY-1" not in str(caught.value)


def test_keys_cover_the_time_up_to_the_first_gap(files: OsFiles) -> None:
    now = datetime(2026, 12, 1, 15, tzinfo=UTC)
    shelf = EpochShelf(files)
    assert shelf.covered_until("service", DAY, now) == now
    for day in ("2026-11-30", "2026-12-01", "2026-12-02", "2026-12-04"):
        make_pair(files, "service", day)
    assert shelf.covered_until("service", DAY, now) == datetime(2026, 12, 3, tzinfo=UTC)
    assert shelf.covered_until("service", MONTH, now) == now
    assert shelf.installed("service") == ("2026-11-30", "2026-12-01", "2026-12-02", "2026-12-04")
    assert len(shelf.misplaced("service")) == 4


def test_a_retired_key_wraps_nothing_any_more(files: OsFiles) -> None:
    pair = make_pair(files, "service", "2026-12")
    shelf = EpochShelf(files)
    assert [str(one) for one in shelf.retire("service", "2026-12")] == [pair.recipient]
    assert [str(one) for one in shelf.retire("service", "2026-12")] == [pair.recipient], "may be repeated"
    with pytest.raises(KeyUnavailable):
        shelf.recipients("service", "2026-12")
    assert (shelf.installed("service"), shelf.retired("service")) == ((), ("2026-12",))
    shelf.forget("service", "2026-12")
    shelf.forget("service", "2026-12")
    assert shelf.retired("service") == ()


def test_a_destroyed_private_half_is_gone_and_that_may_be_repeated(files: OsFiles) -> None:
    pair = make_pair(files, "service", "2026-12")
    assert destroy_identity(files, "service", "2026-12")
    assert not (files.root / pair.private).exists()
    assert not destroy_identity(files, "service", "2026-12")
