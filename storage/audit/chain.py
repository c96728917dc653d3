"""The audit chain: one signed JSON line for each event, each bound to the one before.

``audit/chain.jsonl`` holds the lines; a line's ``prev`` is the SHA-256 of the
whole line before it, its ``sig`` an Ed25519 signature over the line without
``sig``. ``audit/head.json`` is a signed statement of the newest line, so that a
cut tail is found. Several processes share one chain: each append holds a file
lock and continues whatever stands at the end.

The head may lag behind the chain (it is written by ``flush``), never run ahead:
a chain longer than its head is sound, a shorter one was cut. Whoever can write
both files and holds the signing key can forge; whoever lacks the key can at most
put back an old pair of both files, which only a copy of the head kept elsewhere
reveals (see THREATS.md).

Lines whose time is over are removed from the front (``trim``): a line in the chain says
so, and the file then begins with a signed base, the number and hash of the last line
that was removed. So what is left is as bound as before.

No personal data enters: callers give random references only.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from storage.audit.lines import (
    AUDIT_DIRECTORY,
    CHAIN_PATH,
    FIRST_PREV,
    HEAD_PATH,
    LOCK_PATH,
    MAX_LINE_BYTES,
    VERSION,
    AuditEntry,
    AuditValue,
    Base,
    ChainHead,
    canonical,
    encode_base,
    encode_head,
    entry_of,
    fingerprint,
    last_line,
    lines,
    parse_or_none,
    read_base,
    read_head,
    signed_by,
)
from storage.audit.trimming import DRAFT_PATH, TRIMS_PATH, Cut, copy_on, find_cut, note_trim, start_draft
from storage.durable import replace
from storage.errors import AuditChainBroken, AuditError, ChainFault
from storage.files import Files, OpenFile

_OWN_KEYS: Final = frozenset({"v", "seq", "ts", "node", "event", "key", "prev", "sig"})
_EVENT: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_MAX_TEXT: Final = 512


class AuditLog:
    """Appends to the chain; one object per process, used by one thread.

    Args:
        files: The data directory.
        key: Signs each line and the head.
        node: Name of this recording node, in each line.
        clock: Gives the current instant (aware).
        actor: Who acts, unless an event says otherwise, e.g. ``daemon``.
    """

    def __init__(
        self,
        files: Files,
        key: Ed25519PrivateKey,
        node: str,
        clock: Callable[[], datetime],
        actor: str = "daemon",
    ) -> None:
        self._files = files
        self._key = key
        self._public = key.public_key()
        self._key_id = fingerprint(self._public)
        self._node = node
        self._clock = clock
        self._actor = actor
        self._handle: OpenFile | None = None
        self._size_bytes = -1
        self._last = AuditEntry(0, FIRST_PREV)
        self._unsynced = False
        self._doubtful = True
        self._head: ChainHead | None = None
        self._base = Base(AuditEntry(0, FIRST_PREV), "", 0, 0)
        self._trims: int | None = None

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The key that verifies the chain."""
        return self._public

    def acting(self, actor: str) -> AuditLog:
        """The same chain for somebody else who acts; an object of its own, to be closed."""
        return AuditLog(self._files, self._key, self._node, self._clock, actor)

    def append(
        self, event: str, fields: Mapping[str, AuditValue] | None = None, *, durable: bool = True
    ) -> AuditEntry:
        """Append one event.

        Args:
            event: ``noun.past_participle``, as in law.md 3.9.
            fields: Further fields, flat; ``rec``, ``call``, ``purpose``,
                ``policy``, ``outcome``, ``reason`` and ``actor`` by convention.
                Never a phone number, name, key or audio.
            durable: Sync the line before returning; otherwise ``sync`` or ``flush`` does.

        Returns:
            Number and hash of the line.

        Raises:
            AuditError: The event or a field is malformed.
            AuditChainBroken: The end of the chain does not fit its head: it was
                cut or edited; nothing is appended to it.
            FileFault: The line may be torn; the next append mends that.
        """
        body = self._body(event, fields or {})
        self._files.make_directory(AUDIT_DIRECTORY)
        with self._files.lock(LOCK_PATH):
            handle = self._at_end()
            entry = self._write(handle, event, body)
            if durable:
                self._sync(handle)
        return entry

    def sync(self) -> None:
        """Make all lines durable; the head stays behind until ``flush``.

        Raises:
            AuditChainBroken: See ``append``.
            FileFault: Lines since the last good sync may be lost; the next append or
                sync writes them again.
        """
        if self._unsynced:
            with self._files.lock(LOCK_PATH):
                self._sync(self._at_end())

    def flush(self) -> None:
        """Make all lines durable and write the signed head if it is behind.

        Raises:
            AuditChainBroken: See ``append``.
            FileFault: Repeat; the chain itself is unharmed.
        """
        if not self._unsynced and self._head is not None and self._head.last == self._last:
            return
        self._files.make_directory(AUDIT_DIRECTORY)
        with self._files.lock(LOCK_PATH):
            handle = self._at_end()
            self._sync(handle)
            self._write_head()

    def trim(self, before: datetime) -> Cut | None:
        """Remove the lines from the start on that are older than an instant; a line says so first.

        Args:
            before: The instant (aware).

        Returns:
            What was removed; None if the first line is not older.

        Raises:
            AuditChainBroken: See ``append``; or a line that is due is malformed.
            FileFault: Repeat; nothing was removed, or all of it.
        """
        self._files.make_directory(AUDIT_DIRECTORY)
        with self._files.lock(LOCK_PATH):
            handle = self._at_end()
            cut = find_cut(self._files, self._base, before)
            if cut is None:
                return None
            told: dict[str, AuditValue] = {
                "after": cut.last.seq,
                "sha256": cut.last.sha256,
                "until": cut.until,
                "count": cut.count,
            }
            self._write(handle, "chain.trimmed", {"actor": self._actor, **told, "outcome": "trimmed"})
            self._sync(handle)
            self._write_head()
            removed = self._base.from_start(cut.offset)
            draft = start_draft(self._files, encode_base(self._key, cut.last, cut.until, removed))
            try:
                copy_on(self._files, draft, cut.offset)
                draft.sync()
            finally:
                draft.close()
            note_trim(self._files)
            self._drop_handle()
            self._files.rename(DRAFT_PATH, CHAIN_PATH)
            self._files.sync_directory(AUDIT_DIRECTORY)
        return cut

    def _write_head(self) -> None:
        head = ChainHead(self._last, self._base.from_start(self._size_bytes))
        replace(self._files, HEAD_PATH, encode_head(self._key, head))
        self._head = head

    def close(self) -> None:
        """Flush and release the file.

        Raises:
            FileFault: See ``flush``.
        """
        try:
            self.flush()
        finally:
            self._drop_handle()

    def _body(self, event: str, fields: Mapping[str, AuditValue]) -> dict[str, AuditValue]:
        if not _EVENT.match(event):
            raise AuditError(f"audit event {event!r} is not lower-case words joined by dots")
        body: dict[str, AuditValue] = {"actor": self._actor}
        for name, value in fields.items():
            if name in _OWN_KEYS or not _FIELD.match(name):
                raise AuditError(f"audit field {name!r} of {event} is reserved or not a lower-case name")
            if isinstance(value, str) and len(value) > _MAX_TEXT:
                raise AuditError(f"audit field {name!r} of {event} is longer than {_MAX_TEXT} characters")
            body[name] = value
        return body

    def _write(self, handle: OpenFile, event: str, body: Mapping[str, AuditValue]) -> AuditEntry:
        stamp = self._clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, AuditValue] = {
            "v": VERSION,
            "seq": self._last.seq + 1,
            "ts": stamp,
            "node": self._node,
            "event": event,
            **body,
            "key": self._key_id,
            "prev": self._last.sha256,
        }
        signature = self._key.sign(canonical(line))
        data = canonical({**line, "sig": base64.b64encode(signature).decode()}) + b"\n"
        if len(data) > MAX_LINE_BYTES:
            raise AuditError(f"audit event {event} makes a line of {len(data)} bytes")
        try:
            handle.write(data)
        except BaseException:
            self._drop_handle()
            raise
        self._size_bytes += len(data)
        self._last = AuditEntry(self._last.seq + 1, hashlib.sha256(data).hexdigest())
        self._unsynced = True
        return self._last

    def _sync(self, handle: OpenFile) -> None:
        try:
            handle.sync()
        except BaseException:
            self._doubtful = True
            self._drop_handle()
            raise
        self._unsynced = False

    def _at_end(self) -> OpenFile:
        """Handle behind the last whole line; reads what other processes appended."""
        trims = self._files.size(TRIMS_PATH)
        if (
            self._handle is not None
            and trims == self._trims
            and self._files.size(CHAIN_PATH) == self._size_bytes
        ):
            return self._handle
        self._drop_handle()
        self._trims, self._base = trims, read_base(self._files, self._public)
        size = self._files.size(CHAIN_PATH)
        head = read_head(self._files, self._public)
        known = max(self._last.seq, head.last.seq if head is not None else 0)
        if size is None:
            if known:
                raise AuditChainBroken(1, ChainFault.CUT_TAIL, f"{CHAIN_PATH} is missing")
            handle = self._files.create(CHAIN_PATH)
            self._files.sync_directory(AUDIT_DIRECTORY)
            self._adopt(handle, 0, AuditEntry(0, FIRST_PREV))
            return handle
        if self._doubtful:
            last, end = self._sound_end(head)
        else:
            raw, end = last_line(self._files, size)
            last = entry_of(raw, self._public) if raw else AuditEntry(0, FIRST_PREV)
        if last.seq < known:
            raise AuditChainBroken(
                last.seq + 1, ChainFault.CUT_TAIL, f"the chain ends at line {last.seq}, it had {known}"
            )
        self._write_again(head, end)
        handle = self._files.reopen(CHAIN_PATH, end)
        self._adopt(handle, end, last)
        self._unsynced = True
        self._head = head
        if end < size:
            self._write(
                handle, "chain.torn_tail_cut", {"actor": self._actor, "bytes": size - end, "after": last.seq}
            )
        return handle

    def _sound_end(self, head: ChainHead | None) -> tuple[AuditEntry, int]:
        """Last sound line and the offset behind it, read from the head on.

        What is behind the head may never have been synced; after a power loss it may
        have holes. It ends at the first line that does not follow.
        """
        last, end = self._base.last, self._base.line_bytes
        if head is not None:
            last, end = head.last, self._base.in_file(head.size_bytes)
        if head is not None:
            self._check_head(head)
        for raw in lines(self._files, end):
            line = parse_or_none(raw)
            if (
                line is None
                or line.get("seq") != last.seq + 1
                or line.get("prev") != last.sha256
                or not signed_by(self._public, line, raw)
            ):
                break
            last, end = AuditEntry(last.seq + 1, hashlib.sha256(raw).hexdigest()), end + len(raw)
        return last, end

    def _check_head(self, head: ChainHead) -> None:
        seq, length = head.last.seq, self._base.in_file(head.size_bytes)
        if (self._files.size(CHAIN_PATH) or 0) < length:
            raise AuditChainBroken(
                seq, ChainFault.CUT_TAIL, f"the chain is shorter than its head says ({seq})"
            )
        raw, end = last_line(self._files, length)
        if seq and (end != length or hashlib.sha256(raw).hexdigest() != head.last.sha256):
            raise AuditChainBroken(seq, ChainFault.EDIT, "not the line that its signed head names")

    def _write_again(self, head: ChainHead | None, end: int) -> None:
        """Make the lines since the head dirty again: a sync of them may have failed.

        After a failed sync the kernel may call pages clean that never reached the
        disk; a later sync would then say yes without having written them.
        """
        start = self._base.in_file(head.size_bytes) if head is not None else self._base.line_bytes
        if self._doubtful and end > start:
            self._files.patch(CHAIN_PATH, start, self._files.read(CHAIN_PATH, start, end - start))
        self._doubtful = False

    def _adopt(self, handle: OpenFile, size_bytes: int, last: AuditEntry) -> None:
        self._handle = handle
        self._size_bytes = size_bytes
        self._last = last

    def _drop_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
        self._handle = None
        self._size_bytes = -1
