"""Peers that call themselves by a name: looked up beside the signalling thread.

A request inside a dialog goes where the peer's Contact or Record-Route says, an answer
perhaps where its Via says. PJSIP would ask the system for a name there, and wait; the
request waits here instead, and the calls go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from recproxy.sip import native
from recproxy.sip.naming import Names
from recproxy.sip.resolver import Resolver
from recproxy.sip.targets import Below, Target

__all__ = ["PeerNames"]

_PATIENCE_S: Final = 5.0  # then the request fails: PJSIP tells the call, as of a peer out of reach
_MOST_NAMES: Final = 256  # a peer may name itself anew in every call


class PeerNames:
    """Answers PJSIP's questions; belongs to the signalling thread."""

    def __init__(self, below: Below, versions: Iterable[int], nameservers: tuple[str, ...]) -> None:
        """Begin with no name known.

        Args:
            below: Randomness.
            versions: IP versions that requests can be sent by.
            nameservers: DNS servers; those of the system if empty.
        """
        self._names = Names(below, versions)
        self._resolver = Resolver(nameservers)  # its own: peers' names keep none of the trunks' waiting
        self._waiting: dict[int, tuple[Target, float]] = {}

    def tend(self, now: float) -> None:
        """Take in what DNS said, and send or give up what waits for it; ``now`` is monotonic seconds."""
        for number, target in native.unresolved():
            self._waiting[number] = target, now + _PATIENCE_S
            if self._names.size > _MOST_NAMES:
                self._names.forget()
        for question, answer in self._resolver.answers():
            self._names.learned(question, answer, now)
        for number, (target, deadline) in list(self._waiting.items()):
            hops = self._names.locate(target)
            if hops or now >= deadline:
                del self._waiting[number]
                native.resolved(number, f"{hops[0].host}:{hops[0].port}" if hops else "")
        if self._waiting:
            for question in self._names.wanted(now):
                self._resolver.ask(question)

    def close(self) -> None:
        """Ask DNS no more."""
        self._resolver.close()
