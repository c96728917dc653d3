"""Which streams and codecs of a recording client's offer are taken, and by which ports. Pure.

The two m= sections that hold the parties' voices become the two sides of one stream of the
engine, whose gate stays shut: packets go to the recorder, and to nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recproxy.call import selection as pick
from recproxy.call.commands import AnswerFork, ConnectMedia, ForkStream, StreamKeys
from recproxy.call.events import (
    Codec,
    CryptoOffer,
    ForkSides,
    LegName,
    LocalMedia,
    MediaDirection,
    Sdp,
    StreamFacts,
)

__all__ = ["Taken", "take"]

_SENDING = frozenset({MediaDirection.SENDONLY, MediaDirection.SENDRECV})
_UNSPECIFIED = frozenset({"0.0.0.0", "::"})  # noqa: S104 - an old way to say hold (RFC 3264 section 8.4)


@dataclass(frozen=True, slots=True)
class Taken:
    """What of an offer is recorded.

    Attributes:
        offer: As received.
        sides: The sections that are, by party.
        codecs: Of each party that has one, what it may be sent in.
    """

    offer: Sdp
    sides: Mapping[LegName, int]
    codecs: Mapping[LegName, tuple[Codec, ...]]

    @property
    def all_codecs(self) -> tuple[Codec, ...]:
        """Of both parties together, each payload type once."""
        found = {codec.payload_type: codec for codecs in self.codecs.values() for codec in codecs}
        return tuple(found.values())

    @property
    def paused(self) -> bool:
        """Whether the client sends nothing, or not all, for now."""
        return not all(_is_sending(self.offer.streams[at]) for at in self.sides.values())

    def is_swapped(self, sides: ForkSides) -> bool | None:
        """Whether these are our sections with the parties the other way round; None if they are others."""
        stand = ForkSides(self.sides.get(LegName.CALLER), self.sides.get(LegName.CALLEE))
        if sides == stand:
            return False
        return True if sides == ForkSides(stand.callee, stand.caller) else None

    def connect(self, local: Mapping[LegName, tuple[LocalMedia, ...]]) -> list[ConnectMedia]:
        """Where either party's packets come from, with which keys; without a section it sends nothing."""
        return [self._connect(leg, local[leg][0]) for leg in LegName]

    def _connect(self, leg: LegName, local: LocalMedia) -> ConnectMedia:
        at = self.sides.get(leg)
        if at is None:
            return ConnectMedia(leg, (None,))
        stream = self.offer.streams[at]
        if not pick.is_secure(stream):
            return ConnectMedia(leg, (stream,))
        chosen = stream.crypto[0]
        return ConnectMedia(leg, (stream,), (StreamKeys(chosen.suite, chosen.key, local.key(chosen.suite)),))

    def answer(self, local: Mapping[LegName, tuple[LocalMedia, ...]], *, again: bool) -> AnswerFork:
        """The 200: each section that is recorded with our port for its party, all others refused."""
        streams: list[ForkStream | None] = [None] * len(self.offer.streams)
        for leg, at in self.sides.items():
            streams[at] = self._stream(self.offer.streams[at], self.codecs[leg], local[leg][0])
        return AnswerFork(self.offer, tuple(streams), again)

    @staticmethod
    def _stream(stream: StreamFacts, codecs: tuple[Codec, ...], local: LocalMedia) -> ForkStream:
        crypto = None
        if pick.is_secure(stream):
            chosen = stream.crypto[0]
            crypto = CryptoOffer(chosen.tag, chosen.suite, local.key(chosen.suite))
        return ForkStream(local, codecs, crypto, _is_sending(stream))


def take(offer: Sdp, sides: ForkSides) -> Taken | None:
    """What of an offer can be recorded.

    A payload type means one thing in a recording: where the two sections disagree about
    one, that of the caller counts and the callee may not use it.

    Args:
        offer: As received.
        sides: Which section is whose.

    Returns:
        None if no section of a party holds audio in a codec that can be recorded.
    """
    meaning: dict[int, tuple[str, int, int]] = {}
    taken: dict[LegName, int] = {}
    codecs: dict[LegName, tuple[Codec, ...]] = {}
    for leg in LegName:
        at = sides.of(leg)
        if at is None or at >= len(offer.streams) or not pick.is_recordable(offer.streams[at]):
            continue
        kept = tuple(
            codec
            for codec in offer.streams[at].codecs
            if pick.is_kept(codec) and meaning.get(codec.payload_type, _means(codec)) == _means(codec)
        )
        if any(pick.is_speech(codec) for codec in kept):
            meaning.update((codec.payload_type, _means(codec)) for codec in kept)
            taken[leg], codecs[leg] = at, kept
    return Taken(offer, taken, codecs) if taken else None


def _means(codec: Codec) -> tuple[str, int, int]:
    return codec.name, codec.clock_hz, codec.channels


def _is_sending(stream: StreamFacts) -> bool:
    return bool(stream.port) and stream.direction in _SENDING and stream.address not in _UNSPECIFIED
