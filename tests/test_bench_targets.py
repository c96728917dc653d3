"""The bench's targets and its reading of the machine."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recproxy.config import load

BENCH = Path(__file__).parent.parent / "bench"
if not BENCH.is_dir():
    pytest.skip("the bench is part of the source tree", allow_module_level=True)
sys.path.insert(0, str(BENCH))

from accounting import Core, Snapshot, between, cores, cpu_seconds, descendants, dropped, memory_kb  # noqa: E402
from compare import into  # noqa: E402
from proxy import Held, Proxy  # noqa: E402
from results import ResultsError  # noqa: E402 - the bench is put on the path above
from targets import TARGETS, Route, UnknownTargetError, chosen  # noqa: E402

RECPROXY = (sys.executable, "-m", "recproxy")


BEGUN = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _opened(number: int, second: int = -1) -> str:
    at = BEGUN + timedelta(seconds=second)
    return json.dumps({"ts": at.isoformat(), "event": "recording.opened", "recording": f"{number:032x}"})


def _sealed(number: int, frames: int = 80_000, ring_dropped: int = 0, lost: int = 0) -> str:
    fields = {"recording": f"{number:032x}", "frames": frames, "ring_dropped": ring_dropped}
    return json.dumps({"ts": "", "event": "recording.sealed", "caller_lost": lost, **fields})


# ---------------------------------------------------------------- targets


def test_the_list_of_targets_is_consistent() -> None:
    assert all(name == target.name and target.what for name, target in TARGETS.items())
    assert {target.name for target in TARGETS.values() if target.route is not Route.SIP} == {
        "null",
        "relay-c",
        "relay-c-copy",
        "relay-c-enc",
    }


def test_targets_are_chosen_by_name_in_order() -> None:
    assert [target.name for target in chosen("asterisk-mix, relay-c,")] == ["asterisk-mix", "relay-c"]
    with pytest.raises(UnknownTargetError, match=r"^no target freeswitch; there are null, relay-c, "):
        chosen("relay-c,freeswitch")


def test_recproxy_takes_the_configuration_of_the_bench(tmp_path: Path) -> None:
    proxy = Proxy(RECPROXY, tmp_path, tmp_path / "prompts", calls=2000)
    proxy.install()
    settings = load(proxy.config)
    assert settings.sip.max_calls == 2064
    assert settings.media.ports.pairs >= 2 * settings.sip.max_calls
    assert proxy.identity.stat().st_mode & 0o077 == 0
    assert proxy.run("policy", "check", str(tmp_path / "policy.yaml"))


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        ([], "1 of 2 recordings sealed"),
        ([_opened(2, 1), _sealed(2)], "1 recordings were opened after the window began"),
        ([_opened(2), _sealed(2, frames=79_000)], "1 recordings are shorter than 10 s"),
        ([_opened(2), _sealed(2, ring_dropped=3)], "3 packets did not reach the recorder"),
        ([_opened(2), _sealed(2, lost=4)], "4 packets are missing in the recordings"),
    ],
)
def test_a_recording_that_is_missing_late_short_or_torn_is_a_fault(
    tmp_path: Path, second: list[str], fault: str
) -> None:
    proxy = Proxy(RECPROXY, tmp_path, tmp_path / "prompts", calls=2)
    held = Held(["a line", _opened(1), _sealed(1), *second], 2, BEGUN, 10)
    assert proxy.fault(held) == fault


def test_a_recording_that_does_not_verify_is_a_fault(tmp_path: Path) -> None:
    proxy = Proxy(RECPROXY, tmp_path, tmp_path / "prompts", calls=1)  # there is nothing to verify
    assert "recordings verify" in proxy.fault(Held([_opened(1), _sealed(1)], 1, BEGUN, 10))


def test_a_table_is_written_between_the_marks_of_a_document() -> None:
    document = "before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n"
    written = "before\n<!-- bench: begin -->\n\nnew\n\n<!-- bench: end -->\nafter\n"
    assert into(document, "new") == written
    assert into(written, "new") == written
    with pytest.raises(ResultsError, match="no lines"):
        into("a document", "new")


def test_the_document_has_the_marks() -> None:
    into((BENCH.parent / "docs" / "performance.md").read_text(encoding="utf-8"), "new")


# ---------------------------------------------------------------- reading the machine


def _snapshot(at: float, idle: float, target: float, kernel: float, stolen: float = 0.0) -> Snapshot:
    core = Core(idle, stolen)
    return Snapshot(
        at, {0: core, 1: core}, {9: target}, {9: "relay"}, {3: kernel, 4: kernel}, {3: 0, 4: 1}, {7: at}
    )


def test_what_is_in_nobodys_cpu_time_is_foreign() -> None:
    # Ten seconds; each core idles for 4 and is stolen for 1, so 5 s of each are busy. On the target's
    # core 3 s are the target's and 0.5 s a kernel thread's; the generator took 10 s somewhere.
    used = between(_snapshot(0, 0, 0, 0), _snapshot(10, 4, 3, 0.5, stolen=1), core=1)
    assert (used.seconds, used.target, used.target_by, used.kernel) == (10, 3, {"relay": 3}, 1.0)
    assert used.foreign_core == pytest.approx(1.5)
    assert used.foreign_machine == 0.0  # 10 busy seconds, 14 of ours: never below nothing
    assert used.stolen == pytest.approx(2)


def test_a_process_that_began_in_between_is_counted_from_nothing() -> None:
    before = _snapshot(0, 0, 0, 0)
    after = Snapshot(10, before.cores, {9: 1.0, 10: 2.0}, {9: "a", 10: "b"}, {}, {}, {})
    assert between(before, after, core=0).target_by == {"a": 1.0, "b": 2.0}


def test_this_process_is_found_with_its_cpu_time_and_memory() -> None:
    before = cpu_seconds(os.getpid())
    assert sum(range(1_000_000)) > 0
    assert cpu_seconds(os.getpid()) > before
    assert os.getpid() in descendants([os.getpid()])
    assert memory_kb([os.getpid()]) > 1000
    assert len(cores()) == os.cpu_count()


def test_what_is_gone_counts_nothing() -> None:
    gone = 2**22 + 1  # above the kernel's limit of process ids
    assert (cpu_seconds(gone), memory_kb([gone]), descendants([gone])) == (0.0, 0, [])


def test_lost_datagrams_are_those_of_the_named_addresses() -> None:
    assert dropped(["127.9.8.7"]) == 0
