"""Keys pressed, as telephone-events (RFC 4733): each told once, however often its packets come."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtp_streams import EVENT, MS, PCMU, SECOND, START, Sent, batch, recorded, talk

from rtp.codecs import CodecSpec
from rtp.digits import DigitDetector, may_hold_events
from rtp.endpoints import Side
from rtp.timeline import Encoding, Timeline, TimelineFormat

CODECS = {PCMU: CodecSpec("PCMU", 8000), EVENT: CodecSpec("telephone-event", 8000)}


def pressed(first: Sent, code: int, packets: int, ends: int) -> list[Sent]:
    """The packets of one key: one timestamp, the duration grows, the end comes ``ends`` times."""
    out = []
    for n in range(packets + ends):
        end = 0x80 if n >= packets else 0
        payload = bytes([code, 10 | end]) + ((n + 1) * 160).to_bytes(2, "big")
        out.append(
            replace(
                first,
                at_ns=first.at_ns + n * 20 * MS,
                sequence=(first.sequence + n) & 0xFFFF,
                payload_type=EVENT,
                payload=payload,
            )
        )
    return out


def typed(codes: list[int], *, start: int = 0xFFFFF000, packets: int = 2, ends: int = 3) -> list[Sent]:
    sound = talk(np.random.default_rng(1), 1)[0]
    out: list[Sent] = []
    for n, code in enumerate(codes):
        key = replace(
            sound,
            at_ns=n * 200 * MS,
            sequence=(65_530 + n * (packets + ends)) & 0xFFFF,
            timestamp=(start + n * 1600) & 0xFFFFFFFF,
        )
        out += pressed(key, code, packets, ends)
    return out


def heard(
    packets: list[Sent], *, per_batch: int = 3, types: frozenset[int] = frozenset({EVENT})
) -> list[str]:
    """What is told of these packets, side before key, given in small batches."""
    detector = DigitDetector(types)
    told = []
    for at in range(0, len(packets), per_batch):
        records, data = batch(packets[at : at + per_batch])
        told += [f"{side.name} {key}" for side, key in detector.hear(records[may_hold_events(records)], data)]
    return told


KEYS = "0123456789*#ABCD"


def test_every_key_of_the_keypad_is_told_once_in_order() -> None:
    assert heard(typed(list(range(16)))) == [f"CALLER {key}" for key in KEYS]


@given(st.lists(st.integers(0, 15), min_size=1, max_size=6), st.data())
def test_loss_and_late_repetitions_of_the_end_make_no_key_and_no_two(
    codes: list[int], data: st.DataObject
) -> None:
    packets = typed(codes)
    kept = []
    for n in range(len(codes)):
        five = packets[n * 5 : n * 5 + 5]
        kept += data.draw(st.lists(st.sampled_from(five), min_size=1, max_size=5, unique=True))
    kept.sort(key=lambda packet: packet.at_ns)
    late = data.draw(st.sampled_from(kept))
    rest = [
        packet
        for packet in kept
        if packet is not late or sum(p.timestamp == late.timestamp for p in kept) == 1
    ]
    if len(rest) < len(kept):  # one that has sisters comes after all others
        rest.append(replace(late, at_ns=packets[-1].at_ns + 10 * MS))
    assert heard(rest, per_batch=data.draw(st.integers(1, 9))) == [f"CALLER {KEYS[code]}" for code in codes]


def test_both_sides_are_told_apart() -> None:
    left = typed([1])
    right = [replace(packet, side=1, ssrc=8) for packet in typed([2])]
    both = sorted([*left, *right], key=lambda packet: packet.at_ns)
    assert heard(both, per_batch=len(both)) == ["CALLER 1", "CALLEE 2"]


def test_a_new_stream_of_the_party_starts_anew() -> None:
    again = [replace(packet, ssrc=9, timestamp=packet.timestamp - 5000) for packet in typed([3])]
    assert heard([*typed([3]), *again]) == ["CALLER 3", "CALLER 3"]


def test_another_payload_type_is_no_key() -> None:
    assert heard(typed([1]), types=frozenset({EVENT + 1})) == []


def test_payload_types_may_be_agreed_anew_while_a_key_is_pressed() -> None:
    packets = typed([4])
    detector = DigitDetector({EVENT})
    first, rest = batch(packets[:2]), batch(packets[2:])
    assert list(detector.hear(*first)) == [(Side.CALLER, "4")]
    detector.agree({EVENT, 96})
    assert list(detector.hear(*rest)) == []


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x01\x0a\x00\xa0\x02", b"\x10\x0a\x00\xa0"])
def test_what_is_no_key_is_none(payload: bytes) -> None:
    (event,) = typed([1], packets=1, ends=0)
    records, data = batch([replace(event, payload=payload)])
    assert list(DigitDetector({EVENT}).hear(records, data)) == []
    assert not may_hold_events(records).any() or len(payload) == 4


def test_a_timeline_counts_events_and_keeps_silence() -> None:
    timeline = Timeline(TimelineFormat(Encoding.MULAW, 8000), CODECS, START)
    frames = recorded(timeline, typed([5] * 100, packets=1, ends=0), 21 * SECOND)
    assert set(frames) == {0xFF}
    assert timeline.facts(Side.CALLER).telephone_events == 100
