"""RTP: the native relay with its fork, the timeline that orders what was forked, codecs and ports."""

from rtp.codecs import CodecSpec
from rtp.digits import DigitDetector, may_hold_events
from rtp.endpoints import Latch, PortPair, Remote, Side, SrtpKey, SrtpSuite
from rtp.errors import PacketError, PortsExhausted, RelayError, RtpError
from rtp.fork import FORK_DTYPE, Fork, ForkBatch, ring_bytes_for
from rtp.playback import PlaybackEvent, PlaybackState, Playout
from rtp.ports import PortPool
from rtp.relay import Relay
from rtp.runs import Run, SortedBatch
from rtp.sorting import sort_batch
from rtp.stats import SideStats, StreamStats
from rtp.timeline import Encoding, Timeline, TimelineFacts, TimelineFormat, choose_format

__all__ = [
    "FORK_DTYPE",
    "CodecSpec",
    "DigitDetector",
    "Encoding",
    "Fork",
    "ForkBatch",
    "Latch",
    "PacketError",
    "PlaybackEvent",
    "PlaybackState",
    "Playout",
    "PortPair",
    "PortPool",
    "PortsExhausted",
    "Relay",
    "RelayError",
    "Remote",
    "RtpError",
    "Run",
    "Side",
    "SideStats",
    "SortedBatch",
    "SrtpKey",
    "SrtpSuite",
    "StreamStats",
    "Timeline",
    "TimelineFacts",
    "TimelineFormat",
    "choose_format",
    "may_hold_events",
    "ring_bytes_for",
    "sort_batch",
]
