"""How large blocks of memory come and go; in a process of its own, since it is the process that is set."""

from __future__ import annotations

import json
import subprocess
import sys

_ASKED = """
import ctypes, json
from recproxy.allocation import return_large_blocks

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
{set}
libc.free(libc.malloc(4 << 20))  # from now on glibc would take all up to this size from its heap
counts = []
for size in (1 << 20, 64 << 10):
    before = libc.mallinfo2().hblks
    block = libc.malloc(size)
    counts.append(libc.mallinfo2().hblks - before)
    libc.free(block)
print(json.dumps(counts))
"""


def _mapped(setting: str) -> list[int]:
    """How many mappings a block of 1 MiB makes, and one of 64 KiB."""
    argv = [sys.executable, "-c", _ASKED.format(set=setting)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    counts: list[int] = json.loads(done.stdout)
    return counts


def test_a_large_block_is_given_back_whatever_was_freed_before() -> None:
    assert _mapped("") == [0, 0], "glibc takes it from its heap: what is set is not needed any more"
    assert _mapped("return_large_blocks()") == [1, 0]
