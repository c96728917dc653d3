"""20,000 calls, and calls that stand for an hour: what is used is given back, no leg is left.

``make soak`` runs it. RECPROXY_SOAK_SECONDS, RECPROXY_SOAK_STANDING, RECPROXY_SOAK_CALLS and
RECPROXY_SOAK_RATE (calls a second) say how much of it. On a machine that others use as well some
calls may be refused with 503: RECPROXY_SOAK_REFUSED says how many of each 2,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sdp_bodies
from daemon import SIP_PORT, Daemon, Purpose, Settings, eventually
from processes import Process
from rig import NUMBER, Rig
from softphone import Dialog
from standing_media import StandingMedia, Stream

pytestmark = [pytest.mark.interop, pytest.mark.load, pytest.mark.soak]

BENCH = Path(__file__).parent.parent / "bench"
SECONDS = int(os.environ.get("RECPROXY_SOAK_SECONDS", "3600"))
STANDING = int(os.environ.get("RECPROXY_SOAK_STANDING", "40"))
CALLS = int(os.environ.get("RECPROXY_SOAK_CALLS", "20000"))
RATE = int(os.environ.get("RECPROXY_SOAK_RATE", "25"))
REFUSED_MOST = int(os.environ.get("RECPROXY_SOAK_REFUSED", "0"))
HOLD_MS = 4000
ROUND = 2000  # calls of one run of the load generator
REFRESH_S = 90
GROWTH_MAX_KIB = 20 * 1024
TRIM_S = 70  # the daemon gives memory back once a minute
TRANSACTION_S = 40  # a finished transaction is remembered 32 s
TIMER = (("Supported", "timer"), ("Session-Expires", f"{2 * REFRESH_S};refresher=uac"))


@dataclass(frozen=True, slots=True)
class Used:
    """What the daemon holds.

    Attributes:
        pss_kib: Memory, shared pages by their share.
        descriptors: Open files and sockets.
        threads: Threads.
    """

    pss_kib: int
    descriptors: int
    threads: int

    @classmethod
    def by(cls, daemon: Daemon) -> Used:
        """Look."""
        proc = Path(f"/proc/{daemon.pid}")
        rollup = proc.joinpath("smaps_rollup").read_text()
        pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return cls(pss, len(list(proc.joinpath("fd").iterdir())), len(list(proc.joinpath("task").iterdir())))


def _settled(daemon: Daemon) -> Used:
    """What it holds once the last calls' transactions are forgotten and memory was trimmed."""
    time.sleep(TRANSACTION_S + TRIM_S)  # what is measured is what time gives back
    return Used.by(daemon)


def _wait_ended(daemon: Daemon, calls: int) -> None:
    eventually(
        lambda: len(daemon.said("call.ended")) == calls, within_s=120, what=f"{calls} calls to have ended"
    )


@pytest.fixture(scope="module")
def generator() -> str:
    """Path of the compiled load generator."""
    if not BENCH.is_dir():
        pytest.skip("the load generator is part of the source tree")
    return subprocess.run([BENCH / "build.sh"], capture_output=True, text=True, check=True).stdout.strip()


def _round(generator: str, rig: Rig, calls: int) -> dict[str, Any]:
    here = rig.lease.addresses
    arguments = [
        *("--mode", "setup", "--rate", str(RATE), "--window", str(calls / RATE), "--hold", str(HOLD_MS)),
        *("--sut", f"{here.daemon}:{SIP_PORT}", "--uac", f"{here.caller}:{SIP_PORT}"),
        *("--uas", f"{here.callee}:{SIP_PORT}"),
    ]
    with Process([generator, *arguments], name="load") as load:
        load.wait(within_s=calls / RATE + 120)
        last = load.lines[-1]
        assert last.startswith("RESULT "), "\n".join(load.lines)
        result: dict[str, Any] = json.loads(last.removeprefix("RESULT "))
    return result


def _nothing_left(rig: Rig, before: Used, calls: int) -> Used:
    """All calls over, all that they used given back; says what was measured."""
    daemon = rig.daemon
    _wait_ended(daemon, calls)
    after = _settled(daemon)
    grown = (after.pss_kib - before.pss_kib) / 1024
    print(f"{calls} calls: before {before}, after {after}, {grown:.1f} MiB more")
    assert len(daemon.said("call.offered")) == calls
    assert after.descriptors <= before.descriptors
    assert after.threads <= before.threads
    assert after.pss_kib - before.pss_kib < GROWTH_MAX_KIB
    started = time.monotonic()
    assert daemon.stop(within_s=20) == 0
    assert time.monotonic() - started < 5, "a leg that is left holds the stop up"
    return after


def test_twenty_thousand_calls_leave_nothing(make_rig: Callable[..., Rig], generator: str) -> None:
    rig = make_rig(Settings(max_calls=RATE * 12, ports=RATE * 60))
    rig.caller.close()
    rig.callee.close()
    rig.daemon.start()
    done = 0
    before = None
    while done < CALLS + ROUND:
        result = _round(generator, rig, ROUND)
        assert result["answered"] + result["failed"] == ROUND, json.dumps(result)
        assert result["failed"] <= REFUSED_MOST, json.dumps(result)
        assert result["last_failure"] in {0, 503}, json.dumps(result)
        done += result["answered"]
        print(f"{done} calls, {result['failed']} refused: {Used.by(rig.daemon)}", flush=True)
        if before is None:  # the first round fills caches and pools
            _wait_ended(rig.daemon, done)
            before = _settled(rig.daemon)
    assert before is not None
    _nothing_left(rig, before, done)
    assert len(rig.daemon.said("recording.sealed")) == done, "every call was announced and recorded"


@dataclass(slots=True)
class _Standing:
    caller: Dialog
    callee: Dialog
    left: Stream
    right: Stream


def _stand(rig: Rig, media: StandingMedia) -> _Standing:
    here = rig.lease.addresses
    left, right = media.pair(here.caller, here.callee)
    caller = rig.caller.invite(
        NUMBER, rig.daemon.sip, sdp_bodies.audio(left.address, left.port), headers=TIMER
    )
    callee = rig.callee.next_call()
    callee.ring()
    # The callee's side has us refresh, the caller's side refreshes by itself.
    callee.answer(
        sdp_bodies.audio(right.address, right.port),
        headers=(("Require", "timer"), ("Session-Expires", f"{REFRESH_S};refresher=uac")),
    )
    caller.wait_answer()
    left.target = sdp_bodies.media_target(caller.remote_sdp)
    right.target = sdp_bodies.media_target(callee.remote_sdp)
    return _Standing(caller, callee, left, right)


def _stand_all(rig: Rig, media: StandingMedia, opened: int) -> list[_Standing]:
    """Set calls up until so many recordings were opened in all."""
    calls = [_stand(rig, media) for _ in range(STANDING)]
    eventually(
        lambda: len(rig.daemon.said("recording.opened")) == opened, within_s=60, what="all to be recorded"
    )
    return calls


def _hang_up(media: StandingMedia, calls: list[_Standing]) -> None:
    media.hush()
    time.sleep(0.5)  # what is under way still arrives
    sent = sum(call.left.sent + call.right.sent for call in calls)
    received = sum(call.left.received + call.right.received for call in calls)
    print(f"{sent} packets sent, {received} received")
    for call in calls:
        call.caller.bye()
        assert call.callee.wait_ended()


def test_calls_that_stand_for_an_hour_leave_nothing(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(Settings(purposes={"training": Purpose(retention="P1D")}))
    rig.daemon.start()
    with StandingMedia() as media:
        calls = _stand_all(rig, media, STANDING)  # a first set fills caches and pools
        time.sleep(REFRESH_S)
        _hang_up(media, calls)
        _wait_ended(rig.daemon, STANDING)
        before = _settled(rig.daemon)
        calls = _stand_all(rig, media, 2 * STANDING)
        standing = Used.by(rig.daemon)
        until = time.monotonic() + SECONDS
        refreshes = 0
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(REFRESH_S, left))
            for call in calls:
                assert not call.caller.ended.is_set()
                assert not call.callee.ended.is_set()
                answer = call.caller.request("UPDATE", headers=TIMER)
                assert answer.code == 200, answer.start
                refreshes += 1
            print(f"{SECONDS - left:.0f} s: {Used.by(rig.daemon)}, {refreshes} refreshes by the caller")
        grown = Used.by(rig.daemon).pss_kib - standing.pss_kib
        print(f"while they stood: {grown / 1024:.1f} MiB more")
        assert grown < GROWTH_MAX_KIB
        ours = [message for message in rig.callee.received if message.method == "UPDATE"]
        print(f"{len(ours)} refreshes by us")
        assert len(ours) >= STANDING * (SECONDS // REFRESH_S)
        _hang_up(media, calls)
    _nothing_left(rig, before, 2 * STANDING)
    sealed = rig.daemon.said("recording.sealed")
    assert len(sealed) == 2 * STANDING
    for said in sealed[STANDING:]:
        assert said["ring_dropped"] == 0
        assert said["frames"] >= (SECONDS - 2) * 8000
