"""An RTP end point for tests: paced sending, and a log of every packet with its time.

Times are CLOCK_MONOTONIC, the clock of the daemon's RTP engine, so moments of both
sides compare directly. A received packet has the kernel's stamp: how long this
process took to read it does not count.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from closing import Closing

FRAME_NS = 20_000_000
FRAME_SAMPLES = 160
SAMPLE_NS = 125_000
_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")  # RFC 4733 section 2.3: event, end and volume, duration
_KEYS = "0123456789*#"
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python has no name for it
_TIMESPEC = struct.Struct("@ll")


@dataclass(frozen=True, slots=True)
class Heard:
    """One datagram as received.

    Attributes:
        at_ns: When it arrived, CLOCK_MONOTONIC.
        source: Address and port it came from.
        data: The whole datagram.
    """

    at_ns: int
    source: tuple[str, int]
    data: bytes

    @property
    def payload_type(self) -> int:
        """RTP payload type."""
        return self.data[1] & 0x7F

    @property
    def marker(self) -> bool:
        """RTP marker bit."""
        return bool(self.data[1] & 0x80)

    @property
    def sequence(self) -> int:
        """RTP sequence number."""
        return int.from_bytes(self.data[2:4], "big")

    @property
    def timestamp(self) -> int:
        """RTP timestamp."""
        return int.from_bytes(self.data[4:8], "big")

    @property
    def ssrc(self) -> int:
        """RTP synchronisation source."""
        return int.from_bytes(self.data[8:12], "big")

    @property
    def payload(self) -> bytes:
        """What follows the fixed header; peers here send neither CSRC nor extension."""
        return self.data[12:]


def packet(
    payload: bytes, *, sequence: int, timestamp: int, ssrc: int, payload_type: int = 0, marker: bool = False
) -> bytes:
    """Build one RTP packet (RFC 3550 section 5.1) without CSRC, extension or padding."""
    return (
        _HEADER.pack(
            0x80, payload_type | (0x80 if marker else 0), sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc
        )
        + payload
    )


def _arrival_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The kernel's wall-clock stamp of a datagram, on the monotonic clock."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            wall_ns: int = seconds * 1_000_000_000 + nanoseconds
            return wall_ns - (time.time_ns() - time.monotonic_ns())
    raise RuntimeError("the kernel did not stamp a datagram")


@dataclass(slots=True)
class Talk:
    """One paced stream of 20 ms frames and the moment each of them left.

    Attributes:
        audio: All the bytes to send, one byte a sample.
        ticks: Which frames leave at each tick of 20 ms: none is loss, two are a
            duplicate or a burst, another order is reordering.
        sent_ns: When tick ``i`` was, CLOCK_MONOTONIC; that is frame ``i`` where nothing is amiss.
    """

    audio: bytes
    ticks: Sequence[Sequence[int]]
    sent_ns: list[int] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def sent(self) -> bytes:
        """The bytes that left so far."""
        return self.audio[: len(self.sent_ns) * FRAME_SAMPLES]

    def sample_ns(self, sample: int) -> int:
        """When ``sample`` was spoken: its frame's first sample is dated one frame before it left."""
        frame, offset = divmod(sample, FRAME_SAMPLES)
        return self.sent_ns[frame] - FRAME_NS + offset * SAMPLE_NS

    def stop(self) -> None:
        """Send no further frame; returns when the sender has stopped."""
        self._stop.set()
        self.join()

    def join(self) -> None:
        """Wait until the last frame has left."""
        if self._thread is not None:
            self._thread.join()

    def run(self, send: Callable[[int, bytes], None]) -> None:
        """Send each frame on its own absolute deadline, until the end or ``stop``."""
        start = time.monotonic_ns()
        for tick, frames in enumerate(self.ticks):
            wait_ns = start + tick * FRAME_NS - time.monotonic_ns()
            if self._stop.wait(max(wait_ns, 0) / 1e9):
                return
            sent_ns = time.monotonic_ns()
            for frame in frames:
                send(frame, self.audio[frame * FRAME_SAMPLES : (frame + 1) * FRAME_SAMPLES])
            self.sent_ns.append(sent_ns)


class RtpPeer(Closing):
    """A UDP socket that speaks and hears RTP. A context manager."""

    def __init__(self, address: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((address, port))
        self.address: str = address
        self.port: int = self._socket.getsockname()[1]
        self._lock = threading.Condition()
        self._heard: list[Heard] = []
        self._talks: list[Talk] = []
        self._keys = 0  # pressed so far: each is an event of its own
        self._ended = False
        self._listener = threading.Thread(target=self._listen, name=f"rtp {address}:{self.port}", daemon=True)
        self._listener.start()

    @property
    def heard(self) -> list[Heard]:
        """A snapshot of everything received so far, in order of arrival."""
        with self._lock:
            return list(self._heard)

    def wait_heard(
        self, enough: Callable[[list[Heard]], bool], *, within_s: float = 20.0, what: str = "RTP"
    ) -> list[Heard]:
        """Wait until what was heard is ``enough`` and return it.

        Raises:
            TimeoutError: It was not within ``within_s``.
        """
        with self._lock:
            if not self._lock.wait_for(lambda: enough(self._heard), within_s):
                raise TimeoutError(
                    f"{self.address}:{self.port}: no {what} within {within_s:g} s, {len(self._heard)} came"
                )
            return list(self._heard)

    def wait_count(self, count: int, *, within_s: float = 20.0) -> list[Heard]:
        """Wait until ``count`` datagrams came in all.

        Raises:
            TimeoutError: They did not within ``within_s``.
        """
        return self.wait_heard(lambda heard: len(heard) >= count, within_s=within_s, what=f"{count} packets")

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Send one datagram as it is."""
        self._socket.sendto(data, to)

    def press(
        self, keys: str, to: tuple[str, int], *, payload_type: int = 101, ssrc: int = 0x7E1E0001
    ) -> None:
        """Press keys, one after the other, as telephone-events of 100 ms (RFC 4733 section 2.5)."""
        for key in keys:
            place = self._keys
            self._keys += 1
            steps = [(160 * step, 0) for step in range(1, 5)] + [(800, 0x80)] * 3
            for step, (duration, end) in enumerate(steps):
                event = _EVENT.pack(_KEYS.index(key), end | 10, duration)
                self.send(
                    packet(
                        event,
                        sequence=place * len(steps) + step,
                        timestamp=place * 1600,
                        ssrc=ssrc,
                        payload_type=payload_type,
                        marker=step == 0,
                    ),
                    to,
                )

    def talk(
        self,
        audio: bytes,
        to: tuple[str, int],
        *,
        payload_type: int = 0,
        ssrc: int = 0x5EED0001,
        sequence: int = 0,
        timestamp: int = 0,
        ticks: Sequence[Sequence[int]] = (),
    ) -> Talk:
        """Start to send ``audio`` in frames of 20 ms, 160 bytes each; a rest is not sent.

        ``ticks`` makes a bad line of it, see ``Talk``.
        """
        talk = Talk(audio, ticks or [(frame,) for frame in range(len(audio) // FRAME_SAMPLES)])

        def send(index: int, payload: bytes) -> None:
            self.send(
                packet(
                    payload,
                    sequence=sequence + index,
                    timestamp=timestamp + index * FRAME_SAMPLES,
                    ssrc=ssrc,
                    payload_type=payload_type,
                    marker=index == 0,
                ),
                to,
            )

        talk._thread = threading.Thread(
            target=talk.run, args=(send,), name=f"talk {self.address}:{self.port}", daemon=True
        )
        self._talks.append(talk)
        talk._thread.start()
        return talk

    def close(self) -> None:
        """Stop talking and listening."""
        for talk in self._talks:
            talk.stop()
        if not self._ended:
            self._ended = True
            self._socket.sendto(b"", (self.address, self.port))  # wakes the listener
            self._listener.join()
            self._socket.close()

    def _listen(self) -> None:
        while True:
            data, ancillary, _, source = self._socket.recvmsg(65536, 64)
            if self._ended:
                return
            at_ns = _arrival_ns(ancillary)
            with self._lock:
                self._heard.append(Heard(at_ns, (source[0], source[1]), data))
                self._lock.notify_all()
