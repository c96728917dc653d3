"""What the two legs of a call have agreed about media, and where we stand between them. Pure."""

from __future__ import annotations

from typing import Final

from recproxy.call import selection as pick
from recproxy.call.commands import ConnectMedia, SdpToSend
from recproxy.call.events import Codec, LegName, LocalMedia, MediaDirection, Sdp, StreamFacts
from recproxy.errors import IllegalEvent

_DEFAULT_PTIME_MS: Final = 20

#: What the callee is offered when the caller leaves the offer to it: nothing else could be given to
#: a callee whose 200 must be acknowledged before the caller has spoken. G.711 is what all know.
OWN_OFFER: Final = Sdp(
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 9 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n",
    (
        StreamFacts(
            "audio",
            "RTP/AVP",
            "127.0.0.1",
            9,
            None,
            MediaDirection.SENDRECV,
            None,
            (
                Codec(8, "PCMA", 8000),
                Codec(0, "PCMU", 8000),
                Codec(101, "TELEPHONE-EVENT", 8000, 1, "0-15"),
            ),
        ),
    ),
)


class Agreement:
    """Offer, answer, ports and keys of one call; changed by the machine alone.

    Attributes:
        offer: The offer that the selection was made from; None before the INVITE.
        answer: What the callee said last, early or finally.
        told: What the caller was told last, once offer and answer are done before the call is
            answered; None until then.
        delayed: The caller's INVITE had no offer; its answer comes with the ACK.
        local: Where we receive, for each leg.
        secure: Whether we speak SRTP with a leg.
        held: Whether a leg does not want to hear and speak both ways.
        codecs: Codecs of the recorded section that may come.
    """

    def __init__(self) -> None:
        """Begin with nothing agreed."""
        self.offer: Sdp | None = None
        self.answer: Sdp | None = None
        self.told: SdpToSend | None = None
        self.delayed = False
        self.local: dict[LegName, tuple[LocalMedia, ...]] = {}
        self.secure: dict[LegName, bool] = {LegName.CALLER: False, LegName.CALLEE: False}
        self.held: dict[LegName, bool] = {LegName.CALLER: False, LegName.CALLEE: False}
        self.codecs: tuple[Codec, ...] = ()
        self._selection: pick.Selection | None = None
        self._said: dict[LegName, Sdp] = {}

    @property
    def on_hold(self) -> bool:
        """Whether any party is on hold."""
        return self.held[LegName.CALLER] or self.held[LegName.CALLEE]

    @property
    def speech(self) -> Codec | None:
        """The codec to speak to the parties in; None if none was agreed."""
        return next((codec for codec in self.codecs if pick.is_speech(codec)), None)

    @property
    def selection(self) -> pick.Selection:
        """What of the offer is relayed.

        Raises:
            IllegalEvent: Nothing was offered yet.
        """
        if self._selection is None:
            raise IllegalEvent("the call has no offer yet")
        return self._selection

    def ground(self) -> tuple[pick.Selection, Sdp]:
        """Selection and the offer that it was made from.

        Raises:
            IllegalEvent: Nothing was offered yet.
        """
        if self.offer is None:
            raise IllegalEvent("the call has no offer yet")
        return self.selection, self.offer

    def choose(self, selection: pick.Selection) -> None:
        """Relay this from now on."""
        self._selection = selection

    def heard(self, leg: LegName, sdp: Sdp) -> None:
        """Keep what ``leg`` said last, and whether it holds."""
        self._said[leg] = sdp
        self.held[leg] = self.is_held(sdp)

    def repeats(self, leg: LegName, offer: Sdp) -> bool:
        """Whether ``leg`` says again, byte for byte, what stands: a refresh (RFC 4028, section 7.4)."""
        said = self._said.get(leg)
        return said is not None and said.body == offer.body

    def said(self, leg: LegName) -> Sdp | None:
        """What ``leg`` offered or answered last; None before it has."""
        return self._said.get(leg)

    def connect(self, leg: LegName, selection: pick.Selection, sdp: Sdp) -> ConnectMedia:
        """Where ``leg`` receives and with which keys, by its own offer or answer."""
        return ConnectMedia(leg, selection.connect(sdp), selection.keys(sdp, self.local[leg]))

    def is_answered_by(self, sdp: Sdp) -> bool:
        """Whether a caller who made no offer answers all sections of the callee's (RFC 3264 section 6)."""
        return not self.delayed or self.answer is None or len(sdp.streams) == len(self.answer.streams)

    def recorded_port(self) -> int:
        """Index of the recorded section among the relayed ones."""
        return sum(self.selection.active[: self.selection.recorded or 0])

    def ptime_ms(self) -> int:
        """Frame length that the callee asked for in the recorded section."""
        recorded = self.selection.recorded
        if self.answer is None or recorded is None or recorded >= len(self.answer.streams):
            return _DEFAULT_PTIME_MS
        return self.answer.streams[recorded].ptime_ms or _DEFAULT_PTIME_MS

    def is_held(self, sdp: Sdp, selection: pick.Selection | None = None) -> bool:
        """Whether the recorded section (or the first) is not to be heard and spoken both ways."""
        chosen = selection or self._selection
        index = (chosen.recorded if chosen is not None else None) or 0
        return index < len(sdp.streams) and sdp.streams[index].held

    def reselect(self, offer: Sdp, *, over: bool) -> pick.Selection | None:
        """Selection for a new offer; None if it cannot be taken.

        The recorded section stays where it is. So does one that we began to open and
        seal, when nothing is recorded any more.

        Args:
            offer: What was offered.
            over: Nothing of the call is, or will be, recorded any more.
        """
        current = self.selection
        if current.recorded is None or (over and not any(self.secure.values())):
            return self._grown(pick.select_all(offer))
        again = pick.select_recordable(offer)
        if again is None or again.recorded != current.recorded:
            return None
        return again

    def _grown(self, wanted: pick.Selection) -> pick.Selection:
        """A passed call's sections keep their ports, even while one is disabled."""
        current = self.selection
        active = tuple(
            on or (index < len(current.active) and current.active[index])
            for index, on in enumerate(wanted.active)
        )
        return pick.Selection(wanted.recorded, active, wanted.keep)


def is_secure(selection: pick.Selection, offer: Sdp) -> bool:
    """Whether the recorded section is SRTP that we open."""
    return selection.recorded is not None and pick.is_secure(offer.streams[selection.recorded])
