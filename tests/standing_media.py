"""Many RTP streams for a long time, by one thread: sent by the clock, counted where they arrive."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rtp_peer import FRAME_NS, FRAME_SAMPLES

_PAYLOAD = bytes(range(FRAME_SAMPLES))
_HEADER = struct.Struct("!BBHII")


@dataclass(slots=True)
class Stream:
    """One party's socket.

    Attributes:
        address: Where it is bound.
        port: Its UDP port.
        ssrc: Of what it sends.
        target: Where it sends to; nothing is sent before it is set.
        sent: Packets sent.
        received: Packets that came from the other party, by their SSRC.
        foreign: Packets with other SSRCs: the announcement's.
    """

    address: str
    ssrc: int
    sock: socket.socket = field(init=False, repr=False)
    port: int = field(init=False)
    target: tuple[str, int] | None = None
    peer_ssrc: int = 0
    sent: int = 0
    received: int = 0
    foreign: int = 0

    def __post_init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        self.sock.setblocking(False)
        self.sock.bind((self.address, 0))
        self.port = self.sock.getsockname()[1]

    def send(self) -> None:
        """Send the next frame of 20 ms."""
        if self.target is None:
            return
        at = self.sent * FRAME_SAMPLES & 0xFFFFFFFF
        head = _HEADER.pack(0x80, 0x00 if self.sent else 0x80, self.sent & 0xFFFF, at, self.ssrc)
        self.sock.sendto(head + _PAYLOAD, self.target)
        self.sent += 1

    def receive(self) -> None:
        """Count what has come."""
        while True:
            try:
                data = self.sock.recv(2048)
            except BlockingIOError:
                return
            if len(data) >= _HEADER.size and _HEADER.unpack_from(data)[4] == self.peer_ssrc:
                self.received += 1
            else:
                self.foreign += 1


class StandingMedia:
    """Sends for all streams every 20 ms, from one thread. A context manager."""

    def __init__(self) -> None:
        self._streams: list[Stream] = []
        self._added: list[Stream] = []
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standing media", daemon=True)
        self._thread.start()

    def pair(self, left: str, right: str) -> tuple[Stream, Stream]:
        """Make the sockets of both parties of a call."""
        number = 2 * len(self._streams) + 2 * len(self._added)
        one, other = Stream(left, 0x10000 + number), Stream(right, 0x10001 + number)
        one.peer_ssrc, other.peer_ssrc = other.ssrc, one.ssrc
        self._added += [one, other]
        return one, other

    def hush(self) -> None:
        """Send nothing from now on."""
        for stream in self._streams:
            stream.target = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._selector.close()
        for stream in self._streams:
            stream.sock.close()

    def _run(self) -> None:
        due = time.monotonic_ns()
        while not self._stop.is_set():
            while self._added:
                stream = self._added.pop(0)
                self._streams.append(stream)
                self._selector.register(stream.sock, selectors.EVENT_READ, stream)
            for stream in self._streams:
                stream.send()
            due += FRAME_NS
            while not self._stop.is_set() and (left := due - time.monotonic_ns()) > 0:
                for key, _ in self._selector.select(left / 1e9):
                    key.data.receive()
