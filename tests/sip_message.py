"""SIP messages for the test peers: read and written plainly, nothing validated.

Kept apart from ``recproxy.sip`` on purpose: a peer that shares the parser of the
program under test shares its faults.
"""

from __future__ import annotations

from dataclasses import dataclass

COMPACT = {
    "i": "call-id",
    "m": "contact",
    "f": "from",
    "t": "to",
    "v": "via",
    "l": "content-length",
    "c": "content-type",
}


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One request or response.

    Attributes:
        start: Request or status line.
        headers: Name and value as written, in order.
        body: What follows the empty line.
        source: Address and port it came from; empty when built here.
        at_ns: When it was received, CLOCK_MONOTONIC; 0 when built here.
    """

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    source: tuple[str, int] = ("", 0)
    at_ns: int = 0

    @classmethod
    def parse(cls, data: bytes, source: tuple[str, int] = ("", 0), at_ns: int = 0) -> SipMessage:
        """Read one message.

        Raises:
            ValueError: There is no empty line after the headers.
        """
        head, end, body = data.partition(b"\r\n\r\n")
        if not end:
            raise ValueError(f"no end of headers in {data[:60]!r}")
        start, *lines = head.decode("utf-8", "replace").replace("\r\n ", " ").split("\r\n")
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            headers.append((name.strip(), value.strip()))
        return cls(start, tuple(headers), body, source, at_ns)

    def encode(self) -> bytes:
        """Write the message, with its Content-Length."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body

    @property
    def is_response(self) -> bool:
        """Whether it is a response."""
        return self.start.startswith("SIP/2.0 ")

    @property
    def code(self) -> int:
        """Status of a response, 0 of a request."""
        return int(self.start.split(" ")[1]) if self.is_response else 0

    @property
    def method(self) -> str:
        """Method of the request, or of the request that is answered."""
        return self.one("cseq").split()[1] if self.is_response else self.start.split(" ")[0]

    @property
    def uri(self) -> str:
        """Request-URI."""
        return self.start.split(" ")[1]

    @property
    def cseq(self) -> int:
        """Number in CSeq."""
        return int(self.one("cseq").split()[0])

    @property
    def branch(self) -> str:
        """Branch of the topmost Via."""
        return parameter(self.one("via"), "branch")

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order; compact forms count."""
        wanted = name.lower()
        return [value for key, value in self.headers if COMPACT.get(key.lower(), key.lower()) == wanted]

    def one(self, name: str) -> str:
        """First value of a header, empty if there is none."""
        return next(iter(self.all(name)), "")


def parameter(value: str, name: str) -> str:
    """A parameter of a header value, empty if it is not there."""
    for part in value.split(";")[1:]:
        key, _, text = part.partition("=")
        if key.strip().lower() == name:
            return text.strip()
    return ""


def inner_uri(value: str) -> str:
    """The URI of a name-addr or addr-spec."""
    if "<" in value:
        return value[value.index("<") + 1 : value.index(">")]
    return value.partition(";")[0].strip()
