#!/usr/bin/env python3
"""Verify an audit chain of recproxy without recproxy.

    verify_audit.py DIRECTORY PUBLIC_KEY [SEEN_SHA256]

DIRECTORY holds chain.jsonl and head.json (a copy is enough), PUBLIC_KEY is audit.pub,
kept elsewhere. SEEN_SHA256 is a hash of a last line that was noted earlier, elsewhere:
it must still be in the chain. Needs Python 3.11 and the cryptography package, nothing
else; written against storage/FORMAT.md, not against recproxy's code.

Ends with 0 if everything is sound, with 20 and the first fault otherwise.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

FAULTY = 20


class Fault(Exception):  # noqa: N818 - said of the chain, not of us
    """The chain is not what was written."""


def load_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key in PEM."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise Fault(f"{path}: not an Ed25519 public key")
    return key


def canonical(value: Mapping[str, Any]) -> bytes:
    """The bytes that are signed and stored: members in their order, no space, ASCII."""
    return json.dumps(value, separators=(",", ":")).encode()


def check_signature(key: Ed25519PublicKey, raw: bytes, where: str) -> dict[str, Any]:
    """Parse one signed JSON object and check its form and its signature."""
    try:
        value = json.loads(raw)
        signature = base64.b64decode(value["sig"], validate=True)
    except (ValueError, KeyError, TypeError) as err:
        raise Fault(f"{where}: no signed JSON object") from err
    if canonical(value) + b"\n" != raw:
        raise Fault(f"{where}: not written the canonical way, so it was edited")
    unsigned = {name: one for name, one in value.items() if name != "sig"}
    try:
        key.verify(signature, canonical(unsigned))
    except InvalidSignature as err:
        raise Fault(f"{where}: the signature does not fit") from err
    return unsigned


def read_base(key: Ed25519PublicKey, chain: Path) -> tuple[int, str, str]:
    """Number and hash of the newest line that was removed in its time, and when that was written."""
    with chain.open("rb") as lines:
        raw = lines.readline()
    if not raw.startswith(b'{"v":1,"base":'):
        return 0, "0" * 64, ""
    base = check_signature(key, raw, "base")
    return int(base["base"]), str(base["sha256"]), str(base["until"])


def check_lines(key: Ed25519PublicKey, chain: Path) -> Iterator[str]:
    """Check every line and yield its hash."""
    fingerprint = hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
    removed, before, _ = read_base(key, chain)
    start, carried = before, not removed
    with chain.open("rb") as lines:
        if removed:
            lines.readline()
        for number, raw in enumerate(lines, start=removed + 1):
            where = f"line {number}"
            if not raw.endswith(b"\n"):
                raise Fault(f"{where}: torn, the last write was cut short")
            line = check_signature(key, raw, where)
            if line.get("key") != fingerprint:
                raise Fault(f"{where}: names another key than {fingerprint}")
            if line.get("seq") != number:
                raise Fault(
                    f"{where}: holds event {line.get('seq')}: one is missing, or the order is another"
                )
            if line.get("prev") != before:
                raise Fault(f"{where}: does not follow the line before it")
            told = (line.get("event"), line.get("after"), line.get("sha256"))
            carried = carried or told == ("chain.trimmed", removed, start)
            before = hashlib.sha256(raw).hexdigest()
            yield before
    if not carried:
        raise Fault(f"it begins after line {removed}, and no line says why")


def verify(directory: Path, public_key: Path, seen: str) -> str:
    """Check chain and head; returns what was found, one line."""
    key = load_key(public_key)
    head = check_signature(key, (directory / "head.json").read_bytes(), "head.json")
    removed, start, until = read_base(key, directory / "chain.jsonl")
    number, last, at_head, was_seen = removed, "", "", not seen or seen == start
    for number, last in enumerate(check_lines(key, directory / "chain.jsonl"), start=removed + 1):
        if number == head["seq"]:
            at_head = last
        was_seen = was_seen or last == seen
    if number < head["seq"]:
        raise Fault(f"it ends at line {number}, its signed head names {head['seq']}: the tail was cut")
    if at_head != head["sha256"]:
        raise Fault(f"line {head['seq']}: not the one that the signed head names")
    if not was_seen:
        raise Fault(f"no line has the hash {seen}: the chain was replaced")
    begins = f", after {removed} that were removed in their time (until {until})" if removed else ""
    return f"sound: {number - removed} lines{begins}, the last is {last}"


def main(words: list[str]) -> int:
    """Verify what the words of the command line name."""
    if len(words) not in {2, 3}:
        sys.stderr.write(__doc__)
        return 2
    try:
        found = verify(Path(words[0]), Path(words[1]), words[2].lower() if len(words) > 2 else "")
    except (Fault, OSError, ValueError) as err:
        sys.stderr.write(f"NOT SOUND: {err}\n")
        return FAULTY
    sys.stdout.write(f"{found}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
