"""cffi build script: compiles the RTP engine into rtp._native."""

import re
import sys
from pathlib import Path

from cffi import FFI

_HERE = Path(__file__).resolve().parent
_SOURCES = (
    "relay.c",
    "forward.c",
    "io_epoll.c",
    "io_uring.c",
    "uring_requests.c",
    "uring.c",
    "stream.c",
    "playback.c",
    "crypto.c",
    "srtp.c",
    "party.c",
    "packet.c",
    "ring.c",
    "pages.c",
    "priority.c",
    "pace.c",
    "runs.c",
)
_HEADERS = (
    "relay_api.h",
    "engine.h",
    "forward.h",
    "party.h",
    "ring.h",
    "pages.h",
    "priority.h",
    "pace.h",
    "uring.h",
    "uring_side.h",
    "srtp.h",
)

# What cffi generates is not ours to make clean; our own files carry every warning as an error.
_PREAMBLE = """
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include "relay_api.h"
"""

_FLAGS = [
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-Wshadow",
    "-Wvla",
    "-fstack-protector-strong",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=3",
    "-fvisibility=hidden",
    "-pthread",
]


def declarations(header: str) -> str:
    """Reduce the header to what cffi reads: no preprocessor lines.

    Args:
        header: Text of relay_api.h.

    Returns:
        Its declarations.
    """
    return re.sub(r"(?m)^#.*$", "", header)


if sys.platform != "linux":
    raise SystemExit("the RTP engine is written for Linux (epoll, recvmmsg)")

ffibuilder = FFI()
ffibuilder.cdef(declarations((_HERE / "relay_api.h").read_text(encoding="utf-8")))
ffibuilder.set_source(
    "rtp._native",
    _PREAMBLE,
    sources=[f"rtp/{name}" for name in _SOURCES],
    include_dirs=["rtp"],
    depends=[f"rtp/{name}" for name in _HEADERS],
    extra_compile_args=_FLAGS,
    libraries=["srtp2"],
    extra_link_args=["-pthread", "-Wl,-z,relro,-z,now"],
)
