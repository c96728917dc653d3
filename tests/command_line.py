"""The command line inside the test process: quick, with both streams and the exit code."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from recproxy.cli.entry import invoke


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did.

    Attributes:
        code: Its exit code.
        raw: Standard output.
        err: Standard error.
    """

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.raw.decode()


def recproxy(*arguments: object, stdin: bytes = b"") -> Done:
    """Run ``recproxy`` with these words; every one is made a text."""
    out, err = io.BytesIO(), io.BytesIO()
    with _streams(out, err, stdin):
        code = invoke([str(one) for one in arguments])
    return Done(code, out.getvalue(), err.getvalue().decode())


@contextlib.contextmanager
def _streams(out: io.BytesIO, err: io.BytesIO, stdin: bytes) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr
    texts = [io.TextIOWrapper(stream, encoding="utf-8", write_through=True) for stream in (out, err)]
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    sys.stdout, sys.stderr = texts
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        for text in texts:
            text.flush()
            text.detach()
