"""Clients of the API that take their time, or never ask: nobody else waits for them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from api_stage import Stage, headers, stage
from certificates import Authority
from recorded import Take, make_shelf, record

from recproxy.api import connection
from recproxy.api.server import ApiThread, Place, bind, tls_context
from recproxy.config import ApiListen, IpAddress

PATIENCE_S = 30
SHORT_S = 0.5
BEGINNINGS = (
    b"",
    b"GET /v1/me HTTP/1.1\r\nHost: rec",
    b"POST /v1/holds HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Stage]:
    shelf = make_shelf(tmp_path / "rig")
    record(shelf, Take(1))
    with stage(shelf, index=False) as made:
        yield made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", SHORT_S)


def connect(port: int, begin: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    sock.sendall(begin)
    return sock


def is_closed(sock: socket.socket) -> bool:
    """Whether the other side ends it, once it has said what it had to say."""
    try:
        while sock.recv(4096):
            pass
    except ConnectionError:
        return True
    return True


def ask(port: int) -> int:
    return httpx.get(
        f"http://127.0.0.1:{port}/v1/me", headers=headers("auditor"), timeout=PATIENCE_S
    ).status_code


def test_more_slow_clients_than_there_are_places_shut_nobody_out(api: Stage) -> None:
    with contextlib.ExitStack() as stack:
        for turn in range(connection.MOST_CONNECTIONS + 40):
            sock = connect(api.port, BEGINNINGS[turn % len(BEGINNINGS)])
            stack.enter_context(contextlib.closing(sock))
        for _ in range(5):
            assert ask(api.port) == 200
        assert api.get("/v1/me", by="auditor").status_code == 200, "on the other socket too"


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_request_that_does_not_come_whole_is_not_waited_for(api: Stage, begin: bytes) -> None:
    with contextlib.closing(connect(api.port, begin)) as sock:
        assert is_closed(sock)


@pytest.mark.usefixtures("hasty")
def test_a_byte_now_and_then_is_no_reason_to_wait_longer(api: Stage) -> None:
    over = threading.Event()

    def trickle(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not over.wait(SHORT_S / 10):
                sock.sendall(b"x")

    with contextlib.closing(connect(api.port, BEGINNINGS[1])) as sock:
        sender = threading.Thread(target=trickle, args=(sock,))
        sender.start()
        assert is_closed(sock)
        over.set()
        sender.join()


def test_a_second_request_on_a_connection_has_its_time_too(
    api: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        connection, "REQUEST_S", 3.0
    )  # whoever sends at once is in time, on a slow machine too
    client = HTTPConnection("127.0.0.1", api.port, timeout=PATIENCE_S)
    with contextlib.closing(client):
        for _ in range(2):
            client.request("GET", "/v1/me", headers=headers("auditor"))
            answer = client.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
        client.sock.sendall(BEGINNINGS[1])
        assert is_closed(client.sock)


@pytest.mark.usefixtures("hasty")
def test_half_a_handshake_is_not_waited_for(tmp_path: Path) -> None:
    ours = Authority(tmp_path).issue("127.0.0.1")
    listen = ApiListen(
        address=IpAddress("127.0.0.1"), port=0, tls_certificate=ours.certificate, tls_key=ours.key
    )
    bound = bind(listen)
    thread = ApiThread(_nobody, [Place(listen, bound, tls_context(listen))], lambda _why: None)
    thread.start()
    hello = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="x").do_handshake()
    try:
        with contextlib.closing(connect(bound.getsockname()[1], hello.read()[:40])) as sock:
            assert is_closed(sock)
    finally:
        thread.stop()


async def _nobody(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("nobody got in")
