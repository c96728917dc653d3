"""A recorder whose thread is the test's own, on a real store, under a clock that stands still.

Packets are put into a scripted fork; the disk is a real directory whose operations a
test can break, delay or block by name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from call_values import Journal, ManualClock
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recproxy.recorder import Recorder, RecorderConfig
from rtp import FORK_DTYPE, Fork, ForkBatch, Side
from storage import (
    AuditLog,
    Catalogue,
    CatalogueRow,
    DiskFull,
    FileFault,
    OsFiles,
    Reader,
    RecordingId,
    RecordingStore,
)
from storage.age import X25519Identity
from storage.files import OpenFile

MS = 1_000_000
SECOND = 1_000_000_000
FRAME = 160
IDENTITY = X25519Identity.generate(os.urandom)
SIGNING_KEY = Ed25519PrivateKey.generate()


class Disk:
    """``Files`` on a directory; ``on`` sees each operation first and may raise, wait or pass time."""

    def __init__(self, root: Path) -> None:
        root.chmod(0o700)
        self._inner = OsFiles(root)
        self.on: Callable[[str, str], None] = lambda _operation, _path: None
        self.free = 1 << 40
        self.operations: list[tuple[str, str]] = []

    def break_at(self, operation: str, path: str, code: int = errno.EIO) -> None:
        """Let an operation on paths with this part fail from now on."""

        def broken(name: str, where: str) -> None:
            if name == operation and path in where:
                kind = DiskFull if code == errno.ENOSPC else FileFault
                raise kind(name, where, code, os.strerror(code))

        self.on = broken

    def mend(self) -> None:
        """Nothing fails any more."""
        self.on = lambda _operation, _path: None

    def step(self, operation: str, path: str) -> None:
        """One operation is about to be done."""
        self.operations.append((operation, path))
        self.on(operation, path)

    def make_directory(self, path: str) -> None:
        self._inner.make_directory(path)

    def create(self, path: str) -> OpenFile:
        self.step("create", path)
        return _DiskFile(self._inner.create(path), path, self)

    def reopen(self, path: str, size_bytes: int) -> OpenFile:
        self.step("reopen", path)
        return _DiskFile(self._inner.reopen(path, size_bytes), path, self)

    def read(self, path: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        return self._inner.read(path, offset, size_bytes)

    def size(self, path: str) -> int | None:
        return self._inner.size(path)

    def names(self, path: str) -> tuple[str, ...]:
        return self._inner.names(path)

    def rename(self, source: str, target: str) -> None:
        self.step("rename", source)
        self._inner.rename(source, target)

    def unlink(self, path: str) -> None:
        self._inner.unlink(path)

    def overwrite(self, path: str) -> None:
        self._inner.overwrite(path)

    def patch(self, path: str, offset: int, data: bytes) -> None:
        self._inner.patch(path, offset, data)

    def sync_directory(self, path: str) -> None:
        self.step("fsync directory", path)
        self._inner.sync_directory(path)

    def lock(self, path: str, *, wait: bool = True) -> AbstractContextManager[None]:
        return self._inner.lock(path, wait=wait)

    def free_bytes(self) -> int:
        self.step("statvfs", ".")
        return self.free


class _DiskFile:
    def __init__(self, inner: OpenFile, path: str, disk: Disk) -> None:
        self._inner = inner
        self._path = path
        self._disk = disk

    def write(self, data: bytes) -> None:
        self._disk.step("write", self._path)
        self._inner.write(data)

    def sync(self) -> None:
        self._disk.step("fsync", self._path)
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


@dataclass
class Packet:
    """One forked packet."""

    stream: int
    side: Side
    arrival_ns: int
    sequence: int
    payload: bytes = field(repr=False)
    payload_type: int = 0
    event_only: bool = False


class ScriptedFork(Fork):
    """A fork whose ring a test fills; a packet is in it from its arrival on."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.ring: list[Packet] = []
        self.after: Callable[[], None] = lambda: None
        self.broken: Exception | None = None

    def drain(self, max_bytes: int = 4 << 20) -> ForkBatch:
        """Give what is in the ring."""
        if self.broken is not None:
            raise self.broken
        now = self._clock.now_ns
        packets = sorted(
            (packet for packet in self.ring if packet.arrival_ns <= now), key=lambda packet: packet.arrival_ns
        )
        self.ring = [packet for packet in self.ring if packet.arrival_ns > now]
        if not packets:
            self.after()
        return batch_of(packets)


def batch_of(packets: list[Packet]) -> ForkBatch:
    """Packets as the engine gives them."""
    records = np.zeros(len(packets), FORK_DTYPE)
    offset = 0
    for record, packet in zip(records, packets, strict=True):
        record["stream"] = packet.stream
        record["arrival_ns"] = packet.arrival_ns
        record["timestamp"] = packet.sequence * FRAME & 0xFFFFFFFF
        record["ssrc"] = 7 + packet.side
        record["offset"] = offset
        record["sequence"] = packet.sequence & 0xFFFF
        record["length"] = len(packet.payload)
        record["side"] = packet.side
        record["payload_type"] = packet.payload_type
        record["event_only"] = packet.event_only
        offset += len(packet.payload)
    return ForkBatch(np.frombuffer(b"".join(p.payload for p in packets), np.uint8), records, 0)


class Stage:
    """A recorder, its store and its clock; the test is its thread."""

    def __init__(self, root: Path, *, min_free_bytes: int = 1 << 20) -> None:
        self.root = root
        self.disk = Disk(root)
        self.clock = ManualClock()
        self.journal = Journal()
        self.fork = ScriptedFork(self.clock)
        self.catalogue = Catalogue.open(OsFiles(root), f"sqlite:///{root / 'catalogue.sqlite'}")
        self.audit = AuditLog(self.disk, SIGNING_KEY, "node", self.clock.utcnow)
        self.store = RecordingStore(self.disk, self.catalogue, self.audit, [IDENTITY.recipient])
        self._numbers = iter(range(1, 1 << 20))
        self.recorder = Recorder(
            RecorderConfig(node="node", min_free_bytes=min_free_bytes),
            store=self.store,
            fork=self.fork,
            clock=self.clock,
            new_id=lambda: f"{next(self._numbers):032x}",
            post=self.journal.post,
            note=self.journal.note,
        )

    # ---- the recorder's thread, by hand
    def work(self) -> None:
        """Carry out every waiting job but what is not ripe yet."""
        inbox = self.recorder._inbox
        inbox.take_in()
        waiting = -1
        while len(inbox) not in {0, waiting}:
            waiting = len(inbox)
            self.recorder._work()

    def turn(self, milliseconds: float = 0) -> None:
        """Let time pass, then do what the thread does in one turn."""
        self.clock.pass_ms(milliseconds)
        self.work()
        self.recorder._tick()

    # ---- what is said into the ring
    def say(self, stream: int, side: Side, sound: bytes, *, first: int = 0, at_ns: int | None = None) -> None:
        """Packets of 20 ms, the first of which arrives at ``at_ns`` (now)."""
        start = self.clock.now_ns if at_ns is None else at_ns
        self.fork.ring += [
            Packet(stream, side, start + place * 20 * MS, first + place, sound[at : at + FRAME])
            for place, at in enumerate(range(0, len(sound), FRAME))
        ]

    # ---- what became of it
    def row(self, recording: str) -> CatalogueRow:
        """Its row."""
        return self.catalogue.get(RecordingId(recording))

    def channels(self, recording: str) -> tuple[bytes, bytes]:
        """Both sides of a sealed G.711 recording."""
        opened = Reader(OsFiles(self.root), self.catalogue).open(RecordingId(recording), [IDENTITY])
        frames = b"".join(opened.frames)
        return frames[0::2], frames[1::2]

    def sound_verdict(self, recording: str) -> bool:
        """Whether it verifies, every chunk opened."""
        return Reader(OsFiles(self.root), self.catalogue).verify(RecordingId(recording), [IDENTITY]).sound

    def close(self) -> None:
        """Release the store."""
        self.disk.mend()
        for writer in self.store.open_recordings:
            writer.abort("test over")
        self.store.close()
        self.catalogue.close()


@contextmanager
def staged(root: Path, *, min_free_bytes: int = 1 << 20) -> Iterator[Stage]:
    """A stage that is taken down at the end."""
    stage = Stage(root, min_free_bytes=min_free_bytes)
    try:
        yield stage
    finally:
        stage.close()


def noise(frames: int, seed: int) -> bytes:
    """G.711 that is nowhere silence, ``frames`` packets of 20 ms."""
    return np.random.default_rng(seed).integers(0, 0x7F, frames * FRAME, np.uint8).tobytes()
