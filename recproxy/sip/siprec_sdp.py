"""The SDP answer of a recording server (RFC 7866 section 7.2), which receives and never sends. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from recproxy.call.commands import AnswerFork, ForkStream
from recproxy.call.events import Codec, StreamFacts
from recproxy.errors import SdpError
from recproxy.sip.sdp_crypto import write_crypto
from recproxy.sip.sdp_lines import Section, cut_body

__all__ = ["fork_answer"]

# How encoding names are usually written; SDP compares them without regard to case.
_WRITTEN = {"OPUS": "opus", "TELEPHONE-EVENT": "telephone-event"}


def fork_answer(answer: AnswerFork, version: int) -> bytes:
    """Write an answer.

    Args:
        answer: The offer, and how each of its sections is taken.
        version: Of the description in o=, one more with each that is written in a dialog.

    Returns:
        As many m= sections as the offer has: ``a=recvonly`` or ``a=inactive`` for those that
        are taken, with their label; port 0 for the others.

    Raises:
        SdpError: The offer does not parse, or has another number of sections.
    """
    sections = cut_body(answer.offer.body).sections
    if not len(sections) == len(answer.streams) == len(answer.offer.streams):
        raise SdpError("SDP to send", f"{len(sections)} m= sections, but {len(answer.streams)} answers")
    live = next(stream for stream in answer.streams if stream is not None)
    ours = _net(live.local.address)
    lines = ["v=0", f"o=recproxy {live.local.rtp_port} {version} {ours}", "s=-", f"c={ours}", "t=0 0"]
    for section, offered, taken in zip(sections, answer.offer.streams, answer.streams, strict=True):
        lines += _refused(section) if taken is None else _taken(section, offered, taken, ours)
    return "".join(f"{line}\r\n" for line in lines).encode()


def _refused(section: Section) -> Iterator[str]:
    formats = " ".join(text.decode("ascii", "replace") for text in section.formats) or "0"
    yield f"m={section.kind} 0 {section.protocol} {formats}"


def _taken(section: Section, offered: StreamFacts, taken: ForkStream, ours: str) -> Iterator[str]:
    numbers = " ".join(str(codec.payload_type) for codec in taken.codecs)
    yield f"m=audio {taken.local.rtp_port} {section.protocol} {numbers}"
    if _net(taken.local.address) != ours:
        yield f"c={_net(taken.local.address)}"
    if taken.crypto is not None:
        yield f"a={write_crypto(taken.crypto).decode('ascii')}"
    for codec in taken.codecs:
        yield f"a=rtpmap:{codec.payload_type} {_meaning(codec)}"
        if codec.fmtp:
            yield f"a=fmtp:{codec.payload_type} {_printable(codec.fmtp)}"
    yield "a=recvonly" if taken.active else "a=inactive"
    if offered.label:
        yield f"a=label:{offered.label}"


def _meaning(codec: Codec) -> str:
    name = _WRITTEN.get(codec.name, codec.name)
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    return f"{name}/{codec.clock_hz}{channels}"


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable() and char.isascii())


def _net(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    return f"IN IP{parsed.version} {parsed}"
