"""The catalogue's server freezes under a daemon that has calls up: nobody hears it, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import postgres as servers
import pytest
import rig as rigs
import sdp_bodies
import yaml
from daemon import Purpose, Settings
from listening import RATE_HZ
from postgres import PASSWORD, Postgres
from prometheus_client.parser import text_string_to_metric_families
from rig import NUMBER, Rig

pytestmark = [pytest.mark.interop, pytest.mark.faults]

BLOCKED = "+31201234567"
FROZEN_S = 6.0  # more than the ring of packets could hold


def scraped(rig: Rig) -> dict[str, float]:
    """What a monitor sees."""
    transport = httpx.HTTPTransport(uds=str(rig.directory / "api"))
    token = (rig.directory / "token").read_text()
    with httpx.Client(transport=transport, base_url="http://recproxy", timeout=30) as client:
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {one.name: one.value for family in families for one in family.samples}


@pytest.fixture
def server() -> Iterator[Postgres]:
    with servers.postgres() as made:
        yield made


@pytest.fixture
def rig(tmp_path: Path, prompts: Path, server: Postgres) -> Iterator[Rig]:
    purposes = {
        "orders": Purpose(on_failure="block_call", match=("+3120*",)),
        "training": Purpose(match=("+3130*",)),
    }
    api = {"unix": str(tmp_path / "api")}
    with rigs.rig(tmp_path, prompts, Settings(purposes=purposes, api=(api,))) as made:
        token = made.daemon.cli("api", "token", "--name", "monitor", "--role", "admin").stdout.strip()
        (tmp_path / "token").write_text(token)
        password = made.daemon.directory / "catalogue.password"
        password.touch(mode=0o600)
        password.write_text(PASSWORD)
        document = yaml.safe_load(made.daemon.config.read_text())
        document["storage"] |= {"catalogue": server.database(), "catalogue_password_file": str(password)}
        made.daemon.config.write_text(yaml.safe_dump(document))
        made.daemon.start()
        yield made


def test_calls_go_on_and_what_ended_meanwhile_is_sealed_afterwards(rig: Rig, server: Postgres) -> None:
    ends, stays = rig.dial(seconds=60, seed=1), rig.dial(seconds=60, seed=3)
    recordings = [rig.recorded(call) for call in (ends, stays)]
    rig.talk_on(ends, 1)
    with server.frozen():
        ends.hang_up()
        rig.daemon.wait("disk.failed", what="catalogue")
        refused = rig.caller.invite(BLOCKED, rig.daemon.sip, sdp_bodies.audio(rig.caller.address, 40000))
        answer = refused.wait_response(200)
        assert (answer.code, answer.one("reason")) == (503, 'SIP;cause=503;text="Recorder Unavailable"')
        unrecorded = rig.dial(number=NUMBER, seconds=30, seed=5)
        rig.talk_on(unrecorded, 1)
        rig.talk_on(stays, FROZEN_S)
        unrecorded.hang_up()
        ended = rig.daemon.wait("call.ended", call_ref=unrecorded.ref)
        assert (ended["notice"], ended.recording) == ("failed", "")
        assert not rig.daemon.said("notice.started", rig.daemon.said("disk.failed")[0].index)
        assert not rig.daemon.said("recording.sealed")
        assert scraped(rig)["recproxy_catalogue_up"] == 0
    for call, recording in zip((ends, stays), recordings, strict=True):
        if call is stays:
            rig.talk_on(call, 1)
            call.hang_up()
        sealed = rig.sealed(call)
        assert sealed["ring_dropped"] == 0
        compared = rigs.compare(call, rig.wave(recording))
        assert len(compared.left) == len(compared.right) == 1, "unbroken"
        assert min(run.samples for run in (*compared.left, *compared.right)) >= RATE_HZ
    figures = scraped(rig)
    assert (figures["recproxy_catalogue_up"], figures["recproxy_active_calls"]) == (1, 0)
    again = rig.dial(seconds=20, seed=7)
    rig.recorded(again)
    again.hang_up()
    rig.sealed(again)
    listed = json.loads(rig.daemon.cli("recordings", "list", "--json").stdout)["recordings"]
    assert {row["state"] for row in listed} == {"sealed"}
    rig.daemon.cli("audit", "verify")
    assert rig.daemon.stop() == 0
