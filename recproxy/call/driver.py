"""Takes events from a queue, gives them to the call's machine, carries out its commands.

The driver runs on the signalling thread: SIP events are posted there by the
callbacks, media events by other threads through the same queue. Ports answer a
command they cannot carry out with an event; an exception that leaves a port or
the machine is a fault of ours, it ends that call and no other.
"""

from __future__ import annotations

import heapq
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, assert_never

from recproxy.call.commands import (
    AcknowledgeReoffer,
    AllocateMedia,
    AnswerCaller,
    AnswerFork,
    AnswerReoffer,
    AuditNote,
    Command,
    ConnectMedia,
    DiscardRecording,
    DropPurposes,
    EndLeg,
    IndicateRecording,
    InviteCallee,
    MediaCommand,
    NameRecording,
    Note,
    OpenRecording,
    PartRecording,
    PauseRecording,
    PlayPrompt,
    PlayTone,
    ProgressCaller,
    ReleaseMedia,
    RenewMedia,
    ResumeRecording,
    SealRecording,
    SendReoffer,
    SetGate,
    SipCommand,
    StopPrompt,
    SwapSides,
)
from recproxy.call.events import DrainExpired, Event, ForkInvited, InviteReceived, LegFault
from recproxy.call.forked import ForkedCall
from recproxy.call.machine import CallMachine, Decider, Limits
from recproxy.errors import IllegalEvent

_SPARE_DEADLINES: Final = 256  # old ones among the deadlines before they are swept out


class SipPort(Protocol):
    """Carries out SIP commands; owned by the signalling thread."""

    def execute(self, call: str, command: SipCommand) -> None:
        """Carry out one command of ``call``; failures come back as events."""
        ...

    def forget(self, call: str) -> None:
        """``call`` is over: drop what is kept for it."""
        ...


class MediaPort(Protocol):
    """Carries out media commands without waiting for a disk."""

    def execute(self, call: str, command: MediaCommand) -> None:
        """Carry out one command of ``call``; failures come back as events."""
        ...

    def fault(self, purpose: str = "") -> str | None:
        """Why nothing can be recorded at present, or nothing for this purpose; None if it can."""
        ...


class EventSink(Protocol):
    """Where notes go: the event log and the audit chain."""

    def note(self, call: str, note: Note) -> None:
        """Write a line to the event log."""
        ...

    def audit(self, call: str, note: AuditNote) -> None:
        """Hand an event to the audit chain."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside of all calls."""

    sip: SipPort
    media: MediaPort
    sink: EventSink


class Driver:
    """All calls of the daemon. Only ``post`` may be called from other threads."""

    def __init__(self, policy: Callable[[], Decider], limits: Limits, clock: Callable[[], float]) -> None:
        """Prepare a driver without calls.

        Args:
            policy: Gives the policy in force; each call keeps the one it began with.
            limits: Guard times of a call.
            clock: Monotonic seconds.
        """
        self._policy = policy
        self._limits = limits
        self._clock = clock
        self._queue: queue.SimpleQueue[tuple[str, Event]] = queue.SimpleQueue()
        self._calls: dict[str, CallMachine | ForkedCall] = {}
        self._due: list[tuple[float, str]] = []  # a heap; what a machine no longer waits for stays in it
        self._watched: dict[str, float] = {}  # of each call, what was put there last and is there still
        self._unreported = 0
        self._ports: Ports | None = None

    def connect(self, ports: Ports) -> None:
        """Name the ports; they in turn post to this driver. Once, before the first event."""
        self._ports = ports

    @property
    def active(self) -> int:
        """Number of calls that have not ended."""
        return len(self._calls)

    @property
    def unreported(self) -> int:
        """Faults of ours that the event log did not take; should be 0."""
        return self._unreported

    def post(self, call: str, event: Event) -> None:
        """Hand in an event; any thread."""
        self._queue.put((call, event))

    def pump(self) -> int:
        """Treat every waiting event and passed deadline; returns how many events there were."""
        count = 0
        for call, event in self._waiting():
            self._treat(call, event)
            count += 1
        now = self._clock()
        for call in self._passed(now):
            machine = self._calls.get(call)
            deadline = machine.deadline() if machine is not None else None
            if machine is None or deadline is None or deadline > now:
                continue  # the call has ended, or what it waited for has come
            self._advance(call, machine, "deadline", partial(machine.expire, now))
        return count

    def drain(self) -> None:
        """End every call (the daemon stops)."""
        for call in list(self._calls):
            self.post(call, DrainExpired())

    def _waiting(self) -> Iterator[tuple[str, Event]]:
        while True:
            try:
                yield self._queue.get_nowait()
            except queue.Empty:
                return

    def _passed(self, now: float) -> list[str]:
        """Calls of which a deadline, perhaps an old one, has passed."""
        passed = []
        while self._due and self._due[0][0] <= now:
            deadline, call = heapq.heappop(self._due)
            if self._watched.get(call) == deadline:
                del self._watched[call]
            passed.append(call)
        return passed

    def _watch(self, call: str, deadline: float) -> None:
        """Look at ``call`` again at its new deadline."""
        self._watched[call] = deadline
        heapq.heappush(self._due, (deadline, call))
        if len(self._due) > 2 * len(self._calls) + _SPARE_DEADLINES:
            self._due = [
                (waiting, name)
                for name, machine in self._calls.items()
                if (waiting := machine.deadline()) is not None
            ]
            self._watched = {name: waiting for waiting, name in self._due}
            heapq.heapify(self._due)

    def _treat(self, call: str, event: Event) -> None:
        machine = self._calls.get(call)
        if machine is None:
            if not isinstance(event, InviteReceived | ForkInvited):
                return  # the call has ended meanwhile
            kind = ForkedCall if isinstance(event, ForkInvited) else CallMachine
            machine = kind(self._policy(), self._limits, recorder_fault=self._out.media.fault)
            self._calls[call] = machine
        self._advance(call, machine, type(event).__name__, partial(machine.receive, event, self._clock()))

    def _advance(
        self, call: str, machine: CallMachine | ForkedCall, what: str, step: Callable[[], list[Command]]
    ) -> None:
        """Let the machine take a step and carry out what it says; a step that fails ends the call."""
        try:
            commands = step()
        except Exception as err:  # noqa: BLE001 - the boundary: one call's fault ends that call only
            self._confused(call, what, err)
            try:
                commands = machine.receive(DrainExpired(), self._clock())
            except Exception as second:  # noqa: BLE001 - the same: the machine cannot even say how to end
                self._confused(call, DrainExpired.__name__, second)
                self._carry_out(call, [StopPrompt(), SealRecording("fault"), ReleaseMedia()])
                self._drop(call)
                return
        self._carry_out(call, commands)
        if machine.ended:
            self._drop(call)
            return
        deadline = machine.deadline()
        if deadline is not None and deadline != self._watched.get(call):
            self._watch(call, deadline)

    def _carry_out(self, call: str, commands: list[Command]) -> None:
        for command in commands:
            try:
                self._one(call, command)
            except Exception as err:  # noqa: BLE001 - the boundary: one call's fault ends that call only
                self._confused(call, type(command).__name__, err)
                if isinstance(command, EndLeg):
                    self.post(call, LegFault(command.leg, _what(err)))
                elif not isinstance(command, ReleaseMedia):
                    self.post(call, DrainExpired())

    def _drop(self, call: str) -> None:
        del self._calls[call]
        self._watched.pop(call, None)
        try:
            self._out.sip.forget(call)
        except Exception as err:  # noqa: BLE001 - the boundary: the call is over in any case
            self._confused(call, "forget", err)

    def _confused(self, call: str, what: str, err: Exception) -> None:
        """Say that something of ours failed, if the log can still be written."""
        try:
            self._out.sink.note(call, Note("call.confused", (("what", what), ("why", _what(err)))))
        except Exception:  # noqa: BLE001 - the log itself failed: counted, and no call pays for it
            self._unreported += 1

    def _one(self, call: str, command: Command) -> None:
        match command:
            case (
                InviteCallee()
                | ProgressCaller()
                | AnswerCaller()
                | AnswerFork()
                | EndLeg()
                | SendReoffer()
                | AnswerReoffer()
                | AcknowledgeReoffer()
                | NameRecording()
                | IndicateRecording()
            ):
                self._out.sip.execute(call, command)
            case (
                AllocateMedia()
                | ReleaseMedia()
                | ConnectMedia()
                | RenewMedia()
                | SetGate()
                | PlayPrompt()
                | StopPrompt()
                | PlayTone()
                | OpenRecording()
                | PartRecording()
                | PauseRecording()
                | ResumeRecording()
                | SealRecording()
                | DiscardRecording()
                | DropPurposes()
                | SwapSides()
            ):
                self._out.media.execute(call, command)
            case Note():
                self._out.sink.note(call, command)
            case AuditNote():
                self._out.sink.audit(call, command)
            case _:
                assert_never(command)

    @property
    def _out(self) -> Ports:
        if self._ports is None:
            raise RuntimeError("the driver has no ports yet")
        return self._ports


def _what(err: Exception) -> str:
    """What an error says, and its kind unless it was expected."""
    return str(err) if isinstance(err, IllegalEvent) else f"{type(err).__name__}: {err}"
