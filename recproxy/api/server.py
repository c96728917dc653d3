"""The thread that serves the API: one event loop, a server for each socket.

Nothing of it runs on the signalling thread, and nothing that it does can end the daemon.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import uvicorn
from starlette.types import ASGIApp

from recproxy.api.connection import ApiConnection, ApiLoop
from recproxy.certificates import KeyPair, read_pair
from recproxy.config import ApiListen

__all__ = ["ApiThread", "Place", "RenewableTls", "bind", "read_certificate", "tls_context"]

_BACKLOG: Final = 64
_KEEP_ALIVE_S: Final = 15
_GRACE_S: Final = 3
_OTHERS: Final = 0o037  # a group may read the key


@dataclass(frozen=True, slots=True)
class Place:
    """A bound socket.

    Attributes:
        listen: What the configuration says of it.
        socket: Bound, not listening yet.
        tls: For TLS; None without.
    """

    listen: ApiListen
    socket: socket.socket
    tls: RenewableTls | None


class RenewableTls(ssl.SSLContext):
    """Makes each connection by the certificate of that moment; those that stand keep theirs.

    Every renewal is a context of its own: one that is given a second certificate of another
    kind of key goes on showing the first to clients that prefer it.

    Args:
        pair: The certificate and its key.
    """

    def __new__(cls, _pair: KeyPair) -> Self:
        """Make the outside of it; ``_newest`` is what connections are made by."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, pair: KeyPair) -> None:
        self._pair = pair
        self._newest = _showing(pair)

    def renew(self, pair: KeyPair) -> bool:
        """Take this one from now on; any thread.

        Returns:
            Whether it is another.
        """
        if pair == self._pair:
            return False
        self._newest = _showing(pair)
        self._pair = pair
        return True

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401  -- handed on as it is
        """Begin a connection, as the event loop does."""
        return self._newest.wrap_bio(*args, **options)


def _showing(pair: KeyPair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    pair.load(context)
    return context


def read_certificate(listen: ApiListen) -> KeyPair | None:
    """Read the certificate of a socket and its key; None if it has none.

    Raises:
        ConfigError: A file cannot be read, or the key does not fit.
    """
    if listen.tls_certificate is None or listen.tls_key is None:
        return None
    return read_pair("api.listen", listen.tls_certificate, listen.tls_key, prefix="tls_", others=_OTHERS)


def tls_context(listen: ApiListen) -> RenewableTls | None:
    """Load the certificate of a socket; None if it has none.

    Raises:
        ConfigError: See ``read_certificate``.
    """
    pair = read_certificate(listen)
    return None if pair is None else RenewableTls(pair)


def bind(listen: ApiListen) -> socket.socket:
    """Bind a socket of the API; from then on nobody is turned away, though no thread serves yet.

    Raises:
        OSError: It cannot be bound.
    """
    if listen.unix is not None:
        return _bind_unix(listen.unix, int(listen.mode, 8))
    family = socket.AF_INET6 if ":" in str(listen.address) else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((str(listen.address), listen.port))
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _bind_unix(path: Path, mode: int) -> socket.socket:
    """Bind a Unix socket; one that an earlier run left is taken away."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(mode)
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


class ApiThread:
    """Serves an application on bound sockets until it is stopped.

    Args:
        app: The application.
        places: Where.
        failed: Told of what goes wrong; any thread.
    """

    def __init__(self, app: ASGIApp, places: Sequence[Place], failed: Callable[[str], None]) -> None:
        self._places = tuple(places)
        self._failed = failed
        self._servers = [_server(app, place) for place in self._places]
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        _tell_of_uvicorn(self._failed)
        self._thread.start()

    def stop(self) -> None:
        """Let requests end, for some seconds, and end the thread."""
        for server in self._servers:
            server.should_exit = True
        self._thread.join(_GRACE_S + 2)
        for place in self._places:
            place.socket.close()
            if place.listen.unix is not None:
                with suppress(FileNotFoundError):
                    place.listen.unix.unlink()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=ApiLoop) as runner:
                runner.run(self._serve())
        except Exception as err:  # noqa: BLE001 - the boundary: calls go on without an API
            self._failed(f"the API has stopped: {type(err).__name__}: {err}")

    async def _serve(self) -> None:
        await asyncio.gather(
            *(
                server.serve(sockets=[place.socket])
                for server, place in zip(self._servers, self._places, strict=True)
            )
        )


def _server(app: ASGIApp, place: Place) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=ApiConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    config.load()
    config.ssl = place.tls
    return uvicorn.Server(config)


class _ToEventLog(logging.Handler):
    """What uvicorn has to say that matters, without any request's content."""

    def __init__(self, failed: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._failed = failed

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of one record."""
        cause = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        self._failed(f"{record.name}: {cause or str(record.msg).splitlines()[0]}")


def _tell_of_uvicorn(failed: Callable[[str], None]) -> None:
    for name in ("uvicorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [_ToEventLog(failed)]
        logger.propagate = False
