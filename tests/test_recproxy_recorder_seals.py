"""A catalogue that is away when a call ends: the recording is complete, and sealed once it is back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from call_values import open_recording
from recorder_stage import MS, Stage, noise, staged

from recproxy.call.events import RecordingFailed, RecordingOpened
from recproxy.recorder.jobs import Stop
from rtp import Side
from storage import Catalogue, CatalogueBusy, OsFiles, RecordingStore, State, read_events, recover
from storage.catalogue import SealedRow

AWAY = "the server has not answered for 2.5 s"


class Server:
    """What stands between the store and its catalogue."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.done_all_the_same = False
        self.asked = 0
        seal = Catalogue.mark_sealed

        def mark_sealed(catalogue: Catalogue, rows: Sequence[SealedRow]) -> None:
            self.asked += 1
            if not self.away or self.done_all_the_same:
                seal(catalogue, rows)
            if self.away:
                raise CatalogueBusy(AWAY)

        monkeypatch.setattr(Catalogue, "mark_sealed", mark_sealed)
        monkeypatch.setattr(Catalogue, "fault", property(lambda _: AWAY if self.away else None))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as made:
        yield made


def recorded(stage: Stage) -> tuple[str, bytes]:
    """A recording of a second, still open; and what its caller said."""
    stage.recorder.open("c1", 1, stage.clock.now_ns, open_recording(completed=stage.clock.utcnow()))
    stage.work()
    sound = noise(50, 1)
    stage.say(1, Side.CALLER, sound, at_ns=stage.clock.now_ns + MS)
    for _ in range(5):
        stage.turn(300)
    return stage.journal.of(RecordingOpened, "c1")[-1].recording, sound


def ended(stage: Stage) -> None:
    stage.recorder.seal("c1", stage.clock.now_ns, "hangup", 0)
    stage.turn(400)


@pytest.mark.parametrize("committed", [False, True])
def test_it_is_sealed_when_the_catalogue_is_back_and_nothing_is_lost(
    stage: Stage, server: Server, committed: bool
) -> None:
    """Also if the server did what it was asked, and only its answer did not come."""
    recording, sound = recorded(stage)
    server.away, server.done_all_the_same = True, committed
    ended(stage)
    assert stage.row(recording).state is (State.SEALED if committed else State.OPEN)
    assert not stage.journal.of(RecordingFailed)
    assert stage.recorder.fault("training") is not None
    asked = server.asked
    for _ in range(5):
        stage.turn(400)
    assert server.asked == asked, "nobody waits for a server that does not answer"
    server.away = False
    stage.turn(400)
    assert stage.row(recording).state is State.SEALED
    assert stage.channels(recording)[0][8:].startswith(sound)
    assert stage.sound_verdict(recording)
    assert [line["recording"] for line in stage.journal.noted("recording.sealed")] == [recording]
    assert not list((stage.root / "wal").glob("*.key")), "nobody here can read it any more"
    assert [line["what"] for line in stage.journal.noted("disk.failed")] == ["catalogue"]
    assert [line["what"] for line in stage.journal.noted("disk.recovered")] == ["catalogue"]
    stage.audit.flush()
    events = [line["event"] for line in read_events(OsFiles(stage.root))]
    assert (events.count("rec.sealed"), events.count("rec.failed")) == (1, 0)


def test_other_recordings_go_on_meanwhile(stage: Stage, server: Server) -> None:
    recorded(stage)
    stage.recorder.open("c2", 2, stage.clock.now_ns, open_recording(completed=stage.clock.utcnow()))
    stage.work()
    server.away = True
    ended(stage)
    sound = noise(50, 2)
    stage.say(2, Side.CALLEE, sound, at_ns=stage.clock.now_ns)
    for _ in range(5):
        stage.turn(300)
    server.away = False
    stage.recorder.seal("c2", stage.clock.now_ns, "hangup", 0)
    stage.turn(400)
    second = stage.journal.of(RecordingOpened, "c2")[-1].recording
    assert sound in stage.channels(second)[1]
    assert len(stage.journal.noted("recording.sealed")) == 2


def test_a_recorder_that_stops_before_leaves_it_to_the_next_start(stage: Stage, server: Server) -> None:
    recording, sound = recorded(stage)
    server.away = True
    ended(stage)
    stage.recorder._inbox.put(Stop())
    stage.work()
    assert not stage.store.open_recordings
    stage.store.close()
    server.away = False
    store = RecordingStore(stage.disk, stage.catalogue, stage.audit, stage.store._recipients)
    (found,) = recover(store, stage.clock.utcnow())
    assert found.recording.text == recording
    assert stage.channels(recording)[0][8:].startswith(sound)
    stage.store = store
