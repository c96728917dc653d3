"""Names in a policy: each has a type of its own, so that none is taken for another."""

from __future__ import annotations

from typing import NewType

__all__ = ["Language", "LineName", "PromptId", "PurposeName"]

PurposeName = NewType("PurposeName", str)
Language = NewType("Language", str)
PromptId = NewType("PromptId", str)
LineName = NewType("LineName", str)
