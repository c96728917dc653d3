"""SRTP on the media side: secrets, keys on the real relay, keys that are spent."""

from __future__ import annotations

from collections.abc import Iterator

import parties
import pytest
from media_stage import CALLEE, CALLER, Stage, facts, real_stage
from srtp_model import SrtpModel

from recproxy.call.commands import ConnectMedia, RenewMedia, SetGate, StreamKeys
from recproxy.call.events import SRTP_KEY_BYTES, SRTP_SECRET_BYTES, LegFault, LegName, MediaRenewed
from rtp import SrtpKey, SrtpSuite

AES, GCM = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with real_stage() as made:
        yield made


def keys(suite: str = AES, inbound: int = 1, outbound: int = 2) -> StreamKeys:
    length = SRTP_KEY_BYTES[suite]
    return StreamKeys(suite, bytes([inbound]) * length, bytes([outbound]) * length)


def model(suite: str, fill: int) -> SrtpModel:
    return SrtpModel(SrtpKey(SrtpSuite[suite], bytes([fill]) * SRTP_KEY_BYTES[suite]))


def secure(stage: Stage, leg: LegName, given: StreamKeys | None) -> None:
    place = stage.phones[leg].getsockname()
    stage.media.execute("c1", ConnectMedia(leg, (facts(*place),), (given,)))


def test_the_suites_of_the_call_are_those_of_the_engine() -> None:
    assert {suite.name: suite.key_bytes for suite in SrtpSuite} == SRTP_KEY_BYTES


def test_every_stream_and_leg_has_a_secret_of_its_own(stage: Stage) -> None:
    made = stage.allocate(streams=2)
    found = [media.secret for media in (*made.caller, *made.callee)]
    assert {len(secret) for secret in found} == {SRTP_SECRET_BYTES}
    assert len(set(found)) == len(found)
    assert not any(repr(secret) in repr(made) for secret in found)


def test_a_leg_with_keys_speaks_srtp_and_the_other_does_not(stage: Stage) -> None:
    stage.allocate()
    stage.connect()
    secure(stage, CALLER, keys())
    stage.media.execute("c1", SetGate(opened=True))
    where = (parties.RELAY_ADDRESS, stage.ports[CALLER])
    stage.phones[CALLER].sendto(model(AES, 1).seal(parties.rtp(7)), where)
    assert stage.phones[CALLEE].recv(4096) == parties.rtp(7)
    stage.send(CALLEE, 8)
    assert model(AES, 2).open(stage.phones[CALLER].recv(4096)) == parties.rtp(8, ssrc=11)


def test_a_description_without_keys_leaves_those_that_were_set(stage: Stage) -> None:
    """Else the packet counter would start anew, under the same key."""
    stage.allocate()
    stage.connect()
    secure(stage, CALLER, keys())
    stage.media.execute("c1", ConnectMedia(CALLER, (None,), (None,)))
    secure(stage, CALLER, keys())
    stage.media.execute("c1", SetGate(opened=True))
    stage.send(CALLEE, 8)
    stage.send(CALLEE, 8)
    assert model(AES, 2).open(stage.phones[CALLER].recv(4096)) == parties.rtp(8, ssrc=11)
    stage.counted(CALLEE, "unsealed", 1)


def test_a_leg_may_change_its_suite_but_not_go_back_to_a_spent_key(stage: Stage) -> None:
    stage.allocate()
    stage.connect()
    secure(stage, CALLER, keys(AES))
    secure(stage, CALLER, keys(AES, inbound=5))
    secure(stage, CALLER, keys(GCM))
    assert stage.journal.of(LegFault, "c1") == []
    secure(stage, CALLER, keys(AES))
    (fault,) = stage.journal.of(LegFault, "c1")
    assert fault == LegFault(CALLER, f"SRTP: the caller went back to {AES}, whose key is spent")


def test_whoever_comes_next_at_a_leg_has_the_ports_and_none_of_the_keys(stage: Stage) -> None:
    made = stage.allocate()
    stage.connect()
    secure(stage, CALLEE, keys(AES))
    secure(stage, CALLEE, keys(GCM))
    stage.media.execute("c1", SetGate(opened=True))
    stage.media.execute("c1", RenewMedia(CALLEE))
    (renewed,) = stage.journal.of(MediaRenewed, "c1")
    (before,), (now,) = made.callee, renewed.local
    assert (renewed.leg, now.address, now.rtp_port) == (CALLEE, before.address, before.rtp_port)
    assert now.secret != before.secret
    stage.send(CALLER, 7)
    stage.counted(CALLER, "received", 1)
    secure(stage, CALLEE, keys(AES, inbound=5, outbound=6))
    assert stage.journal.of(LegFault, "c1") == [], "a spent key was not his"
    stage.send(CALLER, 8)
    assert model(AES, 6).open(stage.phones[CALLEE].recv(4096)) == parties.rtp(8, ssrc=10), (
        "and no packet before"
    )
