"""One side of a call: the ``pj.Call`` whose callbacks become events.

SWIG prints an exception that leaves a callback and goes on, so each callback
copies what it needs, hands it in and returns, inside a guard that turns any
exception into the end of this leg.

A leg lives until its DISCONNECTED callback: there the host drops the last
reference, because a ``pj.Call`` destroyed later hangs up whatever call has got
its slot by then.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Final, Protocol

import pjsua2 as pj

from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    EarlyAnswer,
    Event,
    IndicationRefused,
    LegEnded,
    LegName,
    ReofferAnswered,
    ReofferConfirmed,
    ReofferReceived,
)
from recproxy.errors import PeerError, SipError
from recproxy.sip import headers
from recproxy.sip.headers import Message, Reason
from recproxy.sip.native import BodySlots, answer_held, cancelled_by, reliable, tell
from recproxy.sip.passing import DialogName
from recproxy.sip.record_aware import Indication, is_record_aware
from recproxy.sip.translation import (
    header,
    lenient_sdp,
    operation,
    read,
    reasons_of,
    received,
    received_with,
    sdp_of,
)
from recproxy.sip.uri import Address

__all__ = ["HeaderList", "Leg", "LegHost"]

HeaderList = Iterable[tuple[str, str]]

_NOT_ACCEPTABLE_HERE: Final = 488
_PENDING: Final = 491
_DRAWS: Final = 1_000_000
_NO_SUCH_CALL: Final = 481
_REQUEST_TERMINATED: Final = 487
_CHALLENGES: Final = frozenset({401, 407})
_UNKNOWN_METHOD: Final = frozenset({405, 501})
_FROM: Final = re.compile(r"(?im)^(?:From|f)[ \t]*:[ \t]*([^\r\n]*)")
_TO: Final = re.compile(r"(?im)^(?:To|t)[ \t]*:[ \t]*([^\r\n]*)")


class LegHost(Protocol):
    """Who keeps the legs; called on the signalling thread only."""

    def leg_invited(self, leg: Leg) -> None:
        """The leg's INVITE is on its way, so that its Call-ID is known."""
        ...

    def leg_said(self, leg: Leg, message: Message) -> None:
        """Look at a message that came on a leg, before its event."""
        ...

    def leg_event(self, leg: Leg, event: Event) -> None:
        """Hand in what happened to a leg."""
        ...

    def leg_told(self, leg: Leg, message: Message) -> None:
        """A request inside the dialog, or the 200 of the callee: it may say who sits there now."""
        ...

    def leg_failed(self, leg: Leg, what: str) -> None:
        """The leg cannot go on: report it, and hang up once no callback runs."""
        ...

    def leg_gone(self, leg: Leg) -> None:
        """The dialog is over: drop every reference to the leg now."""
        ...


class Leg(pj.Call):
    """A dialog with the caller or the callee.

    Attributes:
        call: Reference of the call that the leg belongs to.
        name: Which side.
        reasons: Reason headers with which the peer ended the leg.
        final: The callee's failure response.
        response: The callee's last provisional response or 200; None before it.
        sip_call_id: Call-ID of the dialog; empty before the INVITE is sent.
        delayed: The caller's INVITE had no offer: its ACK carries the answer.
        heard: Whether the callee's side has sent any response to the INVITE.
        indication: What the telephone is told of the recording.
    """

    def __init__(
        self, host: LegHost, account: pj.Account, call: str, name: LegName, pj_id: int = pj.PJSUA_INVALID_ID
    ) -> None:
        super().__init__(account, pj_id)
        self.call = call
        self.name = name
        self.reasons: tuple[Reason, ...] = ()
        self.final: Message | None = None
        self.response: Message | None = None
        self.sip_call_id = ""
        self.heard = False
        self._host = host
        self._bodies = BodySlots()
        self.indication = Indication()
        self._indicating = False  # an offer of ours tells of the recording, no concern of the other leg
        self._next: bytes | None = b"" if name is LegName.CALLER else None
        self._answered = False
        self._confirmed = False
        self._reoffering = False
        self.delayed = False
        self._update = 0  # held until its answer is known: an UPDATE, a re-INVITE without an offer …
        self._asked = False  # it is the latter
        self._pracked = False  # it is a PRACK with an offer
        self._updating = False  # our offer went out in an UPDATE
        self._awaited = 0  # such a re-INVITE whose ACK has not come
        self._offered = 0  # the 200 with the offer that we asked for
        self._ends = ("", "")
        self._ended_by_us = False
        self._sent: set[tuple[str, str]] = set()
        self._told = ""

    # ------------------------------------------------------------ commands

    def invite(self, to: str, option: pj.SipTxOption, offer: bytes) -> None:
        """Send the INVITE; ``option`` names From, Request-URI, Contact and headers."""
        prm = operation(option)
        self._next = offer
        self.makeCall(to, prm)
        self.sip_call_id = self.getInfo().callIdString

    def respond(
        self, code: int, reason: str, body: bytes, extra: HeaderList = (), *, reliably: bool = False
    ) -> None:
        """Answer the caller's INVITE with 1xx or 2xx; an empty ``body`` sends none.

        Args:
            code: Status.
            reason: Reason phrase.
            body: SDP.
            extra: Headers.
            reliably: Send this and later ones so that the caller acknowledges them (RFC 3262).
        """
        if reliably:
            reliable(self.getId(), on=True)
        prm = self._response(code, reason, extra)
        if self._bodies.newest:
            self._bodies.fill(self.indication.dressed(body) or b"")
        else:
            self._next = body  # an INVITE without an offer: PJSIP asks when it answers
        if body and code in {180, 181}:  # PJSIP never puts SDP in these
            prm.txOption.headers.append(header(*self._bodies.attach()))
        self._answered = self._answered or code >= 200  # noqa: PLR2004
        self.answer(prm)
        if reliably and body:
            self._bodies.settle()  # it binds: what comes next may repeat it

    def finish(self, code: int, reason: str, extra: HeaderList = ()) -> None:
        """End the leg as its state asks: failure response, CANCEL or BYE."""
        self._ended_by_us = True
        self.acknowledge(None)
        if self.name is LegName.CALLER and not self._answered:
            self.answer(self._response(code, reason, extra))
        else:
            self.hangup(self._response(0, "", extra))

    def reoffer(self, offer: bytes | None) -> None:
        """Send a re-INVITE, or an UPDATE before the call is answered (RFC 3311).

        Its answer, or its offer if we make none, comes as an event.
        """
        self._next = offer
        self._updating = not self._confirmed
        self._reoffering = not self._updating
        prm = operation()
        if offer is None:
            prm.opt.flag |= pj.PJSUA_CALL_NO_SDP_OFFER
        try:
            if self._updating:
                self.update(prm)
            else:
                self.reinvite(prm)
        except pj.Error as err:
            self._reoffering = self._updating = False
            if self._indicating:
                self._indicating = False
                self._indicate_later()
                return
            answer = ReofferAnswered(self.name, _PENDING, f"Request Pending ({err.status})", None)
            self._host.leg_event(self, answer)

    def indicate(self, state: str) -> None:
        """Tell a record-aware telephone whether it is recorded now; else its next body does."""
        offer = self.indication.offer(state)
        if offer is None or self._update:
            return  # nothing to tell, or our answer to its offer does
        if self._reoffering:
            self._indicate_later()
            return
        self._indicating = True
        self.reoffer(offer)

    def _indicate_later(self) -> None:
        """Two offers met: the call says when it is told again (RFC 3261 section 14.1)."""
        self.indication.untold()
        self._host.leg_event(self, IndicationRefused(self.name, secrets.randbelow(_DRAWS)))

    def acknowledge(self, body: bytes | None) -> None:
        """Send the ACK to the offer that we asked for; None repeats what stands."""
        number, self._offered = self._offered, 0
        if number:
            self._next = body
            answer_held(number, 200)
            self._bodies.settle()

    def answer_reoffer(self, code: int, reason: str, body: bytes | None) -> None:
        """Answer the peer's re-INVITE or UPDATE; None repeats what stands."""
        if self._update:
            self._answer_update(code, body)
            return
        prm = self._response(code, reason, ())
        if code < 300:  # noqa: PLR2004
            prm.sdp.wholeSdp = self._bodies.open(self.indication.dressed(body))
        self.answer(prm)
        if code < 300:  # noqa: PLR2004
            self._bodies.settle()

    def held(self, number: int, message: Message) -> None:
        """Report what is held at the door until the other leg has answered."""
        self._host.leg_said(self, message)
        sdp_of_it = lenient_sdp(message)
        method = message.start.method if isinstance(message.start, headers.RequestLine) else ""
        if not method:
            self._reoffering, self._offered = False, number
            if sdp_of_it is None:
                self.acknowledge(None)
            code = 200 if sdp_of_it is not None else _NOT_ACCEPTABLE_HERE
            self._host.leg_event(self, ReofferAnswered(self.name, code, "", sdp_of_it))
        elif method == "ACK":
            self._awaited = 0
            answer_held(number, 200)
            self._host.leg_event(self, ReofferConfirmed(self.name, sdp_of_it))
        elif method != "INVITE" and sdp_of_it is None:
            answer_held(number, 200 if method == "PRACK" else _NOT_ACCEPTABLE_HERE)
        else:
            self._update, self._asked, self._pracked = number, method == "INVITE", method == "PRACK"
            self._host.leg_event(self, ReofferReceived(self.name, sdp_of_it))
            self._host.leg_told(self, message)

    def tell(self, told: str) -> None:
        """Have every message of the dialog say this, headers as ``native.tell`` takes them."""
        if told != self._told and self.sip_call_id:
            self._told = told
            tell(self.getId(), told)

    @property
    def dialog(self) -> DialogName | None:
        """What identifies the dialog; None before it is confirmed."""
        try:
            tags = [Address.parse(end).parameter("tag") or "" for end in self._ends]
        except SipError:
            return None
        ours, theirs = tags if self.name is LegName.CALLEE else reversed(tags)
        return DialogName(self.sip_call_id, ours, theirs) if ours and theirs else None

    @property
    def peer(self) -> str:
        """The peer's end of the dialog, as its From or To; empty before it is confirmed."""
        return self._ends[0 if self.name is LegName.CALLER else 1]

    # ----------------------------------------------------------- callbacks

    def onCallSdpCreated(self, prm: pj.OnCallSdpCreatedParam) -> None:  # noqa: N802 - PJSIP's names
        """Put a slot of ours in the place of the SDP that PJSIP made."""
        with self._guard("onCallSdpCreated"):
            prm.sdp.wholeSdp = self._bodies.open(self.indication.dressed(self._next))
            self._next = None

    def onCallState(self, prm: pj.OnCallStateParam) -> None:  # noqa: N802
        """Report an answer, an ACK, the end."""
        with self._guard("onCallState"):
            self._state_changed(self.getInfo(), prm.e)

    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:  # noqa: N802
        """Report responses to our offers, and the answer to ours in PRACK."""
        with self._guard("onCallTsxState"):
            tsx = prm.e.body.tsxState.tsx
            if tsx.role == pj.PJSIP_ROLE_UAC and tsx.method == "INVITE":
                self._invite_changed(tsx, prm.e)
            elif tsx.role == pj.PJSIP_ROLE_UAC and tsx.method == "UPDATE" and self._updating:
                self._update_changed(tsx, prm.e)
            elif tsx.role == pj.PJSIP_ROLE_UAS and tsx.method == "PRACK" and self.delayed:
                self._acknowledged_early(received_with(prm.e))
            elif tsx.role == pj.PJSIP_ROLE_UAS and tsx.method == "UPDATE":
                update = received_with(prm.e)  # one without an offer, which PJSIP answers
                if update is not None:
                    self._host.leg_told(self, update)

    def onCallRxReinvite(self, prm: pj.OnCallRxReinviteParam) -> None:  # noqa: N802
        """Report a re-offer; it is answered by a command, or 488 now if it is garbage."""
        prm.statusCode = _NOT_ACCEPTABLE_HERE
        with self._guard("onCallRxReinvite"):
            prm.statusCode, prm.isAsync = self._reoffered(prm.rdata.wholeMsg)

    def onCallRedirected(self, prm: pj.OnCallRedirectedParam) -> int:  # noqa: ARG002, N802
        """Leave it to the caller to follow a redirection."""
        return pj.PJSIP_REDIRECT_STOP

    # -------------------------------------------------------------- ground

    def _answer_update(self, code: int, body: bytes | None) -> None:
        number, self._update = self._update, 0
        if self._pracked and code >= 300:  # noqa: PLR2004 - there is no other answer (RFC 6337 section 2.3)
            code, body = 200, None
        if code < 300:  # noqa: PLR2004
            self._next = body
            self._awaited = number if self._asked else 0
        answer_held(number, code)
        if code < 300:  # noqa: PLR2004
            self._bodies.settle()

    def _guard(self, where: str) -> _Guard:
        return _Guard(self._host, self, where)

    def _state_changed(self, info: pj.CallInfo, event: pj.SipEvent) -> None:
        if info.state == pj.PJSIP_INV_STATE_CONNECTING and self.name is LegName.CALLEE:
            self._callee_answered(info, received_with(event))
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED and not self._confirmed:
            self._confirmed = True
            self._bodies.settle()
            if self.name is LegName.CALLER:
                reliable(self.getId(), on=False)  # re-INVITEs do without
                self._caller_confirmed(event)
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._disconnected(info, received_with(event))

    def _caller_confirmed(self, event: pj.SipEvent) -> None:
        text = event.body.rxMsg.rdata.wholeMsg if event.type == pj.PJSIP_EVENT_RX_MSG else ""
        ends = (_FROM.search(text), _TO.search(text))
        self._ends = (ends[0][1] if ends[0] else "", ends[1][1] if ends[1] else "")
        answer = lenient_sdp(read(received(text))) if self.delayed else None
        self.delayed = False
        self._host.leg_event(self, CallerConfirmed(answer))

    def _callee_answered(self, info: pj.CallInfo, message: Message | None) -> None:
        self._answered = True
        self.response = message
        if message is not None:
            self._ends = (message.first("From") or "", message.first("To") or "")
            self._host.leg_said(self, message)
            self._host.leg_told(self, message)
        try:
            answer = sdp_of(message)
        except PeerError as err:
            self._host.leg_failed(self, f"the callee's answer: {err.where}: {err.what}")
            return
        self.indication.aware = is_record_aware(message)
        self._host.leg_event(self, CalleeAnswered(answer, info.callIdString, self.indication.aware))

    def _disconnected(self, info: pj.CallInfo, message: Message | None) -> None:
        code, reason = info.lastStatusCode, info.lastReason
        if message is None and code == _REQUEST_TERMINATED and self.name is LegName.CALLER:
            message = read(cancelled_by(info.callIdString))
        if message is not None:
            self.reasons = reasons_of(message)
            if isinstance(message.start, headers.StatusLine) and message.start.code >= 300:  # noqa: PLR2004
                self.final = message  # PJSIP reports a redirection as 487
                code, reason = message.start.code, message.start.reason
        if self.reasons and self.reasons[0].text:
            reason = self.reasons[0].text
        for number in (self._update, self._awaited, self._offered):
            if number:
                answer_held(number, _NO_SUCH_CALL)
        self._update = self._awaited = self._offered = 0
        self._bodies.close()
        self._host.leg_event(self, LegEnded(self.name, code, reason, by_us=self._ended_by_us))
        self._host.leg_gone(self)

    def _invite_changed(self, tsx: pj.SipTransaction, event: pj.SipEvent) -> None:
        code = tsx.statusCode
        if not self._confirmed:
            self.heard = self.heard or tsx.state == pj.PJSIP_TSX_STATE_PROCEEDING
            if tsx.state == pj.PJSIP_TSX_STATE_PROCEEDING and code > 100:  # noqa: PLR2004
                self._progressed(code, tsx.statusText, received_with(event))
            return
        if not self._reoffering or code < 200:  # noqa: PLR2004
            return
        if tsx.state in {pj.PJSIP_TSX_STATE_COMPLETED, pj.PJSIP_TSX_STATE_TERMINATED}:
            self._reoffering = False
            answer = self._reoffer_answer(code, tsx.statusText, received_with(event))
            if not self._indicating:
                self._host.leg_event(self, answer)
            elif code == _PENDING:
                self._indicate_later()
            self._indicating = False

    def _progressed(self, code: int, reason: str, message: Message | None) -> None:
        self.response = message
        if message is not None:
            self._host.leg_said(self, message)
        reliable_one = message is not None and "100rel" in headers.options(message, "Require")
        event = CalleeProgress(code, reason, lenient_sdp(message), reliable=reliable_one)
        self._host.leg_event(self, event)

    def _update_changed(self, tsx: pj.SipTransaction, event: pj.SipEvent) -> None:
        code = tsx.statusCode
        done = tsx.state in {pj.PJSIP_TSX_STATE_COMPLETED, pj.PJSIP_TSX_STATE_TERMINATED}
        if not done or code in _CHALLENGES:
            return  # after a challenge PJSIP sends it again
        self._updating = False
        if code in _UNKNOWN_METHOD:
            code = _NOT_ACCEPTABLE_HERE
        self._host.leg_event(self, self._reoffer_answer(code, tsx.statusText, received_with(event)))

    def _acknowledged_early(self, message: Message | None) -> None:
        """The caller's PRACK: with SDP, it answers the offer in our provisional response."""
        answer = lenient_sdp(message)
        if answer is not None:
            self.delayed = False
            self._bodies.settle()
            self._host.leg_event(self, EarlyAnswer(answer))

    def _reoffer_answer(self, code: int, reason: str, message: Message | None) -> ReofferAnswered:
        if message is not None:
            self._host.leg_said(self, message)
        if code >= 300:  # noqa: PLR2004
            return ReofferAnswered(self.name, code, reason, None)
        self._bodies.settle()
        try:
            return ReofferAnswered(self.name, code, reason, sdp_of(message))
        except PeerError as err:
            return ReofferAnswered(self.name, _NOT_ACCEPTABLE_HERE, f"{err.where}: {err.what}", None)

    def _reoffered(self, text: str) -> tuple[int, bool]:
        try:
            message = headers.read_message(received(text))
            self._host.leg_said(self, message)
            offer = sdp_of(message)
        except PeerError:
            return _NOT_ACCEPTABLE_HERE, False
        if offer is None:
            return _NOT_ACCEPTABLE_HERE, False
        self._host.leg_event(self, ReofferReceived(self.name, offer))
        self._host.leg_told(self, message)
        return 200, True

    def _response(self, code: int, reason: str, extra: HeaderList) -> pj.CallOpParam:
        """Parameters of a response; PJSIP repeats in later ones what was added before."""
        prm = operation()
        prm.statusCode = code
        prm.reason = reason
        for name, value in extra:
            if (name, value) not in self._sent:
                prm.txOption.headers.append(header(name, value))
                self._sent.add((name, value))
        return prm


class _Guard:
    """Turns an exception into the end of the leg; SWIG would print it and go on."""

    __slots__ = ("_host", "_leg", "_where")

    def __init__(self, host: LegHost, leg: Leg, where: str) -> None:
        self._host = host
        self._leg = leg
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, err: BaseException | None, _trace: object) -> bool:
        if not isinstance(err, Exception):
            return False
        self._host.leg_failed(self._leg, f"{self._where}: {type(err).__name__}")
        return True
