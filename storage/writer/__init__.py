"""Writing recordings: the store that opens them and the writer of each."""

from storage.writer.opening import OpenRequest
from storage.writer.parties import open_parties
from storage.writer.parts import StoreParts
from storage.writer.recording import RecordingWriter
from storage.writer.sealing import SealedRecording
from storage.writer.store import DEFAULT_SEGMENT_BYTES, RecordingFault, RecordingStore

__all__ = [
    "DEFAULT_SEGMENT_BYTES",
    "OpenRequest",
    "RecordingFault",
    "RecordingStore",
    "RecordingWriter",
    "SealedRecording",
    "StoreParts",
    "open_parties",
]
