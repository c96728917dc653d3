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
        self._origin = b""
        self._keeps = False
        self._untold = False

    def keep_origin(self) -> None:
        """Somebody else is to speak to the telephone from now on: o= goes on as it has begun."""
        self._keeps = True

    def dressed(self, body: bytes | None) -> bytes | None:
        """A body as it goes to the leg, with its origin and state; None to repeat what stands.

        It is untouched unless the telephone understands, or hears of somebody else than before.
        """
        found = _ORIGIN.search(body) if body is not None else None
        if body is None or found is None:
            return body
        self._plain = body
        counts = self.aware or self._keeps
        self._version = self._version + 1 if self._keeps else max(self._version + counts, int(found[2]))
        self._origin = self._origin if self._keeps else found[1]
        if not counts:
            return body
        numbered = body[: found.start()] + self._origin + b"%d" % self._version + body[found.end(2) :]
        return _with_state(_OWN.sub(b"", numbered), self.state.encode()) if self.aware else numbered

    def untold(self) -> None:
        """The offer that told the state was not taken: it is to be told once more."""
        self._untold = True

    def offer(self, state: str) -> bytes | None:
        """What stands, as an offer that tells the new state; None if there is nothing to tell by it."""
        if not self.aware or (state == self.state and not self._untold) or not self._plain:
            return None
        self.state, self._untold = state, False
        return self._plain


def _with_state(body: bytes, state: bytes) -> bytes:
    """The body with the attribute at the end of its first audio section that lives."""
    audio = _AUDIO.search(body)
    if audio is None:
        return body
    following = _SECTION.search(body, audio.end())
    end = following.start() if following is not None else len(body)
    return body[:end] + b"a=record:" + state + b"\r\n" + body[end:]
