"""Which streams and codecs of an offer a recorded or passed call uses. Pure.

In a recorded call one audio section is kept, with the codecs that recproxy can
announce in and record; everything else is taken out, so that no part of a
conversation that was announced as recorded goes another way. It is plain RTP or
SRTP with keys in the SDP (RFC 4568), on either leg by itself: recproxy opens and
seals, with keys of its own. A call that no purpose applies to passes with
whatever it offers, keys included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from recproxy.call.commands import SdpToSend, StreamKeys, StreamSecurity
from recproxy.call.events import SRTP_KEY_BYTES, Codec, CryptoOffer, LocalMedia, Sdp, StreamFacts

#: RTP clock of each encoding that can be announced in and recorded (RFC 3551 table 4, RFC 7587);
#: the same name at another clock is another thing.
RECORDABLE: Final[Mapping[str, int]] = {
    "PCMU": 8000,
    "PCMA": 8000,
    "G722": 8000,
    "OPUS": 48000,
    "G729": 8000,
}
#: Taken only where nothing else is offered: not every machine can announce in it.
LAST_RESORT: Final = frozenset({"G729"})
#: Kept beside them: digits are reported, never recorded as sound (RFC 4733).
COMPANIONS: Final = frozenset({"TELEPHONE-EVENT"})
#: Transports whose payload is in the clear (RFC 3551, RFC 4585).
PLAIN_RTP: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
#: Transports of SRTP (RFC 3711 section 9, RFC 5124); with keys by DTLS they are named otherwise.
SECURE_RTP: Final = {"RTP/SAVP": "RTP/AVP", "RTP/SAVPF": "RTP/AVPF"}
_SECURED: Final = {plain: secure for secure, plain in SECURE_RTP.items()}
_TAGS: Final = {suite: tag for tag, suite in enumerate(SRTP_KEY_BYTES, 1)}


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

    def keys(self, sdp: Sdp, local: tuple[LocalMedia, ...]) -> tuple[StreamKeys | None, ...]:
        """Keys with the leg that sent ``sdp``, offer or answer, in port order; empty if they pass us by."""
        if self.recorded is None:
            return ()
        stream = sdp.streams[self.recorded] if self.recorded < len(sdp.streams) else None
        if stream is None or not is_secure(stream):
            return (None,) * self.ports
        chosen = stream.crypto[0]
        ours = local[sum(self.active[: self.recorded])].key(chosen.suite)
        return tuple(
            StreamKeys(chosen.suite, chosen.key, ours) if index == self.recorded else None
            for index, active in enumerate(self.active)
            if active
        )

    def offer(self, sdp: Sdp, local: tuple[LocalMedia, ...], *, secure: bool) -> SdpToSend:
        """The offer ``sdp`` for the other leg, whose recorded section is to be SRTP or not."""
        if self.recorded is None:
            return self.send(sdp, local)
        protocol = sdp.streams[self.recorded].protocol
        plain = SECURE_RTP.get(protocol, protocol)
        if not secure:
            return self.send(sdp, local, StreamSecurity(plain))
        ours = local[sum(self.active[: self.recorded])]
        crypto = tuple(CryptoOffer(tag, suite, ours.key(suite)) for suite, tag in _TAGS.items())
        return self.send(sdp, local, StreamSecurity(_SECURED.get(plain, plain), crypto))

    def answer(self, offer: Sdp, sdp: Sdp, local: tuple[LocalMedia, ...]) -> SdpToSend:
        """The answer ``sdp`` for the leg that made ``offer``, secured as that asked for."""
        if self.recorded is None or self.recorded >= len(offer.streams):
            return self.send(sdp, local)
        asked = offer.streams[self.recorded]
        crypto: tuple[CryptoOffer, ...] = ()
        if is_secure(asked):
            chosen = asked.crypto[0]
            ours = local[sum(self.active[: self.recorded])].key(chosen.suite)
            crypto = (CryptoOffer(chosen.tag, chosen.suite, ours),)
        return self.send(sdp, local, StreamSecurity(asked.protocol, crypto))

    def send(
        self, sdp: Sdp, local: tuple[LocalMedia, ...], security: StreamSecurity | None = None
    ) -> SdpToSend:
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
        secured = security is not None
        return SdpToSend(
            sdp.body,
            tuple(places),
            keep,
            tuple(
                security if index == self.recorded else None for index in range(len(sdp.streams) * secured)
            ),
        )


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
        preferred = any(is_speech(codec) and codec.name not in LAST_RESORT for codec in stream.codecs)
        kept = frozenset(
            codec.payload_type
            for codec in stream.codecs
            if is_kept(codec) and not (preferred and codec.name in LAST_RESORT)
        )
        return Selection(
            recorded=index,
            active=tuple(place == index for place in range(len(offer.streams))),
            keep=tuple(kept if place == index else None for place in range(len(offer.streams))),
        )
    return None


def is_speech(codec: Codec) -> bool:
    """Whether the codec can be announced in and recorded: by name, clock and, but for Opus, one channel."""
    one = codec.channels == 1 or codec.name == "OPUS"
    return one and RECORDABLE.get(codec.name) == codec.clock_hz


def is_kept(codec: Codec) -> bool:
    """Whether a recorded call may use the codec."""
    return is_speech(codec) or codec.name in COMPANIONS


def is_recordable(stream: StreamFacts) -> bool:
    """Whether the section is audio that we can open, with at least one codec we can record."""
    return (
        stream.kind == "audio"
        and stream.port != 0
        and (stream.protocol in PLAIN_RTP or is_secure(stream))
        and any(is_speech(codec) for codec in stream.codecs)
    )


def is_secure(stream: StreamFacts) -> bool:
    """Whether the section is SRTP with a key that we can use."""
    return stream.port != 0 and stream.protocol in SECURE_RTP and bool(stream.crypto)


def takes_key(selection: Selection, answer: Sdp, *, secure: bool) -> bool:
    """Whether an answer took up one of the keys that ``Selection.offer`` offered, if it had to.

    A section that it disabled needs none.
    """
    if not secure or selection.recorded is None or selection.recorded >= len(answer.streams):
        return True
    stream = answer.streams[selection.recorded]
    if not stream.port:
        return True
    return is_secure(stream) and _TAGS[stream.crypto[0].suite] == stream.crypto[0].tag


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
    return tuple(codec for codec in stream.codecs if is_kept(codec))
