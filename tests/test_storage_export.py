"""Exports, read back by ffmpeg and sox."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp.codecs import ALAW_TO_LINEAR, MULAW_TO_LINEAR
from storage import encoders
from storage.container import AudioFormat, ContainerError, Encoding, StreamInfo, decode_header, encode_header
from storage.export import ExportError, ExportFormat, Mix, export, format_named

INFO = StreamInfo("ab" * 16, {"purpose": "training"})
FORMATS = [
    AudioFormat(Encoding.ULAW, 8000),
    AudioFormat(Encoding.ALAW, 8000),
    AudioFormat(Encoding.PCM16, 16_000),
    AudioFormat(Encoding.PCM16, 48_000),
]


def speechlike(audio: AudioFormat, frames: int, seed: int = 3) -> bytes:
    """Tones that take turns, left 300 Hz and right 500 Hz, as bytes of the format."""
    at = np.arange(frames) / audio.rate_hz
    turn = np.sin(2 * np.pi * 0.8 * at) > 0
    left = 8000 * turn * np.sin(2 * np.pi * 300 * at)
    right = 8000 * ~turn * np.sin(2 * np.pi * 500 * at)
    pcm = np.stack((left, right), 1) + np.random.default_rng(seed).normal(0, 20, (frames, 2))
    pcm = pcm.astype("<i2")
    if audio.encoding is Encoding.PCM16:
        return pcm.tobytes()
    table = MULAW_TO_LINEAR if audio.encoding is Encoding.ULAW else ALAW_TO_LINEAR
    order = np.argsort(table, kind="stable")
    codes = order[np.searchsorted(table[order], pcm).clip(0, 255)].astype(np.uint8)
    return bytes(codes.tobytes())


def linear(audio: AudioFormat, data: bytes) -> npt.NDArray[np.int16]:
    if audio.encoding is Encoding.PCM16:
        return np.frombuffer(data, "<i2").reshape(-1, 2)
    table = MULAW_TO_LINEAR if audio.encoding is Encoding.ULAW else ALAW_TO_LINEAR
    return table[np.frombuffer(data, np.uint8)].reshape(-1, 2)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def exported(audio: AudioFormat, data: bytes, kind: ExportFormat, mix: Mix = Mix.STEREO) -> bytes:
    out = io.BytesIO()
    result = export(pieces(encode_header(audio, INFO) + data, 10_007), out, kind, mix)
    assert result.frames == len(data) // audio.frame_bytes
    assert result.channels == (1 if mix is Mix.MONO else 2)
    assert (result.rate_hz, result.incomplete_bytes) == (audio.rate_hz, 0)
    assert result.duration_s == result.frames / audio.rate_hz
    return out.getvalue()


def by_ffmpeg(path: Path, channels: int) -> npt.NDArray[np.int16]:
    argv = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "s16le", "-"]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert done.stderr == b""
    return np.frombuffer(done.stdout, "<i2").reshape(-1, channels)


def by_sox(path: Path, channels: int) -> npt.NDArray[np.int16]:
    argv = ["sox", "-D", str(path), "-t", "raw", "-e", "signed", "-b", "16", "-"]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert done.stderr == b""
    return np.frombuffer(done.stdout, "<i2").reshape(-1, channels)


@pytest.mark.parametrize("audio", FORMATS)
def test_wav_keeps_every_byte_and_gets_its_sizes(audio: AudioFormat, tmp_path: Path) -> None:
    data = speechlike(audio, 20_001)
    path = tmp_path / "a.wav"
    path.write_bytes(exported(audio, data, ExportFormat.WAV))
    header = decode_header(path.read_bytes())
    assert (header.audio, header.info, header.data_bytes) == (audio, INFO, len(data))
    assert path.read_bytes()[header.data_offset :][: len(data)] == data
    expected = linear(audio, data)
    np.testing.assert_array_equal(by_ffmpeg(path, 2), expected)
    np.testing.assert_array_equal(by_sox(path, 2), expected)


@pytest.mark.parametrize("audio", FORMATS)
def test_flac_is_lossless(audio: AudioFormat, tmp_path: Path) -> None:
    data = speechlike(audio, 70_001)
    path = tmp_path / "a.flac"
    path.write_bytes(exported(audio, data, ExportFormat.FLAC))
    np.testing.assert_array_equal(by_ffmpeg(path, 2), linear(audio, data))
    np.testing.assert_array_equal(by_sox(path, 2), linear(audio, data))


@pytest.mark.parametrize("kind", [ExportFormat.WAV, ExportFormat.FLAC])
def test_mono_is_the_mean_of_both(kind: ExportFormat, tmp_path: Path) -> None:
    audio = FORMATS[0]
    data = speechlike(audio, 30_000)
    path = tmp_path / f"a.{kind.value}"
    path.write_bytes(exported(audio, data, kind, Mix.MONO))
    both = linear(audio, data).astype(np.int32)
    np.testing.assert_array_equal(by_ffmpeg(path, 1)[:, 0], (both[:, 0] + both[:, 1]) >> 1)


@pytest.mark.parametrize("mix", Mix)
@pytest.mark.parametrize("audio", FORMATS)
@pytest.mark.parametrize("kind", [ExportFormat.MP3, ExportFormat.OPUS])
def test_lossy_formats_keep_length_sides_and_tone(
    kind: ExportFormat, audio: AudioFormat, mix: Mix, tmp_path: Path
) -> None:
    data = speechlike(audio, 3 * audio.rate_hz)
    path = tmp_path / f"a.{kind.value}"
    path.write_bytes(exported(audio, data, kind, mix))
    argv = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    facts = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    channels = 1 if mix is Mix.MONO else 2
    assert facts["streams"][0]["channels"] == channels
    assert float(facts["format"]["duration"]) == pytest.approx(3, abs=0.25)
    tags = {**facts["format"].get("tags", {}), **facts["streams"][0].get("tags", {})}
    assert tags["title"] == INFO.recording_id
    rate = int(facts["streams"][0]["sample_rate"])
    pcm = by_ffmpeg(path, channels).astype(float)
    for channel, hz in ((0, 300), (channels - 1, 500)):
        spectrum = np.abs(np.fft.rfft(pcm[:, channel]))
        peak = spectrum[: int(len(spectrum) * 900 * 2 / rate)]
        near = peak[int(len(pcm) * (hz - 5) / rate) : int(len(pcm) * (hz + 5) / rate)].max()
        other = peak[int(len(pcm) * (795 - hz) / rate) : int(len(pcm) * (805 - hz) / rate)].max()
        assert near > (0.5 if mix is Mix.MONO else 10) * other


@given(
    st.sampled_from(FORMATS),
    st.binary(max_size=3000),
    st.integers(1, 5000),
    st.sampled_from(Mix),
    st.booleans(),
)
@settings(deadline=None)
def test_wav_of_any_samples_in_any_pieces(
    audio: AudioFormat, data: bytes, size: int, mix: Mix, sized: bool
) -> None:
    out = io.BytesIO()
    out.write(b"before")
    stream = encode_header(audio, INFO, len(data) if sized else None) + data
    # After samples of a known length, other chunks may follow.
    tail = b"LIST\x04\0\0\0abcd" if sized else b""
    result = export(pieces(stream + tail, size), out, ExportFormat.WAV, mix)
    whole = len(data) - len(data) % audio.frame_bytes
    assert result.incomplete_bytes == len(data) - whole
    made = out.getvalue().removeprefix(b"before")
    header = decode_header(made)
    assert header.data_bytes is not None
    assert len(made) == header.data_offset + header.data_bytes + header.data_bytes % 2
    if mix is Mix.STEREO:
        assert made[header.data_offset :][:whole] == data[:whole]
    else:
        assert header.audio == AudioFormat(Encoding.PCM16, audio.rate_hz, 1)


class Pipe(io.RawIOBase):
    """Takes bytes and cannot move about, like standard output."""

    def __init__(self, room: int | None = None) -> None:
        self.taken = bytearray()
        self._room = room

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.taken += bytes(data)  # type: ignore[call-overload]
        if self._room is not None and len(self.taken) > self._room:
            raise OSError(28, "No space left on device")
        return len(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ExportFormat)
def test_a_pipe_will_do(kind: ExportFormat, tmp_path: Path) -> None:
    audio = FORMATS[2]
    pipe = Pipe()
    data = speechlike(audio, 48_000)
    export([encode_header(audio, INFO) + data], pipe, kind)  # type: ignore[arg-type]
    path = tmp_path / f"a.{kind.value}"
    path.write_bytes(pipe.taken)
    if kind is ExportFormat.WAV:
        np.testing.assert_array_equal(by_ffmpeg(path, 2), linear(audio, data))
    else:
        assert len(by_ffmpeg(path, 2)) >= 48_000


@pytest.mark.parametrize("kind", ExportFormat)
def test_a_full_disk_is_told_as_such(kind: ExportFormat) -> None:
    audio = FORMATS[2]
    stream = encode_header(audio, INFO) + speechlike(audio, 200_000)
    with pytest.raises(OSError, match="No space left"):
        export(pieces(stream, 65_536), Pipe(5000), kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ExportFormat)
def test_a_fault_of_the_source_comes_through(kind: ExportFormat) -> None:
    def broken() -> Iterator[bytes]:
        yield encode_header(FORMATS[0], INFO) + bytes(50_000)
        raise ContainerError("chunk 2 was altered")

    with pytest.raises(ContainerError, match="chunk 2 was altered"):
        export(broken(), io.BytesIO(), kind)


@pytest.mark.parametrize("kind", ExportFormat)
def test_a_recording_without_audio_is_a_file_too(kind: ExportFormat, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind.value}"
    path.write_bytes(exported(FORMATS[0], b"", kind))
    assert len(by_ffmpeg(path, 2)) < 1500 if kind is not ExportFormat.WAV else path.stat().st_size > 44


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(ContainerError, match="not with a WAV header"):
        export([b"age-encryption.org/v1\n"], io.BytesIO(), ExportFormat.WAV)
    with pytest.raises(ContainerError):
        export([], io.BytesIO(), ExportFormat.FLAC)


def test_formats_are_found_by_name_or_suffix() -> None:
    assert [format_named(text) for text in ("wav", ".FLAC", "Mp3", "ogg", "opus")] == [
        ExportFormat.WAV,
        ExportFormat.FLAC,
        ExportFormat.MP3,
        ExportFormat.OPUS,
        ExportFormat.OPUS,
    ]
    with pytest.raises(ExportError, match=r"cannot export to 'aac'; choose one of wav, flac, mp3, opus"):
        format_named("aac")


def test_progress_is_told() -> None:
    audio = FORMATS[0]
    seen: list[int] = []
    stream = encode_header(audio, INFO) + speechlike(audio, 200_000)
    export(pieces(stream, 30_000), io.BytesIO(), ExportFormat.WAV, progress=seen.append)
    assert seen == sorted(seen)
    assert (seen[-1], len(seen) > 2) == (200_000, True)


def test_a_wav_export_never_loads_ffmpeg() -> None:
    script = (
        "import io, sys; from storage.export import *; from storage.container import *;"
        "export([encode_header(AudioFormat(Encoding.ULAW, 8000), StreamInfo('a', {}))], io.BytesIO(),"
        " ExportFormat.WAV); sys.exit('av' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# ------------------------------------------------------------------ segments
def long_export(data: bytes, kind: ExportFormat, processors: int, path: Path) -> npt.NDArray[np.int16]:
    """What ffmpeg reads back of a µ-law recording, encoded by so many at once."""
    coding = {ExportFormat.MP3: encoders.MP3, ExportFormat.OPUS: encoders.OPUS}[kind]
    with path.open("wb") as out:
        encoders.write_coded(
            iter([MULAW_TO_LINEAR[np.frombuffer(data, np.uint8)].reshape(-1, 2)]),
            out,
            coding,
            title="t",
            rate_hz=8000,
            channels=2,
            processors=processors,
        )
    return by_ffmpeg(path, 2)


@pytest.mark.parametrize("kind", [ExportFormat.MP3, ExportFormat.OPUS])
@pytest.mark.parametrize("seconds", [1.0, 23.999, 24.0, 24.5, 48.01, 61.0])
def test_segments_make_what_one_encoder_makes(
    kind: ExportFormat, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same length to the sample, and where segments meet no other than elsewhere."""
    data = speechlike(FORMATS[0], round(seconds * 8000))
    cut = long_export(data, kind, 2, tmp_path / "cut")
    monkeypatch.setattr(encoders, "_SEGMENT_S", 10_000)
    whole = long_export(data, kind, 1, tmp_path / "whole")
    assert len(cut) == len(whole)
    off = np.abs(cut.astype(int) - whole).max(axis=1)
    if kind is ExportFormat.MP3:
        assert off.max() == 0
        return
    sound = np.abs(whole.astype(float)).max()
    joint = 6 * 24 * 8000  # Opus is decoded at 48 kHz
    rough = np.abs(np.diff(cut.astype(float), 2, axis=0)).max(axis=1)
    usual = np.abs(np.diff(whole.astype(float), 2, axis=0)).max(axis=1)
    for at in range(joint, len(cut) - 4800, joint):
        assert off[at - 480 : at + 4800].max() < 0.1 * sound
        assert rough[at - 4800 : at + 4800].max() <= 1.5 * usual[at - 48_000 : at + 48_000].max()


@given(st.lists(st.integers(1, 700), min_size=1, max_size=40), st.integers(1, 20), st.integers(1, 12))
@settings(deadline=None)
def test_segments_cover_every_sample_once(sizes: list[int], frame: int, frames: int) -> None:
    total, size = sum(sizes), frame * frames
    whole = np.arange(total, dtype=np.int16)[:, None]
    blocks = iter(np.split(whole, np.cumsum(sizes)[:-1]))
    segments = list(encoders._segments(blocks, frame, size))
    firsts = [segment.first for segment in segments]
    assert firsts == [None, *range(size, total, size)]
    assert [segment.last for segment in segments] == [*range(size, total, size), None]
    for segment in segments:
        np.testing.assert_array_equal(segment.samples, whole[segment.start :][: len(segment.samples)])
        assert segment.start == max(0, (segment.first or 0) - encoders._SETTLING_FRAMES * frame)
        wanted = total if segment.last is None else segment.last + encoders._TRAILING_FRAMES * frame
        assert segment.start + len(segment.samples) == min(wanted, total)


def test_an_hour_is_exported_whole(tmp_path: Path) -> None:
    """Its content, not how long it takes: every sample of FLAC, and the tones of both ends of Opus."""
    audio, second = FORMATS[0], speechlike(FORMATS[0], 8000)
    header = encode_header(audio, INFO)

    def hour() -> Iterator[bytes]:
        yield header
        for number in range(3600):
            yield bytes([number & 0xFF]) * 2 + second[2:]

    path = tmp_path / "a.flac"
    with path.open("wb") as out:
        assert export(hour(), out, ExportFormat.FLAC).frames == 3600 * 8000
    pcm = by_ffmpeg(path, 2).reshape(3600, 8000, 2)
    expected = linear(audio, second)
    assert (pcm[:, 1:] == expected[1:]).all()
    np.testing.assert_array_equal(pcm[:, 0, 0], MULAW_TO_LINEAR[np.arange(3600) & 0xFF])
