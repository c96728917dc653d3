"""An S3 server of a test on loopback: moto's, behind a gate that can refuse, cut or spoil what passes."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from storage.s3 import Bucket, BucketPlace

REGION = "eu-central-1"
_numbers = itertools.count(1)  # what moto holds is of the process, not of a server
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - its parent's
        """Say nothing."""


@dataclass(slots=True)
class Gate:
    """What stands before the server.

    Attributes:
        seen: Method and key of each request, and the number of its part, if it is one.
        refuse: How many of the next requests get 503.
        refuses: Which requests ``refuse`` is for.
        cut: How many of the next answers with a body end in the middle.
        spoil: Changes the body of each answer to GET.
    """

    seen: list[str] = field(default_factory=list)
    refuse: int = 0
    refuses: Callable[[str], bool] = lambda _what: True
    cut: int = 0
    spoil: Callable[[bytes], bytes] | None = None
    _inner: Any = None

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING", "")
        part = next((word for word in query.split("&") if word.startswith("partNumber=")), "")
        what = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {part}".strip()
        self.seen.append(what)
        if self.refuse and self.refuses(what):
            self.refuse -= 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(f"{HTTPStatus.SERVICE_UNAVAILABLE} Slow Down", [("Content-Type", "application/xml")])
            return [_SLOW_DOWN]
        answer: Iterable[bytes] = self._inner(environ, start)
        is_object = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].endswith(".age")
        if is_object and self.cut:
            self.cut -= 1
            whole = b"".join(answer)
            return [whole[: len(whole) // 2]]
        if is_object and self.spoil is not None:
            return [self.spoil(b"".join(answer))]
        return answer


@dataclass(slots=True)
class S3Server:
    """A running server.

    Attributes:
        endpoint: Its URL.
        gate: What stands before it.
    """

    endpoint: str
    gate: Gate

    def place(self, prefix: str = "rec/") -> BucketPlace:
        """A place for a bucket of its own; the bucket is made."""
        place = BucketPlace(
            name=f"recordings-{next(_numbers)}",
            region=REGION,
            endpoint=self.endpoint,
            prefix=prefix,
            access_key="AKIATEST",
            secret_key="secret of the tests",  # noqa: S106 - of a server that lives as long as a test
        )
        client(Bucket(place)).create_bucket(
            Bucket=place.name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.gate.seen.clear()
        return place

    def bucket(self, prefix: str = "rec/") -> Bucket:
        """A fresh, empty bucket."""
        return Bucket(self.place(prefix))


def client(bucket: Bucket) -> Any:
    """The client of a bucket, to look behind it."""
    return bucket._client


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server on a port of 127.0.0.1; what it holds is gone afterwards."""
    gate = Gate()
    gate._inner = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, gate, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, name="s3")
    thread.start()
    try:
        yield S3Server(f"http://127.0.0.1:{server.server_port}", gate)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
