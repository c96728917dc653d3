"""Codecs that recproxy can announce in and record: G.711, G.722, Opus, telephone-event."""

from rtp.codecs.decoders import Decoder, decoder_for, payload_samples
from rtp.codecs.g711 import (
    ALAW_SILENCE,
    ALAW_TO_LINEAR,
    ALAW_TO_MULAW,
    MULAW_SILENCE,
    MULAW_TO_ALAW,
    MULAW_TO_LINEAR,
    alaw_decode,
    alaw_encode,
    mulaw_decode,
    mulaw_encode,
)
from rtp.codecs.resample import Resampler, resample
from rtp.codecs.spec import COMFORT_NOISE, G711_NAMES, TELEPHONE_EVENT, CodecSpec
from rtp.codecs.telephone_event import TelephoneEvent, parse

__all__ = [
    "ALAW_SILENCE",
    "ALAW_TO_LINEAR",
    "ALAW_TO_MULAW",
    "COMFORT_NOISE",
    "G711_NAMES",
    "MULAW_SILENCE",
    "MULAW_TO_ALAW",
    "MULAW_TO_LINEAR",
    "TELEPHONE_EVENT",
    "CodecSpec",
    "Decoder",
    "Resampler",
    "TelephoneEvent",
    "alaw_decode",
    "alaw_encode",
    "decoder_for",
    "mulaw_decode",
    "mulaw_encode",
    "parse",
    "payload_samples",
    "resample",
]
