"""Writing recordings: the store that opens them and the writer of each."""

from storage.writer.recording import RecordingWriter, SealedRecording, StoreParts, open_parties
from storage.writer.store import DEFAULT_SEGMENT_BYTES, RecordingFault, RecordingStore

__all__ = [
    "DEFAULT_SEGMENT_BYTES",
    "RecordingFault",
    "RecordingStore",
    "RecordingWriter",
    "SealedRecording",
    "StoreParts",
    "open_parties",
]
