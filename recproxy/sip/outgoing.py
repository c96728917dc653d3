"""The callee's side of a call: its INVITE, and the servers that it is sent to in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pjsua2 as pj

from recproxy.call.commands import SdpToSend
from recproxy.call.events import CalleeAnswered, CalleeProgress, Event, LegEnded, LegName
from recproxy.sip import headers, native, sdp
from recproxy.sip.bridge import Attempt, Bridge, Search
from recproxy.sip.carrying import carried, origin
from recproxy.sip.headers import Message
from recproxy.sip.hunt import Failure, GiveUp, Hunt, Step, Try
from recproxy.sip.leg import Leg, LegHost
from recproxy.sip.numbering import Party, rewritten_identity, rewritten_user
from recproxy.sip.router import Router
from recproxy.sip.stack import SipSettings, Stack
from recproxy.sip.targets import Hop
from recproxy.sip.translation import header
from recproxy.sip.trunks import request_uri
from recproxy.sip.uri import Address, Uri

__all__ = ["Outgoing"]

_DEFAULT_HOPS: Final = 70  # RFC 3261 section 8.1.1.6
_TERMINATED: Final = 487
_TIMEOUT: Final = 408
_UNAVAILABLE: Final = 503
_PHRASES: Final = {_TIMEOUT: "Request Timeout", _UNAVAILABLE: "Service Unavailable"}


class Outgoing:
    """Sends INVITEs, goes on to the next server when one fails, and tells the call once."""

    def __init__(
        self,
        host: LegHost,
        stack: Stack,
        settings: SipSettings,
        router: Router,
        post: Callable[[str, Event], None],
        monotonic: Callable[[], float],
        is_emergency: Callable[[str], bool],
    ) -> None:
        self._host = host
        self._stack = stack
        self._settings = settings
        self._router = router
        self._post = post
        self._monotonic = monotonic
        self._is_emergency = is_emergency
        self._searching: dict[str, Bridge] = {}
        self._next: list[tuple[str, Step]] = []
        self._abandoned: set[Leg] = set()
        self._late: list[Leg] = []

    @property
    def idle(self) -> bool:
        """Whether no server that a call was taken from has yet to end its dialog."""
        return not self._abandoned

    def invite(self, call: str, bridge: Bridge, offer: SdpToSend, number: str = "") -> None:
        """Send the call to the first server of its trunk that may take it; to ``number`` if one is given."""
        if number:
            bridge.divert(number)
        now = self._monotonic()
        choice = self._router.choose(bridge.onward.name, now)
        bridge.retry_after_s = choice.retry_after_s
        bridge.search = search = Search(Hunt(choice.hops), offer)
        self._searching[call] = bridge
        self._step(call, bridge, search, search.hunt.start(now))

    def passes(self, leg: Leg, bridge: Bridge, event: Event) -> bool:
        """Whether the call hears of what happened to its callee's leg; the search hears first."""
        search = bridge.search
        if bridge.legs.get(LegName.CALLEE) is not leg:
            if isinstance(event, CalleeAnswered):
                self._late.append(leg)  # the call is elsewhere by now
            return False
        if search is None:
            return True
        match event:
            case CalleeProgress(code):
                self._heard(bridge, search.hunt)
                search.hunt.provisional(code)
            case CalleeAnswered():
                self._heard(bridge, search.hunt)
                search.hunt.settle()
            case LegEnded():
                return self._ended(leg, bridge, search, event)
            case _:
                pass
        return True

    def cancel(self, call: str, bridge: Bridge) -> None:
        """The call ends its callee's side: no other server is tried."""
        if bridge.search is not None:
            bridge.search.hunt.cancel()
        self._searching.pop(call, None)
        waiting = [step for step in self._next if step[0] == call]
        if waiting:  # between two servers: no leg will report its end
            self._next = [step for step in self._next if step[0] != call]
            self._post(call, LegEnded(LegName.CALLEE, _TERMINATED, "Request Terminated", by_us=True))

    def forget(self, call: str) -> None:
        """The call is over."""
        self._searching.pop(call, None)
        self._next = [step for step in self._next if step[0] != call]

    def gone(self, leg: Leg) -> None:
        """A dialog is over: drop what is kept of it."""
        self._abandoned.discard(leg)
        if leg in self._late:
            self._late.remove(leg)

    def clear(self) -> None:
        """Drop everything: the stack closes."""
        self._searching.clear()
        self._next.clear()
        self._abandoned.clear()
        self._late.clear()

    def tend(self, bridge_of: Callable[[str], Bridge | None]) -> None:
        """Go on to the next server where one has failed or stayed silent; between two polls."""
        now = self._monotonic()
        while self._late:
            self._hang_up(self._late.pop())
        for call, bridge in list(self._searching.items()):
            self._look(call, bridge, now)
        steps, self._next = self._next, []
        for call, step in steps:
            found = bridge_of(call)
            if found is not None and found.search is not None:
                self._step(call, found, found.search, step)

    # -------------------------------------------------------------- ground

    def _look(self, call: str, bridge: Bridge, now: float) -> None:
        search, leg = bridge.search, bridge.legs.get(LegName.CALLEE)
        if search is None or not search.hunt.searching:
            del self._searching[call]
            return
        hunt = search.hunt
        if leg is not None and leg.heard and hunt.deadline is not None:
            self._heard(bridge, hunt)
            hunt.provisional(100)
        elif leg is not None and hunt.silent(now):
            self._router.missed(bridge.onward.name, hunt.hop, now)
            del bridge.legs[LegName.CALLEE]
            self._abandoned.add(leg)
            self._hang_up(leg)
            search.attempts.append(Attempt(None, _PHRASES[_TIMEOUT]))
            step = hunt.failed(Failure(_TIMEOUT, by_peer=False), now)
            if step is not None:
                self._next.append((call, step))

    def _hang_up(self, leg: Leg) -> None:
        try:
            leg.finish(_TIMEOUT, _PHRASES[_TIMEOUT])
        except pj.Error:
            self._abandoned.discard(leg)  # its dialog has gone meanwhile

    def _heard(self, bridge: Bridge, hunt: Hunt) -> None:
        self._router.answered(bridge.onward.name, hunt.hop)

    def _ended(self, leg: Leg, bridge: Bridge, search: Search, event: LegEnded) -> bool:
        hunt = search.hunt
        if not hunt.searching:
            return True
        now = self._monotonic()
        by_peer = leg.final is not None
        hop = hunt.hop
        step = hunt.failed(Failure(event.code, by_peer), now)
        self._learn(bridge.onward.name, hop, leg.final, now, unreachable=not by_peer and step is not None)
        if step is None:
            return True
        search.attempts.append(Attempt(leg.final, event.reason, leg.reasons))
        self._next.append((leg.call, step))
        return False

    def _learn(self, trunk: str, hop: Hop, final: Message | None, now: float, *, unreachable: bool) -> None:
        if unreachable:
            self._router.missed(trunk, hop, now)
        elif final is not None and isinstance(final.start, headers.StatusLine):
            if final.start.code == _UNAVAILABLE:
                self._router.refused(trunk, hop, headers.retry_after(final), now)
            else:
                self._router.answered(trunk, hop)

    def _step(self, call: str, bridge: Bridge, search: Search, step: Step | None) -> None:
        while isinstance(step, Try):
            try:
                self._attempt(call, bridge, search.offer, step.hop)
            except pj.Error as err:
                now = self._monotonic()
                bridge.legs.pop(LegName.CALLEE, None)
                self._router.missed(bridge.onward.name, step.hop, now)
                search.attempts.append(Attempt(None, f"{err.title}: {err.reason}"))
                step = search.hunt.failed(Failure(_UNAVAILABLE, by_peer=False), now)
            else:
                return
        if isinstance(step, GiveUp):
            self._give_up(call, bridge, search, step)

    def _give_up(self, call: str, bridge: Bridge, search: Search, end: GiveUp) -> None:
        self._searching.pop(call, None)
        reason = _PHRASES[_UNAVAILABLE]
        if end.attempt >= 0:
            best = search.attempts[end.attempt]
            reason = best.reason
            if not bridge.diverted:
                bridge.failure = best.final
                bridge.reasons[LegName.CALLEE] = best.reasons
        self._post(call, LegEnded(LegName.CALLEE, end.code, reason, by_us=False))

    def _attempt(self, call: str, bridge: Bridge, offer: SdpToSend, hop: Hop) -> None:
        leg = Leg(self._host, self._stack.account_of(bridge.onward.name), call, LegName.CALLEE)
        bridge.legs[LegName.CALLEE] = leg
        asked = rewritten_user(bridge.onward.sent, bridge.asked, Party.CALLEE, self._is_emergency)
        target = request_uri(asked, hop)
        option = self._option(bridge, target, hop)
        to = str(Address("", Uri(target.scheme, target.user, target.host, target.port)))
        leg.invite(to, option, sdp.rewrite(offer))
        self._host.leg_invited(leg)

    def _option(self, bridge: Bridge, target: Uri, hop: Hop) -> pj.SipTxOption:
        invite, rules = bridge.invite, bridge.onward.headers
        shown = origin(invite, rules, emergency=bridge.emergency)

        def rewrite(uri: Uri, party: Party) -> Uri:
            for numbers in (bridge.trunk.received, bridge.onward.sent):
                uri = rewritten_user(numbers, uri, party, self._is_emergency)
            return uri

        option = pj.SipTxOption()
        option.localUri = str(Address(shown.display, rewrite(shown.uri, Party.CALLER)))
        option.targetUri = str(target)
        if hop.target.is_name and hop.transport == "tls":
            # The certificate must be that of the name, which a numeric Route would hide.
            native.locate(hop.target.host, f"{hop.host}:{hop.port}")
        elif hop.target.is_name:
            # The Request-URI keeps the name; a Route takes it to the address that we chose.
            option.targetUri += f"?Route={_escaped_route(hop)}"
        option.contactUri = self._settings.contact(hop.transport, hop.host)
        left = headers.max_forwards(invite)
        option.headers.append(header("Max-Forwards", str((left or _DEFAULT_HOPS) - 1)))
        for name, value in carried(invite, rules, emergency=bridge.emergency).headers:
            option.headers.append(header(name, rewritten_identity(name, value, rewrite)))
        if bridge.replaces:
            option.headers.append(header("Replaces", bridge.replaces))
        if bridge.made_session_id and rules.passes("Session-ID"):
            option.headers.append(header("Session-ID", bridge.made_session_id))
        return option


def _escaped_route(hop: Hop) -> str:
    """A Route header for a hop, as the headers part of a URI holds it (RFC 3261 section 19.1.1)."""
    route = f"<sip:{hop.host}:{hop.port};transport={hop.transport};lr>"
    return "".join(char if char.isalnum() or char in "-._" else f"%{ord(char):02X}" for char in route)
