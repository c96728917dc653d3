"""What the payload types of one side stand for, as tables to look up whole batches in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.codecs import (
    ALAW_TO_LINEAR,
    ALAW_TO_MULAW,
    COMFORT_NOISE,
    G711_NAMES,
    MULAW_TO_ALAW,
    MULAW_TO_LINEAR,
    TELEPHONE_EVENT,
    CodecSpec,
)
from rtp.timeline.formats import Encoding, TimelineFormat

__all__ = ["DEFERRED", "DIRECT", "EVENT", "NOISE", "UNKNOWN", "G711Table", "PayloadTypes"]

UNKNOWN, DIRECT, DEFERRED, EVENT, NOISE = range(5)
"""Kinds: nothing known; G.711 at the recording's rate; to be decoded in order; keys; comfort noise."""

_STATIC_COMFORT_NOISE: Final = 13
"""RFC 3389, RFC 3551 table 4."""
_MOST_AUDIO_MS: Final = 500
"""A packet with more audio is not believed."""
_MOST_HZ: Final = 48_000
_MOST_TABLES: Final = 64
"""Kept at a time: agreements that calls have in common are few."""


@dataclass(frozen=True, slots=True)
class G711Table:
    """How the bytes of a G.711 payload type become samples of the recording.

    Attributes:
        clock_hz: RTP clock, and samples a second.
        lookup: Sample for each byte; None if the bytes are kept as they are.
        longest_bytes: Longest payload that is believed.
    """

    clock_hz: int
    lookup: npt.NDArray[np.generic] | None
    longest_bytes: int


@dataclass(frozen=True, slots=True)
class _Tables:
    """What `PayloadTypes` shows; one for all sides of all calls that agreed the same."""

    kinds: npt.NDArray[np.int8]
    clocks_hz: npt.NDArray[np.int64]
    longest_bytes: npt.NDArray[np.int64]
    direct: tuple[G711Table | None, ...]


class PayloadTypes:
    """Meaning of the payload types 0 to 255.

    Attributes:
        kinds: Kind of each.
        clocks_hz: RTP clock rate of each.
        longest_bytes: Longest payload of each that is believed.
        tables: For those of kind DIRECT.
        codecs: Those that were agreed.
    """

    __slots__ = ("_audio", "clocks_hz", "codecs", "kinds", "longest_bytes", "tables")

    def __init__(self, audio: TimelineFormat, codecs: Mapping[int, CodecSpec]) -> None:
        """Start with what was agreed first, and comfort noise by its static number.

        Args:
            audio: Format of the recording.
            codecs: What each payload type stands for.
        """
        self._audio = audio
        self.codecs: dict[int, CodecSpec] = {}
        self.agree({_STATIC_COMFORT_NOISE: CodecSpec(COMFORT_NOISE, 8000), **codecs})

    def agree(self, codecs: Mapping[int, CodecSpec]) -> None:
        """Take note of payload types; others keep their meaning.

        Args:
            codecs: What each payload type stands for from now on.
        """
        self.codecs = {**self.codecs, **codecs}
        tables = _tables(self._audio, tuple(sorted(self.codecs.items(), key=itemgetter(0))))
        self.kinds, self.clocks_hz = tables.kinds, tables.clocks_hz
        self.longest_bytes, self.tables = tables.longest_bytes, tables.direct


@lru_cache(maxsize=_MOST_TABLES)
def _tables(audio: TimelineFormat, codecs: tuple[tuple[int, CodecSpec], ...]) -> _Tables:
    """Make the tables of what was agreed: 7 KB that a call would have twice."""
    kinds = np.zeros(256, np.int8)
    clocks_hz = np.zeros(256, np.int64)
    longest_bytes = np.zeros(256, np.int64)
    direct: list[G711Table | None] = [None] * 256
    for payload_type, codec in codecs:
        clocks_hz[payload_type] = codec.clock_hz
        direct[payload_type] = _table_for(codec, audio)
        # In G.711 a byte is a sample; the other codecs make more of theirs.
        longest_bytes[payload_type] = (codec.rate_hz or 0) * _MOST_AUDIO_MS // 1000
        kinds[payload_type] = _kind_of(codec, audio)
    for table in (kinds, clocks_hz, longest_bytes):
        table.flags.writeable = False
    return _Tables(kinds, clocks_hz, longest_bytes, tuple(direct))


def _kind_of(codec: CodecSpec, audio: TimelineFormat) -> int:
    if codec.name == TELEPHONE_EVENT:
        return EVENT
    if codec.name == COMFORT_NOISE:
        return NOISE
    if codec.rate_hz is None or not 0 < codec.clock_hz <= _MOST_HZ:
        return UNKNOWN
    return DEFERRED if _table_for(codec, audio) is None else DIRECT


def _table_for(codec: CodecSpec, audio: TimelineFormat) -> G711Table | None:
    """Give the table if G.711 can be placed without a change of rate."""
    if codec.name not in G711_NAMES or codec.rate_hz != audio.rate_hz:
        return None
    mulaw = codec.name == "PCMU"
    lookup: npt.NDArray[np.generic] | None
    match audio.encoding:
        case Encoding.MULAW:
            lookup = None if mulaw else ALAW_TO_MULAW
        case Encoding.ALAW:
            lookup = MULAW_TO_ALAW if mulaw else None
        case Encoding.PCM16:
            lookup = MULAW_TO_LINEAR if mulaw else ALAW_TO_LINEAR
    return G711Table(codec.clock_hz, lookup, audio.rate_hz * _MOST_AUDIO_MS // 1000)
