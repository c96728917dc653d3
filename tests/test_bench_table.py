"""The bench's table: ratios, bounds, and a verdict on each goal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

BENCH = Path(__file__).parent.parent / "bench"
if not BENCH.is_dir():
    pytest.skip("the bench is part of the source tree", allow_module_level=True)
sys.path.insert(0, str(BENCH))

from results import (  # noqa: E402 - the bench is put on the path above
    Conditions,
    Disturbance,
    ExportRow,
    MediaRow,
    Row,
    SetupRow,
)
from table import Verdict, aligned, media_table, report, verdicts  # noqa: E402
from verdicts import Limits, summarise  # noqa: E402 - the bench is put on the path above

CALM = Disturbance(foreign_core_pct=0.3, foreign_machine_pct=1.0, steal_pct=0.0)
HERE = Conditions(batch="b", machine="m", window_s=10, quantum_us=250, frame_ms=20)
LIMITS = Limits()
DATE = "2026-01-01T00:00:00+00:00"


def media(target: str, cost: float, calls: int = 100, **changes: Any) -> list[MediaRow]:
    """Three runs, a tenth apart."""
    row = MediaRow(
        target=target,
        calls=calls,
        round=1,
        date=DATE,
        conditions=HERE,
        disturbance=CALM,
        cpu_pct=cost * calls,
        answered=calls,
        failed=0,
        sent=100_000,
        received=100_000,
        delay_us_p50=60,
        delay_us_p99=200,
    )
    row = msgspec.structs.replace(row, **changes)
    return [
        msgspec.structs.replace(row, round=number, cpu_pct=row.cpu_pct * (1 + (number - 2) / 10))
        for number in (1, 2, 3)
    ]


def set_up(rate: int, failed: int = 0) -> SetupRow:
    return SetupRow(
        target="recproxy",
        rate=rate,
        round=1,
        date=DATE,
        conditions=HERE,
        disturbance=CALM,
        made=rate,
        answered=rate - failed,
        failed=failed,
        cpu_s=rate / 1000,
        wall_s=5,
    )


def export(wall_s: float) -> ExportRow:
    return ExportRow(
        audio_format="wav",
        round=1,
        date=DATE,
        conditions=HERE,
        disturbance=CALM,
        audio_s=3600,
        wall_s=wall_s,
        cpu_s=wall_s,
    )


def good_day() -> list[Row]:
    """Rows of a run in which every goal is reached."""
    return [
        *media("relay-c", 0.10),
        *media("recproxy", 0.115, pss_idle_kb=60_000, pss_busy_kb=75_000),
        *media("rtpengine-pcap", 0.29),
        *media("asterisk-mix", 0.71),
        *media("recproxy", 0.12, 500, series="load"),
        *media("recproxy", 0.02, 50, series="flat"),
        *media("recproxy", 0.021, 2000, series="flat"),
        set_up(300),
        set_up(600),
        export(3.0),
    ]


def test_a_table_is_markdown_whose_columns_line_up() -> None:
    drawn = aligned(("target", "n"), [("a", "1"), ("long name", "22")])
    assert drawn.splitlines() == [
        "| target    |   n |",
        "| --------- | --: |",
        "| a         |   1 |",
        "| long name |  22 |",
    ]


def test_the_table_has_spread_ratios_and_counts_of_runs() -> None:
    drawn = media_table(summarise(good_day(), LIMITS)).splitlines()
    [line] = [line for line in drawn if line.startswith("| recproxy")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["recproxy", "100", "3/3", "0.1150", "0.1035–0.1265", "11.50"]
    assert cells[6:9] == ["1.15", "0.397", "0.162"]
    assert cells[10:] == ["60/200", "0", "150", "–"]


def test_a_reference_has_no_ratio_to_itself() -> None:
    drawn = media_table(summarise([*media("relay-c", 0.1)], LIMITS)).splitlines()
    assert [cell.strip() for cell in drawn[2].strip("|").split("|")][6] == "–"


def test_a_ratio_of_too_few_runs_is_marked() -> None:
    rows = [*media("recproxy", 0.12)[:2], *media("relay-c", 0.1)]
    assert "1.2?" in media_table(summarise(rows, LIMITS))


def test_a_saturated_peer_makes_the_ratio_a_bound() -> None:
    rows = [*media("recproxy", 0.12), *media("asterisk-mix", 1.0)]
    drawn = media_table(summarise(rows, LIMITS))
    assert "≥1.0000" in drawn
    assert "≤0.12" in drawn


def test_a_target_without_a_sound_run_is_shown_empty_and_its_reasons_below() -> None:
    noisy = msgspec.structs.replace(CALM, steal_pct=9.0)
    rows: list[Row] = [*media("relay-c", 0.1), *media("recproxy", 0.1, disturbance=noisy)]
    said = report(rows, LIMITS)
    assert "| recproxy | " in said
    assert " 0/3 " in said
    assert "- recproxy, 100 calls, round 2: refused: the hypervisor took 9.0 %" in said


def test_every_goal_is_reached_on_a_good_day() -> None:
    found = verdicts(good_day(), LIMITS)
    assert len(found) == 8
    assert [verdict for verdict in found if verdict.kept is not True] == []


def test_nothing_measured_is_no_verdict() -> None:
    assert [(verdict.found, verdict.kept) for verdict in verdicts([], LIMITS)] == [("", None)] * 8


@pytest.mark.parametrize(
    ("goal", "worse"),
    [
        ("asterisk-mix", media("asterisk-mix", 0.5)),
        ("rtpengine-pcap", media("rtpengine-pcap", 0.2)),
        ("relay-c", media("relay-c", 0.09)),
        ("no packet lost", media("recproxy", 0.12, 500, series="load", received=99_999)),
        ("no packet lost", media("recproxy", 0.12, 500, series="load", delay_us_p99=1001)),
        ("memory", media("recproxy", 0.115, pss_busy_kb=20_000)),
        ("the same from", media("recproxy", 0.03, 2000, series="flat")),
    ],
)
def test_a_goal_that_is_missed_is_told(goal: str, worse: list[MediaRow]) -> None:
    replaced = {(row.target, row.calls, row.series) for row in worse}
    rows: list[Row] = [
        *worse,
        *(
            row
            for row in good_day()
            if not isinstance(row, MediaRow) or (row.target, row.calls, row.series) not in replaced
        ),
    ]
    assert [goal in verdict.goal for verdict in verdicts(rows, LIMITS) if verdict.kept is False] == [True]


def test_two_runs_are_no_verdict_on_cost() -> None:
    rows: list[Row] = [*media("recproxy", 0.1)[:2], *media("relay-c", 0.1)]
    assert verdicts(rows, LIMITS)[2] == Verdict(
        "CPU of recproxy at most 1.2 × relay-c, at equal calls", "not 3 sound runs", None
    )


def test_a_rate_below_the_goal_and_a_slow_export_are_told() -> None:
    rows: list[Row] = [set_up(300), set_up(600, failed=1), export(4.0)]
    by_goal = {verdict.goal: verdict for verdict in verdicts(rows, LIMITS)}
    rate = by_goal["600 calls set up a second on one core, none failed"]
    assert (rate.found, rate.kept) == ("300 a second, 1.00 ms of CPU each", False)
    speed = by_goal["export to WAV at least 1,000 × real time"]
    assert (speed.found, speed.kept) == ("900 × (900–900)", False)


def test_memory_is_told_with_how_long_the_calls_stood() -> None:
    stood = msgspec.structs.replace(HERE, settle_s=40)
    rows: list[Row] = [*media("recproxy", 0.115, pss_idle_kb=0, pss_busy_kb=15_000, conditions=stood)]
    [memory] = [verdict for verdict in verdicts(rows, LIMITS) if "memory" in verdict.goal]
    assert (memory.found, memory.kept) == ("150 kB at 100 calls, 50 s after they were up", True)


def test_flatness_needs_two_thousand_calls() -> None:
    rows: list[Row] = [
        *media("recproxy", 0.02, 50, series="flat"),
        *media("recproxy", 0.02, 1000, series="flat"),
    ]
    [flat] = [verdict for verdict in verdicts(rows, LIMITS) if "the same from" in verdict.goal]
    assert flat.kept is False


def test_set_ups_that_were_all_disturbed_are_no_verdict() -> None:
    noisy = msgspec.structs.replace(CALM, steal_pct=9.0)
    row = msgspec.structs.replace(set_up(600), disturbance=noisy)
    [rate] = [verdict for verdict in verdicts([row], LIMITS) if "set up a second" in verdict.goal]
    assert rate.kept is None
