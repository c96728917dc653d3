"""What the media side needs of others: time, and a recorder."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from recproxy.call.commands import OpenRecording
from recproxy.call.events import Codec

__all__ = ["Clock", "RecordingSink"]


class Clock(Protocol):
    """Time, passed in."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC, as the engine stamps arrivals."""
        ...

    def utcnow(self) -> datetime:
        """Aware UTC wall time."""
        ...


class RecordingSink(Protocol):
    """The recorder, as the media side sees it. Every call returns at once."""

    def open(self, call: str, stream: int, start_ns: int, plan: OpenRecording) -> None:
        """Record ``stream`` from ``start_ns``; answered by an event."""
        ...

    def pause(self, call: str, at_ns: int) -> None:
        """Silence from ``at_ns``."""
        ...

    def resume(self, call: str, at_ns: int, codecs: tuple[Codec, ...]) -> None:
        """Audio again from ``at_ns``, in these codecs."""
        ...

    def seal(self, call: str, end_ns: int, reason: str, dropped: int) -> None:
        """Nothing arrives after ``end_ns``: close for good; ``dropped`` packets never reached the ring."""
        ...

    def part(self, call: str, at_ns: int, reason: str, dropped: int, plan: OpenRecording) -> None:
        """Close the recording at ``at_ns`` and go on in another from then; answered by an event."""
        ...

    def discard(self, call: str, reason: str, purposes: tuple[str, ...] | None) -> None:
        """Destroy what there is of the recording, at once; of closed ones for these purposes, or all."""
        ...

    def drop(self, call: str, purposes: tuple[str, ...], reason: str, *, earlier: bool) -> None:
        """Destroy the keys for some of its purposes, at once, of closed ones too if ``earlier``."""
        ...

    def forget(self, call: str) -> None:
        """The call is over: nothing more is said of its recordings."""
        ...

    def listen(self, call: str, stream: int, payload_types: frozenset[int]) -> None:
        """Tell the keys pressed in ``stream``, by these payload types; none: no longer."""
        ...

    def swap(self, call: str, stream: int, at_ns: int, *, swapped: bool) -> None:
        """From ``at_ns`` on, each voice of a stream comes by the other's side, or by its own again."""
        ...

    def fault(self, purpose: str = "") -> str | None:
        """Why nothing can be recorded at present, or nothing for this purpose."""
        ...
