"""kill -9 on a real process, on a real disk: every recording opens, nothing that was synced is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from storage_machine import AUDIO, CHUNK, IDENTITY, NOW, SEGMENT_BYTES, SIGNING_KEY, audio, tags

from storage import (
    CATALOGUE_NAME,
    AuditLog,
    Catalogue,
    OsFiles,
    Outcome,
    Reader,
    RecordingStore,
    State,
    recover,
    sqlite_url,
    verify_chain,
)
from storage.container import decode_header

CALLS = 4
FRAMES_AT_ONCE = 1_500

RECORDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from storage_machine import *
from storage import *
files = OsFiles(Path(sys.argv[1]))
catalogue = Catalogue.open(files, sqlite_url(str(files.root / CATALOGUE_NAME)))
log = AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW)
store = RecordingStore(files, catalogue, log, [IDENTITY.recipient], segment_bytes=SEGMENT_BYTES)
recover(store, NOW)
live, number = {}, int(sys.argv[3])
while True:
    if len(live) < 4:
        live[number] = store.open(tags(number), PARTIES, AUDIO, NOW)
        number += 1
    for name, writer in live.items():
        writer.write(audio(name, writer.frames + 1500)[writer.frames * 2 :])
    assert store.sync() == ()
    print("durable", *(f"{name}:{writer.frames}" for name, writer in live.items()), flush=True)
    name = min(live)
    if live[name].frames >= 60_000:
        live.pop(name).seal(seal_facts())
        print("sealed", f"{name}:60000", flush=True)
"""


def life(root: Path, first: int, lines: int, delay: int) -> dict[int, int]:
    """Run a recorder, kill it after it printed so many lines; what it had promised by then."""
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(root), str(Path(__file__).parent), str(first)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    promised: dict[int, int] = {}
    with process:
        for _ in range(lines):
            line = process.stdout.readline()
            assert line, "the recorder ended by itself"
            promised.update({int(n): int(f) for n, f in (part.split(":") for part in line.split()[1:])})
        for _ in range(delay):  # a little later, somewhere in the next round
            os.sched_yield()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
    for line in rest.splitlines(keepends=True):
        if line.endswith("\n"):
            promised.update({int(n): int(f) for n, f in (part.split(":") for part in line.split()[1:])})
    assert process.returncode == -signal.SIGKILL
    return promised


@pytest.mark.parametrize(
    "lives", [pytest.param(2, id="twice"), pytest.param(20, id="20-times", marks=pytest.mark.faults)]
)
def test_kill_9_at_random_moments(tmp_path: Path, lives: int) -> None:
    files = OsFiles(tmp_path / "data")
    files.prepare()
    chance = random.Random(lives)
    expected: dict[int, int] = {}
    for number in range(lives):
        expected |= life(files.root, 1000 * number, chance.randrange(1, 60), chance.randrange(2000))
    catalogue = Catalogue.open(files, sqlite_url(str(files.root / CATALOGUE_NAME)))
    log = AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW)
    store = RecordingStore(files, catalogue, log, [IDENTITY.recipient], segment_bytes=SEGMENT_BYTES)
    results = recover(store, NOW + timedelta(hours=1))
    assert {result.outcome for result in results} <= {Outcome.SEALED, Outcome.DISCARDED}
    reader = Reader(files, catalogue)
    for number, frames in expected.items():
        recording = tags(number).recording
        verdict = reader.verify(recording, [IDENTITY])
        assert verdict.sound, verdict.reason
        wav = b"".join(reader.wav(recording, [IDENTITY]))
        samples = wav[decode_header(wav[:CHUNK]).data_offset :]
        assert samples == audio(number, len(samples) // AUDIO.frame_bytes)
        kept = len(samples) // AUDIO.frame_bytes
        assert frames <= kept <= frames + FRAMES_AT_ONCE
    assert catalogue.count(State.OPEN) == 0
    assert not list((files.root / "wal").iterdir())
    assert not list((files.root / "recordings").rglob("*.part"))
    store.close()
    assert verify_chain(files, SIGNING_KEY.public_key()).lines > 0
    for path in files.root.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, f"{path} is open to others"
    catalogue.close()
