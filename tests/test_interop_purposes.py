"""Real calls that are recorded for two purposes: both announced, two headers, each its own end."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sdp_bodies
from daemon import Purpose, Settings, age_decrypt
from rig import NUMBER, Call, Rig, announcement_heard, compare

from storage import (
    AuditLog,
    Catalogue,
    ClockBounds,
    ClockGuard,
    ClockReading,
    OsFiles,
    Retention,
    load_signing_key,
    sqlite_url,
)

pytestmark = [pytest.mark.interop, pytest.mark.law]

CODECS = (sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT)
MakeRig = Callable[..., Rig]


def both(make_rig: MakeRig, *, training: str = "P30D", orders: str = "P400D", **choice: Any) -> Rig:
    """A daemon whose one line is for a training, which can be refused, and for orders, which cannot."""
    chosen = choice or {"mode": "opt_out", "keys": ["9"], "staff_keys": ["*9"]}
    rig = make_rig(
        Settings(
            {
                "training": Purpose(
                    retention=training,
                    text="Opname voor training.",
                    match=(NUMBER,),
                    more={"choice": chosen},
                ),
                "orders": Purpose(
                    retention=orders,
                    text="Opname volgens de wet.",
                    match=("+31999999999",),
                    more={
                        "kind": "statutory",
                        "basis": {"caller": "legal_obligation", "staff": "legal_obligation"},
                        "legal_ref": ["Wet op de proef"],
                        "scope__lines": ["training"],
                        "access__index": "none",
                    },
                ),
            }
        )
    )
    rig.daemon.start()
    return rig


def press(call: Call, keys: str) -> None:
    call.left.press(keys, sdp_bodies.media_target(call.caller.remote_sdp))


def headers(rig: Rig) -> dict[str, Path]:
    """The age headers in the key store, by purpose."""
    return {path.name.partition(".")[2]: path for path in (rig.daemon.data / "keys").glob("*")}


def opens(rig: Rig, recording: str, purpose: str) -> bool:
    """Whether stock age opens the body with the header of a purpose."""
    header = headers(rig).get(purpose)
    if header is None:
        return False
    wav = age_decrypt(header.read_bytes() + rig.daemon.body(recording).read_bytes(), rig.daemon.identity)
    return wav[:4] == b"RIFF"


def chain(rig: Rig, *events: str) -> list[tuple[str, str]]:
    """Events of the audit chain and their purposes."""
    found = rig.daemon.audited()
    return [(line["event"], line.get("purpose", "")) for line in found if line.get("event") in events]


def show(rig: Rig, recording: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(rig.daemon.cli("recordings", "show", recording, "--json").stdout)
    return shown


def test_both_announcements_are_heard_and_each_header_opens_the_one_body(make_rig: MakeRig) -> None:
    rig = both(make_rig)
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    told = announcement_heard(call.left, 0x22220001)
    prompts = [packet for packet in told if packet.ssrc not in {0x11110001, 0x22220001}]
    assert len({packet.ssrc for packet in prompts}) == 2, "one announcement after the other"
    first = {packet.ssrc: packet.at_ns for packet in reversed(prompts)}
    last = {packet.ssrc: packet.at_ns for packet in prompts}
    (_, earlier), (later, _) = sorted((first[ssrc], ssrc) for ssrc in first)
    assert last[earlier] < later
    rig.talk_on(call, 1.5)
    call.hang_up()
    sealed = rig.sealed(call)
    assert sealed["purpose"] == "orders,training"
    assert set(headers(rig)) == {"orders", "training"}
    assert headers(rig)["orders"].read_bytes() != headers(rig)["training"].read_bytes()
    assert opens(rig, recording, "orders")
    assert opens(rig, recording, "training")
    compared = compare(call, rig.wave(recording))
    assert compared.left
    assert compared.right
    shown = show(rig, recording)
    assert shown["purposes"] == ["orders", "training"]
    terms = {term["purpose"]: term for term in shown["terms"]}
    assert terms["orders"]["notice"]["sha256"] != terms["training"]["notice"]["sha256"]
    assert terms["training"]["notice"]["completed"] <= shown["started"]
    assert chain(rig, "announce.completed", "rec.started") == [
        ("announce.completed", "orders"),
        ("announce.completed", "training"),
        ("rec.started", "orders,training"),
    ]
    assert rig.daemon.cli("audit", "verify").returncode == 0
    listed = rig.daemon.cli("recordings", "list", "--purpose", "training", "--json").stdout
    assert [one["id"] for one in json.loads(listed)["recordings"]] == [recording]


def test_a_no_ends_the_purpose_that_can_be_refused_at_once_and_the_other_goes_on(make_rig: MakeRig) -> None:
    rig = both(make_rig)
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    assert set(headers(rig)) == {"orders", "training"}
    rig.talk_on(call, 1.0)
    press(call, "9")
    gone = rig.daemon.wait("recording.purpose_ended", call_ref=call.ref)
    assert (gone.recording, gone["purpose"]) == (recording, "training")
    assert set(headers(rig)) == {"orders"}, "in mid-call"
    rig.talk_on(call, 1.0)
    call.hang_up()
    assert rig.sealed(call)["purpose"] == "orders"
    assert opens(rig, recording, "orders")
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert ended["choice"] == "refused_in_part"
    refused = rig.daemon.cli("recordings", "export", recording, "--use", "training", check=False)
    assert refused.returncode != 0
    assert [term["purpose"] for term in show(rig, recording)["terms"]] == ["orders"]
    assert ("rec.purpose_expired", "training") in chain(rig, "rec.purpose_expired")
    assert rig.daemon.cli("audit", "verify").returncode == 0


def test_a_no_in_the_announcement_leaves_no_header_for_that_purpose_at_any_time(make_rig: MakeRig) -> None:
    rig = both(make_rig)
    call = rig.dial(codecs=CODECS)
    rig.daemon.wait("notice.started", call_ref=call.ref)
    press(call, "9")
    recording = rig.recorded(call)
    assert set(headers(rig)) == {"orders"}
    rig.talk_on(call, 0.5)
    call.hang_up()
    assert rig.sealed(call)["purpose"] == "orders"
    assert opens(rig, recording, "orders")
    assert chain(rig, "announce.completed", "rec.purpose_expired") == [("announce.completed", "orders")]


def test_a_power_cut_after_the_no_brings_the_refused_purpose_not_back(make_rig: MakeRig) -> None:
    rig = both(make_rig)
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.5)
    press(call, "9")
    rig.daemon.wait("recording.purpose_ended", call_ref=call.ref)
    rig.talk_on(call, 1.0)
    rig.daemon.kill()
    call.silence()
    rig.daemon.start()
    assert set(headers(rig)) == {"orders"}
    assert opens(rig, recording, "orders")
    assert show(rig, recording)["state"] == "sealed"


def test_each_purpose_ends_at_its_own_expiry_and_the_body_with_the_last(make_rig: MakeRig) -> None:
    rig = both(make_rig, training="P1D", orders="P2D")
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 0.5)
    call.hang_up()
    rig.sealed(call)
    shown = show(rig, recording)
    assert shown["purposes"] == ["orders", "training"]
    started = datetime.fromisoformat(shown["started"])
    assert rig.daemon.stop() == 0

    def swept(after: timedelta) -> set[str]:
        sweep(rig, started + after)
        return set(headers(rig))

    second, day = timedelta(seconds=1), timedelta(days=1)
    assert swept(day - second) == {"orders", "training"}, "nothing is early"
    assert swept(day + second) == {"orders"}
    assert opens(rig, recording, "orders")
    assert show(rig, recording)["purposes"] == ["orders"]
    assert swept(2 * day - second) == {"orders"}
    assert swept(2 * day + second) == set()
    assert rig.daemon.bodies() == []
    assert show(rig, recording)["state"] == "shredded"
    assert chain(rig, "rec.purpose_expired", "shred.verified") == [
        ("rec.purpose_expired", "training"),
        ("shred.verified", "orders"),
    ]
    assert rig.daemon.cli("audit", "verify").returncode == 0


def sweep(rig: Rig, at: datetime) -> None:
    """One run of retention at an instant, as its unit makes it."""
    here = rig.daemon.directory
    files = OsFiles(rig.daemon.data)
    catalogue = Catalogue.open(files, sqlite_url(str(rig.daemon.data / "catalogue.sqlite")))
    signing = load_signing_key(OsFiles(here), "audit.key")
    audit = AuditLog(files, signing, "rig", lambda: at, "retention")
    sweeper = Retention(files, catalogue, audit, ClockGuard(files, ClockBounds()))
    report = sweeper.sweep(ClockReading(at, at.timestamp(), "b"))
    assert (report.stood_still, report.failed) == (None, ())
    audit.close()
    catalogue.close()


def test_silence_is_no_to_the_one_and_the_other_loses_not_a_word(make_rig: MakeRig) -> None:
    rig = both(make_rig, mode="opt_in", keys=["1"], timeout="PT2S")
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    assert rig.daemon.wait("choice.expired", call_ref=call.ref)["purpose"] == "training"
    assert set(headers(rig)) == {"orders"}
    rig.talk_on(call, 1.0)
    call.hang_up()
    rig.sealed(call)
    compared = compare(call, rig.wave(recording))
    heard = [packet for packet in call.right.heard if packet.ssrc == 0x11110001 and len(packet.data) > 12]
    recorded = sum(run.samples for run in compared.left) / 160
    assert recorded >= len(heard) - 15, "what the callee heard is in the recording, but for the guard"


def staff_press(call: Call, keys: str) -> None:
    call.right.press(keys, sdp_bodies.media_target(call.callee.remote_sdp))


def test_what_staff_start_is_announced_and_recorded_from_there_beside_the_first(make_rig: MakeRig) -> None:
    rig = make_rig(
        Settings(
            {
                "training": Purpose(text="Opname voor training.", match=(NUMBER,)),
                "agreements": Purpose(
                    retention="P60D",
                    text="Opname van uw akkoord.",
                    match=("+31999999999",),
                    more={
                        "scope__lines": ["training"],
                        "selection": {
                            "mode": "manual",
                            "keys": ["*5"],
                            "stop_keys": ["*6"],
                            "criteria": "an agreement",
                        },
                    },
                ),
            }
        )
    )
    rig.daemon.start()
    call = rig.dial(codecs=CODECS)
    first = rig.recorded(call)
    rig.talk_on(call, 1.0)
    before = len(announcement_heard(call.left, 0x22220001))
    start = rig.daemon.mark
    staff_press(call, "*5")
    second = rig.daemon.wait("recording.opened", start=start, call_ref=call.ref)
    told = announcement_heard(call.left, 0x22220001)[before:]
    assert second["purpose"] == "agreements,training"
    rig.talk_on(call, 1.0)
    start = rig.daemon.mark
    staff_press(call, "*6")
    third = rig.daemon.wait("recording.opened", start=start, call_ref=call.ref)
    assert third["purpose"] == "training"
    rig.talk_on(call, 1.0)
    call.hang_up()
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    parts = [first, second.recording, third.recording]
    assert ended["recording"] == ",".join(parts)
    rig.daemon.wait("recording.sealed", call_ref=call.ref, recording=third.recording)
    opening = [[one for one in ("agreements", "training") if header_opens(rig, part, one)] for part in parts]
    assert opening == [["training"], ["agreements", "training"], ["training"]]
    waves = [compare(call, rig.wave(part)) for part in parts]
    runs = [run for wave in waves for run in wave.left]
    assert all(one.sent + one.samples <= other.sent for one, other in pairwise(runs)), "no sample twice"
    stopped, went_on = waves[1].left[-1], waves[2].left[0]
    assert stopped.sent + stopped.samples == went_on.sent, "not a sample lost where staff ended it"
    assert told, "it was announced"
    began_ns = call.left_talk.sample_ns(waves[1].left[0].sent)
    assert began_ns > told[-1].at_ns, "nothing that was spoken before the announcement had ended"
    assert show(rig, first)["recordings_of_call"] == parts
    assert rig.daemon.cli("audit", "verify").returncode == 0


def header_opens(rig: Rig, recording: str, purpose: str) -> bool:
    """Whether stock age opens the body of one of several recordings with the header of a purpose."""
    header = rig.daemon.data / "keys" / f"{recording}.{purpose}"
    if not header.exists():
        return False
    body = rig.daemon.body(recording).read_bytes()
    return age_decrypt(header.read_bytes() + body, rig.daemon.identity)[:4] == b"RIFF"


def test_a_no_that_only_stops_ends_one_purpose_there_and_the_other_goes_on(make_rig: MakeRig) -> None:
    rig = both(make_rig, mode="opt_out", keys=["9"], effect="stop")
    call = rig.dial(codecs=CODECS)
    first = rig.recorded(call)
    rig.talk_on(call, 1.0)
    start = rig.daemon.mark
    press(call, "9")
    second = rig.daemon.wait("recording.opened", start=start, call_ref=call.ref)
    assert second["purpose"] == "orders"
    rig.talk_on(call, 1.0)
    call.hang_up()
    rig.daemon.wait("recording.sealed", call_ref=call.ref, recording=second.recording)
    assert header_opens(rig, first, "training"), "what was recorded before the no stays"
    assert header_opens(rig, first, "orders")
    assert not header_opens(rig, second.recording, "training")
    before, after = (compare(call, rig.wave(part)).right for part in (first, second.recording))
    assert before[-1].sent + before[-1].samples == after[0].sent
    assert rig.daemon.cli("audit", "verify").returncode == 0
