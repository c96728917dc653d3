"""What was measured, as rows; which rows count, and what they say together. Pure.

Rows are JSON objects, one a line, each with everything that decides later whether
it counts: what else the machine did, how punctual the generator was, whether the
target did the work at all. Nothing is thrown away when it is measured; a row is
refused when it is read, by rules that can be looked at here.

Three things can be wrong with a row, and they are not the same:

* it is *refused*: the measurement was disturbed, it says nothing about the target;
* the target *failed*: calls, packets or recordings are missing or media went past it;
* the target was *saturated*: its cost is a lower bound, it wanted more than it got.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

LEAST_RUNS: Final = 3
SATURATED_PCT: Final = 95.0
PACKETS_A_CALL: Final = 2  # for each frame, one each way


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What must be alike in two rows before they are compared.

    Attributes:
        batch: The run of the bench that they belong to.
        machine: Processor, cores and kernel.
        window_s: Seconds measured.
        quantum_us: The generator sends in steps of this many microseconds.
        frame_ms: Milliseconds of audio in a packet.
    """

    batch: str
    machine: str
    window_s: float
    quantum_us: int
    frame_ms: int


class Disturbance(msgspec.Struct, frozen=True, kw_only=True):
    """What else went on, in percent of one core during the window.

    Attributes:
        foreign_core_pct: Of the target's core, taken by neither target nor kernel threads.
        foreign_machine_pct: Of the whole machine, taken by none of ours.
        steal_pct: Taken by the hypervisor from the two cores.
        generator_pct: CPU time of the generator.
        late_us_p99: How late the generator sent its packets.
        generator_drops: Packets that arrived and that the generator did not fetch in time.
        send_errors: Packets that the generator could not send.
    """

    foreign_core_pct: float
    foreign_machine_pct: float
    steal_pct: float
    generator_pct: float = 0.0
    late_us_p99: float = 0.0
    generator_drops: int = 0
    send_errors: int = 0


class MediaRow(msgspec.Struct, frozen=True, kw_only=True, tag="media"):
    """A number of calls held at once, with media both ways.

    Attributes:
        target: Name of what was measured.
        series: What the row is for: ``cost``, ``flat`` or ``load``.
        calls: Calls at once that were asked for.
        round: Which of the repetitions.
        date: When, RFC 3339.
        conditions: What must be alike.
        disturbance: What else went on.
        cpu_pct: CPU time of the target's processes, percent of one core.
        cpu_by: The same by process name.
        kernel_pct: CPU time of the kernel's own threads (writing back, journal), on all cores.
        threads: Threads of the target.
        pss_idle_kb: Proportional memory before the first call.
        pss_busy_kb: The same at the end of the window.
        answered: Calls that were answered.
        failed: Calls that failed.
        last_failure: Status of the last one.
        sent: Packets sent in the window.
        received: Of these, those that arrived.
        dead_streams: Streams of which nothing arrived.
        bypassed: Streams that went past the target.
        altered: Packets whose audio was changed.
        alien: Packets in the window that are none of ours.
        crosstalk: Packets heard by another call.
        delay_us_p50: One way, sender to receiver's socket, median.
        delay_us_p99: The same, 99 of 100 packets were faster.
        delay_us_p999: The same, 999 of 1000.
        recorded_files: Files that the target left.
        recorded_bytes: Their size.
        recording_fault: What is wrong with the recordings; empty if nothing.
    """

    target: str
    series: str = "cost"
    calls: int
    round: int
    date: str
    conditions: Conditions
    disturbance: Disturbance
    cpu_pct: float
    cpu_by: Mapping[str, float] = {}
    kernel_pct: float = 0.0
    threads: int = 0
    pss_idle_kb: int = 0
    pss_busy_kb: int = 0
    answered: int
    failed: int
    last_failure: int = 0
    sent: int
    received: int
    dead_streams: int = 0
    bypassed: int = 0
    altered: int = 0
    alien: int = 0
    crosstalk: int = 0
    delay_us_p50: float = 0.0
    delay_us_p99: float = 0.0
    delay_us_p999: float = 0.0
    recorded_files: int = 0
    recorded_bytes: int = 0
    recording_fault: str = ""

    @property
    def cost(self) -> float:
        """Percent of a core for one call."""
        return self.cpu_pct / max(1, self.calls)

    @property
    def lost(self) -> int:
        """Packets of the window that did not arrive."""
        return self.sent - self.received

    @property
    def us_per_packet(self) -> float:
        """CPU microseconds for one packet that came through."""
        return self.cpu_pct * self.conditions.window_s * 1e4 / max(1, self.received)

    @property
    def kb_per_call(self) -> float:
        """Memory that one call takes, in units of 1,024 bytes."""
        return (self.pss_busy_kb - self.pss_idle_kb) / max(1, self.calls)


class SetupRow(msgspec.Struct, frozen=True, kw_only=True, tag="setup"):
    """Calls set up and ended at a steady rate, without media.

    Attributes:
        target: Name of what was measured.
        rate: Calls a second.
        round: Which of the repetitions.
        date: When, RFC 3339.
        conditions: What must be alike.
        disturbance: What else went on.
        made: Calls made.
        answered: Of these, answered.
        failed: Of these, failed in any way.
        last_failure: Status of the last failure.
        repeated: Messages that had to be sent again.
        setup_us_p50: From INVITE to 200, median.
        setup_us_p99: The same, 99 of 100 calls were faster.
        cpu_s: CPU time of the target.
        wall_s: Seconds from the first call to the last.
    """

    target: str
    rate: int
    round: int
    date: str
    conditions: Conditions
    disturbance: Disturbance
    made: int
    answered: int
    failed: int
    last_failure: int = 0
    repeated: int = 0
    setup_us_p50: float = 0.0
    setup_us_p99: float = 0.0
    cpu_s: float
    wall_s: float

    @property
    def cpu_ms_per_call(self) -> float:
        """CPU milliseconds to set up and end one call."""
        return 1000 * self.cpu_s / max(1, self.answered)


class ExportRow(msgspec.Struct, frozen=True, kw_only=True, tag="export"):
    """One recording exported with the command line, its start included.

    Attributes:
        audio_format: What was made.
        round: Which of the repetitions.
        date: When, RFC 3339.
        conditions: What must be alike.
        disturbance: What else went on.
        audio_s: Length of the recording.
        wall_s: How long it took.
        cpu_s: CPU time it took.
    """

    audio_format: str
    round: int
    date: str
    conditions: Conditions
    disturbance: Disturbance
    audio_s: float
    wall_s: float
    cpu_s: float

    @property
    def speed(self) -> float:
        """How many times faster than listening to it."""
        return self.audio_s / max(self.wall_s, 1e-9)


Row: TypeAlias = MediaRow | SetupRow | ExportRow


class ResultsError(ValueError):
    """A file of results cannot be read."""


def encode(row: Row) -> bytes:
    """One line of the file of results."""
    return msgspec.json.encode(row) + b"\n"


def decode(lines: Iterable[bytes], name: str) -> list[Row]:
    """Rows of a file of results.

    Args:
        lines: Of the file; empty ones are passed over.
        name: Of the file, for messages.

    Raises:
        ResultsError: A line is no row; names file and line.
    """
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows.append(msgspec.json.decode(line, type=Row))
            except (msgspec.DecodeError, UnicodeDecodeError) as err:
                raise ResultsError(f"{name}:{number}: no row of results: {err}") from err
    return rows


# ---------------------------------------------------------------- which rows count


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
