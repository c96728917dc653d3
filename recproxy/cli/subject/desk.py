"""What every command of a case needs: the recordings, the policy, the cases, the index."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from recproxy.cli.archive import Archive, actor, open_archive, person
from recproxy.cli.display import Json, instant, table, tick
from recproxy.cli.policy.reading import surroundings
from recproxy.errors import ConfigError, UsageError
from recproxy.notices import Language, Sheet
from recproxy.policy import Policy, load_policy
from recproxy.subject.cases import Case, CaseStore, Found
from recproxy.subject.due import days_left
from recproxy.subject.letters import Reply
from storage import (
    CatalogueRow,
    Hold,
    HoldKind,
    HoldReason,
    NumberIndex,
    OsFiles,
    RecordingId,
    RecordingNotFound,
    State,
    load_root_key,
)

__all__ = [
    "Desk",
    "document",
    "language_option",
    "open_desk",
    "read_number",
    "searched_document",
    "tell",
    "tell_not_searched",
]

LONGEST_FREEZE: Final = timedelta(days=92)
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_LONGEST_LINE: Final = 64


@dataclass(frozen=True, slots=True)
class Desk:
    """An opened data directory and the cases beside it.

    Attributes:
        archive: The recordings.
        policy: In force.
        cases: The cases.
        index: Finds recordings by number; None if there is no key for it.
        now: The current instant (aware).
    """

    archive: Archive
    policy: Policy
    cases: CaseStore
    index: NumberIndex | None
    now: datetime

    @property
    def today(self) -> date:
        """Today, UTC."""
        return self.now.date()

    def rows(self, case: Case) -> tuple[CatalogueRow, ...]:
        """Recordings of a case that still exist."""
        found = []
        for recording in dict.fromkeys(one.recording for one in case.found):
            try:
                found.append(self.archive.catalogue.get(RecordingId(recording)))
            except RecordingNotFound:
                continue  # shredded since; the case says so or its expiry came before it was frozen
        return tuple(found)

    def freeze(self, case: Case, rows: Sequence[CatalogueRow]) -> Case:
        """Keep recordings from their expiry while the case runs; three months at most.

        Returns:
            The case with the hold, saved.
        """
        hold = self.hold(case, rows, HoldKind.REQUEST, HoldReason.SUBJECT_REQUEST, LONGEST_FREEZE)
        kept = replace(case, holds=(*case.holds, hold.id))
        self.cases.save(kept)
        return kept

    def hold(
        self,
        case: Case,
        rows: Sequence[CatalogueRow],
        kind: HoldKind,
        reason: HoldReason,
        lasts: timedelta,
    ) -> Hold:
        """Place a hold that the procedure itself approves."""
        hold = Hold(
            id=secrets.token_hex(16),
            kind=kind,
            reason=reason,
            case_ref=case.reference,
            recordings=tuple(row.tags.recording for row in rows),
            requested_by=person(),
            requested_at=self.now,
            ends=self.now + lasts,
            approved_by=case.reference,
            approved_at=self.now,
        )
        self.archive.catalogue.holds.add(hold)
        return hold

    def audit(
        self,
        event: str,
        case: Case,
        fields: Mapping[str, str | int] | None = None,
        *,
        searched: bool = False,
    ) -> None:
        """Write what was done into the audit chain; nothing in it says who asked.

        Args:
            event: What.
            case: Of which case.
            fields: What there is to say besides.
            searched: Whether a number was looked for: then it says how many nodes were not asked.
        """
        with self.archive.audit(actor()) as chain:
            chain.append(
                event,
                {
                    "dsr": case.id,
                    "type": case.kind.value,
                    "due": case.due.isoformat(),
                    "outcome": case.state.value,
                    **({"not_searched": len(self.not_searched)} if searched else {}),
                    **(fields or {}),
                },
            )

    def reply(self, case: Case, language: Language) -> Reply:
        """What a letter of this case is about."""
        return Reply(case, Sheet(self.policy, language), self.today, self.has_unindexed())

    def statements(self, recording: RecordingId) -> list[str]:
        """References of what people want added to a recording (GDPR art. 16)."""
        return [
            case.statement
            for case in self.cases.all()
            if case.statement and any(one.recording == recording.text for one in case.found)
        ]

    @property
    def not_searched(self) -> Mapping[str, int]:
        """How many recordings there are on nodes that this one finds no number on, by node."""
        return self.archive.catalogue.elsewhere()

    def has_unindexed(self) -> bool:
        """Whether recordings exist that no number finds."""
        catalogue = self.archive.catalogue
        live = sum(catalogue.count(state) for state in (State.SEALED, State.ABORTED))
        return live > len(catalogue.indexed())


@contextmanager
def open_desk(config: Path) -> Iterator[Desk]:
    """Open all of it.

    Raises:
        ConfigError: No directory for cases is configured, or something in it is wrong.
        StorageError: Something cannot be opened.
    """
    with open_archive(config) as archive:
        settings = archive.config
        place = settings.subjects.directory
        if place is None:
            raise ConfigError(f"{config}: subjects.directory: missing; name a directory for the cases")
        cases = OsFiles(place)
        cases.prepare()
        index_key = settings.storage.index_key
        index = None
        if index_key is not None:
            root = load_root_key(OsFiles(index_key.parent), index_key.name)
            index = NumberIndex(archive.files, root)
        policy = load_policy(settings.policy, surroundings(tuple(settings.trunks)))
        yield Desk(archive, policy, CaseStore(cases), index, datetime.now(UTC))


def read_number(policy: Policy, what: str) -> str:
    """Read a telephone number from standard input: it stands in no list of processes and no history.

    Args:
        policy: Says how numbers are written.
        what: Whose number, for the question.

    Returns:
        As E.164.

    Raises:
        UsageError: It is none; it is not shown.
    """
    text = click.prompt(what, err=True) if sys.stdin.isatty() else sys.stdin.readline(_LONGEST_LINE)
    number = policy.numbering.canonical(text.strip())
    if not _NUMBER.match(number):
        raise UsageError(
            "standard input: not a telephone number",
            hint="give it with its country code, such as +31201234567",
        )
    return number


def language_option(command: click.decorators.FC) -> click.decorators.FC:
    """``--lang``: of letters."""
    return click.option(
        "--lang",
        "language",
        type=click.Choice([one.value for one in Language]),
        default=Language.NL.value,
        show_default=True,
        help="Language of the letter.",
    )(command)


def document(case: Case, today: date) -> dict[str, Json]:
    """A case for programs; fields are only added."""
    return {
        "id": case.id,
        "kind": case.kind.value,
        "state": case.state.value,
        "received": case.received.isoformat(),
        "due": case.due.isoformat(),
        "days_left": days_left(case.due, today),
        "statement": case.statement or None,
        "bundle_until": None if case.bundle is None else instant(case.bundle.until),
        "extended": None if case.extended is None else case.extended.value,
        "recordings": [
            {"id": one.recording, "purpose": one.purpose, "outcome": one.outcome.value} for one in case.found
        ],
    }


def tell(case: Case, said: str, outcomes: Collection[Found]) -> None:
    """Print what was done with a case."""
    tick(True, f"case {case.id}: {said}; answer due {case.due.isoformat()}")
    if outcomes:
        table(
            ("recording", "purpose", "outcome"),
            ((one.recording[:12], one.purpose, one.outcome.value.replace("_", " ")) for one in outcomes),
        )


def tell_not_searched(nodes: Mapping[str, int]) -> None:
    """Say which nodes must be asked besides, or the person is told less than there is."""
    for node, recordings in nodes.items():
        tick(
            False,
            f"node {node} was not searched, and has {recordings} recordings: open the case there too, "
            "before you answer",
            warn=True,
        )


def searched_document(desk: Desk, case: Case) -> dict[str, Json]:
    """A case after a search, for programs, with the nodes that were not searched."""
    nodes: list[Json] = [{"node": node, "recordings": count} for node, count in desk.not_searched.items()]
    return {**document(case, desk.today), "searched": desk.archive.config.node, "not_searched": nodes}
