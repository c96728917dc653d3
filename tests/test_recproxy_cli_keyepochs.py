"""Key pairs of epochs at the command line: made elsewhere, used here, destroyed when nothing needs them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, recproxy
from policies import parsed, policy_text, whole
from recorded import Shelf, Take, make_shelf, record

from recproxy.cli.epochwatch import EpochWatch
from recproxy.eventlog import EventLog, LogConfig
from storage import Catalogue, OsFiles, make_pair, read_events, sqlite_url
from storage.age import PassphraseIdentity, decrypt

NOW = datetime.now(UTC)
PAST = NOW - timedelta(days=10)
EPOCH = f"{PAST:%Y-%m-%d}"
KEPT = Take(1, started=PAST, epoch=EPOCH)
DUE = Take(2, started=PAST, kept=timedelta(days=9), epoch=EPOCH)
PLAIN = Take(3, started=PAST)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A recorder whose key group changes its key pair each day, and an officer with the private halves."""
    shelf = make_shelf(tmp_path / "shelf")
    config = shelf.config.read_text().replace("  directory: data\n", "  directory: data\n  epochs: epochs\n")
    shelf.config.write_text(config)
    made = whole(key_groups__main={"backup_horizon": "P7D", "epoch": "day"})
    (shelf.root / "policy.yaml").write_text(policy_text(made))
    done = recproxy("keys", "epochs", "make", "main", "--from", EPOCH, "--out", officer(shelf))
    assert done.code == 0, done.err
    install(shelf, EPOCH)
    return shelf


def officer(shelf: Shelf) -> Path:
    return shelf.root.parent / "officer"


def install(shelf: Shelf, epoch: str) -> None:
    (shelf.root / "epochs" / "main").mkdir(parents=True, exist_ok=True, mode=0o700)
    public = officer(shelf) / "main" / f"{epoch}.recipient"
    (shelf.root / "epochs" / "main" / public.name).write_text(public.read_text())


def identity(shelf: Shelf) -> Path:
    return officer(shelf) / "main" / f"{EPOCH}.identity"


def epochs(*words: object) -> Done:
    return recproxy("keys", "epochs", *words)


def retire(shelf: Shelf, *options: object) -> Done:
    return epochs("retire", "main", EPOCH, "-c", shelf.config, *options)


def told(shelf: Shelf, event: str) -> list[Mapping[str, Any]]:
    return [line for line in read_events(OsFiles(shelf.data)) if line["event"] == event]


def opens(shelf: Shelf, take: Take, key: Path) -> bool:
    done = recproxy("recordings", "verify", take.id, "-c", shelf.config, "-i", key)
    return done.code == 0


def test_pairs_are_made_for_as_many_epochs_and_never_overwritten(tmp_path: Path) -> None:
    done = epochs(
        "make", "service", "--from", "2026-12-30", "--count", "3", "--out", tmp_path / "out", "--json"
    )
    assert done.code == 0
    made = json.loads(done.out)
    assert [one["epoch"] for one in made] == ["2026-12-30", "2026-12-31", "2027-01-01"]
    assert len({one["recipient"] for one in made}) == 3
    for one in made:
        assert Path(one["identity"]).stat().st_mode & 0o077 == 0
        assert "AGE-SECRET-KEY" not in done.out
    again = epochs("make", "service", "--from", "2027-01-01", "--out", tmp_path / "out")
    assert again.code != 0
    assert "2027-01-01" in again.err
    assert epochs("make", "service", "--from", "soon", "--out", tmp_path / "out").code != 0


def test_private_halves_may_be_encrypted_to_a_passphrase_that_is_shown_once(tmp_path: Path) -> None:
    done = epochs("make", "service", "--from", "2026-12", "--out", tmp_path, "--encrypt")
    assert done.code == 0
    passphrase = done.out.rpartition("passphrase: ")[2].strip()
    sealed = (tmp_path / "service" / "2026-12.identity").read_bytes()
    assert b"AGE-SECRET-KEY-1" in decrypt(sealed, [PassphraseIdentity(passphrase)])


def test_what_is_wrapped_to_an_epoch_opens_with_its_key_alone(shelf: Shelf) -> None:
    record(shelf, KEPT, PLAIN)
    assert opens(shelf, KEPT, identity(shelf))
    assert not opens(shelf, KEPT, shelf.identity)
    assert opens(shelf, PLAIN, shelf.identity)
    listed = json.loads(epochs("list", "-c", shelf.config, "--json").out)
    assert listed["epochs"] == [{"key_group": "main", "epoch": EPOCH, "state": "past", "recordings": 1}]
    shown = epochs("list", "-c", shelf.config)
    assert "main: no key for now: its purposes are not recorded" in shown.out


def test_an_epoch_ends_when_its_last_recording_is_gone_and_the_chain_proves_it(shelf: Shelf) -> None:
    record(shelf, DUE)
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    shown = json.loads(recproxy("recordings", "show", DUE.id, "-c", shelf.config, "--json").out)
    assert (shown["state"], shown["key_group"]) == ("shredded", "main"), "backups have it for seven days"
    assert shown["key_id"].startswith(f"{EPOCH}:")
    done = retire(shelf, "--identities", officer(shelf))
    assert done.code == 0, done.err
    assert not identity(shelf).exists()
    (line,) = told(shelf, "key.destroyed")
    assert (line["key_id"], line["key_found"], line["outcome"]) == (f"main {EPOCH}", True, "destroyed")
    assert str(line["recipient"]).startswith("age1")
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0
    shown = json.loads(recproxy("recordings", "show", DUE.id, "-c", shelf.config, "--json").out)
    assert shown["state"] == "shred_complete", "no backup of the header opens anything any more"
    assert json.loads(epochs("list", "-c", shelf.config, "--json").out)["epochs"] == []


def test_an_epoch_does_not_end_while_a_recording_needs_it_and_says_which(shelf: Shelf) -> None:
    record(shelf, KEPT, DUE)
    recproxy("retention", "--once", "-c", shelf.config)
    done = retire(shelf, "--identities", officer(shelf))
    assert done.code == 1
    assert KEPT.id in done.err
    assert DUE.id not in done.err
    assert "recordings rewrap" in done.err
    assert identity(shelf).exists()
    assert told(shelf, "key.retired") == []


def test_an_epoch_that_is_not_over_does_not_end(shelf: Shelf) -> None:
    today = f"{NOW:%Y-%m-%d}"
    record(shelf, PLAIN)
    done = epochs("retire", "main", today, "-c", shelf.config, "--destroyed")
    assert done.code == 1
    assert "is not over" in done.err


def test_a_recording_that_is_kept_longer_is_rewrapped_and_then_the_epoch_ends(shelf: Shelf) -> None:
    record(shelf, KEPT)
    done = recproxy("recordings", "rewrap", KEPT.id, "-c", shelf.config, "-i", shelf.identity)
    assert done.code != 0
    done = recproxy("recordings", "rewrap", KEPT.id, "-c", shelf.config, "-i", identity(shelf))
    assert done.code == 0, done.err
    assert "no longer needs" in done.out
    assert (
        "nothing to do"
        in recproxy("recordings", "rewrap", KEPT.id, "-c", shelf.config, "-i", identity(shelf)).out
    )
    assert retire(shelf, "--identities", officer(shelf)).code == 0
    assert opens(shelf, KEPT, shelf.identity)
    (line,) = told(shelf, "key.rewrapped")
    assert (line["rec"], line["epoch"]) == (KEPT.id, EPOCH)


def test_the_private_half_is_destroyed_where_it_is_with_a_permit_of_the_recorder(
    shelf: Shelf, tmp_path: Path
) -> None:
    record(shelf, PLAIN)
    permit = tmp_path / "permit"
    assert retire(shelf, "--permit", permit).code == 0
    assert told(shelf, "key.destroyed") == []
    assert json.loads(epochs("list", "-c", shelf.config, "--json").out)["epochs"] == [
        {"key_group": "main", "epoch": EPOCH, "state": "retired", "recordings": 0}
    ]
    destroy = ("destroy", permit, "--from", officer(shelf), "--public-key", shelf.root / "audit.pub")
    forged = permit.read_text()
    permit.write_text(forged.replace(EPOCH, f"{NOW:%Y-%m-%d}"))
    assert "no permit signed" in epochs(*destroy).err
    permit.write_text(forged)
    other = officer(shelf) / "main" / f"{EPOCH}.recipient"
    before = other.read_text()
    other.write_text((shelf.root / "recipients.txt").read_text())
    assert "another than that of the permit" in epochs(*destroy).err
    other.write_text(before)
    assert identity(shelf).exists()
    assert epochs(*destroy).code == 0
    assert not identity(shelf).exists()
    assert retire(shelf, "--destroyed").code == 0
    assert len(told(shelf, "key.destroyed")) == 1


@pytest.mark.parametrize("options", [(), ("--destroyed", "--permit", "x")])
def test_one_way_to_end_an_epoch_at_a_time(shelf: Shelf, options: tuple[str, ...]) -> None:
    assert retire(shelf, *options).code == 2


def test_keys_that_run_out_are_told_once_a_day(shelf: Shelf) -> None:
    record(shelf, PLAIN)
    done = recproxy("retention", "--once", "-c", shelf.config)
    (line,) = [one for one in map(json.loads, done.out.splitlines()) if one["event"] == "keys.epoch_short"]
    assert (line["key_group"], line["days"], line["level"]) == ("main", 0, "error")
    files = OsFiles(shelf.root / "epochs")
    for day in range(8):
        make_pair(files, "main", f"{NOW + timedelta(days=day):%Y-%m-%d}")
    assert "epoch_short" not in recproxy("retention", "--once", "-c", shelf.config).out


def test_the_watch_says_it_once_a_day() -> None:
    written = io.StringIO()
    log = EventLog(written, LogConfig(), lambda: NOW, strict=True)
    policy = parsed(whole(key_groups__main={"epoch": "month"}))
    watch = EpochWatch(None, log, lambda: policy)
    for hours in (0, 1, 24):
        watch.run(NOW.replace(hour=12) + timedelta(hours=hours))
    assert written.getvalue().count("keys.epoch_short") == 2


def test_the_catalogue_keeps_the_group_of_what_is_wrapped_to_the_long_lived_key(shelf: Shelf) -> None:
    record(shelf, PLAIN)
    catalogue = Catalogue.open(OsFiles(shelf.data), sqlite_url(str(shelf.data / "catalogue.sqlite")))
    assert catalogue.wraps.in_use() == ()
    catalogue.close()
