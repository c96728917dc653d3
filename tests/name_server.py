"""A DNS server on loopback that answers from a table, and can fall silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import dns.message
import dns.rcode
import dns.rrset

Zone = Mapping[tuple[str, str], tuple[str, ...]]


class NameServer:
    """Answers on UDP port 53 of one address. A context manager.

    Attributes:
        zone: Texts of the records, by name and kind; may be replaced at any time.
        silent: Take questions and say nothing.
        asked: Name and kind of every question.
    """

    def __init__(self, address: str, zone: Zone, ttl_s: int = 5) -> None:
        self.zone = zone
        self.silent = False
        self.asked: list[tuple[str, str]] = []
        self._ttl_s = ttl_s
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._place = (address, 53)
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="dns", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._socket.sendto(b"", self._place)  # wakes the thread
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, source = self._socket.recvfrom(4096)
            if self._closed:
                return
            query = dns.message.from_wire(data)
            (question,) = query.question
            name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
            self.asked.append((name, kind))
            if self.silent:
                continue
            answer = dns.message.make_response(query)
            texts = self.zone.get((name, kind), ())
            if texts:
                answer.answer.append(dns.rrset.from_text(question.name, self._ttl_s, "IN", kind, *texts))
            elif not any(known == name for known, _ in self.zone):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(answer.to_wire(), source)
