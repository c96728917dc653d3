"""Speaks the words of announcements with espeak-ng, once, into a directory of WAV files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from announcer.errors import PromptError

__all__ = ["speak", "voice_for"]

_VOICES: Final = {"en": "en-gb", "fr": "fr-fr"}
_WORDS_A_MINUTE: Final = 145
_PATIENCE_S: Final = 30


def voice_for(language: str) -> str:
    """Choose the espeak-ng voice for a language.

    Args:
        language: BCP 47 tag.

    Returns:
        Name of a voice; for a language with none, the tag itself.
    """
    tag = language.lower()
    return _VOICES.get(tag) or _VOICES.get(tag.split("-", maxsplit=1)[0]) or tag


def speak(name: str, language: str, text: str, directory: Path) -> Path:
    """Speak a text into a WAV file, unless that was done before.

    The file is named after the announcement, its language and the words, so that other words make
    another file and the same words keep theirs, byte by byte.

    Args:
        name: Of the announcement; must be fit for a file name.
        language: BCP 47 tag.
        text: The words.
        directory: Where the file is kept; made if missing.

    Returns:
        The file.

    Raises:
        PromptError: espeak-ng is missing, fails, or the directory cannot be written.
    """
    voice = voice_for(language)
    digest = hashlib.sha256(f"{voice}\0{_WORDS_A_MINUTE}\0{text}".encode()).hexdigest()[:16]
    target = directory / f"{name}.{language}.{digest}.wav"
    if target.exists():
        return target
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{name}.", suffix=".wav", dir=directory)
        os.close(handle)
    except OSError as err:
        raise PromptError(
            f"{directory}: announcement {name!r} cannot be kept: {err.strerror}; "
            "make the directory writable for recproxy"
        ) from err
    try:
        _run_espeak(name, voice, text, draft)
        Path(draft).replace(target)
    finally:
        Path(draft).unlink(missing_ok=True)
    return target


def _run_espeak(name: str, voice: str, text: str, target: str) -> None:
    argv = ["espeak-ng", "-v", voice, "-s", str(_WORDS_A_MINUTE), "-b", "1", "--stdin", "-w", target]
    try:
        done = subprocess.run(
            argv, input=text.encode(), capture_output=True, timeout=_PATIENCE_S, check=False
        )
    except FileNotFoundError as err:
        raise PromptError(
            f"announcement {name!r} cannot be spoken: espeak-ng is not installed; "
            "install it, or give the announcement a WAV file"
        ) from err
    except (OSError, subprocess.TimeoutExpired) as err:
        raise PromptError(f"announcement {name!r} cannot be spoken: {err}") from err
    if done.returncode != 0 or Path(target).stat().st_size == 0:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise PromptError(
            f"announcement {name!r} cannot be spoken with voice {voice!r}: {said}; "
            "give it a language that espeak-ng --voices lists, or a WAV file"
        )
