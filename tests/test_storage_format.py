"""The worked example of FORMAT.md is what the code writes and what the age program reads."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

import storage
from storage.age import (
    PayloadEncryptor,
    X25519Identity,
    decrypt,
    open_header,
    parse_identity,
    payload_key,
    seal_header,
)
from storage.container import AudioFormat, Encoding, StreamInfo, decode_header, encode_header

TEXT: Final = (Path(storage.__file__).parent / "FORMAT.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
RECORDING_ID: Final = "00112233445566778899aabbccddeeff"


def value(name: str) -> str:
    """Give the first word of a row of the example's table."""
    (found,) = re.findall(rf"^\| {name} \| `([^`]+)`", TEXT, re.MULTILINE)
    return str(found)


def dumped(block: str) -> bytes:
    """Read a hexadecimal dump and check its offsets."""
    data = bytearray()
    for line in block.splitlines():
        offset, _, digits = line.partition("  ")
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(digits)
    return bytes(data)


HEADER, PLAINTEXT, BODY = (
    block.encode("ascii") if kind == "text" else dumped(block) for kind, block in BLOCKS
)


def test_example_opens() -> None:
    identity = parse_identity(value("identity"))
    assert isinstance(identity, X25519Identity)
    assert str(identity.recipient) == value("recipient")
    assert open_header(HEADER, [identity]).hex() == value("file key")
    assert decrypt(HEADER + BODY, [identity]) == PLAINTEXT


def test_example_is_what_the_code_writes() -> None:
    file_key, nonce = bytes.fromhex(value("file key")), bytes.fromhex(value("nonce"))
    recipient = X25519Identity(b"\x42" * 32).recipient
    assert seal_header(file_key, [recipient], lambda length: b"\x2a" * length) == HEADER
    assert payload_key(file_key, nonce).hex() == value("payload key")
    encryptor = PayloadEncryptor(file_key, nonce)
    assert encryptor.feed(PLAINTEXT) + encryptor.finish() == BODY
    info = StreamInfo(RECORDING_ID, {"purpose": "quality"})
    header = encode_header(AudioFormat(Encoding.ULAW, 8000), info)
    assert header + bytes.fromhex("ffff 7efe 0080 d555") == PLAINTEXT
    assert decode_header(PLAINTEXT).data_offset == len(header)
    assert f"from offset {len(header)} four frames" in TEXT


@pytest.mark.interop
def test_age_opens_the_example(tmp_path: Path) -> None:
    key_file = tmp_path / "key.txt"
    key_file.write_text(value("identity"), encoding="ascii")
    done = subprocess.run(
        ["age", "-d", "-i", str(key_file)], input=HEADER + BODY, capture_output=True, check=True
    )
    assert done.stdout == PLAINTEXT


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+Error)`", TEXT))))
def test_each_class_that_is_named_exists(name: str) -> None:
    assert hasattr(storage.age, name) or hasattr(storage.container, name)


def test_what_is_named_exists() -> None:
    root = Path(__file__).parent.parent
    for path in re.findall(r"`(tests/[\w./]+)`", TEXT):
        assert (root / path).exists(), path
