"""Key epochs on the real daemon: stock age opens with the key of the day; without one the purpose is down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from daemon import Purpose, Settings, age_decrypt
from processes import ProcessError
from rig import Rig
from test_interop_on_failure import BLOCK, CONTINUE, goes_on_unrecorded, is_refused

from storage import OsFiles, make_pair

pytestmark = pytest.mark.interop
DAY = timedelta(days=1)


def made(make_rig: Callable[..., Rig], mode: str) -> Rig:
    """A daemon whose key group changes its key pair each day; no key is installed yet."""
    rig: Rig = make_rig(Settings(purposes={"training": Purpose(on_failure=mode)}))
    daemon = rig.daemon
    config = yaml.safe_load(daemon.config.read_text())
    config["storage"]["epochs"] = str(daemon.directory / "epochs")
    daemon.config.write_text(yaml.safe_dump(config))
    policy = yaml.safe_load(daemon.policy.read_text())
    policy["key_groups"]["main"] = {"epoch": "day"}
    daemon.policy.write_text(yaml.safe_dump(policy, allow_unicode=True))
    return rig


def install(rig: Rig) -> list[Path]:
    """Make the keys of today and of the days around it; their private halves stay with an officer."""
    officer = rig.daemon.directory / "officer"
    officer.mkdir(mode=0o700)
    here = rig.daemon.directory / "epochs" / "main"
    here.mkdir(parents=True, mode=0o700)
    private = []
    for offset in (-1, 0, 1):
        pair = make_pair(OsFiles(officer), "main", f"{datetime.now(UTC) + offset * DAY:%Y-%m-%d}")
        (here / Path(pair.public).name).write_text(f"{pair.recipient}\n")
        private.append(officer / pair.private)
    return private


def test_stock_age_opens_a_recording_with_the_key_of_its_day_alone(make_rig: Callable[..., Rig]) -> None:
    rig = made(make_rig, CONTINUE)
    private = install(rig)
    rig.daemon.start()
    call = rig.dial(seconds=10)
    recording = rig.recorded(call)
    rig.talk_on(call, 1)
    call.hang_up()
    rig.sealed(call)
    whole = rig.daemon.key(recording).read_bytes() + rig.daemon.body(recording).read_bytes()
    with pytest.raises(ProcessError, match="no identity matched"):
        age_decrypt(whole, rig.daemon.directory / "identity.txt")
    together = rig.daemon.directory / "officer" / "all"
    together.write_text("".join(one.read_text() for one in private))
    assert age_decrypt(whole, together)[:4] == b"RIFF"


@pytest.mark.parametrize("mode", [CONTINUE, BLOCK])
def test_without_a_key_the_purpose_is_down_until_there_is_one(
    make_rig: Callable[..., Rig], mode: str
) -> None:
    rig = made(make_rig, mode)
    rig.daemon.start()
    (goes_on_unrecorded if mode == CONTINUE else is_refused)(rig)
    install(rig)
    call = rig.dial(seconds=10)
    assert rig.recorded(call)
    call.hang_up()
