"""Errors of the storage package.

The class answers the questions an operator or a caller has: what is broken,
and (``permanent``) whether trying again can help. Errors of the age format
itself live in ``storage.age.errors``; the modules here turn them into these.
"""

# ruff: noqa: N818  -- the names say what is wrong; the glossary fixes them

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class StorageError(Exception):
    """Root of the storage errors; never raised itself.

    Attributes:
        permanent: True if trying again cannot help.
    """

    permanent: ClassVar[bool] = True


class TagError(StorageError):
    """A tag of a recording is missing, malformed or contradicts another."""


class EvidenceMissing(StorageError):
    """The audit chain does not tell enough of a recording to make its row again."""


class PartiesLost(StorageError):
    """Who called whom was lost with the catalogue; the recording itself opens."""


class FileFault(StorageError):
    """The operating system refused a file operation.

    Attributes:
        operation: What was asked, e.g. ``write`` or ``fsync``.
        path: The file, relative to the data directory.
        code: The ``errno`` value.
    """

    permanent: ClassVar[bool] = False

    def __init__(self, operation: str, path: str, code: int, message: str) -> None:
        super().__init__(f"{operation} {path}: {message}")
        self.operation = operation
        self.path = path
        self.code = code


class RemoteFault(FileFault):
    """The object store refused, or cannot be reached; what was asked may be repeated."""


class DiskFull(FileFault):
    """No space, or no quota, is left: free some, then go on."""


class FileMissing(FileFault):
    """The file or directory is not there."""

    permanent: ClassVar[bool] = True


class FilePresent(FileFault):
    """The file is there already; nothing is ever overwritten by creating it."""

    permanent: ClassVar[bool] = True


class UnsafeDirectory(StorageError):
    """The data directory is open to others, not a directory, or not ours."""


class StoreLocked(StorageError):
    """Another process holds the data directory."""

    permanent: ClassVar[bool] = False


class StoreNotRecovered(StorageError):
    """Recordings of an earlier run are still open; ``recover`` comes first."""


class WriterClosed(StorageError):
    """The recording was sealed, aborted or discarded; nothing can be added."""


class SealError(StorageError):
    """A recording could not be sealed; its log is kept and start-up will seal it."""

    permanent: ClassVar[bool] = False


class WalError(StorageError):
    """The write-ahead log cannot be written or read; every open recording is affected."""

    permanent: ClassVar[bool] = False


class RecordingDamaged(StorageError):
    """The bytes of a recording are not what was written."""


class TruncatedRecording(RecordingDamaged):
    """The end of a recording is missing."""


class BodyMissing(RecordingDamaged):
    """The encrypted body of a recording is not where the catalogue says."""


class KeyFileError(StorageError):
    """A recipients, identity or signing key file cannot be used."""


class KeyUnavailable(StorageError):
    """The key of a recording is not in the key store, or no identity opens it."""


class KeyDestroyed(KeyUnavailable):
    """The key of a recording was destroyed on purpose: the recording is shredded."""


class CatalogueError(StorageError):
    """The catalogue cannot be read or written, or forbids a change of state."""


class CatalogueBusy(CatalogueError):
    """The catalogue is locked by another process or its disk failed; try again."""

    permanent: ClassVar[bool] = False


class RecordingNotFound(CatalogueError):
    """No recording has this id."""


class ForeignRecording(CatalogueError):
    """Another node has the key of the recording: only there it can be opened or shredded."""


class AmbiguousId(CatalogueError):
    """More than one recording begins with these digits; give more of them."""


class HeldRecording(CatalogueError):
    """A hold stands on the recording: it may not be shredded."""


class TicketError(StorageError):
    """A request to hear a recording does not exist, or may not be approved so."""


class TermError(StorageError):
    """The expiry of a recording may not be moved so."""


class DerivedRefused(StorageError):
    """What was made from a recording cannot be kept with it, or is not there."""


class HoldError(StorageError):
    """A hold is malformed, unknown, or in a state that forbids what was asked."""


class ShredError(StorageError):
    """A recording could not be shredded to the end; shredding may be repeated."""

    permanent: ClassVar[bool] = False


class ClockStateError(StorageError):
    """The persisted clock reading of the last retention run cannot be read."""


class AuditError(StorageError):
    """An audit event cannot be written: malformed, or the log cannot be opened."""


class ChainFault(Enum):
    """What is wrong with an audit chain."""

    EDIT = "edit"
    GAP = "gap"
    REORDER = "reorder"
    CUT_TAIL = "cut tail"
    BAD_SIGNATURE = "bad signature"
    MALFORMED = "malformed line"
    TORN_LINE = "torn line"
    BAD_HEAD = "bad head"


class AuditChainBroken(StorageError):
    """The audit chain was tampered with or damaged.

    Attributes:
        line: 1-based number of the first line at fault.
        fault: What is wrong with it.
    """

    def __init__(self, line: int, fault: ChainFault, detail: str) -> None:
        super().__init__(f"audit chain line {line}: {fault.value}: {detail}")
        self.line = line
        self.fault = fault


class ExportError(StorageError):
    """An export cannot be made; the text says why and what to do."""
