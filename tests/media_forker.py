"""rtpengine of Debian sid as the media half of a recording client, by its control protocol (``ng``).

It relays a call between two RTP peers and forks both voices to a third place, as an
OpenSIPS or Kamailio with SIPREC has it do.
"""

from __future__ import annotations

import itertools
import socket
from pathlib import Path
from typing import TypeAlias

from parties import eventually
from pbx_peers import Resident

Value: TypeAlias = "str | bytes | int | list[Value] | dict[str, Value]"
_NG_PORT = 2223
_cookies = itertools.count(1)


def bencoded(value: Value) -> bytes:
    """A value as the protocol writes it."""
    match value:
        case int():
            return f"i{value}e".encode()
        case str() | bytes():
            text = value.encode() if isinstance(value, str) else value
            return f"{len(text)}:".encode() + text
        case list():
            return b"l" + b"".join(map(bencoded, value)) + b"e"
        case dict():
            pairs = sorted(value.items())
            return b"d" + b"".join(bencoded(key) + bencoded(one) for key, one in pairs) + b"e"


def bdecoded(data: bytes) -> Value:
    """The value that the protocol wrote; texts are bytes."""
    return _read(data, 0)[0]


def _read(data: bytes, at: int) -> tuple[Value, int]:
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in {b"l", b"d"}:
        found: list[Value] = []
        at += 1
        while data[at : at + 1] != b"e":
            one, at = _read(data, at)
            found.append(one)
        if kind == b"l":
            return found, at + 1
        keys = [key.decode() for key in found[::2] if isinstance(key, bytes)]
        return dict(zip(keys, found[1::2], strict=True)), at + 1
    colon = data.index(b":", at)
    start, size = colon + 1, int(data[at:colon])
    return data[start : start + size], start + size


class MediaForker(Resident):
    """rtpengine at one address. A context manager."""

    def __init__(self, directory: Path, address: str) -> None:
        self._ng = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ng.bind((address, 0))
        self._ng.settimeout(1.0)
        self._to = (address, _NG_PORT)
        super().__init__(
            "rtpengine",
            directory,
            {},
            *("rtpengine", "--config-file=none", "--table=-1", f"--interface={address}"),
            *(f"--listen-ng={address}:{_NG_PORT}", "--foreground", "--log-stderr", "--log-level=6"),
            *("--port-min=10000", "--port-max=10999", "--num-threads=1", "--pidfile=/pbx/run/rtpengine.pid"),
        )
        eventually(self._pings, bool)

    def ask(self, command: str, **fields: Value) -> dict[str, Value]:
        """Have it do something; returns what it answers.

        Raises:
            AssertionError: It does not answer, or refuses.
        """
        answer = self._transact({"command": command, **{k.replace("_", "-"): v for k, v in fields.items()}})
        assert answer.get("result") == b"ok", f"{command}: {answer}"
        return answer

    def sdp(self, command: str, **fields: Value) -> bytes:
        """The SDP that it answers with."""
        body = self.ask(command, **fields)["sdp"]
        assert isinstance(body, bytes)
        return body

    def close(self) -> None:
        """End it."""
        self._ng.close()
        super().close()

    def _pings(self) -> bool:
        try:
            return self._transact({"command": "ping"}, tries=1).get("result") == b"pong"
        except AssertionError:
            return False

    def _transact(self, request: dict[str, Value], tries: int = 10) -> dict[str, Value]:
        cookie = f"{next(_cookies)} ".encode()
        for _ in range(tries):
            try:
                self._ng.sendto(cookie + bencoded(request), self._to)
                while True:
                    data = self._ng.recv(65536)
                    if data.startswith(cookie):
                        answer = bdecoded(data.removeprefix(cookie))
                        assert isinstance(answer, dict)
                        return answer
            except (TimeoutError, ConnectionRefusedError):
                continue
        raise AssertionError(f"rtpengine does not answer {request['command']!r}: {self.process.lines[-5:]}")
