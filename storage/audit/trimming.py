"""The front of a chain whose time is over: where it ends, and the chain without it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from storage.audit.lines import CHAIN_PATH, AuditEntry, Base, lines, parse
from storage.errors import AuditChainBroken, ChainFault
from storage.files import Files, OpenFile

__all__ = ["DRAFT_PATH", "TRIMS_PATH", "Cut", "copy_on", "find_cut", "note_trim", "start_draft"]

DRAFT_PATH: Final = f"{CHAIN_PATH}.new"
TRIMS_PATH: Final = "audit/trims"
"""One byte for each time that the front was removed: who has the chain open sees that it is another file."""
_COPY_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the front ends.

    Attributes:
        last: Its newest line.
        until: When that was written, as it says.
        offset: Length of the front in the file, its base included.
        count: How many lines it has.
    """

    last: AuditEntry
    until: str
    offset: int
    count: int


def find_cut(files: Files, base: Base, before: datetime) -> Cut | None:
    """Find the lines from the start on that are older than an instant.

    Args:
        files: The data directory.
        base: Of its chain.
        before: The instant (aware). The front ends before the first line that is not older.

    Returns:
        Where it ends; None if even the first line is not older.

    Raises:
        AuditChainBroken: A line is no JSON object, or tells no instant.
        FileFault: The chain cannot be read.
    """
    found: Cut | None = None
    offset = base.line_bytes
    for number, raw in enumerate(lines(files), start=base.last.seq + 1):
        stamp = str(parse(raw, number).get("ts", ""))
        try:
            young = datetime.fromisoformat(stamp) >= before
        except (ValueError, TypeError) as err:
            raise AuditChainBroken(number, ChainFault.MALFORMED, "it tells no instant") from err
        if young:
            break
        offset += len(raw)
        last = AuditEntry(number, hashlib.sha256(raw).hexdigest())
        found = Cut(last, stamp, offset, number - base.last.seq)
    return found


def start_draft(files: Files, base_line: bytes) -> OpenFile:
    """Begin the chain anew, with its base; what an earlier try left is removed."""
    if files.size(DRAFT_PATH) is not None:
        files.unlink(DRAFT_PATH)
    handle = files.create(DRAFT_PATH)
    try:
        handle.write(base_line)
    except BaseException:
        handle.close()
        raise
    return handle


def copy_on(files: Files, handle: OpenFile, offset: int) -> None:
    """Add to a draft all of the chain from an offset on."""
    while piece := files.read(CHAIN_PATH, offset, _COPY_BYTES):
        handle.write(piece)
        offset += len(piece)


def note_trim(files: Files) -> None:
    """Let everybody who has the chain open see that it becomes another file; durable on return."""
    size = files.size(TRIMS_PATH)
    handle = files.create(TRIMS_PATH) if size is None else files.reopen(TRIMS_PATH, size)
    try:
        handle.write(b"\n")
        handle.sync()
    finally:
        handle.close()
