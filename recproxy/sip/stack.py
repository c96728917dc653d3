"""PJSIP itself: its settings, its sockets, its start and its end."""

from __future__ import annotations

import gc
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pjsua2 as pj

from recproxy.errors import PeerError
from recproxy.sip import headers, native
from recproxy.sip.listening import Listen, Sockets
from recproxy.sip.native import SipStackError
from recproxy.sip.overload import BUSY_S
from recproxy.sip.registration import Credentials
from recproxy.sip.translation import received
from recproxy.sip.trunks import Trunk

__all__ = ["Arrivals", "Log", "SipSettings", "Stack"]

Log = Callable[[int, str], None]

_SPARE_SLOTS: Final = 64  # a call slot is freed a little later than its call ends
_USER_PART: Final = re.compile(r"((?:sips?|tel):)[^@>;\s]+|\+?[0-9]{6,}")


@dataclass(frozen=True, slots=True)
class SipSettings:
    """What the endpoint needs to know.

    Attributes:
        listen: At least one address; the first of a transport is the one that leg B uses.
        trunks: Neighbours.
        max_calls: Bridged calls at once; one more is answered 503.
        user_agent: For User-Agent and Server.
        silent: Drop requests from strangers instead of answering 403.
        max_connections: That one address may have open to us at once.
        short_number: Digits of the longest emergency number: as short ones need no password at
            the door, but are looked at.
        busy_s: So many seconds without rest, and new calls are refused until there is one.
        nameservers: Numeric addresses of DNS servers; those of the system if empty.
        log_level: PJSIP's, 0–6; it goes to ``SipEndpoint``'s ``log``.
    """

    listen: tuple[Listen, ...]
    trunks: tuple[Trunk, ...]
    max_calls: int = 1000
    user_agent: str = "recproxy"
    silent: bool = False
    max_connections: int = 64
    short_number: int = 8
    busy_s: float = BUSY_S
    nameservers: tuple[str, ...] = ()
    log_level: int = 1

    def contact(self, transport: str, host: str) -> str:
        """Contact URI for a dialog with ``host`` over ``transport``."""
        return self.listen_for(transport, host).contact

    def listen_for(self, transport: str, host: str) -> Listen:
        """Socket for a dialog with ``host`` over ``transport``.

        The first one of this transport and IP version; a name counts as IPv4.
        """
        version = 6 if host.startswith("[") else 4
        same = [listen for listen in self.listen if listen.transport == transport]
        best = [listen for listen in same if listen.ip_version == version]
        return (best or same or list(self.listen))[0]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Takes what comes in outside a call; called inside callbacks.

    Attributes:
        invite: PJSIP's number of the call, and the message.
        options_answered: Request-URI of an OPTIONS of ours, status, Retry-After in seconds.
        registered: Trunk, status, reason phrase, and seconds that the registration holds.
    """

    invite: Callable[[int, pj.SipRxData], None]
    options_answered: Callable[[str, int, int | None], None]
    registered: Callable[[str, int, str, int], None]


class _Door(pj.Account):
    """The account that every INVITE arrives at, and that OPTIONS are sent by."""

    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__()
        self._arrivals = arrivals

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:  # noqa: N802 - PJSIP's names
        """Hand an INVITE in."""
        self._arrivals.invite(prm.callId, prm.rdata)

    def onSendRequest(self, prm: pj.OnSendRequestParam) -> None:  # noqa: N802
        """Hand in how an OPTIONS of ours was answered."""
        tsx = prm.e.body.tsxState.tsx
        request = tsx.lastTx.wholeMsg.split(" ", 2)
        if len(request) == 3:  # noqa: PLR2004 - method, Request-URI and the rest
            self._arrivals.options_answered(request[1], tsx.statusCode, _retry_after(prm.e))


class _Registrant(pj.Account):
    """The account that registers with a trunk's carrier, and answers for it."""

    def __init__(self, trunk: str, arrivals: Arrivals) -> None:
        super().__init__()
        self._trunk = trunk
        self._arrivals = arrivals

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:  # noqa: N802 - PJSIP's names
        """Hand an INVITE in."""
        self._arrivals.invite(prm.callId, prm.rdata)

    def onRegState(self, prm: pj.OnRegStateParam) -> None:  # noqa: N802
        """Hand in how a REGISTER was answered."""
        self._arrivals.registered(self._trunk, prm.code, prm.reason, prm.expiration)


class _Log(pj.LogWriter):
    """PJSIP's own messages, one line each, without numbers and user parts."""

    def __init__(self, sink: Log) -> None:
        super().__init__()
        self._sink = sink

    def write(self, entry: pj.LogEntry) -> None:
        """Hand a line in."""
        self._sink(entry.level, _USER_PART.sub(r"\1…", entry.msg.rstrip()))


class Stack:
    """PJSIP, opened and closed by the one thread that polls it."""

    def __init__(self, settings: SipSettings, arrivals: Arrivals, log: Log) -> None:
        """Check that the installed pjsua2 will do; nothing is opened yet.

        Args:
            settings: Addresses and limits.
            arrivals: Takes what comes in outside a call.
            log: Takes PJSIP's own messages: level and line, numbers masked.

        Raises:
            SipStackError: It is the wrong build, or cannot carry ``max_calls``.
        """
        facts = native.build_facts()
        if settings.max_calls * 2 > facts.max_calls:
            raise SipStackError(
                f"max_calls {settings.max_calls} needs {settings.max_calls * 2} call slots, pjsua2 has"
                f" {facts.max_calls}",
                hint=f"set max_calls to {facts.max_calls // 2} or less",
            )
        self._settings = settings
        self._slots = min(
            facts.max_calls, settings.max_calls * 2 + max(_SPARE_SLOTS, settings.max_calls // 4)
        )
        self._arrivals = arrivals
        self._log = log
        self._endpoint: pj.Endpoint | None = None
        self._writer: _Log | None = None
        self._door: _Door | None = None
        self._sockets = Sockets()
        self._registrants: dict[str, _Registrant] = {}
        self._retired: list[_Registrant] = []

    @property
    def account(self) -> pj.Account:
        """The account of every leg to a trunk without credentials.

        Raises:
            RuntimeError: The stack is not open.
        """
        if self._door is None:
            raise RuntimeError("the SIP stack is not open")
        return self._door

    def account_of(self, trunk: str) -> pj.Account:
        """The account of a leg to a trunk: it answers the trunk's challenges, and no other's."""
        return self._registrants.get(trunk) or self.account

    def register(self, trunk: str, credentials: Credentials, server: str, contact: str) -> bool:
        """Send REGISTER for a trunk to a server of its registrar; the answer comes in as an arrival.

        Returns:
            Whether it could be sent.
        """
        held = self._registrants.get(trunk)
        try:
            if held is not None:
                held.setRegistration(True)
                return True
            account = _Registrant(trunk, self._arrivals)
            settings = _account_settings(self._settings.listen, self._sockets.numbers)
            _add_credentials(settings, credentials, server, contact)
            account.create(settings, False)
            self._registrants[trunk] = account
        except pj.Error:
            return False
        return True

    def unregister(self, trunk: str) -> bool:
        """Tell a trunk's registrar to forget us; False if it need not be told."""
        held = self._registrants.get(trunk)
        if held is None:
            return False
        try:
            held.setRegistration(False)
        except pj.Error:
            return False
        return True

    def retire(self, trunk: str) -> None:
        """Use a trunk's account no more; calls that are up keep it, for PJSIP would not survive that."""
        self.unregister(trunk)
        held = self._registrants.pop(trunk, None)
        if held is not None:
            self._retired.append(held)

    def open(self) -> None:
        """Start the stack and listen; this thread owns it from now on.

        Raises:
            SipStackError: An address or port cannot be used.
        """
        native.quiet()
        self._endpoint = endpoint = pj.Endpoint()
        try:
            endpoint.libCreate()
            endpoint.libInit(self._library_settings())
            native.start(max_connections=self._settings.max_connections)
            endpoint.audDevManager().setNoDev()
            self._sockets.open(endpoint, self._settings.listen)
            endpoint.libStart()
            self._door = _Door(self._arrivals)
            self._door.create(_account_settings(self._settings.listen, self._sockets.numbers), True)
        except pj.Error as err:
            self.close(idle=True)
            raise SipStackError(f"{err.title}: {err.reason}") from err
        except SipStackError:
            self.close(idle=True)
            raise

    def renew(self, listen: tuple[Listen, ...]) -> list[Listen]:
        """Take other certificates for the same sockets, see ``Sockets.renew``.

        Raises:
            SipStackError: A socket cannot be listened on again.
        """
        return self._sockets.renew(listen) if self._endpoint is not None else []

    def poll(self, timeout_ms: int) -> int:
        """Treat what came from the network, waiting for it at most ``timeout_ms``.

        Returns:
            How many messages and timers were treated; 0 if nothing was there.

        Raises:
            RuntimeError: The stack is not open.
        """
        if self._endpoint is None:
            raise RuntimeError("the SIP stack is not open")
        return self._endpoint.libHandleEvents(timeout_ms)

    def send_options(self, uri: str) -> bool:
        """Ask a server how it is; the answer comes in as an arrival. False if it cannot be sent."""
        prm = pj.SendRequestParam()
        prm.method = "OPTIONS"
        prm.txOption.targetUri = uri
        try:
            self.account.sendRequest(prm)
        except pj.Error:
            return False
        return True

    def close(self, *, idle: bool) -> None:
        """Stop; does nothing if it is not open.

        Args:
            idle: No call is up: there is no answer to a BYE to wait a second for.
        """
        if self._endpoint is None:
            return
        gc.collect()  # no pj.Call may outlive the library, nor die in another thread
        for account in (*self._registrants.values(), *self._retired):
            account.shutdown()
        self._registrants.clear()
        self._retired.clear()
        if self._door is not None:
            self._door.shutdown()
        self._endpoint.libDestroy(pj.PJSUA_DESTROY_NO_RX_MSG if idle else 0)
        self._door = self._writer = self._endpoint = None
        self._sockets.close()

    def _library_settings(self) -> pj.EpConfig:
        settings = pj.EpConfig()
        settings.uaConfig.maxCalls = self._slots
        settings.uaConfig.threadCnt = 0
        settings.uaConfig.mainThreadOnly = True
        settings.uaConfig.userAgent = self._settings.user_agent
        settings.uaConfig.mwiUnsolicitedEnabled = False
        settings.uaConfig.noRefersub = False
        settings.medConfig.threadCnt = 0
        settings.medConfig.hasIoqueue = False
        settings.medConfig.clockRate = 8000
        settings.logConfig.level = self._settings.log_level
        settings.logConfig.consoleLevel = self._settings.log_level
        settings.logConfig.msgLogging = 0
        settings.logConfig.decor = 0
        self._writer = _Log(self._log)
        self._writer.__disown__()
        settings.logConfig.writer = self._writer
        return settings


def _retry_after(event: pj.SipEvent) -> int | None:
    """Seconds that a response asks to be left alone; None if it does not, or is none."""
    if event.type != pj.PJSIP_EVENT_TSX_STATE or event.body.tsxState.type != pj.PJSIP_EVENT_RX_MSG:
        return None
    try:
        return headers.retry_after(headers.read_message(received(event.body.tsxState.src.rdata.wholeMsg)))
    except PeerError:
        return None


def _account_settings(listen: tuple[Listen, ...], transports: list[int]) -> pj.AccountConfig:
    settings = pj.AccountConfig()
    settings.idUri = listen[0].contact
    if len(listen) == 1 and not ipaddress.ip_address(listen[0].address).is_unspecified:
        # There is no other. PJSIP would ask the system, by three sockets a call, for the address
        # that a peer sees.
        settings.sipConfig.transportId = transports[0]
    settings.callConfig.prackUse = 0
    settings.callConfig.timerUse = 1
    settings.mediaConfig.lockCodecEnabled = False
    settings.mediaConfig.srtpUse = 0
    settings.mediaConfig.useLoopMedTp = True
    settings.mediaConfig.enableLoopback = False
    settings.natConfig.sipOutboundUse = 0
    settings.natConfig.contactRewriteUse = 0
    settings.natConfig.viaRewriteUse = 0
    settings.natConfig.sdpNatRewriteUse = 0
    settings.natConfig.udpKaIntervalSec = 0
    return settings


def _add_credentials(settings: pj.AccountConfig, credentials: Credentials, server: str, contact: str) -> None:
    settings.idUri = f"sip:{credentials.user}@{credentials.registrar.host}"
    settings.regConfig.registrarUri = server
    settings.regConfig.registerOnAdd = True
    settings.regConfig.timeoutSec = credentials.expires_s
    settings.regConfig.retryIntervalSec = 0  # when to try again is ours to say
    settings.regConfig.firstRetryIntervalSec = 0
    settings.regConfig.dropCallsOnFail = False
    settings.sipConfig.contactForced = contact
    settings.sipConfig.authCreds.append(
        pj.AuthCredInfo("digest", "*", credentials.user, 0, credentials.password)
    )
