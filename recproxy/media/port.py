"""The media side of all calls: ports, gate, announcement and fork.

Runs on the signalling thread and never touches a disk: the recorder behind
``RecordingSink`` has its own thread and queue. All audio stays in the native
engine; Python is called per command and per finished announcement, never per
packet.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, assert_never

from announcer import PromptSet
from recproxy.call.commands import (
    AllocateMedia,
    ConnectMedia,
    DiscardRecording,
    DropPurposes,
    MediaCommand,
    Note,
    OpenRecording,
    PartRecording,
    PauseRecording,
    PlayPrompt,
    PlayTone,
    ReleaseMedia,
    RenewMedia,
    ResumeRecording,
    SealRecording,
    SetGate,
    StopPrompt,
    StreamKeys,
    SwapSides,
)
from recproxy.call.events import (
    SRTP_SECRET_BYTES,
    Event,
    LegFault,
    LegName,
    LocalMedia,
    MediaAllocated,
    MediaRenewed,
    MediaUnavailable,
    RecordingFailed,
    StreamFacts,
)
from recproxy.media.announcements import SIDES, Announcements
from recproxy.media.sink import Clock, RecordingSink
from rtp import (
    Latch,
    PortPair,
    PortPool,
    PortsExhausted,
    Relay,
    RelayError,
    Remote,
    Side,
    SrtpKey,
    SrtpSuite,
    StreamStats,
)
from rtp.codecs import TELEPHONE_EVENT

_UNSPECIFIED: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - an old way to say hold (RFC 3264 section 8.4)
_COUNTS: Final = ("received", "relayed", "foreign", "malformed", "gated", "send_errors", "fork_dropped")


@dataclass(frozen=True, slots=True)
class MediaPlace:
    """Where a side's media comes in.

    Attributes:
        ports: Port pairs of one of our addresses.
        advertise: Address that SDP shows for them.
    """

    ports: PortPool
    advertise: str


@dataclass(frozen=True, slots=True)
class TrunkMedia:
    """Media settings of the two sides of calls that come from one trunk.

    Attributes:
        caller: Where the caller's packets come in.
        callee: Where the callee's packets come in; may be of the other IP version.
        caller_latch: Where the caller's packets are taken from.
        callee_latch: Where the callee's packets are taken from.
        callee_secure: Whether recorded calls are SRTP towards the callee; None: as the caller has it.
    """

    caller: MediaPlace
    callee: MediaPlace
    caller_latch: Latch
    callee_latch: Latch
    callee_secure: bool | None = None


@dataclass(frozen=True, slots=True)
class _Stream:
    number: int
    caller: PortPair
    callee: PortPair


@dataclass(slots=True)
class _Call:
    places: dict[LegName, MediaPlace]
    latches: dict[LegName, Latch]
    callee_secure: bool | None
    streams: list[_Stream] = field(default_factory=list)
    remotes: dict[tuple[int, LegName], Remote | None] = field(default_factory=dict)
    keys: dict[tuple[int, LegName], StreamKeys] = field(default_factory=dict)
    left: set[tuple[int, LegName, str]] = field(default_factory=set)
    events: dict[tuple[int, LegName], frozenset[int]] = field(default_factory=dict)
    recorded: int | None = None
    swapped: bool = False
    dropped: int = 0


class Media:
    """Implements ``recproxy.call.driver.MediaPort``."""

    def __init__(
        self,
        *,
        relay: Relay,
        trunks: Mapping[str, TrunkMedia],
        prompts: PromptSet,
        recorder: RecordingSink,
        guard_ns: int,
        clock: Clock,
        random32: Callable[[], int],
        post: Callable[[str, Event], None],
        note: Callable[[str, Note], None],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Compose the media side.

        Args:
            relay: The native engine.
            trunks: Media settings of calls, by the name of the trunk that they come from.
            prompts: Loaded announcements.
            recorder: Takes the fork.
            guard_ns: Time between the announcement's end and the first packet that
                may be recorded, so that no packet holds earlier sound.
            clock: Time.
            random32: 32 random bits, for SSRC, sequence number and timestamp (RFC 3550 section 5.1).
            post: Takes events, any thread.
            note: Takes lines for the event log.
            random_bytes: That many random bytes, for our keys of SRTP.
        """
        self._relay = relay
        self._trunks = trunks
        self._announcements = Announcements(
            relay=relay, prompts=prompts, clock=clock, random32=random32, post=post, note=note
        )
        self._recorder = recorder
        self._guard_ns = guard_ns
        self._clock = clock
        self._random_bytes = random_bytes
        self._post = post
        self._note = note
        self._calls: dict[str, _Call] = {}

    def fault(self, purpose: str = "") -> str | None:
        """Why nothing can be recorded at present, or nothing for this purpose; None if it can."""
        return self._recorder.fault(purpose)

    def execute(self, call: str, command: MediaCommand) -> None:  # noqa: C901, PLR0912 - one row a command
        """Carry out one command of ``call``; failures come back as events."""
        match command:
            case AllocateMedia():
                self._allocate(call, command)
            case ConnectMedia():
                self._connect(call, command)
            case RenewMedia():
                self._renew(call, command.leg)
            case SetGate():
                for stream in self._streams(call):
                    self._relay.set_gate(stream.number, opened=command.opened)
            case PlayPrompt():
                self._announcements.play(call, self._stream(call, command.stream).number, command)
            case StopPrompt():
                self._announcements.stop(call)
            case PlayTone():
                self._announcements.play_tone(call, self._stream(call, command.stream).number, command)
            case OpenRecording():
                self._open(call, command)
            case PartRecording():
                self._part(call, command)
            case PauseRecording():
                self._recorder.pause(call, self._clock.monotonic_ns())
            case ResumeRecording():
                self._recorder.resume(call, self._clock.monotonic_ns(), command.codecs)
            case SealRecording():
                self._seal(call, command)
            case DiscardRecording():
                self._discard(call, command)
            case DropPurposes():
                self._recorder.drop(call, command.purposes, command.reason, earlier=command.earlier)
            case SwapSides():
                self._swap(call, command)
            case ReleaseMedia():
                self._release(call)
            case _:
                assert_never(command)

    def use_trunks(self, trunks: Mapping[str, TrunkMedia]) -> None:
        """Take other trunks for new calls; one that is gone is kept for the calls it has."""
        self._trunks = {**self._trunks, **trunks}

    def use_prompts(self, prompts: PromptSet) -> None:
        """Play these from now on; what is being played goes on."""
        self._announcements.use(prompts)

    @property
    def playing(self) -> bool:
        """Whether an announcement is on the wire, whose end is waited for."""
        return self._announcements.playing

    def poll(self) -> None:
        """Turn the engine's playback reports into events; call it often."""
        self._announcements.poll()

    # ------------------------------------------------------------- commands

    def _streams(self, call: str) -> list[_Stream]:
        state = self._calls.get(call)
        return state.streams if state is not None else []

    def _stream(self, call: str, index: int) -> _Stream:
        return self._calls[call].streams[index]

    def _allocate(self, call: str, command: AllocateMedia) -> None:
        state = self._calls.get(call)
        if state is None:
            trunk = self._trunks[command.trunk]
            latches = {LegName.CALLER: trunk.caller_latch, LegName.CALLEE: trunk.callee_latch}
            places = {LegName.CALLER: trunk.caller, LegName.CALLEE: trunk.callee}
            state = self._calls[call] = _Call(places, latches, trunk.callee_secure)
        opened: list[_Stream] = []
        try:
            for _ in range(command.streams):
                opened.append(self._open_stream(state.places))  # noqa: PERF401 - what was opened must be known on failure
        except (PortsExhausted, RelayError) as err:
            for stream in opened:
                self._close_stream(state.places, stream)
            self._post(call, MediaUnavailable(str(err)))
            return
        state.streams += opened
        self._post(
            call,
            MediaAllocated(
                tuple(self._local(state.places[LegName.CALLER], stream.caller) for stream in opened),
                tuple(self._local(state.places[LegName.CALLEE], stream.callee) for stream in opened),
                state.callee_secure,
            ),
        )

    def _local(self, place: MediaPlace, pair: PortPair) -> LocalMedia:
        return LocalMedia(place.advertise, pair.rtp_port, self._random_bytes(SRTP_SECRET_BYTES))

    def _open_stream(self, places: Mapping[LegName, MediaPlace]) -> _Stream:
        caller_ports, callee_ports = places[LegName.CALLER].ports, places[LegName.CALLEE].ports
        caller = caller_ports.allocate()
        try:
            callee = callee_ports.allocate()
        except PortsExhausted:
            caller_ports.release(caller)
            raise
        try:
            number = self._relay.add_stream(caller, callee)
        except RelayError:
            caller_ports.release(caller)
            callee_ports.release(callee)
            raise
        return _Stream(number, caller, callee)

    def _close_stream(self, places: Mapping[LegName, MediaPlace], stream: _Stream) -> StreamStats:
        stats = self._relay.remove_stream(stream.number)
        places[LegName.CALLER].ports.release(stream.caller)
        places[LegName.CALLEE].ports.release(stream.callee)
        return stats

    def _connect(self, call: str, command: ConnectMedia) -> None:
        state = self._calls[call]
        side, latch = SIDES[command.leg], state.latches[command.leg]
        keys = command.keys or (None,) * len(command.streams)
        for stream, facts, key in zip(state.streams, command.streams, keys, strict=False):
            remote = _remote(facts)
            place = (stream.number, command.leg)
            try:
                self._listen(call, state, place, facts)
                self._secure(state, place, key)
            except RelayError as err:
                self._post(call, LegFault(command.leg, str(err)))
                return
            if place in state.remotes and state.remotes[place] == remote:
                continue  # the same SDP again must not forget what was latched
            try:
                self._relay.set_remote(stream.number, side, remote, latch)
            except RelayError as err:  # an address of the other IP version
                self._post(call, LegFault(command.leg, str(err), by_sdp=True))
                return
            state.remotes[place] = remote

    def _renew(self, call: str, leg: LegName) -> None:
        """Nothing comes from or goes to whoever sat there, and no key of his serves whoever is next."""
        state = self._calls[call]
        for stream in state.streams:
            place = (stream.number, leg)
            try:
                self._relay.set_remote(stream.number, SIDES[leg], None, state.latches[leg])
            except RelayError as err:
                self._post(call, LegFault(leg.other, str(err)))
                return
            state.remotes[place] = None
            state.keys.pop(place, None)
        state.left = {spent for spent in state.left if spent[1] is not leg}
        ports = [stream.caller if leg is LegName.CALLER else stream.callee for stream in state.streams]
        self._post(call, MediaRenewed(leg, tuple(self._local(state.places[leg], pair) for pair in ports)))

    def _listen(self, call: str, state: _Call, place: tuple[int, LegName], facts: StreamFacts | None) -> None:
        """Hear the keys of both parties by what either SDP calls telephone-event.

        Raises:
            RelayError: The stream is gone.
        """
        number, _ = place
        if facts is None:
            return
        before = self._events(state, number)
        state.events[place] = frozenset(
            codec.payload_type for codec in facts.codecs if codec.name == TELEPHONE_EVENT
        )
        now = self._events(state, number)
        if now != before:
            for side in Side:
                self._relay.set_events(number, side, now)
            self._recorder.listen(call, number, now)

    @staticmethod
    def _events(state: _Call, number: int) -> frozenset[int]:
        return frozenset().union(*(state.events.get((number, leg), frozenset()) for leg in LegName))

    def _secure(self, state: _Call, place: tuple[int, LegName], keys: StreamKeys | None) -> None:
        """SRTP with a leg, before anything can be sent to it; the engine keeps a key that stays.

        Without keys, as when the leg disabled the stream, those that it had stay: a key that is
        set anew starts its packet counter anew, and two packets under one counter give away their
        difference. For the same reason no leg goes back to a suite, hence to a key, that it left.

        Raises:
            RelayError: It went back, or the engine cannot do the suite.
        """
        if keys is None:
            return
        number, leg = place
        former = state.keys.get(place)
        if former is not None and former.suite != keys.suite:
            state.left.add((*place, former.suite))
        if (*place, keys.suite) in state.left:
            raise RelayError(f"SRTP: the {leg.value} went back to {keys.suite}, whose key is spent")
        suite = SrtpSuite[keys.suite]
        self._relay.set_crypto(
            number, SIDES[leg], inbound=SrtpKey(suite, keys.inbound), outbound=SrtpKey(suite, keys.outbound)
        )
        state.keys[place] = keys

    def _open(self, call: str, command: OpenRecording) -> None:
        state = self._calls[call]
        number = state.streams[command.stream].number
        try:
            start_ns = self._relay.start_fork(number, self._guard_ns)
        except RelayError as err:
            self._post(call, RecordingFailed(str(err)))
            return
        state.recorded = number
        self._recorder.open(call, number, start_ns, command)

    def _seal(self, call: str, command: SealRecording) -> None:
        state = self._calls.get(call)
        if state is None or state.recorded is None:
            return
        end_ns = self._relay.stop_fork(state.recorded)
        before, state.dropped = state.dropped, self._fork_dropped(state.recorded)
        state.recorded = None
        self._recorder.seal(call, end_ns, command.reason, state.dropped - before)

    def _part(self, call: str, command: PartRecording) -> None:
        """The fork goes on: what arrives from this instant, or a guard after it, is in the other."""
        state = self._calls.get(call)
        if state is None or state.recorded is None:
            self._post(call, RecordingFailed("there is no recording to go on from"))
            return
        before, state.dropped = state.dropped, self._fork_dropped(state.recorded)
        at_ns = self._clock.monotonic_ns() + (self._guard_ns if command.guarded else 0)
        self._recorder.part(call, at_ns, command.reason, state.dropped - before, command.following)

    def _fork_dropped(self, number: int) -> int:
        """Packets of a stream that the ring could not hold, so far."""
        stats = self._relay.stats(number)
        return stats.caller.fork_dropped + stats.callee.fork_dropped

    def _discard(self, call: str, command: DiscardRecording) -> None:
        state = self._calls.get(call)
        if state is None or (state.recorded is None and command.purposes is None):
            return
        if state.recorded is not None:
            self._relay.stop_fork(state.recorded)
        state.recorded = None
        self._recorder.discard(call, command.reason, command.purposes)

    def _swap(self, call: str, command: SwapSides) -> None:
        state = self._calls.get(call)
        if state is None:
            return
        state.swapped = command.swapped
        for stream in state.streams:
            self._recorder.swap(call, stream.number, self._clock.monotonic_ns(), swapped=command.swapped)

    def _release(self, call: str) -> None:
        if call in self._calls and self._calls[call].swapped:
            self._swap(call, SwapSides(swapped=False))
        state = self._calls.pop(call, None)
        if state is None:
            return
        self._announcements.forget(call)
        self._recorder.forget(call)
        for stream in state.streams:
            if self._events(state, stream.number):
                self._recorder.listen(call, stream.number, frozenset())
            stats = self._close_stream(state.places, stream)
            fields = [
                (f"{leg}_{name}", getattr(side, name))
                for leg, side in (("caller", stats.caller), ("callee", stats.callee))
                for name in _COUNTS
            ]
            self._note(call, Note("media.released", tuple(fields)))


def _remote(facts: StreamFacts | None) -> Remote | None:
    if facts is None or facts.address in _UNSPECIFIED:
        return None
    return Remote(facts.address, facts.port, facts.rtcp_port)
