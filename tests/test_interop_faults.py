"""Power cuts, bad configuration, and time: what the daemon promises when things go wrong."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import rig as rigs
from daemon import Purpose, Settings, age_decrypt, eventually, recproxy
from listening import RATE_HZ, read_wave
from processes import Process, ProcessError
from rig import Rig

pytestmark = [pytest.mark.interop, pytest.mark.faults]

KILLS = 20
LOSS_ALLOWED_S = 1.0


def test_killed_twenty_times_in_mid_call_each_recording_opens_and_lacks_at_most_a_second(
    make_rig: Callable[..., Rig],
) -> None:
    seed = int(os.environ.get("RECPROXY_KILL_SEED", "20"))
    moments = random.Random(seed)
    print(f"RECPROXY_KILL_SEED={seed}")
    rig = make_rig()
    rig.daemon.start()
    lacking: list[float] = []
    for turn in range(KILLS):
        call = rig.dial(seconds=15, seed=1 + turn)
        recording = rig.recorded(call)
        # A number of packets, so that the same seed meets the same states.
        packets = moments.randrange(1, 200)
        call.left.wait_count(len(call.left.heard) + packets)
        spoken = (len(call.left_talk.sent), len(call.right_talk.sent))
        rig.daemon.kill()
        call.silence()
        rig.daemon.start()
        recovered = rig.daemon.wait("recording.recovered", recording=recording)
        if recovered["outcome"] == "sealed":
            compared = rigs.compare(call, read_wave(rig.daemon.open_with_age(recording)))
            for runs, samples in ((compared.left, spoken[0]), (compared.right, spoken[1])):
                assert len(runs) <= 1, f"turn {turn}: a gap inside the recording: {runs}"
                kept = runs[0].sent + runs[0].samples if runs else samples - packets * 160
                lacking.append((samples - kept) / RATE_HZ)
        else:  # killed before the first sync: there is no audio, nor a file
            assert recovered["outcome"] == "discarded"
            assert not [path for path in rig.daemon.bodies() if recording in path.name]
            assert not rig.daemon.key(recording).exists()
            lacking.append(packets * 0.02)
        print(f"turn {turn:2}: {packets:3} packets, {recovered['outcome']}, {lacking[-1]:.3f} s lacking")
        assert max(lacking) <= LOSS_ALLOWED_S
        assert not list((rig.daemon.data / "recordings").rglob("*.part"))
    for listed in rig.daemon.bodies():
        rig.daemon.cli("recordings", "verify", listed.stem, "--identity", str(rig.daemon.identity))
    rig.daemon.cli("audit", "verify")


def test_killed_in_mid_announcement_leaves_nothing(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(Settings(purposes={"training": Purpose(text="Een mededeling die te lang duurt. " * 3)}))
    rig.daemon.start()
    call = rig.dial()
    rig.daemon.wait("notice.started", call_ref=call.ref)
    call.left.wait_count(20)
    rig.daemon.kill()
    call.silence()
    rig.daemon.start()
    assert rig.daemon.bodies() == []
    assert list((rig.daemon.data / "keys").glob("*")) == []
    rig.daemon.cli("audit", "verify")


# ---------------------------------------------------------------- time
def test_expired_recording_cannot_be_opened_though_a_copy_of_the_body_was_kept(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = make_rig(
        Settings(
            purposes={
                "short": Purpose(retention="PT8S", match=("+3120*",)),
                "training": Purpose(match=("+3130*",)),
            },
            retention_interval="PT1S",
        )
    )
    rig.daemon.start()
    doomed = rig.dial(number="+31201234567", seed=1)
    kept = rig.dial(seed=2)
    recordings = [rig.recorded(doomed), rig.recorded(kept)]
    for call in (doomed, kept):
        call.left.wait_count(len(call.left.heard) + 50)
        call.hang_up()
        rig.sealed(call)
    copy = tmp_path / "backup.age"
    shutil.copy(rig.daemon.body(recordings[0]), copy)
    key = rig.daemon.key(recordings[0])
    assert read_wave(age_decrypt(key.read_bytes() + copy.read_bytes(), rig.daemon.identity)).frames > 0
    with Process(
        [*recproxy(), "retention", "--config", str(rig.daemon.config)], name="retention", merge_stderr=False
    ) as retention:
        retention.wait_line(
            lambda line: "recording.shredded" in line and recordings[0] in line, what="the shredding"
        )
        eventually(lambda: not key.exists(), within_s=5, what="the header is destroyed")
        with pytest.raises(FileNotFoundError):
            rig.daemon.body(recordings[0])
        with pytest.raises(ProcessError):
            age_decrypt(copy.read_bytes(), rig.daemon.identity)
    shown = json.loads(rig.daemon.cli("recordings", "show", recordings[0], "--json").stdout)
    assert shown["state"] in {"shredded", "shred_complete"}, (
        "a tombstone stays; complete once no backup has the key"
    )
    assert "201234567" not in json.dumps(shown)
    refused = rig.daemon.cli(
        "recordings",
        "export",
        recordings[0],
        "--use",
        "short",
        "--identity",
        str(rig.daemon.identity),
        "--output",
        str(tmp_path / "no.wav"),
        check=False,
    )
    assert refused.returncode != 0
    assert not (tmp_path / "no.wav").exists()
    rig.daemon.cli("recordings", "verify", recordings[1], "--identity", str(rig.daemon.identity))
    rig.daemon.cli("audit", "verify")


# ---------------------------------------------------------------- configuration
def _refused(rig: Rig, status: int = 78, descriptors: int = 0) -> str:
    """Start the daemon, which must refuse; returns its one clear message."""
    process = rig.daemon.launch(descriptors=descriptors)
    assert process.wait(within_s=30) == status, "\n".join([*process.lines, *process.errors])
    said = "\n".join([*process.lines, *process.errors])
    assert "Traceback" not in said
    assert "recproxy: error:" in said
    return said


def test_broken_yaml_is_one_clear_message(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.config.write_text("sip: [unclosed\n")
    assert "recproxy.yaml:" in _refused(rig)


def test_unknown_key_is_named_with_its_line(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    text = rig.daemon.config.read_text()
    rig.daemon.config.write_text(text + "recording_forever: true\n")
    said = _refused(rig)
    assert "recording_forever" in said
    assert f":{len(text.splitlines()) + 1}:" in said


@pytest.mark.parametrize("key", ["sip", "trunks", "media", "storage"])
def test_missing_key_is_named(make_rig: Callable[..., Rig], key: str) -> None:
    rig = make_rig()
    lines = rig.daemon.config.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line == f"{key}:")
    rest = itertools.dropwhile(lambda line: line.startswith((" ", "-")), lines[start + 1 :])
    rig.daemon.config.write_text("\n".join([*lines[:start], *rest]) + "\n")
    assert key in _refused(rig)


def test_purpose_without_retention_is_refused(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    text = rig.daemon.policy.read_text()
    rig.daemon.policy.write_text(
        "".join(line for line in text.splitlines(keepends=True) if "retention" not in line)
    )
    said = _refused(rig)
    assert "policy.yaml" in said
    assert "retention" in said


def test_port_range_too_small_for_the_calls_is_refused(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(Settings(max_calls=10, ports=12))
    said = _refused(rig)
    assert "ports" in said
    assert "40" in said, "it tells how many are needed"


def test_recipients_file_without_recipients_is_refused(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    (rig.daemon.directory / "recipients.txt").write_text("# nobody\n")
    assert "recipients" in _refused(rig)


def test_private_key_among_the_recipients_is_refused_and_not_shown(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    secret = next(
        line for line in rig.daemon.identity.read_text().splitlines() if line.startswith("AGE-SECRET-KEY")
    )
    (rig.daemon.directory / "recipients.txt").write_text(secret + "\n")
    said = _refused(rig)
    assert secret not in said


def test_port_in_use_is_one_clear_message(make_rig: Callable[..., Rig]) -> None:
    first = make_rig()
    first.daemon.start()
    second = make_rig()
    second.daemon.config.write_text(
        second.daemon.config.read_text().replace(second.lease.addresses.daemon, first.lease.addresses.daemon)
    )
    said = _refused(second, status=1)
    assert "5060" in said


def test_second_daemon_on_one_directory_is_refused(make_rig: Callable[..., Rig]) -> None:
    first = make_rig()
    first.daemon.start()
    second = make_rig()
    text = second.daemon.config.read_text().replace(str(second.daemon.data), str(first.daemon.data))
    second.daemon.config.write_text(text)
    _refused(second, status=11)
    assert first.daemon.alive


def test_directory_that_is_a_file_is_refused(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.data.write_text("in the way")
    process = rig.daemon.launch()
    assert process.wait(within_s=30) != 0
    said = "\n".join([*process.lines, *process.errors])
    assert "Traceback" not in said
    assert str(rig.daemon.data) in said


def test_too_few_descriptors_are_refused(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    said = _refused(rig, descriptors=100)
    assert "RLIMIT_NOFILE" in said
    assert "max_calls" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_disk_in_mid_call_leaves_the_call_alone(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m,mode=0700", "tmpfs", str(rig.daemon.data)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("mount is not allowed here")
    try:
        rig.daemon.start()
        call = rig.dial(seconds=30)
        rig.recorded(call)
        with contextlib.suppress(OSError), (rig.daemon.data / "filler").open("wb") as filler:
            while True:
                filler.write(b"\0" * (1 << 20))
        rig.daemon.wait("recording.failed", call_ref=call.ref, within_s=20)
        count = len(call.left.heard)
        heard = call.left.wait_count(count + 50)
        gaps_ns = [later.at_ns - earlier.at_ns for earlier, later in itertools.pairwise(heard[-50:])]
        print(f"longest gap {max(gaps_ns) / 1e6:.0f} ms")
        assert max(gaps_ns) < 200_000_000, "the call never waits for the recorder"
        call.hang_up()
        rig.daemon.wait("call.ended", call_ref=call.ref)
        assert rig.daemon.alive
    finally:
        rig.daemon.close()
        subprocess.run(["umount", str(rig.daemon.data)], check=True)
