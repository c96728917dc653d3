"""``recproxy keys generate``."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest
from command_line import recproxy

from storage import (
    OsFiles,
    load_identities,
    load_recipients,
    load_root_key,
    load_signing_key,
    load_verify_key,
)
from storage.age import X25519Identity


def test_it_makes_what_a_configuration_names(tmp_path: Path) -> None:
    out = tmp_path / "new" / "keys"
    done = recproxy("keys", "generate", "--out", out)
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in out.iterdir()} == {
        "identity.txt",
        "recipients.txt",
        "audit.key",
        "audit.pub",
        "index.key",
    }
    for path in out.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    files = OsFiles(out)
    (identity,) = load_identities(files, "identity.txt")
    (recipient,) = load_recipients(files, "recipients.txt")
    assert isinstance(identity, X25519Identity)
    assert str(identity.recipient) == str(recipient)
    signing, verifying = load_signing_key(files, "audit.key"), load_verify_key(files, "audit.pub")
    verifying.verify(signing.sign(b"line"), b"line")
    assert len(load_root_key(files, "index.key")) == 32


def test_an_index_key_can_be_made_later(tmp_path: Path) -> None:
    recproxy("keys", "generate", "--out", tmp_path)
    (tmp_path / "index.key").unlink()
    done = recproxy("keys", "index", "--out", tmp_path)
    assert (done.code, done.err) == (0, "")
    assert load_root_key(OsFiles(tmp_path), "index.key").hex() not in done.out
    done = recproxy("keys", "index", "--out", tmp_path)
    assert done.code == 1
    assert "index.key exists; nothing was overwritten" in done.err


def test_it_says_what_to_move_and_shows_no_secret(tmp_path: Path) -> None:
    done = recproxy("keys", "generate", "--out", tmp_path / "keys")
    assert "identity.txt: move it off this machine" in done.out
    assert "AGE-SECRET-KEY" not in done.out
    done = recproxy("keys", "generate", "--out", tmp_path / "more", "--json")
    assert "AGE-SECRET-KEY" not in done.out
    moved = {Path(one["path"]).name for one in json.loads(done.out) if one["move"]}
    assert moved == {"identity.txt", "audit.pub"}


@pytest.mark.parametrize("present", ["identity.txt", "recipients.txt", "audit.key", "audit.pub", "index.key"])
def test_it_overwrites_nothing(tmp_path: Path, present: str) -> None:
    (tmp_path / present).write_text("mine")
    done = recproxy("keys", "generate", "--out", tmp_path)
    assert done.code == 1
    assert present in done.err
    assert [path.name for path in tmp_path.iterdir()] == [present]
    assert (tmp_path / present).read_text() == "mine"


def test_recipients_made_elsewhere_need_no_identity_here(tmp_path: Path) -> None:
    recipients = [str(X25519Identity.generate().recipient) for _ in range(2)]
    done = recproxy(
        "keys", "generate", "--out", tmp_path, "--recipient", recipients[0], "--recipient", recipients[1]
    )
    assert done.code == 0, done.err
    assert {path.name for path in tmp_path.iterdir()} == {
        "recipients.txt",
        "audit.key",
        "audit.pub",
        "index.key",
    }
    assert [str(one) for one in load_recipients(OsFiles(tmp_path), "recipients.txt")] == recipients


@pytest.mark.parametrize("wrong", ["age1nothing", "", "ssh-ed25519 AAAA"])
def test_a_recipient_that_is_none_makes_nothing(tmp_path: Path, wrong: str) -> None:
    done = recproxy("keys", "generate", "--out", tmp_path / "keys", "--recipient", wrong)
    assert done.code == 2
    assert not (tmp_path / "keys").exists()


def test_a_private_key_as_recipient_is_refused_and_not_shown(tmp_path: Path) -> None:
    secret = X25519Identity.generate().secret_text()
    done = recproxy("keys", "generate", "--out", tmp_path / "keys", "--recipient", secret)
    assert done.code == 2
    assert secret not in done.err
    assert not (tmp_path / "keys").exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    done = recproxy("keys", "generate", "--out", tmp_path / "keys")
    assert done.code == 2
    assert "is not a directory" in done.err


@pytest.mark.interop
def test_age_keygen_reads_the_identity(tmp_path: Path) -> None:
    recproxy("keys", "generate", "--out", tmp_path)
    done = subprocess.run(
        ["age-keygen", "-y", str(tmp_path / "identity.txt")], capture_output=True, text=True, check=True
    )
    assert done.stdout == (tmp_path / "recipients.txt").read_text()
