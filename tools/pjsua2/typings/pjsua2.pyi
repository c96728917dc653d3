# The part of pjsua2 that recproxy uses, typed by hand from PJSIP's headers; SWIG
# writes no types. Only recproxy.sip imports the module.
# ruff: noqa: A002, N802, N803, N815

PJSUA_INVALID_ID: int
PJSIP_TRANSPORT_UDP: int
PJSIP_TRANSPORT_TCP: int
PJSIP_TRANSPORT_TLS: int
PJSIP_TRANSPORT_UDP6: int
PJSIP_TRANSPORT_TCP6: int
PJSIP_TRANSPORT_TLS6: int
PJ_SSL_SOCK_PROTO_TLS1_2: int
PJ_SSL_SOCK_PROTO_TLS1_3: int
PJSIP_ROLE_UAC: int
PJSUA_CALL_NO_SDP_OFFER: int
PJSIP_ROLE_UAS: int
PJSIP_EVENT_RX_MSG: int
PJSIP_EVENT_TSX_STATE: int
PJSIP_INV_STATE_CONNECTING: int
PJSIP_INV_STATE_CONFIRMED: int
PJSIP_INV_STATE_DISCONNECTED: int
PJSIP_TSX_STATE_TRYING: int
PJSIP_TSX_STATE_PROCEEDING: int
PJSIP_TSX_STATE_COMPLETED: int
PJSIP_TSX_STATE_TERMINATED: int
PJSIP_REDIRECT_STOP: int
PJSUA_DESTROY_NO_RX_MSG: int

RECPROXY_SIP_ABI: int
RECPROXY_ADMIT: int
RECPROXY_REFUSE: int
RECPROXY_EMERGENCY_ONLY: int
RECPROXY_REFUSED_ADDRESS: int
RECPROXY_REFUSED_ADMISSION: int
RECPROXY_REFUSED_METHOD: int
RECPROXY_REFUSED_EXTENSION: int
RECPROXY_REFUSED_HOPS: int
RECPROXY_OPTIONS_ANSWERED: int
RECPROXY_BODIES_MASKED: int
RECPROXY_BODIES_SENT: int
RECPROXY_BODIES_LOST: int
RECPROXY_CHALLENGED: int
RECPROXY_LOCKED_OUT: int
RECPROXY_LINKS_REFUSED: int
RECPROXY_LINKS_CLOSED: int

def recproxy_log_off() -> None: ...
def recproxy_sip_start() -> int: ...
def recproxy_acl_set(nets: bytes) -> int: ...
def recproxy_acl_set_silent(silent: int) -> None: ...
def recproxy_fork_clients(nets: bytes) -> int: ...
def recproxy_auth_short(digits: int) -> None: ...
def recproxy_auth_clear() -> None: ...
def recproxy_auth_add(nets: bytes) -> int: ...
def recproxy_auth_challenge(group: int, first: str, second: str) -> None: ...
def recproxy_auth_lock(nets: bytes) -> int: ...
def recproxy_links_limit(per_address: int) -> None: ...
def recproxy_links_count() -> int: ...
def recproxy_resolve_pin(name: str, address: str) -> int: ...
def recproxy_resolve_next() -> int: ...
def recproxy_resolve_question(id: int) -> str: ...
def recproxy_resolve_answer(id: int, address: str) -> int: ...
def recproxy_tls_restart(transport: int, address: str, port: int) -> int: ...
def recproxy_call_tell(call: int, headers: str) -> int: ...
def recproxy_call_reliable(call: int, on: int) -> int: ...
def recproxy_options_full(nets: bytes) -> int: ...
def recproxy_admission_set(admission: int, retry_after: int) -> None: ...
def recproxy_emergency_set(data: bytes) -> int: ...
def recproxy_body_new() -> int: ...
def recproxy_body_set(token: int, data: bytes, content_type: str) -> int: ...
def recproxy_body_free(token: int) -> None: ...
def recproxy_body_count() -> int: ...
def recproxy_sdp_placeholder(token: int) -> str: ...
def recproxy_body_header() -> str: ...
def recproxy_held_next() -> int: ...
def recproxy_held_message(id: int) -> str: ...
def recproxy_held_answer(id: int, code: int) -> int: ...
def recproxy_held_pass_on(id: int, call_id: str, local_tag: str, remote_tag: str, headers: str) -> int: ...
def recproxy_counter_get(counter: int) -> int: ...
def recproxy_cancel_message(call_id: str) -> str: ...
def recproxy_memory_trim() -> None: ...
def recproxy_max_calls() -> int: ...
def recproxy_abi() -> int: ...
def recproxy_tls_library() -> str: ...

class Error(Exception):
    status: int
    title: str
    reason: str

class LogEntry:
    level: int
    msg: str
    def __init__(self) -> None: ...

class LogWriter:
    def __init__(self) -> None: ...
    def write(self, entry: LogEntry) -> None: ...
    def __disown__(self) -> object: ...

class LogConfig:
    msgLogging: int
    level: int
    consoleLevel: int
    decor: int
    writer: LogWriter

class UaConfig:
    maxCalls: int
    threadCnt: int
    mainThreadOnly: bool
    userAgent: str
    mwiUnsolicitedEnabled: bool
    noRefersub: bool

class MediaConfig:
    clockRate: int
    threadCnt: int
    hasIoqueue: bool
    noVad: bool

class EpConfig:
    uaConfig: UaConfig
    logConfig: LogConfig
    medConfig: MediaConfig
    def __init__(self) -> None: ...

class SockOpt:
    def __init__(self, optLevel: int, optName: int, optVal: int) -> None: ...

class SockOptVector:
    def append(self, x: SockOpt) -> None: ...

class SockOptParams:
    sockOpts: SockOptVector

class TlsConfig:
    CaListFile: str
    certFile: str
    privKeyFile: str
    proto: int
    verifyServer: bool
    verifyClient: bool
    requireClientCert: bool
    msecTimeout: int

class TransportConfig:
    port: int
    tlsConfig: TlsConfig
    publicAddress: str
    boundAddress: str
    sockOptParams: SockOptParams
    def __init__(self) -> None: ...

class AudDevManager:
    def setNoDev(self) -> int: ...

class Endpoint:
    def __init__(self) -> None: ...
    def libCreate(self) -> None: ...
    def libInit(self, prmEpConfig: EpConfig) -> None: ...
    def libStart(self) -> None: ...
    def libHandleEvents(self, msec_timeout: int) -> int: ...
    def libDestroy(self, prmFlags: int = ...) -> None: ...
    def transportCreate(self, type: int, cfg: TransportConfig) -> int: ...
    def audDevManager(self) -> AudDevManager: ...

class AccountCallConfig:
    prackUse: int
    timerUse: int
    timerMinSESec: int
    timerSessExpiresSec: int

class AccountMediaConfig:
    lockCodecEnabled: bool
    srtpUse: int
    useLoopMedTp: bool
    enableLoopback: bool

class AccountNatConfig:
    sipOutboundUse: int
    contactRewriteUse: int
    viaRewriteUse: int
    sdpNatRewriteUse: int
    udpKaIntervalSec: int

class AccountSipConfig:
    transportId: int
    contactForced: str
    authCreds: AuthCredInfoVector

class AuthCredInfo:
    def __init__(self, scheme: str, realm: str, user_name: str, data_type: int, data: str) -> None: ...

class AuthCredInfoVector:
    def append(self, x: AuthCredInfo) -> None: ...

class AccountRegConfig:
    registrarUri: str
    registerOnAdd: bool
    timeoutSec: int
    retryIntervalSec: int
    firstRetryIntervalSec: int
    dropCallsOnFail: bool

class AccountConfig:
    idUri: str
    regConfig: AccountRegConfig
    sipConfig: AccountSipConfig
    callConfig: AccountCallConfig
    mediaConfig: AccountMediaConfig
    natConfig: AccountNatConfig
    def __init__(self) -> None: ...

class SipRxData:
    info: str
    wholeMsg: str
    srcAddress: str

class SipTxData:
    info: str
    wholeMsg: str
    dstAddress: str

class SipTransaction:
    role: int
    method: str
    statusCode: int
    statusText: str
    state: int
    lastTx: SipTxData

class TsxStateEventSrc:
    rdata: SipRxData
    tdata: SipTxData
    status: int

class TsxStateEvent:
    src: TsxStateEventSrc
    tsx: SipTransaction
    prevState: int
    type: int

class RxMsgEvent:
    rdata: SipRxData

class SipEventBody:
    tsxState: TsxStateEvent
    rxMsg: RxMsgEvent

class SipEvent:
    type: int
    body: SipEventBody

class SdpSession:
    wholeSdp: str

class OnIncomingCallParam:
    callId: int
    rdata: SipRxData

class OnCallStateParam:
    e: SipEvent

class OnCallTsxStateParam:
    e: SipEvent

class OnCallSdpCreatedParam:
    sdp: SdpSession
    remSdp: SdpSession

class OnCallRxReinviteParam:
    offer: SdpSession
    rdata: SipRxData
    isAsync: bool
    statusCode: int

class OnCallRedirectedParam:
    targetUri: str
    e: SipEvent

class SipHeader:
    hName: str
    hValue: str
    def __init__(self) -> None: ...

class SipHeaderVector:
    def append(self, x: SipHeader) -> None: ...

class SipTxOption:
    targetUri: str
    localUri: str
    contactUri: str
    headers: SipHeaderVector

class CallSetting:
    flag: int
    audioCount: int
    videoCount: int
    textCount: int

class CallOpParam:
    opt: CallSetting
    statusCode: int
    reason: str
    options: int
    txOption: SipTxOption
    sdp: SdpSession
    def __init__(self, useDefaultCallSetting: bool = ...) -> None: ...

class CallInfo:
    id: int
    role: int
    callIdString: str
    state: int
    lastStatusCode: int
    lastReason: str

class OnRegStateParam:
    code: int
    reason: str
    expiration: int

class SendRequestParam:
    method: str
    txOption: SipTxOption
    def __init__(self) -> None: ...

class OnSendRequestParam:
    e: SipEvent

class Account:
    def __init__(self) -> None: ...
    def sendRequest(self, prm: SendRequestParam) -> None: ...
    def setRegistration(self, renew: bool) -> None: ...
    def onRegState(self, prm: OnRegStateParam) -> None: ...
    def onSendRequest(self, prm: OnSendRequestParam) -> None: ...
    def create(self, cfg: AccountConfig, make_default: bool = ...) -> None: ...
    def shutdown(self) -> None: ...
    def onIncomingCall(self, prm: OnIncomingCallParam) -> None: ...

class Call:
    def __init__(self, acc: Account, call_id: int = ...) -> None: ...
    def getId(self) -> int: ...
    def getInfo(self) -> CallInfo: ...
    def isActive(self) -> bool: ...
    def makeCall(self, dst_uri: str, prm: CallOpParam) -> None: ...
    def answer(self, prm: CallOpParam) -> None: ...
    def hangup(self, prm: CallOpParam) -> None: ...
    def reinvite(self, prm: CallOpParam) -> None: ...
    def update(self, prm: CallOpParam) -> None: ...
    def onCallState(self, prm: OnCallStateParam) -> None: ...
    def onCallTsxState(self, prm: OnCallTsxStateParam) -> None: ...
    def onCallSdpCreated(self, prm: OnCallSdpCreatedParam) -> None: ...
    def onCallRxReinvite(self, prm: OnCallRxReinviteParam) -> None: ...
    def onCallRedirected(self, prm: OnCallRedirectedParam) -> int: ...
