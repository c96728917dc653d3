"""The servers of a trunk, and the order in which they are tried (RFC 2782). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

__all__ = ["Below", "Hop", "Ranked", "Target", "in_order"]

Below = Callable[[int], int]
"""Draws a whole number from 0 up to, but not including, its argument."""


class Ranked(Protocol):
    """What has a priority and a weight."""

    @property
    def priority(self) -> int:
        """The lowest comes first."""

    @property
    def weight(self) -> int:
        """Share among those of one priority."""


R = TypeVar("R", bound=Ranked)


@dataclass(frozen=True, slots=True)
class Target:
    """A server as the configuration names it.

    Attributes:
        host: Numeric address (IPv6 in brackets) or name.
        port: None for what DNS gives for the name.
        transport: ``udp``, ``tcp`` …
        priority: The lowest is tried first.
        weight: Share of the calls among those of one priority.
    """

    host: str
    port: int | None = None
    transport: str = "udp"
    priority: int = 10
    weight: int = 1

    @property
    def is_name(self) -> bool:
        """Whether the host has to be looked up."""
        return not self.host.startswith("[") and any(char.isalpha() for char in self.host)

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"sip:{self.host}{port};transport={self.transport}"


@dataclass(frozen=True, slots=True)
class Hop:
    """One place that a request can be sent to.

    Attributes:
        target: What it is a server of.
        host: Numeric address, IPv6 in brackets.
        port: 1–65535.
    """

    target: Target
    host: str
    port: int

    @property
    def transport(self) -> str:
        """Name of the transport, as in a URI."""
        return self.target.transport

    def __str__(self) -> str:
        return f"sip:{self.host}:{self.port};transport={self.transport}"


def in_order(servers: Sequence[R], below: Below) -> list[R]:
    """Put servers in the order in which they are tried.

    Args:
        servers: Of one name or trunk.
        below: Randomness: decides among servers of one priority, by their weights.

    Returns:
        All of them. One of weight 0 has a small chance to come before others.
    """
    ordered: list[R] = []
    for priority in sorted({server.priority for server in servers}):
        # RFC 2782, "Weight": those of weight 0 first, so that they are drawn by a 0 only.
        left = sorted((s for s in servers if s.priority == priority), key=lambda s: s.weight > 0)
        while left:
            drawn = below(sum(server.weight for server in left) + 1)
            for at, server in enumerate(left):
                drawn -= server.weight
                if drawn <= 0:
                    ordered.append(left.pop(at))
                    break
    return ordered
