"""The C module inside pjsua2, by name: bodies, the access list, admission.

Everything here belongs to the signalling thread, like every pjsua2 object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import pjsua2 as pj

from recproxy.errors import RecproxyError
from recproxy.sip.targets import Target

__all__ = [
    "ABI",
    "Admission",
    "BodySlots",
    "BuildFacts",
    "SipStackError",
    "admit",
    "allow",
    "answer_held",
    "build_facts",
    "cancelled_by",
    "challenge",
    "counters",
    "exempt",
    "fill",
    "fork_clients",
    "held",
    "locate",
    "lock_out",
    "pass_on",
    "quiet",
    "reliable",
    "resolved",
    "restart_tls",
    "set_challenge",
    "start",
    "strangers",
    "tell",
    "unresolved",
]

ABI: Final = 6
_COUNTERS: Final[Mapping[str, str]] = {
    "refused_address": "RECPROXY_REFUSED_ADDRESS",
    "refused_admission": "RECPROXY_REFUSED_ADMISSION",
    "refused_method": "RECPROXY_REFUSED_METHOD",
    "refused_extension": "RECPROXY_REFUSED_EXTENSION",
    "refused_hops": "RECPROXY_REFUSED_HOPS",
    "options_answered": "RECPROXY_OPTIONS_ANSWERED",
    "bodies_masked": "RECPROXY_BODIES_MASKED",
    "bodies_sent": "RECPROXY_BODIES_SENT",
    "bodies_lost": "RECPROXY_BODIES_LOST",
    "challenged": "RECPROXY_CHALLENGED",
    "locked_out": "RECPROXY_LOCKED_OUT",
    "links_refused": "RECPROXY_LINKS_REFUSED",
    "links_closed": "RECPROXY_LINKS_CLOSED",
}
_MEND: Final = "build pjsua2 with tools/pjsua2/build.sh and install the wheel that it prints"


class SipStackError(RecproxyError):
    """The SIP stack cannot do what is asked: wrong build, port in use, bad address."""


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """What the installed pjsua2 can do.

    Attributes:
        max_calls: Call slots; a bridged call takes two.
        tls_library: Name and version of the TLS library.
    """

    max_calls: int
    tls_library: str


def build_facts() -> BuildFacts:
    """Tell what the installed pjsua2 can do.

    Raises:
        SipStackError: It is not the build that recproxy needs.
    """
    if not hasattr(pj, "recproxy_abi"):
        raise SipStackError("the installed pjsua2 lacks recproxy's module", hint=_MEND)
    if pj.recproxy_abi() != ABI:
        raise SipStackError(
            f"the installed pjsua2 has version {pj.recproxy_abi()} of recproxy's module, not {ABI}",
            hint=_MEND,
        )
    return BuildFacts(pj.recproxy_max_calls(), pj.recproxy_tls_library())


def quiet() -> None:
    """Keep PJSIP from printing while it is created; its log has no writer yet."""
    pj.recproxy_log_off()


def start(*, max_connections: int = 64) -> None:
    """Register the module; once, between libInit and the first transport.

    Args:
        max_connections: That one address may have open to us at once; 0 for any number.

    Raises:
        SipStackError: PJSIP refused it.
    """
    status = pj.recproxy_sip_start()
    if status:
        raise SipStackError(f"PJSIP refused recproxy's module: status {status}")
    pj.recproxy_links_limit(max_connections)


def allow(nets: Iterable[str], *, silent: bool = False) -> None:
    """Let in requests from these addresses and networks only, from now on.

    Args:
        nets: CIDR texts, IPv4 and IPv6; none lets nobody in.
        silent: Drop other requests instead of answering 403.

    Raises:
        SipStackError: One of them is malformed; the old list stays.
    """
    listed = list(nets)
    wrong = pj.recproxy_acl_set(",".join(listed).encode())
    if wrong >= 0:
        raise SipStackError(
            f"not an address or network: {listed[wrong]!r}", hint="write it as 192.0.2.0/24 or 2001:db8::/32"
        )
    pj.recproxy_acl_set_silent(int(silent))


def fork_clients(nets: Iterable[str]) -> None:
    """Let requests from these addresses and networks, and from no others, require ``siprec`` (RFC 7866).

    Raises:
        SipStackError: One of them is malformed; the old ones stay.
    """
    listed = list(nets)
    wrong = pj.recproxy_fork_clients(",".join(listed).encode())
    if wrong >= 0:
        raise SipStackError(
            f"not an address or network: {listed[wrong]!r}", hint="write it as 192.0.2.0/24 or 2001:db8::/32"
        )


def locate(name: str, address: str) -> None:
    """Send the next request to ``name`` to ``address``, whose certificate is that of the name.

    Args:
        name: Host in the request's URI or Route; empty to forget the last one.
        address: ``192.0.2.1:5061`` or ``[2001:db8::1]:5061``.

    Raises:
        SipStackError: The address is not numeric.
    """
    if pj.recproxy_resolve_pin(name, address):
        raise SipStackError(f"not a numeric address: {address!r}")


def unresolved() -> Iterator[tuple[int, Target]]:
    """Names of peers that requests have begun to wait for since the last call: number and what is asked."""
    while number := pj.recproxy_resolve_next():
        name, port, transport = pj.recproxy_resolve_question(number).rsplit(" ", 2)
        yield number, Target(name.rstrip(".").lower(), int(port) or None, transport)


def resolved(number: int, address: str) -> None:
    """Send what waits to this address, as for ``locate``; an empty one lets it fail."""
    pj.recproxy_resolve_answer(number, address)


def restart_tls(transport: int, address: str, port: int) -> int:
    """Begin a TLS listener anew, so that its files are read again; 0, or PJSIP's status."""
    return pj.recproxy_tls_restart(transport, address, port)


def tell(call: int, told: str) -> None:
    """Have every message of a call's dialog say this from now on.

    Args:
        call: PJSUA's number of the call; nothing happens if it has gone.
        told: Headers, one ``Name:value`` a line; empty for none.
    """
    pj.recproxy_call_tell(call, told)


def reliable(call: int, *, on: bool) -> None:
    """Send provisional responses to a call's INVITE reliably from now on, or not (RFC 3262)."""
    pj.recproxy_call_reliable(call, int(on))


def fill(nets: Iterable[str]) -> None:
    """Answer 503 to OPTIONS from these networks, whose trunk is full, and from these only.

    Raises:
        SipStackError: A network is malformed.
    """
    if pj.recproxy_options_full(",".join(nets).encode()) >= 0:
        raise SipStackError("the networks of a full trunk cannot be taken over")


def challenge(trunks: Iterable[Iterable[str]], *, short_number: int) -> None:
    """Ask for a password in INVITEs from these trunks' networks, from now on.

    Args:
        trunks: The networks of each; ``set_challenge`` names a trunk by its place.
        short_number: Numbers of at most so many digits are let in without: they may be
            emergency calls, which the caller of this tells apart.

    Raises:
        SipStackError: A network is malformed, or there are more than 256 trunks.
    """
    pj.recproxy_auth_clear()
    pj.recproxy_auth_short(short_number)
    for nets in trunks:
        if pj.recproxy_auth_add(",".join(nets).encode()) < 0:
            pj.recproxy_auth_clear()
            raise SipStackError("the networks of a trunk with authentication cannot be taken over")


def set_challenge(trunk: int, values: tuple[str, str]) -> None:
    """What Proxy-Authenticate of a 407 to this trunk says from now on, in two headers."""
    pj.recproxy_auth_challenge(trunk, *values)


def lock_out(addresses: Iterable[str]) -> None:
    """Answer 403 to INVITEs from these addresses, and from these only, from now on."""
    pj.recproxy_auth_lock(",".join(addresses).encode())


class Admission(Enum):
    """Who may begin a call."""

    ALL = "all"
    EMERGENCY = "emergency"
    NOBODY = "nobody"


_ADMISSIONS: Final[Mapping[Admission, str]] = {
    Admission.ALL: "RECPROXY_ADMIT",
    Admission.EMERGENCY: "RECPROXY_EMERGENCY_ONLY",
    Admission.NOBODY: "RECPROXY_REFUSE",
}


def admit(who: Admission, retry_after_s: int = 0) -> None:
    """Take new calls, or answer them and OPTIONS with 503 (and Retry-After unless 0).

    An INVITE that is sent again while its call is being set up passes in any case.
    """
    admission = getattr(pj, _ADMISSIONS[who])
    pj.recproxy_admission_set(admission, retry_after_s)


def exempt(numbers: Iterable[str]) -> None:
    """Name the numbers that ``Admission.EMERGENCY`` lets in, as dialled; service URNs always are.

    Raises:
        SipStackError: No memory; the old ones stay.
    """
    if pj.recproxy_emergency_set(",".join(sorted(numbers)).encode()):
        raise SipStackError("no memory for the emergency numbers")


def cancelled_by(sip_call_id: str) -> bytes:
    """The CANCEL that is being treated, if it is for this Call-ID; else nothing."""
    return pj.recproxy_cancel_message(sip_call_id).encode("utf-8", "surrogateescape")


def held() -> Iterator[tuple[int, bytes]]:
    """What was held since the last call until the other leg has answered: number and message."""
    while number := pj.recproxy_held_next():
        yield number, pj.recproxy_held_message(number).encode("utf-8", "surrogateescape")


def answer_held(number: int, code: int) -> None:
    """Let PJSIP have what is held, or refuse it with 3xx to 6xx."""
    pj.recproxy_held_answer(number, code)


def pass_on(number: int, call_id: str, ours: str, theirs: str, passed: str) -> None:
    """Send what is held on in another dialog; its answer goes back by itself.

    Args:
        number: Of the request.
        call_id: Of the dialog in which it goes on.
        ours: Our tag in that.
        theirs: The peer's.
        passed: Headers, one ``Name:value`` a line.
    """
    pj.recproxy_held_pass_on(number, call_id, ours, theirs, passed)


def counters() -> dict[str, int]:
    """What the module refused, answered and replaced since ``start``."""
    return {name: pj.recproxy_counter_get(getattr(pj, constant)) for name, constant in _COUNTERS.items()}


def strangers() -> int:
    """Requests that were refused since ``start`` because their address is in no trunk."""
    return int(pj.recproxy_counter_get(pj.RECPROXY_REFUSED_ADDRESS))


def trim_memory() -> None:
    """Give memory that ended calls have left back to the system; the allocator keeps it otherwise."""
    pj.recproxy_memory_trim()


class BodySlots:
    """The bodies of one leg that are, or may yet be, on their way to the peer.

    PJSIP negotiates with a placeholder that names a slot; what is in the slot
    when a message is printed goes on the wire. One slot for each SDP that PJSIP
    made: an offer that was refused takes its slot with it.
    """

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._newest = self._agreed = b""

    @property
    def newest(self) -> int:
        """Token of the newest slot; 0 if there is none."""
        return self._tokens[-1] if self._tokens else 0

    def open(self, body: bytes | None = None) -> str:
        """Make a slot and return the SDP that stands for it.

        Args:
            body: What goes out; empty sends no body, None repeats what was agreed last.

        Raises:
            SipStackError: No memory, or the body is too long for one message.
        """
        token = pj.recproxy_body_new()
        if not token:
            raise SipStackError("no memory for an SDP body")
        self._tokens.append(token)
        self.fill(self._agreed if body is None else body)
        return pj.recproxy_sdp_placeholder(token)

    def fill(self, body: bytes) -> None:
        """Change what the newest slot sends from now on; empty sends no body.

        Raises:
            SipStackError: There is no slot, or the body is too long for one message.
        """
        if pj.recproxy_body_set(self.newest, body, ""):
            raise SipStackError(f"an SDP body of {len(body)} bytes cannot be sent")
        self._newest = body

    def attach(self) -> tuple[str, str]:
        """Header that makes the newest slot's body part of a response that has none."""
        return pj.recproxy_body_header(), f"recproxy-{self.newest:016x}"

    def settle(self) -> None:
        """An exchange has succeeded: older slots can never be sent again."""
        for token in self._tokens[:-1]:
            pj.recproxy_body_free(token)
        del self._tokens[:-1]
        self._agreed = self._newest

    def close(self) -> None:
        """The leg is gone."""
        for token in self._tokens:
            pj.recproxy_body_free(token)
        self._tokens.clear()
