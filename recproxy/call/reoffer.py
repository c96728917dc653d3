"""An offer inside a call, from one leg to the other and back. Pure.

Two ways of it (RFC 3261 section 14, RFC 3264 section 8): the leg that begins
makes the offer, or it asks for one, and then its ACK carries the answer. Only
one exchange is open at a time in a call; a second one is answered 491, and each
peer tries again after its own time (RFC 3261 section 14.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Protocol

from recproxy.call import early
from recproxy.call import selection as pick
from recproxy.call.agreement import Agreement, is_secure
from recproxy.call.commands import (
    AcknowledgeReoffer,
    AllocateMedia,
    AnswerReoffer,
    Command,
    SdpToSend,
    SendReoffer,
)
from recproxy.call.events import LegName, MediaAllocated, ReofferAnswered, ReofferReceived, Sdp

_FAILURE: Final = 300


class Stage(Enum):
    """How far an exchange is."""

    ASKED = auto()  # the other leg was asked for an offer
    OFFERED = auto()  # there is an offer; it waits for media ports
    PASSED = auto()  # the offer is on its way; its answer is awaited


@dataclass(frozen=True, slots=True)
class Exchange:
    """One offer and its answer, under way.

    Attributes:
        origin: The leg that began it.
        stage: How far it is.
        delayed: It began without an offer.
        offer: Once it is known.
        selection: What of the offer is relayed, if it is accepted.
        paused_for_it: The recording was paused because of this offer.
        ours: It is our own, of what ``origin`` said in another exchange, which is over.
    """

    origin: LegName
    stage: Stage
    delayed: bool
    offer: Sdp | None = None
    selection: pick.Selection | None = None
    paused_for_it: bool = False
    ours: bool = False

    @property
    def offerer(self) -> LegName:
        """The leg that offers."""
        return self.origin.other if self.delayed else self.origin

    def accept(self, answer: SdpToSend) -> list[Command]:
        """Tell the leg that offered what the other answered."""
        if self.ours:
            return []
        if self.delayed:
            return [AcknowledgeReoffer(self.offerer, answer)]
        return [AnswerReoffer(self.offerer, 200, "OK", answer)]

    def refuse(self, code: int, reason: str) -> list[Command]:
        """Leave everything as it stands."""
        refused: list[Command] = []
        if self.ours:
            return refused
        if not (self.delayed and self.stage is Stage.PASSED):
            refused.append(AnswerReoffer(self.origin, code, reason, None))
        if self.delayed and self.stage is not Stage.ASKED:
            refused.append(AcknowledgeReoffer(self.offerer, None))
        return refused


class Surroundings(Protocol):
    """What the rest of the call does about an offer; implemented by the machine."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of the call is, or will be, recorded any more."""
        ...

    @property
    def is_ending(self) -> bool:
        """Whether a leg is gone or going."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether both parties are connected to each other."""
        ...

    @property
    def trunk(self) -> str:
        """The trunk that the call came from."""
        ...

    def hold_offered(self, now: float) -> tuple[list[Command], bool]:
        """A party wants to hold: what to do, and whether the recording was paused for it."""
        ...

    def hold_settled(self, now: float, *, resume: bool) -> list[Command]:
        """An exchange is over: pause if somebody is on hold now, else go on recording if ``resume``."""
        ...

    def end_for(self, code: int, reason: str, now: float) -> list[Command]:
        """The exchange left the legs apart: end the call."""
        ...


class Reoffers:
    """The offers of one call, after the first."""

    def __init__(self, agreement: Agreement, call: Surroundings) -> None:
        """Begin with none under way.

        Args:
            agreement: What stands, and what an accepted offer changes.
            call: The rest of the call.
        """
        self._agreement = agreement
        self._call = call
        self.open: Exchange | None = None

    @property
    def awaits_ports(self) -> bool:
        """Whether the next media ports are for an offer under way."""
        return self.open is not None and self.open.stage is Stage.OFFERED

    def received(self, event: ReofferReceived, now: float) -> list[Command]:
        """Take a re-INVITE or UPDATE of a confirmed call; UPDATE or PRACK before it is answered."""
        if self.open is not None:
            return [AnswerReoffer(event.leg, 491, "Request Pending", None)]
        if event.offer is None:
            self.open = Exchange(event.leg, Stage.ASKED, delayed=True)
            return [SendReoffer(event.leg.other, None)]
        if self._agreement.repeats(event.leg, event.offer):
            return [AnswerReoffer(event.leg, 200, "OK", None)]
        return self._offered(Exchange(event.leg, Stage.OFFERED, delayed=False), event.offer, now)

    def allocated(self, event: MediaAllocated) -> list[Command]:
        """Go on with the ports that the offer needed."""
        local = self._agreement.local
        local[LegName.CALLER] += event.caller
        local[LegName.CALLEE] += event.callee
        return self._pass_on()

    def no_ports(self, now: float) -> list[Command]:
        """There are none for it."""
        exchange = self.open
        return [] if exchange is None else self._refuse(exchange, 488, "Not Acceptable Here", now)

    def answered(self, event: ReofferAnswered, now: float) -> list[Command]:
        """Take the final response of the leg that was asked, or was passed the offer."""
        exchange = self.open
        if exchange is None or event.leg is exchange.origin or exchange.stage is Stage.OFFERED:
            return []
        if self._call.is_ending:
            return []  # what was open has been answered
        if exchange.delayed is not (exchange.stage is Stage.ASKED):
            return []
        if not 200 <= event.code < _FAILURE or event.sdp is None:  # noqa: PLR2004 - SIP status classes
            code = event.code if event.code >= _FAILURE else 500
            return self._refuse(exchange, code, event.reason, now)
        if exchange.delayed:
            return self._offered(replace(exchange, stage=Stage.OFFERED), event.sdp, now)
        return self._conclude(exchange, event.sdp, now)

    def confirmed(self, leg: LegName, answer: Sdp | None, now: float) -> list[Command]:
        """Take the ACK of the leg that had asked for an offer."""
        exchange = self.open
        if exchange is None or not exchange.delayed or exchange.stage is not Stage.PASSED:
            return []
        if leg is not exchange.origin or self._call.is_ending:
            return []
        if answer is None:
            self.open = None
            refused = exchange.refuse(488, "Not Acceptable Here")
            return [*refused, *self._call.end_for(488, "No Answer in ACK", now)]
        return self._conclude(exchange, answer, now)

    def tell(self, leg: LegName, said: Sdp) -> list[Command]:
        """Offer the other leg what ``leg`` has answered to an INVITE of ours; none may be under way."""
        self.open = Exchange(
            leg, Stage.PASSED, delayed=False, offer=said, selection=self._agreement.selection, ours=True
        )
        return self._pass_on()

    def abandon(self, leg: LegName) -> list[Command]:
        """``leg`` is about to be ended: leave none of its transactions open (RFC 3261 section 15.1.2)."""
        exchange = self.open
        if exchange is None:
            return []
        return [
            command
            for command in exchange.refuse(487, "Request Terminated")
            if isinstance(command, AnswerReoffer | AcknowledgeReoffer) and command.leg is leg
        ]

    def _offered(self, exchange: Exchange, offer: Sdp, now: float) -> list[Command]:
        agreement, leg = self._agreement, exchange.offerer
        selection = agreement.reselect(offer, over=self._call.is_over)
        if selection is None or (agreement.secure[leg] and not is_secure(selection, offer)):
            return self._refuse(exchange, 488, "Not Acceptable Here", now)
        commands: list[Command] = []
        paused = False
        self.open = exchange
        if agreement.is_held(offer, selection):
            commands, paused = self._call.hold_offered(now)
            if self._call.is_ending:
                self.open = None
                return commands
        self.open = replace(exchange, offer=offer, selection=selection, paused_for_it=paused)
        missing = selection.ports - len(agreement.local[LegName.CALLER])
        if missing > 0:
            return [*commands, AllocateMedia(self._call.trunk, missing)]
        return [*commands, *self._pass_on()]

    def _pass_on(self) -> list[Command]:
        exchange = self.open
        if exchange is None or exchange.offer is None or exchange.selection is None:
            return []
        self.open = replace(exchange, stage=Stage.PASSED)
        target = exchange.offerer.other
        agreement = self._agreement
        offer = exchange.selection.offer(
            exchange.offer, agreement.local[target], secure=agreement.secure[target]
        )
        if exchange.delayed:
            return [AnswerReoffer(target, 200, "OK", offer)]
        return [SendReoffer(target, offer)]

    def _conclude(self, exchange: Exchange, answer: Sdp, now: float) -> list[Command]:
        """Both sides agree: what was offered stands from now on."""
        agreement, offer, selection = self._agreement, exchange.offer, exchange.selection
        if offer is None or selection is None:
            return []
        offerer, answerer = exchange.offerer, exchange.offerer.other
        if not pick.takes_key(selection, answer, secure=agreement.secure[answerer]):
            self.open = None
            refused = exchange.refuse(488, "Not Acceptable Here")
            return [*refused, *self._call.end_for(502, "Answer Without a Usable Key", now)]
        agreement.choose(selection)
        agreement.secure[offerer] = is_secure(selection, offer)
        agreement.heard(offerer, offer)
        agreement.heard(answerer, answer)
        passed = selection.answer(offer, answer, agreement.local[offerer])
        if selection.recorded is not None:
            agreement.codecs = pick.agreed_codecs(selection, answer) or agreement.codecs
        if not self._call.is_up:
            early.settle(agreement, offerer, offer, answer)
        self.open = None
        return [
            agreement.connect(offerer, selection, offer),
            agreement.connect(answerer, selection, answer),
            *exchange.accept(passed),
            *self._call.hold_settled(now, resume=True),
        ]

    def _refuse(self, exchange: Exchange, code: int, reason: str, now: float) -> list[Command]:
        self.open = None
        settled = self._call.hold_settled(now, resume=exchange.paused_for_it)
        return [*exchange.refuse(code, reason), *settled]
