"""Asks DNS, beside the signalling thread."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from recproxy.sip.naming import Address, Answer, Question, Service

__all__ = ["Resolver"]

_LIFETIME_S: Final = 4.0
_NOTHING_S: Final = 60.0  # how long the absence of a name is believed


class Resolver:
    """Sends questions to DNS servers and gathers the answers."""

    def __init__(self, nameservers: tuple[str, ...] = ()) -> None:
        """Prepare; nothing is asked yet.

        Args:
            nameservers: Numeric addresses; those of the system if empty.
        """
        self._nameservers = nameservers
        self._answers: queue.SimpleQueue[tuple[Question, Answer | None]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(2, "dns")

    def ask(self, question: Question) -> None:
        """Ask; the answer comes by ``answers``."""
        self._threads.submit(self._ask, question)

    def answers(self) -> Iterator[tuple[Question, Answer | None]]:
        """What came since the last call; None for a question that no server answered."""
        while True:
            try:
                yield self._answers.get_nowait()
            except queue.Empty:
                return

    def close(self) -> None:
        """Ask no more; a question under way is left to end by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, question: Question) -> None:
        self._answers.put((question, self._resolve(question)))

    def _resolve(self, question: Question) -> Answer | None:
        # Only trunks with named servers need it, and it takes long to load.
        import dns.exception  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        try:
            resolver = dns.resolver.Resolver(configure=not self._nameservers)
            if self._nameservers:
                resolver.nameservers = list(self._nameservers)
            found = resolver.resolve(
                f"{question.name}.", question.kind, lifetime=_LIFETIME_S, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return Answer((), _NOTHING_S)
        except (dns.exception.DNSException, OSError):
            return None
        if found.rrset is None:
            return Answer((), _NOTHING_S)
        return Answer(tuple(_record(question.kind, record) for record in found.rrset), float(found.rrset.ttl))


def _record(kind: str, record: object) -> Service | Address:
    """A record in its text form (RFC 1035 section 5.1), which is the same for every library."""
    fields = str(record).split()
    if kind == "SRV":
        priority, weight, port, host = fields
        return Service(int(priority), int(weight), int(port), host.rstrip(".").lower())
    return Address(f"[{fields[0]}]" if kind == "AAAA" else fields[0])
