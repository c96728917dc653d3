"""What is counted while a channel is put together."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TimelineFacts"]


@dataclass(slots=True)
class TimelineFacts:
    """Quality of one channel; all counts are 0 or more. They grow while the channel is put together.

    Attributes:
        packets: Audio packets placed.
        lost: Packets that never came, by sequence number.
        late: Packets that came after their place had been given out, or fit nowhere in time.
        reordered: Packets that came out of order but in time.
        duplicates: Packets whose sequence number had come already.
        ssrc_changes: Times the stream's SSRC changed.
        reanchored: Times a stream was put anew on the clock: timestamps that disagreed with
            arrival for good, or another clock rate.
        drift_shifts: Times a stream was moved because its clock ran fast or slow.
        silence_samples: Samples of silence given out where no audio was received.
        overlapped_samples: Received samples with no place of their own: overlap after a shift or
            a new anchor, or a place already given out.
        telephone_events: Telephone-events (keys) seen; silence in the recording.
        comfort_noise: Comfort-noise packets; silence in the recording.
        undecodable: Packets of an unknown payload type, of no or too great a length, or refused
            by their decoder; silence in the recording.
        converted: Packets that were not kept as sent: decoded, changed in law or in rate.
        held: Packets that came before the start, or while the recording was paused; not kept.
        overrun: Packets beyond the room for audio that was not yet taken.
        jitter_ms: Highest interarrival jitter (RFC 3550 section 6.4.1), in milliseconds; of
            audio packets that could be placed.
    """

    packets: int = 0
    lost: int = 0
    late: int = 0
    reordered: int = 0
    duplicates: int = 0
    ssrc_changes: int = 0
    reanchored: int = 0
    drift_shifts: int = 0
    silence_samples: int = 0
    overlapped_samples: int = 0
    telephone_events: int = 0
    comfort_noise: int = 0
    undecodable: int = 0
    converted: int = 0
    held: int = 0
    overrun: int = 0
    jitter_ms: float = 0.0
