"""A whole recorder in memory: disk, catalogue, audit chain, and what it promised.

``Machine.run`` does a small day's work; any operation in it may fail. ``reboot``
gives the machine after the next start. ``check_promises`` then looks at it the way
an auditor would.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from faulty_files import FaultPlan, FaultyFiles
from simulated_files import Loss, SimulatedFiles
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from storage import (
    AudioFormat,
    AuditLog,
    Catalogue,
    Direction,
    Encoding,
    Hold,
    HoldKind,
    HoldReason,
    LegalBasis,
    NoticeProof,
    OpenRequest,
    Parties,
    Reader,
    RecordingId,
    RecordingStore,
    RecordingTags,
    RecordingWriter,
    SealFacts,
    Shredder,
    State,
    StorageError,
    VerifyFault,
    recover,
    verify_chain,
)
from storage.age import X25519Identity
from storage.age import seal_chunk as age_seal_chunk
from storage.catalogue import sqlite_engine
from storage.container import decode_header
from storage.files import Files
from storage.places import header_path

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
AUDIO = AudioFormat(Encoding.ULAW, 8000, 2)
IDENTITY = X25519Identity.generate(random.Random(1).randbytes)
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SEGMENT_BYTES = 200_000
CHUNK = 65536


def tags(number: int, *, purpose: str = "training", expiry: datetime | None = None) -> RecordingTags:
    """Tags of recording ``number``; its id is a function of the number."""
    notice = NoticeProof("prompt", "ab" * 32, "nl", ("caller",), NOW - timedelta(seconds=6), NOW)
    return RecordingTags(
        recording=RecordingId(hashlib.sha256(str(number).encode()).hexdigest()[:32]),
        call=f"call-{number}",
        node="node-1",
        purpose=purpose,
        legal_basis=LegalBasis.LEGITIMATE_INTEREST,
        policy_version="cd" * 32,
        direction=Direction.INBOUND,
        trunk="carrier",
        started=NOW,
        expiry=expiry or NOW + timedelta(days=30),
        notice=notice,
    )


def legal_hold(*recordings: RecordingId, case_ref: str = "case 12", days: float = 300) -> Hold:
    """A legal hold from ``NOW`` on, as two people agreed on it; not in any catalogue yet."""
    return Hold(
        id=hashlib.sha256(case_ref.encode()).hexdigest()[:32],
        kind=HoldKind.LEGAL,
        reason=HoldReason.CLAIM,
        case_ref=case_ref,
        recordings=recordings,
        requested_by="user:anna",
        requested_at=NOW,
        ends=NOW + timedelta(days=days),
        approved_by="user:bert",
        approved_at=NOW,
    )


PARTIES = Parties("+31201234567", "+31881234567", ("a@caller", "b@callee"))


def seal_facts(reason: str = "hangup") -> SealFacts:
    return SealFacts(NOW + timedelta(minutes=1), 0, None, None, 0, timedelta(0), reason)


def audio(number: int, frames: int) -> bytes:
    """The first frames of recording ``number``, the same each time."""
    return _noise(number)[: frames * AUDIO.frame_bytes]


@functools.cache
def _noise(number: int) -> bytes:
    return random.Random(number).randbytes(100_000 * AUDIO.frame_bytes)


class Ledger:
    """Every use of an AEAD key, to show that no nonce ever carries two plaintexts."""

    def __init__(self) -> None:
        self.uses: dict[tuple[bytes, bytes], bytes] = {}
        self.chunks: dict[tuple[bytes, int, bool], bytes] = {}

    def chunk(self, key: bytes, counter: int, plaintext: bytes, *, final: bool) -> None:
        digest = hashlib.sha256(plaintext).digest()
        assert self.chunks.setdefault((key, counter, final), digest) == digest, (
            f"two plaintexts under chunk {counter}, final {final}"
        )

    def record(self, key: bytes, nonce: bytes, plaintext: bytes) -> None:
        digest = hashlib.sha256(plaintext).digest()
        assert (key, nonce) not in self.uses, "a log nonce was used twice"
        self.uses[key, nonce] = digest

    def copy(self) -> Ledger:
        other = Ledger()
        other.uses, other.chunks = dict(self.uses), dict(self.chunks)
        return other


@contextmanager
def watched(ledger: Ledger) -> Iterator[None]:
    """Write every chunk and log record that is sealed into the ledger."""
    seal_chunk, cipher = age_seal_chunk, ChaCha20Poly1305

    def watching(key: bytes, counter: int, plaintext: bytes, *, final: bool) -> bytes:
        ledger.chunk(key, counter, plaintext, final=final)
        return seal_chunk(key, counter, plaintext, final=final)

    class WatchingCipher:
        def __init__(self, key: bytes) -> None:
            self._key = key
            self._cipher = cipher(key)

        def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
            ledger.record(self._key, nonce, data)
            return self._cipher.encrypt(nonce, data, associated)

        def decrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
            return self._cipher.decrypt(nonce, data, associated)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.openbody.seal_chunk", watching)
        patch.setattr("storage.writer.parties.seal_chunk", watching)
        patch.setattr("storage.wal.records.ChaCha20Poly1305", WatchingCipher)
        yield


_COMPILED: dict[object, object] = {}
"""Compiled statements, shared by all the short-lived engines of the tests."""


def _engine() -> sa.Engine:
    return sqlite_engine(
        "sqlite://",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        execution_options={"compiled_cache": _COMPILED},
    )


@functools.cache
def _dialect() -> sa.Dialect:
    """One for all engines: it is part of the key under which a compiled statement is found."""
    engine = _engine()
    engine.connect().close()
    engine.dispose()
    return engine.dialect


def memory_engine(image: bytes | None = None) -> sa.Engine:
    """A SQLite catalogue in memory, empty or from an image."""
    engine = _engine()
    engine.dialect = _dialect()
    if image is not None:
        driver(engine).deserialize(image)
    return engine


def driver(engine: sa.Engine) -> sqlite3.Connection:
    connection = engine.raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


@dataclass
class Promise:
    """What the recorder told the world about one recording.

    ``durable`` bytes of audio were synced, ``written`` were given to it.
    """

    number: int
    tags: RecordingTags
    written: bytearray = field(default_factory=bytearray)
    durable: int = 0
    sealed: bool = False
    discarding: bool = False
    discarded: bool = False
    shredded: bool = False


class Machine:
    """One life of a recorder process on a disk."""

    def __init__(
        self,
        disk: SimulatedFiles | None = None,
        engine: sa.Engine | None = None,
        plan: FaultPlan | None = None,
        ledger: Ledger | None = None,
        promises: dict[int, Promise] | None = None,
        randomness: int = 7,
    ) -> None:
        self.disk = disk or SimulatedFiles()
        self.plan = plan or FaultPlan()
        self.ledger = ledger or Ledger()
        self.promises = promises or {}
        self.files: Files = FaultyFiles(self.disk, self.plan)
        self.engine = engine or memory_engine()
        self.catalogue = Catalogue(self.engine)
        self._random = random.Random(randomness)
        sa.event.listen(self.engine, "commit", self._commit)
        self.audit = AuditLog(self.files, SIGNING_KEY, "node-1", lambda: NOW)
        self.writers: dict[int, RecordingWriter] = {}

    def _commit(self, _connection: sa.Connection) -> None:
        if self.plan.strikes("commit", "catalogue"):
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    def start(self) -> RecordingStore:
        store = RecordingStore(
            self.files,
            self.catalogue,
            self.audit,
            [IDENTITY.recipient],
            random=self._random.randbytes,
            segment_bytes=SEGMENT_BYTES,
        )
        recover(store, NOW)
        return store

    # The work. Every step reacts to a fault as the recorder thread does.

    def open(self, store: RecordingStore, number: int) -> None:
        self.promises[number] = Promise(number, tags(number))
        self.attempt(lambda: self.open_as_promised(store, number))

    def open_as_promised(self, store: RecordingStore, number: int) -> None:
        self.writers[number] = store.open(self.promises[number].tags, PARTIES, AUDIO, NOW)

    def open_together(self, store: RecordingStore, numbers: Sequence[int]) -> None:
        """Open several at once; each by itself may fail."""
        for number in numbers:
            self.promises[number] = Promise(number, tags(number))
        requests = [OpenRequest(self.promises[number].tags, PARTIES, AUDIO) for number in numbers]

        def open_all() -> None:
            for number, opened in zip(numbers, store.open_together(requests, NOW), strict=True):
                if isinstance(opened, RecordingWriter):
                    self.writers[number] = opened

        self.attempt(open_all)

    def seal_together(self, store: RecordingStore, numbers: Sequence[int]) -> None:
        """Seal several at once; those that fail are aborted."""
        numbers = [number for number in numbers if number in self.writers]
        sealed = store.seal_together([(self.writers[number], seal_facts()) for number in numbers])
        for number, outcome in zip(numbers, sealed, strict=True):
            if isinstance(outcome, StorageError):
                self.abort(number)
            else:
                del self.writers[number]
                self.promises[number].sealed = True
                self.promises[number].durable = len(self.promises[number].written)

    def write(self, number: int, frames: int) -> None:
        writer, promise = self.writers.get(number), self.promises[number]
        if writer is None:
            return
        total = len(promise.written) // AUDIO.frame_bytes + frames
        fresh = audio(number, total)[len(promise.written) :]

        def give() -> None:
            promise.written += fresh  # part of it may get there even if this fails
            writer.write(fresh)

        if not self.attempt(give):
            self.abort(number)

    def sync(self, store: RecordingStore) -> None:
        before = {number: len(self.promises[number].written) for number in self.writers}

        def sync() -> None:
            for fault in store.sync():
                number = next(n for n, w in self.writers.items() if w.recording == fault.recording)
                del before[number]
                self.abort(number)

        if self.attempt(sync):
            for number, size in before.items():
                self.promises[number].durable = size

    def seal(self, number: int) -> None:
        writer = self.writers.get(number)
        if writer is None:
            return

        def seal() -> None:
            writer.seal(seal_facts())
            self.promises[number].sealed = True
            self.promises[number].durable = len(self.promises[number].written)

        if self.attempt(seal):
            del self.writers[number]
        else:
            self.abort(number)

    def discard(self, number: int) -> None:
        writer = self.writers.pop(number, None)
        if writer is not None:
            self.promises[number].discarding = True
            self.promises[number].discarded = self.attempt(lambda: writer.discard("opt_out", NOW))

    def abort(self, number: int) -> None:
        writer = self.writers.pop(number, None)
        if writer is not None and not writer.ended:
            self.attempt(lambda: writer.abort("storage_fault"))

    def shred(self, number: int) -> None:
        shredder = Shredder(self.files, self.catalogue, self.audit)

        def shred() -> None:
            shredder.shred(self.promises[number].tags.recording, "erase", NOW)
            self.promises[number].shredded = True

        self.attempt(shred)

    def shred_together(self, numbers: Sequence[int]) -> None:
        """Shred several at once; each by itself may fail."""
        shredder = Shredder(self.files, self.catalogue, self.audit)

        def shred_all() -> None:
            recordings = [self.promises[number].tags.recording for number in numbers]
            made = shredder.shred_together(recordings, "erase", NOW)
            for number, outcome in zip(numbers, made, strict=True):
                self.promises[number].shredded = not isinstance(outcome, StorageError)

        self.attempt(shred_all)

    def attempt(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except StorageError:
            return False
        return True

    def record(self, store: RecordingStore) -> None:
        """Two calls that last, one that is discarded, one short; with rotations."""
        self.open(store, 1)
        self.open(store, 2)
        self.write(1, 9_000)
        self.write(2, 500)
        self.sync(store)
        self.open(store, 3)
        self.write(1, 26_000)
        self.write(3, 800)
        self.write(2, 34_000)
        self.sync(store)
        self.discard(3)
        self.write(1, 40_000)
        self.sync(store)
        self.write(2, 33_000)
        self.sync(store)
        self.write(1, 100)
        self.seal(1)
        self.open(store, 4)
        self.write(2, 200)
        self.write(4, 300)
        self.sync(store)
        self.seal(4)
        self.write(2, 50)

    # The next start.

    def reboot(
        self, loss: Loss = Loss.ALL_KEPT, chance: random.Random | None = None, plan: FaultPlan | None = None
    ) -> Machine:
        """The machine after power came back; nothing of the process survives."""
        return Machine(
            self.disk.after_power_loss(loss, chance or random.Random(0)),
            memory_engine(driver(self.engine).serialize()),
            plan,
            self.ledger.copy(),
            copy.deepcopy(self.promises),
            randomness=random.Random(self._random.random()).randrange(1 << 30),
        )

    # What an auditor looks at.

    def check_disk(self) -> None:
        """I1 and I3, true at every instant."""
        rows = {row.tags.recording.text: row for row in self.catalogue.select()}
        stones = self.catalogue.tombstones()
        known = set(rows) | {stone.recording.text for stone in stones}
        for path, data in self.disk.contents().items():
            name = path.rpartition("/")[2].split(".")[0]
            if path.startswith(("recordings/", "keys/")) or path.endswith(".key"):
                assert name in known, f"{path} without a row"
            if path.endswith(".wal"):
                for owner in _owners(data):
                    assert owner in known, f"log record of {owner} without a row"
            assert audio(1, 64) not in data, f"plaintext audio in {path}"
            assert PARTIES.caller.encode() not in data, f"a number in clear in {path}"
        for row in rows.values():
            assert row.tags.purpose
            assert row.tags.expiry > row.tags.started
            assert PARTIES.caller.encode() not in row.parties
        for stone in stones:
            if stone.state is State.SHREDDED and not stone.derived:  # of those there may be a later one
                header = header_path(stone.recording, stone.purpose)
                assert header not in self.disk.contents(), "a tombstone beside the key"

    def check_promises(self) -> None:
        """Everything, after recovery."""
        self.check_disk()
        report = verify_chain(self.files, SIGNING_KEY.public_key())
        assert report.lines > 0
        assert report.lines == report.head_seq
        assert not [path for path in self.disk.contents() if path.startswith("wal/")], "log left"
        assert not [path for path in self.disk.contents() if path.endswith(".part")], "open body left"
        assert not self.catalogue.select(states=(State.OPEN, State.ABORTED, State.DISCARDING))
        reader = Reader(self.files, self.catalogue)
        for promise in self.promises.values():
            self._check_one(reader, promise)

    def _check_one(self, reader: Reader, promise: Promise) -> None:
        recording = promise.tags.recording
        rows = {row.tags.recording for row in self.catalogue.select()}
        stone = self.catalogue.tombstone(recording)
        if stone is not None:
            assert promise.discarding or promise.durable == 0 or stone.state is State.SHREDDED
            assert reader.verify(recording).fault is VerifyFault.KEY_DESTROYED
            return
        assert not promise.shredded
        assert not promise.discarded
        if recording not in rows:
            assert promise.durable == 0, "a durable recording has no row"
            return
        row = self.catalogue.get(recording)
        if row.state is State.SHREDDING:
            return
        assert row.state is State.SEALED
        verdict = reader.verify(recording, [IDENTITY])
        assert verdict.sound, verdict.reason
        assert reader.parties(recording, [IDENTITY]) == PARTIES
        wav = b"".join(reader.wav(recording, [IDENTITY]))
        samples = wav[decode_header(wav[:CHUNK]).data_offset :]
        assert bytes(promise.written).startswith(samples), "other audio than was written"
        assert len(samples) >= promise.durable, f"{promise.durable - len(samples)} durable bytes lost"
        if promise.sealed:
            assert samples == promise.written


def _owners(segment: bytes) -> Iterator[str]:
    """Recording ids in the clear framing of a log segment."""
    place = 24
    while place + 33 <= len(segment):
        length = int.from_bytes(segment[place : place + 4], "big")
        owner = segment[place + 5 : place + 21].hex()
        if length == 0 or place + 33 + length > len(segment):
            return
        yield owner
        place += 33 + length


def chain_is_whole(files: Files) -> bool:
    """True if the chain verifies; a torn last line or a head not yet written also count."""
    report = verify_chain(files, SIGNING_KEY.public_key())
    return report.lines >= report.head_seq


def events(files: Files) -> list[str]:
    """Names of all audit events."""
    return [str(json.loads(line)["event"]) for line in files.read("audit/chain.jsonl").splitlines()]
