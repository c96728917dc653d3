"""The dialog with a recording client: as a caller's, but metadata is read, and a recording server answers."""

from __future__ import annotations

from typing import Final

import pjsua2 as pj

from recproxy.call.events import LegName
from recproxy.errors import PeerError, SipError
from recproxy.sip import headers
from recproxy.sip.fork_dialog import ForkDialog
from recproxy.sip.headers import Message
from recproxy.sip.leg import HeaderList, Leg, LegHost
from recproxy.sip.native import answer_held
from recproxy.sip.translation import header, received

__all__ = ["ForkLeg"]

_NOT_ACCEPTABLE_HERE: Final = 488


class ForkLeg(Leg):
    """A dialog with a recording client.

    Attributes:
        fork: What the client has said in it.
        contact: Our Contact, with the feature tag of a recording server (RFC 7866 section 6.2).
    """

    def __init__(self, host: LegHost, account: pj.Account, call: str, pj_id: int, fork: ForkDialog) -> None:
        super().__init__(host, account, call, LegName.CALLER, pj_id)
        self.fork = fork
        self.contact = ""

    def held(self, number: int, message: Message) -> None:
        """Read an UPDATE, a request without an offer, or the ACK to what that got."""
        method = message.start.method if isinstance(message.start, headers.RequestLine) else ""
        if method not in {"INVITE", "UPDATE"}:
            super().held(number, message)
            return
        try:
            said = self.fork.read(message)
        except PeerError as err:
            answer_held(number, _code(err))
            return
        self._update, self._asked = number, method == "INVITE"
        if said.offer is None:
            self.answer_reoffer(200, "OK", None)  # metadata alone, or a refresh: what stands stands
        self._host.leg_event(self, said)

    def finish(self, code: int, reason: str, extra: HeaderList = ()) -> None:
        """End it; a refusal says why in a Warning too, which clients log."""
        if not self._answered:
            extra = [*extra, ("Warning", f'399 recproxy "{reason}"')]
        super().finish(code, reason, extra)

    def _reoffered(self, text: str) -> tuple[int, bool]:
        try:
            said = self.fork.read(headers.read_message(received(text)))
        except PeerError as err:
            return _code(err), False
        if said.offer is None:
            return _NOT_ACCEPTABLE_HERE, False
        self._host.leg_event(self, said)
        return 200, True

    def _response(self, code: int, reason: str, extra: HeaderList) -> pj.CallOpParam:
        prm = super()._response(code, reason, extra)
        if code // 100 == 2:  # noqa: PLR2004
            for name, value in (
                ("Contact", self.contact),
                ("Supported", "siprec"),
                ("Accept", "application/sdp, application/rs-metadata"),
            ):
                prm.txOption.headers.append(header(name, value))
        return prm


def _code(err: PeerError) -> int:
    return err.code if isinstance(err, SipError) else _NOT_ACCEPTABLE_HERE
