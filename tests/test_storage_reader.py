"""Reading: what is sound opens; everything else is refused, with the reason."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_machine import AUDIO, CHUNK, IDENTITY, NOW, PARTIES, Machine, audio, seal_facts, tags

from storage import (
    KeyDestroyed,
    KeyUnavailable,
    Reader,
    RecordingDamaged,
    RecordingId,
    RecordingNotFound,
    StorageError,
    TruncatedRecording,
    VerifyFault,
)
from storage.age import X25519Identity
from storage.container import decode_header

FRAMES = 100_000  # 200,000 bytes: three whole chunks and a rest
SEALED_CHUNK = CHUNK + 16
RECORDING = tags(1).recording


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    store = made.start()
    made.open(store, 1)
    made.write(1, FRAMES)
    made.seal(1)
    store.sync()
    yield made
    made.catalogue.close()


@pytest.fixture
def reader(machine: Machine) -> Reader:
    return Reader(machine.files, machine.catalogue)


def body(machine: Machine) -> tuple[str, bytes]:
    path = machine.catalogue.get(RECORDING).body + ".age"
    return path, machine.disk.read(path)


def fault(reader: Reader) -> VerifyFault | None:
    verdict = reader.verify(RECORDING, [IDENTITY])
    assert verdict.reason
    return verdict.fault


def test_a_sound_recording_opens_bit_for_bit(reader: Reader) -> None:
    opened = reader.open(RECORDING, [IDENTITY])
    assert opened.header.audio == AUDIO
    assert opened.header.info.recording_id == RECORDING.text
    assert opened.header.info.facts["purpose"] == "training"
    pieces = list(opened.frames)
    assert all(len(piece) % AUDIO.frame_bytes == 0 for piece in pieces)
    assert b"".join(pieces) == audio(1, FRAMES)
    assert reader.parties(RECORDING, [IDENTITY]) == PARTIES
    verdict = reader.verify(RECORDING, [IDENTITY])
    assert verdict.sound
    assert verdict.decrypted
    assert f"{FRAMES} frames" in verdict.reason


def test_without_an_identity_the_hash_is_checked(machine: Machine, reader: Reader) -> None:
    assert reader.verify(RECORDING).sound
    assert not reader.verify(RECORDING).decrypted
    path, data = body(machine)
    machine.disk.put(path, data[:-1] + bytes([data[-1] ^ 1]))
    assert reader.verify(RECORDING).fault is VerifyFault.HASH
    machine.disk.put(path, data[:-1])
    assert reader.verify(RECORDING).fault is VerifyFault.TRUNCATED


@pytest.mark.parametrize(
    "size",
    [0, 15, 16, 17, 16 + SEALED_CHUNK, 16 + 2 * SEALED_CHUNK, 16 + 2 * SEALED_CHUNK + 100, -1, -16],
)
def test_a_cut_tail_is_refused(machine: Machine, reader: Reader, size: int) -> None:
    path, data = body(machine)
    machine.disk.put(path, data[:size])
    assert fault(reader) is VerifyFault.TRUNCATED
    with pytest.raises(TruncatedRecording):
        list(reader.wav(RECORDING, [IDENTITY]))


@pytest.mark.parametrize("place", [0, 15, 16, 5000, 16 + SEALED_CHUNK, -1])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_is_refused(machine: Machine, reader: Reader, place: int, bit: int) -> None:
    path, data = body(machine)
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    machine.disk.put(path, bytes(changed))
    assert fault(reader) is VerifyFault.ALTERED
    with pytest.raises(RecordingDamaged):
        list(reader.wav(RECORDING, [IDENTITY]))


def test_swapped_chunks_are_refused(machine: Machine, reader: Reader) -> None:
    path, data = body(machine)
    one = data[16 : 16 + SEALED_CHUNK]
    two = data[16 + SEALED_CHUNK : 16 + 2 * SEALED_CHUNK]
    machine.disk.put(path, data[:16] + two + one + data[16 + 2 * SEALED_CHUNK :])
    assert fault(reader) is VerifyFault.ALTERED
    assert "chunk 0" in reader.verify(RECORDING, [IDENTITY]).reason


@pytest.mark.parametrize("more", [b"x", bytes(16), bytes(SEALED_CHUNK)])
def test_added_bytes_are_refused(machine: Machine, reader: Reader, more: bytes) -> None:
    path, data = body(machine)
    machine.disk.put(path, data + more)
    assert fault(reader) in {VerifyFault.ALTERED, VerifyFault.TRAILING}
    assert reader.verify(RECORDING).fault is VerifyFault.TRAILING


def test_a_body_alone_is_refused(machine: Machine, reader: Reader) -> None:
    machine.disk.unlink(f"keys/{RECORDING}.training")
    assert fault(reader) is VerifyFault.KEY_MISSING
    with pytest.raises(KeyUnavailable, match="not in the key store"):
        list(reader.wav(RECORDING, [IDENTITY]))


def test_a_missing_body_is_refused(machine: Machine, reader: Reader) -> None:
    machine.disk.unlink(body(machine)[0])
    assert fault(reader) is VerifyFault.BODY_MISSING
    assert reader.verify(RECORDING).fault is VerifyFault.BODY_MISSING


def test_an_altered_header_is_refused(machine: Machine, reader: Reader) -> None:
    header = machine.disk.read(f"keys/{RECORDING}.training")
    machine.disk.put(f"keys/{RECORDING}.training", header[:-2] + b"A\n")
    assert fault(reader) is VerifyFault.KEY_DAMAGED


def test_a_stranger_cannot_open_it(reader: Reader) -> None:
    stranger = X25519Identity.generate()
    assert reader.verify(RECORDING, [stranger]).fault is VerifyFault.NO_IDENTITY
    with pytest.raises(KeyUnavailable):
        reader.parties(RECORDING, [stranger])


def test_a_whole_recording_put_in_the_place_of_another_is_refused() -> None:
    machine = Machine()
    store = machine.start()
    for number in (1, 2):
        machine.open(store, number)
        machine.write(number, 1000)
        machine.seal(number)
    one, two = (machine.catalogue.get(tags(number).recording) for number in (1, 2))
    machine.disk.put(f"{one.body}.age", machine.disk.read(f"{two.body}.age"))
    other = machine.disk.read(f"keys/{two.tags.recording}.training")
    machine.disk.put(f"keys/{one.tags.recording}.training", other)
    reader = Reader(machine.files, machine.catalogue)
    verdict = reader.verify(one.tags.recording, [IDENTITY])
    assert verdict.fault is VerifyFault.CONTENT
    assert two.tags.recording.text in verdict.reason


def test_a_shredded_recording_says_so(machine: Machine, reader: Reader) -> None:
    path, data = body(machine)
    machine.shred(1)
    machine.disk.put(path, data)  # a backup of the body comes back
    assert fault(reader) is VerifyFault.KEY_DESTROYED
    with pytest.raises(KeyDestroyed, match="shredded on 2026-11-24"):
        list(reader.wav(RECORDING, [IDENTITY]))
    with pytest.raises(KeyDestroyed):
        reader.parties(RECORDING, [IDENTITY])


def test_an_unknown_recording_is_not_found(reader: Reader) -> None:
    with pytest.raises(RecordingNotFound):
        reader.verify(RecordingId("0" * 32))


def test_what_is_sound_of_an_aborted_recording_can_be_salvaged() -> None:
    machine = Machine()
    store = machine.start()
    machine.open(store, 1)
    machine.write(1, FRAMES)
    machine.sync(store)
    machine.abort(1)
    reader = Reader(machine.files, machine.catalogue)
    assert reader.verify(RECORDING, [IDENTITY]).fault is VerifyFault.NOT_SEALED
    with pytest.raises(TruncatedRecording, match="aborted"):
        list(reader.wav(RECORDING, [IDENTITY]))
    wav = b"".join(reader.salvage(RECORDING, [IDENTITY]))
    assert len(wav) == 3 * CHUNK
    samples = wav[decode_header(wav[:CHUNK]).data_offset :]
    assert audio(1, FRAMES).startswith(samples)


def test_an_empty_recording_is_a_recording() -> None:
    machine = Machine()
    store = machine.start()
    machine.open(store, 1)
    machine.seal(1)
    reader = Reader(machine.files, machine.catalogue)
    assert reader.verify(RECORDING, [IDENTITY]).sound
    assert list(reader.open(RECORDING, [IDENTITY]).frames) == []


def test_nothing_of_the_recorder_opens_a_sealed_recording(machine: Machine) -> None:
    """Every file of the data directory together holds no key to the body."""
    disk = machine.disk.contents()
    assert not [path for path in disk if path.endswith(".key")]
    everything = b"".join(disk.values())
    assert IDENTITY.secret_text().encode() not in everything
    with pytest.raises(StorageError):
        list(Reader(machine.files, machine.catalogue).wav(RECORDING, []))


@pytest.mark.interop
@pytest.mark.parametrize("frames", [0, 1, 32_000, FRAMES])
def test_age_opens_header_and_body(tmp_path: Path, frames: int) -> None:
    machine = Machine()
    store = machine.start()
    machine.open(store, 1)
    machine.write(1, frames)
    writer = machine.writers.pop(1)
    writer.seal(seal_facts())
    row = machine.catalogue.get(RECORDING)
    key = tmp_path / "key.txt"
    key.write_text(IDENTITY.secret_text() + "\n")
    header = machine.disk.read(f"keys/{RECORDING}.training")
    opened = subprocess.run(
        ["age", "-d", "-i", str(key)],
        input=header + machine.disk.read(f"{row.body}.age"),
        capture_output=True,
        check=True,
    ).stdout
    assert opened[decode_header(opened[:CHUNK]).data_offset :] == audio(1, frames)
    parties = subprocess.run(
        ["age", "-d", "-i", str(key)], input=header + row.parties, capture_output=True, check=True
    ).stdout
    assert PARTIES.caller.encode() in parties
    assert row.tags.started == NOW
