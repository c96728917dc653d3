"""The one table of the comparison, and the verdict on each goal. Pure.

The table is Markdown whose columns also line up in a terminal. Ratios are of runs of
the same round, so that what drifts from round to round hits both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from results import (
    ExportRow,
    MediaRow,
    Row,
    SetupRow,
)
from verdicts import (
    LEAST_RUNS,
    Limits,
    Spread,
    Summary,
    best_rate,
    faults,
    refusals,
    summarise,
)

NONE: Final = "–"
BARE, PCAP, MIX = "relay-c", "rtpengine-pcap", "asterisk-mix"
REFERENCES: Final = (BARE, PCAP, MIX)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal.

    Attributes:
        goal: What is wanted.
        found: What was found; empty if it was not measured.
        kept: Whether it is reached; None if it was not measured.
    """

    goal: str
    found: str
    kept: bool | None


def aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are set right."""
    lines = [list(head), *[list(line) for line in body]]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def drawn(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        return "| " + " | ".join(cells) + " |"

    return "\n".join([drawn(head), "| " + " | ".join(rule) + " |", *(drawn(line) for line in body)])


# ---------------------------------------------------------------- media


_MEDIA_HEAD: Final = (
    "target",
    "calls",
    "runs",
    "% core/call",
    "min–max",
    "us/packet",
    *(f"× {name}" for name in REFERENCES),
    "+kernel %",
    "delay p50/p99 us",
    "lost",
    "memory kB/call",
    "recorded kB/call",
)


def media_table(summaries: Sequence[Summary]) -> str:
    """Cost of calls at once, by number of calls."""
    by_key = {(summary.target, summary.calls): summary for summary in summaries}
    order = sorted(by_key, key=lambda key: key[1])
    return aligned(_MEDIA_HEAD, [_media_line(by_key[key], by_key) for key in order])


def _media_line(summary: Summary, others: dict[tuple[str, int], Summary]) -> list[str]:
    rows, cost = summary.rows, summary.cost
    attempts = len(rows) + len(summary.refused) + len(summary.failed)
    start = [summary.target, str(summary.calls), f"{len(rows)}/{attempts}"]
    if cost is None:
        return [*start, *[NONE] * (len(_MEDIA_HEAD) - len(start))]
    bound = "≥" if summary.saturated else ""
    return [
        *start,
        f"{bound}{cost.median:.4f}",
        f"{cost.least:.4f}–{cost.most:.4f}",
        f"{_median(rows, lambda row: row.us_per_packet):.2f}",
        *(_ratio(summary, others.get((name, summary.calls))) for name in REFERENCES),
        f"{_median(rows, lambda row: row.kernel_pct / row.calls):.4f}",
        _delays(rows),
        str(max(row.lost for row in rows)),
        f"{_median(rows, lambda row: row.kb_per_call):.0f}",
        f"{_median(rows, _recorded):.0f}" if any(row.recorded_files for row in rows) else NONE,
    ]


def _delays(rows: Sequence[MediaRow]) -> str:
    middle, slow = (_median(rows, lambda row: row.delay_us_p50), _median(rows, lambda row: row.delay_us_p99))
    return f"{middle:.0f}/{slow:.0f}"


def _recorded(row: MediaRow) -> float:
    return row.recorded_bytes / row.calls / 1024


def _ratio(summary: Summary, other: Summary | None) -> str:
    if other is None or other.target == summary.target:
        return NONE
    ratio = summary.ratio_to(other)
    if ratio is None:
        return NONE
    bound = "≤" if other.saturated and not summary.saturated else ""
    few = "" if ratio.enough else "?"
    return f"{bound}{ratio.median:.3g}{few}"


def _median(rows: Sequence[MediaRow], value: Callable[[MediaRow], float]) -> float:
    spread = Spread.of([value(row) for row in rows])
    return spread.median if spread else 0.0


# ---------------------------------------------------------------- set-up and export


def setup_table(rows: Sequence[SetupRow], limits: Limits) -> str:
    """Every rate that was tried."""
    head = ("target", "calls/s", "calls", "failed", "repeated", "set-up p50/p99 ms", "CPU ms/call", "verdict")
    body = [
        [
            row.target,
            str(row.rate),
            str(row.made),
            str(row.failed),
            str(row.repeated),
            f"{row.setup_us_p50 / 1000:.1f}/{row.setup_us_p99 / 1000:.1f}",
            f"{row.cpu_ms_per_call:.2f}",
            _said(row, limits),
        ]
        for row in rows
    ]
    return aligned(head, body)


def export_table(rows: Sequence[ExportRow], limits: Limits) -> str:
    """Every export that was timed."""
    head = ("export to", "audio s", "took s", "CPU s", "× real time", "verdict")
    body = [
        [
            row.audio_format,
            f"{row.audio_s:.0f}",
            f"{row.wall_s:.2f}",
            f"{row.cpu_s:.2f}",
            f"{row.speed:.0f}",
            _said(row, limits),
        ]
        for row in rows
    ]
    return aligned(head, body)


def _said(row: Row, limits: Limits) -> str:
    refused, failed = refusals(row, limits), faults(row)
    if refused:
        return "refused: " + "; ".join(refused)
    return "failed" if failed else "good"


# ---------------------------------------------------------------- the goals


def verdicts(rows: Sequence[Row], limits: Limits, target: str = "recproxy") -> list[Verdict]:
    """Each goal of the media plane for one target."""
    cost = {(s.target, s.calls): s for s in summarise(rows, limits)}
    return [
        _against(cost, target, MIX, 0.2),
        _against(cost, target, PCAP, 0.5),
        _against(cost, target, BARE, 1.2),
        _lossless(rows, limits, target),
        _memory(cost, target),
        _flat(summarise(rows, limits, "flat"), target),
        _rate(rows, limits, target),
        _export(rows, limits),
    ]


def _against(cost: dict[tuple[str, int], Summary], target: str, other: str, bound: float) -> Verdict:
    goal = f"CPU of {target} at most {bound:g} × {other}, at equal calls"
    ratios = {
        calls: ratio
        for (name, calls), summary in cost.items()
        if name == target and (other, calls) in cost and (ratio := summary.ratio_to(cost[other, calls]))
    }
    sound = {calls: ratio for calls, ratio in ratios.items() if ratio.enough}
    if not sound:
        return Verdict(goal, f"not {LEAST_RUNS} sound runs" if ratios else "", None)
    found = ", ".join(f"{r.median:.3g} ({r.least:.3g}–{r.most:.3g}) at {n}" for n, r in sorted(sound.items()))
    return Verdict(goal, found, all(ratio.median <= bound for ratio in sound.values()))


def _lossless(rows: Sequence[Row], limits: Limits, target: str) -> Verdict:
    goal = "no packet lost, delay p99 at most 1 ms, at 60 % of the core"
    kept = [row for s in summarise(rows, limits, "load") if s.target == target for row in s.rows]
    if not kept:
        return Verdict(goal, "", None)
    lost, delay = max(row.lost for row in kept), max(row.delay_us_p99 for row in kept)
    load = Spread.of([row.cpu_pct for row in kept])
    share = load.median if load else 0.0
    found = f"{lost} lost, p99 {delay:.0f} us at {share:.0f} % ({kept[0].calls} calls), worst of {len(kept)}"
    return Verdict(goal, found, lost == 0 and delay <= 1000)


def _memory(cost: dict[tuple[str, int], Summary], target: str) -> Verdict:
    goal = "memory for each call at most 200 kB"
    kept = {calls: s.rows for (name, calls), s in cost.items() if name == target and s.rows}
    if not kept:
        return Verdict(goal, "", None)
    most = max(kept)  # what a process takes once is least visible with many calls
    found = _median(kept[most], lambda row: row.kb_per_call)
    held_s = kept[most][0].conditions.held_s
    said = f"{found:.0f} kB at {most} calls, {held_s:.0f} s after they were up"
    return Verdict(goal, said, found * 1.024 <= 200)


def _flat(summaries: Sequence[Summary], target: str) -> Verdict:
    goal = "cost of a call the same from 50 to 2,000 calls (at most 1.2 ×)"
    costs = {s.calls: s.cost for s in summaries if s.target == target and s.cost is not None}
    if len(costs) < 2:
        return Verdict(goal, "", None)
    found = ", ".join(f"{cost.median:.4f} at {calls}" for calls, cost in sorted(costs.items()) if cost)
    first, last = costs[min(costs)], costs[max(costs)]
    if first is None or last is None or max(costs) < 2000 or any(s.saturated for s in summaries):
        return Verdict(goal, found, False)
    return Verdict(goal, found, last.median <= 1.2 * first.median)


def _rate(rows: Sequence[Row], limits: Limits, target: str) -> Verdict:
    goal = "600 calls set up a second on one core, none failed"
    sound = [row for row in rows if isinstance(row, SetupRow) and not refusals(row, limits)]
    if not any(row.target == target for row in sound):
        return Verdict(goal, "", None)
    best = best_rate(rows, target, limits)
    if best is None:
        return Verdict(goal, "no rate without a failure", False)
    return Verdict(goal, f"{best.rate} a second, {best.cpu_ms_per_call:.2f} ms of CPU each", best.rate >= 600)


def _export(rows: Sequence[Row], limits: Limits) -> Verdict:
    goal = "export to WAV at least 1,000 × real time"
    kept = [
        row.speed
        for row in rows
        if isinstance(row, ExportRow) and row.audio_format == "wav" and not refusals(row, limits)
    ]
    spread = Spread.of(kept)
    if spread is None:
        return Verdict(goal, "", None)
    found = f"{spread.median:.0f} × ({spread.least:.0f}–{spread.most:.0f})"
    return Verdict(goal, found, spread.median >= 1000)


# ---------------------------------------------------------------- all of it


def report(rows: Sequence[Row], limits: Limits, targets: Sequence[str] = ("recproxy",)) -> str:
    """The whole result, as it goes into docs/performance.md."""
    parts: list[str] = []
    summaries = summarise(rows, limits)
    if summaries:
        parts.append(media_table(summaries))
    for series, title in (("flat", "Many calls, few packets each"), ("load", "At 60 % of the core")):
        if found := summarise(rows, limits, series):
            parts.append(f"{title}:\n\n{media_table(found)}")
    if setups := [row for row in rows if isinstance(row, SetupRow)]:
        parts.append(setup_table(setups, limits))
    if exports := [row for row in rows if isinstance(row, ExportRow)]:
        parts.append(export_table(exports, limits))
    parts.extend(_verdict_table(rows, limits, target) for target in targets)
    if excluded := _excluded(rows, limits):
        parts.append("Not counted:\n\n" + "\n".join(f"- {line}" for line in excluded))
    return "\n\n".join(parts)


def _verdict_table(rows: Sequence[Row], limits: Limits, target: str) -> str:
    marks = {True: "✓", False: "✗", None: "?"}
    body = [[v.goal, v.found or "not measured", marks[v.kept]] for v in verdicts(rows, limits, target)]
    return aligned((f"goal for {target}", "found", ""), body)


def _excluded(rows: Sequence[Row], limits: Limits) -> list[str]:
    lines: list[str] = []
    for row in rows:
        refused, failed = refusals(row, limits), faults(row)
        if refused or failed:
            kind = "refused" if refused else "failed"
            lines.append(f"{_name(row)}, round {row.round}: {kind}: {'; '.join(refused or failed)}")
    return lines


def _name(row: Row) -> str:
    match row:
        case MediaRow():
            return f"{row.target}, {row.calls} calls"
        case SetupRow():
            return f"{row.target}, {row.rate} calls a second"
        case ExportRow():
            return f"export to {row.audio_format}"
