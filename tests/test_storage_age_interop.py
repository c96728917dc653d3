"""Both directions with the `age` program: what one writes the other reads, or refuses as we do."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Final

import pytest

from storage.age import (
    CHUNK_BYTES,
    SEALED_CHUNK_BYTES,
    AgeError,
    Decryptor,
    X25519Identity,
    X25519Recipient,
    decrypt,
    encrypt,
    parse_identities,
    payload_key,
    seal_chunk,
    seal_header,
    split_header,
)

pytestmark = pytest.mark.interop

SIZES: Final = [0, 1, 65535, 65536, 65537, 131072, 200_000]
IDENTITY: Final = X25519Identity(b"\x11" * 32)
OTHER: Final = X25519Identity(b"\x22" * 32)


def noise(length_bytes: int) -> bytes:
    return hashlib.shake_256(b"noise").digest(length_bytes)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.txt"
    path.write_text(f"# a key of a test\n{IDENTITY.secret_text()}\n", encoding="ascii")
    return path


def age_decrypt(data: bytes, key_file: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["age", "-d", "-i", str(key_file)], input=data, capture_output=True, check=False)


@pytest.mark.parametrize("size", SIZES)
def test_age_reads_what_we_write(size: int, key_file: Path) -> None:
    done = age_decrypt(encrypt(noise(size), [OTHER.recipient, IDENTITY.recipient]), key_file)
    assert (done.returncode, done.stdout) == (0, noise(size)), done.stderr


@pytest.mark.parametrize("size", SIZES)
def test_we_read_what_age_writes(size: int) -> None:
    argv = ["age", "-r", str(OTHER.recipient), "-r", str(IDENTITY.recipient)]
    data = subprocess.run(argv, input=noise(size), capture_output=True, check=True).stdout
    decryptor = Decryptor([IDENTITY])
    pieces = [decryptor.feed(data[start : start + 10_007]) for start in range(0, len(data), 10_007)]
    assert b"".join([*pieces, decryptor.finish()]) == noise(size)


def test_cat_of_header_and_body_is_a_file_for_age(tmp_path: Path, key_file: Path) -> None:
    file_key, nonce = b"k" * 16, b"n" * 16
    key = payload_key(file_key, nonce)
    header, body = tmp_path / "header", tmp_path / "body.age"
    header.write_bytes(seal_header(file_key, [IDENTITY.recipient]))
    body.write_bytes(
        nonce
        + seal_chunk(key, 0, noise(CHUNK_BYTES), final=False)
        + seal_chunk(key, 1, noise(CHUNK_BYTES), final=False)
        + seal_chunk(key, 2, b"the end", final=True)
    )
    with subprocess.Popen(["cat", str(header), str(body)], stdout=subprocess.PIPE) as cat:
        argv = ["age", "-d", "-i", str(key_file)]
        done = subprocess.run(argv, stdin=cat.stdout, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, noise(CHUNK_BYTES) * 2 + b"the end"), done.stderr
    assert age_decrypt(body.read_bytes(), key_file).returncode != 0


def damaged_files() -> dict[str, bytes]:
    """Give one file for each kind of damage."""
    data = encrypt(noise(3 * CHUNK_BYTES), [IDENTITY.recipient])
    start = split_header(data) + 16
    chunks = [data[start + n * SEALED_CHUNK_BYTES :][:SEALED_CHUNK_BYTES] for n in range(3)]
    flipped = bytearray(data)
    flipped[start + 70_000] ^= 1
    return {
        "cut tail": data[:-1],
        "final chunk missing": data[:-SEALED_CHUNK_BYTES],
        "flipped bit": bytes(flipped),
        "swapped chunks": data[:start] + chunks[1] + chunks[0] + chunks[2],
        "trailing byte": data + b"x",
        "cut header": data[: start - 30],
        "recipient removed": data.replace(b"\n-> X25519", b"\n-> x25519", 1),
        "body alone": data[start - 16 :],
    }


@pytest.mark.parametrize("damage", damaged_files())
def test_age_refuses_what_we_refuse(damage: str, key_file: Path) -> None:
    data = damaged_files()[damage]
    assert age_decrypt(data, key_file).returncode != 0
    with pytest.raises(AgeError):
        decrypt(data, [IDENTITY])


def test_keys_of_age_keygen_are_ours(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    subprocess.run(["age-keygen", "-o", str(path)], capture_output=True, check=True)
    public = (
        subprocess.run(["age-keygen", "-y", str(path)], capture_output=True, check=True)
        .stdout.decode()
        .strip()
    )
    (identity,) = parse_identities(path.read_text(encoding="utf-8"))
    assert isinstance(identity, X25519Identity)
    assert identity.recipient == X25519Recipient.parse(public)


def test_age_keygen_reads_our_keys(key_file: Path) -> None:
    public = subprocess.run(["age-keygen", "-y", str(key_file)], capture_output=True, check=True).stdout
    assert public.decode().strip() == str(IDENTITY.recipient)
