"""Calls that recording clients fork to us: their INVITEs taken in, their offers answered (RFC 7866)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from recproxy.call.commands import AnswerFork
from recproxy.call.events import CallFacts, ForkInvited
from recproxy.errors import SipError
from recproxy.sip import headers
from recproxy.sip.bridge import Bridge
from recproxy.sip.fork_dialog import ForkDialog
from recproxy.sip.fork_leg import ForkLeg
from recproxy.sip.headers import Message
from recproxy.sip.leg import Leg
from recproxy.sip.numbering import Party, rewritten
from recproxy.sip.siprec import party_of
from recproxy.sip.siprec_sdp import fork_answer
from recproxy.sip.stack import SipSettings
from recproxy.sip.trunks import Trunk
from recproxy.sip.uri import Address, Uri

__all__ = ["Forks"]


class Forks:
    """Reads and answers recording clients."""

    def __init__(
        self, settings: SipSettings, now: Callable[[], datetime], is_emergency: Callable[[str], bool]
    ) -> None:
        """Know what an INVITE is read with.

        Args:
            settings: Addresses that lead to us.
            now: Wall clock, aware, UTC.
            is_emergency: Tells an emergency number by any form in which it may be dialled.
        """
        self._settings = settings
        self._now = now
        self._is_emergency = is_emergency

    def invited(self, leg: ForkLeg, trunk: Trunk, host: str, invite: Message) -> tuple[Bridge, ForkInvited]:
        """Read the INVITE of a recording client.

        Args:
            leg: Its dialog.
            trunk: Where it came from.
            host: Numeric address that it came from.
            invite: The INVITE.

        Returns:
            The call, which goes nowhere from here, and its first event.

        Raises:
            SipError: It is no INVITE of a recording client, or its body is malformed.
            SdpError: Its offer is.
        """
        if "siprec" not in {value.lower() for value in invite.values("Require")}:
            raise SipError("header Require", "not siprec, which this trunk is for", code=403)
        _, said = leg.fork.begin(invite)
        shown = f"[{host}]" if ":" in host else host
        listen = self._settings.listen_for(headers.transport(invite), shown)
        leg.contact = f"{listen.contact};+sip.srs"
        if said.offer is None:  # begin() has seen to that
            raise SipError("SDP", "no offer", code=488)
        asked = headers.request_uri(invite)
        event = ForkInvited(self._facts(leg.fork, trunk, invite), said.offer, said.sides, said.notice)
        return Bridge(trunk, trunk, shown, invite, asked), event

    @staticmethod
    def answer(leg: Leg, command: AnswerFork) -> None:
        """Send 200 with our ports; nothing to a leg that is no recording client's.

        Raises:
            SdpError: The offer does not parse; it did before.
        """
        if not isinstance(leg, ForkLeg):
            return
        leg.fork.version += 1
        body = fork_answer(command, leg.fork.version)
        if command.again:
            leg.answer_reoffer(200, "OK", body)
        else:
            leg.respond(200, "OK", body)

    def _facts(self, fork: ForkDialog, trunk: Trunk, invite: Message) -> CallFacts:
        metadata = fork.metadata
        uris = [party_of(metadata, party) if metadata is not None else None for party in fork.parties]
        caller, callee = (*uris, None, None)[:2]
        withheld = caller is not None and headers.is_withheld(Address("", caller))
        called = self._number(callee, trunk, Party.CALLEE)
        return CallFacts(
            trunk=trunk.name,
            direction=trunk.direction,
            caller="" if withheld else self._number(caller, trunk, Party.CALLER),
            callee=called,
            anonymous=withheld,
            sos=self._is_emergency_call(fork, trunk),
            sip_call_id=invite.first("Call-ID") or "",
            received=self._now(),
            identities=self._further(fork, trunk),
        )

    def _further(self, fork: ForkDialog, trunk: Trunk) -> tuple[str, ...]:
        """Numbers of the participants beside the two: exempt ones count, whoever they are."""
        if fork.metadata is None:
            return ()
        others = [party for party in fork.metadata.participants if party not in fork.parties]
        numbers = [self._number(party_of(fork.metadata, other), trunk, Party.CALLER) for other in others]
        return tuple(number for number in numbers if number)

    def _is_emergency_call(self, fork: ForkDialog, trunk: Trunk) -> bool:
        """Whether any participant is an emergency service: clients do not always name the caller first."""
        if fork.metadata is None:
            return False
        uris = [party_of(fork.metadata, party) for party in fork.metadata.participants]
        return any(
            uri is not None
            and (
                headers.is_emergency_service(uri)
                or self._is_emergency(self._number(uri, trunk, Party.CALLEE))
            )
            for uri in uris
        )

    def _number(self, uri: Uri | None, trunk: Trunk, party: Party) -> str:
        if uri is None:
            return ""
        return rewritten(trunk.received, uri.number, party, self._is_emergency)
