"""However commands, batches and other calls' work interleave, a recording is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from call_values import DTMF, PCMU, Journal, ManualClock, open_recording
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_stage import FRAME, MS, Packet, ScriptedFork, batch_of, noise

from recproxy.call.events import RecordingFailed
from recproxy.recorder import Recorder, RecorderConfig
from recproxy.recorder.jobs import Inbox
from rtp import CodecSpec, Side, Timeline, choose_format
from storage import OpenRequest, SealFacts

SPECS = {0: CodecSpec("PCMU", 8000), 101: CodecSpec("TELEPHONE-EVENT", 8000)}
LENGTH_MS = 3000


@dataclass
class Written:
    """A writer that keeps its frames."""

    recording: Any
    frames: bytes = b""
    sealed: list[SealFacts] = field(default_factory=list)

    def write(self, frames: bytes) -> None:
        self.frames += frames


class Shelf:
    """A store in memory, of one writer a call."""

    catalogue = SimpleNamespace(fault=None)

    def __init__(self) -> None:
        self.by_call: dict[str, Written] = {}

    def open_together(self, requests: Sequence[OpenRequest], now: datetime) -> list[Written]:
        opened = []
        for request in requests:
            assert request.index is None
            assert request.parties.caller
            assert request.audio.rate_hz == 8000
            opened.append(Written(request.tags.recording))
            self.by_call[request.tags.call] = opened[-1]
        assert now.tzinfo is not None
        return opened

    def seal_together(self, seals: Sequence[tuple[Written, SealFacts]]) -> list[None]:
        for written, facts in seals:
            written.sealed.append(facts)
        return [None] * len(seals)

    def sync(self) -> tuple[()]:
        return ()

    def free_bytes(self) -> int:
        return 1 << 40


@dataclass(frozen=True)
class Course:
    """What happens when, in ms since the recording's start."""

    arrivals: tuple[tuple[int, int, int], ...]  # side, sequence, jitter
    holds: tuple[int, ...]  # pause, resume, pause, …
    opened_ms: int  # when the recorder comes to open it
    steps: tuple[tuple[str, int], ...]  # what the recorder does next, and how long after


@st.composite
def courses(draw: st.DrawFn) -> Course:
    packet = st.tuples(st.integers(0, 1), st.integers(0, 149), st.integers(0, 50))
    return Course(
        arrivals=tuple(draw(st.lists(packet, max_size=200, unique_by=lambda one: one[:2]))),
        holds=tuple(sorted(draw(st.sets(st.integers(0, LENGTH_MS - 1), max_size=6)))),
        opened_ms=draw(st.integers(0, 900)),
        steps=tuple(
            draw(
                st.lists(
                    st.tuples(st.sampled_from(["turn", "tick", "seal of another"]), st.integers(1, 700)),
                    max_size=30,
                )
            )
        ),
    )


def packets(course: Course, start_ns: int) -> list[Packet]:
    """One nanosecond after whole milliseconds: never at the instant of a command."""
    sounds = noise(150, 1), noise(150, 2)
    return [
        Packet(
            1,
            Side(side),
            start_ns + (sequence * 20 + jitter) * MS + 1,
            sequence,
            sounds[side][sequence * FRAME : (sequence + 1) * FRAME],
        )
        for side, sequence, jitter in course.arrivals
    ]


def straight(course: Course) -> bytes:
    """The recording if everything were done at its own instant."""
    timeline = Timeline(choose_format(SPECS.values()), SPECS, 0)
    came = sorted(packets(course, 0), key=lambda packet: packet.arrival_ns)
    for number, at in enumerate((*course.holds, LENGTH_MS)):
        due = [packet for packet in came if packet.arrival_ns <= at * MS]
        came = came[len(due) :]
        if due:
            batch = batch_of(due)
            timeline.push(batch.records, batch.data)
        if at < LENGTH_MS or number < len(course.holds):
            (timeline.resume if number % 2 else timeline.pause)(at * MS)
    return timeline.finish(LENGTH_MS * MS)


class Run:
    """The recorder's turns as the course has them."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.clock = ManualClock()
        self.start_ns = self.clock.now_ns
        self.fork = ScriptedFork(self.clock)
        self.fork.ring = packets(course, self.start_ns)
        self.journal = Journal()
        self.shelf = Shelf()
        store: Any = self.shelf
        numbers = iter(range(1, 1000))
        self.recorder = Recorder(
            RecorderConfig(node="node"),
            store=store,
            fork=self.fork,
            clock=self.clock,
            new_id=lambda: f"{next(numbers):032x}",
            post=self.journal.post,
            note=self.journal.note,
        )
        self.told = 0
        self.others = 0

    def to(self, milliseconds: int) -> None:
        """Let time pass; the signalling side gives each command at its instant."""
        until = min(milliseconds, LENGTH_MS)
        holds = self.course.holds
        while self.told < len(holds) and holds[self.told] <= until:
            at_ns = self.start_ns + holds[self.told] * MS
            if self.told % 2:
                self.recorder.resume("c1", at_ns, (PCMU, DTMF))
            else:
                self.recorder.pause("c1", at_ns)
            self.told += 1
        self.clock.now_ns = self.start_ns + until * MS

    def work(self) -> None:
        self.recorder._inbox.take_in()
        while self.recorder._inbox:
            self.recorder._work()

    def seal_another(self) -> None:
        """The seal of another call is the first thing the recorder finds in its queue."""
        self.others += 1
        call = f"other{self.others}"
        self.recorder._inbox.take_in()
        held, self.recorder._inbox = self.recorder._inbox, Inbox(self.clock)
        self.recorder.open(call, 1000 + self.others, self.clock.now_ns, open_recording())
        self.recorder.seal(call, self.clock.now_ns, "hangup", 0)
        self.work()
        self.recorder._inbox = held

    def run(self) -> bytes:
        self.recorder.open("c1", 1, self.start_ns, open_recording(PCMU, DTMF))
        now, is_open = 0, False
        for what, after in self.course.steps:
            now += after
            self.to(now)
            if what == "seal of another":
                self.seal_another()
            elif not is_open and now < self.course.opened_ms:
                self.recorder._tick()
            elif what == "turn":
                is_open = True
                self.work()
                self.recorder._tick()
            else:
                self.recorder._tick()
        self.to(LENGTH_MS)
        self.recorder.seal("c1", self.clock.now_ns, "hangup", 0)
        self.work()
        assert not self.journal.of(RecordingFailed), self.journal.notes
        assert len(self.shelf.by_call["c1"].sealed) == 1
        assert not self.recorder._packets
        return self.shelf.by_call["c1"].frames


@settings(deadline=None, max_examples=200)
@given(courses())
def test_a_recording_is_the_same_however_the_recorders_work_interleaves(course: Course) -> None:
    run = Run(course)
    assert run.run() == straight(course)
    paused = timedelta(0)
    edges = (*course.holds, LENGTH_MS) if len(course.holds) % 2 else course.holds
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        paused += timedelta(milliseconds=end - start)
    assert run.shelf.by_call["c1"].sealed[0].paused == paused
