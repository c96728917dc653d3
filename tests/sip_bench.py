"""A small B2BUA in the test's own thread, and peers that speak to it by the datagram.

The endpoint is polled between the steps of a test, so nothing runs beside it and
a test waits for events, never for time. The driver is the simplest one that
bridges: it passes everything on and records what happened.
"""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from loopback import Addresses, Lease
from sip_message import SipMessage

from recproxy.call.agreement import OWN_OFFER
from recproxy.call.commands import (
    AcknowledgeReoffer,
    AnswerCaller,
    AnswerReoffer,
    EndLeg,
    InviteCallee,
    Note,
    ProgressCaller,
    SdpToSend,
    SendReoffer,
    SipCommand,
)
from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    DigitPressed,
    EarlyAnswer,
    Event,
    InviteReceived,
    LegEnded,
    LegFault,
    LegName,
    LocalMedia,
    PartyJoined,
    PreferenceTold,
    ReofferAnswered,
    ReofferConfirmed,
    ReofferReceived,
    Sdp,
    TransferAsked,
)
from recproxy.sip.carrying import HeaderRules
from recproxy.sip.endpoint import Listen, SipEndpoint, SipSettings
from recproxy.sip.overload import BUSY_S
from recproxy.sip.targets import Target
from recproxy.sip.trunks import Trunk
from storage.tags import Direction

TRUSTED = HeaderRules(trusted=True)
PATIENCE_S = 20.0  # only a failing test waits this long
E = TypeVar("E", bound=Event)
_serial = itertools.count(1)


class Mirror:
    """Bridges every call; keeps the events of each."""

    def __init__(self, address: str) -> None:
        self.events: list[tuple[str, Event]] = []
        self.answer_busy: tuple[int, str] | None = None
        self._address = address
        self._waiting: list[tuple[str, Event]] = []
        self._answers: dict[str, Sdp] = {}
        self._legs: dict[str, set[LegName]] = {}
        self._open: dict[str, LegName] = {}
        self._offers: dict[str, Sdp] = {}
        self._delayed: set[str] = set()
        self._settled: set[str] = set()

    def post(self, call: str, event: Event) -> None:
        """Take an event; the endpoint's ``post``."""
        self.events.append((call, event))
        self._waiting.append((call, event))

    def pump(self, endpoint: SipEndpoint) -> None:
        """Carry out what the waiting events ask for."""
        while self._waiting:
            call, event = self._waiting.pop(0)
            for command in self._commands(call, event):
                endpoint.execute(call, command)
            if not self._legs.get(call, {LegName.CALLER}):
                del self._legs[call]
                self._answers.pop(call, None)
                endpoint.forget(call)

    def seen(self, kind: type[E]) -> list[E]:
        """Events of one kind, over all calls."""
        return [event for _, event in self.events if isinstance(event, kind)]

    def send(self, sdp: Sdp) -> SdpToSend:
        """The body with our addresses in every section."""
        local = tuple(LocalMedia(self._address, 20000 + 2 * index) for index in range(len(sdp.streams)))
        return SdpToSend(sdp.body, local, (None,) * len(sdp.streams))

    def _commands(self, call: str, event: Event) -> Iterator[SipCommand]:
        match event:
            case InviteReceived(_, offer):
                self._legs[call] = {LegName.CALLER, LegName.CALLEE}
                if offer is None:
                    self._delayed.add(call)
                yield InviteCallee(self.send(offer or OWN_OFFER))
            case CalleeProgress(code, reason, sdp, reliable):
                if sdp is not None:
                    self._answers[call] = sdp
                told = sdp if reliable or call not in self._delayed else None
                yield ProgressCaller(code, reason, self.send(told) if told else None, reliable)
            case CalleeAnswered(sdp, _):
                said = sdp if sdp and call not in self._settled else self._answers[call]
                yield AnswerCaller(self.send(said))
            case ReofferReceived(leg, offer):
                self._open[call] = leg
                if offer is not None:
                    self._offers[call] = offer
                yield SendReoffer(leg.other, self.send(offer) if offer else None)
            case ReofferAnswered(leg, code, reason, sdp):
                self._open.pop(call, None)
                if sdp is not None:  # what the callee said last, and the caller was told
                    self._answers[call] = sdp if leg is LegName.CALLEE else self._offers.get(call, sdp)
                    self._settled.add(call)
                yield AnswerReoffer(leg.other, code, reason, self.send(sdp) if sdp else None)
            case LegEnded(leg, code, reason, _):
                yield from self._ended(call, leg, code, reason)
            case LegFault(leg):
                yield from self._ended(call, leg, 500, "Server Internal Error")
            case ReofferConfirmed(leg, sdp):
                yield AcknowledgeReoffer(leg.other, self.send(sdp) if sdp else None)
            case CallerConfirmed() | DigitPressed() | EarlyAnswer() | PartyJoined() | PreferenceTold():
                pass
            case PartyJoined() | TransferAsked() | PreferenceTold():
                pass
            case _:
                raise AssertionError(f"unexpected {event}")

    def _ended(self, call: str, leg: LegName, code: int, reason: str) -> Iterator[SipCommand]:
        standing = self._legs[call]
        standing.discard(leg)
        waiting = self._open.pop(call, None)
        if waiting in standing:
            yield AnswerReoffer(waiting, 487, "Request Terminated", None)
        if leg.other in standing:
            yield EndLeg(leg.other, code if code >= 300 else 200, reason)


@dataclass(slots=True)
class Wire:
    """A peer on one UDP socket; sends what a test writes, byte for byte."""

    address: str
    port: int
    proxy: tuple[str, int]
    sock: socket.socket = field(init=False, repr=False)
    inbox: list[SipMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((self.address, self.port))
        self.sock.setblocking(False)

    @property
    def transport(self) -> str:
        """As in a URI."""
        return "udp"

    @property
    def host(self) -> str:
        """The address as in a URI."""
        return f"[{self.address}]" if ":" in self.address else self.address

    @property
    def contact(self) -> str:
        """Where it is called."""
        return f"<sip:peer@{self.host}:{self.port};transport={self.transport}>"

    def read(self) -> None:
        """Take in what has come."""
        while True:
            try:
                data, source = self.sock.recvfrom(65535)
            except BlockingIOError:
                return
            self.raw.append(data)
            self.inbox.append(SipMessage.parse(data, source))

    def send(self, message: SipMessage | bytes) -> None:
        """Send to the proxy."""
        data = message if isinstance(message, bytes) else message.encode()
        self.sock.sendto(data, self.proxy)

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


@dataclass(slots=True)
class Dialog:
    """The peer's side of one dialog: enough to write its messages."""

    wire: Wire
    call_id: str
    local: str
    remote: str
    target: str
    cseq: int = 1
    branch: str = ""

    @classmethod
    def calling(cls, wire: Wire, user: str = "0201234567", caller: str = "0307654321") -> Self:
        """Begin a call to ``user`` at the proxy."""
        serial = next(_serial)
        host = f"[{wire.proxy[0]}]" if ":" in wire.proxy[0] else wire.proxy[0]
        proxy = f"{host}:{wire.proxy[1]}"
        return cls(
            wire,
            call_id=f"call-{serial}@{wire.address}",
            local=f"<sip:{caller}@{wire.host}>;tag=a{serial}",
            remote=f"<sip:{user}@{proxy}>",
            target=f"sip:{user}@{proxy}",
        )

    @classmethod
    def called(cls, wire: Wire, invite: SipMessage) -> Self:
        """The dialog that answering ``invite`` makes."""
        contact = invite.one("contact").partition("<")[2].partition(">")[0]
        local = f"{invite.one('to')};tag=b{next(_serial)}"
        return cls(wire, invite.one("call-id"), local, invite.one("from"), contact, cseq=100)

    def request(
        self, method: str, body: bytes = b"", more: tuple[tuple[str, str], ...] = (), hops: int = 70
    ) -> SipMessage:
        """Write a request; all but ACK and CANCEL begin a transaction."""
        if method not in {"ACK", "CANCEL"}:
            self.cseq += 1
            self.branch = f"z9hG4bK-{next(_serial)}"
        branch = f"z9hG4bK-{next(_serial)}" if method == "ACK" else self.branch
        headers = [
            (
                "Via",
                f"SIP/2.0/{self.wire.transport.upper()} {self.wire.host}:{self.wire.port};branch={branch}",
            ),
            ("Max-Forwards", str(hops)),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} {method}"),
            ("Contact", self.wire.contact),
            *more,
        ]
        if body:
            headers.append(("Content-Type", "application/sdp"))
        return SipMessage(f"{method} {self.target} SIP/2.0", tuple(headers), body)

    def response(
        self,
        request: SipMessage,
        code: int,
        reason: str = "x",
        body: bytes = b"",
        more: tuple[tuple[str, str], ...] = (),
    ) -> SipMessage:
        """Answer a request of the proxy."""
        to = request.one("to") if ";tag=" in request.one("to") else self.local
        headers = [(n, v) for n, v in request.headers if n.lower() in {"via", "from", "call-id", "cseq"}]
        headers += [("To", to), ("Contact", self.wire.contact), *more]
        if body:
            headers.append(("Content-Type", "application/sdp"))
        return SipMessage(f"SIP/2.0 {code} {reason}", tuple(headers), body)

    def learn(self, response: SipMessage) -> None:
        """Take the remote tag and target from a response."""
        self.remote = response.one("to")
        contact = response.one("contact").partition("<")[2].partition(">")[0]
        self.target = contact or self.target


@dataclass(slots=True)
class Bench:
    """The endpoint with its two neighbours."""

    endpoint: SipEndpoint
    mirror: Mirror
    lease: Lease
    caller: Wire
    callee: Wire
    log: list[str]
    told: list[Note]
    ahead: list[float]
    base: SipSettings
    others: list[Wire] = field(default_factory=list)

    def trunk(self, name: str, **changes: Any) -> None:
        """Change a trunk as a reload does."""
        trunks = [replace(one, **changes) if one.name == name else one for one in self.base.trunks]
        self.base = replace(self.base, trunks=tuple(trunks))
        self.endpoint.apply(self.base)

    def settings(self, *, trunks: tuple[Trunk, ...], silent: bool = False) -> SipSettings:
        """The settings with other trunks."""
        return replace(self.base, trunks=trunks, silent=silent)

    def later(self, seconds: float) -> None:
        """Let the endpoint's clock jump; PJSIP's own timers go on as they are."""
        self.ahead[0] += seconds

    def more(self, wire: Wire) -> None:
        """Have one more peer read with the others."""
        self.others.append(wire)

    def turn(self) -> None:
        """One turn of the signalling loop."""
        self.endpoint.poll(1)
        self.mirror.pump(self.endpoint)
        for wire in (self.caller, self.callee, *self.others):
            wire.read()

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Turn until something holds."""
        end = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > end:
                kinds = [type(event).__name__ for _, event in self.mirror.events]
                raise AssertionError(f"waited for {what}; events {kinds}; log {self.log[-5:]}")
            self.turn()

    def receive(self, wire: Wire, start: str) -> SipMessage:
        """Wait for the message at ``wire`` whose first line begins so, or has so as its status."""
        wanted = (start, f"SIP/2.0 {start}")

        def found() -> int | None:
            for index, message in enumerate(wire.inbox):
                if message.start.startswith(wanted):
                    return index
            return None

        self.until(
            lambda: found() is not None, f"{start!r} at {wire.address}, got {[m.start for m in wire.inbox]}"
        )
        index = found()
        assert index is not None
        return wire.inbox.pop(index)

    def quiet(self) -> None:
        """Wait until no call stands."""
        self.until(lambda: self.endpoint.active == 0, "the calls to end")

    def establish(
        self, offer: bytes, answer: bytes, more: tuple[tuple[str, str], ...] = ()
    ) -> tuple[Dialog, Dialog]:
        """Set up a call; returns the caller's and the callee's dialog."""
        a = Dialog.calling(self.caller)
        self.caller.send(a.request("INVITE", offer, more))
        invite = self.receive(self.callee, "INVITE")
        b = Dialog.called(self.callee, invite)
        self.callee.send(b.response(invite, 180, "Ringing"))
        self.receive(self.caller, "180")
        self.callee.send(b.response(invite, 200, "OK", answer))
        self.receive(self.callee, "ACK")
        ok = self.receive(self.caller, "200")
        a.learn(ok)
        self.caller.send(a.request("ACK"))
        self.until(lambda: bool(self.mirror.seen(CallerConfirmed)), "the ACK")
        return a, b

    def hang_up(self, a: Dialog) -> None:
        """The caller ends the call."""
        a.wire.send(a.request("BYE"))
        self.receive(a.wire, "200")
        bye = self.receive(self.callee, "BYE")
        self.callee.send(Dialog.called(self.callee, bye).response(bye, 200, "OK"))
        self.quiet()


@contextmanager
def bench(
    max_calls: int = 20,
    *,
    transports: tuple[str, ...] = ("udp", "tcp"),
    via: str = "udp",
    lease: Lease | None = None,
    targets: Callable[[Addresses], tuple[Target, ...]] | None = None,
    keepalive_s: float | None = None,
    configure: Callable[[SipSettings], SipSettings] = lambda settings: settings,
    nameservers: tuple[str, ...] = (),
    busy_s: float = BUSY_S,
) -> Iterator[Bench]:
    """Open an endpoint on a loopback network of its own.

    Args:
        max_calls: Calls at once.
        transports: That are listened on.
        via: The trunks' transport.
        lease: The network.
        targets: Servers of the trunk "carrier"; the callee alone if not given.
        keepalive_s: Of the trunk "carrier".
        configure: Changes the settings before they are used.
        nameservers: DNS servers for the names of targets.
        busy_s: So long without rest is overload.
    """
    log: list[str] = []
    told: list[Note] = []
    ahead = [0.0]
    with lease or Lease.take() as held:
        where = held.addresses
        mirror = Mirror(where.daemon)
        to_caller, to_callee = (Target(host, 5060, via) for host in (where.caller, where.callee))
        trunks = (
            Trunk("office", (where.caller,), (to_caller,), Direction.OUTBOUND, "carrier", headers=TRUSTED),
            Trunk(
                "carrier",
                (f"{where.callee}/32",),
                targets(where) if targets is not None else (to_callee,),
                Direction.INBOUND,
                "office",
                keepalive_s,
                headers=TRUSTED,
            ),
        )
        settings = SipSettings(
            tuple(Listen(transport, where.daemon, 5060) for transport in transports),
            trunks,
            max_calls=max_calls,
            nameservers=nameservers,
            busy_s=busy_s,
            log_level=2,
        )
        settings = configure(settings)
        calls = itertools.count(1)
        endpoint = SipEndpoint(
            settings,
            mirror.post,
            lambda: f"call{next(calls)}",
            lambda: datetime.now(UTC),
            lambda _level, line: log.append(line),
            told.append,
            lambda: time.monotonic() + ahead[0],
            random.Random(1).randrange,
            {"112", "911"}.__contains__,
        )
        endpoint.open()
        proxy = (where.daemon, 5060)
        caller, callee = Wire(where.caller, 5060, proxy), Wire(where.callee, 5060, proxy)
        made = Bench(endpoint, mirror, held, caller, callee, log, told, ahead, settings)
        try:
            yield made
        finally:
            made.caller.close()  # perhaps others by now
            made.callee.close()
            endpoint.close()
