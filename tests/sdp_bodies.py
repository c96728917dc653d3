"""SDP bodies that the test peers offer and answer with, and how they read the other side's."""

from __future__ import annotations

from dataclasses import dataclass

PCMU = ("0", "PCMU/8000")
PCMA = ("8", "PCMA/8000")
G722 = ("9", "G722/8000")
OPUS = ("111", "opus/48000/2")
AMR_WB = ("97", "AMR-WB/16000")
TELEPHONE_EVENT = ("101", "telephone-event/8000")


@dataclass(frozen=True, slots=True)
class Section:
    """One m= section of a body as read: kind, port, formats, address and direction."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    address: str
    direction: str


def audio(
    address: str,
    port: int,
    *,
    codecs: tuple[tuple[str, str], ...] = (PCMU,),
    direction: str = "sendrecv",
    version: int = 1,
    more: str = "",
) -> bytes:
    """Write a body with one audio section; ``more`` is appended as it is."""
    net = f"IN IP{6 if ':' in address else 4} {address}"
    lines = [
        "v=0",
        f"o=peer 7 {version} {net}",
        "s=-",
        f"c={net}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(number for number, _ in codecs)}",
        *(f"a=rtpmap:{number} {name}" for number, name in codecs),
        "a=ptime:20",
        f"a={direction}",
    ]
    return ("\r\n".join(lines) + "\r\n" + more).encode()


def read(body: bytes) -> list[Section]:
    """Read the sections of a body."""
    lines = body.decode().replace("\r\n", "\n").split("\n")
    at_top = {"address": "", "direction": "sendrecv"}
    sections: list[dict[str, str]] = []
    for line in lines:
        where = sections[-1] if sections else at_top
        if line.startswith("m="):
            sections.append({**at_top, "m": line[2:]})
        elif line.startswith("c=IN IP"):
            where["address"] = line.split()[-1]
        elif line in {"a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"}:
            where["direction"] = line[2:]
    read_sections = []
    for section in sections:
        kind, port, protocol, *formats = section["m"].split()
        read_sections.append(
            Section(kind, int(port), protocol, tuple(formats), section["address"], section["direction"])
        )
    return read_sections


def media_target(body: bytes) -> tuple[str, int]:
    """Where the first section wants its RTP."""
    first = read(body)[0]
    return first.address, first.port


def mirrored(direction: str) -> str:
    """The answer to a direction (RFC 3264 section 6.1)."""
    return {"sendonly": "recvonly", "recvonly": "sendonly"}.get(direction, direction)
