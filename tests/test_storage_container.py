"""The WAV stream header: exact bytes, round trips, refusals, and what players make of it."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.container import (
    MAX_HEADER_BYTES,
    UNKNOWN_SIZE,
    AudioFormat,
    ContainerError,
    Encoding,
    StreamHeader,
    StreamInfo,
    decode_header,
    encode_header,
)

ULAW: Final = AudioFormat(Encoding.ULAW, 8000)
INFO: Final = StreamInfo("0123456789abcdef0123456789abcdef", {"purpose": "quality", "left": "caller"})
FORMATS: Final = [
    ULAW,
    AudioFormat(Encoding.ALAW, 8000),
    AudioFormat(Encoding.PCM16, 16000),
    AudioFormat(Encoding.PCM16, 48000),
]
each_format = pytest.mark.parametrize(
    "audio", FORMATS, ids=lambda audio: f"{audio.encoding.name}-{audio.rate_hz}"
)
PRINTABLE: Final = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)
INFOS: Final = st.builds(
    StreamInfo, PRINTABLE, st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=6)
)
AUDIO: Final = st.builds(AudioFormat, st.sampled_from(Encoding), st.integers(1, 192_000), st.integers(1, 8))


def test_ulaw_stream_header_byte_for_byte() -> None:
    assert encode_header(ULAW, StreamInfo("ab", {"k": "é"})) == bytes.fromhex(
        "52494646 ffffffff 57415645"  # RIFF, unknown, WAVE
        "666d7420 12000000 0700 0200 401f0000 803e0000 0200 0800 0000"  # fmt: 7, 2, 8000, 16000, 2, 8, 0
        "66616374 04000000 00000000"  # fact: unknown
        "4c495354 28000000 494e464f"  # LIST, 40, INFO
        "494e414d 03000000 616200 00"  # INAM, 3, "ab", pad
        "49434d54 0f000000 7b226b223a225c7530306539227d00 00"  # ICMT, 15, JSON, pad
        "64617461 ffffffff"  # data, unknown
    )


def test_pcm_header_has_no_fact_chunk_and_a_short_fmt_chunk() -> None:
    header = encode_header(AudioFormat(Encoding.PCM16, 16000), INFO)
    assert header[12:36] == b"fmt \x10\x00\x00\x00" + struct.pack("<HHIIHH", 1, 2, 16000, 64000, 4, 16)
    assert b"fact" not in header[:48]


@given(AUDIO, INFOS, st.none() | st.integers(0, 4_000_000_000), st.binary(max_size=50))
def test_round_trip(audio: AudioFormat, info: StreamInfo, data_bytes: int | None, samples: bytes) -> None:
    header = encode_header(audio, info, data_bytes)
    assert decode_header(header + samples) == StreamHeader(audio, info, len(header), data_bytes)
    assert len(header) % 2 == 0
    assert encode_header(audio, info, data_bytes) == header


@given(AUDIO, INFOS, st.data())
def test_header_cut_anywhere_is_refused(audio: AudioFormat, info: StreamInfo, data: st.DataObject) -> None:
    header = encode_header(audio, info)
    with pytest.raises(ContainerError):
        decode_header(header[: data.draw(st.integers(0, len(header) - 1))])


@given(st.binary(max_size=200), st.integers(0, 140))
def test_noise_gives_a_container_error_or_a_header(noise: bytes, kept: int) -> None:
    try:
        decoded = decode_header(encode_header(ULAW, INFO)[:kept] + noise)
    except ContainerError:
        return
    assert decoded.audio.frame_bytes >= 1


def test_sizes_of_a_finished_file() -> None:
    header = encode_header(ULAW, INFO, 1001)
    assert struct.unpack_from("<I", header, 4)[0] == len(header) - 8 + 1002
    assert struct.unpack_from("<I", header, len(header) - 4)[0] == 1001
    assert struct.unpack_from("<I", header, 12 + 26 + 8)[0] == 500
    with pytest.raises(ContainerError, match="is the most"):
        encode_header(ULAW, INFO, UNKNOWN_SIZE)
    with pytest.raises(ContainerError, match="-1 bytes"):
        encode_header(ULAW, INFO, -1)


def test_unknown_chunks_before_the_samples_are_skipped() -> None:
    header = encode_header(ULAW, INFO)
    longer = header[:12] + b"JUNK\x03\x00\x00\x00abc\x00" + header[12:]
    assert decode_header(longer) == StreamHeader(ULAW, INFO, len(header) + 12, None)


def test_silence_is_the_sample_nearest_to_zero() -> None:
    assert ULAW.silence(3) == b"\xff" * 6
    assert AudioFormat(Encoding.ALAW, 8000).silence(3) == b"\xd5" * 6
    assert AudioFormat(Encoding.PCM16, 16000, 1).silence(3) == bytes(6)
    assert ULAW.silence(0) == b""


def test_sizes_of_frames() -> None:
    assert (ULAW.frame_bytes, ULAW.bytes_per_second) == (2, 16_000)
    wide = AudioFormat(Encoding.PCM16, 48_000)
    assert (wide.frame_bytes, wide.bytes_per_second) == (4, 192_000)


@pytest.mark.parametrize(("rate_hz", "channels"), [(0, 2), (-8000, 2), (192_001, 2), (8000, 0), (8000, 9)])
def test_format_out_of_range_is_refused(rate_hz: int, channels: int) -> None:
    with pytest.raises(ContainerError):
        AudioFormat(Encoding.PCM16, rate_hz, channels)


@pytest.mark.parametrize("recording_id", ["", "a\0b", "é", "a\n"])
def test_id_that_cannot_be_written_is_refused(recording_id: str) -> None:
    with pytest.raises(ContainerError, match="printable ASCII"):
        encode_header(ULAW, StreamInfo(recording_id, {}))


def test_facts_that_are_too_long_are_refused() -> None:
    with pytest.raises(ContainerError, match=f"{MAX_HEADER_BYTES} is the most"):
        encode_header(ULAW, StreamInfo("id", {"k": "x" * MAX_HEADER_BYTES}))


def replaced(old: bytes, new: bytes) -> bytes:
    header = encode_header(ULAW, INFO)
    assert header.count(old) == 1
    return header.replace(old, new)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"", "ends after 0 bytes"),
        (replaced(b"RIFF", b"RIFX"), "starts with b'RIFX'"),
        (replaced(b"fmt ", b"fmt_"), 'no "fmt " chunk'),
        (replaced(b"LIST", b"LISX"), "no LIST INFO chunk"),
        (replaced(b"INAM", b"IART"), "no INAM entry"),
        (replaced(b"\x07\x00\x02\x00", b"\x11\x00\x02\x00"), "format tag 17"),
        (replaced(b"\x40\x1f\x00\x00", b"\x41\x1f\x00\x00"), "contradicts itself"),
        (replaced(b"fmt \x12", b"fmt \x02"), "has 2 bytes"),
        (replaced(b"LIST", b"JUNK").replace(b"JUNK", b"LIST\xff\xff\xff\x7f", 1), "reaches past"),
        (replaced(b'"caller"', b"        "), "JSON facts"),
        (replaced(b'"caller"', b"12345678"), "JSON object of strings"),
        (replaced(b"0123456789abcdef0", b"0123456789abcdef\xff"), "ASCII id"),
        (replaced(b"ICMT", b"ICMT\xff\xff\0\0"), "reaches past its LIST chunk"),
        (replaced(b"INAM\x21", b"INAM\xf1"), "reaches past its LIST chunk"),
    ],
)
def test_header_that_is_wrong_is_refused_for_its_reason(start: bytes, reason: str) -> None:
    with pytest.raises(ContainerError, match=reason):
        decode_header(start)


def test_facts_nested_without_end_are_refused() -> None:
    info = b"INFO" + b"INAM\x03\0\0\0id\0\0" + b"ICMT" + struct.pack("<I", 60_000) + b"[" * 60_000
    header = encode_header(ULAW, INFO)
    start = header[: header.index(b"LIST")] + b"LIST" + struct.pack("<I", len(info)) + info + header[-8:]
    with pytest.raises(ContainerError, match="JSON facts"):
        decode_header(start)


def run(*argv: str, given: bytes = b"") -> bytes:
    return subprocess.run(argv, input=given, capture_output=True, check=True).stdout


def synthetic(audio: AudioFormat, seconds: int = 1) -> bytes:
    """Give samples that are a pattern of this test, different on each side."""
    frames = audio.rate_hz * seconds
    width = audio.encoding.sample_bytes
    left = [(7 * n % 97 + 1).to_bytes(width, "little") for n in range(frames)]
    right = [(5 * n % 89 + 128).to_bytes(width, "little") for n in range(frames)]
    return b"".join(sample for pair in zip(left, right, strict=True) for sample in pair)


@pytest.mark.interop
@each_format
def test_ffmpeg_gives_the_samples_bit_for_bit(audio: AudioFormat) -> None:
    codec = {Encoding.ULAW: "mulaw", Encoding.ALAW: "alaw", Encoding.PCM16: "s16le"}[audio.encoding]
    samples = synthetic(audio)
    stream = encode_header(audio, INFO) + samples
    argv = ["ffmpeg", "-v", "error", "-i", "pipe:0", "-c", "copy", "-f", codec, "pipe:1"]
    assert run(*argv, given=stream) == samples


@pytest.mark.interop
@each_format
def test_sox_gives_the_samples_bit_for_bit(audio: AudioFormat) -> None:
    samples = synthetic(audio)
    stream = encode_header(audio, INFO) + samples
    assert run("sox", "-t", "wav", "-", "-t", "raw", "-", given=stream) == samples


@pytest.mark.interop
@each_format
def test_ffprobe_shows_format_duration_and_facts(audio: AudioFormat, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(encode_header(audio, INFO) + synthetic(audio, seconds=3))
    shown = json.loads(
        run("ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", str(path))
    )
    (stream,) = shown["streams"]
    assert (int(stream["sample_rate"]), stream["channels"]) == (audio.rate_hz, 2)
    assert float(shown["format"]["duration"]) == pytest.approx(3.0)
    assert shown["format"]["tags"]["title"] == INFO.recording_id
    assert json.loads(shown["format"]["tags"]["comment"]) == INFO.facts
