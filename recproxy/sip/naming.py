"""Where a named server is (RFC 3263): SRV records, then addresses, kept as long as DNS says. Pure.

NAPTR is not asked: the configuration says which transport a target has. What was
known last is used until something newer is: a DNS server that is down takes no
trunk with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from recproxy.sip.targets import Below, Hop, Target, in_order

__all__ = ["Address", "Answer", "Names", "Question", "Service"]

_RETRY_S: Final = 30.0  # after a question that nobody answered
_SHORTEST_S: Final = 5.0
_LONGEST_S: Final = 3600.0
_SERVICES: Final = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}


@dataclass(frozen=True, slots=True)
class Question:
    """To DNS.

    Attributes:
        name: Without a dot at its end.
        kind: ``SRV``, ``A`` or ``AAAA``.
    """

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    host: str


@dataclass(frozen=True, slots=True)
class Address:
    """An A or AAAA record; IPv6 in brackets."""

    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What DNS said; no records if the name has none.

    Attributes:
        records: Of the kind asked for.
        ttl_s: How long it may be kept.
    """

    records: tuple[Service | Address, ...]
    ttl_s: float


@dataclass(slots=True)
class _Entry:
    answer: Answer | None = None
    stale_at: float = 0.0
    asked: bool = False


class Names:
    """The names of all targets, looked up as needed and ahead of need."""

    def __init__(self, below: Below, versions: Iterable[int] = (4, 6)) -> None:
        """Begin with nothing known.

        Args:
            below: Randomness.
            versions: IP versions that calls can be sent by.
        """
        self._below = below
        self._kinds = tuple(kind for kind, version in (("A", 4), ("AAAA", 6)) if version in versions)
        self._entries: dict[Question, _Entry] = {}

    @property
    def pending(self) -> bool:
        """Whether something is not known yet that was asked for."""
        return any(
            entry.answer is None and (entry.asked or not entry.stale_at) for entry in self._entries.values()
        )

    @property
    def size(self) -> int:
        """How many questions were asked, or are to be."""
        return len(self._entries)

    def locate(self, target: Target) -> tuple[Hop, ...]:
        """Where a target is, in order of preference; empty while that is not known."""
        if not target.is_name:
            return (Hop(target, target.host, target.port or _default_port(target)),)
        if target.port is not None:
            return self._at(target, target.host, target.port)
        found = self._look_up(Question(f"{_SERVICES[target.transport]}.{target.host}", "SRV"))
        if found is None:
            return ()
        services = [record for record in found.records if isinstance(record, Service)]
        if not services:
            return self._at(target, target.host, _default_port(target))
        ordered = in_order([service for service in services if service.host], self._below)
        return tuple(hop for service in ordered for hop in self._at(target, service.host, service.port))

    def wanted(self, now: float) -> list[Question]:
        """Questions to ask now: new ones, and those whose answers grow old; each counts as asked."""
        due = [q for q, entry in self._entries.items() if not entry.asked and now >= entry.stale_at]
        for question in due:
            self._entries[question].asked = True
        return due

    def learned(self, question: Question, answer: Answer | None, now: float) -> None:
        """Take in an answer; None if there was none, and the last one stays."""
        entry = self._entries.setdefault(question, _Entry())
        entry.asked = False
        if answer is None:
            entry.stale_at = now + _RETRY_S
            return
        entry.answer = answer
        entry.stale_at = now + min(max(answer.ttl_s, _SHORTEST_S), _LONGEST_S)

    def forget(self) -> None:
        """Drop everything; what is needed is asked for again."""
        self._entries = {}

    def _at(self, target: Target, host: str, port: int) -> tuple[Hop, ...]:
        hosts: list[str] = []
        for kind in self._kinds:
            found = self._look_up(Question(host, kind))
            if found is not None:
                hosts += [record.host for record in found.records if isinstance(record, Address)]
        return tuple(Hop(target, address, port) for address in hosts)

    def _look_up(self, question: Question) -> Answer | None:
        return self._entries.setdefault(question, _Entry()).answer


def _default_port(target: Target) -> int:
    return 5061 if target.transport == "tls" else 5060
