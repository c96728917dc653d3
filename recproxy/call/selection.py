"""Which streams and codecs of an offer a recorded or passed call uses. Pure.

In a recorded call one plain-RTP audio section is kept, with the codecs that
recproxy can announce in and record; everything else is taken out, so that no
part of a conversation that was announced as recorded goes another way. A call
that no purpose applies to passes with whatever it offers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from recproxy.call.commands import SdpToSend
from recproxy.call.events import Codec, LocalMedia, Sdp, StreamFacts

#: Encoding names that can be announced in and recorded (RFC 3551, RFC 7587).
RECORDABLE: Final = frozenset({"PCMU", "PCMA", "G722", "OPUS"})
#: Kept beside them: digits are reported, never recorded as sound (RFC 4733).
COMPANIONS: Final = frozenset({"TELEPHONE-EVENT"})
#: Transports whose payload is in the clear (RFC 3551, RFC 4585).
PLAIN_RTP: Final = frozenset({"RTP/AVP", "RTP/AVPF"})


@dataclass(frozen=True, slots=True)
class Selection:
    """What of an offer goes on to the other leg.

    Attributes:
        recorded: Index of the audio section to record; None in a passed call.
        active: For each section, whether it is relayed.
        keep: For each section, the payload types to keep; None for all.
    """

    recorded: int | None
    active: tuple[bool, ...]
    keep: tuple[frozenset[int] | None, ...]

    @property
    def ports(self) -> int:
        """Number of streams that need ports."""
        return sum(self.active)

    def connect(self, sdp: Sdp) -> tuple[StreamFacts | None, ...]:
        """Remote side of each relayed section, in port order; None if ``sdp`` disables it."""
        chosen: list[StreamFacts | None] = []
        for index, active in enumerate(self.active):
            if active:
                stream = sdp.streams[index] if index < len(sdp.streams) else None
                chosen.append(stream if stream is not None and stream.port else None)
        return tuple(chosen)

    def send(self, sdp: Sdp, local: tuple[LocalMedia, ...]) -> SdpToSend:
        """``sdp`` for the other leg, with our ports ``local`` (one for each relayed section)."""
        places: list[LocalMedia | None] = []
        used = 0
        for index, stream in enumerate(sdp.streams):
            active = index < len(self.active) and self.active[index]
            places.append(local[used] if active and stream.port and used < len(local) else None)
            used += active
        keep = tuple(
            self.keep[index] if index < len(self.keep) else None for index in range(len(sdp.streams))
        )
        return SdpToSend(sdp.body, tuple(places), keep)


def select_all(offer: Sdp) -> Selection:
    """Everything that is offered, for a call that no purpose applies to."""
    return Selection(
        recorded=None,
        active=tuple(stream.port != 0 for stream in offer.streams),
        keep=tuple(None for _ in offer.streams),
    )


def select_recordable(offer: Sdp) -> Selection | None:
    """The first section that can be announced in and recorded; None if there is none."""
    for index, stream in enumerate(offer.streams):
        if not is_recordable(stream):
            continue
        allowed = RECORDABLE | COMPANIONS
        kept = frozenset(codec.payload_type for codec in stream.codecs if codec.name in allowed)
        return Selection(
            recorded=index,
            active=tuple(place == index for place in range(len(offer.streams))),
            keep=tuple(kept if place == index else None for place in range(len(offer.streams))),
        )
    return None


def is_recordable(stream: StreamFacts) -> bool:
    """Whether the section is plain-RTP audio with at least one codec we can record."""
    return (
        stream.kind == "audio"
        and stream.port != 0
        and stream.protocol in PLAIN_RTP
        and any(codec.name in RECORDABLE for codec in stream.codecs)
    )


def agreed_codecs(selection: Selection, answer: Sdp) -> tuple[Codec, ...]:
    """Codecs of the recorded section that the answer accepts; empty if it accepts none.

    An answer lists the formats its sender will use (RFC 3264 section 6.1);
    telephone-event alone carries no speech.
    """
    if selection.recorded is None or selection.recorded >= len(answer.streams):
        return ()
    stream = answer.streams[selection.recorded]
    if not is_recordable(stream):
        return ()
    return tuple(codec for codec in stream.codecs if codec.name in RECORDABLE | COMPANIONS)
