"""A private corner of 127/8 for each rig, so that tests run in parallel on well-known ports.

Linux answers for the whole of 127.0.0.0/8. A rig takes one /24 of it and holds
it with a listening socket on its last address; two rigs therefore never share an
address, and every port number is free in each.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from dataclasses import dataclass, field

from closing import Closing

_LEASE_PORT = 9
_turn = itertools.count()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who lives where in one /24.

    Attributes:
        daemon: recproxy.
        caller: The peer that calls.
        callee: The peer that is called.
        foreign: A stranger that no trunk names.
    """

    daemon: str
    caller: str
    callee: str
    foreign: str

    @classmethod
    def in_network(cls, network: str) -> Addresses:
        """Name the addresses of ``network``, given as its first three octets."""
        return cls(
            daemon=f"{network}.1", caller=f"{network}.2", callee=f"{network}.3", foreign=f"{network}.9"
        )


@dataclass(slots=True)
class Lease(Closing):
    """One /24 of the loopback network, held until closed."""

    addresses: Addresses
    _holder: socket.socket = field(repr=False)

    @classmethod
    def take(cls) -> Lease:
        """Take the next free /24.

        Raises:
            RuntimeError: All of them are taken.
        """
        start = os.getpid() * 61
        for _ in range(250 * 250):
            number = (start + next(_turn)) % (250 * 250)
            network = f"127.{2 + number // 250}.{1 + number % 250}"
            holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                holder.bind((f"{network}.254", _LEASE_PORT))
                holder.listen(1)
            except OSError:
                holder.close()
                continue
            return cls(Addresses.in_network(network), holder)
        raise RuntimeError("every /24 of 127.0.0.0/8 is leased; a former run left its processes behind")

    def close(self) -> None:
        """Give the /24 back."""
        self._holder.close()


def free_port() -> int:
    """A port of ::1, of which there is but one, that is free for UDP and TCP."""
    while True:
        with (
            socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams,
        ):
            stream.bind(("::1", 0))
            port: int = stream.getsockname()[1]
            with contextlib.suppress(OSError):
                datagrams.bind(("::1", port))
                return port
