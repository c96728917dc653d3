"""The media side on a real relay with two telephones, or on a relay that a test scripts."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import parties
from call_values import PCMU, Journal

from announcer import PCM_HZ, BrokenPrompt, Prompt, PromptSet
from recproxy.call.commands import AllocateMedia, ConnectMedia, OpenRecording, PlayPrompt
from recproxy.call.events import Codec, Event, LegName, MediaAllocated, MediaDirection, StreamFacts
from recproxy.media import Media, MediaPlace, TrunkMedia
from rtp import (
    Latch,
    PlaybackEvent,
    PlaybackState,
    Playout,
    PortPair,
    PortPool,
    Relay,
    RelayError,
    Remote,
    Side,
    SideStats,
    StreamStats,
)

CALLER, CALLEE = LegName.CALLER, LegName.CALLEE
BOTH = (CALLER, CALLEE)
_E = TypeVar("_E", bound=Event)


class RealClock:
    """The engine's clock, and the wall's."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def utcnow(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)


class Sink:
    """A recorder that only remembers what it was told."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int, int, OpenRecording]] = []
        self.paused: list[tuple[str, int]] = []
        self.resumed: list[tuple[str, int, tuple[Codec, ...]]] = []
        self.sealed: list[tuple[str, int, str, int]] = []
        self.discarded: list[tuple[str, str]] = []
        self.dropped: list[tuple[str, tuple[str, ...], str]] = []
        self.listened: list[tuple[str, int, frozenset[int]]] = []
        self.swapped: list[tuple[str, int, int, bool]] = []
        self.parted: list[tuple[str, int, str, int, OpenRecording]] = []
        self.forgotten: list[str] = []
        self.why_not: str | None = None

    def open(self, call: str, stream: int, start_ns: int, plan: OpenRecording) -> None:
        self.opened.append((call, stream, start_ns, plan))

    def pause(self, call: str, at_ns: int) -> None:
        self.paused.append((call, at_ns))

    def resume(self, call: str, at_ns: int, codecs: tuple[Codec, ...]) -> None:
        self.resumed.append((call, at_ns, codecs))

    def seal(self, call: str, end_ns: int, reason: str, dropped: int) -> None:
        self.sealed.append((call, end_ns, reason, dropped))

    def listen(self, call: str, stream: int, payload_types: frozenset[int]) -> None:
        self.listened.append((call, stream, payload_types))

    def part(self, call: str, at_ns: int, reason: str, dropped: int, plan: OpenRecording) -> None:
        self.parted.append((call, at_ns, reason, dropped, plan))

    def discard(self, call: str, reason: str, purposes: tuple[str, ...] | None) -> None:
        assert purposes is None
        self.discarded.append((call, reason))

    def drop(self, call: str, purposes: tuple[str, ...], reason: str, *, earlier: bool) -> None:
        assert earlier
        self.dropped.append((call, purposes, reason))

    def swap(self, call: str, stream: int, at_ns: int, *, swapped: bool) -> None:
        self.swapped.append((call, stream, at_ns, swapped))

    def forget(self, call: str) -> None:
        self.forgotten.append(call)

    def fault(self, purpose: str = "") -> str | None:
        return self.why_not


class ScriptedRelay(Relay):
    """A relay without sockets: plays, forks and fails as a test says."""

    def __init__(self) -> None:
        self._handle = None
        self._streams = itertools.count(1)
        self._playbacks = itertools.count(101)
        self.streams: list[int] = []
        self.events: list[tuple[Side, frozenset[int]]] = []
        self.playing: dict[int, tuple[int, Side, Playout]] = {}
        self.stopped: list[int] = []
        self.reports: list[PlaybackEvent] = []
        self.refuses: set[Side] = set()
        self.fork_fails = False
        self.dropped = 0

    def add_stream(self, caller: PortPair, callee: PortPair) -> int:
        self.streams.append(next(self._streams))
        return self.streams[-1]

    def remove_stream(self, stream: int) -> StreamStats:
        self.streams.remove(stream)
        return self.stats(stream)

    def set_remote(self, stream: int, side: Side, remote: Remote | None, latch: Latch) -> None:
        assert stream in self.streams

    def set_events(self, stream: int, side: Side, payload_types: Collection[int]) -> None:
        assert stream in self.streams
        self.events.append((side, frozenset(payload_types)))

    def set_gate(self, stream: int, opened: bool) -> None:
        assert stream in self.streams

    def play(self, stream: int, side: Side, playout: Playout) -> int:
        if side in self.refuses:
            raise RelayError(f"stream {stream} already plays to the {side.name.lower()}")
        number = next(self._playbacks)
        self.playing[number] = (stream, side, playout)
        return number

    def stop_play(self, playback: int) -> None:
        self.stopped.append(playback)

    def poll_playbacks(self) -> list[PlaybackEvent]:
        reports, self.reports = self.reports, []
        return reports

    def start_fork(self, stream: int, guard_ns: int = 0) -> int:
        if self.fork_fails:
            raise RelayError("no fork")
        return time.monotonic_ns() + guard_ns

    def stop_fork(self, stream: int) -> int:
        return time.monotonic_ns()

    def stats(self, stream: int) -> StreamStats:
        values = dict.fromkeys(SideStats.__dataclass_fields__, 0)
        return StreamStats(SideStats(**{**values, "fork_dropped": self.dropped}), SideStats(**values))

    def report(self, side: Side, state: PlaybackState, *, at_ns: int = 0) -> None:
        """Let the playback to a side end."""
        number = next(n for n, (_, to, _) in self.playing.items() if to == side)
        self.reports.append(PlaybackEvent(number, state, 5, at_ns or time.monotonic_ns()))


def prompt(name: str = "training", *, frames: int = 5, tone_hz: int = 400) -> Prompt:
    """An announcement of a tone, ``frames`` times 20 ms long."""
    time_s = np.arange(frames * PCM_HZ // 50) / PCM_HZ
    pcm = np.rint(8000 * np.sin(2 * np.pi * tone_hz * time_s)).astype(np.int16)
    return Prompt(name, "nl", Path("training.wav"), f"{tone_hz:064x}", pcm)


def prompts(*given: Prompt) -> PromptSet:
    """A set of these, and one that is broken."""
    made = {(one.name, one.language): one for one in given or (prompt(),)}
    return PromptSet(made, (BrokenPrompt("broken", "nl", "broken.wav: is damaged"),))


def facts(address: str, port: int, *, rtcp_port: int | None = None) -> StreamFacts:
    """A description that names where a party receives."""
    return StreamFacts("audio", "RTP/AVP", address, port, rtcp_port, MediaDirection.SENDRECV, 20, (PCMU,))


def play(
    *legs: LegName, name: str = "training", codec: Codec = PCMU, ptime_ms: int = 20, stream: int = 0
) -> PlayPrompt:
    """The command to play to these legs, or to both."""
    return PlayPrompt(name, "nl", legs or BOTH, stream, codec, ptime_ms)


class Stage:
    """Media over a relay, with what it posted and noted."""

    def __init__(self, relay: Relay, *, pairs: int = 20, guard_ms: int = 0, announcements: PromptSet) -> None:
        self.relay = relay
        self.pool = PortPool(parties.RELAY_ADDRESS, 20000, 20000 + 2 * pairs - 1)
        self.sink = Sink()
        self.journal = Journal()
        self._random = iter(range(1, 1 << 20))
        place = MediaPlace(self.pool, "192.0.2.7")
        self.media = Media(
            relay=relay,
            trunks={
                "carrier": TrunkMedia(place, place, Latch.EXACT, Latch.ANY),
                "pbx": TrunkMedia(place, place, Latch.ANY, Latch.EXACT),
                "outside": TrunkMedia(MediaPlace(self.pool, "198.51.100.7"), place, Latch.ANY, Latch.EXACT),
            },
            prompts=announcements,
            recorder=self.sink,
            guard_ns=guard_ms * 1_000_000,
            clock=RealClock(),
            random32=lambda: next(self._random),
            post=self.journal.post,
            note=self.journal.note,
        )
        self.phones: dict[LegName, socket.socket] = {}
        self.ports: dict[LegName, int] = {}

    def allocate(self, call: str = "c1", *, trunk: str = "carrier", streams: int = 1) -> MediaAllocated:
        """Open ports; fails if there are none."""
        self.media.execute(call, AllocateMedia(trunk, streams))
        made = self.journal.of(MediaAllocated, call)[-1]
        self.ports = {CALLER: made.caller[0].rtp_port, CALLEE: made.callee[0].rtp_port}
        return made

    def connect(self, call: str = "c1") -> None:
        """Two telephones that both sides know of."""
        for leg, address in ((CALLER, parties.CALLER_ADDRESS), (CALLEE, parties.CALLEE_ADDRESS)):
            self.phones[leg] = parties.udp(address)
            self.media.execute(call, ConnectMedia(leg, (facts(*self.phones[leg].getsockname()),)))

    def send(self, leg: LegName, sequence: int, *, source: socket.socket | None = None) -> None:
        """One packet of a party, or of somebody else, to the port that faces it."""
        where = (parties.RELAY_ADDRESS, self.ports[leg])
        (source or self.phones[leg]).sendto(parties.rtp(sequence, ssrc=10 + BOTH.index(leg)), where)

    def counted(self, leg: LegName, name: str, value: int, call: str = "c1") -> None:
        """Wait until a counter of the call's first stream has this value."""
        number = self.media._calls[call].streams[0].number
        side = Side.CALLER if leg is CALLER else Side.CALLEE
        reached = parties.eventually(
            lambda: int(getattr(self.relay.stats(number)[side], name)), lambda now: now >= value
        )
        assert reached == value, f"{name} of the {leg.value}"

    def until(self, kind: type[_E], call: str = "c1") -> _E:
        """Poll until an event of this kind comes."""

        def look() -> list[_E]:
            self.media.poll()
            return self.journal.of(kind, call)

        return parties.eventually(look, bool)[0]

    def idle(self) -> None:
        """Poll until no playback is known any more."""

        def look() -> int:
            self.media.poll()
            return len(self.relay._borrowed)

        parties.eventually(look, lambda left: left == 0)

    def close(self) -> None:
        """Close the telephones."""
        for phone in self.phones.values():
            phone.close()


@contextmanager
def real_stage(
    *, pairs: int = 20, guard_ms: int = 0, announcements: PromptSet | None = None
) -> Iterator[Stage]:
    """Media on the real engine."""
    with Relay() as relay:
        stage = Stage(relay, pairs=pairs, guard_ms=guard_ms, announcements=announcements or prompts())
        try:
            yield stage
        finally:
            stage.close()


def scripted_stage(*, pairs: int = 20) -> tuple[Stage, ScriptedRelay]:
    """Media on a relay that does what a test says."""
    relay = ScriptedRelay()
    return Stage(relay, pairs=pairs, announcements=prompts()), relay
