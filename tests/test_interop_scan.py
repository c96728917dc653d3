"""SIPVicious, the scanner that everybody meets: it finds no account, and no call of it gets through."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
import sdp_bodies
import yaml
from digest_client import authorization
from rig import NUMBER, Rig

pytestmark = pytest.mark.interop

BOUND = ("--maximumtime", "10")
TOOLS = "127.0.0.1"  # where SIPVicious sends from, whatever it is told
EXTENSIONS = "4000-4099"  # none of them an emergency number somewhere, as 100 is: those pass
USER, SPOKEN = "pbx", "4711"


@pytest.fixture(params=["a stranger", "a trunk"])
def standing(make_rig: Callable[..., Rig], request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A call that is recorded; INVITEs of the trunk need a password. A stranger scans, or the trunk."""
    rig = make_rig()
    users = rig.directory / "users.txt"
    users.touch(mode=0o600)
    users.write_text(f"{USER}:{SPOKEN}\n")
    document = yaml.safe_load(rig.daemon.config.read_text())
    if request.param == "a trunk":
        document["trunks"]["carrier"]["peers"].append(TOOLS)
    document["trunks"]["carrier"]["authenticate"] = {"realm": "example.org", "users_file": str(users)}
    rig.daemon.config.write_text(yaml.safe_dump(document))
    rig.daemon.start()
    offer = sdp_bodies.audio(rig.caller.address, 6000)
    asked = rig.caller.invite(NUMBER, rig.daemon.sip, offer)
    challenge = asked.wait_response(300).one("proxy-authenticate")
    uri = asked.invite.uri
    answer = ("Proxy-Authorization", authorization(challenge, uri, user=USER, spoken=SPOKEN))
    call = rig.caller.invite(NUMBER, rig.daemon.sip, offer, headers=(answer,))
    callee = rig.callee.next_call()
    callee.answer(sdp_bodies.audio(rig.callee.address, 6000))
    call.wait_answer()
    rig.daemon.wait("recording.opened")
    yield rig
    assert rig.daemon.alive
    call.bye()
    callee.wait_ended()
    rig.daemon.wait("recording.sealed")


def scan(rig: Rig, tool: str, *arguments: str, within_s: float = 60) -> str:
    """Run one of the tools; returns all that it says. It is bounded in time, and comes from 127.0.0.1."""
    with subprocess.Popen(
        [tool, "--localport", "5080", *arguments, rig.lease.addresses.daemon],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=rig.directory,
        env={**os.environ, "HOME": str(rig.directory)},
        stdin=subprocess.DEVNULL,
    ) as running:
        try:
            said, _ = running.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            running.terminate()  # svcrack waits for a challenge, however long
            said, _ = running.communicate()
    print(f"{tool} {' '.join(arguments)}:\n{said}")
    return said


def _accounts(said: str) -> list[str]:
    """Lines of a result that name an account or a password."""
    return [
        line
        for line in said.splitlines()
        if any(word in line for word in ("| reqauth", "| noauth", "| weird", "password for", "| Password"))
        and "Authentication" not in line
    ]


def test_sipvicious_finds_no_account_and_gets_no_call_through(standing: Rig) -> None:
    rig = standing
    before = len(rig.callee.received)
    (rig.directory / "words.txt").write_text("\n".join([*map(str, range(4500, 4700)), SPOKEN]))
    said = scan(rig, "svmap", "--method", "OPTIONS")
    for method in ("REGISTER", "INVITE", "OPTIONS"):
        for force in ((), ("--force",)):
            said += scan(rig, "svwar", *BOUND, "--extensions", EXTENSIONS, "--method", method, *force)
    words = str(rig.directory / "words.txt")
    for method in ("REGISTER", "INVITE"):
        for user in ("4000", USER):
            guess = (*BOUND, "--method", method, "--username", user)
            said += scan(rig, "svcrack", *guess, "--dictionary", words, within_s=5)
        numbers = ("--username", USER, "--range", "4600-4800")
        said += scan(rig, "svcrack", *BOUND, "--method", method, *numbers, within_s=5)
    assert _accounts(said) == []
    through = [message.start for message in rig.callee.received[before:] if message.method == "INVITE"]
    assert through == []
