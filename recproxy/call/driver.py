"""Takes events from a queue, gives them to the call's machine, carries out its commands.

The driver runs on the signalling thread: SIP events are posted there by the
callbacks, media events by other threads through the same queue. Ports answer a
command they cannot carry out with an event; an exception that leaves a port is
a fault of ours, it ends that call and no other.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, assert_never

from recproxy.call.commands import (
    AllocateMedia,
    AnswerCaller,
    AnswerReoffer,
    AuditNote,
    Command,
    ConnectMedia,
    EndLeg,
    InviteCallee,
    MediaCommand,
    Note,
    OpenRecording,
    PauseRecording,
    PlayPrompt,
    ProgressCaller,
    ReleaseMedia,
    ResumeRecording,
    SealRecording,
    SendReoffer,
    SetGate,
    SipCommand,
    StopPrompt,
)
from recproxy.call.events import DrainExpired, Event, InviteReceived, LegFault, LegName
from recproxy.call.machine import CallMachine, Decider, Limits
from recproxy.errors import IllegalEvent


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

    def fault(self) -> str | None:
        """Why nothing can be recorded at present; None if it can."""
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
        self._calls: dict[str, CallMachine] = {}
        self._ports: Ports | None = None

    def connect(self, ports: Ports) -> None:
        """Name the ports; they in turn post to this driver. Once, before the first event."""
        self._ports = ports

    @property
    def active(self) -> int:
        """Number of calls that have not ended."""
        return len(self._calls)

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
        for call, machine in list(self._calls.items()):
            deadline = machine.deadline()
            if deadline is not None and deadline <= now:
                self._carry_out(call, machine, machine.expire(now))
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

    def _treat(self, call: str, event: Event) -> None:
        machine = self._calls.get(call)
        if machine is None:
            if not isinstance(event, InviteReceived):
                return  # the call has ended meanwhile
            machine = CallMachine(self._policy(), self._limits, recorder_fault=self._out.media.fault())
            self._calls[call] = machine
        try:
            commands = machine.receive(event, self._clock())
        except IllegalEvent as err:
            note = Note("call.confused", (("what", type(event).__name__), ("why", str(err))))
            self._out.sink.note(call, note)
            commands = machine.receive(DrainExpired(), self._clock())
        self._carry_out(call, machine, commands)

    def _carry_out(self, call: str, machine: CallMachine, commands: list[Command]) -> None:
        for command in commands:
            try:
                self._one(call, command)
            except Exception as err:  # noqa: BLE001 - the boundary: one call's fault ends that call only
                self._report(call, command, err)
        if machine.ended:
            del self._calls[call]
            self._out.sip.forget(call)

    def _report(self, call: str, command: Command, err: Exception) -> None:
        """Say what a port could not do, and end the call it was for."""
        what = f"{type(err).__name__}: {err}"
        self._out.sink.note(call, Note("call.confused", (("what", type(command).__name__), ("why", what))))
        leg = command.leg if isinstance(command, EndLeg) else LegName.CALLER
        if isinstance(command, EndLeg):
            self.post(call, LegFault(leg, what))
        elif not isinstance(command, ReleaseMedia):
            self.post(call, DrainExpired())

    def _one(self, call: str, command: Command) -> None:
        match command:
            case (
                InviteCallee()
                | ProgressCaller()
                | AnswerCaller()
                | EndLeg()
                | SendReoffer()
                | AnswerReoffer()
            ):
                self._out.sip.execute(call, command)
            case (
                AllocateMedia()
                | ReleaseMedia()
                | ConnectMedia()
                | SetGate()
                | PlayPrompt()
                | StopPrompt()
                | OpenRecording()
                | PauseRecording()
                | ResumeRecording()
                | SealRecording()
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
