"""Key files: made once, private, checked when read, gone when destroyed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from storage_machine import tags

from storage import (
    FileMissing,
    FilePresent,
    KeyFileError,
    KeyStore,
    KeyUnavailable,
    OsFiles,
    RecordingId,
    generate_identity,
    generate_signing_key,
    load_identities,
    load_recipients,
    load_signing_key,
    load_verify_key,
)
from storage.age import decrypt, encrypt

RECORDING = tags(1).recording
PURPOSES = ("training", "agreements")


@pytest.fixture
def files(tmp_path: Path) -> OsFiles:
    made = OsFiles(tmp_path / "data")
    made.prepare()
    return made


def test_a_header_is_kept_until_it_is_destroyed(files: OsFiles) -> None:
    keys = KeyStore(files)
    assert not keys.destroy(RECORDING, PURPOSES)
    assert not keys.put({RECORDING: {"training": b"header", "agreements": b"second"}})
    assert keys.get(RECORDING, "training") == b"header"
    assert set(keys.headers()) == {(RECORDING, "training"), (RECORDING, "agreements")}
    assert keys.destroy(RECORDING, ("agreements",))
    assert not keys.exists(RECORDING, ("agreements",))
    assert keys.headers() == ((RECORDING, "training"),)
    other = RecordingId("0" * 32)
    faults = keys.put({RECORDING: {"training": b"other"}, other: {"training": b"another"}})
    assert isinstance(faults.pop(RECORDING), FilePresent)
    assert not faults
    assert keys.get(RECORDING, "training") == b"header"
    assert keys.get(other, "training") == b"another"
    assert keys.destroy(other, PURPOSES)
    held = (files.root / "keys" / f"{RECORDING}.training").open("rb")
    assert keys.destroy(RECORDING, PURPOSES)
    with held:
        assert held.read() == bytes(6)
    assert not keys.exists(RECORDING, PURPOSES)
    assert not keys.destroy(RECORDING, PURPOSES)
    with pytest.raises(KeyUnavailable, match=RECORDING.text):
        keys.get(RECORDING, "training")


def test_an_identity_opens_what_its_recipient_seals(files: OsFiles) -> None:
    made = generate_identity(files, "office")
    assert (made.private, made.public) == ("office.identity", "office.recipient")
    assert made.shown.startswith("age1")
    for name in (made.private, made.public):
        assert (files.root / name).stat().st_mode & 0o777 == 0o600
    recipients = load_recipients(files, made.public)
    assert decrypt(encrypt(b"text", recipients), load_identities(files, made.private)) == b"text"
    with pytest.raises(FilePresent):
        generate_identity(files, "office")


def test_a_signing_key_signs_what_its_public_key_verifies(files: OsFiles) -> None:
    made = generate_signing_key(files, "audit")
    assert (files.root / made.private).stat().st_mode & 0o777 == 0o600
    signature = load_signing_key(files, made.private).sign(b"line")
    load_verify_key(files, made.public).verify(signature, b"line")
    with pytest.raises(FilePresent):
        generate_signing_key(files, "audit")


def test_a_private_key_among_the_recipients_is_named_and_not_shown(files: OsFiles) -> None:
    made = generate_identity(files, "office")
    with pytest.raises(KeyFileError, match=r"office\.identity, line 2: this is a secret key") as caught:
        load_recipients(files, made.private)
    assert "AGE-SECRET-KEY-1" not in str(caught.value)


def test_a_recipient_among_the_identities_is_named(files: OsFiles) -> None:
    made = generate_identity(files, "office")
    with pytest.raises(KeyFileError, match=r"office\.recipient, line 1"):
        load_identities(files, made.public)


def test_a_binary_recipients_file_is_refused(files: OsFiles) -> None:
    (files.root / "recipients").write_bytes(b"\xff\xfe")
    with pytest.raises(KeyFileError, match="is not text"):
        load_recipients(files, "recipients")
    with pytest.raises(FileMissing):
        load_recipients(files, "nowhere")


def test_files_that_are_no_signing_keys_are_refused_with_the_mend(files: OsFiles) -> None:
    other = X25519PrivateKey.generate()
    locked = Ed25519PrivateKey.generate()
    texts = {
        "empty": b"",
        "garbage": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "other": other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "locked": locked.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
    }
    for name, text in texts.items():
        (files.root / name).write_bytes(text)
        with pytest.raises(KeyFileError, match=f"^{name}: .*(keys generate|Ed25519)"):
            load_signing_key(files, name)
        with pytest.raises(KeyFileError, match=f"^{name}: "):
            load_verify_key(files, name)
