"""From the INVITE to the ACK: ports, offers and answers between the two legs. Pure."""

from __future__ import annotations

from typing import Protocol

from recproxy.call import early
from recproxy.call import selection as pick
from recproxy.call.agreement import OWN_OFFER, Agreement, is_secure
from recproxy.call.commands import (
    AllocateMedia,
    AnswerCaller,
    Command,
    InviteCallee,
    Note,
    SetGate,
)
from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    EarlyAnswer,
    LegName,
    MediaAllocated,
    MediaUnavailable,
    Sdp,
)
from recproxy.call.history import History
from recproxy.call.legs import Legs
from recproxy.call.states import CalleeLeg, CallerLeg, Symbol
from recproxy.errors import IllegalEvent

_RETRY_AFTER_S = 10


class Surroundings(Protocol):
    """What the rest of the call does if it cannot be set up; implemented by the machine."""

    def end_for(
        self, code: int, reason: str, now: float, *, retry_after_s: int | None = None
    ) -> list[Command]:
        """The legs do not come together: end the call."""
        ...


class Setup:
    """How the legs of one call come together.

    Attributes:
        asked: Whether ports were asked for.
        until: When the callee should have answered, monotonic seconds; None for never.
        callee_call_id: Call-ID of the callee's dialog; empty before its answer.
    """

    def __init__(
        self, legs: Legs, agreement: Agreement, history: History, call: Surroundings, longest_s: float
    ) -> None:
        """Begin before the INVITE.

        Args:
            legs: Of the call.
            agreement: What is agreed on.
            history: Is told of the answer.
            call: The rest of the call.
            longest_s: From INVITE to the callee's 200.
        """
        self._legs = legs
        self._media = agreement
        self._history = history
        self._call = call
        self._longest_s = longest_s
        self.asked = False
        self.until: float | None = None
        self.callee_call_id = ""

    def offered(self, offer: Sdp | None) -> Sdp:
        """The caller's offer, or what the callee is offered if the caller leaves it to us."""
        self._media.delayed = offer is None
        self._media.offer = offer or OWN_OFFER
        return self._media.offer

    def begin(self, selection: pick.Selection, trunk: str, now: float) -> list[Command]:
        """Relay this of the offer: ask for its ports."""
        media = self._media
        media.choose(selection)
        if not media.delayed and media.offer is not None:
            media.heard(LegName.CALLER, media.offer)
        self.until = now + self._longest_s
        self.asked = True
        return [AllocateMedia(trunk, selection.ports)]

    def allocated(self, event: MediaAllocated, now: float) -> list[Command]:
        """There are ports: invite the callee.

        Raises:
            IllegalEvent: Nobody asked for them.
        """
        if not self.asked:
            raise IllegalEvent("media ports that nobody asked for")
        media = self._media
        media.local = {LegName.CALLER: event.caller, LegName.CALLEE: event.callee}
        if self._legs.caller is not CallerLeg.INVITED or self._legs.callee is not CalleeLeg.IDLE:
            return []
        selection, offer = media.ground()
        self._legs.move_callee(Symbol.CALLEE_INVITED)
        self.until = now + self._longest_s
        secure = not media.delayed and is_secure(selection, offer)
        media.secure = {
            LegName.CALLER: secure,
            LegName.CALLEE: secure if event.callee_secure is None else event.callee_secure,
        }
        connect = [] if media.delayed else [media.connect(LegName.CALLER, selection, offer)]
        sent_on = selection.offer(offer, event.callee, secure=media.secure[LegName.CALLEE])
        return [*connect, InviteCallee(sent_on)]

    def no_ports(self, event: MediaUnavailable, now: float) -> list[Command]:
        """There are none: the call cannot be."""
        note = Note("media.unavailable", (("why", event.why),))
        if self._legs.caller is not CallerLeg.INVITED:
            return [note]
        ended = self._call.end_for(503, "Media Ports Exhausted", now, retry_after_s=_RETRY_AFTER_S)
        return [note, *ended]

    def progress(self, event: CalleeProgress) -> list[Command]:
        """The callee rings, perhaps with early media."""
        if self._legs.callee not in {CalleeLeg.CALLING, CalleeLeg.PROCEEDING}:
            return []
        self._legs.move_callee(Symbol.CALLEE_PROCEEDING)
        if self._legs.caller is not CallerLeg.INVITED:
            return []
        return early.progress(self._media, event)

    def answered(self, event: CalleeAnswered, now: float, *, opened: bool) -> list[Command]:
        """The callee answered: so does the caller get its answer.

        Args:
            event: The answer.
            now: Monotonic seconds.
            opened: Whether the parties may hear each other already.
        """
        if self._legs.callee in {CalleeLeg.ENDING, CalleeLeg.ENDED}:
            return []  # our CANCEL crossed the 200: the adapter ends that dialog
        settled = self._media.told is not None  # SDP in the 200 counts for nothing then
        answer = self._media.answer if settled else event.sdp or self._media.answer
        self._legs.move_callee(Symbol.CALLEE_CONFIRMED)
        self.callee_call_id = event.sip_call_id
        if self._legs.caller is not CallerLeg.INVITED:
            return []
        if answer is None:
            return self._call.end_for(502, "Callee Answered Without SDP", now)
        media = self._media
        selection, offer = media.ground()
        if not settled:
            if not pick.takes_key(selection, answer, secure=media.secure[LegName.CALLEE]):
                return self._call.end_for(502, "Callee Answered Without a Usable Key", now)
            media.answer = answer
            media.heard(LegName.CALLEE, answer)
            media.codecs = pick.agreed_codecs(selection, answer)
        self._history.answered_at = now
        self.until = None
        self._legs.move_caller(Symbol.CALLER_ANSWERED)
        local = media.local[LegName.CALLER]
        return [
            media.connect(LegName.CALLEE, selection, answer),
            SetGate(opened=opened),
            AnswerCaller(
                media.told
                or (
                    selection.offer(answer, local, secure=False)
                    if media.delayed
                    else selection.answer(offer, answer, local)
                )
            ),
            Note("call.answered", (("setup_s", round(now - self._history.invited_at, 3)),)),
        ]

    def confirmed(self, event: CallerConfirmed, now: float) -> list[Command]:
        """The caller's ACK; it carries the answer if we made the offer."""
        if self._legs.caller is not CallerLeg.ANSWERED:
            return []  # the ACK crossed our BYE, or was repeated
        self._legs.move_caller(Symbol.CALLER_CONFIRMED)
        media, selection = self._media, self._media.selection
        if not media.delayed:
            return []
        if event.sdp is None:
            return self._call.end_for(488, "No Answer in ACK", now)
        if not media.is_answered_by(event.sdp):
            return self._call.end_for(488, "Answer With Other Sections", now)
        media.heard(LegName.CALLER, event.sdp)
        media.codecs = pick.agreed_codecs(selection, event.sdp)
        return [media.connect(LegName.CALLER, selection, event.sdp)]

    def accepted_early(self, event: EarlyAnswer, now: float) -> list[Command]:
        """The caller's PRACK with the answer to the offer that it was sent."""
        if not self._media.is_answered_by(event.sdp):
            return self._call.end_for(488, "Answer With Other Sections", now)
        return early.accept(self._media, event)
