"""Codecs: known answers of G.711, the rest against what was put in."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from announcer import PromptError, encodable_codecs, encode, g729
from rtp.codecs import (
    ALAW_TO_MULAW,
    MULAW_TO_ALAW,
    CodecSpec,
    Resampler,
    alaw_decode,
    alaw_encode,
    decoder_for,
    mulaw_decode,
    mulaw_encode,
    parse,
    payload_samples,
    resample,
)
from rtp.codecs.telephone_event import TelephoneEvent
from rtp.errors import PacketError

# ITU-T G.711 tables 1a/1b and 2a/2b: code word on the wire, and the value it stands for at the
# decoder's output (14 bits for A-law's 13 and µ-law's 14, here left-aligned in 16 bits).
MULAW_ANSWERS = [(0x80, 8031), (0x8F, 4191), (0x9F, 2079), (0xAF, 1023), (0xBF, 495), (0xCF, 231)]
MULAW_ANSWERS += [(0xDF, 99), (0xEF, 33), (0xFE, 2), (0xFF, 0)]
ALAW_ANSWERS = [(0xAA, 4032), (0xA5, 2112), (0xB5, 1056), (0x85, 528), (0x95, 264), (0xE5, 132)]
ALAW_ANSWERS += [(0xF5, 66), (0xC5, 33), (0xD5, 1)]


@pytest.mark.parametrize(("code", "value"), MULAW_ANSWERS)
def test_mulaw_known_answers(code: int, value: int) -> None:
    assert mulaw_decode(bytes([code, code ^ 0x80])).tolist() == [4 * value, -4 * value]


@pytest.mark.parametrize(("code", "value"), ALAW_ANSWERS)
def test_alaw_known_answers(code: int, value: int) -> None:
    assert alaw_decode(bytes([code, code ^ 0x80])).tolist() == [8 * value, -8 * value]


def test_encoding_a_decoded_code_gives_it_back() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert alaw_encode(alaw_decode(codes)).tolist() == codes.tolist()
    expected = codes.copy()
    expected[0x7F] = 0xFF  # negative zero is zero
    assert mulaw_encode(mulaw_decode(codes)).tolist() == expected.tolist()


@pytest.mark.parametrize(("encode_", "decode"), [(mulaw_encode, mulaw_decode), (alaw_encode, alaw_decode)])
def test_encoding_is_monotone_and_within_half_a_step(encode_: object, decode: object) -> None:
    assert callable(encode_)
    assert callable(decode)
    pcm = np.arange(-32_635, 32_636).astype(np.int16)
    out = decode(encode_(pcm)).astype(np.int64)
    assert (np.diff(out) >= 0).all()
    # Sixteen steps a segment, segments that double: half a step is a 32nd of the segment's start.
    assert (np.abs(out - pcm) <= (np.abs(pcm.astype(np.int64)) + 132) / 32 + 4).all()
    assert decode(encode_(np.array([32_767, -32_768], np.int16))).tolist() == [out[-1], out[0]]


def test_the_laws_convert_into_each_other_within_a_step() -> None:
    codes = np.arange(256, dtype=np.uint8)
    linear = mulaw_decode(codes).astype(int)
    assert (np.abs(alaw_decode(MULAW_TO_ALAW[codes]) - linear) <= np.abs(linear) / 16 + 16).all()
    linear = alaw_decode(codes).astype(int)
    assert (np.abs(mulaw_decode(ALAW_TO_MULAW[codes]) - linear) <= np.abs(linear) / 16 + 16).all()


def test_tables_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        MULAW_TO_ALAW[0] = 1


@pytest.mark.parametrize(
    ("payload", "event", "digit"),
    [
        (b"\x05\x0a\x03\x20", TelephoneEvent(5, end=False, volume=10, duration=800), "5"),
        (b"\x0b\x8a\xff\xff", TelephoneEvent(11, end=True, volume=10, duration=65_535), "#"),
        (b"\x0f\x40\x00\x00", TelephoneEvent(15, end=False, volume=0, duration=0), "D"),
        (b"\x24\x00\x00\x01", TelephoneEvent(36, end=False, volume=0, duration=1), None),
    ],
)
def test_telephone_events_are_read(payload: bytes, event: TelephoneEvent, digit: str | None) -> None:
    assert parse(payload) == (event,)
    assert event.digit == digit
    assert parse(payload * 2) == (event, event)


@given(st.binary(max_size=40))
def test_telephone_events_are_read_or_refused(payload: bytes) -> None:
    if payload and len(payload) % 4 == 0:
        assert len(parse(payload)) == len(payload) // 4
    else:
        with pytest.raises(PacketError):
            parse(payload)


@pytest.mark.parametrize("rates", [(8000, 16_000), (8000, 48_000), (48_000, 8000), (22_050, 48_000)])
@given(seed=st.integers(0, 1 << 20))
def test_resampling_by_blocks_leaves_no_seam(rates: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pcm = rng.integers(-20_000, 20_000, 3000).astype(np.int16)
    whole = Resampler(*rates).process(pcm)
    assert len(whole) == -(-3000 * rates[1] // rates[0])
    cuts = np.sort(rng.integers(0, 3000, 8))
    pieces = Resampler(*rates)
    joined = np.concatenate([pieces.process(piece) for piece in np.split(pcm, cuts)])
    # Equal but for the order in which the processor adds.
    np.testing.assert_allclose(joined, whole, atol=1)


@pytest.mark.parametrize("rates", [(8000, 16_000), (16_000, 8000), (48_000, 8000), (44_100, 48_000)])
def test_resampling_keeps_tone_level_and_place(rates: tuple[int, int]) -> None:
    source, target = rates
    pcm = (12_000 * np.sin(2 * np.pi * 1000 * np.arange(source) / source)).astype(np.int16)
    out = resample(pcm, source, target)
    expected = 12_000 * np.sin(2 * np.pi * 1000 * np.arange(target) / target)
    assert len(out) == target
    assert np.abs(out - expected)[200:-200].max() < 5


def test_resampling_down_removes_what_would_fold_back() -> None:
    pcm = (12_000 * np.sin(2 * np.pi * 5500 * np.arange(48_000) / 48_000)).astype(np.int16)
    assert np.abs(resample(pcm, 48_000, 8000)[100:-100]).max() < 12


def sine(hz: float, rate: int, seconds: float = 1.0) -> npt.NDArray[np.int16]:
    return (9000 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.int16)


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("name", ["PCMU", "PCMA", "G722", "OPUS"])
def test_what_is_encoded_decodes_to_the_same_tone_and_length(name: str, ptime_ms: int) -> None:
    spec = CodecSpec(name, 48_000 if name == "OPUS" else 8000)
    encoded = encode(sine(800, 48_000), name, ptime_ms)
    decoder = decoder_for(spec)
    payloads = list(encoded.payloads())
    samples = [decoder.decode(payload) for payload in payloads]
    assert [payload_samples(spec, payload) for payload in payloads] == [len(part) for part in samples]
    pcm = np.concatenate(samples)
    assert len(pcm) * 1000 == encoded.duration_ms * decoder.rate_hz
    assert 1000 <= encoded.duration_ms <= 1000 + 2 * ptime_ms
    assert encoded.timestamp_step == spec.clock_hz * encoded.frame_ms // 1000
    middle = pcm[len(pcm) // 4 : len(pcm) // 2].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * decoder.rate_hz / len(middle) == pytest.approx(800, abs=8)
    assert np.abs(middle).max() == pytest.approx(9000, rel=0.1)


@pytest.mark.parametrize(
    ("spec", "rate"),
    [
        (CodecSpec("pcmu", 8000), 8000),
        (CodecSpec("G722", 8000), 16_000),
        (CodecSpec("opus", 48_000, 2), 48_000),
        (CodecSpec("opus", 16_000), None),
        (CodecSpec("PCMU", 8000, 2), None),
        (CodecSpec("G729", 8000), 8000),
        (CodecSpec("G729", 16_000), None),
        (CodecSpec("G729", 8000, 2), None),
        (CodecSpec("G723", 8000), None),
        (CodecSpec("telephone-event", 8000), None),
    ],
)
def test_the_rate_of_a_codec_is_not_always_its_clock(spec: CodecSpec, rate: int | None) -> None:
    assert spec.rate_hz == rate
    if rate is None:
        with pytest.raises(PacketError, match=f"no decoder for {spec.name}/"):
            decoder_for(spec)


# RFC 6716 table 2 and section 3.1: configuration, code, frames -> samples at 48 kHz.
@pytest.mark.parametrize(
    ("first", "samples"),
    [
        (b"\x00", 480),
        (b"\x18", 2880),
        (b"\x61", 2 * 480),
        (b"\x68", 960),
        (b"\x80", 120),
        (b"\xf8", 960),
        (b"\xfb\x03", 3 * 960),
        (b"\x1b\x03", 0),
        (b"\xfb", 0),
        (b"", 0),
    ],
)
def test_the_length_of_an_opus_packet_is_read_off_its_first_bytes(first: bytes, samples: int) -> None:
    assert payload_samples(CodecSpec("opus", 48_000, 2), first) == samples


@given(st.binary(min_size=1, max_size=200))
def test_opus_nonsense_is_decoded_or_refused(payload: bytes) -> None:
    decoder = decoder_for(CodecSpec("opus", 48_000, 2))
    try:
        samples = decoder.decode(payload)
    except PacketError:
        return
    assert samples.dtype == np.int16


_G729 = CodecSpec("G729", 8000)


@pytest.mark.parametrize("frames", [0, 1, 2, 6])
def test_a_silence_descriptor_of_g729_becomes_silence(frames: int) -> None:
    """RFC 3551 section 4.5.6: frames of 10 bytes, then one of 2 at most."""
    speech = bytes(range(10 * frames))
    samples = decoder_for(_G729).decode(speech + b"\x12\x34")
    assert payload_samples(_G729, speech + b"\x12\x34") == len(samples) == 80 * (frames + 1)
    assert not samples[-80:].any()
    assert np.array_equal(samples[:-80], decoder_for(_G729).decode(speech))


def test_speech_goes_on_after_silence_in_g729() -> None:
    decoder = decoder_for(_G729)
    assert [len(decoder.decode(payload)) for payload in (b"\x12\x34", bytes(20), b"\x12\x34", bytes(10))] == [
        80,
        160,
        80,
        80,
    ]


@given(st.binary(max_size=200))
def test_g729_nonsense_is_decoded_or_refused(payload: bytes) -> None:
    decoder = decoder_for(_G729)
    if len(payload) % 10 in (0, 2):
        assert len(decoder.decode(payload)) == payload_samples(_G729, payload)
        return
    assert payload_samples(_G729, payload) == 0
    with pytest.raises(PacketError, match=f"g729 payload of {len(payload)} bytes"):
        decoder.decode(payload)


@pytest.mark.parametrize(("ptime_ms", "frame_ms"), [(10, 10), (20, 20), (25, 20), (60, 60)])
def test_an_announcement_in_g729_is_heard_as_it_was_said(ptime_ms: int, frame_ms: int) -> None:
    if "G729" not in encodable_codecs():
        pytest.skip("libbcg729 is not installed")
    encoded = encode(sine(800, 48_000), "g729", ptime_ms)
    assert (encoded.frame_ms, encoded.timestamp_step) == (frame_ms, 8 * frame_ms)
    assert set(encoded.lengths) == {frame_ms}
    assert 1000 <= encoded.duration_ms < 1000 + frame_ms
    decoder = decoder_for(_G729)
    pcm = np.concatenate([decoder.decode(payload) for payload in encoded.payloads()]).astype(float)
    middle = pcm[2000:6000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * 8000 / len(middle) == pytest.approx(800, abs=8)
    # It codes speech, not tones: the level is kept no better than this.
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(9000 / np.sqrt(2), rel=0.25)


def test_without_its_library_no_announcement_is_made_in_g729(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(g729, "_LIBRARY", "libbcg729-that-is-not-there.so.0")
    g729.find.cache_clear()
    try:
        assert encodable_codecs() == ("PCMU", "PCMA", "G722", "OPUS")
        with pytest.raises(PromptError, match=r"no announcement can be made in G729 without .*: install it"):
            encode(sine(800, 48_000), "G729")
    finally:
        g729.find.cache_clear()


def test_g711_alone_never_loads_ffmpeg() -> None:
    script = (
        "import sys; from rtp.codecs import *; import rtp.timeline, announcer; import numpy;"
        "decoder_for(CodecSpec('PCMU', 8000)).decode(b'abc');"
        "announcer.encode(numpy.ones(4800, numpy.int16), 'PCMA');"
        "sys.exit('av' in sys.modules or 'pydub' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
