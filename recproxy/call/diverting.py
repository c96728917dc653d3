"""A call that goes on to somebody else, after its party refused what a statute orders. Pure.

Whoever was called leaves with BYE; once that dialog is gone, the number that the policy names is
invited with what the caller has agreed on, and nothing else: so the caller need not be asked. If the
answer is less than that, the caller is offered it (RFC 3725 section 4.1 does so the other way round).
A number that does not answer ends the call, as it would have ended without one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from recproxy.call import selection as pick
from recproxy.call.agreement import Agreement
from recproxy.call.commands import (
    AuditNote,
    Command,
    EndLeg,
    InviteCallee,
    Note,
    RenewMedia,
    SetGate,
)
from recproxy.call.events import CalleeAnswered, CalleeProgress, LegEnded, LegName, MediaRenewed, Sdp
from recproxy.call.legs import Legs
from recproxy.call.reoffer import Reoffers
from recproxy.call.states import CalleeLeg, Symbol
from recproxy.policy import DeclinePlan

__all__ = ["REFUSED", "Diversion"]

#: Status and text with which a call ends, or leaves whom it was for, after such a refusal.
REFUSED: Final = (603, "Recording Refused")
_CALLING: Final = frozenset({CalleeLeg.CALLING, CalleeLeg.PROCEEDING})


class Surroundings(Protocol):
    """What the rest of the call does if it does not go on; implemented by the machine."""

    def end_for(self, code: int, reason: str, now: float) -> list[Command]:
        """Nobody else takes the call: end it."""
        ...


class Diversion:
    """The way of one call to whom it goes on to, if it does; once at most.

    Attributes:
        until: When the present step should be over, monotonic seconds; None for never.
        number: Whom the call is on its way to; empty if it is not.
    """

    def __init__(
        self,
        legs: Legs,
        agreement: Agreement,
        reoffers: Reoffers,
        call: Surroundings,
        *,
        ring_s: float,
        part_s: float,
    ) -> None:
        """Begin with a call that stays where it is.

        Args:
            legs: Of the call.
            agreement: What is agreed on.
            reoffers: Its exchanges.
            call: The rest of the call.
            ring_s: From the INVITE to an answer.
            part_s: From the BYE to the dialog being gone.
        """
        self._legs = legs
        self._agreement = agreement
        self._reoffers = reoffers
        self._call = call
        self._ring_s = ring_s
        self._part_s = part_s
        self._renewed = False
        self._began = 0.0
        self.until: float | None = None
        self.number = ""

    def begin(self, decline: DeclinePlan, now: float) -> list[Command]:
        """Part from whom the call was for; empty if the call cannot go on elsewhere."""
        agreement, legs = self._agreement, self._legs
        if not decline.target or not legs.inbound or not legs.is_up or agreement.selection.recorded is None:
            return []
        if agreement.on_hold or self._reoffers.open is not None or not agreement.codecs:
            return []
        self.number, self._renewed = decline.target, False
        self._began = now
        self.until = now + self._part_s
        legs.move_callee(Symbol.CALLEE_DIVERTED)
        legs.seat(LegName.CALLEE, outside=False)
        fields = (("purpose", decline.purpose),)
        return [
            SetGate(opened=False),
            EndLeg(LegName.CALLEE, *REFUSED),
            RenewMedia(LegName.CALLEE),
            Note("call.diverted", fields),
            AuditNote("call.diverted", fields),
        ]

    def renewed(self, event: MediaRenewed, now: float) -> list[Command]:
        """Ports are as before, keys are new."""
        self._agreement.local[event.leg] = event.local
        self._renewed = True
        return self._invite(now)

    def gone(self, event: LegEnded, now: float) -> list[Command]:
        """A dialog with the callee is gone: of whom the call was for, or of whom it was to go on to."""
        if self._legs.callee is CalleeLeg.DIVERTING:
            self._legs.move_callee(Symbol.CALLEE_ENDED)
            return self._invite(now)
        if self._legs.callee not in _CALLING:
            return []
        self._legs.move_callee(Symbol.CALLEE_ENDED)
        return self._fail(event.code, now)

    def progress(self, event: CalleeProgress) -> list[Command]:
        """It rings; what is sent before the answer is heard, and nobody makes a tone of ours."""
        agreement = self._agreement
        if self._legs.callee not in _CALLING:
            return []
        self._legs.move_callee(Symbol.CALLEE_PROCEEDING)
        if event.sdp is None or not self._usable(event.sdp):
            return []
        agreement.answer = event.sdp
        return [agreement.connect(LegName.CALLEE, agreement.selection, event.sdp), SetGate(opened=True)]

    def answered(self, event: CalleeAnswered, now: float) -> list[Command]:
        """Somebody took the call: the parties are connected."""
        agreement = self._agreement
        if self._legs.callee not in _CALLING:
            return []
        self._legs.move_callee(Symbol.CALLEE_CONFIRMED)
        answer = event.sdp or agreement.answer  # that of a provisional response holds
        if answer is None or not self._usable(answer):
            return self._fail(488, now)
        waited = ("setup_s", round(now - self._began, 3))
        self.close()
        agreement.answer = answer
        agreement.heard(LegName.CALLEE, answer)
        agreed = pick.agreed_codecs(agreement.selection, answer)
        as_before = {codec.payload_type for codec in agreed} == {
            codec.payload_type for codec in agreement.codecs
        }
        agreement.codecs = agreed
        connect = agreement.connect(LegName.CALLEE, agreement.selection, answer)
        told = [] if as_before and not agreement.on_hold else self._reoffers.tell(LegName.CALLEE, answer)
        return [connect, SetGate(opened=True), Note("diversion.answered", (waited,)), *told]

    def expire(self, now: float) -> list[Command]:
        """What was waited for did not come."""
        return self._fail(408, now)

    def close(self) -> None:
        """The call is where it was to go, or ends."""
        self.until, self.number = None, ""

    def _invite(self, now: float) -> list[Command]:
        """Both have come, the end of the dialog and new keys: call the number."""
        agreement = self._agreement
        said = agreement.said(LegName.CALLER)
        if self._legs.callee is not CalleeLeg.IDLE or not self._renewed or not self.number or said is None:
            return []
        self._legs.move_callee(Symbol.CALLEE_INVITED)
        self.until = now + self._ring_s
        selection = _narrowed(agreement)
        agreement.choose(selection)
        agreement.answer = None
        agreement.held[LegName.CALLEE] = False
        secure = agreement.secure[LegName.CALLEE]
        offer = selection.offer(said, agreement.local[LegName.CALLEE], secure=secure)
        return [InviteCallee(offer, self.number)]

    def _usable(self, answer: Sdp) -> bool:
        """Whether the parties can be connected by this answer, as the caller understands it."""
        agreement = self._agreement
        selection = agreement.selection
        offered = {(codec.payload_type, codec.name) for codec in agreement.codecs}
        agreed = pick.agreed_codecs(selection, answer)
        return (
            pick.takes_key(selection, answer, secure=agreement.secure[LegName.CALLEE])
            and any(pick.is_speech(codec) for codec in agreed)
            and all((codec.payload_type, codec.name) in offered for codec in agreed)
        )

    def _fail(self, code: int, now: float) -> list[Command]:
        self.close()
        return [Note("diversion.failed", (("code", code),)), *self._call.end_for(*REFUSED, now)]


def _narrowed(agreement: Agreement) -> pick.Selection:
    """The same section, with the codecs that the caller has agreed on alone."""
    selection = agreement.selection
    kept = frozenset(codec.payload_type for codec in agreement.codecs)
    keep = tuple(kept if at == selection.recorded else one for at, one in enumerate(selection.keep))
    return replace(selection, keep=keep)
