"""Both legs of a call, as the endpoint keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field

from recproxy.call.commands import SdpToSend
from recproxy.call.events import LegName
from recproxy.policy import RecordPreference
from recproxy.sip.headers import Message, Reason, options
from recproxy.sip.hunt import Hunt
from recproxy.sip.leg import Leg
from recproxy.sip.session_id import Ends, LoopMark
from recproxy.sip.trunks import Trunk
from recproxy.sip.uri import Uri

__all__ = ["Attempt", "Bridge", "Search"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one server refused the call.

    Attributes:
        final: Its response; None if it sent none.
        reason: Reason phrase.
        reasons: Its Reason headers.
    """

    final: Message | None
    reason: str
    reasons: tuple[Reason, ...] = ()


@dataclass(slots=True)
class Search:
    """The search for a server that takes the call.

    Attributes:
        hunt: Which one is tried.
        offer: For the callee.
        attempts: How those before refused.
    """

    hunt: Hunt
    offer: SdpToSend
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(slots=True)
class Bridge:
    """Both legs of a call, and what of the INVITE goes on.

    Attributes:
        trunk: Where the call came from; the trunk as it was then.
        onward: Where it goes.
        source: Numeric address that the INVITE came from, IPv6 in brackets.
        invite: The caller's INVITE.
        asked: Its Request-URI, the number as our own side writes it.
        legs: That are not gone.
        reasons: With which a leg that is gone was ended.
        failure: The callee's failure response.
        retry_after_s: When the caller may try again; None if nobody said so.
        search: For a server that takes the call; None before it begins.
        diverted: It goes on to somebody whom the caller did not ask for.
        replaces: The dialog that this call is to take the place of at the callee (RFC 3891).
        mark: By which the call is known if it comes round again.
        made_session_id: Session-ID for the callee; empty if the caller gave one.
        ends: What both ends name themselves in Session-ID.
        recording: Id of the call's recording; empty until there is one.
        emergency: Nothing of the caller is hidden.
        known: Numbers of whoever sits at each end, as they were told last.
        wishes: What the telephone at each end said last of being recorded (RFC 7866).
    """

    trunk: Trunk
    onward: Trunk
    source: str
    invite: Message
    asked: Uri
    legs: dict[LegName, Leg] = field(default_factory=dict)
    reasons: dict[LegName, tuple[Reason, ...]] = field(default_factory=dict)
    failure: Message | None = None
    retry_after_s: int | None = None
    search: Search | None = None
    diverted: bool = False
    replaces: str = ""
    mark: LoopMark | None = None
    made_session_id: str = ""
    ends: Ends = field(default_factory=Ends)
    recording: str = ""
    emergency: bool = False
    known: dict[LegName, tuple[str, ...]] = field(default_factory=dict)
    wishes: dict[LegName, RecordPreference] = field(default_factory=dict)

    def toward(self, name: LegName) -> Trunk:
        """The trunk that a leg's peer belongs to."""
        return self.trunk if name is LegName.CALLER else self.onward

    def divert(self, number: str) -> None:
        """Call this number next, and say nothing to the caller of how whoever was there left."""
        self.diverted = True
        self.asked = Uri("sip", number, self.asked.host or "localhost")  # a trunk puts its own host there
        self.replaces, self.retry_after_s, self.search = "", None, None
        self.known[LegName.CALLEE] = (number,)
        self.wishes.pop(LegName.CALLEE, None)
        self.reasons.pop(LegName.CALLEE, None)
        caller = self.legs.get(LegName.CALLER)
        if caller is not None:
            caller.indication.keep_origin()

    def left(self, leg: Leg) -> None:
        """A leg is gone: keep why, for the other; not why a number of the policy refused the call."""
        if leg.name is LegName.CALLEE and self.diverted and leg.final is not None:
            return
        self.reasons[leg.name] = leg.reasons
        if leg.name is LegName.CALLEE:
            self.failure = leg.final

    @property
    def knows_100rel(self) -> bool:
        """Whether the caller acknowledges provisional responses (RFC 3262)."""
        return "100rel" in options(self.invite, "Supported") | options(self.invite, "Require")

    def tell(self) -> None:
        """Have every message of a leg name the call's ends and, if its trunk is to know, the recording."""
        for name, leg in self.legs.items():
            trunk = self.toward(name)
            told = []
            ends = self.ends.told(name)
            if ends and trunk.headers.passes("Session-ID"):
                told.append(f"Session-ID:{ends}\n")
            if self.recording and trunk.tells_recording:
                told.append(f"X-Recording-ID:{self.recording}\n")
            leg.tell("".join(told))
