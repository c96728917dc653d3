"""Asterisk 22 with the trunk in the form that FreePBX writes, from the files of etc/examples/freepbx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sdp_bodies
from listening import find_runs
from pbx_stage import Stage, stage

pytestmark = pytest.mark.pbx


def _one_transport(text: str) -> str:
    """The telephone is at FreePBX's transport as well."""
    return text.replace("transport=udp\n", "transport=192.0.2.10-udp\n")


@pytest.fixture(scope="module")
def freepbx(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Stage]:
    """One provider, one recproxy, one Asterisk as FreePBX configures it."""
    with stage(tmp_path_factory.mktemp("freepbx"), prompts, "freepbx", pjsip=_one_transport) as made:
        yield made


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_telephone_of_freepbx_s_asterisk_is_recorded_both_ways(freepbx: Stage, direction: str) -> None:
    start = freepbx.rig.daemon.mark
    codec = sdp_bodies.PCMA
    caller, callee = (freepbx.to_telephone if direction == "in" else freepbx.from_telephone)(codec=codec)
    opened = freepbx.recorded(start)
    caller.ear.wait_count(len(caller.ear.heard) + 100)
    caller.dialog.bye()
    callee.dialog.wait_ended()
    wave = freepbx.sealed(opened)
    for side, party in enumerate((caller, callee)):
        runs = find_runs(wave.channel(side), party.talk.sent, 0xD5)
        assert (len(runs), runs[0].samples > 1.8 * 8000) == (1, True)


def test_it_finds_recproxy_reachable_and_takes_keys(freepbx: Stage) -> None:
    assert "Avail" in freepbx.asterisk.command("pjsip show contacts")
    call = freepbx.call_in("reads")
    mark = freepbx.asterisk.mark
    pressed = call.dialog.request("INFO", b"Signal=7\r\nDuration=160\r\n", kind="application/dtmf-relay")
    assert pressed.code in {200, 415}, "with dtmf_mode=auto it prefers those in RTP, which were offered"
    if pressed.code == 200:
        freepbx.asterisk.wait_said("pressed was 7", start=mark)
    call.dialog.bye()
