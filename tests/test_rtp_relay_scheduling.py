"""How soon the threads of the engine get a processor: what was asked for, and what was granted."""

import os
import resource
import subprocess
import sys

import pytest

_ASKING = """
import os, resource, sys
from pathlib import Path
from rtp.relay import Relay
priority = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_RTPRIO, (priority, priority))
with Relay(threads=2, ring_bytes=1 << 16) as relay:
    print(relay.scheduling)
    for task in Path("/proc/self/task").iterdir():
        print((task / "comm").read_text().strip(), os.sched_getscheduler(int(task.name)))
"""

_SHORT_SLICES = (6, 12)  # the first Linux that grants them


def _ask(priority: int) -> tuple[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", _ASKING, str(priority)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    granted, *threads = done.stdout.splitlines()
    return granted, sorted(thread for thread in threads if thread.startswith("rtp-"))


def test_short_slices_are_asked_for_where_real_time_is_not_allowed() -> None:
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    granted, threads = _ask(0)
    assert granted == ("short-slice" if release >= _SHORT_SLICES else "default")
    assert {thread.split()[1] for thread in threads} == {str(os.SCHED_OTHER)}


def test_the_limit_for_real_time_is_the_wish_for_it() -> None:
    if resource.getrlimit(resource.RLIMIT_RTPRIO)[1] < 1:
        pytest.skip("the hard limit forbids real time here")
    granted, threads = _ask(1)
    assert granted == "realtime"
    relay = f"rtp-relay {os.SCHED_FIFO}"
    assert threads == [relay, relay, f"rtp-ticker {os.SCHED_FIFO}"]
