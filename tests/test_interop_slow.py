"""Peers that take their time over TCP and TLS: half a message, half a handshake."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import rig as rigs
import yaml
from certificates import Authority
from daemon import eventually
from processes import resident_kib
from rig import NUMBER, Call, Rig

pytestmark = pytest.mark.interop

LIMIT_S = 10  # for the rest of a message, and for a handshake
SLACK_S = 10
PER_ADDRESS = 64  # sip.max_connections
TLS_PORT = 5061
EVERY_S = 0.5
GROWTH_MOST_KIB = 16 * 1024
_serial = itertools.count(1)


class Trickle:
    """Connections that send a beginning at once, then a byte every half second. A context manager."""

    def __init__(self, target: tuple[str, int], senders: Sequence[tuple[str, bytes]]) -> None:
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self._all_closed = threading.Event()
        self._open: dict[socket.socket, bytes] = {}
        self._began_s: dict[socket.socket, float] = {}
        self.lasted_s: list[float] = []
        for source, beginning in senders:
            sock = socket.create_connection(target, timeout=10, source_address=(source, 0))
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
            self._open[sock] = beginning
            self._began_s[sock] = time.monotonic()
        self._sender = threading.Thread(target=self._run, name="trickle")
        self._sender.start()

    def wait_closed(self) -> None:
        """Wait until the other side has closed every one of them.

        Raises:
            AssertionError: Some are open for too long.
        """
        assert self._all_closed.wait(LIMIT_S + SLACK_S), f"{len(self._open)} connections are still open"

    def _run(self) -> None:
        due = time.monotonic()
        while self._open and not self._over.is_set():
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj)
            if time.monotonic() >= due:
                due += EVERY_S
                for sock in list(self._open):
                    self._send(sock)
        if not self._open:
            self._all_closed.set()

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self._closed(sock)

    def _send(self, sock: socket.socket) -> None:
        try:
            sock.send(self._open[sock])
        except ConnectionError:
            self._closed(sock)
        else:
            self._open[sock] = b"x"

    def _closed(self, sock: socket.socket) -> None:
        if self._open.pop(sock, None) is not None:
            self.lasted_s.append(time.monotonic() - self._began_s[sock])
            self._selector.unregister(sock)
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._sender.join()
        for sock in list(self._open):
            self._closed(sock)
        self._selector.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def standing(make_rig: Callable[..., Rig], authority: Authority) -> Iterator[tuple[Rig, Call]]:
    """A call that is recorded, at a daemon with TLS; afterwards the call must have lost nothing."""
    rig = make_rig()
    daemon = rig.lease.addresses.daemon
    ours = authority.issue(daemon)
    document = yaml.safe_load(rig.daemon.config.read_text())
    tls = {"certificate": str(ours.certificate), "key": str(ours.key), "ca": str(authority.path)}
    document["sip"]["listen"].append({"transport": "tls", "address": daemon, "port": TLS_PORT, "tls": tls})
    rig.daemon.config.write_text(yaml.safe_dump(document))
    with rigs.standing(rig) as made:
        yield made


def descriptors(rig: Rig) -> int:
    return len(list(Path(f"/proc/{rig.daemon.pid}/fd").iterdir()))


def options(source: str, daemon: str, transport: str) -> bytes:
    serial = next(_serial)
    return (
        f"OPTIONS sip:{daemon} SIP/2.0\r\nVia: SIP/2.0/{transport} {source}:5070;branch=z9hG4bKs{serial}\r\n"
        f"From: <sip:100@{source}>;tag={serial}\r\nTo: <sip:{daemon}>\r\nCall-ID: s{serial}@{source}\r\n"
        "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def asked(sock: socket.socket, request: bytes) -> bytes:
    """The answer to a request on a connection."""
    sock.settimeout(10)
    sock.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = sock.recv(65_536)
        assert more, "the connection was closed"
        answer += more.lstrip(b"\r\n") if not answer else more
    return answer


def halves(source: str, daemon: str) -> tuple[bytes, ...]:
    """Beginnings of a message: of its first line, its header, and its body."""
    whole = (
        f"INVITE sip:{NUMBER}@{daemon} SIP/2.0\r\nVia: SIP/2.0/TCP {source}:5070;branch=z9hG4bKhalf\r\n"
        f"From: <sip:100@{source}>;tag=1\r\nTo: <sip:{NUMBER}@{daemon}>\r\nCall-ID: half@{source}\r\n"
        "CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n"
        "Content-Length: 4000\r\n\r\nv=0\r\n"
    ).encode()
    return whole[:5], whole[:150], whole, b"\r\n" + whole[:150]


def ready(rig: Rig) -> None:
    """Wait until the burst of handshakes is over: meanwhile new calls may be refused with 503."""
    eventually(lambda: rig.caller.options(rig.daemon.sip).code == 200, within_s=10, what="OPTIONS to get 200")


def another_call(rig: Rig) -> None:
    ready(rig)
    call = rig.dial(seed=2)
    rig.recorded(call)
    rig.talk_on(call, 0.5)
    call.hang_up()
    rig.sealed(call)


def test_half_messages_that_trickle_in_give_their_places_back(standing: tuple[Rig, Call]) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    before, held = descriptors(rig), resident_kib(rig.daemon.pid)
    begins = itertools.cycle(halves(here.caller, here.daemon))
    with Trickle(rig.daemon.sip, [(here.caller, next(begins)) for _ in range(PER_ADDRESS)]) as slow:
        with (
            socket.create_connection(rig.daemon.sip, 10, source_address=(here.caller, 0)) as one_more,
            contextlib.suppress(ConnectionError),  # which is closed as well
        ):
            assert one_more.recv(1) == b""
        another_call(rig)
        slow.wait_closed()
        print(f"closed after {min(slow.lasted_s):.1f} to {max(slow.lasted_s):.1f} s")
    with socket.create_connection(rig.daemon.sip, 10, source_address=(here.caller, 0)) as sock:
        assert asked(sock, options(here.caller, here.daemon, "TCP")).startswith(b"SIP/2.0 200")
    eventually(lambda: descriptors(rig) <= before, within_s=10, what="all descriptors to be given back")
    assert resident_kib(rig.daemon.pid) - held < GROWTH_MOST_KIB


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_stranger_has_no_connection_to_be_slow_on(
    standing: tuple[Rig, Call], authority: Authority, transport: str
) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    before = descriptors(rig)
    first = halves(here.foreign, here.daemon)[1] if transport == "tcp" else _client_hello(authority)[:100]
    place = rig.daemon.sip if transport == "tcp" else (here.daemon, TLS_PORT)
    with Trickle(place, [(here.foreign, first)] * 200) as slow:
        eventually(lambda: descriptors(rig) <= before, within_s=LIMIT_S / 2, what="no handle to be held")
        slow.wait_closed()
        assert max(slow.lasted_s) < LIMIT_S
    another_call(rig)


def _client_hello(authority: Authority) -> bytes:
    outgoing = ssl.MemoryBIO()
    bare = authority.client().wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        bare.do_handshake()
    return outgoing.read()


def test_half_handshakes_give_their_places_back(standing: tuple[Rig, Call], authority: Authority) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    hello = _client_hello(authority)
    before, held = descriptors(rig), resident_kib(rig.daemon.pid)
    place = (here.daemon, TLS_PORT)
    begins = [b"", hello[:3], hello[: len(hello) // 2], hello]
    senders = [(source, begins[turn % 4]) for turn in range(60) for source in (here.foreign, here.caller)]
    with Trickle(place, senders) as slow:
        ready(rig)
        with (
            socket.create_connection(place, 10, source_address=(here.caller, 0)) as bare,
            authority.client().wrap_socket(bare) as sock,
        ):
            assert asked(sock, options(here.caller, here.daemon, "TLS")).startswith(b"SIP/2.0 200")
        another_call(rig)
        slow.wait_closed()
        print(f"closed after {min(slow.lasted_s):.1f} to {max(slow.lasted_s):.1f} s")
    eventually(lambda: descriptors(rig) <= before, within_s=10, what="all descriptors to be given back")
    assert resident_kib(rig.daemon.pid) - held < GROWTH_MOST_KIB


def test_half_a_message_inside_of_tls_closes_the_connection(
    standing: tuple[Rig, Call], authority: Authority
) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    with (
        socket.create_connection((here.daemon, TLS_PORT), 10, source_address=(here.caller, 0)) as bare,
        authority.client().wrap_socket(bare) as sock,
    ):
        assert asked(sock, options(here.caller, here.daemon, "TLS")).startswith(b"SIP/2.0 200")
        sock.sendall(halves(here.caller, here.daemon)[1])
        until = time.monotonic() + LIMIT_S + SLACK_S
        sock.settimeout(EVERY_S)
        closed = False
        while not closed and time.monotonic() < until:
            try:
                closed = sock.recv(1) == b""
            except TimeoutError:
                sock.send(b"x")
            except (ConnectionError, ssl.SSLError):
                closed = True
        assert closed
    another_call(rig)


def test_a_connection_that_is_kept_alive_stays_open(standing: tuple[Rig, Call]) -> None:
    """RFC 5626, section 4.4.1: two line ends are no half message."""
    rig, _ = standing
    here = rig.lease.addresses
    with socket.create_connection(rig.daemon.sip, 10, source_address=(here.caller, 0)) as sock:
        assert asked(sock, options(here.caller, here.daemon, "TCP")).startswith(b"SIP/2.0 200")
        sock.sendall(b"\r\n\r\n")
        until = time.monotonic() + LIMIT_S + 4
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                assert sock.recv(65_536).strip(b"\r\n") == b"", "only an answer to the keep-alive may come"
                pong = True
            except TimeoutError:
                break
            assert pong
        assert asked(sock, options(here.caller, here.daemon, "TCP")).startswith(b"SIP/2.0 200")
