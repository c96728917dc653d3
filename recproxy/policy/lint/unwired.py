"""What a policy can say and this version does not do: refused, never ignored.

This is the one list of such features. Whoever builds one takes its line out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from recproxy.config import Key
from recproxy.policy.lint.findings import Lint
from recproxy.policy.purpose import Purpose

__all__ = ["IN_PURPOSE", "Unwired", "check_unwired"]


@dataclass(frozen=True, slots=True)
class Unwired:
    """One feature that is missing.

    Attributes:
        key: Where a policy asks for it.
        what: What does not happen; the mend.
        used_by: Whether a purpose asks for it.
    """

    key: Key
    what: str
    used_by: Callable[[Purpose], bool]


IN_PURPOSE: Final[tuple[Unwired, ...]] = ()
"""None at present."""


def check_unwired(lint: Lint) -> None:
    """Refuse what a policy asks for in vain."""
    for name, purpose in lint.file.purposes.items():
        for feature in IN_PURPOSE:
            if feature.used_by(purpose):
                lint.error("E100", ("purposes", name, *feature.key), feature.what)
