"""The real file system: modes, links, locks, and what is written is there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.durable import destroy, parent, replace
from storage.errors import (
    DiskFull,
    FileFault,
    FileMissing,
    FilePresent,
    StorageError,
    StoreLocked,
    UnsafeDirectory,
)
from storage.files import OsFiles


@pytest.fixture
def files(tmp_path: Path) -> OsFiles:
    made = OsFiles(tmp_path / "data")
    made.prepare()
    return made


def put(files: OsFiles, path: str, data: bytes) -> None:
    handle = files.create(path)
    handle.write(data)
    handle.sync()
    handle.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_files_are_private_whatever_the_umask(files: OsFiles, mask: int) -> None:
    if mask == 0o777 and os.geteuid() != 0:
        pytest.skip("without rights of its own a directory cannot be entered")
    before = os.umask(mask & 0o077)
    try:
        files.make_directory("a/b")
        put(files, "a/b/c", b"x")
        with files.lock("lock"):
            pass
    finally:
        os.umask(before)
    assert mode(files.root) == 0o700
    assert mode(files.root / "a") == mode(files.root / "a/b") == 0o700
    assert mode(files.root / "a/b/c") == mode(files.root / "lock") == 0o600


def test_a_file_is_never_overwritten_by_creating_it(files: OsFiles) -> None:
    put(files, "a", b"first")
    with pytest.raises(FilePresent):
        files.create("a")
    assert files.read("a") == b"first"


def test_a_symbolic_link_is_never_followed(files: OsFiles, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (files.root / "link").symlink_to(target)
    for step in (
        lambda: files.read("link"),
        lambda: files.reopen("link", 0),
        lambda: files.overwrite("link"),
        lambda: files.patch("link", 0, b"x"),
        lambda: files.create("link"),
        lambda: files.size("link"),
    ):
        with pytest.raises((FileFault, UnsafeDirectory)):
            step()
    assert target.read_bytes() == b"precious"


def test_a_dangling_link_is_not_written_through(files: OsFiles, tmp_path: Path) -> None:
    (files.root / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileFault):
        files.create("link")
    assert not (tmp_path / "nowhere").exists()


def test_reopening_cuts_and_appends(files: OsFiles) -> None:
    put(files, "a", b"0123456789")
    handle = files.reopen("a", 4)
    handle.write(b"xy")
    handle.close()
    handle.close()
    assert files.read("a") == b"0123xy"
    assert files.read("a", 2, 3) == b"23x"
    assert files.size("a") == 6


def test_patching_keeps_the_rest(files: OsFiles) -> None:
    put(files, "a", b"0123456789")
    files.patch("a", 3, b"ab")
    assert files.read("a") == b"012ab56789"


def test_replacing_leaves_no_draft_and_survives_an_old_one(files: OsFiles) -> None:
    put(files, "a.new", b"left by a crash")
    replace(files, "a", b"one")
    replace(files, "a", b"two")
    assert files.read("a") == b"two"
    assert files.names(".") == ("a",)


def test_destroying_overwrites_in_place_and_may_be_repeated(files: OsFiles) -> None:
    put(files, "key", b"secret" * 100)
    with (files.root / "key").open("rb") as held:
        assert destroy(files, "key")
        held.seek(0)
        assert held.read() == bytes(600)
    assert not destroy(files, "key")


def test_missing_files_have_their_own_error(files: OsFiles) -> None:
    assert files.size("a") is None
    assert files.names("a") == ()
    for step in (
        lambda: files.read("a"),
        lambda: files.unlink("a"),
        lambda: files.rename("a", "b"),
        lambda: files.overwrite("a"),
        lambda: files.reopen("a", 0),
        lambda: files.patch("a", 0, b""),
        lambda: files.sync_directory("a"),
    ):
        with pytest.raises(FileMissing) as caught:
            step()
        assert caught.value.permanent


def test_a_full_disk_has_its_own_error(files: OsFiles) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    full = OsFiles(Path("/dev"))
    handle = full.reopen("full", 0)
    with pytest.raises(DiskFull) as caught:
        handle.write(b"x")
    handle.close()
    assert caught.value.code == errno.ENOSPC
    assert not caught.value.permanent
    assert str(caught.value) == "write full: No space left on device"


def test_a_lock_is_exclusive_and_ends_with_its_context(files: OsFiles) -> None:
    other = OsFiles(files.root)
    with files.lock("lock"), pytest.raises(StoreLocked, match="held by another process"):
        other.lock("lock", wait=False).__enter__()
    with other.lock("lock", wait=False):
        pass


@pytest.mark.parametrize("wide", [0o755, 0o750, 0o701])
def test_a_directory_open_to_others_is_refused_with_the_mend(tmp_path: Path, wide: int) -> None:
    root = tmp_path / "data"
    root.mkdir()
    root.chmod(wide)
    with pytest.raises(UnsafeDirectory, match=f"mode {wide:04o}.*chmod 700"):
        OsFiles(root).prepare()


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageError, match="data"):
        OsFiles(tmp_path / "data").prepare()


def test_free_space_is_known(files: OsFiles) -> None:
    assert files.free_bytes() > 0


def test_the_directory_of_a_path() -> None:
    assert parent("a/b/c") == "a/b"
    assert parent("a") == "."


@given(st.lists(st.binary(max_size=3000), max_size=6), st.integers(0, 9000), st.integers(0, 9000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_what_is_written_is_read(files: OsFiles, pieces: list[bytes], offset: int, size: int) -> None:
    handle = files.create("data")
    for piece in pieces:
        handle.write(piece)
    handle.close()
    whole = b"".join(pieces)
    assert files.read("data") == whole
    assert files.read("data", offset, size) == whole[offset : offset + size]
    files.unlink("data")
