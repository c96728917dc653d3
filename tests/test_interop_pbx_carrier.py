"""Asterisk 22 as the carrier: recproxy registers with it, and answers its challenges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sdp_bodies
from daemon import Purpose, Settings
from listening import find_runs
from pbx_stage import Stage, stage

pytestmark = pytest.mark.pbx

SETTINGS = Settings({"training": Purpose(more={"choice": {"mode": "opt_out", "keys": ["9"]}})})


def _account(text: str) -> str:
    """The trunk is an account with a password, whose address Asterisk learns by its registration."""
    text = text.replace("aors=provider\n", "aors=acme\nauth=acme\nsend_rpid=no\n", 1)
    text = text.replace(
        "[provider]\ntype=aor\ncontact=sip:192.0.2.1:5060\n", "[acme]\ntype=aor\nmax_contacts=1\n"
    )
    return text + "\n[acme]\ntype=auth\nauth_type=digest\nusername=acme\npassword=pw-of-the-test\n"


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Stage]:
    """Asterisk as the carrier; the test is the PBX."""
    directory = tmp_path_factory.mktemp("carrier")
    secret = directory / "password"
    secret.write_text("pw-of-the-test\n")
    secret.chmod(0o600)

    def swapped(document: dict[str, Any]) -> None:
        trunks = document["trunks"]
        trunks["asterisk"] |= {
            "direction": "inbound",
            "register": {
                "registrar": trunks["asterisk"]["targets"].split(";")[0],
                "user": "acme",
                "password_file": str(secret),
                "expires": "PT1M",
            },
        }
        trunks["provider"]["direction"] = "outbound"

    with stage(directory, prompts, change=swapped, pjsip=_account, settings=SETTINGS) as made:
        yield made


def test_recproxy_registers_and_answers_the_challenge_of_each_call(carrier: Stage) -> None:
    carrier.asterisk.wait_said("Added contact")
    assert "acme" in carrier.asterisk.command("pjsip show contacts")
    start = carrier.rig.daemon.mark
    call = carrier.call_in("echo")
    opened = carrier.recorded(start)
    call.ear.wait_count(len(call.ear.heard) + 75)
    call.dialog.bye()
    assert any(line.startswith("Authorization: Digest") for line in carrier.asterisk.process.lines)
    assert len(find_runs(carrier.sealed(opened).channel(1), call.talk.sent)) == 1


def test_a_key_pressed_behind_asterisk_refuses_the_recording(carrier: Stage) -> None:
    start = carrier.rig.daemon.mark
    ear = carrier.rig.peer(carrier.provider.address)
    offer = sdp_bodies.audio(ear.address, ear.port, codecs=(sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT))
    dialog = carrier.provider.invite("presses", carrier.rig.daemon.sip, offer)
    dialog.wait_answer()
    opened = carrier.recorded(start)
    refused = carrier.rig.daemon.wait("choice.refused", call_ref=opened["call_ref"])
    assert refused["by"] == "outside"
    carrier.rig.daemon.wait("recording.discarded", call_ref=opened["call_ref"])
    dialog.bye()
