"""Whether a recording that was closed lacks more than a telephone line always loses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["is_degraded"]

_TOLERATED: Final = 0.01  # of the packets
_LEGS: Final = ("caller", "callee")


def is_degraded(sealed: Mapping[str, str | int | float | bool]) -> bool:
    """Tell whether audio is missing from a recording.

    Args:
        sealed: Fields of ``recording.sealed`` in the event log.

    Returns:
        True if we dropped a packet ourselves, or more than 1 % of both parties' packets never
        came or came too late.
    """
    lost = sum(int(sealed.get(f"{leg}_{what}", 0)) for leg in _LEGS for what in ("lost", "late"))
    packets = sum(int(sealed.get(f"{leg}_packets", 0)) for leg in _LEGS)
    return int(sealed.get("ring_dropped", 0)) > 0 or lost > _TOLERATED * (packets + lost)
