"""A recording client (SIPREC, RFC 7866) for tests: its metadata, its offers, its bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sdp_bodies
from softphone import Dialog, Softphone

NAMESPACE = "urn:ietf:params:xml:ns:recording:1"
BOUNDARY = "--=_fork"
TOLD = ("X-Recording-Notice", "completed;prompt=training;language=nl;heard-by=both")
SIPREC = ("Require", "siprec")


@dataclass(frozen=True, slots=True)
class Voice:
    """A participant whose voice is in one stream.

    Attributes:
        party: Its id.
        address: Of record.
        stream: Id of its stream.
        label: Of the m= section; empty for no stream.
    """

    party: str
    address: str
    stream: str = ""
    label: str = ""


CALLER = Voice("p-caller", "sip:+31612345678@sbc.example", "s-1", "1")
CALLEE = Voice("p-callee", "sip:+31301234567@sbc.example", "s-2", "2")


def metadata(*voices: Voice, mode: str = "complete") -> bytes:
    """A snapshot in the form of RFC 7865."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<recording xmlns="{NAMESPACE}">',
        f"  <datamode>{mode}</datamode>",
        '  <session session_id="c-1"><sipSessionID>ab30317f1a784dc4</sipSessionID></session>',
        *(
            f'  <participant participant_id="{one.party}">'
            f'<nameID aor="{one.address}"><name xml:lang="en">Somebody</name></nameID></participant>'
            for one in voices
        ),
        *(
            f'  <stream stream_id="{one.stream}" session_id="c-1"><label>{one.label}</label></stream>'
            for one in voices
            if one.stream
        ),
        *(
            f'  <participantstreamassoc participant_id="{one.party}"><send>{one.stream}</send>'
            "</participantstreamassoc>"
            for one in voices
            if one.stream
        ),
        "</recording>",
    ]
    return "\r\n".join(lines).encode()


def multipart(*parts: tuple[str, bytes]) -> tuple[str, bytes]:
    """Media type and body of a multipart with these parts, by media type."""
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n".encode()
        + (b"Content-Disposition: recording-session\r\n" if "metadata" in kind else b"")
        + b"\r\n"
        + content
        + b"\r\n"
        for kind, content in parts
    )
    return f'multipart/mixed;boundary="{BOUNDARY}"', body + f"--{BOUNDARY}--\r\n".encode()


def forked(sdp: bytes, document: bytes) -> tuple[str, bytes]:
    """Offer and metadata in one body."""
    return multipart(("application/sdp", sdp), ("application/rs-metadata+xml", document))


def offer(
    address: str,
    ports: Sequence[int],
    *,
    labels: Sequence[str] = ("1", "2"),
    codecs: tuple[tuple[str, str], ...] = (sdp_bodies.PCMU,),
    directions: Sequence[str] = ("sendonly", "sendonly"),
    version: int = 1,
    protocol: str = "RTP/AVP",
    more: Sequence[str] = ("", ""),
) -> bytes:
    """An offer of one section for each port; ``more`` are further lines of each."""
    lines = ["v=0", f"o=src 9 {version} IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    for port, label, direction, further in zip(ports, labels, directions, more, strict=True):
        lines += [
            f"m=audio {port} {protocol} {' '.join(number for number, _ in codecs)}",
            *(f"a=rtpmap:{number} {name}" for number, name in codecs),
            *([further] if further else []),
            f"a={direction}",
            *([f"a=label:{label}"] if label else []),
        ]
    return ("\r\n".join(lines) + "\r\n").encode()


def fork(
    phone: Softphone,
    to: tuple[str, int],
    sdp: bytes,
    document: bytes,
    *headers: tuple[str, str],
) -> Dialog:
    """Send the INVITE of a fork; its dialog is returned at once."""
    kind, body = forked(sdp, document)
    return phone.invite("srs", to, body, caller="src", headers=(SIPREC, *headers), kind=kind)


def targets(answer: bytes) -> list[tuple[str, int]]:
    """Where each section of an answer wants its RTP."""
    return [(section.address, section.port) for section in sdp_bodies.read(answer)]
