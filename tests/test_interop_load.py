"""Fifty calls at once for a minute: none lost, no packet lost, each of them recorded whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon import SIP_PORT, Settings
from processes import Process
from rig import Rig

pytestmark = [pytest.mark.interop, pytest.mark.load]

BENCH = Path(__file__).parent.parent / "bench"
CALLS = 50
WINDOW_S = 60
SETTLE_S = 5


@pytest.fixture(scope="session")
def generator() -> str:
    """Path of the compiled load generator."""
    if not BENCH.is_dir():
        pytest.skip("the load generator is part of the source tree")
    return subprocess.run([BENCH / "build.sh"], capture_output=True, text=True, check=True).stdout.strip()


def _generate(generator: str, *arguments: str) -> dict[str, Any]:
    with Process([generator, *arguments], name="load") as load:
        load.wait(within_s=300)
        last = load.lines[-1]
        assert last.startswith("RESULT "), "\n".join(load.lines)
        result: dict[str, Any] = json.loads(last.removeprefix("RESULT "))
    print(last)
    return result


def test_fifty_calls_at_once_for_a_minute_lose_nothing(make_rig: Callable[..., Rig], generator: str) -> None:
    rig = make_rig(Settings(max_calls=60, ports=400))
    here = rig.lease.addresses
    rig.caller.close()
    rig.callee.close()
    rig.daemon.start()
    result = _generate(
        generator,
        *("--mode", "sip", "--n", str(CALLS), "--rate", "25"),
        *("--settle", str(SETTLE_S), "--window", str(WINDOW_S)),
        *("--sut", f"{here.daemon}:{SIP_PORT}", "--uac", f"{here.caller}:{SIP_PORT}"),
        *("--uas", f"{here.callee}:{SIP_PORT}"),
    )
    assert (result["answered"], result["failed"], result["unexpected_byes"]) == (CALLS, 0, 0)
    assert result["sent"] >= CALLS * 2 * WINDOW_S * 49
    assert (result["lost"], result["dead_streams"], result["crosstalk"], result["repeated"]) == (0, 0, 0, 0)
    assert result["bypassed"] == 0, "all media went through the relay"
    sealed = _all_sealed(rig)
    assert len({said.recording for said in sealed}) == CALLS
    for said in sealed:
        assert said["frames"] >= (WINDOW_S + SETTLE_S - 4) * 8000
        assert (said["ring_dropped"], said["caller_lost"], said["callee_lost"]) == (0, 0, 0), said.fields
        assert (said["caller_late"], said["callee_late"]) == (0, 0), said.fields
    for said in sealed[:3]:
        rig.daemon.cli(
            "recordings", "verify", said.recording, "--identity", str(rig.daemon.identity), within_s=60
        )
    rig.daemon.cli("audit", "verify")


def _all_sealed(rig: Rig) -> list[Any]:
    at = 0
    for _ in range(CALLS):
        at = rig.daemon.wait("recording.sealed", start=at, within_s=30).index + 1
    return rig.daemon.said("recording.sealed")
