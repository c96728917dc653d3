"""Calls that concern somebody who must not be recorded, though neither end is that number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sdp_bodies
import yaml
from daemon import Purpose, Settings
from policies import KEY, policy_text
from rig import NUMBER, Rig

from recproxy.policy import number_token

pytestmark = pytest.mark.interop

LAWYER = "+31205550199"


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """A daemon that knows a confidential number."""
    made = make_rig(Settings({"training": Purpose()}))
    here = made.daemon.directory
    (here / "confidential.key").write_text(KEY)
    (here / "confidential.key").chmod(0o600)
    (here / "confidential.hmac").write_text(number_token(bytes.fromhex(KEY), LAWYER) + "\n")
    policy = yaml.safe_load(made.daemon.policy.read_text())
    policy["exempt"]["confidential"] = {"file": "confidential.hmac", "key_file": "confidential.key"}
    made.daemon.policy.write_text(policy_text(policy))
    made.daemon.start()
    return made


def decision(rig: Rig, headers: tuple[tuple[str, str], ...], more: str = "") -> object:
    """What is decided of a call with these headers; the callee gets it and is busy."""
    here = rig.lease.addresses
    start = rig.daemon.mark
    rig.caller.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(here.caller, 6000, more=more), headers=headers)
    rig.callee.next_call().reject(486, "Busy Here")
    return rig.daemon.wait("call.offered", start=start)["decision"]


def test_who_diverted_referred_or_hides_counts_and_is_told_to_nobody(rig: Rig) -> None:
    assert decision(rig, ()) == "record"
    for headers in (
        (("Diversion", f"<sip:{LAWYER}@example.org>;reason=no-answer"),),
        (("History-Info", f"<sip:{LAWYER}@example.org>;index=1"),),
        (("Referred-By", f"<sip:{LAWYER}@example.org>"),),
        (("P-Asserted-Identity", f"<tel:{LAWYER}>"), ("Privacy", "id")),
    ):
        assert decision(rig, headers) == "confidential", headers
    assert LAWYER[3:] not in rig.daemon.everything_said


def test_a_call_back_by_an_emergency_service_passes(rig: Rig) -> None:
    assert decision(rig, (("Priority", "psap-callback"),)) == "emergency"


def test_a_telephone_that_does_not_want_to_be_recorded_is_not(rig: Rig) -> None:
    assert decision(rig, (), "a=recordpref:off\r\n") == "preference"
    assert decision(rig, (), "a=recordpref:nopreference\r\n") == "record"
