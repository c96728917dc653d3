"""Which rows of ``results`` count, and what they say together. Pure.

Nothing is thrown away when it is measured; a row is refused when it is read, by rules
that can be looked at here. Three things can be wrong with a row, and they are not the same:

* it is *refused*: the measurement was disturbed, it says nothing about the target;
* the target *failed*: calls, packets or recordings are missing or media went past it;
* the target was *saturated*: its cost is a lower bound, it wanted more than it got.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from results import ExportRow, MediaRow, ResultsError, Row, SetupRow

LEAST_RUNS: Final = 3
SATURATED_PCT: Final = 95.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond which a measurement counts as disturbed.

    Attributes:
        foreign_core_pct: Of the target's core, taken by others.
        foreign_machine_pct: Of the machine, in percent of one core, taken by others.
        steal_pct: Taken by the hypervisor.
        generator_pct: CPU time of the generator: above, it is what is measured.
        late_us: 99th percentile of the generator's lateness, besides its quantum.
    """

    foreign_core_pct: float = 4.0
    foreign_machine_pct: float = 6.0
    steal_pct: float = 1.0
    generator_pct: float = 90.0
    late_us: float = 1000.0


def refusals(row: Row, limits: Limits) -> tuple[str, ...]:
    """Why a row says nothing about its target; empty if it does."""
    found = row.disturbance
    late = limits.late_us + row.conditions.quantum_us
    checks = (
        (
            found.foreign_core_pct > limits.foreign_core_pct,
            f"others took {found.foreign_core_pct:.1f} % of its core",
        ),
        (
            found.foreign_machine_pct > limits.foreign_machine_pct,
            f"others took {found.foreign_machine_pct:.1f} % of a core",
        ),
        (found.steal_pct > limits.steal_pct, f"the hypervisor took {found.steal_pct:.1f} %"),
        (found.generator_pct > limits.generator_pct, f"the generator was at {found.generator_pct:.0f} %"),
        (found.late_us_p99 > late, f"the generator was {found.late_us_p99:.0f} us late"),
        (found.generator_drops > 0, f"the generator missed {found.generator_drops} packets"),
        (found.send_errors > 0, f"the generator could not send {found.send_errors} packets"),
    )
    return tuple(why for refused, why in checks if refused)


def faults(row: Row) -> tuple[str, ...]:
    """What the target did not do; its cost is not that of the work. Empty if all was done."""
    match row:
        case MediaRow():
            return _media_faults(row)
        case SetupRow():
            if row.failed == 0 and row.answered >= row.made:
                return ()
            counts = f"{row.failed} of {row.made} calls failed, {row.answered} were answered"
            return (f"{counts}, last failure {row.last_failure}",)
        case ExportRow():
            return () if row.audio_s > 0 else ("nothing was exported",)


def _media_faults(row: MediaRow) -> tuple[str, ...]:
    checks = (
        (
            row.answered < row.calls or row.failed > 0,
            f"{row.answered} of {row.calls} calls up, last failure {row.last_failure}",
        ),
        (row.sent == 0, "nothing was sent"),
        (row.bypassed > 0, f"{row.bypassed} streams went past it"),
        (row.dead_streams > 0, f"{row.dead_streams} streams are dead"),
        (row.altered > 0, f"{row.altered} packets were altered"),
        (row.alien > 0, f"{row.alien} packets are none of ours"),
        (row.crosstalk > 0, f"{row.crosstalk} packets reached another call"),
        (row.recording_fault != "", row.recording_fault),
    )
    return tuple(why for failed, why in checks if failed)


def saturated(row: MediaRow) -> bool:
    """Whether the target wanted more of its core than there was."""
    return row.cpu_pct + row.disturbance.foreign_core_pct + row.disturbance.steal_pct > SATURATED_PCT


def last_batch(rows: Sequence[Row]) -> list[Row]:
    """Rows of the run that was begun last."""
    latest = max((row.conditions.batch for row in rows), default="")
    return [row for row in rows if row.conditions.batch == latest]


# ---------------------------------------------------------------- what they say together


@dataclass(frozen=True, slots=True)
class Spread:
    """Of a quantity over the runs.

    Attributes:
        median: In the middle.
        least: The smallest.
        most: The largest.
        runs: How many.
    """

    median: float
    least: float
    most: float
    runs: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread | None:
        """Of these values; None of none."""
        if not values:
            return None
        return Spread(statistics.median(values), min(values), max(values), len(values))

    @property
    def enough(self) -> bool:
        """Whether there are enough runs to quote it."""
        return self.runs >= LEAST_RUNS


@dataclass(frozen=True, slots=True)
class Summary:
    """All runs of one target with one number of calls.

    Attributes:
        target: Its name.
        calls: Calls at once.
        rows: Those that count, in order of their rounds.
        refused: Reasons of those that do not, one entry a row.
        failed: What the target did not do, one entry a row.
    """

    target: str
    calls: int
    rows: tuple[MediaRow, ...]
    refused: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def cost(self) -> Spread | None:
        """Percent of a core for one call."""
        return Spread.of([row.cost for row in self.rows])

    @property
    def saturated(self) -> bool:
        """Whether any run wanted more of the core than there was: its cost is a lower bound."""
        return any(saturated(row) for row in self.rows)

    def ratio_to(self, other: Summary) -> Spread | None:
        """How many times the other's cost; of runs of the same round only."""
        theirs = {row.round: row for row in other.rows}
        pairs = [(row, theirs[row.round]) for row in self.rows if row.round in theirs]
        for mine, its in pairs:
            if mine.conditions != its.conditions or mine.calls != its.calls:
                raise ResultsError(f"{self.target} and {other.target} were measured under other conditions")
        return Spread.of([mine.cost / its.cost for mine, its in pairs if its.cost > 0])


def summarise(rows: Sequence[Row], limits: Limits, series: str = "cost") -> list[Summary]:
    """Media rows of a series by target and number of calls, in the order in which they first appear."""
    groups: dict[tuple[str, int], list[MediaRow]] = {}
    for row in rows:
        if isinstance(row, MediaRow) and row.series == series:
            groups.setdefault((row.target, row.calls), []).append(row)
    return [_summary(target, calls, group, limits) for (target, calls), group in groups.items()]


def _summary(target: str, calls: int, group: Sequence[MediaRow], limits: Limits) -> Summary:
    kept: list[MediaRow] = []
    refused: list[str] = []
    failed: list[str] = []
    for row in group:
        if why := refusals(row, limits):
            refused.append("; ".join(why))
        elif broken := faults(row):
            failed.append("; ".join(broken))
        else:
            kept.append(row)
    return Summary(target, calls, _one_a_round(kept), tuple(refused), tuple(failed))


def _one_a_round(rows: Iterable[MediaRow]) -> tuple[MediaRow, ...]:
    """The last of each round: a round is repeated only when it did not count."""
    rounds = {row.round: row for row in rows}
    return tuple(rounds[number] for number in sorted(rounds))


def best_rate(rows: Sequence[Row], target: str, limits: Limits) -> SetupRow | None:
    """The highest rate of a target at which, and below which, no call failed."""
    best: SetupRow | None = None
    mine = [row for row in rows if isinstance(row, SetupRow) and row.target == target]
    for row in sorted(mine, key=lambda row: row.rate):
        if refusals(row, limits):
            continue
        if faults(row):
            break
        best = row
    return best
