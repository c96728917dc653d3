"""Places the payloads of both sides of a call on one sample clock."""

from rtp.timeline.facts import TimelineFacts
from rtp.timeline.formats import Encoding, TimelineFormat, choose_format
from rtp.timeline.timeline import Timeline

__all__ = ["Encoding", "Timeline", "TimelineFacts", "TimelineFormat", "choose_format"]
