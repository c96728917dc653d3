"""``recproxy audit``: was the chain touched?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from recproxy.cli.archive import Archive, open_archive
from recproxy.cli.cross_check import Discrepancy, cross_check
from recproxy.cli.display import fields, print_json, tick
from recproxy.cli.options import FILE, config_option, json_option
from recproxy.errors import VerificationFailed
from storage import (
    AuditChainBroken,
    ChainFault,
    ChainReport,
    OsFiles,
    load_signing_key,
    load_verify_key,
    read_events,
    verify_chain,
)

__all__ = ["audit", "chain_key"]

_SHOWN: Final = 10


@click.group("audit", no_args_is_help=False)
def audit() -> None:
    """Check the audit chain."""


@audit.command("verify")
@config_option
@click.option(
    "--public-key",
    type=FILE,
    help="The .pub file of the audit key, kept elsewhere. Default: from the audit key of the configuration.",
)
@click.option(
    "--seen",
    metavar="SHA256",
    help="Hash of a last line that was noted earlier, on another machine: it must still be in the chain.",
)
@json_option
def verify(config: Path, public_key: Path | None, seen: str | None, as_json: bool) -> None:
    """Check every line of the audit chain, and the catalogue against it.

    Finds an edit, a gap, another order, a cut tail, a foreign signature; and a
    recording that was removed, or whose expiry or hash was changed, without a
    line that says so. With --seen also a chain that was replaced as a whole by
    somebody who has its key. Exits 20 with the first fault.
    """
    with open_archive(config) as archive:
        key = chain_key(archive, public_key)
        try:
            report = verify_chain(archive.files, key)
            if seen is not None:
                _check_seen(archive, report, seen.strip().lower())
        except AuditChainBroken as err:
            if as_json:
                print_json({"sound": False, "line": err.line, "fault": err.fault.value, "reason": str(err)})
            raise
        found = cross_check(
            lambda: read_events(archive.files),
            lambda: (archive.catalogue.select(own=True), archive.catalogue.tombstones(own=True)),
            datetime.now(UTC),
            report.trimmed_until,
        )
    if as_json:
        print_json(
            {
                "sound": not found,
                "lines": report.lines,
                "sha256": report.last_sha256,
                "signed_head_line": report.head_seq,
                "first": report.first_ts,
                "last": report.last_ts,
                "starts_after": report.starts_after,
                "trimmed_until": report.trimmed_until,
                "discrepancies": [{"id": one.recording, "reason": one.reason} for one in found],
            }
        )
    else:
        _print(report, found)
    if found:
        raise VerificationFailed(
            f"catalogue and audit chain disagree on {len(found)} of the recordings: "
            f"{found[0].recording} {found[0].reason}"
        )


def chain_key(archive: Archive, public_key: Path | None = None) -> Ed25519PublicKey:
    """The key that signed the chain: from a ``.pub`` file, else of the configuration's audit key."""
    if public_key is not None:
        return load_verify_key(OsFiles(public_key.absolute().parent), public_key.name)
    place = archive.config.storage.audit_key
    return load_signing_key(OsFiles(place.parent), place.name).public_key()


def _check_seen(archive: Archive, report: ChainReport, seen: str) -> None:
    """Each line but the last has its hash in the line after it, the last that was removed too."""
    if seen != report.last_sha256 and all(line.get("prev") != seen for line in read_events(archive.files)):
        raise AuditChainBroken(
            report.lines, ChainFault.CUT_TAIL, f"no line has the hash {seen[:16]}…, which was seen before"
        )


def _removed(report: ChainReport) -> str:
    if not report.starts_after:
        return ""
    return f"line {report.starts_after} of {report.trimmed_until}: what was older had its time (audit_keep)"


def _print(report: ChainReport, found: tuple[Discrepancy, ...]) -> None:
    tick(True, f"{report.lines} lines, each signed and in its place")
    fields(
        (
            ("from", report.first_ts),
            ("starts after", _removed(report)),
            ("to", report.last_ts),
            ("last line", report.last_sha256 if report.lines else ""),
        )
    )
    if not found:
        tick(True, "the catalogue says the same as the chain")
    for one in found[:_SHOWN]:
        tick(False, f"{one.recording}  {one.reason}")
    if len(found) > _SHOWN:
        click.echo(f"and {len(found) - _SHOWN} more; --json lists them all")
