"""Requests inside a call that go on to the other leg, and calls that take the place of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from recproxy.call.events import DigitPressed, Event, LegName, RecordAsked, TransferAsked
from recproxy.errors import SipError
from recproxy.sip import headers, native, passing
from recproxy.sip.bridge import Bridge
from recproxy.sip.carrying import carried
from recproxy.sip.headers import Message
from recproxy.sip.leg import Leg
from recproxy.sip.listening import Listen
from recproxy.sip.numbering import IsEmergency, Party, rewritten
from recproxy.sip.stack import SipSettings
from recproxy.sip.trunks import Trunk
from recproxy.sip.uri import Uri

__all__ = ["Transfers"]

_NO_SUCH_CALL: Final = 481
_PENDING: Final = 491


class Transfers:
    """Treats what waits at the door for a leg of ours."""

    def __init__(
        self,
        settings: SipSettings,
        post: Callable[[str, Event], None],
        leg_of: Callable[[str], Leg | None],
        bridge_of: Callable[[str], Bridge],
        is_emergency: IsEmergency,
    ) -> None:
        """Know how to find calls.

        Args:
            settings: Addresses that lead to us.
            post: Takes the events of a call.
            leg_of: Finds a leg by its Call-ID; None if there is none.
            bridge_of: Finds the call of a leg that was found.
            is_emergency: Tells an emergency number by any form in which it may be dialled.
        """
        self._settings = settings
        self._ours = {listen.address for listen in settings.listen}
        self._ours |= {listen.advertise for listen in settings.listen if listen.advertise}
        self._post = post
        self._leg_of = leg_of
        self._bridge_of = bridge_of
        self._is_emergency = is_emergency

    def held(self, number: int, raw: bytes) -> None:
        """Hand what waits at the door to the leg that it belongs to, or pass it to the other."""
        try:
            message = headers.read_message(raw)
        except SipError as err:
            native.answer_held(number, err.code)
            return
        leg = self._leg_of(message.first("Call-ID") or "")
        if leg is None:
            native.answer_held(number, _NO_SUCH_CALL)
        elif isinstance(message.start, headers.RequestLine) and message.start.method in passing.PASSED:
            self._pass(number, leg, message)
        else:
            leg.held(number, message)

    def replaced(self, invite: Message, trunk: Trunk, onward: Trunk) -> str:
        """The Replaces header for the callee; empty unless it names a call between these trunks."""
        asked = passing.named_dialog(invite.first("Replaces") or "")
        leg = self._leg_of(asked.call_id) if asked is not None else None
        if asked is None or leg is None:
            return ""
        bridge = self._bridge_of(leg.call)
        if {bridge.trunk.name, bridge.onward.name} != {trunk.name, onward.name}:
            return ""
        found = self._dialog_for(asked)
        return found.replaces if found is not None else ""

    def _pass(self, number: int, leg: Leg, message: Message) -> None:
        """Pass a request on that the other leg answers; a key that it tells of is reported."""
        bridge = self._bridge_of(leg.call)
        other = bridge.legs.get(leg.name.other)
        dialog = other.dialog if other is not None else None
        if dialog is None:
            # Before the answer there is no one dialog to pass it to. 481 would end the sender's
            # dialog as well (RFC 5057 section 5.1); 491 ends its request alone.
            ending = bool(bridge.reasons) and other is None
            native.answer_held(number, _NO_SUCH_CALL if ending else _PENDING)
            return
        near, far = (
            (bridge.trunk, bridge.onward) if leg.name is LegName.CALLER else (bridge.onward, bridge.trunk)
        )
        told = carried(message, far.headers, emergency=bridge.emergency).headers
        listen = self._listen_of(bridge, leg.name.other)
        try:
            passed = passing.passed_headers(
                message, told, self._dialog_for, lambda uri: self._home(uri, near, listen)
            )
        except SipError as err:
            native.answer_held(number, err.code)
            return
        key = passing.digit(message)
        if key:
            self._post(leg.call, DigitPressed(leg.name, key))
        wish = passing.record_wish(message)
        if wish is not None:
            self._post(leg.call, RecordAsked(leg.name, wish))
        sent_on = passing.referred_number(message)
        if sent_on is not None:
            whom = rewritten(near.received, sent_on, Party.CALLEE, self._is_emergency)
            self._post(leg.call, TransferAsked(leg.name, whom))
        native.pass_on(number, dialog.call_id, dialog.ours, dialog.theirs, passed)

    def _dialog_for(self, asked: passing.DialogName) -> passing.DialogName | None:
        """A dialog of ours for the peer that is to replace it, named from either side of us."""
        found = self._leg_of(asked.call_id)
        dialog = found.dialog if found is not None else None
        if found is None or dialog is None:
            return None
        if (dialog.ours, dialog.theirs) == (asked.theirs, asked.ours):
            return dialog  # its own peer is meant
        if (dialog.ours, dialog.theirs) != (asked.ours, asked.theirs):
            return None
        other = self._bridge_of(found.call).legs.get(found.name.other)
        return other.dialog if other is not None else None

    def _listen_of(self, bridge: Bridge, name: LegName) -> Listen:
        """The socket of ours that a leg's peer knows us by."""
        if name is LegName.CALLEE and bridge.search is not None:
            hop = bridge.search.hunt.hop
            return self._settings.listen_for(hop.transport, hop.host)
        return self._settings.listen_for(headers.transport(bridge.invite), bridge.source)

    def _home(self, uri: Uri, near: Trunk, listen: Listen) -> Uri:
        """An address that leads to us, or to the trunk that names it, as one that leads to us."""
        leads_here = uri.host.strip("[]") in self._ours or near.holds(uri.host)
        if uri.scheme not in {"sip", "sips"} or not leads_here:
            return uri
        return replace(uri, host=listen.host, port=listen.port, parameters=listen.parameters)
