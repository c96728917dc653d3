"""Shredding on a real ext4, read from below: what is on the device afterwards, and what is not.

The file system lies in an image that is mounted by loop device, so it needs root; the
image itself is then read as bytes, free blocks and journal included.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import recproxy
from recorded import CALLER, Shelf, Take, make_shelf, record

from storage import OsFiles, load_identities
from storage.age import decrypt, open_header

pytestmark = pytest.mark.faults

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
DOOMED = Take(1, NOW - 40 * DAY, seconds=60, index=True)
KEPT = Take(2, NOW - DAY, seconds=60, index=True)
IMAGE_BYTES = 96 << 20


@dataclass(frozen=True, slots=True)
class Device:
    """A file system in an image.

    Attributes:
        image: The device, as a file.
        mounted: Where its root is.
    """

    image: Path
    mounted: Path

    def options(self, text: str) -> None:
        """Mount it anew with other options."""
        subprocess.run(["mount", "-o", f"remount,{text}", self.mounted], check=True)

    def raw(self) -> bytes:
        """Every byte of the device, once all that is cached was written."""
        subprocess.run(["sync", "-f", self.mounted], check=True)
        subprocess.run(["umount", self.mounted], check=True)
        content = self.image.read_bytes()
        subprocess.run(["mount", "-o", "loop", self.image, self.mounted], check=True)
        return content


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    made = Device(tmp_path / "ext4.img", tmp_path / "shelf" / "data")
    made.mounted.mkdir(mode=0o700, parents=True)
    with made.image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    # As mkfs does for more than 512 MB. With smaller blocks a full device is SIGBUS to SQLite, which maps its
    # shared memory file and has reserved one block of each page of it.
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", made.image], check=True)
    if subprocess.run(["mount", "-o", "loop", made.image, made.mounted], check=False).returncode != 0:
        pytest.skip("this system mounts no loop device")
    made.mounted.chmod(0o700)
    try:
        yield made
    finally:
        subprocess.run(["umount", made.mounted], check=True)


@pytest.fixture
def shelf(device: Device, tmp_path: Path) -> Shelf:
    """Keys and configuration elsewhere, the data directory on the device."""
    shelf = make_shelf(tmp_path / "shelf")
    assert shelf.data == device.mounted
    record(shelf, DOOMED, KEPT)
    return shelf


def pieces(content: bytes, length: int = 32) -> list[bytes]:
    """Parts of a file that nothing else holds."""
    return [
        content[at : at + length] for at in range(0, len(content) - length, max(len(content) // 40, length))
    ]


def spelled(key: bytes) -> list[bytes]:
    """A key as it might be written."""
    return [key, key.hex().encode(), base64.b64encode(key).rstrip(b"=")]


def file_key(shelf: Shelf, take: Take) -> bytes:
    identities = load_identities(OsFiles(shelf.root), shelf.identity.name)
    return open_header(shelf.key(take.id).read_bytes(), identities)


def test_after_shredding_the_device_holds_the_ciphertext_but_nothing_that_opens_it(
    device: Device, shelf: Shelf
) -> None:
    header, key, body = shelf.key(DOOMED.id).read_bytes(), file_key(shelf, DOOMED), shelf.body(DOOMED.id)
    sealed = body.read_bytes()
    share = header.splitlines()[1].split()[-1]  # of the X25519 stanza: without it nobody unwraps
    wrapped = header.splitlines()[2]
    before = device.raw()
    assert header in before, "the search finds what is there"
    assert share in before
    assert wrapped in before
    assert all(piece in before for piece in pieces(sealed))
    assert not any(key_text in before for key_text in spelled(key)), "never in clear on the device"

    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    after = device.raw()
    assert header not in after
    assert share not in after
    assert wrapped not in after
    assert not any(key_text in after for key_text in spelled(key))
    for take in (DOOMED, KEPT):
        assert not any(piece in after for piece in pieces(take.audio) if len(set(piece)) > 2), (
            "audio in clear"
        )
    assert CALLER.encode() not in after
    assert CALLER[1:].encode() not in after
    # A body is unlinked, not overwritten: free blocks hold it until they are used again. What makes
    # it unreadable is that its key is gone.
    assert any(piece in after for piece in pieces(sealed))

    assert shelf.key(KEPT.id).read_bytes() in after
    done = recproxy("recordings", "verify", KEPT.id, "-c", shelf.config, "-i", shelf.identity)
    assert done.code == 0, done.err
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0


def test_a_device_that_became_read_only_stops_retention_before_anything_is_touched(
    device: Device, shelf: Shelf
) -> None:
    header = shelf.key(DOOMED.id).read_bytes()
    subprocess.run(["sync", "-f", device.mounted], check=True)
    device.options("ro")
    done = recproxy("retention", "--once", "-c", shelf.config)
    assert done.code != 0
    assert "Traceback" not in done.err
    assert shelf.key(DOOMED.id).read_bytes() == header
    # The catalogue wants to write its journal, so commands say no; what is closed opens all the same.
    assert recproxy("recordings", "verify", KEPT.id, "-c", shelf.config).code == 10
    identities = load_identities(OsFiles(shelf.root), shelf.identity.name)
    assert KEPT.audio in decrypt(
        shelf.key(KEPT.id).read_bytes() + shelf.body(KEPT.id).read_bytes(), identities
    )
    device.options("rw")
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    assert not shelf.key(DOOMED.id).exists()
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0


def test_a_full_device_stops_retention_and_what_is_closed_stays_whole(device: Device, shelf: Shelf) -> None:
    header = shelf.key(DOOMED.id).read_bytes()
    filler = device.mounted / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    done = recproxy("retention", "--once", "-c", shelf.config)
    assert "Traceback" not in done.err
    if done.code != 0:
        assert shelf.key(DOOMED.id).read_bytes() == header
    filler.unlink()
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    assert not shelf.key(DOOMED.id).exists()
    done = recproxy("recordings", "verify", KEPT.id, "-c", shelf.config, "-i", shelf.identity)
    assert done.code == 0, done.err
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0
