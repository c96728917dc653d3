"""The media side of all calls."""

from recproxy.media.port import Media, MediaPlace, TrunkMedia
from recproxy.media.sink import Clock, RecordingSink

__all__ = ["Clock", "Media", "MediaPlace", "RecordingSink", "TrunkMedia"]
