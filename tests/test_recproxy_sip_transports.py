"""TLS, TCP and IPv6 through the endpoint, and connections that misbehave."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import Authority, Issued
from loopback import Lease, free_port
from name_server import NameServer
from sdp_bodies import AMR_WB, OPUS, audio
from sip_bench import Bench, Dialog, Wire, bench
from stream_wire import Link, StreamWire

from recproxy.call.events import InviteReceived
from recproxy.sip.endpoint import Listen, SipSettings, Tls
from recproxy.sip.registration import Credentials
from recproxy.sip.targets import Target

pytestmark = pytest.mark.interop
TLS_PORT = 5061


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _bodies(stage: Bench) -> tuple[bytes, bytes]:
    return (
        audio(stage.caller.address, 4000, codecs=(AMR_WB, OPUS)),
        audio(stage.callee.address, 5000, codecs=(OPUS,)),
    )


def _tls(authority: Authority, issued: Issued, *, verify: bool = True, verify_client: bool = False) -> Tls:
    certificate, key, ca = (path.read_bytes() for path in (issued.certificate, issued.key, authority.path))
    return Tls(certificate, key, ca, verify, verify_client)


@contextmanager
def tls_bench(
    authority: Authority,
    *,
    made_out_to: str = "",
    target: str = "",
    verify: bool = True,
    verify_client: bool = False,
    client: Callable[[ssl.SSLContext], None] = lambda _context: None,
    known: bool = True,
    limit: int = 64,
) -> Iterator[Bench]:
    """Both neighbours speak TLS; the callee's certificate is made out to its address, or to another host."""

    def configure(settings: SipSettings) -> SipSettings:
        (first, *_), (office, carrier) = settings.listen, settings.trunks
        ours = authority.issue(first.address)
        tls = _tls(authority, ours, verify=verify, verify_client=verify_client)
        listen = (Listen("udp", first.address, 5060), Listen("tls", first.address, TLS_PORT, "", tls))
        server = replace(
            carrier.targets[0], host=target or carrier.targets[0].host, port=TLS_PORT, transport="tls"
        )
        trunks = (office, replace(carrier, targets=(server,)))
        return replace(settings, listen=listen, trunks=trunks, max_connections=limit)

    with bench(configure=configure) as stage:
        where = stage.lease.addresses
        context = authority.client(authority.issue(where.caller) if known else None)
        client(context)
        proxy = (where.daemon, TLS_PORT)
        server = authority.server(authority.issue(made_out_to or where.callee))
        stage.caller.close()
        stage.callee.close()
        stage.caller = StreamWire(where.caller, 5061, proxy, context=context)
        stage.callee = StreamWire(where.callee, TLS_PORT, proxy, context=server, serves=True)
        yield stage


def _link(wire: Wire) -> Link:
    assert isinstance(wire, StreamWire)
    return wire.links[-1]


def _only(version: ssl.TLSVersion) -> Callable[[ssl.SSLContext], None]:
    def limit(context: ssl.SSLContext) -> None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version

    return limit


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_call_over_tls_on_both_sides(authority: Authority, version: ssl.TLSVersion) -> None:
    with tls_bench(authority, client=_only(version)) as stage:
        a, b = stage.establish(*_bodies(stage))
        assert "transport=tls" in a.target.lower()
        assert "transport=tls" in b.target.lower()
        stage.hang_up(a)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_protocols_are_refused(authority: Authority, version: ssl.TLSVersion) -> None:
    with tls_bench(authority, client=_only(version)) as stage:
        stage.until(lambda: _link(stage.caller).closed, "the refusal")
        assert not _link(stage.caller).ready
        assert "version" in _link(stage.caller).fault or "alert" in _link(stage.caller).fault


def test_a_server_whose_certificate_is_for_another_host_gets_no_call(authority: Authority) -> None:
    with tls_bench(authority, made_out_to="other.example") as stage:
        a = Dialog.calling(stage.caller)
        stage.caller.send(a.request("INVITE", _bodies(stage)[0]))
        stage.receive(stage.caller, "503")
        assert not [m for m in stage.callee.inbox if m.start.startswith("INVITE")]


def test_an_unverified_server_gets_it_if_asked_so(authority: Authority) -> None:
    with tls_bench(authority, made_out_to="other.example", verify=False) as stage:
        a, _ = stage.establish(*_bodies(stage))
        stage.hang_up(a)


def test_without_a_certificate_of_its_own_a_client_is_refused_if_asked_so(authority: Authority) -> None:
    with tls_bench(authority, verify_client=True, known=False) as stage:
        a = Dialog.calling(stage.caller)
        stage.caller.send(a.request("INVITE", _bodies(stage)[0]))
        stage.until(lambda: _link(stage.caller).closed, "the refusal")
        assert not stage.mirror.seen(InviteReceived)


def test_with_one_it_is_not(authority: Authority) -> None:
    with tls_bench(authority, verify_client=True) as stage:
        a, _ = stage.establish(*_bodies(stage))
        stage.hang_up(a)


# ---- a renewed certificate


def _serial(link: Link) -> str:
    assert isinstance(link.sock, ssl.SSLSocket)
    shown = link.sock.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


def _connected(stage: Bench) -> Link:
    """One more connection of the caller's, past its handshake; the first stays the one that it sends over."""
    assert isinstance(stage.caller, StreamWire)
    link = stage.caller.connect()
    stage.until(lambda: link.ready, "the handshake")
    stage.caller.links.insert(0, stage.caller.links.pop())
    return link


def test_a_renewed_certificate_is_shown_to_new_connections_and_calls_go_on(authority: Authority) -> None:
    with tls_bench(authority) as stage:
        a, _ = stage.establish(*_bodies(stage))
        before = _serial(_link(stage.caller))
        assert _serial(_connected(stage)) == before
        first, secure = stage.base.listen
        for _ in range(3):
            ours = authority.issue(stage.lease.addresses.daemon)
            renewed = replace(secure, tls=_tls(authority, ours))
            stage.base = replace(stage.base, listen=(first, renewed))
            stage.told.clear()
            stage.endpoint.apply(stage.base)
            place = f"tls:{secure.address}:{TLS_PORT}"
            assert [(note.event, note.fields) for note in stage.told] == [
                ("certificate.renewed", (("transport", place),))
            ]
            serial = _serial(_connected(stage))
            assert serial != before
            before = serial
        stage.told.clear()
        stage.endpoint.apply(stage.base)
        assert not stage.told, "the same again is no renewal"
        stage.hang_up(a)
        b, _ = stage.establish(*_bodies(stage))
        stage.hang_up(b)


# ---- a registrar that is named


@pytest.mark.parametrize("made_out_to", ["registrar.example", "other.example"])
def test_a_named_registrar_s_certificate_must_be_that_of_its_name(
    authority: Authority, made_out_to: str
) -> None:
    with Lease.take() as lease:
        where = lease.addresses
        names = where.daemon.rpartition(".")[0] + ".53"
        zone = {("registrar.example", "A"): (where.callee,)}
        secure = Listen("tls", where.daemon, TLS_PORT, "", _tls(authority, authority.issue(where.daemon)))
        registrar = Target("registrar.example", TLS_PORT, "tls")

        def configure(settings: SipSettings) -> SipSettings:
            return replace(settings, listen=(settings.listen[0], secure))

        with (
            NameServer(names, zone),
            bench(lease=lease, nameservers=(names,), configure=configure) as stage,
        ):
            context = authority.server(authority.issue(made_out_to))
            proxy = (where.daemon, TLS_PORT)
            server = StreamWire(where.callee, TLS_PORT, proxy, context=context, serves=True)
            stage.more(server)
            stage.trunk("carrier", credentials=Credentials(registrar, "0201234567", "secret", 600))
            if made_out_to != registrar.host:
                stage.until(lambda: bool(stage.told), "the failure")
                assert stage.told[0].event == "registration.failed"
                assert not server.inbox
            else:
                request = stage.receive(server, "REGISTER")
                assert request.uri == f"sip:registrar.example:{TLS_PORT};transport=tls"
                assert request.one("to") == "<sip:0201234567@registrar.example>"
            server.close()


# ---- connections


def _tcp(stage: Bench, address: str) -> StreamWire:
    wire = StreamWire(address, 5070, (stage.lease.addresses.daemon, 5060))
    stage.more(wire)
    return wire


def test_a_stranger_s_connection_is_closed_at_once() -> None:
    with bench() as stage:
        stranger = _tcp(stage, stage.lease.addresses.foreign)
        stage.until(lambda: stranger.links[0].closed, "the end of the connection")
        assert stage.endpoint.counters()["links_refused"] == 1
        stranger.close()


def test_one_connection_too_many_is_closed() -> None:
    with bench(configure=lambda settings: replace(settings, max_connections=3)) as stage:
        wire = _tcp(stage, stage.lease.addresses.caller)
        for _ in range(3):
            wire.connect()
        stage.until(lambda: any(link.closed for link in wire.links), "the end of one")
        assert [link.closed for link in wire.links].count(True) == 1
        a, _ = stage.establish(*_bodies(stage))
        stage.hang_up(a)
        wire.close()


def _bare(stage: Bench, address: str) -> StreamWire:
    """A connection to the TLS port on which not a word of TLS is said."""
    wire = StreamWire(address, 5071, (stage.lease.addresses.daemon, TLS_PORT))
    stage.more(wire)
    return wire


def test_a_stranger_s_handshake_takes_no_place(authority: Authority) -> None:
    with tls_bench(authority) as stage:
        stranger = _bare(stage, stage.lease.addresses.foreign)
        for _ in range(99):
            stranger.connect()
        stage.until(lambda: all(link.closed for link in stranger.links), "the end of them")
        assert stage.endpoint.counters()["links_refused"] == 100
        a, _ = stage.establish(*_bodies(stage))
        stage.hang_up(a)
        stranger.close()


def test_unfinished_handshakes_count_for_their_address_alone(authority: Authority) -> None:
    with tls_bench(authority, limit=3) as stage:
        a, _ = stage.establish(*_bodies(stage))  # one of the three
        slow = _bare(stage, stage.lease.addresses.caller)
        for _ in range(4):
            slow.connect()
        stage.until(lambda: [link.closed for link in slow.links].count(True) == 3, "the end of three")
        stage.hang_up(a)
        slow.close()  # they give up: their places are free again
        a, _ = stage.establish(*_bodies(stage))
        again = [_bare(stage, stage.lease.addresses.caller) for _ in range(2)]
        stage.hang_up(a)
        assert not [link for wire in again for link in wire.links if link.closed]
        for wire in again:
            wire.close()


@pytest.mark.parametrize("first", [b"", b"whole"])
def test_a_message_that_never_ends_closes_its_connection_and_no_call(first: bytes) -> None:
    with bench() as stage:
        wire = _tcp(stage, stage.lease.addresses.caller)
        a, _ = stage.establish(*_bodies(stage))
        if first:
            ask = Dialog.calling(wire)
            wire.send(ask.request("OPTIONS"))
            stage.receive(wire, "200")
        wire.send(b"INVITE sip:0201234567@192.0.2.1 SIP/2.0\r\nContent-Length: 4000\r\n\r\nv=0\r\n")
        stage.until(lambda: wire.links[0].closed, "the end of the connection")
        stage.hang_up(a)
        wire.close()


def test_a_giant_message_closes_its_connection_and_no_call() -> None:
    with bench() as stage:
        wire = _tcp(stage, stage.lease.addresses.caller)
        a, _ = stage.establish(*_bodies(stage))
        ask = Dialog.calling(wire)
        wire.send(ask.request("OPTIONS"))
        stage.receive(wire, "200")
        wire.send(ask.request("OPTIONS", more=(("X-Long", "x" * 100_000),)))
        stage.until(lambda: wire.links[0].closed, "the end of the connection")
        stage.hang_up(a)
        wire.close()


# ---- both sides of a NAT


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_each_socket_tells_its_own_address(transport: str) -> None:
    public = "198.51.100.7"

    def configure(settings: SipSettings) -> SipSettings:
        return replace(
            settings,
            listen=tuple(
                replace(listen, advertise=public) if listen.transport == transport else listen
                for listen in settings.listen
            ),
        )

    with bench(configure=configure) as stage:
        where = stage.lease.addresses
        if transport == "tcp":
            stage.caller.close()
            stage.caller = StreamWire(where.caller, 5070, (where.daemon, 5060))
        a, b = stage.establish(*_bodies(stage))
        told = a.target.partition("@")[2].partition(";")[0]
        assert told == f"{public}:5060"
        other = public if transport == "udp" else where.daemon  # the callee is called over UDP
        assert b.target.partition("@")[2] == f"{other}:5060"
        if transport == "tcp":
            a.target = f"sip:recproxy@{where.daemon}:5060"
        stage.hang_up(a)


# ---- IPv6


def _dual(transport: str, side: str, port: int, peer: int) -> Callable[[SipSettings], SipSettings]:
    """One of the neighbours is at ``peer`` of ::1, where the endpoint is at ``port``."""

    def configure(settings: SipSettings) -> SipSettings:
        four, (office, carrier) = settings.listen, settings.trunks
        target = (Target("[::1]", peer, transport),)
        if side == "callee":
            carrier = replace(carrier, peers=("::1",), targets=target)
        else:
            office = replace(office, peers=("::1/128",), targets=target)
        listen = (*four, Listen("udp", "::1", port), Listen("tcp", "::1", port))
        return replace(settings, listen=listen, trunks=(office, carrier))

    return configure


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_call_between_ipv6_and_ipv4(transport: str, side: str) -> None:
    port, peer = free_port(), free_port()
    with bench(configure=_dual(transport, side, port, peer)) as stage:
        here, proxy = "::1", ("::1", port)
        six = (
            Wire(here, peer, proxy)
            if transport == "udp"
            else StreamWire(here, peer, proxy, serves=side == "callee")
        )
        getattr(stage, side).close()
        setattr(stage, side, six)
        a, b = stage.establish(*_bodies(stage))
        ours = a if side == "caller" else b
        other = b if side == "caller" else a
        assert ours.target.startswith(f"sip:recproxy@[::1]:{port}")
        assert other.target.startswith(f"sip:recproxy@{stage.lease.addresses.daemon}:5060")
        invite = stage.mirror.seen(InviteReceived)[0]
        assert invite.facts.trunk == "office"
        stage.hang_up(a)
