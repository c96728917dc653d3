"""The other party in the answer to a person: his voice, or what he said in writing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from recproxy.cli.archive import actor
from recproxy.cli.subject.desk import Desk
from recproxy.policy import Policy, PurposeName
from recproxy.policy.purpose import CounterpartyVoice
from recproxy.subject.cases import Case
from recproxy.transcripts import Form
from storage import CatalogueRow, DerivedFile, DerivedKind, Reader
from storage.age import Identity
from storage.muting import CALLEE, CALLER, Mute

__all__ = ["Written", "audit_written", "in_writing", "written"]


@dataclass(frozen=True, slots=True)
class Written:
    """A transcript that goes into an answer.

    Attributes:
        file: As it is kept.
        content: Its words.
    """

    file: DerivedFile
    content: bytes

    @property
    def name(self) -> str:
        """In the bundle."""
        return f"transcripts/{self.file.recording}{Form(self.file.form).suffix}"


def in_writing(policy: Policy, row: CatalogueRow, own: int) -> tuple[Mute, ...]:
    """The other voice, where a purpose of the recording gives it in writing only.

    Args:
        policy: In force.
        row: The recording.
        own: Channel of the person.

    Returns:
        What is left out: the whole other channel, or nothing. One purpose that says so suffices.
    """
    purposes = (policy.purposes.get(PurposeName(term.purpose)) for term in row.tags.terms)
    if all(one is None or one.access.counterparty_voice is CounterpartyVoice.INCLUDE for one in purposes):
        return ()
    return (Mute(CALLEE if own == CALLER else CALLER),)


def written(
    reader: Reader, derived: Sequence[DerivedFile], row: CatalogueRow, keys: Sequence[Identity]
) -> Written | None:
    """The transcript of a recording; None if it has none.

    Args:
        reader: Decrypts it.
        derived: What was made from the recording.
        row: The recording.
        keys: Open it.

    Raises:
        StorageError: It cannot be opened.
    """
    living = {term.purpose for term in row.tags.terms}
    for file in derived:
        if file.kind is DerivedKind.TRANSCRIPT and file.sha256 and file.purpose in living:
            return Written(file, reader.derived(file, keys))
    return None


def audit_written(desk: Desk, case: Case, text: Written) -> None:
    """Write into the chain that a person gets a transcript, before it leaves.

    Raises:
        StorageError: The chain cannot be written.
    """
    with desk.archive.audit(actor()) as chain:
        chain.append(
            "derived.opened",
            {
                "rec": text.file.recording.text,
                "purpose": text.file.purpose,
                "kind": text.file.kind.value,
                "sha256": hashlib.sha256(text.content).hexdigest(),
                "recipient": "data subject",
                "ground": "GDPR art. 15",
                "dsr": case.id,
                "outcome": "exported",
            },
        )
