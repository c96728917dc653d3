"""Whom a recording is wrapped to, and what happens when its epoch has no key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from call_values import NOW, open_recording
from policies import one_purpose, parsed, whole
from recorder_stage import Stage, staged

from recproxy.call.events import RecordingFailed, RecordingOpened
from recproxy.epochkeys import EpochKeys
from recproxy.policy import Policy
from storage import KeyUnavailable, OsFiles, RecordingId, make_pair

TODAY = f"{NOW:%Y-%m-%d}"


def policy(epoch: str = "day") -> Policy:
    return parsed(
        whole(
            {"training": one_purpose()},
            key_groups__main={"epoch": epoch},
        )
    )


def keys(tmp_path: Path, epoch: str = "day") -> EpochKeys:
    made = policy(epoch)
    return EpochKeys.at(tmp_path, lambda: made)


def test_a_group_without_epochs_has_the_long_lived_recipients(tmp_path: Path) -> None:
    found = keys(tmp_path, "none").wrapping(["training", "unknown"], NOW)
    assert (found.recipients, found.epochs) == ({}, {"training": ("main", "")})


def test_the_epoch_is_that_of_the_start(tmp_path: Path) -> None:
    pair = make_pair(OsFiles(tmp_path), "main", TODAY)
    found = keys(tmp_path).wrapping(["training"], NOW)
    assert found.epochs == {"training": ("main", TODAY)}
    assert [str(one) for one in found.recipients["training"]] == [pair.recipient]
    with pytest.raises(KeyUnavailable, match="has no key for"):
        keys(tmp_path).wrapping(["training"], NOW + timedelta(days=1))


def test_a_purpose_without_key_is_down_and_up_again_once_it_is_there(tmp_path: Path) -> None:
    epochs = keys(tmp_path)
    assert "has no key for" in str(epochs.fault("training", NOW))
    assert epochs.fault("unknown", NOW) is None
    make_pair(OsFiles(tmp_path), "main", TODAY)
    assert epochs.fault("training", NOW) is None
    assert "storage.epochs" in str(EpochKeys(None, policy).fault("training", NOW))


def test_a_key_that_was_taken_away_wraps_nothing_though_it_was_seen(tmp_path: Path) -> None:
    pair = make_pair(OsFiles(tmp_path), "main", TODAY)
    epochs = keys(tmp_path)
    epochs.wrapping(["training"], NOW)
    (tmp_path / pair.public).unlink()
    with pytest.raises(KeyUnavailable):
        epochs.wrapping(["training"], NOW)


def _open(stage: Stage) -> None:
    stage.recorder.open("call", 1, stage.clock.now_ns, open_recording())
    stage.turn(40)


def test_the_recorder_wraps_to_the_key_of_the_day(tmp_path: Path) -> None:
    make_pair(OsFiles(tmp_path), "main", TODAY)
    (tmp_path / "data").mkdir()
    with staged(tmp_path / "data") as stage:
        stage.recorder._epochs = keys(tmp_path)
        _open(stage)
        assert stage.journal.of(RecordingOpened)
        wraps = stage.catalogue.wraps.of(RecordingId(f"{1:032x}"))
        assert (wraps["training"].key_group, wraps["training"].epoch) == ("main", TODAY)


def test_without_a_key_nothing_is_recorded_and_the_call_hears_why(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with staged(tmp_path / "data") as stage:
        stage.recorder._epochs = keys(tmp_path)
        _open(stage)
        (failed,) = stage.journal.of(RecordingFailed)
        assert "has no key for" in failed.why
        assert stage.catalogue.select() == ()
        assert not (tmp_path / "data" / "recordings").exists()
