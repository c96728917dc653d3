"""The daemon as a whole: what it refuses to start with, and how it drains, reloads and recovers."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from call_values import NOW, PCMU, ManualClock, open_recording
from daemon import Purpose, Settings
from msgspec.structs import replace
from recorder_stage import noise
from rig import Rig

from announcer import PromptSet
from recproxy import daemon as roof
from recproxy import opening, wiring
from recproxy.call import Driver
from recproxy.clock import ClockWatch, SystemClock
from recproxy.config import Config, load
from recproxy.errors import AlreadyRunning, ConfigError, StartError
from recproxy.eventlog import EventLog, LogConfig
from recproxy.logevents import LogLevel
from recproxy.media import Media, TrunkMedia
from recproxy.policy import Policy, load_policy
from recproxy.sdnotify import ServiceManager
from recproxy.sip.endpoint import SipEndpoint, SipSettings
from recproxy.wiring import media_places
from rtp import Relay, RelayError
from storage import (
    AudioFormat,
    AuditLog,
    Catalogue,
    Encoding,
    NoticeProof,
    OsFiles,
    Parties,
    RecordingId,
    RecordingStore,
    RecordingTags,
    StorageError,
    load_recipients,
    load_signing_key,
)

pytestmark = pytest.mark.interop

MakeRig = Callable[..., Rig]


def refused(rig: Rig, status: int) -> str:
    """Start the daemon, which must refuse with this status; gives its one message."""
    process = rig.daemon.launch()
    assert process.wait(within_s=60) == status, "\n".join([*process.lines, *process.errors])
    said = "\n".join(process.errors)
    assert "Traceback" not in said
    assert said.count("recproxy: error:") == 1, said
    assert "daemon.ready" not in "\n".join(process.lines)
    return said


# ------------------------------------------------------------------ what it refuses to start with
def test_too_few_descriptors_for_the_calls_is_a_bad_configuration(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECPROXY_COMMAND", f"prlimit --nofile=300:300 {sys.executable} -m recproxy")
    said = refused(make_rig(Settings(max_calls=50)), 78)
    assert "sip.max_calls is 50, which needs 456 descriptors, but RLIMIT_NOFILE is 300" in said
    assert "LimitNOFILE=" in said


def test_the_soft_limit_of_descriptors_is_raised_as_far_as_it_may_be(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECPROXY_COMMAND", f"prlimit --nofile=300:1000 {sys.executable} -m recproxy")
    rig = make_rig(Settings(max_calls=50))
    rig.daemon.start()
    limits = Path(f"/proc/{rig.daemon.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "open files" in line).split()[3] == "1000"


@pytest.mark.parametrize(("key", "file"), [("recipients", "recipients.txt"), ("audit_key", "audit.key")])
def test_a_key_file_that_is_missing_is_named_with_its_place(make_rig: MakeRig, key: str, file: str) -> None:
    rig = make_rig()
    place = rig.daemon.directory / file
    place.unlink()
    said = refused(rig, 78)
    assert f"storage.{key}: {place}: No such file or directory" in said
    assert "recproxy keys generate" in said
    assert not rig.daemon.data.exists(), "nothing was made for nothing"


@pytest.mark.parametrize(("key", "file"), [("recipients", "recipients.txt"), ("audit_key", "audit.key")])
def test_a_key_file_that_holds_something_else_is_named_with_its_place(
    make_rig: MakeRig, key: str, file: str
) -> None:
    rig = make_rig()
    place = rig.daemon.directory / file
    place.write_text("what is this\n")
    said = refused(rig, 78)
    assert f"storage.{key}: {place}" in said
    assert "what is this" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_key_file_that_may_not_be_read_is_named(make_rig: MakeRig) -> None:
    rig = make_rig()
    (rig.daemon.directory / "audit.key").chmod(0)
    assert "Permission denied" in refused(rig, 78)


def test_a_directory_that_others_can_enter_is_refused(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.daemon.data.mkdir(mode=0o755)
    rig.daemon.data.chmod(0o755)
    said = refused(rig, 1)
    assert f"storage.directory: data directory {rig.daemon.data} has mode 0755" in said
    assert f"chmod 700 {rig.daemon.data}" in said


def test_a_directory_that_cannot_be_made_is_named_with_its_mend(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.daemon.data.write_text("in the way")
    said = refused(rig, 1)
    assert f"storage.directory: mkdir {rig.daemon.data}" in said
    assert "recproxy: hint:" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_refused(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.daemon.data.mkdir(mode=0o500)
    assert "cannot be written" in refused(rig, 1)


def test_a_broken_policy_is_a_bad_configuration_and_nothing_is_opened(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.daemon.policy.write_text(rig.daemon.policy.read_text().replace("retention:", "retian:"))
    said = refused_with_all(rig)
    assert all("policy.yaml:" in line for line in said)
    assert not rig.daemon.data.exists()


def refused_with_all(rig: Rig) -> list[str]:
    """Start it with a policy that has several faults: one line each."""
    process = rig.daemon.launch()
    assert process.wait(within_s=60) == 78
    assert "Traceback" not in "\n".join(process.errors)
    return [line for line in process.errors if line.startswith("recproxy: error:")]


def test_an_address_this_machine_does_not_have_is_one_message(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.daemon.config.write_text(
        rig.daemon.config.read_text().replace(f"address: {rig.lease.addresses.daemon}", "address: 192.0.2.1")
    )
    assert "192.0.2.1" in refused(rig, 1)


def test_a_second_daemon_on_one_directory_is_told_that_it_runs_already(make_rig: MakeRig) -> None:
    first, second = make_rig(), make_rig()
    first.daemon.start()
    second.daemon.config.write_text(
        second.daemon.config.read_text().replace(str(second.daemon.data), str(first.daemon.data))
    )
    assert str(first.daemon.data) in refused(second, AlreadyRunning.exit_code)
    assert first.daemon.alive


@pytest.mark.parametrize("thing", ["relay", "ports"])
def test_a_relay_that_cannot_start_is_one_message(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, thing: str
) -> None:
    def fail(*_: object, **__: object) -> Relay:
        raise RelayError("the relay cannot start: Cannot allocate memory")

    rig = make_rig()
    monkeypatch.setattr(*((opening, "Relay") if thing == "relay" else (wiring, "PortPool")), fail)
    monkeypatch.setattr(roof, "harden", lambda: None)
    with pytest.raises(StartError, match="media: the relay cannot start"):
        roof.run(load(rig.daemon.config), {}, lambda: load(rig.daemon.config))


def test_descriptors_are_counted_per_call(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(make_rig(Settings(max_calls=50)).daemon.config)
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (456, 456))
    roof._check_descriptors(config)
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (455, 455))
    with pytest.raises(ConfigError, match="needs 456"):
        roof._check_descriptors(config)


# ------------------------------------------------------------------ privacy
def test_a_process_that_is_hardened_leaves_no_memory_and_no_open_file_behind() -> None:
    asked = (
        "import ctypes, json, os, resource; from recproxy.daemon import harden; harden();"
        "mask = os.umask(0);"
        "print(json.dumps([mask, resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3)]))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0o077, [0, 0], 0]


def test_nothing_is_in_the_clear_or_open_to_others_while_and_after_a_call_is_recorded(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    rig.daemon.start()
    status = Path(f"/proc/{rig.daemon.pid}/status").read_text()
    assert "Umask:\t0077" in status
    limits = Path(f"/proc/{rig.daemon.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
    call = rig.dial()
    rig.recorded(call)
    for _ in range(5):
        call.left.wait_count(len(call.left.heard) + 40)
        assert _shown(rig, call.left_talk.sent, call.right_talk.sent) == []
    call.hang_up()
    rig.sealed(call)
    assert rig.daemon.stop() == 0
    assert _shown(rig, call.left_talk.sent, call.right_talk.sent) == []
    assert _open_to_others(rig.daemon.data) == []
    assert "612345678" not in rig.daemon.everything_said
    assert "301234567" not in rig.daemon.everything_said


def _shown(rig: Rig, *sounds: bytes) -> list[str]:
    """Files anywhere under the rig that hold a piece of what was said, or a number of the call."""
    found = []
    for path in rig.daemon.directory.rglob("*"):
        try:
            data = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue  # it went away meanwhile
        mono = any(sound[at : at + 12] in data for sound in sounds for at in range(4000, len(sound), 8000))
        # Interleaved, every second byte is one side's: look at both phases.
        pairs = any(
            sound[at : at + 12] in data[phase::2]
            for sound in sounds
            for at in range(4000, len(sound), 8000)
            for phase in (0, 1)
        )
        if mono or pairs or b"612345678" in data or b"301234567" in data:
            found.append(str(path))
    return found


def _open_to_others(root: Path) -> list[str]:
    return [str(path) for path in [root, *root.rglob("*")] if stat.S_IMODE(path.stat().st_mode) & 0o077]


# ------------------------------------------------------------------ start-up recovery
def left_open(rig: Rig, recording: str, *, frames: int) -> None:
    """What a daemon leaves that was killed in mid-call."""
    places = load(rig.daemon.config).storage
    files = OsFiles(places.directory)
    files.prepare()
    catalogue = Catalogue.open(files, places.catalogue_url)
    here = OsFiles(rig.daemon.directory)
    audit = AuditLog(files, load_signing_key(here, "audit.key"), "rig", lambda: NOW)
    store = RecordingStore(files, catalogue, audit, load_recipients(here, "recipients.txt"))
    plan = open_recording(PCMU)
    tags = RecordingTags(
        recording=RecordingId(recording),
        call="c1",
        node="rig",
        purpose="training",
        legal_basis=plan.legal_basis,
        policy_version=plan.policy_version,
        direction=plan.facts.direction,
        trunk="carrier",
        started=NOW,
        expiry=NOW + plan.retention,
        notice=NoticeProof("training", "ab" * 32, "nl", ("caller",), NOW, NOW),
    )
    parties = Parties("+31612345678", "+31301234567", ("a", "b"))
    writer = store.open(tags, parties, AudioFormat(Encoding.ULAW, 8000), NOW)
    if frames:
        writer.write(noise(1, 1)[:2] * frames)
    store.sync()
    store._lock.close()  # the process is gone
    catalogue.close()


def test_what_an_earlier_run_left_open_is_completed_and_said_before_calls_are_taken(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    left_open(rig, "a1" * 16, frames=4000)
    ready = rig.daemon.start()
    recovered = rig.daemon.wait("recording.recovered")
    assert recovered.index < ready.index
    assert (recovered["recording"], recovered["outcome"], recovered["frames"]) == ("a1" * 16, "sealed", 4000)
    rig.daemon.open_with_age("a1" * 16)
    assert rig.daemon.stop() == 0


def test_a_recording_that_was_opened_and_holds_no_audio_is_discarded(make_rig: MakeRig) -> None:
    rig = make_rig()
    left_open(rig, "a2" * 16, frames=0)
    rig.daemon.start()
    assert rig.daemon.wait("recording.recovered")["outcome"] == "discarded"
    assert rig.daemon.bodies() == []
    assert not rig.daemon.key("a2" * 16).exists()


def test_a_clean_start_recovers_nothing(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.daemon.start()
    assert rig.daemon.said("recording.recovered") == []
    assert rig.daemon.stop() == 0
    assert rig.daemon.said("daemon.stopped")


# ------------------------------------------------------------------ signals, on the real process
def test_a_bad_policy_is_rejected_and_the_old_one_stays_in_force(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.daemon.start()
    good = rig.daemon.policy.read_text()
    rig.daemon.policy.write_text(good.replace("retention:", "retian:"))
    os.kill(rig.daemon.pid, signal.SIGHUP)
    rejected = rig.daemon.wait("policy.rejected")
    assert rejected["problems"] >= 1
    assert "policy.yaml" in rejected["why"]
    call = rig.dial(seconds=5)
    rig.recorded(call)
    mark = rig.daemon.mark
    rig.daemon.policy.write_text(good.replace("training", "coaching"))
    os.kill(rig.daemon.pid, signal.SIGHUP)
    rig.daemon.wait("policy.loaded", start=mark)
    call.hang_up()
    assert rig.sealed(call)["purpose"] == "training", "a call keeps the policy it began with"
    later = rig.dial(seconds=5, seed=2)
    assert rig.daemon.wait("recording.opened", call_ref=later.ref)["purpose"] == "coaching"
    later.hang_up()
    rig.sealed(later)


def test_a_stop_lets_a_call_end_then_ends_it_and_seals_its_recording(make_rig: MakeRig) -> None:
    rig = make_rig(Settings(purposes={"training": Purpose()}, drain="PT2S"))
    rig.daemon.start()
    call = rig.dial()
    rig.recorded(call)
    os.kill(rig.daemon.pid, signal.SIGTERM)
    assert rig.daemon.wait("daemon.draining")["calls"] == 1
    sealed = rig.sealed(call)
    assert sealed["frames"] > 0
    call.silence()
    assert rig.daemon.stop() == 0
    said = [line.event for line in rig.daemon.said()]
    assert said.index("daemon.draining") < said.index("recording.sealed") < said.index("daemon.stopped")
    assert not list((rig.daemon.data / "wal").glob("*"))


# ------------------------------------------------------------------ signals, with time in hand
class SlowEndpoint(SipEndpoint):
    """An endpoint without a stack: each poll takes 10 ms, and a script runs at moments."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.drained_at: float | None = None
        self.polls = 0
        self.waits: set[int] = set()
        self.tidied = 0
        self.applied: list[SipSettings] = []
        self.exempted: frozenset[str] = frozenset()
        self.on_poll: Callable[[], None] = lambda: None

    def poll(self, timeout_ms: int) -> None:
        self.polls += 1
        self.waits.add(timeout_ms)
        self._clock.pass_ms(10)
        self.on_poll()

    def apply(self, settings: SipSettings) -> None:
        self.applied.append(settings)

    def exempt(self, numbers: Iterable[str]) -> None:
        self.exempted = frozenset(numbers)

    def tidy(self) -> None:
        self.tidied += 1

    def drain(self) -> None:
        self.drained_at = self._clock.monotonic()


class QuietMedia(Media):
    """A media side that only remembers its announcements."""

    playing = False

    def __init__(self) -> None:
        self.used: list[PromptSet] = []
        self.trunks: Mapping[str, TrunkMedia] = {}

    def poll(self) -> None:
        """Nothing plays."""

    def use_trunks(self, trunks: Mapping[str, TrunkMedia]) -> None:
        self.trunks = trunks

    def use_prompts(self, prompts: PromptSet) -> None:
        self.used.append(prompts)


class CountingDriver(Driver):
    """A driver with as many calls as a test says."""

    def __init__(self) -> None:
        self.calls = 0
        self.drains = 0
        self.on_drain: Callable[[], None] = lambda: None

    @property
    def active(self) -> int:
        return self.calls

    def pump(self) -> int:
        return 0

    def drain(self) -> None:
        self.drains += 1
        self.on_drain()


class Whole:
    """The running whole on fakes."""

    def __init__(self, config: Config) -> None:
        self.clock = ManualClock()
        self.written = StringIO()
        log = EventLog(self.written, LogConfig(), self.clock.utcnow, strict=True)
        self.endpoint = SlowEndpoint(self.clock)
        self.media = QuietMedia()
        self.driver = CountingDriver()
        self.policy = opening.CurrentPolicy(
            load_policy(config.policy, opening.surroundings(config, self.clock.utcnow()))
        )
        clock: Any = self.clock  # the daemon's is the system's
        self.config = config
        self.daemon = roof._Daemon(
            config,
            log,
            clock,
            self.driver,
            self.endpoint,
            self.media,
            self.policy,
            lambda: self.config,
            media_places(config),
            None,
            ClockWatch(lambda: True, print, print, needed=False),
        )
        self.messages: list[str] = []

    def serve(self) -> None:
        """Serve in this thread, until a script stops it."""
        whole = self

        class Manager(ServiceManager):
            def _send(self, text: str) -> None:
                whole.messages.append(text)

        self.daemon.serve(Manager({}, self.messages.append))

    def stop_at(self, polls: int) -> None:
        def look() -> None:
            if self.endpoint.polls == polls:
                signal.raise_signal(signal.SIGTERM)

        self.endpoint.on_poll = look

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written.getvalue().splitlines()]


@pytest.fixture
def whole(make_rig: MakeRig) -> Iterator[Whole]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    made = Whole(load(make_rig(Settings(drain="PT30S")).daemon.config))
    yield made
    for number, handler in handlers.items():
        signal.signal(number, handler)
    gc.enable()


def test_a_drain_waits_as_long_as_it_may_then_ends_the_calls(whole: Whole) -> None:
    whole.driver.calls = 2
    ended_at: list[float] = []

    def end() -> None:
        ended_at.append(whole.clock.monotonic())
        whole.driver.calls = 0

    whole.driver.on_drain = end
    whole.stop_at(3)
    whole.serve()
    assert whole.endpoint.drained_at is not None
    assert 30.0 <= ended_at[0] - whole.endpoint.drained_at < 30.1
    assert whole.messages == ["READY=1", "STOPPING=1"]
    assert [line["event"] for line in whole.events()] == ["daemon.ready", "daemon.draining"]
    assert whole.events()[1]["calls"] == 2


def test_a_drain_is_over_with_the_last_call(whole: Whole) -> None:
    whole.driver.calls = 1

    def look() -> None:
        if whole.endpoint.polls == 3:
            signal.raise_signal(signal.SIGTERM)
        if whole.endpoint.polls == 10:
            whole.driver.calls = 0

    whole.endpoint.on_poll = look
    whole.serve()
    assert whole.driver.drains == 0
    assert whole.endpoint.polls == 10


def test_calls_that_do_not_end_even_then_do_not_keep_the_daemon(whole: Whole) -> None:
    whole.driver.calls = 1
    whole.stop_at(1)
    start = whole.clock.monotonic()
    whole.serve()
    assert whole.driver.drains == 1
    assert 75.0 <= whole.clock.monotonic() - start < 75.2


def test_without_calls_a_stop_is_immediate(whole: Whole) -> None:
    whole.stop_at(1)
    whole.serve()
    assert whole.endpoint.polls == 1


@pytest.mark.parametrize(("playing", "wait_ms"), [(True, 10), (False, 50)])
def test_the_loop_looks_more_often_while_an_announcement_plays(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, *, playing: bool, wait_ms: int
) -> None:
    monkeypatch.setattr(QuietMedia, "playing", playing)
    whole.stop_at(3)
    whole.serve()
    assert whole.endpoint.waits == {wait_ms}


def test_the_watchdog_is_fed_every_five_seconds(whole: Whole) -> None:
    whole.stop_at(2050)
    whole.serve()
    assert whole.messages == ["READY=1", *["WATCHDOG=1"] * 4, "STOPPING=1"]


def test_memory_of_ended_calls_is_given_back_every_minute(whole: Whole) -> None:
    whole.stop_at(12_100)
    whole.serve()
    assert whole.endpoint.tidied == 2


def test_the_recorder_lends_the_interpreter_for_half_a_millisecond_at_most(whole: Whole) -> None:
    before, intervals = sys.getswitchinterval(), list[float]()

    def look() -> None:
        intervals.append(sys.getswitchinterval())
        signal.raise_signal(signal.SIGTERM)

    whole.endpoint.on_poll = look
    whole.serve()
    assert intervals == [pytest.approx(0.0005)]
    assert sys.getswitchinterval() == before


def test_cyclic_garbage_is_collected_on_the_signalling_thread_only(whole: Whole) -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(gc.isenabled())
        signal.raise_signal(signal.SIGTERM)

    whole.endpoint.on_poll = look
    whole.serve()
    assert seen == [False]


def test_a_policy_is_read_beside_the_calls(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls go on while a new policy's announcements are spoken."""
    go_on, old = threading.Event(), whole.policy.get()
    load_now = opening.load_prompts

    def slow(config: Config, policy: Policy, log: EventLog) -> PromptSet:
        go_on.wait()
        return load_now(config, policy, log)

    monkeypatch.setattr(roof, "load_prompts", slow)
    text = whole.daemon._config.policy.read_text()
    whole.daemon._config.policy.write_text(text.replace("P30D", "P31D"))
    stopped_at: list[int] = []

    def look() -> None:
        if whole.endpoint.polls == 2:
            signal.raise_signal(signal.SIGHUP)
        if whole.endpoint.polls == 50:
            assert whole.policy.get() is old, "not before it is whole"
            assert whole.media.used == []
            go_on.set()
        if whole.policy.get() is not old and not stopped_at:
            stopped_at.append(whole.endpoint.polls)
            signal.raise_signal(signal.SIGTERM)

    whole.endpoint.on_poll = look
    whole.serve()
    assert stopped_at[0] > 50
    assert whole.policy.get().version != old.version
    assert len(whole.media.used) == 1
    assert [line["event"] for line in whole.events()].count("policy.loaded") == 1


@pytest.mark.parametrize("fault", ["bad policy", "no policy", "no words", "too many words", "a bug"])
def test_a_policy_that_cannot_be_read_leaves_the_old_one(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    old, place = whole.policy.get(), whole.daemon._config.policy
    match fault:
        case "bad policy":
            place.write_text("purposes: [\n")
        case "no policy":
            place.unlink()
        case "no words" | "too many words":
            policy = yaml.safe_load(place.read_text())
            said = (
                {"file": "broken.wav"}
                if fault == "no words"
                else {"text": "Dit is een lange mededeling. " * 9}
            )
            policy["prompts"] = dict.fromkeys(policy["prompts"], said)
            place.with_name("broken.wav").write_bytes(b"RIFF no audio")
            place.write_text(yaml.safe_dump(policy))
        case _:
            monkeypatch.setattr(roof, "load_prompts", lambda *_: 1 // 0)

    def look() -> None:
        if whole.endpoint.polls == 1:
            signal.raise_signal(signal.SIGHUP)
        if "policy.rejected" in whole.written.getvalue():
            signal.raise_signal(signal.SIGTERM)

    whole.endpoint.on_poll = look
    whole.serve()
    assert whole.policy.get() is old
    assert ("E007" in whole.written.getvalue()) == (fault in {"no words", "too many words"})
    assert whole.media.used == []
    assert whole.messages == ["READY=1", *["WATCHDOG=1"] * (len(whole.messages) - 2), "STOPPING=1"]


def test_a_reload_takes_trunks_policy_and_log_level_at_once(whole: Whole) -> None:
    trunks = {name: replace(trunk, max_calls=7) for name, trunk in whole.config.trunks.items()}
    whole.config = replace(whole.config, trunks=trunks, log=LogConfig(level=LogLevel.DEBUG))

    def look() -> None:
        if whole.endpoint.polls == 1:
            signal.raise_signal(signal.SIGHUP)
        if "config.loaded" in whole.written.getvalue():
            signal.raise_signal(signal.SIGTERM)

    whole.endpoint.on_poll = look
    whole.serve()
    (applied,) = whole.endpoint.applied
    assert [trunk.limits.max_calls for trunk in applied.trunks] == [7, 7]
    assert "112" in whole.endpoint.exempted
    assert set(whole.media.trunks) == {"carrier", "pbx"}
    (loaded,) = [line for line in whole.events() if line["event"] == "config.loaded"]
    assert loaded["changed"] == "trunks.carrier.max_calls trunks.pbx.max_calls log.level"


def test_a_reload_that_needs_a_restart_is_refused_as_a_whole(whole: Whole) -> None:
    old = whole.policy.get()
    sip = replace(whole.config.sip, max_calls=49)
    whole.config = replace(whole.config, sip=sip, trunks=dict(list(whole.config.trunks.items())[:1]))

    def look() -> None:
        if whole.endpoint.polls == 1:
            signal.raise_signal(signal.SIGHUP)
        if "config.rejected" in whole.written.getvalue():
            signal.raise_signal(signal.SIGTERM)

    whole.endpoint.on_poll = look
    whole.serve()
    assert (whole.endpoint.applied, whole.policy.get()) == ([], old)
    (rejected,) = [line for line in whole.events() if line["event"] == "config.rejected"]
    assert rejected["why"] == "recproxy.yaml: sip.max_calls: changed, which needs a restart"


# ------------------------------------------------------------------ the end
def test_a_store_that_cannot_be_closed_is_said_and_left_to_the_next_start(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    written = StringIO()
    clock = SystemClock()
    log = EventLog(written, LogConfig(), clock.utcnow, strict=True)

    def fail(_store: RecordingStore) -> None:
        close(_store)
        raise StorageError("fsync wal: Input/output error")

    close = RecordingStore.close
    monkeypatch.setattr(RecordingStore, "close", fail)
    with ExitStack() as stack:
        opening.open_store(load(rig.daemon.config), log, clock, stack)
    assert json.loads(written.getvalue())["why"] == "fsync wal: Input/output error"
