"""One catalogue in PostgreSQL for several nodes: each keeps its own keys, and nobody erases another's."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import postgres as servers
import pytest
import sqlalchemy as sa
from postgres import PASSWORD, Postgres
from processes import race
from simulated_files import Loss, SimulatedFiles
from storage_machine import (
    AUDIO,
    IDENTITY,
    NOW,
    PARTIES,
    SIGNING_KEY,
    audio,
    events,
    legal_hold,
    seal_facts,
    tags,
)

from storage import (
    AuditLog,
    Catalogue,
    CatalogueBusy,
    CatalogueError,
    ClockGuard,
    ClockReading,
    DerivedKind,
    DerivedSource,
    DerivedStore,
    ForeignRecording,
    HeldRecording,
    OpenRequest,
    OsFiles,
    Outcome,
    Reader,
    RecordingId,
    RecordingStore,
    RecordingWriter,
    Retention,
    SealError,
    Shredder,
    State,
    StorageError,
    SweepReport,
    Term,
    VerifyFault,
    recover,
    verify_chain,
)
from storage.catalogue import EXPIRY, LEASE, Lease
from storage.files import Files

DAY = timedelta(days=1)


class Node:
    """One recording node: a data directory of its own, and the catalogue that all share."""

    def __init__(self, url: str, name: str, *former: str, files: Files | None = None) -> None:
        self.name = name
        self.files = files or SimulatedFiles()
        self.catalogue = Catalogue.open(self.files, url, password=PASSWORD, nodes=(name, *former))
        self.audit = AuditLog(self.files, SIGNING_KEY, name, lambda: NOW)

    def start(self) -> RecordingStore:
        store = RecordingStore(self.files, self.catalogue, self.audit, [IDENTITY.recipient])
        recover(store, NOW)
        return store

    def open(self, store: RecordingStore, number: int, expiry: timedelta = 30 * DAY) -> RecordingWriter:
        writer = store.open(replace(tags(number, expiry=NOW + expiry), node=self.name), PARTIES, AUDIO, NOW)
        writer.write(audio(number, 500))
        return writer

    def seal(self, store: RecordingStore, number: int, expiry: timedelta = 30 * DAY) -> RecordingId:
        return self.open(store, number, expiry).seal(seal_facts()).recording

    def sweep(self, after: timedelta, limit: int = 1000) -> SweepReport:
        guard = ClockGuard(self.files)
        reading = ClockReading(NOW + after, after.total_seconds(), "boot")
        return Retention(self.files, self.catalogue, self.audit, guard).sweep(reading, limit)

    @property
    def chain(self) -> list[str]:
        return events(self.files)


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def nodes(url: str) -> Iterator[tuple[Node, Node]]:
    both = Node(url, "node-a"), Node(url, "node-b")
    yield both
    for node in both:
        node.catalogue.close()


@contextmanager
def paused_at_commit(catalogue: Catalogue, what: Callable[[], object]) -> Iterator[None]:
    """Do something in a thread, up to its commit, which comes when the context ends."""
    reached, go_on = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def pause(_connection: sa.Connection) -> None:
        reached.set()
        assert go_on.wait(30)

    def work() -> None:
        try:
            what()
        except BaseException as err:
            failed.append(err)
            reached.set()

    sa.event.listen(catalogue._engine, "commit", pause)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert reached.wait(30)
        yield
    finally:
        go_on.set()
        thread.join()
        sa.event.remove(catalogue._engine, "commit", pause)
    assert not failed, failed


def wait_for_a_lock(postgres: Postgres) -> None:
    """Until some transaction waits for another."""
    with postgres.connect("postgres") as connection:
        for _ in range(3000):
            waiting = connection.execute(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            ).fetchone()
            if waiting != (0,):
                return
            connection.execute("select pg_sleep(0.01)")
    raise AssertionError("nobody waits for a lock")


def test_a_start_leaves_the_calls_of_other_nodes_alone(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    store = a.start()
    writer = a.open(store, 1)
    assert recover(RecordingStore(b.files, b.catalogue, b.audit, [IDENTITY.recipient]), NOW) == []
    assert a.catalogue.get(writer.recording).state is State.OPEN
    writer.seal(seal_facts())
    assert Reader(a.files, a.catalogue).verify(writer.recording, [IDENTITY]).sound


def test_what_a_lost_node_left_open_is_completed_when_it_returns(url: str) -> None:
    a, b = Node(url, "node-a"), Node(url, "node-b")
    store = a.start()
    writer = a.open(store, 1)
    store.sync()
    assert isinstance(a.files, SimulatedFiles)
    disk = a.files.after_power_loss(Loss.ALL_KEPT, random.Random(0))
    a.catalogue.close()
    other = b.seal(b.start(), 2)
    assert b.catalogue.get(writer.recording).state is State.OPEN
    back = Node(url, "node-a", files=disk)
    store = RecordingStore(back.files, back.catalogue, back.audit, [IDENTITY.recipient])
    (found,) = recover(store, NOW)
    assert (found.recording, found.outcome, found.frames) == (writer.recording, Outcome.SEALED, 500)
    assert Reader(back.files, back.catalogue).verify(writer.recording, [IDENTITY]).sound
    for node, recording in ((back, writer.recording), (b, other)):
        lines = verify_chain(node.files, SIGNING_KEY.public_key())
        assert lines.lines == len(node.chain)
        assert node.catalogue.get(recording).tags.node == node.name
        node.catalogue.close()


def test_each_node_shreds_its_own_and_says_when_another_is_late(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    mine, theirs = a.seal(a.start(), 1, DAY), b.seal(b.start(), 2, DAY)
    report = a.sweep(DAY + timedelta(hours=1))
    assert [each.tombstone.recording for each in report.shredded] == [mine]
    assert report.overdue_elsewhere == 0, "an hour is within the time between two sweeps"
    assert a.sweep(2 * DAY).overdue_elsewhere == 1
    assert a.catalogue.get(theirs).state is State.SEALED
    assert b.sweep(2 * DAY).shredded[0].tombstone.node == "node-b"
    assert a.sweep(3 * DAY).overdue_elsewhere == 0
    assert [stone.node for stone in a.catalogue.tombstones(own=True)] == ["node-a"]
    assert len(a.catalogue.tombstones()) == 2


def test_what_another_node_has_the_key_of_is_neither_opened_nor_shredded_here(
    nodes: tuple[Node, Node],
) -> None:
    a, b = nodes
    recording = b.seal(b.start(), 1)
    a.start()
    verdict = Reader(a.files, a.catalogue).verify(recording, [IDENTITY])
    assert verdict.fault is VerifyFault.KEY_MISSING
    assert "key store of node node-b" in verdict.reason
    shredder = Shredder(a.files, a.catalogue, a.audit)
    with pytest.raises(ForeignRecording, match="kept by node node-b"):
        shredder.shred(recording, "erase", NOW)
    with pytest.raises(ForeignRecording):
        shredder.shred_purpose(recording, "training", "erase", NOW)
    assert a.catalogue.get(recording).state is State.SEALED
    assert a.catalogue.terms.longer_than("training", Term(DAY, {})) == ()
    assert len(b.catalogue.terms.longer_than("training", Term(DAY, {}))) == 1
    a.catalogue.holds.add(legal_hold(recording))
    with pytest.raises(HeldRecording):
        Shredder(b.files, b.catalogue, b.audit).shred(recording, EXPIRY, NOW + 31 * DAY)


def test_a_node_knows_who_else_has_recordings(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.seal(a.start(), 1)
    store = b.start()
    b.seal(store, 2, DAY)
    b.open(store, 3)
    assert a.catalogue.elsewhere() == {"node-b": 2}
    assert b.catalogue.elsewhere() == {"node-a": 1}
    b.sweep(2 * DAY)
    assert a.catalogue.elsewhere() == {"node-b": 1}, "what is shredded is nowhere"


def test_a_node_that_took_over_anothers_directory_shreds_for_it(url: str) -> None:
    a = Node(url, "node-a")
    recording = a.seal(a.start(), 1, DAY)
    heir = Node(url, "node-b", "node-a", files=a.files)
    assert heir.catalogue.elsewhere() == {}
    assert Reader(heir.files, heir.catalogue).verify(recording, [IDENTITY]).sound
    assert [each.tombstone.node for each in heir.sweep(2 * DAY).shredded] == ["node-a"]
    for node in (a, heir):
        node.catalogue.close()


def test_a_name_belongs_to_one_data_directory(url: str) -> None:
    a = Node(url, "node-a")
    recording = a.open(a.start(), 1).recording
    with pytest.raises(CatalogueError, match="another data directory is node node-a"):
        Node(url, "node-a")
    assert a.catalogue.get(recording).state is State.OPEN
    Node(url, "node-a", files=a.files).catalogue.close()
    Node(url, "node-b", "node-a").catalogue.close()
    with pytest.raises(CatalogueError, match="another data directory is node node-a"):
        Node(url, "node-a", files=a.files)
    a.catalogue.close()


@pytest.mark.parametrize("first", ["hold", "claim"])
def test_a_hold_and_a_claim_at_the_same_time_exclude_each_other(
    postgres: Postgres, url: str, first: str
) -> None:
    """Whoever is second waits for the first to commit, and sees what it did."""
    a = Node(url, "node-a")
    b = Node(url, "node-a", files=a.files)
    recording = a.seal(a.start(), 1, DAY)
    outcome: list[object] = []

    def claim(catalogue: Catalogue) -> object:
        return catalogue.claim_for_shredding(recording, EXPIRY, NOW + 2 * DAY).state

    def hold(catalogue: Catalogue) -> object:
        catalogue.holds.add(legal_hold(recording))
        return None

    def second() -> None:
        try:
            outcome.append((claim if first == "hold" else hold)(b.catalogue))
        except StorageError as err:
            outcome.append(err)

    thread = threading.Thread(target=second)
    with paused_at_commit(a.catalogue, lambda: (hold if first == "hold" else claim)(a.catalogue)):
        thread.start()
        wait_for_a_lock(postgres)
        assert outcome == []
    thread.join()
    assert len(outcome) == 1
    row = a.catalogue.get(recording)
    if first == "hold":
        assert isinstance(outcome[0], HeldRecording)
        assert (row.state, row.held) == (State.SEALED, True)
    else:
        assert "being shredded" in str(outcome[0])
        assert (row.state, row.held) == (State.SHREDDING, False)
    for node in (a, b):
        node.catalogue.close()


def _lease(holder: str, at: timedelta) -> Lease:
    return Lease(holder, NOW + at, NOW + at + LEASE)


def test_two_workers_take_different_rows_while_both_are_at_it(url: str) -> None:
    """Rows that another transaction is taking are passed by, not waited for."""
    a = Node(url, "node-a")
    b = Node(url, "node-a", files=a.files)
    store = a.start()
    recordings = [a.seal(store, number, DAY + timedelta(minutes=number)) for number in range(6)]
    until = NOW + 3 * DAY
    taken: list[RecordingId] = []
    with paused_at_commit(
        a.catalogue, lambda: taken.extend(a.catalogue.leases.take(until, 4, _lease("one", 3 * DAY)))
    ):
        assert b.catalogue.leases.take(until, 4, _lease("two", 3 * DAY)) == tuple(recordings[4:])
    assert taken == recordings[:4]
    for node in (a, b):
        node.catalogue.close()


def test_a_lease_ends_by_itself_or_is_given_back(catalogue_engine: sa.Engine) -> None:
    catalogue = Catalogue(catalogue_engine)
    files = SimulatedFiles()
    store = RecordingStore(
        files, catalogue, AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW), [IDENTITY.recipient]
    )
    recover(store, NOW)
    for number in range(4):
        expiry = NOW + DAY + timedelta(minutes=number)
        store.open(tags(number, expiry=expiry), PARTIES, AUDIO, NOW).seal(seal_facts())
    ids = [tags(number).recording for number in range(4)]
    take, until = catalogue.leases.take, NOW + 2 * DAY
    assert take(until, 2, _lease("one", 2 * DAY)) == tuple(ids[:2])
    assert take(until, 9, _lease("two", 2 * DAY)) == tuple(ids[2:])
    assert take(until, 9, _lease("three", 2 * DAY)) == ()
    assert take(until, 9, _lease("one", 2 * DAY)) == tuple(ids[:2]), "one's own are no obstacle"
    catalogue.leases.release("two")
    assert take(until, 1, _lease("three", 2 * DAY)) == (ids[2],)
    assert take(until, 9, _lease("late", 2 * DAY + LEASE)) == tuple(ids)
    assert [row.tags.recording for row in catalogue.several(ids[::-1])] == ids[::-1]


def test_a_sweep_passes_by_what_another_worker_has_until_its_lease_ends(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    recording = a.seal(a.start(), 1, DAY)
    held = a.catalogue.leases.take(NOW + 2 * DAY, 9, _lease("worker that died", 2 * DAY))
    assert held == (recording,)
    assert a.sweep(2 * DAY).due == 0
    assert a.sweep(2 * DAY + LEASE).shredded[0].tombstone.recording == recording


def test_connections_that_the_server_closed_are_replaced(
    postgres: Postgres, nodes: tuple[Node, Node]
) -> None:
    a, _ = nodes
    recording = a.seal(a.start(), 1)
    with postgres.connect("postgres") as connection:
        ended = connection.execute(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity "
            "where application_name = 'recproxy'"
        ).fetchone()
    assert ended is not None
    assert ended[0] > 0
    assert a.catalogue.get(recording).state is State.SEALED


def test_a_server_that_is_not_there_may_be_tried_again(tmp_path: Path) -> None:
    files = SimulatedFiles()
    with pytest.raises(CatalogueBusy, match="cannot be used now") as caught:
        Catalogue.open(files, f"postgresql+psycopg://recproxy@/x?host={tmp_path}", password=PASSWORD)
    assert PASSWORD not in str(caught.value)


def test_a_wrong_password_is_told_without_showing_it(url: str) -> None:
    with pytest.raises(CatalogueBusy, match="password authentication failed") as caught:
        Catalogue.open(SimulatedFiles(), url, password="wrong horse")  # noqa: S106
    assert "wrong horse" not in repr(caught.value)


def test_other_databases_are_refused() -> None:
    with pytest.raises(CatalogueError, match="SQLite or PostgreSQL, not in mysql"):
        Catalogue.open(SimulatedFiles(), "mysql://recproxy@/x")


def test_an_older_schema_gets_its_new_columns(url: str) -> None:
    a = Node(url, "node-a")
    recording = a.seal(a.start(), 1)
    with a.catalogue._engine.begin() as connection:
        for statement in (
            "alter table recordings drop column leased_by",
            "alter table recordings drop column leased_until",
            "alter table tombstones drop column node",
            "update schema_version set version = 3",
        ):
            connection.execute(sa.text(statement))
    a.catalogue.close()
    again = Node(url, "node-a", files=a.files)
    assert again.catalogue.leases.take(NOW + 31 * DAY, 1, _lease("one", 31 * DAY)) == (recording,)
    again.catalogue.close()


def test_two_nodes_that_start_at_once_make_the_tables_once(url: str) -> None:
    made: list[Node] = []
    threads = [threading.Thread(target=lambda at=at: made.append(Node(url, f"node-{at}"))) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    for node in made:
        node.catalogue.close()


def test_a_catalogue_of_an_earlier_version_gets_room_for_transcripts(url: str) -> None:
    before = Node(url, "node-a")
    with before.catalogue._engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE derived_files"))
        for table in ("key_wraps", "tombstones", "gone_by_month"):
            connection.execute(sa.text(f"ALTER TABLE {table} ALTER COLUMN purpose TYPE VARCHAR(63)"))
    before.catalogue.close()
    node = Node(url, "node-a", files=before.files)
    longest = "p" * 63
    made = replace(tags(1, expiry=NOW + 30 * DAY), node="node-a", purpose=longest)
    writer = node.start().open(made, PARTIES, AUDIO, NOW)
    writer.write(audio(1, 500))
    writer.seal(seal_facts())
    source = DerivedSource(
        recording=made.recording,
        kind=DerivedKind.TRANSCRIPT,
        purpose=longest,
        expiry=NOW + 2 * DAY,
        language="nl",
        form="text/plain",
        origin="",
        recipients=[IDENTITY.recipient],
    )
    DerivedStore(node.files, node.catalogue, node.audit).add(source, b"een woord", NOW)
    (stone,) = node.sweep(3 * DAY).derived_ended
    assert stone.purpose == f"{longest}.transcript"
    assert len(node.sweep(30 * DAY).shredded) == 1
    node.catalogue.close()


WORKER = """
import sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[-1])
from postgres import PASSWORD
from storage_machine import NOW, SIGNING_KEY
from storage import *
files = OsFiles(Path(sys.argv[1]))
catalogue = Catalogue.open(files, sys.argv[2], password=PASSWORD, nodes=("node-1",))
audit = AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW, "retention")
sweeper = Retention(files, catalogue, audit, ClockGuard(files))
print("ready", flush=True)
sys.stdin.readline()
done = 0
reading = ClockReading(NOW + timedelta(days=2), 10.0, "boot")
while (report := sweeper.sweep(reading, limit=int(sys.argv[3]))).due:
    assert not report.failed, report.failed
    done += len(report.shredded)
print(done)
audit.close()
catalogue.close()
"""


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory whose syncs cost nothing, where the system has one."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="recproxy-", dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.mark.parametrize(
    "recordings",
    [
        pytest.param(60, id="60"),
        pytest.param(1_500, id="1500", marks=pytest.mark.faults),
        pytest.param(10_000, id="10000", marks=pytest.mark.soak),
    ],
)
def test_two_workers_shred_each_recording_once(in_memory: Path, url: str, recordings: int) -> None:
    files = OsFiles(in_memory / "data")
    files.prepare()
    node = Node(url, "node-1", files=files)
    store = node.start()
    for first in range(0, recordings, 60):
        numbers = range(first, min(first + 60, recordings))
        requests = [OpenRequest(tags(number, expiry=NOW + DAY), PARTIES, AUDIO) for number in numbers]
        opened = store.open_together(requests, NOW)
        writers = [writer for writer in opened if isinstance(writer, RecordingWriter)]
        sealed = store.seal_together([(writer, seal_facts()) for writer in writers])
        assert not [each for each in sealed if isinstance(each, StorageError)]
    store.close()
    batch = str(min(100, recordings // 6))
    counts = [shredded for (shredded,) in race(WORKER, str(files.root), url, batch)]
    assert min(counts) > 0, "both had their share"
    assert sum(counts) == recordings
    assert node.catalogue.count(State.SHREDDED) == recordings
    assert node.catalogue.count(State.SEALED) == 0
    assert node.chain.count("shred.started") == recordings
    assert verify_chain(files, SIGNING_KEY.public_key()).lines > recordings
    node.catalogue.close()


def test_while_the_server_is_away_nothing_waits_and_nothing_is_lost() -> None:
    """Who records stands still for moments only: open recordings go on, new ones are refused at once."""
    with servers.postgres() as server:
        url = server.database()
        node = Node(url, "node-a")
        store = node.start()
        kept = node.open(store, 1)
        store.sync()
        server.stop()
        begun = time.monotonic()
        for number in (2, 3, 4):
            with pytest.raises(CatalogueBusy):
                node.open(store, number)
        kept.write(audio(1, 1_000)[-500 * AUDIO.frame_bytes :])
        assert store.sync() == ()
        with pytest.raises(SealError, match="cannot be used now"):
            kept.seal(seal_facts())
        with pytest.raises(CatalogueBusy):
            kept.abort("storage_fault")
        assert time.monotonic() - begun < 4, "what the ring of packets holds"
        node.catalogue.close()
        server.start()
        assert isinstance(node.files, SimulatedFiles)
        back = Node(url, "node-a", files=node.files.after_power_loss(Loss.ALL_KEPT, random.Random(0)))
        again = RecordingStore(back.files, back.catalogue, back.audit, [IDENTITY.recipient])
        outcomes = {found.recording: found for found in recover(again, NOW)}
        assert outcomes[kept.recording].outcome is Outcome.SEALED
        assert outcomes[kept.recording].frames == 1_000
        assert Reader(back.files, back.catalogue).verify(kept.recording, [IDENTITY]).sound
        back.catalogue.close()
