"""Announcements: read or spoken at set-up, encoded per codec, handed to the relay."""

from announcer.encode import PCM_HZ, EncodedPrompt, encodable_codecs, encode
from announcer.errors import AnnouncerError, PromptError
from announcer.playout import Pacer, playout
from announcer.prompts import BrokenPrompt, Prompt, PromptSet, PromptSpec
from announcer.texts import BUILT_IN
from announcer.tone import tone

__all__ = [
    "BUILT_IN",
    "PCM_HZ",
    "AnnouncerError",
    "BrokenPrompt",
    "EncodedPrompt",
    "Pacer",
    "Prompt",
    "PromptError",
    "PromptSet",
    "PromptSpec",
    "encodable_codecs",
    "encode",
    "playout",
    "tone",
]
