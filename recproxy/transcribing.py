"""How a purpose lets somebody's transcript be kept with a recording: until when, and for whom to open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from recproxy.errors import RecproxyError
from recproxy.jsonform import instant
from recproxy.policy import PolicyFile, PurposeName
from recproxy.policy.purpose import Transcript as Writing
from recproxy.transcripts import Transcript
from storage import CatalogueRow, DerivedKind, DerivedSource, EpochShelf, OsFiles, load_recipients
from storage.age import Recipient
from storage.catalogue import Wrap

__all__ = ["RecipientPlaces", "Written", "check_allowed", "transcript_source"]


@dataclass(frozen=True, slots=True)
class RecipientPlaces:
    """Where the public keys are.

    Attributes:
        recipients: File of the long-lived ones.
        epochs: Directory of those that change with the day or month; None if there are none.
    """

    recipients: Path
    epochs: Path | None


@dataclass(frozen=True, slots=True)
class Written:
    """What somebody wrote of the talk.

    Attributes:
        transcript: The text.
        language: Of its words.
        origin: Who or what wrote it; names no party.
    """

    transcript: Transcript
    language: str
    origin: str


def check_allowed(policy: PolicyFile, purpose: str) -> None:
    """See that callers were told of transcripts.

    Raises:
        RecproxyError: The purpose allows none.
    """
    if policy.purposes[PurposeName(purpose)].derived.transcript is not Writing.ON:
        raise RecproxyError(
            f"the purpose {purpose} allows no transcript: callers were not told of one",
            hint=f"purposes.{purpose}.derived.transcript",
        )


def transcript_source(
    policy: PolicyFile,
    row: CatalogueRow,
    purpose: str,
    wrap: Wrap | None,
    places: RecipientPlaces,
    written: Written,
    now: datetime,
) -> DerivedSource:
    """What is kept, until when and for whom.

    Args:
        policy: In force.
        row: The recording; it serves the purpose.
        purpose: For which it is kept.
        wrap: Of the recording's own key for that purpose; None if the catalogue knows none.
        places: Where the public keys are.
        written: What is to be kept.
        now: The current instant (aware).

    Raises:
        RecproxyError: The purpose allows no transcript, its time is over, or no directory holds the
            keys of its epoch.
        StorageError: The recipients cannot be read.
    """
    check_allowed(policy, purpose)
    recording = row.tags.recording
    term = next(term for term in row.tags.terms if term.purpose == purpose)
    keep = policy.purposes[PurposeName(purpose)].derived.transcript_keep
    if keep is None:
        raise RecproxyError(f"the purpose {purpose} says no transcript_keep")
    expiry = min(row.tags.started + keep, term.expiry)
    if expiry <= now:
        raise RecproxyError(
            f"recording {recording}: a transcript was to be gone by {instant(expiry)}",
            hint=f"purposes.{purpose}.derived.transcript_keep says so",
        )
    recipients, epoch = _recipients(row, wrap, places)
    return DerivedSource(
        recording=recording,
        kind=DerivedKind.TRANSCRIPT,
        purpose=purpose,
        expiry=expiry,
        language=written.language,
        form=written.transcript.form.value,
        origin=written.origin,
        recipients=recipients,
        epoch=epoch,
    )


def _recipients(
    row: CatalogueRow, wrap: Wrap | None, places: RecipientPlaces
) -> tuple[tuple[Recipient, ...], tuple[str, str]]:
    """Those of the recording's own key: with it they lose theirs."""
    if wrap is None or not wrap.epoch:
        files = OsFiles(places.recipients.parent)
        found = load_recipients(files, places.recipients.name)
        return tuple(found), ("" if wrap is None else wrap.key_group, "")
    if places.epochs is None:
        raise RecproxyError(
            f"recording {row.tags.recording} is wrapped to {wrap.key_group} {wrap.epoch}, and "
            "storage.epochs names no directory of keys",
            hint='or wrap it to the long-lived key: "recproxy recordings rewrap"',
        )
    return EpochShelf(OsFiles(places.epochs)).recipients(wrap.key_group, wrap.epoch), (
        wrap.key_group,
        wrap.epoch,
    )
