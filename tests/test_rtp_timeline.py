"""The timeline against a simple model, sample by sample, and against itself in other batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_streams import (
    EVENT,
    G722,
    MS,
    PCMA,
    PCMU,
    SECOND,
    START,
    Sent,
    batch,
    channels,
    delayed,
    recorded,
    talk,
)

from rtp.codecs import CodecSpec
from rtp.endpoints import Side
from rtp.sorting import sort_batch
from rtp.timeline import Encoding, Timeline, TimelineFormat
from rtp.timeline.lane import Lane

MULAW = TimelineFormat(Encoding.MULAW, 8000)
PCM16 = TimelineFormat(Encoding.PCM16, 8000)
CODECS = {
    PCMU: CodecSpec("PCMU", 8000),
    PCMA: CodecSpec("PCMA", 8000),
    G722: CodecSpec("G722", 8000),
    EVENT: CodecSpec("telephone-event", 8000),
}
SILENCE = 0xFF
WINDOW = 120 * MS
TRIAL = 60 * MS


def timeline(**settings_: int) -> Timeline:
    return Timeline(MULAW, CODECS, START, **settings_)


def model(packets: Sequence[Sent], frames: int) -> npt.NDArray[np.uint8]:
    """One stream without jumps, as the rules say it: packet by packet, sample by sample."""
    out = [SILENCE] * frames
    known: set[int] = set()
    fresh = []
    reference = packets[0]
    for packet in packets:
        sequence = (packet.sequence - reference.sequence + 0x8000) % 0x10000 - 0x8000
        if sequence not in known:
            known.add(sequence)
            fresh.append(packet)

    def since_first(packet: Sent) -> int:
        return (packet.timestamp - reference.timestamp + (1 << 31)) % (1 << 32) - (1 << 31)

    first_ns = packets[0].at_ns
    early = [packet for packet in fresh if packet.at_ns < first_ns + TRIAL]
    anchor_ns = min(packet.at_ns - since_first(packet) * 125_000 for packet in early)
    anchor_ns = max(anchor_ns, first_ns - (WINDOW - TRIAL))
    floor = max(0, (first_ns - (WINDOW - TRIAL)) // 125_000)
    for packet in fresh:
        due_ns = anchor_ns + since_first(packet) * 125_000
        if packet.at_ns - due_ns > WINDOW:
            continue
        lowest = floor if packet in early else 0
        for place, sample in enumerate(packet.payload, anchor_ns // 125_000 + since_first(packet)):
            if lowest <= place < frames and out[place] == SILENCE:
                out[place] = sample
    return np.array(out, np.uint8)


@st.composite
def one_stream(draw: st.DrawFn) -> tuple[list[Sent], int]:
    """A stream with wraps, jitter, loss, reordering, duplicates, silence gaps."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    count = draw(st.integers(1, 60))
    ptime = draw(st.sampled_from([10, 20, 30, 60]))
    packets = talk(
        rng,
        count,
        first_ns=draw(st.integers(0, 300 * MS)),
        sequence=draw(st.sampled_from([0, 0xFFFF - 5, 1234])),
        timestamp=draw(st.sampled_from([0, 0xFFFFFFFF - 1000, 987654])),
        ptime_ms=ptime,
    )
    if draw(st.booleans()):  # a gap in which nothing is sent (DTX): timestamps go on, numbers do not
        at = draw(st.integers(0, count - 1))
        gap = draw(st.integers(1, 100))
        packets[at:] = [
            replace(
                packet, at_ns=packet.at_ns + gap * MS, timestamp=(packet.timestamp + 8 * gap) & 0xFFFFFFFF
            )
            for packet in packets[at:]
        ]
    packets = delayed(packets, [draw(st.integers(0, 60 * MS)) for _ in packets])
    stray = draw(st.lists(st.integers(0, count - 1), max_size=3))
    packets = delayed(packets, [200 * MS if n in stray and n > 3 else 0 for n in range(count)])
    lost = draw(st.sets(st.integers(1, max(1, count - 1)), max_size=count // 3))
    packets = [packet for n, packet in enumerate(packets) if n not in lost or n == 0]
    again = draw(st.lists(st.integers(0, len(packets) - 1), max_size=4))
    packets += [replace(packets[n], at_ns=packets[n].at_ns + 15 * MS) for n in again]
    packets.sort(key=lambda packet: packet.at_ns)
    return packets, packets[-1].at_ns + draw(st.integers(0, 400 * MS))


@given(one_stream(), st.integers(1, 700))
@settings(max_examples=120, deadline=None)
def test_one_stream_is_placed_as_the_model_places_it(stream: tuple[list[Sent], int], step_ms: int) -> None:
    packets, end_ns = stream
    line = timeline()
    out = recorded(line, packets, end_ns, step_ms * MS)
    frames = end_ns * 8000 // SECOND
    assert len(out) == 2 * frames
    left, right = channels(out)
    np.testing.assert_array_equal(left, model(packets, frames))
    assert (right == SILENCE).all()
    facts = line.facts(Side.CALLER)
    assert facts.silence_samples == np.count_nonzero(left == SILENCE)
    assert line.facts(Side.CALLEE).silence_samples == frames
    numbers = {packet.sequence for packet in packets}
    assert facts.duplicates == len(packets) - len(numbers)
    assert facts.packets + facts.late == len(numbers)
    assert facts.reanchored == facts.drift_shifts == facts.ssrc_changes == facts.undecodable == 0


@st.composite
def hostile_stream(draw: st.DrawFn) -> list[Sent]:
    """Anything a peer may send: jumps, stalls, other SSRCs, codecs, clocks, events, nonsense."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    packets: list[Sent] = []
    now, timestamp, sequence, ssrc, kind = 0, draw(st.integers(0, 0xFFFFFFFF)), 65_500, 1, PCMU
    for _ in range(draw(st.integers(1, 12))):
        match draw(st.sampled_from(["talk", "stall", "jump", "ssrc", "codec", "event", "noise", "pause"])):
            case "stall":
                now += draw(st.integers(0, 3000)) * MS
            case "jump":
                timestamp += draw(st.integers(-(1 << 31), 1 << 31))
                sequence += draw(st.integers(-9000, 9000))
            case "ssrc":
                ssrc = draw(st.sampled_from([1, 2, 3]))
            case "codec":
                kind = draw(st.sampled_from([PCMU, PCMA, 77]))
            case "event":
                packets += talk(
                    rng, 3, first_ns=now, sequence=sequence, timestamp=timestamp, payload_type=EVENT
                )
                sequence += 3
            case "noise":
                packets.append(
                    Sent(
                        now, sequence, draw(st.integers(0, 0xFFFFFFFF)), rng.bytes(draw(st.integers(0, 9000)))
                    )
                )
            case "pause":
                gap = draw(st.integers(0, 2000))
                now, timestamp = now + gap * MS, timestamp + gap * 8
            case _:
                pass
        count = draw(st.integers(1, 30))
        some = talk(
            rng,
            count,
            first_ns=now,
            sequence=sequence & 0xFFFF,
            timestamp=timestamp & 0xFFFFFFFF,
            ssrc=ssrc,
            payload_type=kind,
        )
        jitter = draw(st.integers(0, 200))
        packets += delayed(some, (rng.integers(0, jitter + 1, count) * MS).tolist())
        sequence, timestamp = sequence + count, timestamp + count * 160
        now += draw(st.integers(0, count * 20)) * MS
    packets = [
        replace(packet, sequence=packet.sequence & 0xFFFF, timestamp=packet.timestamp & 0xFFFFFFFF)
        for packet in packets
    ]
    return sorted(packets, key=lambda packet: packet.at_ns)


def played(
    packets: Sequence[Sent],
    cuts_ns: Sequence[int],
    holds: Sequence[tuple[int, int]],
    end_ns: int,
    *,
    audio: TimelineFormat = MULAW,
    ranked: bool = True,
) -> tuple[bytes, object]:
    """Run a timeline with batches cut at these moments; all calls come in order of time."""
    line = Timeline(audio, CODECS, START)
    out = b""
    waiting = list(packets)
    for moment in sorted({*cuts_ns, end_ns}):
        for start, stop in holds:
            if start == moment:
                line.pause(START + start)
            if stop == moment:
                line.resume(START + stop)
        come = [packet for packet in waiting if packet.at_ns <= moment]
        waiting = waiting[len(come) :]
        if come and ranked:
            whole = sort_batch(*batch(come))
            for run in whole.runs:
                line.push_run(run, whole)
        elif come:
            line.push(*batch(come))
        out += line.take(START + moment)
    return out + line.finish(START + end_ns), (line.facts(Side.CALLER), line.facts(Side.CALLEE))


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_batching_changes_nothing_and_length_is_exact(data: st.DataObject) -> None:
    packets = data.draw(hostile_stream())
    end_ns = packets[-1].at_ns + 500 * MS
    moments = sorted(data.draw(st.lists(st.integers(0, end_ns // MS), max_size=4, unique=True)))
    holds = [(start * MS, stop * MS) for start, stop in zip(moments[::2], moments[1::2], strict=False)]
    fixed = [moment for hold in holds for moment in hold]
    coarse = data.draw(st.lists(st.integers(0, end_ns), max_size=6))
    fine = list(range(0, end_ns, data.draw(st.sampled_from([20 * MS, 37 * MS, 250 * MS, 1001 * MS]))))
    one_by_one = [packet.at_ns for packet in packets]
    first = played(packets, [*fixed, *coarse], holds, end_ns)
    assert len(first[0]) == 2 * (end_ns * 8000 // SECOND)
    assert played(packets, [*fixed, *fine], holds, end_ns) == first
    assert played(packets, [*fixed, *one_by_one], holds, end_ns) == first
    assert played(packets, [*fixed, *coarse], holds, end_ns, ranked=False) == first
    # What came during a pause leaves no trace.
    kept = [packet for packet in packets if not any(start <= packet.at_ns < stop for start, stop in holds)]
    assert played(kept, [*fixed, *coarse], holds, end_ns)[0] == first[0]


@st.composite
def calm_call(draw: st.DrawFn) -> list[Sent]:
    """What nearly every call is: two streams with little jitter; a packet may be lost or double."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    packets: list[Sent] = []
    for side in (0, 1):
        count, most = draw(st.integers(80, 200)), draw(st.integers(0, 12))
        stream = talk(
            rng,
            count,
            first_ns=draw(st.integers(0, 90 * MS)),
            sequence=draw(st.sampled_from([0, 0xFFFF - 40, 4711])),
            timestamp=draw(st.sampled_from([0, 0xFFFFFFFF - 9000, 1 << 31])),
            ptime_ms=draw(st.sampled_from([10, 20, 30])),
            side=side,
            ssrc=side + 1,
            payload_type=draw(st.sampled_from([PCMU, PCMA])),
        )
        stream = delayed(stream, (rng.integers(0, most * MS + 1, count)).tolist())
        for at in draw(st.lists(st.integers(10, count - 20), max_size=2)):
            stream[at : at + 1] = draw(st.sampled_from([[], [stream[at], stream[at]]]))
        packets += stream
    return sorted(packets, key=lambda packet: packet.at_ns)


@given(calm_call(), st.sampled_from([MULAW, PCM16]), st.integers(60, 900))
@settings(max_examples=40, deadline=None)
def test_runs_are_placed_and_counted_as_their_packets_are(
    packets: list[Sent], audio: TimelineFormat, step_ms: int
) -> None:
    end_ns = packets[-1].at_ns + 100 * MS
    cuts = range(0, end_ns, step_ms * MS)
    assert played(packets, cuts, [], end_ns, audio=audio) == played(
        packets, cuts, [], end_ns, audio=audio, ranked=False
    )


def test_a_calm_stream_is_never_placed_packet_by_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = talk(np.random.default_rng(1), 1250, sequence=0xFFF0, timestamp=0xFFFFF000)
    general: list[int] = []
    push = Lane.push

    def counted(lane: Lane, records: npt.NDArray[np.void], data: npt.NDArray[np.uint8], start: int) -> None:
        general.append(len(records))
        push(lane, records, data, start)

    monkeypatch.setattr(Lane, "push", counted)
    # Long enough for two of the windows in which drift is looked for, neither of which ends with a batch.
    out, _ = played(packets, range(0, 25 * SECOND, 410 * MS), [], 25 * SECOND)
    assert out[0::2] == b"".join(packet.payload for packet in packets)
    assert general == [1, 20]  # its first packets, by which its clock is set
