"""What a record-aware telephone is told in SDP: ``a=record`` (RFC 7866 sections 6.1 and 7).

Only a telephone that says ``record-aware`` in Supported is told, in the body that it gets anyway and,
when the recording changes, in an offer of our own. Such an offer changes the body, and so must the
version in its o= line (RFC 3264 section 8): towards these telephones recproxy counts versions itself.
Pure.
"""

from __future__ import annotations

import re
from typing import Final

from recproxy.errors import SipError
from recproxy.sip.message import Message

__all__ = ["Indication", "is_record_aware"]

_ORIGIN: Final = re.compile(rb"(?m)^(o=\S+ \S+ )(\d{1,19})( )")
_AUDIO: Final = re.compile(rb"(?m)^m=audio [1-9][^\r\n]*\r?\n")
_OWN: Final = re.compile(rb"(?m)^a=record:[^\r\n]*\r?\n")
_SECTION: Final = re.compile(rb"(?m)^m=")


def is_record_aware(message: Message | None) -> bool:
    """Whether whoever sent a message understands ``a=record``."""
    try:
        values = message.values("Supported") if message is not None else ()
    except SipError:
        return False
    return any(value.strip().lower() == "record-aware" for value in values)


class Indication:
    """What one leg is told.

    Attributes:
        aware: Whether it understands.
        state: Of the recording: ``on``, ``off`` or ``paused``.
    """

    def __init__(self) -> None:
        """Begin with one that does not, and nothing recorded."""
        self.aware = False
        self.state = "off"
        self._plain = b""
        self._version = 0

    def dressed(self, body: bytes | None) -> bytes | None:
        """A body as it goes to the leg; untouched unless it understands, None to repeat what stands."""
        found = _ORIGIN.search(body) if body is not None else None
        if body is None or found is None:
            return body
        self._plain = body
        self._version = max(self._version + self.aware, int(found[2]))
        if not self.aware:
            return body
        numbered = _ORIGIN.sub(rb"\g<1>%d\g<3>" % self._version, body, count=1)
        return _with_state(_OWN.sub(b"", numbered), self.state.encode())

    def offer(self, state: str) -> bytes | None:
        """What stands, as an offer that tells the new state; None if there is nothing to tell by it."""
        if not self.aware or state == self.state or not self._plain:
            return None
        self.state = state
        return self._plain


def _with_state(body: bytes, state: bytes) -> bytes:
    """The body with the attribute at the end of its first audio section that lives."""
    audio = _AUDIO.search(body)
    if audio is None:
        return body
    following = _SECTION.search(body, audio.end())
    end = following.start() if following is not None else len(body)
    return body[:end] + b"a=record:" + state + b"\r\n" + body[end:]
