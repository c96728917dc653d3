"""What the machine says about CPU time, memory and lost datagrams.

CPU time of processes is read from their CPU clocks (clock_getcpuclockid(3)): to the
nanosecond, all threads, those that ended too. How busy a core was is read from its idle
time, which a tickless kernel keeps exactly; its other columns in /proc/stat are samples.
The kernel does the receiving half of a loopback datagram in the context of who sends it,
so it is in the sender's CPU time, as long as the kernel keeps no interrupt time apart
(CONFIG_IRQ_TIME_ACCOUNTING); what is in nobody's CPU time counts as foreign.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_KERNEL_PARENT = 2  # kthreadd, the parent of all kernel threads
_STAT_PARENT, _STAT_CORE = 1, 36  # after the closing parenthesis of /proc/pid/stat


@dataclass(frozen=True, slots=True)
class Core:
    """Seconds of a core since the machine started.

    Attributes:
        idle: Nothing to do, waiting for disks included.
        stolen: Taken by the hypervisor.
    """

    idle: float
    stolen: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one instant.

    Attributes:
        at: CLOCK_MONOTONIC, seconds.
        cores: By number.
        target: CPU seconds of the target's processes, by pid.
        names: Their names.
        kernel: CPU seconds of kernel threads, by pid.
        kernel_cores: Core that each kernel thread ran on last.
        others: CPU seconds of further processes of ours (generator, the bench), by pid.
    """

    at: float
    cores: Mapping[int, Core]
    target: Mapping[int, float]
    names: Mapping[int, str]
    kernel: Mapping[int, float]
    kernel_cores: Mapping[int, int]
    others: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Used:
    """What happened between two snapshots.

    Attributes:
        seconds: Between them.
        target: CPU seconds of the target.
        target_by: The same by process name.
        kernel: CPU seconds of kernel threads on all cores.
        foreign_core: CPU seconds of the target's core that none of ours and no kernel thread took.
        foreign_machine: The same of the whole machine.
        stolen: Seconds that the hypervisor took from any core.
    """

    seconds: float
    target: float
    target_by: Mapping[str, float]
    kernel: float
    foreign_core: float
    foreign_machine: float
    stolen: float


def _stat(pid: int) -> tuple[str, list[str]] | None:
    """Name and the fields after it; None if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    opened, closed = text.index("("), text.rindex(")")
    return text[opened + 1 : closed], text[closed + 1 :].split()


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def descendants(roots: Iterable[int]) -> list[int]:
    """The processes with these ids that still are, and all their descendants."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        if (stat := _stat(pid)) is not None:
            children.setdefault(int(stat[1][_STAT_PARENT]), []).append(pid)
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if Path(f"/proc/{pid}").exists():
            found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process with all its threads; 0 if it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def cores() -> dict[int, Core]:
    """All cores."""
    hertz = os.sysconf("SC_CLK_TCK")
    found: dict[int, Core] = {}
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            idle, waiting, stolen = int(fields[3]), int(fields[4]), int(fields[7])
            found[int(name[3:])] = Core((idle + waiting) / hertz, stolen / hertz)
    return found


def snapshot(target: Sequence[int], others: Sequence[int]) -> Snapshot:
    """Read everything; the clocks that decide come first."""
    at, target_cpu, core = time.monotonic(), {pid: cpu_seconds(pid) for pid in target}, cores()
    kernel: dict[int, float] = {}
    kernel_cores: dict[int, int] = {}
    for pid in _pids():
        stat = _stat(pid)
        if stat is not None and int(stat[1][_STAT_PARENT]) == _KERNEL_PARENT:
            kernel[pid] = cpu_seconds(pid)
            kernel_cores[pid] = int(stat[1][_STAT_CORE])
    names = {pid: stat[0] for pid in target if (stat := _stat(pid)) is not None}
    return Snapshot(
        at, core, target_cpu, names, kernel, kernel_cores, {pid: cpu_seconds(pid) for pid in others}
    )


def between(before: Snapshot, after: Snapshot, core: int) -> Used:
    """What happened between two snapshots, seen from the target's core."""
    seconds = after.at - before.at
    target = _spent(before.target, after.target)
    by_name: dict[str, float] = {}
    for pid, spent in target.items():
        name = after.names.get(pid, before.names.get(pid, "?"))
        by_name[name] = by_name.get(name, 0.0) + spent
    kernel = _spent(before.kernel, after.kernel)
    stolen = {n: after.cores[n].stolen - before.cores[n].stolen for n in after.cores}
    busy = {n: seconds - (after.cores[n].idle - before.cores[n].idle) - stolen[n] for n in after.cores}
    of_target = sum(target.values())
    here = sum(spent for pid, spent in kernel.items() if after.kernel_cores.get(pid) == core)
    ours = of_target + sum(kernel.values()) + sum(_spent(before.others, after.others).values())
    return Used(
        seconds=seconds,
        target=of_target,
        target_by=by_name,
        kernel=sum(kernel.values()),
        foreign_core=max(0.0, busy[core] - of_target - here),
        foreign_machine=max(0.0, sum(busy.values()) - ours),
        stolen=sum(stolen.values()),
    )


def _spent(before: Mapping[int, float], after: Mapping[int, float]) -> dict[int, float]:
    # A process that began in between began at 0; one that ended is no longer counted.
    return {pid: max(0.0, cpu - before.get(pid, 0.0)) for pid, cpu in after.items()}


def memory_kb(pids: Iterable[int]) -> int:
    """Proportional set size of processes: what they share is shared out."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def thread_count(pids: Iterable[int]) -> int:
    """Threads of processes."""
    total = 0
    for pid in pids:
        try:
            total += sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
        except OSError:
            continue
    return total


def dropped(addresses: Sequence[str]) -> int:
    """Datagrams that sockets bound to these IPv4 addresses had no room for."""
    wanted = {
        bytes(int(part) for part in reversed(address.split("."))).hex().upper() for address in addresses
    }
    lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    return sum(int(fields[-1]) for line in lines if (fields := line.split())[1].split(":")[0] in wanted)


def machine() -> str:
    """Processor, cores and kernel in a line: what a measurement is true of."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    virtual = "virtual " if " hypervisor" in Path("/proc/cpuinfo").read_text(encoding="utf-8") else ""
    return f"{os.cpu_count()} {virtual}cores {model}, {gib:.0f} GiB, Linux {os.uname().release}"
