"""What was measured, as rows: one JSON object a line. Pure.

Each has everything that decides later whether it counts (``verdicts``): what else the
machine did, how punctual the generator was, whether the target did the work at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What must be alike in two rows before they are compared.

    Attributes:
        batch: The run of the bench that they belong to.
        machine: Processor, cores and kernel.
        window_s: Seconds measured.
        quantum_us: The generator sends in steps of this many microseconds.
        frame_ms: Milliseconds of audio in a packet.
        settle_s: From the last answer to the window; 3 where rows did not say it yet.
    """

    batch: str
    machine: str
    window_s: float
    quantum_us: int
    frame_ms: int
    settle_s: float = 3.0

    @property
    def held_s(self) -> float:
        """From the last answer to the end of the window, where memory is read."""
        return self.settle_s + self.window_s


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
