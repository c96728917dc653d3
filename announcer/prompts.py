"""Announcements, ready to be sent: read or spoken, checked, and brought to one loudness."""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from announcer.encode import PCM_HZ, EncodedPrompt, encode
from announcer.errors import PromptError
from announcer.loudness import loudness, normalised, without_tail
from announcer.synthesis import speak
from announcer.texts import built_in
from rtp.codecs import resample

__all__ = ["BrokenPrompt", "Prompt", "PromptSet", "PromptSpec"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z")
_LONGEST_S: Final = 60
_SHORTEST_S: Final = 0.3
_MOST_BYTES: Final = 64 << 20
_NEARLY_SILENT_DBFS: Final = -50.0
_CHANNELS: Final = (1, 2)


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """One announcement as the policy asks for it.

    Attributes:
        name: Of the announcement.
        language: BCP 47 tag.
        text: Words to speak; None for a file or the built-in text of that name.
        file: WAV or MP3 file; None if it is spoken.
    """

    name: str
    language: str
    text: str | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """One announcement, checked and ready.

    Attributes:
        name: Of the announcement.
        language: BCP 47 tag.
        file: The audio file it was made from, spoken or the admin's own.
        sha256: Hash of that file, 64 hex digits: the proof of what was played.
        pcm: Mono samples at 48 kHz, of normal loudness; read-only.
    """

    name: str
    language: str
    file: Path
    sha256: str
    pcm: npt.NDArray[np.int16]
    _encoded: dict[tuple[str, int], EncodedPrompt] = field(default_factory=dict, repr=False)

    @property
    def duration_s(self) -> float:
        """Time it takes to say it."""
        return len(self.pcm) / PCM_HZ

    def encoded(self, codec: str, ptime_ms: int = 20) -> EncodedPrompt:
        """Encode it, or give what was encoded before.

        Args:
            codec: PCMU, PCMA, G722, G729 or OPUS, in any case.
            ptime_ms: Time of a frame.

        Returns:
            The payloads.

        Raises:
            PromptError: There is no such encoder, or no such frame length.
        """
        key = (codec.upper(), ptime_ms)
        found = self._encoded.get(key)
        if found is None:
            found = self._encoded[key] = encode(self.pcm, *key)
        return found


@dataclass(frozen=True, slots=True)
class BrokenPrompt:
    """An announcement that could not be made ready.

    Attributes:
        name: Of the announcement.
        language: BCP 47 tag.
        why: What is wrong with which file, and the mend.
    """

    name: str
    language: str
    why: str


@dataclass(frozen=True, slots=True)
class PromptSet:
    """All announcements of a policy.

    Attributes:
        prompts: Those that are ready, by name and language.
        broken: Those that are not.
    """

    prompts: Mapping[tuple[str, str], Prompt]
    broken: tuple[BrokenPrompt, ...] = ()

    @classmethod
    def load(
        cls, directory: Path, specs: Iterable[PromptSpec], codecs: Iterable[str] = ("PCMU", "PCMA")
    ) -> PromptSet:
        """Make announcements ready; one that fails does not stop the others.

        Args:
            directory: Where spoken announcements are kept; made if missing.
            specs: What is asked for.
            codecs: Codecs to encode for at once, in frames of 20 ms, so that no call waits for it.

        Returns:
            All of them, ready or broken.
        """
        prompts: dict[tuple[str, str], Prompt] = {}
        broken: list[BrokenPrompt] = []
        ahead = tuple(codecs)
        for spec in specs:
            try:
                prompt = _load(directory, spec)
                for codec in ahead:
                    prompt.encoded(codec)
            except PromptError as err:
                broken.append(BrokenPrompt(spec.name, spec.language, str(err)))
            else:
                prompts[spec.name, spec.language] = prompt
        return cls(prompts, tuple(broken))

    def get(self, name: str, language: str) -> Prompt:
        """Give one announcement.

        Args:
            name: Of the announcement.
            language: BCP 47 tag.

        Returns:
            It.

        Raises:
            PromptError: It is broken, or was never asked for.
        """
        prompt = self.prompts.get((name, language))
        if prompt is not None:
            return prompt
        for broken in self.broken:
            if (broken.name, broken.language) == (name, language):
                raise PromptError(broken.why)
        raise PromptError(f"there is no announcement {name!r} in {language!r}; name it in the policy")


def _load(directory: Path, spec: PromptSpec) -> Prompt:
    if not _NAME.match(spec.name):
        raise PromptError(f"announcement {spec.name!r}: a name has letters, digits, - and _ only")
    if not _LANGUAGE.match(spec.language):
        raise PromptError(f"announcement {spec.name!r}: {spec.language!r} is no language tag such as nl")
    file = spec.file
    if file is None:
        text = spec.text if spec.text is not None else built_in(spec.name, spec.language)
        if not text.strip():
            raise PromptError(f"announcement {spec.name!r} has no words; give it a text or a file")
        file = speak(spec.name, spec.language, text, directory)
    content = _content(file)
    pcm = without_tail(normalised(_checked(file, *_decoded(file, content)), PCM_HZ), PCM_HZ).copy()
    pcm.flags.writeable = False
    return Prompt(spec.name, spec.language, file, hashlib.sha256(content).hexdigest(), pcm)


def _content(file: Path) -> bytes:
    try:
        size = file.stat().st_size
        if size > _MOST_BYTES:
            raise PromptError(
                f"{file}: {size >> 20} MiB is too large for an announcement; cut it to {_LONGEST_S} s"
            )
        return file.read_bytes()
    except OSError as err:
        raise PromptError(f"{file}: {err.strerror}; name a WAV or MP3 file that recproxy may read") from err


def _decoded(file: Path, content: bytes) -> tuple[npt.NDArray[np.int16], int]:
    """Decode a WAV or MP3 file; give its samples, one row a channel, and their rate."""
    mend = "name a WAV or MP3 file that plays elsewhere"
    with warnings.catch_warnings():
        # pydub reads samples by audioop and says, when imported, that a later Python lacks it.
        warnings.simplefilter("ignore")
        from pydub import AudioSegment  # noqa: PLC0415
        from pydub.exceptions import CouldntDecodeError  # noqa: PLC0415

        kind = "wav" if content[:4] == b"RIFF" else "mp3"
        try:
            segment: Any = AudioSegment.from_file(io.BytesIO(content), format=kind).set_sample_width(2)
        except FileNotFoundError as err:
            raise PromptError(f"{file}: ffmpeg is not installed; install it, or name a WAV file") from err
        except CouldntDecodeError as err:
            raise PromptError(f"{file}: cannot be read as {kind.upper()}; {mend}") from err
        except (ValueError, IndexError, KeyError, OSError, EOFError) as err:
            raise PromptError(f"{file}: is damaged ({err}); {mend}") from err
    samples = np.array(segment.get_array_of_samples(), np.int16)
    if segment.channels not in _CHANNELS:
        raise PromptError(f"{file}: has {segment.channels} channels; make it mono or stereo")
    whole = len(samples) - len(samples) % segment.channels
    return samples[:whole].reshape(-1, segment.channels).T, int(segment.frame_rate)


def _checked(file: Path, channels: npt.NDArray[np.int16], rate_hz: int) -> npt.NDArray[np.int16]:
    """Mix to mono at the one rate; refuse what nobody can hear out."""
    seconds = channels.shape[1] / rate_hz
    if seconds > _LONGEST_S:
        raise PromptError(f"{file}: lasts {seconds:.1f} s; cut it to {_LONGEST_S} s, better to 6 s")
    if seconds < _SHORTEST_S:
        raise PromptError(f"{file}: lasts {seconds:.2f} s, too short to say anything; record it again")
    mono = resample(np.rint(channels.mean(axis=0)).astype(np.int16), rate_hz, PCM_HZ)
    level = loudness(mono, PCM_HZ)
    if level < _NEARLY_SILENT_DBFS:
        heard = "is silent" if math.isinf(level) else f"is nearly silent ({level:.0f} dBFS)"
        raise PromptError(f"{file}: {heard}; record it louder than {_NEARLY_SILENT_DBFS:.0f} dBFS")
    return mono
