"""A backup that is put back after a shredding raises nothing, is named, and is shredded again."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from command_line import recproxy
from recorded import Shelf, Take, make_shelf, record

KEPT, DUE = Take(1, kept=timedelta(days=36_500)), Take(2, kept=timedelta(days=1))
VERIFICATION_FAILED = 20


def _shredded_with_backup(directory: Path) -> tuple[Shelf, Path, Path]:
    """A shelf whose due recording was shredded; where the backup is, and the body from the body's root."""
    shelf = make_shelf(directory / "rig")
    record(shelf, KEPT)
    record(shelf, DUE)
    backup = directory / "backup"
    shutil.copytree(shelf.data, backup, ignore=shutil.ignore_patterns("catalogue.sqlite*"))
    with (
        closing(sqlite3.connect(shelf.data / "catalogue.sqlite")) as source,
        closing(sqlite3.connect(backup / "catalogue.sqlite")) as copy,
    ):
        source.backup(copy)  # sqlite3 catalogue.sqlite ".backup …"
    body = shelf.body(DUE.id).relative_to(shelf.data)
    assert recproxy("retention", "--once", "--config", shelf.config).code == 0
    assert not (shelf.data / body).exists()
    return shelf, backup, body


def _put_back(shelf: Shelf, backup: Path, *, keys: bool) -> None:
    """What the manual says to put back: bodies and catalogue, never the key store."""
    for beside in ("-wal", "-shm"):  # as the manual says
        (shelf.data / f"catalogue.sqlite{beside}").unlink(missing_ok=True)
    shutil.copytree(backup / "recordings", shelf.data / "recordings", dirs_exist_ok=True)
    shutil.copy2(backup / "catalogue.sqlite", shelf.data / "catalogue.sqlite")
    if keys:
        shutil.copytree(backup / "keys", shelf.data / "keys", dirs_exist_ok=True)


@pytest.mark.parametrize("keys", [False, True])
def test_what_was_shredded_is_named_and_shredded_again(tmp_path: Path, keys: bool) -> None:
    shelf, backup, body = _shredded_with_backup(tmp_path)
    _put_back(shelf, backup, keys=keys)
    assert (shelf.data / body).exists(), "the backup was put back"

    checked = recproxy("audit", "verify", "--config", shelf.config)
    assert checked.code == VERIFICATION_FAILED
    assert f"{DUE.id}" in checked.out + checked.err
    assert "a backup was put back" in checked.out + checked.err

    recproxy("retention", "--once", "--config", shelf.config)
    assert not shelf.key(DUE.id).exists()
    assert not (shelf.data / body).exists()
    assert DUE.id not in recproxy("audit", "verify", "--config", shelf.config).err
    assert shelf.key(KEPT.id).exists()


def test_bodies_alone_open_nothing_that_was_shredded(tmp_path: Path) -> None:
    shelf, backup, _ = _shredded_with_backup(tmp_path)
    _put_back(shelf, backup, keys=False)
    out = tmp_path / "call.wav"
    asked = ("recordings", "export", DUE.id, "--config", shelf.config)
    done = recproxy(*asked, "-i", shelf.identity, "-o", out, "--why", "test")
    assert done.code != 0
    assert not out.exists()
