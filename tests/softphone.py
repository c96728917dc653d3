"""A small, exact SIP user agent over UDP, for tests that sipp's scenarios cannot express.

It does what RFC 3261 asks of both sides of a call (retransmission, ACK of every
final response, CANCEL, dialog routing) and no more. Every wait ends by an event,
and fails with what was seen when the event does not come.
"""

from __future__ import annotations

import itertools
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import sdp_bodies
from closing import Closing
from sip_message import SipMessage, inner_uri, parameter

T1_S = 0.5
PATIENCE_S = 30.0
_ids = itertools.count(1)
_ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE"
_CRED = os.urandom(4).hex()


class PeerError(AssertionError):
    """The other side did not do what the test waited for."""


@dataclass(slots=True)
class Dialog:
    """One call as one user agent sees it (RFC 3261 section 12).

    Attributes:
        phone: Its user agent.
        call_id: Call-ID.
        local: Our From or To value, with tag.
        remote: Their To or From value, with tag once known.
        target: Remote target.
        sdp: The body we last offered or answered.
        remote_sdp: The body they last offered or answered.
        invite: The INVITE that began it.
        ended: Set when a BYE or CANCEL came, or ours was answered.
        answer_in_ack: Our answer, if our INVITE had no offer.
        on_reoffer: Answers a re-INVITE: a body for 200, or a status.
    """

    phone: Softphone
    call_id: str
    local: str
    remote: str
    target: str
    sdp: bytes
    invite: SipMessage
    outgoing: bool
    remote_sdp: bytes = b""
    route: tuple[str, ...] = ()
    cseq: int = 1
    ended: threading.Event = field(default_factory=threading.Event)
    acked: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    end_request: SipMessage | None = None
    end_ns: int = 0
    on_reoffer: Callable[[SipMessage], bytes | int] | None = None
    reoffers: list[SipMessage] = field(default_factory=list)
    responses: queue.SimpleQueue[SipMessage] = field(default_factory=queue.SimpleQueue)
    seen: list[SipMessage] = field(default_factory=list)
    to_tag: str = ""
    answer_in_ack: bytes = b""

    # ---- as caller -------------------------------------------------------
    def wait_response(self, minimum: int, *, within_s: float = PATIENCE_S) -> SipMessage:
        """Wait for a response to our INVITE of at least ``minimum``; INVITE is sent again as needed.

        Raises:
            PeerError: None came in time.
        """
        deadline = time.monotonic() + within_s
        interval = T1_S
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise PeerError(
                    f"no response >= {minimum} within {within_s:g} s, only {[m.start for m in self.seen]}"
                )
            try:
                response = self.responses.get(timeout=min(left, interval))
            except queue.Empty:
                if not self.seen:
                    self.phone.send(self.invite, self.phone.next_hop(self))
                    interval *= 2
                continue
            self.seen.append(response)
            if response.code >= minimum:
                return response

    def wait_answer(self, *, within_s: float = PATIENCE_S) -> SipMessage:
        """Wait for the 200 to our INVITE; its ACK has been sent when this returns.

        Raises:
            PeerError: The call was refused or not answered.
        """
        response = self.wait_response(200, within_s=within_s)
        if response.code >= 300:
            raise PeerError(f"the call was refused: {response.start}")
        return response

    def cancel(self) -> None:
        """CANCEL our INVITE; the 487 comes to ``wait_response``."""
        headers = [
            ("Via", self.invite.one("via")),
            ("Max-Forwards", "70"),
            ("From", self.invite.one("from")),
            ("To", self.invite.one("to")),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.invite.cseq} CANCEL"),
        ]
        self.phone.send(
            SipMessage(f"CANCEL {self.invite.uri} SIP/2.0", tuple(headers)), self.phone.next_hop(self)
        )

    # ---- as callee -------------------------------------------------------
    def ring(self, sdp: bytes = b"", code: int = 180, reason: str = "Ringing") -> None:
        """Send a provisional response, with early media if ``sdp`` is given."""
        self._respond(code, reason, sdp)

    def answer(
        self, sdp: bytes, *, headers: tuple[tuple[str, str], ...] = (), within_s: float = PATIENCE_S
    ) -> None:
        """Send 200 until its ACK comes.

        Raises:
            PeerError: No ACK came.
        """
        self.sdp = sdp
        deadline = time.monotonic() + within_s
        interval = T1_S
        self._respond(200, "OK", sdp, headers)
        while not self.acked.wait(interval):
            if time.monotonic() > deadline:
                raise PeerError(f"no ACK to the 200 within {within_s:g} s")
            self._respond(200, "OK", sdp, headers)
            interval = min(2 * interval, 4.0)

    def reject(self, code: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Send a final failure response."""
        self._respond(code, reason, b"", headers)

    # ---- both ------------------------------------------------------------
    def bye(self, *, within_s: float = PATIENCE_S) -> SipMessage:
        """Hang up; returns the response."""
        self.end_ns = time.monotonic_ns()
        response = self.request("BYE", within_s=within_s)
        self.ended.set()
        return response

    def reinvite(self, sdp: bytes, *, within_s: float = PATIENCE_S) -> SipMessage:
        """Send a re-INVITE with ``sdp``; returns the final response, acknowledged."""
        response = self.request("INVITE", sdp, within_s=within_s)
        if response.code < 300:
            self.sdp, self.remote_sdp = sdp, response.body or self.remote_sdp
        return response

    def request(
        self,
        method: str,
        body: bytes = b"",
        *,
        kind: str = "application/sdp",
        headers: tuple[tuple[str, str], ...] = (),
        within_s: float = PATIENCE_S,
    ) -> SipMessage:
        """Send a request inside the dialog, with a body of ``kind``; returns its final response.

        Raises:
            PeerError: None came.
        """
        self.cseq += 1
        return self.phone.transact(
            self.phone.request_in_dialog(self, method, body, kind, headers),
            self.phone.next_hop(self),
            within_s,
        )

    def wait_ended(self, *, within_s: float = PATIENCE_S) -> SipMessage:
        """Wait until the other side hung up or cancelled; returns its BYE or CANCEL.

        Raises:
            PeerError: It did not.
        """
        if not self.ended.wait(within_s) or self.end_request is None:
            raise PeerError(f"no BYE or CANCEL came within {within_s:g} s")
        return self.end_request

    def _respond(
        self, code: int, reason: str, body: bytes, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.phone.respond(self.invite, code, reason, body, to_tag=self.to_tag, headers=headers)


class Softphone(Closing):
    """A user agent on one UDP address. A context manager."""

    def __init__(self, address: str, port: int = 5060) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((address, port))
        self.address: str = address
        self.port: int = self._socket.getsockname()[1]
        self.incoming: queue.SimpleQueue[Dialog] = queue.SimpleQueue()
        self.asked: queue.SimpleQueue[SipMessage] = queue.SimpleQueue()
        self.received: list[SipMessage] = []
        self._dialogs: dict[str, Dialog] = {}
        self._transactions: dict[tuple[str, str], queue.SimpleQueue[SipMessage]] = {}
        self._answered: dict[tuple[str, str], bytes] = {}
        self._acks: dict[str, tuple[SipMessage, tuple[str, int]]] = {}
        self._ended = False
        self._listener = threading.Thread(target=self._listen, name=f"sip {address}:{self.port}", daemon=True)
        self._listener.start()

    @property
    def host(self) -> str:
        """Its address as in a URI."""
        return _host(self.address)

    # ---- calls -----------------------------------------------------------
    def invite(
        self,
        number: str,
        to: tuple[str, int],
        sdp: bytes,
        *,
        caller: str = "+31612345678",
        headers: tuple[tuple[str, str], ...] = (),
        answer_in_ack: bytes = b"",
        service: str = "",
        kind: str = "application/sdp",
    ) -> Dialog:
        """Send an INVITE to ``sip:number@to``, or to a ``service`` URN, and return its dialog at once."""
        call_id = f"{_CRED}-{next(_ids)}@{self.address}"
        local = f"<sip:{caller}@{self.host}>;tag={_CRED}{next(_ids)}"
        uri = service or f"sip:{number}@{_host(to[0])}:{to[1]}"
        start = f"INVITE {uri} SIP/2.0"
        lines = [
            ("Via", self._via()),
            ("Max-Forwards", "70"),
            ("From", local),
            ("To", f"<{uri}>"),
            ("Call-ID", call_id),
            ("CSeq", "1 INVITE"),
            ("Contact", self._contact()),
            ("Allow", _ALLOW),
            *headers,
            *((("Content-Type", kind),) if sdp else ()),
        ]
        invite = SipMessage(start, tuple(lines), sdp)
        dialog = Dialog(self, call_id, local, f"<{uri}>", uri, sdp or answer_in_ack, invite, outgoing=True)
        dialog.answer_in_ack = answer_in_ack
        self._dialogs[call_id] = dialog
        self.send(invite, to)
        return dialog

    def next_call(self, *, within_s: float = PATIENCE_S) -> Dialog:
        """Wait for the next INVITE of a new call.

        Raises:
            PeerError: None came.
        """
        try:
            return self.incoming.get(timeout=within_s)
        except queue.Empty:
            raise PeerError(f"no INVITE reached {self.address} within {within_s:g} s") from None

    def next_request(self, method: str, *, within_s: float = PATIENCE_S) -> SipMessage:
        """Wait for the next request of a method that neither begins nor ends a call; it has got its 200.

        Raises:
            PeerError: None came.
        """
        deadline = time.monotonic() + within_s
        while True:
            try:
                asked = self.asked.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise PeerError(f"no {method} reached {self.address} within {within_s:g} s") from None
            if asked.method == method:
                return asked

    def options(self, to: tuple[str, int], *, within_s: float = PATIENCE_S) -> SipMessage:
        """Send OPTIONS outside a dialog; returns the final response."""
        lines = (
            ("Via", self._via()),
            ("Max-Forwards", "70"),
            ("From", f"<sip:ping@{self.address}>;tag={next(_ids)}"),
            ("To", f"<sip:{to[0]}:{to[1]}>"),
            ("Call-ID", f"{_CRED}-{next(_ids)}@{self.address}"),
            ("CSeq", "1 OPTIONS"),
            ("Contact", self._contact()),
        )
        return self.transact(SipMessage(f"OPTIONS sip:{to[0]}:{to[1]} SIP/2.0", lines), to, within_s)

    # ---- messages --------------------------------------------------------
    def send(self, message: SipMessage, to: tuple[str, int]) -> None:
        """Send one message."""
        self._socket.sendto(message.encode(), to)

    def send_raw(self, data: bytes, to: tuple[str, int]) -> None:
        """Send one datagram as it is."""
        self._socket.sendto(data, to)

    def transact(self, request: SipMessage, to: tuple[str, int], within_s: float) -> SipMessage:
        """Send a request until its final response comes (RFC 3261 section 17.1.2).

        Raises:
            PeerError: None came.
        """
        answers: queue.SimpleQueue[SipMessage] = queue.SimpleQueue()
        self._transactions[request.branch, request.method] = answers
        deadline = time.monotonic() + within_s
        interval = T1_S
        self.send(request, to)
        while True:
            try:
                response = answers.get(timeout=interval)
            except queue.Empty:
                if time.monotonic() > deadline:
                    raise PeerError(f"no answer to {request.method} within {within_s:g} s") from None
                self.send(request, to)
                interval = min(2 * interval, 4.0)
                continue
            if response.code >= 200:
                return response

    def request_in_dialog(
        self,
        dialog: Dialog,
        method: str,
        body: bytes = b"",
        kind: str = "application/sdp",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> SipMessage:
        """Build a request inside a dialog (RFC 3261 section 12.2.1.1)."""
        lines = [
            ("Via", self._via()),
            ("Max-Forwards", "70"),
            *(("Route", value) for value in dialog.route),
            ("From", dialog.local),
            ("To", dialog.remote),
            ("Call-ID", dialog.call_id),
            ("CSeq", f"{dialog.cseq} {method}"),
            ("Contact", self._contact()),
            *headers,
            *((("Content-Type", kind),) if body else ()),
        ]
        return SipMessage(f"{method} {dialog.target} SIP/2.0", tuple(lines), body)

    def respond(
        self,
        request: SipMessage,
        code: int,
        reason: str,
        body: bytes = b"",
        *,
        to_tag: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Answer a request; a final answer is repeated when the request is."""
        to = request.one("to")
        if not parameter(to, "tag"):
            to += f";tag={to_tag or next(_ids)}"
        lines = [
            *(("Via", value) for value in request.all("via")),
            *(("Record-Route", value) for value in request.all("record-route")),
            ("From", request.one("from")),
            ("To", to),
            ("Call-ID", request.one("call-id")),
            ("CSeq", request.one("cseq")),
            ("Contact", self._contact()),
            *(() if any(name == "Allow" for name, _ in headers) else (("Allow", _ALLOW),)),
            *headers,
            *((("Content-Type", "application/sdp"),) if body else ()),
        ]
        data = SipMessage(f"SIP/2.0 {code} {reason}", tuple(lines), body).encode()
        self._answered[request.branch, request.method] = data
        self._socket.sendto(data, request.source)

    def next_hop(self, dialog: Dialog) -> tuple[str, int]:
        """Where requests of this dialog go: its first route, else its remote target."""
        uri = inner_uri(dialog.route[0]) if dialog.route else dialog.target
        place = uri.split("@")[-1].removeprefix("sip:").split(";")[0]
        name, port = place.rsplit(":", 1) if not place.endswith("]") and ":" in place else (place, "5060")
        return name.strip("[]"), int(port)

    def close(self) -> None:
        """Stop; calls that are still up are left as they are."""
        if not self._ended:
            self._ended = True
            self._socket.sendto(b"", (self.address, self.port))  # wakes the listener
            self._listener.join()
            self._socket.close()

    # ---- the listener's thread -------------------------------------------
    def _listen(self) -> None:
        while True:
            data, source = self._socket.recvfrom(65536)
            if self._ended:
                return
            if not data.strip():
                continue  # keep-alive, RFC 5626
            message = SipMessage.parse(data, (source[0], source[1]), time.monotonic_ns())
            self.received.append(message)
            if message.is_response:
                self._response(message)
            else:
                self._request(message)

    def _response(self, message: SipMessage) -> None:
        dialog = self._dialogs.get(message.one("call-id"))
        if message.method == "INVITE" and message.code >= 200:
            self._acknowledge(message, dialog)
        waiting = self._transactions.get((message.branch, message.method))
        if waiting is not None:
            waiting.put(message)
        elif dialog is not None and message.method == "INVITE" and message.cseq == dialog.invite.cseq:
            if message.body:
                dialog.remote_sdp = message.body
            dialog.responses.put(message)

    def _acknowledge(self, message: SipMessage, dialog: Dialog | None) -> None:
        if dialog is None:
            return
        first = message.cseq == dialog.invite.cseq and dialog.outgoing
        if first and message.code < 300 and not dialog.acked.is_set():
            dialog.remote = message.one("to")
            dialog.target = inner_uri(message.one("contact"))
            dialog.route = tuple(reversed(message.all("record-route")))
        if message.code < 300:
            ack = self.request_in_dialog(dialog, "ACK", dialog.answer_in_ack if first else b"")
            lines = tuple(
                (name, f"{message.cseq} ACK" if name == "CSeq" else value) for name, value in ack.headers
            )
            self.send(SipMessage(ack.start, lines, ack.body), self.next_hop(dialog))
            if first:
                dialog.acked.set()
            return
        uri = dialog.invite.uri if first else dialog.target
        lines = (
            ("Via", message.one("via")),
            ("Max-Forwards", "70"),
            ("From", message.one("from")),
            ("To", message.one("to")),
            ("Call-ID", dialog.call_id),
            ("CSeq", f"{message.cseq} ACK"),
        )
        self.send(SipMessage(f"ACK {uri} SIP/2.0", lines), self.next_hop(dialog))

    def _request(self, message: SipMessage) -> None:
        repeated = self._answered.get((message.branch, message.method))
        if repeated is not None:
            if repeated:
                self._socket.sendto(repeated, message.source)
            return
        dialog = self._dialogs.get(message.one("call-id"))
        match message.method:
            case "INVITE" if dialog is None:
                self._new_call(message)
            case "INVITE":
                self._reoffer(message, dialog)
            case "ACK":
                if dialog is not None:
                    dialog.acked.set()
            case "CANCEL":
                self.respond(message, 200, "OK")
                if dialog is not None:
                    self._end(dialog, message)
                    dialog.cancelled.set()
                    self.respond(dialog.invite, 487, "Request Terminated", to_tag=dialog.to_tag)
            case "BYE":
                if dialog is not None:
                    self._end(dialog, message)
                self.respond(message, 200, "OK")
            case _:
                timer = message.all(
                    "session-expires"
                )  # an answer without it ends the timer (RFC 4028 section 7.2)
                lines = (("Require", "timer"), ("Session-Expires", timer[0])) if timer else ()
                self.respond(message, 200, "OK", headers=lines)
                self.asked.put(message)

    def _new_call(self, message: SipMessage) -> None:
        tag = f"{_CRED}{next(_ids)}"
        dialog = Dialog(
            self,
            message.one("call-id"),
            f"{message.one('to')};tag={tag}",
            message.one("from"),
            inner_uri(message.one("contact")),
            b"",
            message,
            outgoing=False,
            remote_sdp=message.body,
            route=tuple(message.all("record-route")),
            cseq=100,
            to_tag=tag,
        )
        self._dialogs[dialog.call_id] = dialog
        self.respond(message, 100, "Trying", to_tag=tag)
        del self._answered[message.branch, message.method]
        self._answered[message.branch, message.method] = b""  # a repeated INVITE is not a new call
        self.incoming.put(dialog)

    def _reoffer(self, message: SipMessage, dialog: Dialog | None) -> None:
        if dialog is None:
            return
        dialog.reoffers.append(message)
        answer = dialog.on_reoffer(message) if dialog.on_reoffer else self._mirror(dialog, message)
        if isinstance(answer, int):
            self.respond(message, answer, "No")
            return
        dialog.sdp, dialog.remote_sdp = answer, message.body
        self.respond(message, 200, "OK", answer)

    @staticmethod
    def _mirror(dialog: Dialog, message: SipMessage) -> bytes:
        asked = sdp_bodies.read(message.body)[0].direction
        own = sdp_bodies.read(dialog.sdp)[0].direction
        return dialog.sdp.replace(f"a={own}".encode(), f"a={sdp_bodies.mirrored(asked)}".encode())

    @staticmethod
    def _end(dialog: Dialog, message: SipMessage) -> None:
        dialog.end_request = message
        dialog.end_ns = message.at_ns
        dialog.ended.set()

    # ---- parts -----------------------------------------------------------
    def _via(self) -> str:
        return f"SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK{_CRED}{next(_ids)};rport"

    def _contact(self) -> str:
        return f"<sip:peer@{self.host}:{self.port}>"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
