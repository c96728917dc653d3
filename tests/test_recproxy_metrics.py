"""What is measured: each metric counts what the event log says, and what watches them names real ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from recproxy.logevents import EVENTS
from recproxy.metrics import _FAULTS, _PACKETS, KeptFigures, Metrics, StoreFigures

ETC = Path(__file__).resolve().parents[1] / "etc"
FIGURES = StoreFigures(
    ready=True,
    active_calls=2,
    free_bytes=10,
    sync_age_s=0.4,
    kept=KeptFigures(open=2, sealed=5, held=1, shredded=7, overdue=3, oldest_overdue_s=60.0),
    keys_left_s={"service": 86400.0},
)


def counted(metrics: Metrics) -> Mapping[str, float]:
    text, media_type = metrics.exposition()
    assert media_type.startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics("1.0", "rig")
    made.read_store(lambda: FIGURES)
    return made


def test_calls_are_counted_by_outcome_and_their_talk_is_measured(metrics: Metrics) -> None:
    for talk in (0.0, 12.0, 700.0):
        metrics.noted("call.ended", {"outcome": "answered" if talk else "refused", "talk_s": talk})
    seen = counted(metrics)
    assert (seen["recproxy_calls_total,outcome=answered"], seen["recproxy_calls_total,outcome=refused"]) == (
        2,
        1,
    )
    assert (seen["recproxy_call_talk_seconds_count"], seen["recproxy_call_talk_seconds_sum"]) == (2, 712.0)
    assert seen["recproxy_call_talk_seconds_bucket,le=15.0"] == 1


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({"caller_packets": 100, "callee_packets": 100}, "ok"),
        ({"caller_packets": 100, "callee_packets": 99, "callee_lost": 1}, "ok"),
        ({"caller_packets": 100, "callee_packets": 90, "callee_lost": 8, "callee_late": 2}, "degraded"),
        ({"caller_packets": 100, "ring_dropped": 1}, "degraded"),
        ({}, "ok"),
    ],
)
def test_a_recording_is_ok_or_degraded_by_what_it_lacks(
    metrics: Metrics, fields: dict[str, int], result: str
) -> None:
    metrics.noted("recording.sealed", {"purpose": "training", **fields})
    assert counted(metrics)[f"recproxy_recordings_total,purpose=training,result={result}"] == 1


def test_what_was_not_recorded_is_counted_too(metrics: Metrics) -> None:
    metrics.noted("recording.failed", {"purpose": "training"})
    metrics.noted("recording.discarded", {"purpose": "training"})
    metrics.noted("notice.failed", {"purpose": "training"})
    metrics.noted("recording.paused", {})
    seen = counted(metrics)
    for result in ("failed", "discarded", "blocked"):
        assert seen[f"recproxy_recordings_total,purpose=training,result={result}"] == 1
    assert seen["recproxy_notice_failures_total,purpose=training"] == 1
    assert seen["recproxy_pauses_total"] == 1


def test_packets_are_those_of_both_sides(metrics: Metrics) -> None:
    fields = {f"{leg}_{name}": 3 for leg in ("caller", "callee") for name, _, _ in _PACKETS}
    metrics.noted("media.released", fields)
    seen = counted(metrics)
    assert {seen[f"recproxy_{metric}_packets_total"] for _, metric, _ in _PACKETS} == {6}
    assert set(fields) <= EVENTS["media.released"].keys


def test_every_fault_is_an_event_and_counted_by_its_name(metrics: Metrics) -> None:
    assert set(EVENTS) >= _FAULTS
    for event in _FAULTS:
        metrics.noted(event, {})
    seen = counted(metrics)
    assert all(seen[f"recproxy_faults_total,event={event}"] == 1 for event in _FAULTS)


def test_the_store_is_read_when_somebody_scrapes(metrics: Metrics) -> None:
    seen = counted(metrics)
    assert seen["recproxy_info,node=rig,version=1.0"] == 1
    assert (seen["recproxy_ready"], seen["recproxy_active_calls"]) == (1, 2)
    assert (seen["recproxy_shredded_recordings_total"], seen["recproxy_catalogue_up"]) == (7, 1)
    assert seen["recproxy_retention_oldest_overdue_seconds"] == 60
    assert seen["recproxy_key_epochs_left_seconds,key_group=service"] == 86400


def test_a_catalogue_that_is_away_is_said_and_hides_nothing_else() -> None:
    made = Metrics("1.0", "rig")
    made.read_store(lambda: replace(FIGURES, kept=None))
    seen = counted(made)
    assert (seen["recproxy_catalogue_up"], seen["recproxy_log_sync_age_seconds"]) == (0, 0.4)
    assert not [name for name in seen if name.startswith(("recproxy_kept", "recproxy_retention"))]


def _names(metrics: Metrics) -> set[str]:
    """Every name that a query may use; a counter with labels has samples once it has counted."""
    text, _ = metrics.exposition()
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text.decode(), flags=re.MULTILINE):
        found |= {name, *((f"{name}_bucket", f"{name}_count", f"{name}_sum") if kind == "histogram" else ())}
    return found


def _queries() -> Iterator[tuple[str, str]]:
    alerts = yaml.safe_load((ETC / "prometheus" / "recproxy-alerts.yml").read_text())
    for group in alerts["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    board: dict[str, Any] = json.loads((ETC / "grafana" / "recproxy.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_dashboard_and_alerts_name_metrics_that_exist_and_leave_none_out(metrics: Metrics) -> None:
    known = _names(metrics)
    used = {name for _, query in _queries() for name in re.findall(r"recproxy_[a-z_]+", query)}
    assert used <= known
    shown = {name.removesuffix("_bucket") for name in used}
    missing = {name for name in known if name.removesuffix("_count").removesuffix("_sum") not in shown}
    assert missing - {f"{name}_bucket" for name in shown} == {"recproxy_info"}


def test_every_alert_says_what_to_do(metrics: Metrics) -> None:
    alerts = yaml.safe_load((ETC / "prometheus" / "recproxy-alerts.yml").read_text())
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 10
    for rule in rules:
        assert set(rule["annotations"]) == {"summary", "action"}
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_metrics_are_named_as_prometheus_wants(metrics: Metrics) -> None:
    text, _ = metrics.exposition()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text.decode(), flags=re.MULTILINE):
        assert re.fullmatch(r"recproxy_[a-z_]+", name)
        assert name.endswith("_total") is (kind == "counter"), name
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb)(_|$)", name)
    for label in re.findall(r"(\w+)=\"", text.decode()):
        known = {"key_group", "outcome", "result", "purpose", "event", "state", "node", "version", "le"}
        assert label in known
