"""Announcements: spoken or read, one loudness, every fault named; pacing."""

from __future__ import annotations

import hashlib
import math
import subprocess
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from announcer import PCM_HZ, EncodedPrompt, Pacer, PromptError, PromptSet, PromptSpec, encode, playout
from announcer.loudness import PEAK_DBFS, TARGET_DBFS, loudness, normalised, without_tail
from announcer.synthesis import voice_for
from announcer.texts import BUILT_IN, built_in

MS = 1_000_000


def write_wav(path: Path, pcm: npt.NDArray[np.generic], rate: int = 16_000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(pcm.dtype.itemsize)
        out.setframerate(rate)
        out.writeframes(pcm.tobytes())
    return path


def sine(level: float, seconds: float = 2.0, rate: int = 16_000) -> npt.NDArray[np.int16]:
    return (level * np.sin(2 * np.pi * 400 * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def load(directory: Path, *specs: PromptSpec) -> PromptSet:
    return PromptSet.load(directory, specs)


def why(directory: Path, spec: PromptSpec) -> str:
    found = load(directory, spec)
    assert not found.prompts
    with pytest.raises(PromptError) as caught:
        found.get(spec.name, spec.language)
    assert found.broken[0].why == str(caught.value)
    return str(caught.value)


def test_built_in_texts_are_spoken_once_and_stay_the_same(tmp_path: Path) -> None:
    specs = [PromptSpec("training", "nl"), PromptSpec("training", "en"), PromptSpec("agreements", "nl")]
    first = load(tmp_path / "spoken", *specs)
    assert first.broken == ()
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "spoken").iterdir()}
    assert len(files) == 3
    again = load(tmp_path / "spoken", *specs)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "spoken").iterdir()} == files
    elsewhere = load(tmp_path / "other", *specs)
    for key, prompt in first.prompts.items():
        assert prompt.sha256 == hashlib.sha256(prompt.file.read_bytes()).hexdigest()
        assert again.get(*key).sha256 == elsewhere.get(*key).sha256 == prompt.sha256
        assert 1 < prompt.duration_s < 6
        assert loudness(prompt.pcm, PCM_HZ) == pytest.approx(TARGET_DBFS, abs=3)
        with pytest.raises(ValueError, match="read-only"):
            prompt.pcm[0] = 1


OFFERS = ("toets", "press", "taste", "drücken", "touche", "tapez", "kies")


def test_built_in_texts_offer_a_key_only_where_their_name_says_so() -> None:
    for name, texts in BUILT_IN.items():
        for language, text in texts.items():
            offers = any(offer in text.lower() for offer in OFFERS)
            assert offers == ("_opt_" in name), (name, language)
            assert ("9" in text, "1" in text) == ("_opt_out" in name, "_opt_in" in name), (name, language)


def test_built_in_texts_are_short(tmp_path: Path) -> None:
    specs = [PromptSpec(name, language) for name, texts in BUILT_IN.items() for language in texts]
    made = PromptSet.load(tmp_path, specs, ())
    assert made.broken == ()
    assert {key: prompt.duration_s for key, prompt in made.prompts.items() if prompt.duration_s > 6.0} == {}
    assert {language for _, language in made.prompts} == {"nl", "en", "de", "fr"}


def test_a_regional_tag_falls_back_to_its_language() -> None:
    assert built_in("training", "nl-BE") == BUILT_IN["training"]["nl"]
    assert (voice_for("en"), voice_for("en-US"), voice_for("nl"), voice_for("fr-BE")) == (
        "en-gb",
        "en-gb",
        "nl",
        "fr-fr",
    )


def test_other_words_make_another_file(tmp_path: Path) -> None:
    one = load(tmp_path, PromptSpec("hello", "en", "Good morning.")).get("hello", "en")
    other = load(tmp_path, PromptSpec("hello", "en", "Good evening.")).get("hello", "en")
    assert one.file != other.file
    assert one.sha256 != other.sha256


def test_words_never_become_options_or_commands(tmp_path: Path) -> None:
    text = '-w /tmp/x $(id) `id` "; rm -rf --version \u00e9\u00e8'
    assert load(tmp_path, PromptSpec("odd", "nl", text)).broken == ()
    assert [path.suffix for path in tmp_path.iterdir()] == [".wav"]


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000])
def test_a_wav_of_any_rate_is_read_at_one_loudness(tmp_path: Path, rate: int) -> None:
    for level in (300, 30_000):
        path = write_wav(tmp_path / f"{level}.wav", sine(level, rate=rate), rate)
        prompt = load(tmp_path, PromptSpec("own", "nl", file=path)).get("own", "nl")
        assert prompt.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert prompt.duration_s == pytest.approx(2, abs=0.001)
        assert loudness(prompt.pcm, PCM_HZ) == pytest.approx(TARGET_DBFS, abs=0.1)


def test_stereo_is_mixed_and_other_widths_are_read(tmp_path: Path) -> None:
    left, right = sine(8000), np.zeros(32_000, np.int16)
    stereo = write_wav(tmp_path / "s.wav", np.stack((left, right), 1), channels=2)
    wide = write_wav(tmp_path / "w.wav", left.astype("<i4") << 16)
    narrow = write_wav(tmp_path / "n.wav", ((left >> 8) + 128).astype(np.uint8))
    found = load(tmp_path, *(PromptSpec(path.stem, "nl", file=path) for path in (stereo, wide, narrow)))
    assert found.broken == ()
    reference = found.get("w", "nl").pcm.astype(float)
    for name in ("s", "n"):
        assert np.corrcoef(found.get(name, "nl").pcm, reference)[0, 1] > 0.999


def test_an_mp3_is_read(tmp_path: Path) -> None:
    source, target = write_wav(tmp_path / "a.wav", sine(5000)), tmp_path / "a.mp3"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", source, target], check=True)
    prompt = load(tmp_path, PromptSpec("own", "nl", file=target)).get("own", "nl")
    assert prompt.duration_s == pytest.approx(2, abs=0.1)
    assert prompt.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()


def test_a_broken_prompt_does_not_stop_the_others(tmp_path: Path) -> None:
    good = write_wav(tmp_path / "good.wav", sine(5000))
    found = load(
        tmp_path,
        PromptSpec("a", "nl", file=tmp_path / "missing.wav"),
        PromptSpec("b", "nl", file=good),
        PromptSpec("nothing", "nl"),
    )
    assert list(found.prompts) == [("b", "nl")]
    assert [broken.name for broken in found.broken] == ["a", "nothing"]
    with pytest.raises(PromptError, match=r"there is no announcement 'c' in 'nl'; name it in the policy"):
        found.get("c", "nl")


def test_each_fault_names_the_file_and_the_mend(tmp_path: Path) -> None:
    def own(path: Path) -> str:
        return why(tmp_path, PromptSpec("own", "nl", file=path))

    missing = tmp_path / "missing.wav"
    assert own(missing) == (
        f"{missing}: No such file or directory; name a WAV or MP3 file that recproxy may read"
    )
    silent = write_wav(tmp_path / "silent.wav", np.zeros(32_000, np.int16))
    assert own(silent) == f"{silent}: is silent; record it louder than -50 dBFS"
    faint = write_wav(tmp_path / "faint.wav", sine(60))
    assert own(faint) == f"{faint}: is nearly silent (-58 dBFS); record it louder than -50 dBFS"
    long = write_wav(tmp_path / "long.wav", sine(5000, 61.0))
    assert own(long) == f"{long}: lasts 61.0 s; cut it to 60 s, better to 6 s"
    short = write_wav(tmp_path / "short.wav", sine(5000, 0.1))
    assert "lasts 0.10 s, too short" in own(short)
    many = write_wav(tmp_path / "many.wav", np.tile(sine(5000), 3), channels=3)
    assert own(many) == f"{many}: has 3 channels; make it mono or stereo"
    text = tmp_path / "text.mp3"
    text.write_text("hello, this is no audio at all\n" * 100)
    assert own(text).startswith(f"{text}: cannot be read as MP3; name a WAV or MP3 file")
    cut = tmp_path / "cut.wav"
    cut.write_bytes(silent.read_bytes()[:30])
    assert str(cut) in own(cut)
    assert "name a WAV or MP3 file" in own(cut)
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    assert str(empty) in own(empty)
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as out:
        out.truncate(65 << 20)
    assert own(huge) == f"{huge}: 65 MiB is too large for an announcement; cut it to 60 s"


def test_names_languages_and_words_are_checked(tmp_path: Path) -> None:
    assert "a name has letters" in why(tmp_path, PromptSpec("../x", "nl", "Hallo."))
    assert "no language tag" in why(tmp_path, PromptSpec("x", "nl/../..", "Hallo."))
    assert "has no words" in why(tmp_path, PromptSpec("x", "nl", "  "))
    assert "has no built-in text (those are training" in why(tmp_path, PromptSpec("x", "nl"))
    assert "has no built-in text in 'it' (only nl, en, fr)" in why(tmp_path, PromptSpec("training", "it"))
    assert "espeak-ng --voices" in why(tmp_path, PromptSpec("x", "qq", "Hallo."))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_missing_espeak_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why(tmp_path, PromptSpec("x", "nl", "Hallo.")) == (
        "announcement 'x' cannot be spoken: espeak-ng is not installed; "
        "install it, or give the announcement a WAV file"
    )


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    told = why(blocker / "prompts", PromptSpec("x", "nl", "Hallo."))
    assert told.startswith(f"{blocker / 'prompts'}: announcement 'x' cannot be kept")


def test_encodings_are_made_once(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", sine(5000))
    prompt = load(tmp_path, PromptSpec("own", "nl", file=path)).get("own", "nl")
    assert prompt.encoded("pcmu") is prompt.encoded("PCMU", 20)
    assert prompt.encoded("PCMU", 30) is not prompt.encoded("PCMU", 20)
    with pytest.raises(PromptError, match="no announcement can be made in G723"):
        prompt.encoded("G723")
    with pytest.raises(PromptError, match="frames of 0 ms"):
        prompt.encoded("PCMU", 0)


def test_the_last_frame_is_filled_up_with_silence() -> None:
    encoded = encode(np.full(48_000 * 25 // 1000, 9000, np.int16), "PCMU", 20)
    assert (encoded.lengths, encoded.duration_ms) == ((160, 160), 40)
    assert encoded.frames[-100:] == b"\xff" * 100


@given(st.integers(0, 1 << 20), st.floats(0.4, 3), st.floats(5, 20_000))
def test_loudness_never_clips_and_hits_its_mark(seed: int, seconds: float, level: float) -> None:
    noise = np.random.default_rng(seed).normal(0, level, int(16_000 * seconds))
    pcm = np.clip(noise, -32_768, 32_767).astype(np.int16)
    out = normalised(pcm, 16_000)
    assert np.abs(out.astype(int)).max() <= 32_768 * 10 ** (PEAK_DBFS / 20)
    before = loudness(pcm, 16_000)
    if not math.isinf(before):
        assert loudness(out, 16_000) <= TARGET_DBFS + 0.5
        assert len(out) == len(pcm)


def test_pauses_between_words_do_not_count_as_quiet() -> None:
    speech = sine(5000, 1.0)
    gaps = np.concatenate((speech, np.zeros(48_000, np.int16), speech))
    assert loudness(gaps, 16_000) == pytest.approx(loudness(speech, 16_000), abs=1)
    assert math.isinf(loudness(np.zeros(100, np.int16), 16_000))
    silence = np.zeros(16_000, np.int16)
    assert normalised(silence, 16_000) is silence


def ready() -> EncodedPrompt:
    return EncodedPrompt(b"abcdef", (1, 2, 3), 20, 160)


def test_a_playout_carries_the_prompt_and_its_own_numbers() -> None:
    value = playout(ready(), payload_type=8, ssrc=1, sequence=2, timestamp=3)
    assert (value.frames, value.lengths, value.frame_ms, value.timestamp_step) == (
        b"abcdef",
        (1, 2, 3),
        20,
        160,
    )
    assert (value.payload_type, value.ssrc, value.sequence, value.timestamp) == (8, 1, 2, 3)
    assert list(ready().payloads()) == [b"a", b"bc", b"def"]


@given(st.lists(st.integers(-50, 200), min_size=1, max_size=30))
def test_each_frame_is_due_once_in_order_never_early(steps: list[int]) -> None:
    value = playout(ready(), payload_type=8, ssrc=1, sequence=2, timestamp=3)
    pacer = Pacer(value, 1000 * MS)
    given_out: list[int] = []
    now = 950 * MS
    for step in steps:
        now += step * MS
        for frame in pacer.due(now):
            assert now >= (1000 + 20 * frame) * MS
            given_out.append(frame)
        assert not pacer.heard(now) or (given_out == [0, 1, 2] and now >= 1060 * MS)
    assert given_out == list(range(len(given_out)))
    assert list(pacer.due(10_000 * MS)) == list(range(len(given_out), 3))
    assert pacer.heard(10_000 * MS)


@pytest.mark.parametrize(("tail_s", "kept_s"), [(2.0, 1.12), (0.05, 1.05), (0.0, 1.0)])
def test_silence_at_the_end_is_cut_but_for_a_breath(tail_s: float, kept_s: float) -> None:
    speech = np.full(PCM_HZ, 8000, np.int16)
    pcm = np.concatenate([speech, np.zeros(int(tail_s * PCM_HZ), np.int16)])
    cut = without_tail(pcm, PCM_HZ)
    assert len(cut) == round(kept_s * PCM_HZ)
    assert np.array_equal(cut[:PCM_HZ], speech)


def test_silence_alone_is_not_cut() -> None:
    assert len(without_tail(np.zeros(PCM_HZ, np.int16), PCM_HZ)) == PCM_HZ
