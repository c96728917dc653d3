"""The recorder: one thread between the fork and the store."""

from recproxy.recorder.opening import RecorderConfig
from recproxy.recorder.thread import Recorder

__all__ = ["Recorder", "RecorderConfig"]
