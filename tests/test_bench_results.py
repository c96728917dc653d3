"""The bench's rows: what is written is read back, what was disturbed does not count."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCH = Path(__file__).parent.parent / "bench"
if not BENCH.is_dir():
    pytest.skip("the bench is part of the source tree", allow_module_level=True)
sys.path.insert(0, str(BENCH))

from results import (  # noqa: E402 - the bench is put on the path above
    Conditions,
    Disturbance,
    ExportRow,
    MediaRow,
    ResultsError,
    Row,
    SetupRow,
    decode,
    encode,
)
from verdicts import (  # noqa: E402 - the bench is put on the path above
    Limits,
    Spread,
    best_rate,
    faults,
    last_batch,
    refusals,
    saturated,
    summarise,
)

CALM = Disturbance(foreign_core_pct=0.3, foreign_machine_pct=1.0, steal_pct=0.0, late_us_p99=300)
HERE = Conditions(batch="2026-01-01", machine="m", window_s=10, quantum_us=250, frame_ms=20)
LIMITS = Limits()


def media(target: str = "recproxy", calls: int = 100, cpu_pct: float = 12.0, **changes: Any) -> MediaRow:
    row = MediaRow(
        target=target,
        calls=calls,
        round=1,
        date="2026-01-01T00:00:00+00:00",
        conditions=HERE,
        disturbance=CALM,
        cpu_pct=cpu_pct,
        answered=calls,
        failed=0,
        sent=100_000,
        received=100_000,
    )
    return msgspec.structs.replace(row, **changes)


def set_up(rate: int, **changes: Any) -> SetupRow:
    row = SetupRow(
        target="recproxy",
        rate=rate,
        round=1,
        date="2026-01-01T00:00:00+00:00",
        conditions=HERE,
        disturbance=CALM,
        made=5 * rate,
        answered=5 * rate,
        failed=0,
        cpu_s=1.0,
        wall_s=6.0,
    )
    return msgspec.structs.replace(row, **changes)


def export(wall_s: float = 3.0, **changes: Any) -> ExportRow:
    row = ExportRow(
        audio_format="wav",
        round=1,
        date="2026-01-01T00:00:00+00:00",
        conditions=HERE,
        disturbance=CALM,
        audio_s=3600,
        wall_s=wall_s,
        cpu_s=2.0,
    )
    return msgspec.structs.replace(row, **changes)


def disturbed(**changes: Any) -> Disturbance:
    return msgspec.structs.replace(CALM, **changes)


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("row", [media(), set_up(100), export()])
def test_a_row_is_read_as_it_was_written(row: Row) -> None:
    assert decode([encode(row), b"\n"], "file") == [row]


def test_a_line_that_is_no_row_is_told_with_its_place() -> None:
    with pytest.raises(ResultsError, match=r"^results\.jsonl:2: no row of results: "):
        decode([encode(media()), b'{"type":"media"}'], "results.jsonl")


def test_only_the_batch_begun_last_is_shown() -> None:
    old, new = (
        media(conditions=msgspec.structs.replace(HERE, batch=day)) for day in ("2026-01-01", "2026-01-02")
    )
    assert last_batch([new, old]) == [new]
    assert last_batch([]) == []


# ---------------------------------------------------------------- refused


def test_a_calm_row_counts() -> None:
    assert refusals(media(), LIMITS) == ()
    assert faults(media()) == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"foreign_core_pct": 4.1}, "others took 4.1 % of its core"),
        ({"foreign_machine_pct": 6.1}, "others took 6.1 % of a core"),
        ({"steal_pct": 1.1}, "the hypervisor took 1.1 %"),
        ({"generator_pct": 91.0}, "the generator was at 91 %"),
        ({"late_us_p99": 1251.0}, "the generator was 1251 us late"),
        ({"generator_drops": 1}, "the generator missed 1 packets"),
        ({"send_errors": 3}, "the generator could not send 3 packets"),
    ],
)
def test_a_row_measured_under_other_load_is_refused_with_the_reason(
    changes: dict[str, Any], why: str
) -> None:
    row = media(disturbance=disturbed(**changes))
    assert refusals(row, LIMITS) == (why,)
    [summary] = summarise([row], LIMITS)
    assert (summary.rows, summary.refused, summary.failed) == ((), (why,), ())
    assert summary.cost is None


def test_the_quantum_of_the_generator_is_not_lateness() -> None:
    late = disturbed(late_us_p99=1400.0)
    assert refusals(media(disturbance=late), LIMITS)
    coarse = msgspec.structs.replace(HERE, quantum_us=500)
    assert refusals(media(disturbance=late, conditions=coarse), LIMITS) == ()


# ---------------------------------------------------------------- failed


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"answered": 99, "last_failure": 503}, "99 of 100 calls up, last failure 503"),
        ({"failed": 1, "last_failure": 997}, "100 of 100 calls up, last failure 997"),
        ({"sent": 0, "received": 0}, "nothing was sent"),
        ({"bypassed": 2}, "2 streams went past it"),
        ({"dead_streams": 1}, "1 streams are dead"),
        ({"altered": 5}, "5 packets were altered"),
        ({"alien": 7}, "7 packets are none of ours"),
        ({"crosstalk": 9}, "9 packets reached another call"),
        ({"recording_fault": "99 of 100 recordings sealed"}, "99 of 100 recordings sealed"),
    ],
)
def test_a_target_that_did_not_do_the_work_has_no_cost(changes: dict[str, Any], why: str) -> None:
    row = media(**changes)
    assert faults(row) == (why,)
    [summary] = summarise([row], LIMITS)
    assert (summary.rows, summary.failed) == ((), (why,))


def test_a_lost_packet_is_a_result_not_a_fault() -> None:
    row = media(received=99_990)
    assert faults(row) == ()
    assert row.lost == 10


def test_a_set_up_that_failed_is_told() -> None:
    row = set_up(100, answered=498, failed=2, last_failure=999)
    assert faults(row) == ("2 of 500 calls failed, 498 were answered, last failure 999",)


def test_a_target_that_wanted_more_than_its_core_is_saturated() -> None:
    assert not saturated(media(cpu_pct=94.0))
    assert saturated(media(cpu_pct=94.0, disturbance=disturbed(foreign_core_pct=1.5)))


# ---------------------------------------------------------------- together


def test_quantities_of_a_row() -> None:
    row = media(calls=100, cpu_pct=12.0, pss_idle_kb=50_000, pss_busy_kb=68_000)
    assert row.cost == pytest.approx(0.12)
    assert row.us_per_packet == pytest.approx(12.0)  # 1.2 s of CPU for 100,000 packets
    assert row.kb_per_call == pytest.approx(180.0)
    assert set_up(100, cpu_s=0.5).cpu_ms_per_call == pytest.approx(1.0)
    assert export(wall_s=3.6).speed == pytest.approx(1000.0)


@given(st.lists(st.floats(0.001, 1000), min_size=1))
def test_a_median_lies_between_the_least_and_the_most(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert spread.least <= spread.median <= spread.most
    assert spread.runs == len(values)
    assert spread.enough == (len(values) >= 3)


def test_there_is_no_spread_of_nothing() -> None:
    assert Spread.of([]) is None


def test_a_ratio_is_of_runs_of_the_same_round() -> None:
    # The machine got slower from round to round; the ratio did not.
    costs = ((1, 10.0), (2, 20.0), (3, 40.0))
    mine = [media("recproxy", cpu_pct=1.5 * cost, round=number) for number, cost in costs]
    theirs = [media("relay-c", cpu_pct=cost, round=number) for number, cost in costs]
    recproxy, relay = summarise([*mine, *theirs], LIMITS)
    ratio = recproxy.ratio_to(relay)
    assert ratio is not None
    assert (ratio.median, ratio.least, ratio.most, ratio.runs) == pytest.approx((1.5, 1.5, 1.5, 3))


def test_a_round_without_its_counterpart_gives_no_ratio() -> None:
    recproxy, relay = summarise([media("recproxy", round=1), media("relay-c", round=2)], LIMITS)
    assert recproxy.ratio_to(relay) is None


@pytest.mark.parametrize("key", ["batch", "machine", "window_s", "quantum_us", "frame_ms", "settle_s"])
def test_rows_of_other_conditions_are_never_compared(key: str) -> None:
    other = msgspec.structs.replace(HERE, **{key: "other" if key in {"batch", "machine"} else 1})
    recproxy, relay = summarise([media("recproxy"), media("relay-c", conditions=other)], LIMITS)
    with pytest.raises(ResultsError, match="recproxy and relay-c were measured under other conditions"):
        recproxy.ratio_to(relay)


def test_calls_of_other_numbers_are_never_compared() -> None:
    few, many = summarise([media("recproxy", calls=50), media("relay-c", calls=100)], LIMITS)
    with pytest.raises(ResultsError, match="other conditions"):
        few.ratio_to(many)


def test_a_repeated_round_counts_once() -> None:
    first = media(disturbance=disturbed(steal_pct=5.0))
    [summary] = summarise([first, media(cpu_pct=11.0), media(round=2), media(round=3)], LIMITS)
    assert [row.round for row in summary.rows] == [1, 2, 3]
    assert len(summary.refused) == 1


def test_series_are_kept_apart() -> None:
    rows: list[Row] = [media(series="flat", calls=50), media(calls=50)]
    assert [s.rows for s in summarise(rows, LIMITS, "flat")] == [(rows[0],)]
    assert [s.rows for s in summarise(rows, LIMITS)] == [(rows[1],)]


# ---------------------------------------------------------------- the highest rate


def test_the_best_rate_is_the_last_before_the_first_failure() -> None:
    rows = [set_up(600), set_up(100), set_up(300, failed=1), set_up(200)]
    best = best_rate(rows, "recproxy", LIMITS)
    assert best is not None
    assert best.rate == 200


def test_a_refused_rate_is_neither_good_nor_bad() -> None:
    rows = [set_up(100), set_up(200, failed=1, disturbance=disturbed(steal_pct=9)), set_up(300)]
    best = best_rate(rows, "recproxy", LIMITS)
    assert best is not None
    assert best.rate == 300
    assert best_rate([set_up(100, failed=1)], "recproxy", LIMITS) is None
    assert best_rate(rows, "asterisk", LIMITS) is None
