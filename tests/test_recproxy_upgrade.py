"""docs/upgrade.md on data directories that earlier versions left, and what it says of the way back.

The vectors were made by the versions themselves, as they are in the history: schema 1 by the first one
that recorded, schema 4 by the last one before several nodes shared a catalogue. In each: a recording
that is kept, one that is due, and the tombstone of a third.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from command_line import recproxy
from recorded import Shelf, Take, make_shelf, record

from storage import AuditLog, Catalogue, OsFiles, RecordingStore, load_recipients, load_signing_key, recover
from storage.catalogue import sqlite_url
from storage.catalogue.schema import SCHEMA_VERSION

MANUAL = Path(__file__).resolve().parents[1] / "docs" / "upgrade.md"
VECTORS = Path(__file__).parent / "vectors" / "upgrade"
KEPT, DUE, GONE = (Take(number, seconds=0.4) for number in (1, 2, 3))
VERIFICATION_FAILED = 20
pytestmark = pytest.mark.skipif(not MANUAL.exists(), reason="runs where the manual is")


@pytest.fixture(params=["schema-1", "schema-4"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    """What an earlier version left, with the configuration of this one."""
    shelf = make_shelf(tmp_path / "rig")
    with tarfile.open(VECTORS / f"{request.param}.tar.gz") as vector:
        kept = [member for member in vector.getmembers() if not member.name.endswith(".yaml")]
        vector.extractall(shelf.root, kept, filter="data")
    shelf.data.chmod(0o700)
    return shelf


def ask(shelf: Shelf, *words: str, code: int = 0) -> str:
    """Run a command with the configuration of a shelf; what it says."""
    done = recproxy(*words, "--config", shelf.config)
    assert done.code == code, done.out + done.err
    return done.out + done.err


def back_up(shelf: Shelf, to: Path) -> None:
    """Step 2: ``sqlite3 catalogue.sqlite ".backup …"``."""
    with (
        closing(sqlite3.connect(shelf.data / "catalogue.sqlite")) as source,
        closing(sqlite3.connect(to)) as copy,
    ):
        source.backup(copy)


def start(shelf: Shelf) -> None:
    """Step 4: what the recorder does at its start."""
    files, here = OsFiles(shelf.data), OsFiles(shelf.root)
    catalogue = Catalogue.open(files, sqlite_url(str(shelf.data / "catalogue.sqlite")))
    audit = AuditLog(files, load_signing_key(here, "audit.key"), "rig", lambda: KEPT.started)
    store = RecordingStore(files, catalogue, audit, load_recipients(here, "recipients.txt"))
    recover(store, KEPT.started)
    store.close()
    catalogue.close()


def tables(shelf: Shelf) -> list[tuple[str, str]]:
    """Every table and index, as it was made, and what the version is."""
    with closing(sqlite3.connect(shelf.data / "catalogue.sqlite")) as connection:
        made = connection.execute("select name, sql from sqlite_master order by name").fetchall()
        return [*made, ("version", str(connection.execute("select version from schema_version").fetchall()))]


def written_commands() -> list[list[str]]:
    """The commands of recproxy in the section on upgrades, as they stand there."""
    section = MANUAL.read_text().split("\n## Upgrade\n")[1].split("\n## ")[0]
    lines = re.findall(r"^ +\$ sudo -u recproxy recproxy (.+)$", section, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_steps_of_the_manual_bring_an_old_data_directory_over(old: Shelf, tmp_path: Path) -> None:
    back_up(old, tmp_path / "catalogue.sqlite")
    commands = written_commands()
    assert len(commands) == 2, "those of step 3"
    for written in commands:
        words = [str(old.config) if word == "/etc/recproxy/recproxy.yaml" else word for word in written]
        done = recproxy(*words, *(() if "--config" in words else ("--config", old.config)))
        wrong = [line for line in done.out.splitlines() if line.startswith("✗") and "data directory" in line]
        assert not wrong, done.out
        assert "E0" not in done.out

    start(old)
    shown = ask(old, "recordings", "list", "--json")
    assert KEPT.id in shown
    assert DUE.id in shown
    assert [path.name for path in sorted((old.data / "keys").iterdir())] == [
        f"{KEPT.id}.training",
        f"{DUE.id}.training",
    ]
    ask(old, "audit", "verify")
    ask(old, "recordings", "verify", "--all", "--identity", str(old.identity))

    ask(old, "retention", "--once")
    assert not old.key(DUE.id).exists()
    for gone in (DUE, GONE):
        assert "cannot be opened any more" in ask(old, "recordings", "show", gone.id)
    assert "training" in ask(old, "recordings", "show", KEPT.id)
    ask(old, "audit", "verify")
    record(old, Take(9))
    ask(old, "recordings", "verify", "--all", "--identity", str(old.identity))


def test_an_upgrade_that_breaks_off_leaves_all_as_it_was(old: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables(old)

    def torn(connection: sa.Connection) -> None:
        assert tables_changed(connection)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("storage.catalogue.register.METADATA.create_all", torn)
        with pytest.raises(KeyboardInterrupt):
            start(old)
    assert tables(old) == before
    start(old)
    ask(old, "audit", "verify")


def tables_changed(connection: sa.Connection) -> bool:
    """Whether the transaction has done something by then that must not stay."""
    return bool(connection.execute(sa.text("select count(*) from pragma_table_info('recordings')")).scalar())


def test_a_newer_catalogue_is_refused_with_both_numbers(old: Shelf) -> None:
    start(old)
    with closing(sqlite3.connect(old.data / "catalogue.sqlite")) as connection:
        connection.execute("update schema_version set version = ?", (SCHEMA_VERSION + 1,))
        connection.commit()
    before = tables(old)
    said = f"the catalogue has schema {SCHEMA_VERSION + 1}, this version knows {SCHEMA_VERSION}"
    for words in (("recordings", "list"), ("retention", "--once"), ("audit", "verify")):
        done = recproxy(*words, "--config", old.config)
        assert done.code not in {0, VERIFICATION_FAILED}
        assert said in done.err
        assert "Traceback" not in done.err
    assert "the catalogue has schema …, this version knows …" in MANUAL.read_text()
    assert tables(old) == before


def test_after_a_downgrade_what_was_recorded_since_is_named(old: Shelf, tmp_path: Path) -> None:
    """Steps 3 and 4 of the way back: the chain knows what the catalogue that was put back does not."""
    back_up(old, tmp_path / "catalogue.sqlite")
    start(old)
    since = replace(KEPT, number=9, kept=timedelta(days=36_500))
    record(old, since)
    for beside in ("-wal", "-shm"):
        (old.data / f"catalogue.sqlite{beside}").unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "catalogue.sqlite", old.data / "catalogue.sqlite")
    named = ask(old, "audit", "verify", code=VERIFICATION_FAILED)
    assert since.id in named
    assert KEPT.id not in named
