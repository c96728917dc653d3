"""The write-ahead log of open recordings."""

from storage.wal.keyfile import (
    SECRET_BYTES,
    WAL_DIRECTORY,
    RecordingKeys,
    destroy_keys,
    destroy_keys_together,
    keyed_recordings,
    read_keys,
    write_keys,
)
from storage.wal.log import Wal
from storage.wal.records import (
    LoggedRecording,
    SealMark,
    Tail,
    read_log,
    remove_segments,
    segment_numbers,
)

__all__ = [
    "SECRET_BYTES",
    "WAL_DIRECTORY",
    "LoggedRecording",
    "RecordingKeys",
    "SealMark",
    "Tail",
    "Wal",
    "destroy_keys",
    "destroy_keys_together",
    "keyed_recordings",
    "read_keys",
    "read_log",
    "remove_segments",
    "segment_numbers",
    "write_keys",
]
