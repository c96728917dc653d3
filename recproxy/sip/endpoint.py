"""The SIP stack on its one thread; owns every pjsua2 object.

``open``, ``poll``, ``execute``, ``forget`` and ``close`` belong to one thread,
the one that called ``open``. Events leave through ``post``; commands come in
through ``execute`` between two polls, never inside a callback.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

import pjsua2 as pj

from recproxy.call.commands import (
    AcknowledgeReoffer,
    AnswerCaller,
    AnswerFork,
    AnswerReoffer,
    EndLeg,
    IndicateRecording,
    InviteCallee,
    NameRecording,
    Note,
    ProgressCaller,
    SdpToSend,
    SendReoffer,
    SipCommand,
)
from recproxy.call.events import (
    CalleeProgress,
    CallFacts,
    Event,
    ForkInvited,
    InviteReceived,
    LegFault,
    LegName,
)
from recproxy.errors import PeerError, SipError
from recproxy.policy import RecordPreference
from recproxy.sip import headers, native, sdp
from recproxy.sip.authentication import Authentication, ChallengedError, DigestUsers
from recproxy.sip.bridge import Bridge
from recproxy.sip.callbacks import CallBacks
from recproxy.sip.carrying import carried
from recproxy.sip.concerned import further_numbers, is_emergency_callback, named_purpose, record_preference
from recproxy.sip.ending import ending
from recproxy.sip.fork_dialog import ForkDialog
from recproxy.sip.fork_leg import ForkLeg
from recproxy.sip.forks import Forks
from recproxy.sip.headers import Message, Reason
from recproxy.sip.identities import Identities, at_first
from recproxy.sip.leg import Leg
from recproxy.sip.limits import Refusal, TrunkLimits
from recproxy.sip.listening import Listen, Tls
from recproxy.sip.native import Admission
from recproxy.sip.numbering import Party, rewritten, rewritten_user
from recproxy.sip.outgoing import Outgoing
from recproxy.sip.overload import Load
from recproxy.sip.record_aware import is_record_aware
from recproxy.sip.registering import Registrations
from recproxy.sip.servers import Servers
from recproxy.sip.session_id import Ends, LoopMark, made_session_id, session_uuid
from recproxy.sip.stack import Arrivals, Log, SipSettings, Stack
from recproxy.sip.strangers import Strangers
from recproxy.sip.targets import Below
from recproxy.sip.transfers import Transfers
from recproxy.sip.translation import received
from recproxy.sip.trunks import Trunk, TrunkTable, source_host
from storage.tags import Direction

__all__ = ["DigestUsers", "Listen", "SipEndpoint", "SipSettings", "Tls"]

_RETRY_AFTER_S: Final = 10
_FORGET_S: Final = 1.0
_NAMES_S: Final = 5.0  # what the first look-up of all names may take


class _TrunkLimitError(SipError):
    """A trunk has all the calls that it may have, or makes them too fast."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("trunk", f"has reached its limit of {refusal.why}", code=503)
        self.refusal = refusal


class SipEndpoint:
    """Our side of SIP; implements the SIP port of ``recproxy.call.driver``."""

    def __init__(
        self,
        settings: SipSettings,
        post: Callable[[str, Event], None],
        mint: Callable[[], str],
        now: Callable[[], datetime],
        log: Log,
        tell: Callable[[Note], None],
        monotonic: Callable[[], float],
        below: Below,
        is_emergency: Callable[[str], bool],
        callbacks: CallBacks | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            settings: Addresses, trunks and limits.
            post: Takes the events of a call.
            mint: Makes the reference of a new call.
            now: Wall clock, aware, UTC.
            log: Takes PJSIP's own messages: level and line, numbers masked.
            tell: Takes what the event log says of no single call.
            monotonic: Monotonic seconds.
            below: Randomness: a whole number below its argument.
            is_emergency: Tells an emergency number by any form in which it may be dialled.
            callbacks: Knows who has just called an emergency service; None for nobody.

        Raises:
            SipStackError: The installed pjsua2 cannot carry ``max_calls``.
        """
        self._settings = settings
        self._stack = Stack(settings, Arrivals(self._arrived, self._options_answered, self._registered), log)
        self._trunks = TrunkTable(settings.trunks)
        self._limits = TrunkLimits()
        self._limits.replace(self._trunks.limits)
        self._authentication = Authentication(secrets.token_bytes)
        self._load = Load(settings.busy_s)
        self._strangers = Strangers()
        self._is_emergency = is_emergency
        self._emergency: tuple[str, ...] = ()
        self._callbacks = callbacks or CallBacks(b"", lambda: None, str)
        self._tell = tell
        self._monotonic = monotonic
        self._servers = Servers(self._stack, settings, self._trunks.routes, tell, monotonic, below)
        self._registrations = Registrations(
            self._stack, settings, tell, monotonic, below, self._servers.locate
        )
        self._registrations.replace(self._trunks.credentials)
        self._outgoing = Outgoing(
            self, self._stack, settings, self._servers.router, post, monotonic, is_emergency
        )
        self._forks = Forks(settings, now, is_emergency)
        self._transfers = Transfers(settings, post, self._leg_of, self._bridge_of, is_emergency)
        self._identities = Identities(post, is_emergency)
        self._post = post
        self._mint = mint
        self._now = now
        self._log = log
        self._bridges: dict[str, Bridge] = {}
        self._refused: dict[str, Leg] = {}
        self._condemned: list[Leg] = []
        self._by_call_id: dict[str, str] = {}
        self._marks: dict[LoopMark, str] = {}
        self._draining = False
        self._admitted: Admission | None = None  # what the stack was told last
        self._full: tuple[str, ...] = ()  # the same: networks of trunks that have no room

    # ---------------------------------------------------------- life cycle

    def open(self) -> None:
        """Start the stack and listen; this thread owns it from now on.

        Raises:
            SipStackError: An address or port cannot be used.
        """
        self._stack.open()
        native.allow(self._trunks.peers, silent=self._settings.silent)
        native.fork_clients(self._trunks.fork_clients)
        self._ask_for_passwords()
        native.exempt(self._emergency)
        self._admitted, self._full = None, ()
        self._admit()
        deadline = self._monotonic() + _NAMES_S
        self._servers.tend()
        while self._servers.pending and self._monotonic() < deadline:
            self._stack.poll(10)
            self._servers.tend()

    def poll(self, timeout_ms: int) -> None:
        """Treat what came from the network, waiting for it at most ``timeout_ms``."""
        rested = self._stack.poll(0) == 0
        if self._load.turned(self._monotonic(), rested=rested):
            self._tell(Note("sip.overloaded" if self._load.refusing else "sip.recovered", ()))
            self._admit()
        if rested and timeout_ms:
            self._stack.poll(timeout_ms)
        for number, raw in native.held():
            self._transfers.held(number, raw)
        strangers = self._strangers.fresh(native.strangers(), self._monotonic())
        if strangers:
            self._tell(Note("peer.refused", (("count", strangers),)))
        self._challenge()
        self._outgoing.tend(self._bridges.get)
        self._servers.tend()
        self._registrations.tend()
        while self._condemned:
            leg = self._condemned.pop()
            self._attempt(leg, "hanging up", lambda doomed: doomed.finish(500, "Server Internal Error"))

    def drain(self) -> None:
        """Take no new calls: INVITE and OPTIONS get 503 from now on."""
        self._draining = True
        self._admit()
        self._registrations.end()

    def exempt(self, numbers: Iterable[str]) -> None:
        """Name the emergency numbers: calls to them are taken when others are not."""
        self._emergency = tuple(numbers)
        if self._admitted is not None:
            native.exempt(self._emergency)

    def apply(self, settings: SipSettings) -> None:
        """Take over trunks, the access list, certificates and their keys; the rest needs a restart.

        Raises:
            SipStackError: An address is malformed, and the old settings stay; or a socket cannot
                be listened on again.
        """
        trunks = TrunkTable(settings.trunks)
        for renewed in self._stack.renew(settings.listen):
            self._tell(Note("certificate.renewed", (("transport", f"tls:{renewed.host}:{renewed.port}"),)))
        native.allow(trunks.peers, silent=settings.silent)
        native.fork_clients(trunks.fork_clients)
        self._trunks = trunks
        self._ask_for_passwords()
        self._servers.replace(trunks.routes)
        self._limits.replace(trunks.limits)
        self._registrations.replace(trunks.credentials)
        self._admit()

    def close(self) -> None:
        """Stop the stack; calls that are still up are hung up, which takes a second.

        A registrar gets as long to forget us.
        """
        if self._admitted is not None:
            self._registrations.end()
            deadline = self._monotonic() + _FORGET_S
            while self._registrations.standing and self._monotonic() < deadline:
                self._stack.poll(20)
        self._admitted = None
        self._servers.close()
        idle = not self._bridges and not self._refused and self._outgoing.idle
        self._outgoing.clear()
        self._bridges.clear()
        self._refused.clear()
        self._condemned.clear()
        self._stack.close(idle=idle)

    @property
    def active(self) -> int:
        """Calls that have not ended."""
        return len(self._bridges)

    def counters(self) -> dict[str, int]:
        """What was refused, answered and replaced without a call."""
        return {
            **native.counters(),
            **{f"refused_trunk_{why}": count for why, count in self._limits.refused.items()},
            "overloads": self._load.times,
        }

    def tidy(self) -> None:
        """Give memory of ended calls back to the system; now and then."""
        native.trim_memory()

    # ------------------------------------------------------------ commands

    def execute(self, call: str, command: SipCommand) -> None:  # noqa: C901 - one row a command
        """Carry out one command of ``call``; failures come back as events."""
        bridge = self._bridges.get(call)
        if bridge is None:
            return  # both legs have gone meanwhile
        match command:
            case InviteCallee(offer, number):
                self._outgoing.invite(call, bridge, offer, number)
            case ProgressCaller(code, reason, answer, reliably):
                self._respond(bridge, code, reason, answer, reliably=reliably)
            case AnswerCaller(answer):
                self._respond(bridge, 200, "OK", answer)
            case AnswerFork():
                self._with(bridge, LegName.CALLER, "answer", lambda leg: self._forks.answer(leg, command))
            case NameRecording(recording):
                bridge.recording = recording
                bridge.tell()
            case EndLeg():
                self._end(call, bridge, command)
            case SendReoffer(leg, offer):
                self._with(bridge, leg, "re-INVITE", lambda found: found.reoffer(_standing(offer)))
            case AnswerReoffer(leg, code, reason, answer):
                body = _standing(answer)
                self._with(
                    bridge, leg, "answer to re-INVITE", lambda found: found.answer_reoffer(code, reason, body)
                )
            case IndicateRecording(leg, state):
                self._with(bridge, leg, "a=record", lambda found: found.indicate(state.value))
            case AcknowledgeReoffer(leg, answer):
                self._with(bridge, leg, "ACK", lambda found: found.acknowledge(_standing(answer)))
            case _:
                assert_never(command)

    def forget(self, call: str) -> None:
        """``call`` is over; a leg that never reported its end is hung up."""
        bridge = self._bridges.pop(call, None)
        self._outgoing.forget(call)
        if bridge is not None:
            self._limits.ended(bridge.trunk.name, bridge.onward.name)
            for leg in list(bridge.legs.values()):
                self._attempt(leg, "hanging up", lambda doomed: doomed.finish(500, "Server Internal Error"))
        self._admit()

    # ------------------------------------------------- what the legs report

    def leg_said(self, leg: Leg, message: Message) -> None:
        """Learn what an end names itself, and tell the other."""
        bridge = self._bridges.get(leg.call)
        if bridge is not None and bridge.legs.get(leg.name) is leg and bridge.ends.learn(leg.name, message):
            bridge.tell()

    def leg_event(self, leg: Leg, event: Event) -> None:
        """Pass on what happened to a leg, unless its call was refused at once or has left it."""
        bridge = self._bridges.get(leg.call)
        if bridge is None or (leg.name is LegName.CALLEE and not self._outgoing.passes(leg, bridge, event)):
            return
        if isinstance(event, CalleeProgress) and event.reliable and not bridge.knows_100rel:
            event = replace(event, reliable=False)
        self._post(leg.call, event)

    def leg_invited(self, leg: Leg) -> None:
        """Know the leg by its Call-ID from now on."""
        self._by_call_id[leg.sip_call_id] = leg.call
        self._bridges[leg.call].tell()

    def leg_told(self, leg: Leg, message: Message) -> None:
        """Look who sits at the other end of a leg now."""
        bridge = self._bridges.get(leg.call)
        if bridge is not None and bridge.legs.get(leg.name) is leg:
            self._identities.told(leg, bridge, message)

    def leg_failed(self, leg: Leg, what: str) -> None:
        """Report a fault of ours or of the peer; hang up after this poll."""
        bridge = self._bridges.get(leg.call)
        if bridge is not None and bridge.legs.get(leg.name) is leg:
            self._condemned.append(leg)
            self._post(leg.call, LegFault(leg.name, what))

    def leg_gone(self, leg: Leg) -> None:
        """Drop a leg; the last reference goes with the callback that called this."""
        self._refused.pop(leg.call, None)
        self._outgoing.gone(leg)
        if self._by_call_id.get(leg.sip_call_id) == leg.call:
            del self._by_call_id[leg.sip_call_id]
        if leg in self._condemned:
            self._condemned.remove(leg)
        bridge = self._bridges.get(leg.call)
        if bridge is None or bridge.legs.get(leg.name) is not leg:
            return
        bridge.left(leg)
        if leg.name is LegName.CALLER and bridge.mark is not None:
            self._marks.pop(bridge.mark, None)
        del bridge.legs[leg.name]

    # ------------------------------------------------------------ incoming

    def _arrived(self, pj_id: int, rdata: pj.SipRxData) -> None:
        call, host = self._mint(), source_host(rdata.srcAddress)
        trunk = self._trunks.source(host)
        leg = self._leg_from(trunk, call, pj_id)
        self._refused[call] = leg
        try:
            invite = headers.read_message(received(rdata.wholeMsg))
            bridge, event = self._invite_event(leg, trunk, host, invite)
        except PeerError as err:
            self._refuse(leg, err)
            return
        except Exception as err:  # noqa: BLE001 - the boundary: SWIG would print it and go on
            self._log(1, f"an INVITE could not be treated: {type(err).__name__}")
            leg.finish(500, "Server Internal Error")
            return
        del self._refused[call]
        self._callbacks.noted(event.facts, self._monotonic())
        leg.sip_call_id = event.facts.sip_call_id
        leg.delayed = event.offer is None
        leg.indication.aware = event.facts.aware
        self._by_call_id[leg.sip_call_id] = call
        bridge.legs[LegName.CALLER] = leg
        self._limits.begun(bridge.trunk.name, bridge.onward.name)
        if bridge.mark is not None:
            self._marks[bridge.mark] = call
        self._bridges[call] = bridge
        self._admit()
        self._post(call, event)

    def _leg_from(self, trunk: Trunk | None, call: str, pj_id: int) -> Leg:
        if trunk is not None and trunk.siprec:
            return ForkLeg(self, self._stack.account, call, pj_id, ForkDialog(trunk.notice_header))
        return Leg(self, self._stack.account, call, LegName.CALLER, pj_id)

    def _invite_event(
        self, leg: Leg, trunk: Trunk | None, host: str, invite: Message
    ) -> tuple[Bridge, InviteReceived | ForkInvited]:
        if trunk is None:
            raise SipError("source address", "belongs to no trunk", code=403)
        hops = headers.max_forwards(invite)
        if hops == 0:
            raise SipError("header Max-Forwards", "no hops left", code=483)
        sip_call_id = invite.first("Call-ID") or ""
        if sip_call_id in self._by_call_id:
            raise SipError("header Call-ID", "this call has been here before", code=482)
        if isinstance(leg, ForkLeg):
            self._authentication.check(
                trunk.name, host, invite, headers.request_uri(invite), self._monotonic()
            )
            self._check_limits(trunk, trunk)
            return self._forks.invited(leg, trunk, host, invite)
        onward = self._trunks.named(trunk.forward_to)
        if onward is None:
            raise SipError("trunk", "has nowhere to forward to", code=404)
        dialled = headers.request_uri(invite)
        uuid = session_uuid(invite)
        made = "" if uuid else made_session_id(leg.call, sip_call_id)
        mark = LoopMark(trunk.name, uuid or made.partition(";")[0], dialled.number)
        if mark in self._marks and invite.first("Replaces") is None:
            raise SipError("header Session-ID", "this call has been here before", code=482)
        body = headers.sdp_body(invite)
        received = trunk.received
        asked = rewritten_user(received, dialled, Party.CALLEE, self._is_emergency)
        sos = headers.is_emergency_service(asked) or self._is_emergency(asked.number)
        if not sos:
            self._authentication.check(trunk.name, host, invite, dialled, self._monotonic())
        if trunk.denies(asked.number) and not sos:
            self._tell(Note("call.denied", (("call_ref", leg.call), ("trunk", trunk.name))))
            raise SipError("Request-URI", "a number that this trunk may not reach", code=403)
        if not sos:
            self._check_limits(trunk, onward)
        who = headers.identity(invite)
        facts = CallFacts(
            trunk=trunk.name,
            direction=trunk.direction,
            caller=rewritten(received, who.caller, Party.CALLER, self._is_emergency),
            callee=asked.number,
            anonymous=who.anonymous,
            sos=sos,
            sip_call_id=sip_call_id,
            received=self._now(),
            identities=tuple(
                rewritten(received, number, Party.CALLER, self._is_emergency)
                for number in further_numbers(invite)
            ),
            emergency_callback=trunk.direction is Direction.INBOUND
            and (is_emergency_callback(invite) or self._callbacks.is_back(asked.number, self._monotonic())),
            preference=record_preference(body) if body else RecordPreference.NONE,
            topic=named_purpose(invite, heeded=trunk.names_purpose),
            aware=is_record_aware(invite),
        )
        shown = f"[{host}]" if ":" in host else host
        replaces = self._transfers.replaced(invite, trunk, onward)
        bridge = Bridge(
            trunk,
            onward,
            shown,
            invite,
            asked,
            replaces=replaces,
            mark=mark,
            made_session_id=made,
            ends=Ends(caller=mark.uuid),
            emergency=sos,
            known=at_first(invite, facts),
            wishes={LegName.CALLER: facts.preference},
        )
        return bridge, InviteReceived(facts, sdp.parse(body) if body else None)

    def _check_limits(self, trunk: Trunk, onward: Trunk) -> None:
        refusal = self._limits.admit(trunk.name, onward.name, self._monotonic())
        if refusal is not None:
            raise _TrunkLimitError(refusal)

    def _ask_for_passwords(self) -> None:
        users = self._trunks.users
        self._authentication.replace(users)
        nets = [trunk.peers for trunk in map(self._trunks.named, users) if trunk is not None]
        native.challenge(nets, short_number=self._settings.short_number)
        self._challenge()

    def _challenge(self) -> None:
        """Tell the door how it challenges, and whom it shuts out, when either changes."""
        now = self._monotonic()
        for at, values in enumerate(self._authentication.fresh(now) or ()):
            native.set_challenge(at, values)
        locked = self._authentication.locked(now)
        if locked is not None:
            native.lock_out(locked)
            self._tell(Note("peer.locked", (("count", len(locked)),)))

    def _refuse(self, leg: Leg, err: PeerError) -> None:
        """Answer an INVITE that does not become a call (RFC 3261 section 21)."""
        code = err.code if isinstance(err, SipError) else 488
        warning = Reason("SIP", code, f"{err.where}: {err.what}").text.replace("\\", "").replace('"', "'")
        extra = [("Warning", f'399 recproxy "{warning}"')]
        if isinstance(err, _TrunkLimitError):
            extra.append(("Retry-After", str(err.refusal.retry_after_s)))
        if isinstance(err, ChallengedError):
            extra += [("Proxy-Authenticate", value) for value in err.challenges]
        else:
            facts = (("call_ref", leg.call), ("code", code), ("why", f"{err.where}: {err.what}"))
            self._tell(Note("call.refused", facts))
        self._attempt(leg, "refusing", lambda refused: refused.finish(code, "", extra))

    def _bridge_of(self, call: str) -> Bridge:
        return self._bridges[call]

    def _leg_of(self, sip_call_id: str) -> Leg | None:
        call = self._by_call_id.get(sip_call_id)
        bridge = self._bridges.get(call) if call is not None else None
        legs = bridge.legs.values() if bridge is not None else ()
        return next((leg for leg in legs if leg.sip_call_id == sip_call_id), None)

    # ------------------------------------------------------------ outgoing

    def _respond(
        self, bridge: Bridge, code: int, reason: str, answer: SdpToSend | None, *, reliably: bool = False
    ) -> None:
        body = _standing(answer) or b""
        callee = bridge.legs.get(LegName.CALLEE)
        heard = callee.response if callee is not None else None
        extra = carried(heard, bridge.trunk.headers).headers if heard is not None else ()
        told = [pair for pair in extra if pair[0] != "Date"]
        self._with(
            bridge,
            LegName.CALLER,
            "response",
            lambda leg: leg.respond(code, reason, body, told, reliably=reliably),
        )

    def _end(self, call: str, bridge: Bridge, command: EndLeg) -> None:
        code, extra = ending(bridge, command)
        if command.leg is LegName.CALLEE:
            self._outgoing.cancel(call, bridge)
        self._with(bridge, command.leg, "end", lambda leg: leg.finish(code, command.reason, extra))

    def _options_answered(self, uri: str, code: int, retry_after_s: int | None) -> None:
        self._servers.options_answered(uri, code, retry_after_s)

    def _registered(self, trunk: str, code: int, reason: str, expires_s: int) -> None:
        self._registrations.answered(trunk, code, reason, expires_s)

    # -------------------------------------------------------------- ground

    def _with(self, bridge: Bridge, name: LegName, what: str, act: Callable[[Leg], None]) -> None:
        """Act on a leg, if it is still there."""
        leg = bridge.legs.get(name)
        if leg is not None:
            self._attempt(leg, what, act)

    def _attempt(self, leg: Leg, what: str, act: Callable[[Leg], None]) -> None:
        """Act on a leg; what PJSIP refuses becomes an event."""
        try:
            act(leg)
        except pj.Error as err:
            self.leg_event(leg, LegFault(leg.name, f"{what}: {err.reason}"))

    def _admit(self) -> None:
        has_room = len(self._bridges) < self._settings.max_calls
        who = Admission.ALL if has_room and not self._load.refusing else Admission.EMERGENCY
        if self._draining:
            who = Admission.NOBODY
        if who is not self._admitted:
            self._admitted = who
            native.admit(who, _RETRY_AFTER_S)
        full = self._trunks.networks(self._limits.full)
        if full != self._full:
            self._full = full
            native.fill(full)


def _standing(to_send: SdpToSend | None) -> bytes | None:
    """A body to send; None repeats what stands, or asks for an offer."""
    return sdp.rewrite(to_send) if to_send is not None else None
