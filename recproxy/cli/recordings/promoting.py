"""``recproxy recordings promote``: kept longer, by the tag that its purpose declares."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from recproxy.cli.archive import Archive, actor, open_archive
from recproxy.cli.display import instant, tick
from recproxy.cli.options import FILE, config_option, why_option
from recproxy.cli.policy.reading import surroundings
from recproxy.cli.recordings.permitting import permitted
from recproxy.documents import promotion_evidence
from recproxy.errors import RecproxyError
from recproxy.policy import Policy, PurposeName, load_policy
from recproxy.policy.terms import PromotionRefused, is_from_end, promoted_keep, term_of
from storage import CatalogueRow, PurposeTerm, TermChange, Tombstone

__all__ = ["promote"]


@click.command("promote", short_help="Keep a recording longer, by the tag that its purpose declares.")
@click.argument("recording")
@config_option
@click.option("--tag", required=True, help="As retention.promote of the purpose declares it.")
@click.option(
    "--made-under",
    type=FILE,
    metavar="FILE",
    help="The policy that the recording was made under, if another is in force by now.",
)
@why_option
def promote(recording: str, config: Path, tag: str, made_under: Path | None, why: str) -> None:
    """Keep RECORDING (an id, or its first digits) longer, because of what came of the call.

    The purpose must declare the tag, in the policy in force and in the one that
    the recording was made under: callers were told that one's terms. A tag never
    makes a recording serve another purpose. Needs a role of the purpose.
    """
    with open_archive(config) as archive:
        row = _row(archive, recording)
        policy = _policy(archive, archive.config.policy)
        term = _term(row, policy, tag)
        permitted(archive, row, term.purpose, audio=False)
        announced = policy if made_under is None else _policy(archive, made_under)
        _check_version(row, announced)
        tags, now = row.tags, datetime.now(UTC)
        if term.expiry <= now:
            raise RecproxyError(f"recording {tags.recording} has expired: it goes with the next sweep")
        try:
            from_end = is_from_end(announced.file, policy.file, term.purpose)
            base = row.base(term) if from_end else tags.started
            keep = promoted_keep(announced.file, policy.file, term.purpose, tag, term.expiry - base)
        except PromotionRefused as err:
            raise RecproxyError(str(err), hint=err.mend) from err
        change = TermChange(tags.recording, term.purpose, term.expiry, base + keep)
        _audit(archive, change, tag, why, announced)
        archive.catalogue.terms.promote(change, tag)
    tick(True, f"recording {tags.recording}: kept until {instant(change.after)} ({tag})")


def _row(archive: Archive, text: str) -> CatalogueRow:
    found = archive.find(text)
    if isinstance(found, Tombstone):
        raise RecproxyError(f"recording {found.recording} is {found.state.value}: it cannot be kept longer")
    archive.catalogue.check_own(found)
    return found


def _term(row: CatalogueRow, policy: Policy, tag: str) -> PurposeTerm:
    """The purpose of a recording whose tag it is; the leading one if none declares it."""
    terms = row.tags.terms
    return next((term for term in terms if tag in _tags(policy, term)), terms[0])


def _tags(policy: Policy, term: PurposeTerm) -> Mapping[str, timedelta]:
    purpose = policy.purposes.get(PurposeName(term.purpose))
    return {} if purpose is None else term_of(purpose)[1]


def _policy(archive: Archive, file: Path) -> Policy:
    return load_policy(file, surroundings(tuple(archive.config.trunks)))


def _check_version(row: CatalogueRow, announced: Policy) -> None:
    made_under = row.tags.policy_version
    if announced.version != made_under:
        raise RecproxyError(
            f"recording {row.tags.recording} was made under policy {made_under[:16]}, "
            f"not {announced.version[:16]}",
            hint="what its parties were told stands there: give that file with --made-under",
        )


def _audit(archive: Archive, change: TermChange, tag: str, why: str, announced: Policy) -> None:
    with archive.audit(actor()) as audit:
        audit.append("rec.promoted", promotion_evidence(change, tag, why, announced.version))
