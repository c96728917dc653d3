"""PJSIP's values as ours, and ours as PJSIP's: messages, their SDP, headers and parameters."""

from __future__ import annotations

import pjsua2 as pj

from recproxy.call.events import Sdp
from recproxy.errors import PeerError
from recproxy.sip import headers, sdp
from recproxy.sip.headers import Message, Reason

__all__ = [
    "header",
    "lenient_sdp",
    "operation",
    "read",
    "reasons_of",
    "received",
    "received_with",
    "sdp_of",
]


def received(text: str) -> bytes:
    """A message as it came from the network, from PJSIP's text of it."""
    return text.encode("utf-8", "surrogateescape")


def header(name: str, value: str) -> pj.SipHeader:
    """Make a header for PJSIP."""
    made = pj.SipHeader()
    made.hName = name
    made.hValue = value
    return made


def operation(option: pj.SipTxOption | None = None) -> pj.CallOpParam:
    """Parameters of an operation on a call with one audio section; ``option`` goes into its message."""
    prm = pj.CallOpParam(True)
    prm.opt.audioCount = 1
    prm.opt.videoCount = 0
    prm.opt.textCount = 0
    if option is not None:
        prm.txOption = option
    return prm


def received_with(event: pj.SipEvent) -> Message | None:
    """The message that caused an event; None if a timer, or we, did."""
    if event.type != pj.PJSIP_EVENT_TSX_STATE or event.body.tsxState.type != pj.PJSIP_EVENT_RX_MSG:
        return None
    return read(received(event.body.tsxState.src.rdata.wholeMsg))


def read(raw: bytes) -> Message | None:
    """A message that PJSIP took; one that our stricter reader refuses counts as none."""
    try:
        return headers.read_message(raw) if raw else None
    except PeerError:
        return None


def sdp_of(message: Message | None) -> Sdp | None:
    """SDP of a message; None if it has none.

    Raises:
        PeerError: It cannot be read.
    """
    body = headers.sdp_body(message) if message is not None else None
    return sdp.parse(body) if body else None


def lenient_sdp(message: Message | None) -> Sdp | None:
    """SDP of a message; one that cannot be read counts as none."""
    try:
        return sdp_of(message)
    except PeerError:
        return None


def reasons_of(message: Message) -> tuple[Reason, ...]:
    """What a message says why the dialog ends, by SIP and by Q.850 (RFC 3326)."""
    found = [headers.reason(message, protocol) for protocol in ("SIP", "Q.850")]
    return tuple(dict.fromkeys(value for value in found if value is not None))
