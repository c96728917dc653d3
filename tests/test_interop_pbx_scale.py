"""Two nodes behind Kamailio: calls are shared, one may be lost, each looks after what it has the keys of."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon, Purpose, Settings, eventually
from postgres import Postgres
from rig import Rig
from s3_stage import S3Server, s3_server
from scale_stage import Fleet, fleet

pytestmark = pytest.mark.pbx

SHORT = "PT30S"


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, prompts: Path, postgres: Postgres, store: S3Server
) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), prompts, postgres, store) as made:
        yield made


def listed(node: Daemon) -> dict[str, Any]:
    """All recordings that a node knows of, by id."""
    done = node.cli("recordings", "list", "--json")
    return {row["id"]: row for row in json.loads(done.stdout)["recordings"]}


def audited(node: Daemon) -> None:
    """The chain of a node is whole, and says the same as the catalogue."""
    report = json.loads(node.cli("audit", "verify", "--json").stdout)
    assert report["sound"], report


def test_both_nodes_record_and_either_knows_all(both: Fleet) -> None:
    recordings = [both.record(side) for side in both.sides]
    for side in both.sides:
        assert set(recordings) <= set(listed(side.daemon))
        audited(side.daemon)
    for at, side in enumerate(both.sides):
        assert side.wave(recordings[at]).channel(0)
        refused = side.daemon.cli(
            "recordings", "verify", recordings[1 - at], "--identity", str(side.daemon.identity), check=False
        )
        assert refused.returncode == 20
        assert f"key store of node {('rec2', 'rec1')[at]}" in refused.stderr


def test_a_node_that_drains_keeps_its_calls_and_gets_no_new_ones(both: Fleet) -> None:
    one, two = both.sides
    document = one.daemon.config.read_text()
    one.daemon.config.write_text(document.replace("drain: PT1S", "drain: PT60S"))
    both.restart(one)
    call = both.dial_at(one)
    recording = one.recorded(call)
    mark = both.kamailio.mark
    one.daemon.signal(signal.SIGTERM)
    assert one.callee.options(one.daemon.sip).code == 503
    both.wait_down(one, mark)
    for _ in range(4):
        side, other = both.dial()
        assert side is two
        other.hang_up()
    one.talk_on(call, 0.5)
    call.hang_up()
    one.sealed(call)
    eventually(lambda: not one.daemon.alive, within_s=30, what="the drained node ends")
    one.daemon.config.write_text(document)
    mark = both.kamailio.mark
    one.daemon.start()
    both.wait_up(one, mark)
    assert listed(two.daemon)[recording]["state"] == "sealed"


def test_a_lost_node_costs_its_calls_only_and_completes_them_when_it_returns(both: Fleet) -> None:
    one, two = both.sides
    call = both.dial_at(one)
    recording = one.recorded(call)
    one.talk_on(call, 2.0)
    mark = both.kamailio.mark
    one.daemon.kill()
    both.wait_down(one, mark)
    call.silence()
    kept = ""
    for _ in range(3):
        side, other = both.dial()
        assert side is two
        kept = side.recorded(other)
        other.hang_up()
        side.sealed(other)
    both.restart(two)  # a start of another node does not touch what the lost one left
    assert listed(two.daemon)[recording]["state"] == "open"
    assert listed(two.daemon)[kept]["state"] == "sealed"
    mark = both.kamailio.mark
    one.daemon.start()
    said = one.daemon.wait("recording.recovered", recording=recording)
    assert said["outcome"] == "sealed"
    assert said["frames"] > 8000, "a second at most is missing"
    both.wait_up(one, mark)
    done = one.daemon.cli("recordings", "verify", recording, "--identity", str(one.daemon.identity))
    assert recording in done.stdout
    for side in both.sides:
        audited(side.daemon)


def test_new_calls_go_on_before_kamailio_knows_of_the_loss(both: Fleet) -> None:
    """Kamailio tries the other node for an INVITE that nobody answers."""
    one, two = both.sides
    mark = both.kamailio.mark
    one.daemon.kill()
    side, call = both.dial()
    assert side is two
    call.hang_up()
    both.wait_down(one, mark)
    mark = both.kamailio.mark
    one.daemon.start()
    both.wait_up(one, mark)


def test_bodies_move_to_the_bucket_and_retention_of_both_nodes_erases_them(
    tmp_path: Path, prompts: Path, postgres: Postgres, store: S3Server
) -> None:
    settings = Settings(purposes={"training": Purpose(retention=SHORT)})
    with fleet(tmp_path, prompts, postgres, store, settings) as made:
        recordings = [made.record(side) for side in made.sides]
        waves = []
        for side, recording in zip(made.sides, recordings, strict=True):
            side.daemon.cli("upload", "--once")
            assert side.daemon.bodies() == []
            side.daemon.cli("recordings", "verify", recording, "--identity", str(side.daemon.identity))
            waves.append(side.wave(recording))
        assert all(wave.channel(0) and wave.channel(1) for wave in waves)
        eventually(lambda: _swept(made.sides) == 2, within_s=120, what="both are shredded")
        for side, recording in zip(made.sides, recordings, strict=True):
            assert not side.daemon.key(recording).exists()
            state = json.loads(side.daemon.cli("recordings", "show", recording, "--json").stdout)["state"]
            assert state in {"shredded", "shred_complete"}
            audited(side.daemon)


def _swept(sides: tuple[Rig, Rig]) -> int:
    """Let both nodes sweep at the same time; returns how many tombstones there are."""
    threads = [threading.Thread(target=side.daemon.cli, args=("retention", "--once")) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = sides[0].daemon.cli(
        "recordings", "list", "--json", "--state", "shredded", "--state", "shred_complete"
    )
    return len(json.loads(done.stdout)["gone"])
