"""What the recorder is told to do, and the queue in which that waits.

Commands come from the signalling thread in the order in which they are given. Those
of one call keep it; openings and seals of different calls are taken together, so
that they share the syncs they need.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from recproxy.call.commands import AuditNote, OpenRecording
from recproxy.call.events import Codec
from recproxy.media import Clock

_SECOND_NS: Final = 1_000_000_000
_NAP_NS: Final = 10_000_000
_NEVER: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Open:
    """Record a stream from an instant."""

    call: str
    stream: int
    start_ns: int
    plan: OpenRecording


@dataclass(frozen=True, slots=True)
class Part:
    """Close the recording at an instant, and go on in another from the same.

    Attributes:
        call: Of which call.
        at_ns: The instant.
        ripe_ns: When all that arrived before it has its place; not earlier.
        reason: Why the first ends.
        dropped: Packets of the first that never reached the ring.
        plan: What the other is.
    """

    call: str
    at_ns: int
    ripe_ns: int
    reason: str
    dropped: int
    plan: OpenRecording


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence from an instant."""

    call: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Audio again from an instant."""

    call: str
    at_ns: int
    codecs: tuple[Codec, ...]


@dataclass(frozen=True, slots=True)
class Seal:
    """Nothing arrives after an instant: close for good."""

    call: str
    end_ns: int
    reason: str
    dropped: int


@dataclass(frozen=True, slots=True)
class Discard:
    """A party said no: destroy what there is; of what was closed before only for ``purposes``, or all."""

    call: str
    reason: str
    purposes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """A party said no to some of the purposes: destroy the keys for them, of what was closed before too."""

    call: str
    purposes: tuple[str, ...]
    reason: str
    earlier: bool = True


@dataclass(frozen=True, slots=True)
class Forget:
    """The call is over: nobody can say no to what was recorded of it any more."""

    call: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Append to the audit chain."""

    call: str
    note: AuditNote


@dataclass(frozen=True, slots=True)
class Listen:
    """Tell the keys that are pressed in a stream; without payload types: no longer."""

    call: str
    stream: int
    payload_types: frozenset[int]


@dataclass(frozen=True, slots=True)
class Swap:
    """From an instant on, the voices of a stream have changed places, or are back."""

    call: str
    stream: int
    at_ns: int
    swapped: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Seal what is open and end."""

    call: str = ""


Job = Open | Part | Pause | Resume | Seal | Discard | Drop | Forget | Audit | Listen | Swap | Stop


class Inbox:
    """Jobs that wait; ``put`` from any thread, the rest from the recorder's own.

    Args:
        clock: Time.
        nap: Sleeps for so many seconds.
    """

    def __init__(self, clock: Clock, nap: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._nap = nap
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._waiting: deque[Job] = deque()

    def __len__(self) -> int:
        """Number of jobs that were taken from the queue and not yet carried out."""
        return len(self._waiting)

    def put(self, job: Job) -> None:
        """Add a job; any thread."""
        self._queue.put(job)

    def take_in(self) -> None:
        """Move all that was put so far to those that wait."""
        while True:
            try:
                self._waiting.append(self._queue.get_nowait())
            except queue.Empty:
                return

    def wait(self, until_ns: int) -> bool:
        """Wait for a job.

        Args:
            until_ns: How long.

        Returns:
            False at that instant, even if jobs wait.
        """
        while (now := self._clock.monotonic_ns()) < until_ns:
            self.take_in()
            ripe_ns = self._ripe_ns()
            if ripe_ns <= now:
                return True
            try:
                self._waiting.append(self._queue.get(timeout=(min(ripe_ns, until_ns) - now) / _SECOND_NS))
            except queue.Empty:
                return ripe_ns < until_ns
        return False

    def _ripe_ns(self) -> int:
        """When the first of those that wait can be carried out; never without any."""
        ripe_ns, behind = _NEVER, set[str]()
        for job in self._waiting:
            if job.call in behind or (behind and isinstance(job, Stop)):
                continue
            if not isinstance(job, Part):
                return 0
            ripe_ns = min(ripe_ns, job.ripe_ns)
            behind.add(job.call)
        return ripe_ns

    def gather(self, until_ns: int, most: int) -> None:
        """Let a job wait for others to come.

        It naps instead of waiting for the queue: that would wake this thread, and stop the
        one that puts, for each of the jobs that come in a row.

        Args:
            until_ns: How long; not at all if the recorder is to stop.
            most: So many openings and seals are enough.
        """
        left_ns = until_ns - self._clock.monotonic_ns()
        while left_ns > 0 and self._waiting:
            if any(isinstance(job, Stop) for job in self._waiting):
                return
            if sum(isinstance(job, Open | Seal) for job in self._waiting) >= most:
                return
            self._nap(min(left_ns, _NAP_NS) / _SECOND_NS)
            left_ns -= _NAP_NS
            self.take_in()

    def round(self, most: int) -> list[Job]:
        """Take jobs that can be done together: all but what follows an opening or a seal of its call.

        Args:
            most: At most so many openings and seals.

        Returns:
            The jobs, in order; what stays waits in order too. ``Stop`` comes alone, last.
        """
        now = self._clock.monotonic_ns()
        taken: list[Job] = []
        left: deque[Job] = deque()
        closed: set[str] = set()
        while self._waiting:
            job = self._waiting.popleft()
            if isinstance(job, Stop):
                if taken or left:
                    left.append(job)
                else:
                    taken.append(job)
                break
            unripe = isinstance(job, Part) and job.ripe_ns > now
            if unripe or job.call in closed or (isinstance(job, Open | Part | Seal) and most <= 0):
                closed.add(job.call)
                left.append(job)
                continue
            taken.append(job)
            if isinstance(job, Open | Part | Seal):
                closed.add(job.call)
                most -= 1
        left.extend(self._waiting)
        self._waiting = left
        return taken

    def take_early(self, calls: frozenset[str]) -> list[Job]:
        """Take what must not wait for the next packets: pauses of these calls, moves, whom to listen to."""

        def early(job: Job) -> bool:
            if isinstance(job, Listen):
                return bool(job.payload_types)
            return isinstance(job, Swap) or (isinstance(job, Pause | Resume) and job.call in calls)

        taken = [job for job in self._waiting if early(job)]
        if taken:
            self._waiting = deque(job for job in self._waiting if not early(job))
        return taken

    def ends(self) -> dict[str, int]:
        """When each recording ends whose seal, or whose parting, waits."""
        ends: dict[str, int] = {}
        for job in self._waiting:
            if isinstance(job, Seal | Part):
                ends.setdefault(job.call, job.ripe_ns if isinstance(job, Part) else job.end_ns)
        return ends

    def openings(self) -> list[str]:
        """Calls whose opening waits."""
        return [job.call for job in self._waiting if isinstance(job, Open)]


class Pace:
    """How many recordings are opened or sealed together: what the disk does in a moment.

    Grows while a batch takes little time, shrinks when one took long: audio of other
    calls waits for its sync meanwhile.
    """

    _MOST: Final = 64
    _SHORT_NS: Final = 60_000_000
    _LONG_NS: Final = 150_000_000

    def __init__(self) -> None:
        self.most = 2

    def took(self, elapsed_ns: int, count: int) -> None:
        """Learn from a batch.

        Args:
            elapsed_ns: How long it took.
            count: How many recordings were in it.
        """
        if elapsed_ns > self._LONG_NS:
            self.most = max(1, min(self.most, count) // 2)
        elif elapsed_ns < self._SHORT_NS and count >= self.most:
            self.most = min(self._MOST, 2 * self.most)
