"""A PostgreSQL server that says nothing: nobody waits for it, and it is found again when it speaks."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import postgres as servers
import pytest
import sqlalchemy as sa
from daemon import eventually
from postgres import PASSWORD, Postgres
from storage_machine import AUDIO, IDENTITY, NOW, PARTIES, SIGNING_KEY, audio, seal_facts, tags

from storage import (
    AuditLog,
    Catalogue,
    CatalogueBusy,
    OsFiles,
    Reader,
    RecordingStore,
    RecordingWriter,
    SealedRecording,
    SealError,
    State,
    recover,
)
from storage.catalogue.server import Door

ANSWER_S = 1.0


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One of this module's own: others need theirs awake."""
    with servers.postgres() as made:
        yield made


class Recorder:
    """What the thread of the recorder has, in a directory."""

    def __init__(self, root: Path, url: str) -> None:
        self.files = OsFiles(root)
        self.files.prepare()
        self.catalogue = Catalogue.open(
            self.files, url, password=PASSWORD, nodes=("node-1",), answer_s=ANSWER_S
        )
        audit = AuditLog(self.files, SIGNING_KEY, "node-1", lambda: NOW)
        self.store = RecordingStore(self.files, self.catalogue, audit, [IDENTITY.recipient])
        recover(self.store, NOW)

    def open(self, number: int) -> RecordingWriter:
        writer = self.store.open(replace(tags(number), node="node-1"), PARTIES, AUDIO, NOW)
        writer.write(audio(number, 500))
        return writer

    def wait_back(self) -> None:
        eventually(lambda: self.catalogue.fault is None, within_s=30, what="the server is found again")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a thread of the test, not the one that looks for the server, has waited for in vain."""
    waited: list[str] = []
    shut = Door.shut

    def noting_shut(door: Door, why: str) -> None:
        if threading.current_thread() is threading.main_thread():
            waited.append(why)
        shut(door, why)

    monkeypatch.setattr(Door, "shut", noting_shut)
    return waited


@pytest.fixture
def recorder(tmp_path: Path, server: Postgres, waits: list[str]) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "data", server.database())
    yield made
    made.store.close()
    made.catalogue.close()


def test_a_frozen_server_is_waited_for_once_and_sealing_goes_on_when_it_thaws(
    server: Postgres, recorder: Recorder, waits: list[str]
) -> None:
    kept = recorder.open(1)
    recorder.store.sync()
    with server.frozen():
        for number in range(2, 12):
            with pytest.raises(CatalogueBusy, match=r"not answered|not reached"):
                recorder.open(number)
        kept.write(audio(1, 1_000)[-500 * AUDIO.frame_bytes :])
        assert recorder.store.sync() == ()
        with pytest.raises(SealError) as refused:
            kept.seal(seal_facts())
        assert waits == ["the server has not answered for 1.5 s"], "once, whatever is asked of it"
        assert isinstance(refused.value.__cause__, CatalogueBusy)
        assert recorder.catalogue.fault is not None
    recorder.wait_back()
    (sealed,) = recorder.store.seal_together([(kept, seal_facts())])
    assert isinstance(sealed, SealedRecording)
    assert sealed.frames == 1_000
    assert Reader(recorder.files, recorder.catalogue).verify(kept.recording, [IDENTITY]).sound
    recorder.open(20).seal(seal_facts())


def test_a_server_that_freezes_over_a_commit_may_do_it_yet(server: Postgres, recorder: Recorder) -> None:
    """Whether the row was sealed nobody knew; it is, and sealing again does no harm."""
    kept = recorder.open(1)
    engine = recorder.catalogue._engine
    with server.freezing() as freeze:
        sa.event.listen(engine, "commit", lambda _: freeze(), once=True)
        with pytest.raises(SealError):
            kept.seal(seal_facts())
    recorder.wait_back()
    eventually(
        lambda: recorder.catalogue.get(kept.recording).state is State.SEALED,
        within_s=10,
        what="what was asked before is done",
    )
    assert kept.seal(seal_facts()).frames == 500


def test_what_only_takes_long_is_ended_by_the_server_and_shuts_nobody_out(recorder: Recorder) -> None:
    with recorder.catalogue._engine.connect() as connection:
        with pytest.raises(sa.exc.OperationalError, match="statement timeout"):
            connection.execute(sa.text("SELECT pg_sleep(30)"))
        connection.rollback()
        assert connection.scalar(sa.text("SELECT 1")) == 1
    assert recorder.catalogue.fault is None


def test_a_lock_that_somebody_keeps_is_not_waited_for_long(server: Postgres, recorder: Recorder) -> None:
    kept = recorder.open(1)
    database = recorder.catalogue._engine.url.database or ""
    with server.connect(database) as other, other.transaction():
        other.execute("SELECT id FROM recordings FOR UPDATE")
        with pytest.raises(SealError, match="timeout"):
            kept.seal(seal_facts())
    assert recorder.catalogue.fault is None
    assert kept.seal(seal_facts()).frames == 500


def test_a_catalogue_that_is_closed_is_looked_for_no_longer(server: Postgres, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "data", server.database())
    with server.frozen():
        with pytest.raises(CatalogueBusy):
            recorder.open(1)
        assert [thread for thread in threading.enumerate() if thread.name == "catalogue"]
        recorder.store.close()
        recorder.catalogue.close()
    eventually(
        lambda: not [thread for thread in threading.enumerate() if thread.name == "catalogue"],
        within_s=10,
        what="its thread ends",
    )


START = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import postgres
with postgres.postgres() as server:
    print(server.process.pid, server.socket, flush=True)
    time.sleep(600)
"""


def test_a_server_of_the_tests_ends_with_the_process_that_made_it() -> None:
    """However that ends: a run of the tests that is killed leaves no server behind."""
    servers.programs()
    argv = [sys.executable, "-c", START, str(Path(__file__).parent)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid, home = run.stdout.readline().split()
        run.send_signal(signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), within_s=30, what="the server ends")
    shutil.rmtree(home)
