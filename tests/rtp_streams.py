"""RTP streams made by hand: what a sender sent, when it arrived, and the fork's records of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rtp.fork import FORK_DTYPE
from rtp.timeline import Timeline

MS = 1_000_000
SECOND = 1_000_000_000
START = 50 * SECOND
PCMU, PCMA, G722, OPUS, EVENT = 0, 8, 9, 111, 101


@dataclass(frozen=True, slots=True)
class Sent:
    """One packet; `at_ns` is its arrival since the start of the recording."""

    at_ns: int
    sequence: int
    timestamp: int
    payload: bytes = field(repr=False)
    side: int = 0
    ssrc: int = 7
    payload_type: int = PCMU


def talk(
    rng: np.random.Generator,
    count: int,
    *,
    first_ns: int = 0,
    sequence: int = 0,
    timestamp: int = 0,
    ptime_ms: int = 20,
    clock_hz: int = 8000,
    **fields: Any,
) -> list[Sent]:
    """Packets without a fault, of random bytes that are not silence."""
    size = clock_hz * ptime_ms // 1000
    return [
        Sent(
            at_ns=first_ns + n * ptime_ms * MS,
            sequence=(sequence + n) & 0xFFFF,
            timestamp=(timestamp + n * size) & 0xFFFFFFFF,
            payload=rng.integers(0, 0x7F, size, np.uint8).tobytes(),
            **fields,
        )
        for n in range(count)
    ]


def delayed(packets: Iterable[Sent], delays_ns: Sequence[int]) -> list[Sent]:
    """The same packets, each delayed by the network, in order of arrival."""
    late = [
        replace(packet, at_ns=packet.at_ns + delay) for packet, delay in zip(packets, delays_ns, strict=True)
    ]
    return sorted(late, key=lambda packet: packet.at_ns)


def batch(packets: Sequence[Sent]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.uint8]]:
    """The packets as the fork hands them over."""
    records = np.zeros(len(packets), FORK_DTYPE)
    at = 0
    for record, packet in zip(records, packets, strict=True):
        record["stream"] = 1
        record["arrival_ns"] = START + packet.at_ns
        record["timestamp"] = packet.timestamp
        record["ssrc"] = packet.ssrc
        record["offset"] = at
        record["sequence"] = packet.sequence
        record["length"] = len(packet.payload)
        record["side"] = packet.side
        record["payload_type"] = packet.payload_type
        at += len(packet.payload)
    return records, np.frombuffer(b"".join(packet.payload for packet in packets), np.uint8)


def recorded(timeline: Timeline, packets: Sequence[Sent], end_ns: int, step_ns: int = 250 * MS) -> bytes:
    """Run a timeline as the recorder does: every `step_ns`, push what came, take what is final."""
    out = b""
    waiting = list(packets)
    now = -1
    while now < end_ns:
        now = min(max(now, 0) + step_ns, end_ns)
        come = [packet for packet in waiting if packet.at_ns <= now]
        waiting = waiting[len(come) :]
        if come:
            timeline.push(*batch(come))
        out += timeline.take(START + now)
    return out + timeline.finish(START + end_ns)


def channels(frames: bytes, dtype: str = "u1") -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Left and right of interleaved frames."""
    both = np.frombuffer(frames, dtype).reshape(-1, 2)
    return both[:, 0], both[:, 1]
