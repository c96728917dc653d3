"""A trunk above its rate, and more calls than can be set up: who is refused, and that the others are not."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sdp_bodies
import yaml
from daemon import SIP_PORT, Settings, eventually
from rig import NUMBER, Rig
from softphone import PeerError, Softphone

pytestmark = pytest.mark.interop

RATE, BURST = 5, 5
GREEDY_CALLS, CALM_CALLS = 100, 10
OFFERED, OFFERED_RATE = 3000, 300  # more than twice what two cores set up, announced and recorded
SCENARIOS = Path(__file__).parent / "interop"


def _two_trunks(rig: Rig) -> None:
    """The stranger's address becomes a second carrier; the first one gets a limit."""
    here = rig.lease.addresses
    document = yaml.safe_load(rig.daemon.config.read_text())
    trunks = document["trunks"]
    trunks["calm"] = {
        **trunks["carrier"],
        "peers": [here.foreign],
        "targets": f"sip:{here.foreign}:{SIP_PORT};transport=udp",
    }
    trunks["carrier"] |= {"max_rate": RATE, "max_burst": BURST}
    rig.daemon.config.write_text(yaml.safe_dump(document))


@contextlib.contextmanager
def _answered(callee: Softphone) -> Iterator[None]:
    """The callee answers every call that reaches it."""
    over = threading.Event()

    def answer() -> None:
        while not over.is_set():
            with contextlib.suppress(PeerError):  # none came meanwhile
                callee.next_call(within_s=0.1).answer(sdp_bodies.audio(callee.address, 6000))

    thread = threading.Thread(target=answer, name="callee")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_trunk_above_its_rate_is_refused_the_surplus_and_no_other_trunk_notices(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(Settings(max_calls=200, ports=2000))
    here = rig.lease.addresses
    _two_trunks(rig)
    rig.daemon.start()
    with Softphone(here.foreign) as calm, _answered(rig.callee):
        began = time.monotonic()
        greedy, quiet = [], []
        for turn in range(GREEDY_CALLS):
            greedy.append(rig.caller.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(here.caller, 6000)))
            if turn % (GREEDY_CALLS // CALM_CALLS) == 0:
                quiet.append(calm.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(here.foreign, 6000)))
        answers = [dialog.wait_response(200) for dialog in greedy]
        lasted_s = time.monotonic() - began
        for dialog in quiet:
            dialog.wait_answer()
        refused = [answer for answer in answers if answer.code >= 300]
        taken = [dialog for dialog, answer in zip(greedy, answers, strict=True) if answer.code < 300]
        print(f"{len(taken)} of {GREEDY_CALLS} taken, {len(refused)} refused within {lasted_s:.1f} s")
        assert BURST <= len(taken) <= BURST + RATE * lasted_s + 1
        assert {answer.code for answer in refused} == {503}
        assert all(int(answer.one("retry-after")) >= 1 for answer in refused)
        for dialog in [*taken, *quiet]:
            dialog.bye()
    over = len(taken) + len(quiet)
    eventually(lambda: len(rig.daemon.said("call.ended")) >= over, within_s=30, what="all to end")


def _sipp(directory: Path, scenario: str, address: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (directory / f"{scenario}.out").open("wb") as out:
        return subprocess.Popen(
            [
                *("sipp", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-nostdin", "-i", address),
                *("-p", str(SIP_PORT), "-t", "u1", "-buff_size", "2097152", "-timeout", "120s"),
                *("-timeout_error", "-trace_err", "-error_file", str(directory / f"{scenario}.err")),
                *arguments,
            ],
            cwd=directory,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )


@pytest.mark.load
def test_at_twice_what_it_can_set_up_the_calls_that_are_taken_complete(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = make_rig(Settings(max_calls=600, ports=3000))
    here = rig.lease.addresses
    rig.caller.close()
    rig.callee.close()
    rig.daemon.start()
    callee = _sipp(tmp_path, "load_callee", here.callee)
    load = ("-m", str(OFFERED), "-r", str(OFFERED_RATE), "-l", str(OFFERED), "-s", NUMBER)
    caller = _sipp(tmp_path, "load_caller", here.caller, *load, f"{here.daemon}:{SIP_PORT}")
    began = time.monotonic()
    try:
        status = caller.wait(150)
        lasted_s = time.monotonic() - began
    finally:
        for process in (caller, callee):
            process.kill()
            process.wait()
    errors = tmp_path / "load_caller.err"
    assert status == 0, errors.read_text()[-1500:] if errors.exists() else "sipp says nothing"
    answered = len(rig.daemon.said("call.answered"))
    print(f"{answered} of {OFFERED} calls taken within {lasted_s:.1f} s: {answered / lasted_s:.0f} calls/s")
    assert 0 < answered < OFFERED, "at this rate some are refused"
    offered = len(rig.daemon.said("call.offered"))
    eventually(lambda: len(rig.daemon.said("call.ended")) == offered, within_s=30, what="all calls to end")
    assert rig.daemon.alive
