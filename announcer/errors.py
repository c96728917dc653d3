"""Errors of announcements."""

from __future__ import annotations

__all__ = ["AnnouncerError", "PromptError"]


class AnnouncerError(Exception):
    """Root of the tree; never raised itself."""


class PromptError(AnnouncerError):
    """An announcement cannot be made ready or sent; the text names the file and the mend."""
