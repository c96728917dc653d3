"""Checking a whole audit chain: which line is at fault, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from storage.audit.lines import (
    FIRST_PREV,
    HEAD_PATH,
    AuditEntry,
    AuditValue,
    Base,
    fingerprint,
    lines,
    parse,
    read_base,
    read_head,
    signed_by,
)
from storage.errors import AuditChainBroken, ChainFault
from storage.files import Files


@dataclass(frozen=True, slots=True)
class ChainReport:
    """A chain that verified.

    Attributes:
        lines: How many.
        last_sha256: Hash of the last line; copy it to a safe place.
        head_seq: Number of the line that the signed head names; at most ``lines``.
        first_ts: Instant of the first line as written, empty if there is none.
        last_ts: Instant of the last line.
        starts_after: Number of the newest line that was removed when its time was over; 0 if none was.
        trimmed_until: When that was written, empty if none was.
    """

    lines: int
    last_sha256: str
    head_seq: int
    first_ts: str
    last_ts: str
    starts_after: int = 0
    trimmed_until: str = ""


def verify_chain(files: Files, public_key: Ed25519PublicKey) -> ChainReport:
    """Check every line, their order and the end of the chain.

    Args:
        files: The data directory.
        public_key: Of the key that signed it.

    Returns:
        What was found sound.

    Raises:
        AuditChainBroken: Names the first line at fault and the fault.
        FileFault: A file cannot be read.
    """
    head = read_head(files, public_key)
    base = read_base(files, public_key)
    expected = base.last
    first_ts = last_ts = ""
    at_head = expected.sha256
    number = base.last.seq
    carried = base.line_bytes == 0
    for number, raw in enumerate(lines(files), start=base.last.seq + 1):
        line = parse(raw, number)
        _check_line(files, public_key, line, raw, number, expected, base)
        carried = carried or _carries(line, base)
        expected = AuditEntry(number, hashlib.sha256(raw).hexdigest())
        last_ts = str(line.get("ts", ""))
        first_ts = first_ts or last_ts
        if head is not None and number == head.last.seq:
            at_head = expected.sha256
    if not carried:
        raise AuditChainBroken(
            base.last.seq + 1, ChainFault.GAP, f"it begins after line {base.last.seq}, and no line says why"
        )
    if head is None:
        if number:
            raise AuditChainBroken(number, ChainFault.BAD_HEAD, f"{HEAD_PATH} is missing")
        return ChainReport(0, FIRST_PREV, 0, "", "")
    if number < head.last.seq:
        raise AuditChainBroken(
            number + 1,
            ChainFault.CUT_TAIL,
            f"the chain ends at line {number}, its signed head names line {head.last.seq}",
        )
    if at_head != head.last.sha256:
        raise AuditChainBroken(head.last.seq, ChainFault.EDIT, "not the line that its signed head names")
    return ChainReport(
        number - base.last.seq,
        expected.sha256,
        head.last.seq,
        first_ts,
        last_ts,
        base.last.seq,
        base.until,
    )


def _carries(line: Mapping[str, AuditValue], base: Base) -> bool:
    """Whether a line says that the chain was trimmed to where it begins."""
    told = (line.get("event"), line.get("after"), line.get("sha256"))
    return told == ("chain.trimmed", base.last.seq, base.last.sha256)


def _check_line(
    files: Files,
    public_key: Ed25519PublicKey,
    line: Mapping[str, AuditValue],
    raw: bytes,
    number: int,
    expected: AuditEntry,
    base: Base,
) -> None:
    first = base.last.seq + 1
    if not signed_by(public_key, line, raw):
        chained = _prev_of_next(files, number, first) == hashlib.sha256(raw).hexdigest()
        if chained or line.get("key") != fingerprint(public_key):
            raise AuditChainBroken(number, ChainFault.BAD_SIGNATURE, "not signed by the key of this chain")
        raise AuditChainBroken(number, ChainFault.EDIT, "the text does not fit its signature")
    seq = line.get("seq")
    if seq != number:
        later = any(
            parse(other, place).get("seq") == number
            for place, other in enumerate(lines(files), start=first)
            if place > number
        )
        if later or (isinstance(seq, int) and seq < number):
            raise AuditChainBroken(number, ChainFault.REORDER, f"here stands event {seq}")
        raise AuditChainBroken(number, ChainFault.GAP, f"event {number} is missing, here stands {seq}")
    if line.get("prev") != expected.sha256:
        raise AuditChainBroken(number, ChainFault.EDIT, "the line before is not the one this one follows")


def _prev_of_next(files: Files, number: int, first: int) -> object:
    for place, raw in enumerate(lines(files), start=first):
        if place == number + 1:
            try:
                return parse(raw, place).get("prev")
            except AuditChainBroken:
                return None
    return None
