"""What counts as a transcript: plain text, or WebVTT that says who speaks (W3C WebVTT, section 4); pure.

recproxy recognises no speech. It keeps what a person or a program outside wrote, and
refuses what is no text, too long, or not what it says it is.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import Final

from recproxy.errors import RecproxyError

__all__ = ["LANGUAGE", "LONGEST_BYTES", "ORIGIN", "Form", "Transcript", "TranscriptError", "read_transcript"]

LONGEST_BYTES: Final = 1 << 20
"""Of a transcript: some sixteen hours of talk."""
LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}\Z")
"""Tag of the language of one, such as ``nl`` or ``en-GB``."""
ORIGIN: Final = re.compile(r"(?!.*[0-9]{7})[^\x00-\x1f\x7f]{0,64}\Z")
"""Who or what wrote one: no telephone number of a party."""
_BOM: Final = "\ufeff"
_LAYOUT: Final = frozenset("\n\t")
_INSTANT: Final = r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_TIMES: Final = re.compile(rf"{_INSTANT}[ \t]+-->[ \t]+{_INSTANT}(?:[ \t].*)?\Z")
_VOICE: Final = re.compile(r"<v(?:\.[^\s>]+)*[ \t]+[^>\s][^>]*>")
_BLOCKS: Final = ("NOTE", "STYLE", "REGION")


class Form(Enum):
    """How a transcript is written; the value is its media type."""

    PLAIN = "text/plain"
    WEBVTT = "text/vtt"

    @property
    def suffix(self) -> str:
        """Of a file that holds one."""
        return ".vtt" if self is Form.WEBVTT else ".txt"


@dataclass(frozen=True, slots=True)
class Transcript:
    """A text that can be kept.

    Attributes:
        form: How it is written.
        text: Itself, with line feeds alone.
    """

    form: Form
    text: str


class TranscriptError(RecproxyError):
    """It is no transcript that can be kept."""


def read_transcript(content: bytes) -> Transcript:
    """Read a transcript; never shows any of its words.

    Args:
        content: As it came.

    Raises:
        TranscriptError: It is empty, too long, no UTF-8, has control characters, or is WebVTT
            with a cue that has no time or no voice.
    """
    if len(content) > LONGEST_BYTES:
        raise TranscriptError(
            f"the transcript has more than {LONGEST_BYTES >> 20} MiB", hint="give the text alone"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as err:
        raise TranscriptError(
            f"the transcript is not UTF-8: byte {err.start} is wrong", hint="convert it: iconv -t utf-8"
        ) from err
    text = text.removeprefix(_BOM).replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        if any(unicodedata.category(one) in {"Cc", "Cs"} and one not in _LAYOUT for one in line):
            raise TranscriptError(f"line {number} of the transcript has a control character")
    if not text.strip():
        raise TranscriptError("the transcript is empty")
    if re.match(r"WEBVTT(?:[ \t\n]|\Z)", text):
        _check_cues(text)
        return Transcript(Form.WEBVTT, text)
    return Transcript(Form.PLAIN, text)


def _check_cues(text: str) -> None:
    """Every cue has times, in order, and every one says who speaks."""
    cues, line, before = 0, 1, 0
    for place, block in enumerate(re.split(r"\n(?=\n)", text)):
        lines = block.split("\n")
        number, line = line, line + len(lines)
        rows = [(number + at, one) for at, one in enumerate(lines) if one]
        if place == 0 or not rows or rows[0][1].split(" ")[0] in _BLOCKS:
            continue
        if "-->" not in rows[0][1]:
            del rows[0]  # the name of the cue
        at = rows[0][0] if rows else number
        begin, end = _times(rows[0][1] if rows else "", at)
        if not before <= begin < end:
            raise TranscriptError(f"line {at} of the transcript: the times of a cue are not in order")
        words = "\n".join(one for _, one in rows[1:])
        if not _VOICE.match(words):
            raise TranscriptError(
                f"line {at} of the transcript: a cue does not say who speaks", hint="begin it with <v caller>"
            )
        before, cues = begin, cues + 1
    if not cues:
        raise TranscriptError("the transcript is WebVTT without a cue")


def _times(row: str, number: int) -> tuple[int, int]:
    """Begin and end of a cue in milliseconds."""
    match = _TIMES.match(row)
    if match is None:
        raise TranscriptError(
            f"line {number} of the transcript: no time of a cue", hint="write 00:00:01.000 --> 00:00:04.500"
        )
    numbers = [int(one or 0) for one in match.groups()]
    begin, end = (
        ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
        for hours, minutes, seconds, ms in (numbers[:4], numbers[4:])
    )
    return begin, end
