"""Every metric of recproxy, in one place: its name, help, unit and labels.

Counters follow the event log: what is noted there is counted here. Gauges of the store are
read when somebody scrapes. No label names a call, a recording, a number or an address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from recproxy.quality import is_degraded

__all__ = ["KeptFigures", "Metrics", "StoreFigures"]

Fields: TypeAlias = Mapping[str, str | int | float | bool]
_LEGS: Final = ("caller", "callee")
_TALK_S: Final = (5, 15, 30, 60, 120, 300, 600, 1800, 3600)
_UNRECORDED: Final = "none"


@dataclass(frozen=True, slots=True)
class KeptFigures:
    """What the catalogue says when somebody scrapes.

    Attributes:
        open: Recordings that are being made.
        sealed: Recordings that are kept.
        held: Of those, kept by a hold.
        shredded: Tombstones of recordings that were shredded.
        overdue: Recordings that should be gone.
        oldest_overdue_s: For how long the first of them should be.
    """

    open: int
    sealed: int
    held: int
    shredded: int
    overdue: int
    oldest_overdue_s: float


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """What the store says of itself when it is scraped.

    Attributes:
        ready: Whether new calls may come.
        active_calls: Calls that go on.
        free_bytes: Space left.
        sync_age_s: Since the write-ahead log was last synced: what a power cut would cost.
        kept: What the catalogue says; None if it cannot be asked.
        keys_left_s: By key group that changes its key pair: until its keys run out.
    """

    ready: bool
    active_calls: int
    free_bytes: int
    sync_age_s: float
    kept: KeptFigures | None
    keys_left_s: Mapping[str, float] = field(default_factory=dict)


class Metrics:
    """Counts what happens; safe from any thread.

    Args:
        version: Of recproxy.
        node: Name of this machine.
    """

    def __init__(self, version: str, node: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, which nobody looks at
        registry = self._registry = CollectorRegistry()
        info = Gauge("recproxy_info", "Version and node; always 1", ["version", "node"], registry=registry)
        info.labels(version, node).set(1)
        self._calls = Counter(
            "recproxy_calls_total", "Calls that have ended, by outcome", ["outcome"], registry=registry
        )
        self._talk = Histogram(
            "recproxy_call_talk_seconds",
            "Time from answer to end of the calls that were answered",
            buckets=_TALK_S,
            registry=registry,
        )
        self._recordings = Counter(
            "recproxy_recordings_total",
            "Recordings by purpose and result: ok; degraded (more than 1 % of the packets lost); failed; "
            "blocked (none was made, since there was no announcement); discarded (a party said no). One of "
            "several purposes counts for each",
            ["purpose", "result"],
            registry=registry,
        )
        self._pauses = Counter("recproxy_pauses_total", "Pauses of recordings", registry=registry)
        self._notices = Counter(
            "recproxy_notice_failures_total",
            "Announcements that were not heard to their end, by purpose",
            ["purpose"],
            registry=registry,
        )
        self._packets = {
            name: Counter(
                f"recproxy_{metric}_packets_total", f"{text}; counted at the end of a call", registry=registry
            )
            for name, metric, text in _PACKETS
        }
        self._lost = Counter(
            "recproxy_recording_lost_packets_total",
            "RTP packets that never came and are silence in a recording",
            registry=registry,
        )
        self._faults = Counter(
            "recproxy_faults_total", "Errors in the event log, by event", ["event"], registry=registry
        )
        for event in _FAULTS:  # a series that begins with its first fault shows no increase
            self._faults.labels(event)
        self._denied = Counter(
            "recproxy_api_denied_requests_total",
            "Requests without a right to what they ask",
            registry=registry,
        )

    def noted(self, event: str, fields: Fields) -> None:
        """Count what an event of the log says.

        Args:
            event: Its name.
            fields: Its fields.
        """
        match event:
            case "call.ended":
                self._ended(fields)
            case "recording.sealed":
                self._sealed(fields)
            case "recording.failed" | "recording.discarded":
                self._result(fields, event.partition(".")[2])
            case "recording.purpose_ended":
                self._result(fields, "discarded")
            case "recording.paused":
                self._pauses.inc()
            case "notice.failed":
                for purpose in _purposes(fields):
                    self._notices.labels(purpose).inc()
                self._result(fields, "blocked")
            case "media.released":
                self._released(fields)
            case _:
                pass
        if event in _FAULTS:
            self._faults.labels(event).inc()

    def denied(self) -> None:
        """A request had no right to what it asked."""
        self._denied.inc()

    def read_store(self, read: Callable[[], StoreFigures]) -> None:
        """Ask the store whenever somebody scrapes; once."""
        self._registry.register(_Store(read))

    def exposition(self) -> tuple[bytes, str]:
        """All metrics in the text form of Prometheus, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def _ended(self, fields: Fields) -> None:
        self._calls.labels(str(fields.get("outcome", ""))).inc()
        talk = float(fields.get("talk_s", 0.0))
        if talk > 0:
            self._talk.observe(talk)

    def _released(self, fields: Fields) -> None:
        for name, counter in self._packets.items():
            counter.inc(sum(int(fields.get(f"{leg}_{name}", 0)) for leg in _LEGS))

    def _sealed(self, fields: Fields) -> None:
        missing = int(fields.get("ring_dropped", 0))
        lost = sum(int(fields.get(f"{leg}_{what}", 0)) for leg in _LEGS for what in ("lost", "late"))
        self._result(fields, "degraded" if is_degraded(fields) else "ok")
        self._lost.inc(lost + missing)

    def _result(self, fields: Fields, result: str) -> None:
        for purpose in _purposes(fields):
            self._recordings.labels(purpose or _UNRECORDED, result).inc()


def _purposes(fields: Fields) -> list[str]:
    """Each purpose that a line tells of; they stand in one field, with commas."""
    return str(fields.get("purpose", "")).split(",")


_PACKETS: Final = (
    ("received", "received", "RTP packets of the parties"),
    ("relayed", "relayed", "RTP packets sent on"),
    ("foreign", "foreign", "Packets from a source that is not of the call; neither relayed nor recorded"),
    ("malformed", "malformed", "Packets that are no RTP"),
    ("send_errors", "unsendable", "Packets that the operating system refused to send"),
    ("fork_dropped", "fork_dropped", "Packets that did not reach the recorder since it was late"),
)
_FAULTS: Final = frozenset(
    {
        "daemon.failed",
        "call.confused",
        "leg.failed",
        "disk.failed",
        "audit.failed",
        "media.failed",
        "media.unavailable",
        "policy.rejected",
        "config.rejected",
        "registration.failed",
        "target.down",
        "api.failed",
        "cdr.failed",
    }
)


class _Store(Collector):
    """What is read when it is asked for."""

    def __init__(self, read: Callable[[], StoreFigures]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """Nothing is read before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the store."""
        figures = self._read()
        yield GaugeMetricFamily(
            "recproxy_ready", "Whether new calls may come: 1 or 0", value=int(figures.ready)
        )
        yield GaugeMetricFamily("recproxy_active_calls", "Calls that go on", value=figures.active_calls)
        yield GaugeMetricFamily(
            "recproxy_disk_free_bytes", "Space left for recordings", value=figures.free_bytes
        )
        yield GaugeMetricFamily(
            "recproxy_log_sync_age_seconds",
            "Since the write-ahead log was last synced: audio that a power cut would cost",
            value=figures.sync_age_s,
        )
        yield GaugeMetricFamily(
            "recproxy_catalogue_up",
            "Whether the catalogue can be asked: 1 or 0; without it nothing new is recorded",
            value=int(figures.kept is not None),
        )
        if figures.kept is not None:
            yield from _kept(figures.kept)
        left = GaugeMetricFamily(
            "recproxy_key_epochs_left_seconds",
            "Until the keys of a key group that changes its key pair run out; 0: it is not recorded",
            labels=["key_group"],
        )
        for group, seconds in figures.keys_left_s.items():
            left.add_metric([group], seconds)
        yield left


def _kept(figures: KeptFigures) -> Iterator[Metric]:
    kept = GaugeMetricFamily(
        "recproxy_kept_recordings", "Recordings that have files, by state", labels=["state"]
    )
    kept.add_metric(["open"], figures.open)
    kept.add_metric(["sealed"], figures.sealed)
    yield kept
    yield GaugeMetricFamily("recproxy_held_recordings", "Recordings that a hold keeps", value=figures.held)
    yield CounterMetricFamily(
        "recproxy_shredded_recordings", "Recordings that were shredded", value=figures.shredded
    )
    yield GaugeMetricFamily(
        "recproxy_retention_overdue_recordings",
        "Recordings past their expiry that no hold keeps",
        value=figures.overdue,
    )
    yield GaugeMetricFamily(
        "recproxy_retention_oldest_overdue_seconds",
        "For how long the first of them should have been gone",
        value=figures.oldest_overdue_s,
    )
