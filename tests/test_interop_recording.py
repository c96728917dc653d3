"""A recorded call, from the wire to the operator's ear: every sample, and nothing else."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import rig as rigs
import sdp_bodies
from daemon import age_decrypt
from listening import RiffWave, read_wave
from processes import ProcessError
from rig import CALLER_NUMBER, NUMBER, Call, Rig

pytestmark = pytest.mark.interop

CHUNK = 65536 + 16
NONCE = 16
TALK_S = 10.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that was recorded and sealed, and what became of it."""

    rig: Rig
    call: Call
    recording: str
    wave: RiffWave
    log: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Finished]:
    """One call of ten recorded seconds, examined by all tests of this file; read only."""
    with contextlib.ExitStack() as stack:
        rig = stack.enter_context(rigs.rig(tmp_path_factory.mktemp("recorded"), prompts))
        rig.daemon.start()
        call = rig.dial(seconds=40)
        opened = rig.daemon.wait("recording.opened", call_ref=call.ref)
        recording = opened.recording
        rig.talk_on(call, TALK_S)
        call.hang_up()
        rig.sealed(call)
        rig.daemon.wait("call.ended", call_ref=call.ref)
        wave = rig.wave(recording)
        yield Finished(rig, call, recording, wave, rig.daemon.everything_said)


def test_export_holds_the_caller_left_and_the_callee_right_sample_by_sample(finished: Finished) -> None:
    wave = finished.wave
    assert (wave.code, wave.rate_hz, wave.channels, wave.sample_bytes) == (7, 8000, 2, 1)
    compared = rigs.compare(finished.call, wave)
    assert len(compared.left) == 1, "one unbroken run of what the caller said"
    assert len(compared.right) == 1, "one unbroken run of what the callee said"
    for run in (compared.left[0], compared.right[0]):
        assert run.samples >= TALK_S * 8000 * 0.98
        assert run.recorded <= 0.1 * 8000, "the recording starts with speech, both spoke all the time"
        assert run.recorded + run.samples >= wave.frames - 0.1 * 8000, "and ends with it"


def test_channels_are_within_twenty_milliseconds(finished: Finished) -> None:
    compared = rigs.compare(finished.call, finished.wave)
    print(f"skew {compared.skew_ms:.2f} ms")
    assert abs(compared.skew_ms) <= 20


def test_no_recorded_sample_was_spoken_before_the_announcement_had_ended(finished: Finished) -> None:
    call = finished.call
    compared = rigs.compare(call, finished.wave)
    end_ns = max(
        rigs.announcement_end_ns(call, 0x22220001, call.left),
        rigs.announcement_end_ns(call, 0x11110001, call.right),
    )
    for run, talk in ((compared.left[0], call.left_talk), (compared.right[0], call.right_talk)):
        after_ms = (talk.sample_ns(run.sent) - end_ns) / 1e6
        print(f"first recorded sample was spoken {after_ms:.1f} ms after the announcement")
        assert after_ms >= 0
        assert after_ms <= 500, "recording starts promptly"


def test_nobody_hears_the_other_before_the_announcement_had_ended(finished: Finished) -> None:
    call = finished.call
    for peer, other in ((call.left, 0x22220001), (call.right, 0x11110001)):
        announced = rigs.announcement_heard(peer, other)
        speech = [packet for packet in peer.heard if packet.ssrc == other]
        assert [p.sequence for p in announced] == [
            (announced[0].sequence + i) & 0xFFFF for i in range(len(announced))
        ]
        assert [p.marker for p in announced] == [True] + [False] * (len(announced) - 1)
        assert speech[0].at_ns >= announced[-1].at_ns


def test_relay_leaves_every_packet_as_it_was(finished: Finished) -> None:
    call = finished.call
    for peer, talk, other in (
        (call.left, call.right_talk, 0x22220001),
        (call.right, call.left_talk, 0x11110001),
    ):
        speech = [packet for packet in peer.heard if packet.ssrc == other]
        heard = b"".join(packet.payload for packet in speech)
        at = talk.audio.find(heard[:160])
        assert talk.audio[at : at + len(heard)] == heard, "no packet lost, none changed, none out of order"


def test_stock_age_opens_header_and_body(finished: Finished) -> None:
    opened = read_wave(finished.rig.daemon.open_with_age(finished.recording))
    assert opened.data == finished.wave.data
    assert (opened.code, opened.rate_hz, opened.channels) == (7, 8000, 2)


def test_age_does_not_open_the_body_alone_or_with_another_key(finished: Finished, tmp_path: Path) -> None:
    daemon = finished.rig.daemon
    with pytest.raises(ProcessError, match="age"):
        age_decrypt(daemon.body(finished.recording).read_bytes(), daemon.identity)
    other = tmp_path / "other.txt"
    subprocess.run(["age-keygen", "-o", str(other)], check=True, capture_output=True)
    sealed = daemon.key(finished.recording).read_bytes() + daemon.body(finished.recording).read_bytes()
    with pytest.raises(ProcessError, match="no identity matched"):
        age_decrypt(sealed, other)


def test_verify_accepts_the_recording_as_it_is(finished: Finished) -> None:
    finished.rig.daemon.cli(
        "recordings", "verify", finished.recording, "--identity", str(finished.rig.daemon.identity)
    )


def _cut_tail(body: bytes) -> bytes:
    return body[:-100]


def _cut_chunk(body: bytes) -> bytes:
    return body[: NONCE + 2 * CHUNK]


def _flip_bit(body: bytes) -> bytes:
    at = NONCE + CHUNK + 1000
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def _swap_chunks(body: bytes) -> bytes:
    one, two = body[NONCE : NONCE + CHUNK], body[NONCE + CHUNK : NONCE + 2 * CHUNK]
    return body[:NONCE] + two + one + body[NONCE + 2 * CHUNK :]


def _append(body: bytes) -> bytes:
    return body + b"\0"


@pytest.mark.parametrize("tamper", [_cut_tail, _cut_chunk, _flip_bit, _swap_chunks, _append])
def test_verify_refuses_a_body_that_was_touched_and_says_why(
    finished: Finished, tmp_path: Path, tamper: Callable[[bytes], bytes]
) -> None:
    daemon = finished.rig.daemon
    body = daemon.body(finished.recording)
    genuine = body.read_bytes()
    assert len(genuine) > NONCE + 2 * CHUNK, "two whole chunks to play with"
    mode = body.stat().st_mode
    try:
        body.write_bytes(tamper(genuine))
        done = daemon.cli(
            "recordings", "verify", finished.recording, "--identity", str(daemon.identity), check=False
        )
    finally:
        body.write_bytes(genuine)
        body.chmod(mode)
    said = done.stdout + done.stderr
    print(said)
    assert done.returncode == 20
    assert "Traceback" not in said
    assert finished.recording[:8] in said
    assert len(said.strip()) > len(finished.recording), "it says why"
    with pytest.raises(ProcessError):
        age_decrypt(daemon.key(finished.recording).read_bytes() + tamper(genuine), daemon.identity)


def test_verify_refuses_a_recording_without_its_header(finished: Finished, tmp_path: Path) -> None:
    daemon = finished.rig.daemon
    key = daemon.key(finished.recording)
    kept = tmp_path / "kept"
    shutil.move(key, kept)
    try:
        done = daemon.cli("recordings", "verify", finished.recording, check=False)
    finally:
        shutil.move(kept, key)
    assert done.returncode == 20, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_no_file_of_the_daemon_holds_audio_or_a_number_in_clear(finished: Finished) -> None:
    daemon, call = finished.rig.daemon, finished.call
    windows = [
        talk.audio[at : at + 24]
        for talk in (call.left_talk, call.right_talk)
        for at in range(0, 160_000, 1600)
    ]
    numbers = [NUMBER.lstrip("+").encode(), CALLER_NUMBER.lstrip("+").encode()]
    numbers += [number[2:] for number in numbers]
    files = daemon.files()
    assert files
    for path in files:
        content = path.read_bytes()
        for window in windows:
            assert window not in content, f"audio in {path.relative_to(daemon.data)}"
        for number in numbers:
            assert number not in content, f"a number in {path.relative_to(daemon.data)}"


def test_every_file_is_for_its_owner_only(finished: Finished) -> None:
    daemon = finished.rig.daemon
    for path in daemon.data.rglob("*"):
        wide = path.stat().st_mode & 0o077
        assert wide == 0, f"{path.relative_to(daemon.data)} is open to others: {path.stat().st_mode:o}"


def test_log_shows_no_full_number_no_address_of_record_and_no_key(finished: Finished) -> None:
    log = finished.log
    assert "recording.sealed" in log
    for number in (NUMBER, CALLER_NUMBER):
        digits = number.lstrip("+")
        for form in (number, digits, digits[2:]):
            assert form not in log
    assert "AGE-SECRET-KEY" not in log
    assert "sip:" not in log
    assert "Traceback" not in log
    key = finished.rig.daemon.key(finished.recording).read_bytes()
    for line in key.splitlines():
        if len(line) == 43:
            assert line.decode() not in log


def test_log_tells_the_call_on_one_line(finished: Finished) -> None:
    ended = finished.rig.daemon.wait("call.ended", call_ref=finished.call.ref)
    assert ended["outcome"] == "answered"
    assert ended.recording == finished.recording
    assert ended["recording_state"] == "sealed"
    assert ended["notice"] == "completed"
    sealed = finished.rig.sealed(finished.call)
    assert sealed["ring_dropped"] == sealed["caller_lost"] == sealed["callee_lost"] == 0


def test_catalogue_lists_it_with_purpose_and_expiry(finished: Finished) -> None:
    listed = finished.rig.daemon.cli("recordings", "list", "--json").stdout
    assert finished.recording in listed
    assert "training" in listed
    shown = finished.rig.daemon.cli("recordings", "show", finished.recording, "--json").stdout
    for word in ("expiry", "legitimate_interest", "sha256", "nl"):
        assert word in shown


def test_audit_chain_holds(finished: Finished) -> None:
    finished.rig.daemon.cli("audit", "verify")


@pytest.mark.parametrize(("suffix", "magic"), [("flac", b"fLaC"), ("mp3", b"ID3"), ("opus", b"OggS")])
def test_export_writes_other_formats(finished: Finished, tmp_path: Path, suffix: str, magic: bytes) -> None:
    out = finished.rig.daemon.export(finished.recording, tmp_path / f"call.{suffix}")
    assert out.read_bytes().startswith(magic)
    probed = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    # MP3 comes in frames of 72 ms at this rate, and the encoder adds two or three of silence.
    tolerance_s = 0.25 if suffix == "mp3" else 0.02
    assert float(probed.stdout) == pytest.approx(finished.wave.frames / 8000, abs=tolerance_s)


@pytest.mark.parametrize("codec", [sdp_bodies.PCMA, sdp_bodies.G722])
def test_other_codecs_are_recorded(make_rig: Callable[..., Rig], codec: tuple[str, str]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(codecs=(codec,))
    recording = rig.recorded(call)
    rig.talk_on(call, 1.5)
    call.hang_up()
    rig.sealed(call)
    wave = rig.wave(recording)
    if codec is sdp_bodies.PCMA:
        assert wave.code == 6
        left = wave.channel(0).strip(b"\xd5")
        right = wave.channel(1).strip(b"\xd5")
        assert len(left) > 8000
        assert left in call.left_talk.sent
        assert right in call.right_talk.sent
    else:
        assert (wave.code, wave.rate_hz) == (1, 16000)
        assert 1.4 <= wave.frames / 16000 <= 2.5
